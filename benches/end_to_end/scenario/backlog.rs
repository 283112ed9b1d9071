//! A queue that nobody reads fills up with a million messages, and is then drained: the rates of
//! both, and what a waiting message costs in memory.

use std::time::{Duration, Instant};

use super::{cost_figures, fresh_name, growth_figure};
use crate::connection::Connection;
use crate::consumer::Consumer;
use crate::failure::{Failure, Result, STALL_SECONDS};
use crate::process::{self, Mark, Span};
use crate::publisher::Publisher;
use crate::report::Figure;
use crate::target::{Kind, Target};
use crate::wire::Message;

/// The relay has no place for a backlog, hence no figures.
pub fn run(target: &Target) -> Result<Vec<Figure>> {
    if target.kind == Kind::Relay {
        return Ok(Vec::new());
    }
    let queue = fresh_name();
    let mut consumer = Connection::open(target.address)?;
    consumer.declare_queue(&queue)?;
    let message = Message::publish("", &queue, BODY_SIZE);
    let publisher = Connection::open(target.address)?;
    let mut publisher = Publisher::new(publisher, &message, u64::MAX, false);

    let resident = || target.pid.and_then(process::resident_bytes);
    let resident_before = resident();
    let from = Mark::now(target.pid, 0);
    let count = fill(&mut publisher, &mut consumer, &queue)?;
    let to = Mark::now(target.pid, count);
    let mut figures = cost_figures(target, "filled/s", Span { from, to });
    figures.push(growth_figure(resident_before, resident(), count));

    let from = Mark::now(target.pid, 0);
    consumer.consume(&queue, 0, true)?;
    let mut consumer = Consumer::new(consumer, 1, 1, None);
    drain(&mut consumer, count)?;
    let to = Mark::now(target.pid, count);
    let span = Span { from, to };
    figures.push(Figure::new("drained/s", Some(span.rate())));
    figures.push(Figure::new("drain CPU us each", span.broker_cpu()));
    publisher.connection.close()?;
    consumer.connection.close()?;
    Ok(figures)
}

/// Publishes until the queue holds [`MESSAGES`], or as many as fit into the time. Returns how many.
fn fill(publisher: &mut Publisher, owner: &mut Connection, queue: &str) -> Result<u64> {
    let start = Instant::now();
    while publisher.published < MESSAGES && start.elapsed() < FILL_MAX {
        publisher.write_batch(MESSAGES - publisher.published)?;
    }
    // The publisher is ahead of the broker by what the sockets hold, and more.
    let count = publisher.published;
    let deadline = Instant::now() + Duration::from_secs(STALL_SECONDS);
    while owner.count_messages(queue)? != count {
        if Instant::now() > deadline {
            return Err(Failure::new("the queue does not hold what was published"));
        }
        std::thread::sleep(COUNT_AGAIN);
    }
    Ok(count)
}

fn drain(consumer: &mut Consumer, count: u64) -> Result<()> {
    while consumer.received < count {
        if !consumer.read_some(|_| {})? {
            return Err(Failure::new(format!(
                "stalled: {} of {count} messages drained",
                consumer.received
            )));
        }
    }
    Ok(())
}

const MESSAGES: u64 = 1_000_000;
const BODY_SIZE: usize = 100;
/// A slow broker's backlog is smaller.
const FILL_MAX: Duration = Duration::from_secs(10);
const COUNT_AGAIN: Duration = Duration::from_millis(5);
