//! Every scenario against several brokers in turn, beside the relay, as a table and as a page with charts.
//!
//! A round goes through all cases, and within a case through all targets, so that a disturbance of the machine meets them
//! all. Rounds are taken until there are enough of them or the time is over: the table has medians of what there is.

mod cases;
mod chart;
mod idle;
mod page;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::failure::{Failure, Kind, Result};
use crate::outcome::{Figure, Latencies};
use crate::process;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::{self, Target};
use cases::{Case, Extent};

/// What to compare, and for how long.
pub struct Plan {
    pub targets: Vec<String>,
    pub relay: bool,
    pub rounds: Option<usize>,
    pub quick: bool,
    pub only: Vec<String>,
    pub budget: Option<Duration>,
    /// Of targets that someone else has just started: how long that took, as `NAME=MILLISECONDS`.
    pub started: Vec<String>,
    /// A program to start afresh.
    pub leveret: Option<PathBuf>,
    pub out: Option<PathBuf>,
    pub json: bool,
}

/// All that was measured.
pub struct Comparison {
    pub targets: Vec<String>,
    pub cases: Vec<Case>,
    pub report: Report,
    /// Of the latency case, all rounds together, by target.
    pub latencies: Vec<Option<Latencies>>,
    pub rounds: usize,
    /// The machine's load before anything was measured; compilers beside a measurement spoil it.
    pub load_before: String,
    is_relay: Vec<bool>,
}

/// Measures, prints the table, writes the page.
///
/// # Errors
/// The first failure of a promise by the first target, or else the first failure there was; only when everything has
/// run, and after the table.
pub fn run(plan: &Plan) -> Result<()> {
    process::sharpen_timers();
    let targets = targets(plan)?;
    let extent = if plan.quick {
        Extent::QUICK
    } else {
        Extent::FULL
    };
    let cases = cases::cases(extent, &plan.only);
    if cases.is_empty() {
        return Err(Failure::new("no scenario's name begins so"));
    }
    let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    let mut comparison = Comparison {
        report: Report::new(names.clone()),
        latencies: vec![None; names.len()],
        targets: names,
        cases,
        rounds: 0,
        load_before: process::load_average(),
        is_relay: targets
            .iter()
            .map(|target| target.kind == target::Kind::Relay)
            .collect(),
    };
    if plan.only.is_empty() {
        idle::measure(plan, &targets, &mut comparison.report)?;
    }
    pin_apart(&targets);
    let failures = comparison.take_rounds(plan, &targets);
    let text = match plan.json {
        true => comparison.report.json(),
        false => comparison.report.table(),
    };
    println!("{text}");
    if let Some(path) = &plan.out {
        page::write(&comparison, path)?;
        eprintln!("charts: {}", path.display());
    }
    let mut failures = failures;
    failures.sort_by_key(|failure| failure.kind != Kind::Promise);
    failures.into_iter().next().map_or(Ok(()), Err)
}

impl Comparison {
    /// Which of the page's colours a target has; the relay's is grey.
    fn colour(&self, target: usize) -> usize {
        match self.is_relay[target] {
            true => GREY,
            false => target % COLOURS,
        }
    }

    fn take_rounds(&mut self, plan: &Plan, targets: &[Target]) -> Vec<Failure> {
        let rounds = plan.rounds.unwrap_or(if plan.quick { 1 } else { ROUNDS });
        let usual = if plan.quick { QUICK_BUDGET } else { BUDGET };
        let end_at = Instant::now() + plan.budget.unwrap_or(usual);
        let mut failures = Vec::new();
        for round in 0..rounds {
            let started = Instant::now();
            for index in 0..self.cases.len() {
                if Instant::now() > end_at {
                    eprintln!("time is over in round {}", round + 1);
                    return failures;
                }
                eprintln!(
                    "round {} of {rounds}: {}",
                    round + 1,
                    self.cases[index].title
                );
                for (number, target) in targets.iter().enumerate() {
                    if let Err(failure) = self.take(plan, index, (number, target), round) {
                        let case = self.cases[index].name;
                        let text = format!("{case} on {}: {failure}", target.name);
                        eprintln!("FAILED: {text}");
                        failures.push(failure.with_text(text));
                    }
                }
            }
            self.rounds = round + 1;
            // A round that cannot be finished is not begun, since some cases would have more rounds than others.
            if Instant::now() + started.elapsed() > end_at && round + 1 < rounds {
                eprintln!("{} rounds are taken: no time for another", round + 1);
                break;
            }
        }
        failures
    }

    fn take(
        &mut self,
        plan: &Plan,
        index: usize,
        (number, target): (usize, &Target),
        round: usize,
    ) -> Result<()> {
        let case = &self.cases[index];
        let fresh = match &plan.leveret {
            Some(program) if number == 0 && case.wants_fresh_broker() => {
                Some(idle::start(program)?)
            }
            _ => None,
        };
        let target = fresh.as_ref().map_or(target, |fresh| &fresh.target);
        let outcome = case.scenario.run(target, &case.load, Progress::silent())?;
        // Memory that a broker once took and keeps would count for nothing the second time.
        let keep = |figure: &&Figure| round == 0 || !figure.name.starts_with("resident");
        let figures: Vec<_> = outcome.figures.iter().filter(keep).cloned().collect();
        self.report.add(case.name, number, &figures);
        if let (cases::LATENCY, Some(latencies)) = (case.name, outcome.latencies) {
            match &mut self.latencies[number] {
                Some(all) => all.merge(&latencies),
                none => *none = Some(latencies),
            }
        }
        Ok(())
    }
}

fn targets(plan: &Plan) -> Result<Vec<Target>> {
    let targets = plan.targets.iter().map(|text| Target::parse(text));
    let mut targets: Vec<_> = targets.collect::<Result<_>>()?;
    if plan.relay {
        targets.push(Target::start_relay()?);
    }
    Ok(targets)
}

/// The client on one processor, brokers of one busy thread and the relay on another. A broker of many threads is left as
/// it is: it may well use all there are.
fn pin_apart(targets: &[Target]) {
    let few_threads =
        |pid: &u32| process::thread_count(*pid).is_some_and(|count| count <= THREADS_FEW);
    let pinned = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1)
        && process::pin(std::process::id(), CLIENT_CPU)
        && targets
            .iter()
            .filter(|target| target.kind == target::Kind::Relay || target.pid.is_some())
            .filter_map(|target| target.pid)
            .filter(few_threads)
            .all(|pid| process::pin(pid, BROKER_CPU));
    if !pinned {
        eprintln!("processes are not pinned to processors: expect more noise");
    }
}

const ROUNDS: usize = 3;
/// With what it takes to build and to start peers, less than ten minutes and one minute.
const BUDGET: Duration = Duration::from_secs(540);
const QUICK_BUDGET: Duration = Duration::from_secs(50);
pub const BROKER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;
const THREADS_FEW: usize = 4;
/// Beside grey.
const COLOURS: usize = 3;
const GREY: usize = 3;
