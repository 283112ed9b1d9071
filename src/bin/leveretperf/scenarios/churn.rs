//! Clients that come, do one thing and go: connect, declare a queue, publish to it, get the message, close.
//!
//! Each publisher (one, unless told otherwise) is a thread that does so over and over.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fresh_name;
use crate::client::connection::{Connection, Life};
use crate::client::failure::{Failure, Result};
use crate::client::message::Publish;
use crate::client::wire::{self, BODY, CHANNEL, HEADER, Method};
use crate::load::Load;
use crate::outcome::{Latencies, Outcome, cost_figures};
use crate::process::{Mark, Span};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay has no queues, hence no figures.
pub fn run(target: &Target, load: &Load, mut progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    cycle(target, load, 0)?;
    let cycles = AtomicU64::new(0);
    let from = Mark::now(target.pid, 0);
    let end_at = from.at + load.duration;
    let count_max = load.count.unwrap_or(CYCLES_MAX);
    let work = || -> Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let mut now = Instant::now();
        while now < end_at {
            let number = cycles.fetch_add(1, Ordering::Relaxed);
            if number >= count_max {
                cycles.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            cycle(target, load, number)?;
            let after = Instant::now();
            latencies.record((after - now).as_nanos() as u64);
            now = after;
        }
        Ok(latencies)
    };
    let mut latencies = Latencies::new()?;
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..load.publishers).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(LOOK_AGAIN);
            progress.tell(Instant::now(), cycles.load(Ordering::Relaxed));
        }
        for worker in workers {
            latencies.merge(&worker.join().expect("a worker does not panic")?);
        }
        Ok(())
    })?;
    let to = Mark::now(target.pid, latencies.count());
    let figures = cost_figures(target, "cycles/s", Span { from, to });
    Ok(Outcome::with_latencies(figures, latencies))
}

fn cycle(target: &Target, load: &Load, number: u64) -> Result<()> {
    let mut connection = Connection::open(&target.endpoint)?;
    let queue = fresh_name();
    connection.declare_queue(&queue, Life::Exclusive)?;
    let message = Publish {
        routing_key: &queue,
        persistent: load.persistent,
        body_size: load.body_size,
        frame_max: connection.frame_max,
        ..Publish::default()
    };
    let mut message = message.message();
    message.set_sequence(number);
    let get = Method::new(wire::BASIC_GET).u16(0).short(&queue).u8(NO_ACK);
    message.bytes.extend_from_slice(&get.frame(CHANNEL));
    connection.stream.write_all(&message.bytes)?;
    // An empty answer (get-empty) is another method, and a failure.
    connection.expect(wire::BASIC_GET_OK)?;
    let header = connection.read_frame()?;
    let body = connection.read_frame()?;
    if (header.kind, body.kind) != (HEADER, BODY) || wire::u64_at(&body.payload, 0) != Some(number)
    {
        return Err(Failure::promise(
            "another message came back than was published",
        ));
    }
    connection.close()
}

const NO_ACK: u8 = 1;
/// Sockets that were closed keep their ports for a minute.
const CYCLES_MAX: u64 = 20_000;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
