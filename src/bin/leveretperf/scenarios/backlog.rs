//! A queue that nobody reads fills up with a million messages, and is then drained: the rates of
//! both, and what a waiting message costs in memory.

use std::time::{Duration, Instant};

use super::fresh_name;
use crate::client::connection::{Connection, Life};
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result, STALL_SECONDS};
use crate::client::ledger::Ledger;
use crate::client::message::Publish;
use crate::client::publisher::{Pace, Publisher};
use crate::load::Load;
use crate::outcome::{BROKER_CPU, Figure, Outcome, growth_figure};
use crate::process::{self, Mark, Span};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay has no place for a backlog, hence no figures.
pub fn run(target: &Target, load: &Load, mut progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    let queue = fresh_name();
    let mut owner = Connection::open(&target.endpoint)?;
    owner.declare_queue(&queue, Life::Exclusive)?;
    let mut publisher = open_publisher(target, load, &queue)?;

    let resident = || target.pid.and_then(process::resident_bytes);
    let resident_before = resident();
    let from = Mark::now(target.pid, 0);
    let count = fill(&mut publisher, load, &mut owner, &queue, &mut progress)?;
    let to = Mark::now(target.pid, count);
    let span = Span { from, to };
    let mut figures = vec![
        Figure::new("filled/s", Some(span.rate())),
        Figure::new("fill CPU us each", span.broker_cpu()),
        growth_figure(resident_before, resident(), count),
    ];

    let from = Mark::now(target.pid, 0);
    if load.ack.is_some() {
        owner.set_prefetch(load.prefetch)?;
    }
    owner.consume(&queue, 0, load.ack.is_none())?;
    let mut consumer = Consumer::new(owner, 0, load.ack);
    drain(&mut consumer, count, &mut progress)?;
    let to = Mark::now(target.pid, count);
    let span = Span { from, to };
    figures.push(Figure::new("drained/s", Some(span.rate())));
    figures.push(Figure::new(BROKER_CPU, span.broker_cpu()));
    publisher.connection.close()?;
    consumer.connection.close()?;
    Ok(Outcome::new(figures))
}

fn open_publisher(target: &Target, load: &Load, queue: &str) -> Result<Publisher> {
    let mut connection = Connection::open(&target.endpoint)?;
    let message = Publish {
        routing_key: queue,
        persistent: load.persistent,
        body_size: load.body_size,
        frame_max: connection.frame_max,
        ..Publish::default()
    };
    let message = message.message();
    if load.confirm.is_some() {
        connection.select_confirms()?;
    }
    let pace = Pace {
        window: load.confirm.unwrap_or(WINDOW),
        confirms: load.confirm.is_some(),
        batch_max: u64::MAX,
    };
    Ok(Publisher::new(connection, &[(0, message)], pace))
}

/// Publishes until the queue holds as many as asked for, or as fit into the time. Returns how many.
fn fill(
    publisher: &mut Publisher,
    load: &Load,
    owner: &mut Connection,
    queue: &str,
    progress: &mut Progress,
) -> Result<u64> {
    let wanted = load.messages.unwrap_or(MESSAGES);
    let start = Instant::now();
    while publisher.published < wanted && start.elapsed() < FILL_MAX {
        if publisher.unconfirmed() + publisher.batch_count() > load.confirm.unwrap_or(WINDOW) {
            read_confirms(publisher)?;
        } else {
            publisher.write_batch(wanted - publisher.published)?;
        }
        progress.tell(Instant::now(), publisher.published);
    }
    while publisher.unconfirmed() > 0 {
        read_confirms(publisher)?;
    }
    // Without confirms the publisher is ahead of the broker by what the sockets hold, and more.
    let count = publisher.published;
    let deadline = Instant::now() + Duration::from_secs(STALL_SECONDS);
    while owner.count_messages(queue)? != count {
        if Instant::now() > deadline {
            return Err(Failure::promise(
                "the queue does not hold what was published",
            ));
        }
        std::thread::sleep(COUNT_AGAIN);
    }
    Ok(count)
}

fn read_confirms(publisher: &mut Publisher) -> Result<()> {
    if publisher.read_some()? {
        return Ok(());
    }
    let text = match &publisher.blocked {
        Some(reason) => format!("the broker blocks publishers: {reason}"),
        None => format!("no confirms come: {} are due", publisher.unconfirmed()),
    };
    Err(Failure::new(text))
}

fn drain(consumer: &mut Consumer, count: u64, progress: &mut Progress) -> Result<()> {
    let mut ledger = Ledger::by_queue(1, 1);
    while ledger.received < count {
        if !consumer.read_some(&mut ledger, |_| {})? {
            return Err(Failure::promise(format!(
                "nothing comes any more: {} of {count} messages drained",
                ledger.received
            )));
        }
        progress.tell(Instant::now(), ledger.received);
    }
    Ok(())
}

const MESSAGES: u64 = 1_000_000;
/// Without confirms nothing holds the publisher back but the broker.
const WINDOW: u64 = u64::MAX / 2;
/// A slow broker's backlog is smaller.
const FILL_MAX: Duration = Duration::from_secs(15);
const COUNT_AGAIN: Duration = Duration::from_millis(5);
