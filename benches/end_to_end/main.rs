//! The end-to-end benchmark: whole brokers, as clients see them, with what they cost the machine.
//!
//! It shares no code with leveret and speaks AMQP 0-9-1 by itself, so that it can measure any broker
//! and never shares a fault with ours. Next to each broker stands the relay, a process that passes
//! the same bytes on without reading them: the machine's own limit, and the measure of DESIGN §3.
//!
//! ```text
//! cargo bench --bench end_to_end -- --help
//! cargo bench --bench end_to_end -- --only transient --peer rabbitmq=127.0.0.1:5672:PID
//! ```
//!
//! Targets take turns within each scenario (leveret, peer, relay, leveret, …), so that a disturbance
//! of the machine meets them all; the table shows medians. CPU figures come from `/proc`: they hold
//! still where rates do not, and are what to compare. A message lost, duplicated or out of order
//! fails its scenario and, at the end, the run.
//!
//! Reading order: `scenario/mod.rs`, `scenario/throughput.rs`, then what they use.

mod connection;
mod consumer;
mod deep;
mod failure;
mod options;
mod process;
mod producers;
mod publisher;
mod relay;
mod report;
mod scanner;
mod scenario;
mod storage;
mod target;
mod wire;

use std::process::ExitCode;

use failure::Result;
use options::{Command, Options};
use report::Report;
use scenario::{Conditions, Scenario};
use target::Target;

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Print(text)) => {
            println!("{text}");
            Ok(true)
        }
        Ok(Command::Relay) => relay::run().map(|()| true).map_err(Into::into),
        Ok(Command::Deep(options, count)) => deep::measure(&options, count).map(|()| true),
        Ok(Command::Measure(options)) => measure(&options),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("end_to_end: {failure}");
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
        let rounds = match options.scenarios.len() {
            1 => options.rounds,
            _ => options.rounds.min(scenario.rounds_max()),
        };
        all_well &= run_rounds(scenario, rounds, &targets, &conditions, &mut report);
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
            match scenario.run(target, conditions) {
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

const BROKER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;
