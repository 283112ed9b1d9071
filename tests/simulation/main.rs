//! The simulator: the whole broker on a made-up network and clock, from one seed.
mod client;
mod commands;
mod event;
mod message;
mod model;
mod random;
mod socket;
mod temper;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Outcome, run};

/// What a check found wrong.
pub type Check<T = ()> = Result<T, String>;

#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

#[test]
fn every_seed_keeps_the_promises() {
    let count = number("LEVERET_SEEDS").unwrap_or(SEEDS);
    let first = number("LEVERET_SEED").unwrap_or(0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return failures;
                }
                failures.extend(outcome(seed, false).result.err().map(|error| (seed, error)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().expect("it catches panics"))
            .collect()
    });
    for (seed, error) in failures.iter().take(10) {
        eprintln!("seed {seed}: {error}\n    scripts/simulate {seed}");
    }
    assert!(
        failures.is_empty(),
        "{} of {count} seeds failed",
        failures.len()
    );
}

#[test]
fn a_seed_always_goes_the_same_way() {
    for seed in 0..20 {
        let (once, again) = (outcome(seed, false), outcome(seed, true));
        assert_eq!(once.hash, again.hash, "seed {seed}");
    }
}

/// `scripts/simulate SEED`
#[test]
#[ignore = "prints one run for people"]
fn replay() {
    let seed = number("LEVERET_SEED").expect("LEVERET_SEED says which");
    let outcome = outcome(seed, true);
    for line in &outcome.transcript {
        println!("{line}");
    }
    match outcome.result {
        Ok(()) => println!("seed {seed}: all promises kept"),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}

/// A panic is a failure like any other.
fn outcome(seed: u64, with_transcript: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, with_transcript))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned()));
        Outcome {
            hash: 0,
            transcript: Vec::new(),
            result: Err(format!("panic: {}", text.unwrap_or_default())),
        }
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How many seeds CI runs.
const SEEDS: u64 = 3000;
