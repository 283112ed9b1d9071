//! What company does to a stream: latency at a steady rate, alone and beside others, in turns.
//!
//! Turns alternate, so that a disturbance of the machine meets them all. The change is the median of what each turn
//! was beside the lone one of its round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::latency;
use crate::client::failure::{Failure, Result};
use crate::load::Load;
use crate::outcome::{Figure, Outcome};
use crate::progress::Progress;
use crate::target::Target;

/// Somebody who is there beside the stream.
pub struct Company<'a> {
    /// Of its figures: the median, the 99th percentile, and by how much that is more than alone.
    names: [&'static str; 3],
    keep: Box<Keep<'a>>,
}

type Keep<'a> = dyn Fn(&Stage) -> Result<()> + Sync + 'a;

/// How far a turn has come.
#[derive(Default)]
pub struct Stage {
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

impl<'a> Company<'a> {
    /// `keep` prepares, says that it begins, and returns soon after the turn is over.
    pub fn new(
        names: [&'static str; 3],
        keep: impl Fn(&Stage) -> Result<()> + Sync + 'a,
    ) -> Company<'a> {
        let keep = Box::new(keep);
        Company { names, keep }
    }
}

impl Stage {
    /// All is prepared.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn await_begin(&self) -> Result<()> {
        let since = Instant::now();
        while !self.has_begun.load(Ordering::Relaxed) {
            if since.elapsed() > PATIENCE {
                return Err(Failure::new("the company did not come"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// The stream alone, then beside each of them, and all that so many times; figures of the lone stream first.
pub fn take_turns(
    target: &Target,
    load: &Load,
    companies: &[Company<'_>],
    rounds: u64,
    mut progress: Progress,
) -> Result<Vec<Figure>> {
    let mut alone = Turns::default();
    let mut turns: Vec<_> = companies.iter().map(|_| Turns::default()).collect();
    for round in 0..rounds {
        alone.note(latency::run(target, load, Progress::silent())?);
        for (company, turns) in companies.iter().zip(&mut turns) {
            turns.note(take_turn(target, load, company)?);
        }
        progress.tell(Instant::now(), round + 1);
    }
    let mut figures = vec![
        Figure::new("alone p50 us", median(&alone.p50)),
        Figure::new("alone p99 us", median(&alone.p99)),
    ];
    for (company, turns) in companies.iter().zip(&turns) {
        let pairs = turns.p99.iter().zip(&alone.p99);
        let changes: Vec<f64> = pairs
            .map(|(with, without)| (with / without - 1.0) * 100.0)
            .collect();
        let values = [&turns.p50, &turns.p99, &changes];
        let named = company.names.into_iter().zip(values);
        figures.extend(named.map(|(name, values)| Figure::new(name, median(values))));
    }
    Ok(figures)
}

fn take_turn(target: &Target, load: &Load, company: &Company<'_>) -> Result<Outcome> {
    let stage = Stage::default();
    thread::scope(|scope| {
        let kept = scope.spawn(|| {
            let kept = (company.keep)(&stage);
            // Whoever could not prepare must not be waited for.
            stage.begin();
            kept
        });
        let outcome = stage.await_begin().and_then(|()| {
            thread::sleep(SETTLING);
            latency::run(target, load, Progress::silent())
        });
        stage.is_over.store(true, Ordering::Relaxed);
        kept.join().expect("company does not panic")?;
        outcome
    })
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Microseconds, a figure for each turn.
#[derive(Default)]
struct Turns {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Turns {
    fn note(&mut self, outcome: Outcome) {
        let latencies = outcome.latencies.expect("latency takes them");
        self.p50.push(latencies.at(0.5));
        self.p99.push(latencies.at(0.99));
    }
}

const SETTLING: Duration = Duration::from_millis(500);
/// Ten million messages are published in less.
const PATIENCE: Duration = Duration::from_secs(60);
