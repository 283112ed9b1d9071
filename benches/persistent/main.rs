//! What a promise that holds costs: persistent messages with publisher confirms, and a deep queue over restarts. Whole
//! brokers, as clients see them, with what they do to the disk.
//!
//! The client, and what reads `/proc`, are leveretperf's; what is here beside it starts and stops brokers and watches a
//! disk, which no program for users should.
//!
//! ```text
//! cargo bench --bench persistent -- --help
//! cargo bench --bench persistent -- --only persistent-q --peer rabbitmq=127.0.0.1:5672:PID
//! ```
//!
//! Targets take turns within each scenario, so that a disturbance of the machine meets them all; the table shows
//! medians. A message lost, duplicated or out of order fails its scenario and, at the end, the run.

// What the two have in common; each leaves some of it unused.
#[allow(dead_code, unused_imports)]
#[path = "../../src/bin/leveretperf/client/mod.rs"]
mod client;
mod deep;
mod options;
#[allow(dead_code)]
#[path = "../../src/bin/leveretperf/outcome.rs"]
mod outcome;
#[allow(dead_code)]
#[path = "../../src/bin/leveretperf/process.rs"]
mod process;
mod producers;
mod pump;
#[allow(dead_code)]
#[path = "../../src/bin/leveretperf/report.rs"]
mod report;
mod setup;
mod storage;
mod target;

use std::process::ExitCode;
use std::time::Duration;

use client::failure::Result;
use options::{Command, Options};
use pump::Shape;
use report::Report;
use storage::Storage;
use target::Target;

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub shape: Shape,
}

/// What holds for a whole run.
pub struct Conditions<'a> {
    /// How long to measure.
    pub duration: Duration,
    /// On the disk that leveret's data directory is on.
    pub storage: &'a Storage,
    /// Count system calls that sync, which costs a little.
    pub trace_syncs: bool,
}

/// In the order in which they run.
pub const ALL: [Scenario; 5] = [
    persistent("persistent-1k-w1", 1, 1),
    persistent("persistent-1k-w100", 1, 100),
    persistent("persistent-1k-w1000", 1, 1000),
    persistent("persistent-q20", 20, 100),
    persistent("persistent-q100", 100, 100),
];

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Print(text)) => {
            println!("{text}");
            Ok(true)
        }
        Ok(Command::Deep(options, count)) => deep::measure(&options, count).map(|()| true),
        Ok(Command::Measure(options)) => measure(&options),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("persistent: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; returns whether all of it went well.
fn measure(options: &Options) -> Result<bool> {
    process::sharpen_timers();
    let storage = options.storage()?;
    let targets = options.targets(&storage)?;
    pin_apart(&targets);
    let names = targets.iter().map(|target| target.name.clone()).collect();
    let mut report = Report::new(names);
    let conditions = Conditions {
        duration: options.duration(targets.len()),
        storage: &storage,
        trace_syncs: options.trace_syncs,
    };
    eprintln!(
        "{} scenarios, {} targets, {} rounds, {:.2} s each; data in {}",
        options.scenarios.len(),
        targets.len(),
        options.rounds,
        conditions.duration.as_secs_f64(),
        storage.path().display()
    );
    let mut all_well = true;
    for scenario in &options.scenarios {
        all_well &= run_rounds(scenario, options.rounds, &targets, &conditions, &mut report);
    }
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(all_well)
}

/// The client on one processor, what it started on another. Brokers that run already are left as
/// they are: they may well use all there are.
fn pin_apart(targets: &[Target]) {
    let started = targets.iter().filter(|target| target.is_started());
    let pinned = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1)
        && process::pin(std::process::id(), CLIENT_CPU)
        && started
            .filter_map(|target| target.pid)
            .all(|pid| process::pin(pid, BROKER_CPU));
    if !pinned {
        eprintln!("processes are not pinned to processors: expect more noise");
    }
}

fn run_rounds(
    scenario: &Scenario,
    rounds: usize,
    targets: &[Target],
    conditions: &Conditions<'_>,
    report: &mut Report,
) -> bool {
    let mut all_well = true;
    for _ in 0..rounds {
        for (index, target) in targets.iter().enumerate() {
            match pump::run(target, scenario.shape, conditions) {
                Ok(figures) => report.add(scenario.name, index, &figures),
                Err(failure) => {
                    eprintln!("FAILED: {} on {}: {failure}", scenario.name, target.name);
                    all_well = false;
                }
            }
        }
    }
    all_well
}

const fn persistent(name: &'static str, queues: usize, window: u64) -> Scenario {
    Scenario {
        name,
        shape: Shape { queues, window },
    }
}

const BROKER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;
