//! How long a message takes at a steady 10,000 messages per second, from one connection to another.
//!
//! An open loop: each message has its time, whether or not the one before has arrived, and latency
//! counts from the intended time, so that a broker which holds the publisher up for a while is charged
//! for everything that should have been sent meanwhile (no coordinated omission). The publisher has a
//! thread of its own that sleeps from message to message; a thread that spins would take one of two
//! cores from a broker that uses both. What the sleep is late by is in the figures, for every broker
//! alike: see the relay's.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Path, Shape, cost_figures};
use crate::connection::Connection;
use crate::consumer::Consumer;
use crate::failure::{Failure, Result};
use crate::process::{Mark, Span};
use crate::report::{Figure, latency_figures};
use crate::target::Target;
use crate::wire::Message;

pub fn run(target: &Target, duration: Duration) -> Result<Vec<Figure>> {
    let path = Path::open(target, SHAPE)?;
    let mut consumer = Consumer::new(path.consumer, path.queues, path.copies, None);
    let schedule = Schedule {
        start: Instant::now(),
        count: (duration + WARM_UP).as_nanos() as u64 / INTERVAL_NS,
    };
    let (mut publisher, message) = (path.publisher, path.message);
    let (span, latencies) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| schedule.send(&mut publisher, message));
        let received = schedule.receive(target, &mut consumer);
        sending.join().expect("the sender does not panic")?;
        received
    })?;
    publisher.close()?;
    consumer.connection.close()?;
    let mut figures = latency_figures(latencies);
    figures.extend(cost_figures(target, "deliveries/s", span));
    Ok(figures)
}

/// Message `n` is due at `start + n * INTERVAL_NS`, and carries that offset as its stamp.
struct Schedule {
    start: Instant,
    count: u64,
}

impl Schedule {
    fn send(&self, publisher: &mut Connection, mut message: Message) -> Result<()> {
        let mut sent = 0;
        let mut batch = Vec::new();
        while sent < self.count {
            let now = self.start.elapsed();
            let due = now.as_nanos() as u64 / INTERVAL_NS + 1;
            // A sender that was held up for long still writes in pieces.
            let until = due.min(self.count).min(sent + BATCH_MAX);
            batch.clear();
            for number in sent..until {
                message.set_sequence(number);
                message.set_stamp(number * INTERVAL_NS);
                batch.extend_from_slice(&message.bytes);
            }
            sent = until;
            publisher.stream.write_all(&batch)?;
            let next = Duration::from_nanos(sent * INTERVAL_NS);
            std::thread::sleep(next.saturating_sub(self.start.elapsed()));
        }
        Ok(())
    }

    /// Receives everything; returns the span after the warm-up, and its latencies in nanoseconds.
    fn receive(&self, target: &Target, consumer: &mut Consumer) -> Result<(Span, Vec<u64>)> {
        let mut latencies = Vec::with_capacity(self.count as usize);
        let mut from = None;
        while consumer.received < self.count {
            let start = self.start;
            let mut now = None;
            let came = consumer.read_some(|stamp| {
                // One look at the clock per read: what came together was there together.
                let now = *now.get_or_insert_with(|| start.elapsed().as_nanos() as u64);
                if from.is_some() {
                    latencies.push(now.saturating_sub(stamp));
                }
            })?;
            if !came {
                return Err(Failure::new("stalled"));
            }
            if from.is_none() && self.start.elapsed() >= WARM_UP {
                from = Some(Mark::now(target.pid, consumer.received));
            }
        }
        let to = Mark::now(target.pid, consumer.received);
        let from = from.unwrap_or(to);
        Ok((Span { from, to }, latencies))
    }
}

const SHAPE: Shape = super::ONE_QUEUE;
/// 10,000 messages per second.
const INTERVAL_NS: u64 = 100_000;
const WARM_UP: Duration = Duration::from_millis(200);
const BATCH_MAX: u64 = 1000;
