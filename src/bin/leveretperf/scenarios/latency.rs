//! How long a message takes at a steady rate, from one connection to another.
//!
//! An open loop: each message has its time, whether or not the one before has arrived, and latency
//! counts from the intended time, so that a broker which holds the publisher up for a while is charged
//! for everything that should have been sent meanwhile (no coordinated omission). The publisher has a
//! thread of its own that sleeps from message to message; a thread that spins would take one of two
//! cores from a broker that uses both. What the sleep is late by is in the figures, for every broker
//! alike: see the relay's.

use std::time::{Duration, Instant};

use super::path::Path;
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result};
use crate::client::ledger::Ledger;
use crate::client::publisher::Publisher;
use crate::load::Load;
use crate::outcome::{DELIVERIES, Latencies, Outcome, cost_figures};
use crate::process::{Mark, Span, sharpen_timers};
use crate::progress::Progress;
use crate::target::Target;

pub fn run(target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
    sharpen_timers();
    let mut path = Path::open(target, load, BATCH_MAX)?;
    let ([publisher], [consumer]) = (&mut path.publishers[..], &mut path.consumers[..]) else {
        return Err(Failure::new("latency has one publisher and one consumer"));
    };
    let interval_ns = ((1e9 / load.rate.unwrap_or(RATE)) as u64).max(1);
    let all = (load.duration + WARM_UP).as_nanos() as u64 / interval_ns;
    let schedule = Schedule {
        start: Instant::now(),
        interval_ns,
        count: all.min(load.messages_max()),
    };
    let mut receiver = Receiver {
        target,
        consumer,
        ledger: &mut path.ledger,
        latencies: Latencies::new()?,
        progress,
    };
    let span = std::thread::scope(|scope| {
        let sending = scope.spawn(|| schedule.send(publisher));
        let received = receiver.receive(&schedule);
        sending.join().expect("the sender does not panic")?;
        received
    })?;
    let latencies = receiver.latencies;
    path.close()?;
    let figures = cost_figures(target, DELIVERIES, span);
    Ok(Outcome::with_latencies(figures, latencies))
}

/// Message `n` is due at `start + n * interval_ns`, and carries that offset as its stamp.
struct Schedule {
    start: Instant,
    interval_ns: u64,
    count: u64,
}

struct Receiver<'a> {
    target: &'a Target,
    consumer: &'a mut Consumer,
    ledger: &'a mut Ledger,
    latencies: Latencies,
    progress: Progress,
}

impl Schedule {
    fn send(&self, publisher: &mut Publisher) -> Result<()> {
        let mut sent = 0;
        while sent < self.count {
            let due = self.start.elapsed().as_nanos() as u64 / self.interval_ns + 1;
            // A sender that was held up for long still writes in pieces.
            let until = due.min(self.count);
            if sent < until {
                sent = publisher.write_stamped(sent, until, |number| number * self.interval_ns)?;
            }
            let next = Duration::from_nanos(sent * self.interval_ns);
            std::thread::sleep(next.saturating_sub(self.start.elapsed()));
        }
        Ok(())
    }
}

impl Receiver<'_> {
    /// Receives everything; returns the span after the warm-up.
    fn receive(&mut self, schedule: &Schedule) -> Result<Span> {
        let start = schedule.start;
        let mut from = None;
        while self.ledger.received < schedule.count {
            let mut now = None;
            let latencies = &mut self.latencies;
            let came = self.consumer.read_some(self.ledger, |stamp| {
                // One look at the clock per read: what came together was there together.
                let now = *now.get_or_insert_with(|| start.elapsed().as_nanos() as u64);
                if from.is_some() {
                    latencies.record(now.saturating_sub(stamp));
                }
            })?;
            if !came {
                return Err(Failure::promise(format!(
                    "nothing comes any more: {} of {} messages received",
                    self.ledger.received, schedule.count
                )));
            }
            self.progress.tell(Instant::now(), self.ledger.received);
            if from.is_none() && start.elapsed() >= WARM_UP {
                from = Some(Mark::now(self.target.pid, self.ledger.received));
            }
        }
        let to = Mark::now(self.target.pid, self.ledger.received);
        let from = from.unwrap_or(to);
        Ok(Span { from, to })
    }
}

/// Messages per second.
const RATE: f64 = 10_000.0;
const WARM_UP: Duration = Duration::from_millis(300);
const BATCH_MAX: u64 = 1000;
