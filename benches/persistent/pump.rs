//! Persistent messages with publisher confirms through durable queues: what a promise that holds costs.
//!
//! **What is counted are confirms**; every message is also consumed and acknowledged meanwhile, so that
//! the broker's CPU time and bytes written are those of a message's whole life.
//!
//! **The floor** is a bare write and `fdatasync` of a window's bytes in the data directory's file system,
//! done right before. A broker that confirms what is not on stable storage can be faster than that.
//!
//! **What was written** comes from two sides: the process's count (`/proc/PID/io`) is of pages that it
//! made dirty, and of a large folio of the page cache all pages, so that it can say too much; the
//! device's counts what everybody on the machine wrote.
//!
//! One thread drives all connections, as in the throughput scenarios and for the same reasons.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::Conditions;
use crate::client::connection::Connection;
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result, STALL_SECONDS};
use crate::client::ledger::Ledger;
use crate::outcome::{Figure, Latencies, cost_figures};
use crate::process::{Mark, Span};
use crate::producers::Producers;
use crate::setup;
use crate::storage::{Storage, SyncCount, Written};
use crate::target::Target;

/// One publisher for every queue.
#[derive(Clone, Copy)]
pub struct Shape {
    pub queues: usize,
    /// Messages that each publisher may have under way, published and not confirmed.
    pub window: u64,
}

pub fn run(target: &Target, shape: Shape, conditions: &Conditions<'_>) -> Result<Vec<Figure>> {
    let floor_ns = conditions
        .storage
        .floor_ns(shape.window as usize * BODY_SIZE)?;
    let mut pump = Pump::new(target, shape)?;
    let stretch = pump.run(target, conditions)?;
    pump.close()?;

    let span = stretch.span;
    let mut figures = cost_figures(target, "confirms/s", span);
    figures.extend(stretch.latencies.figures());
    let p50 = (stretch.latencies.count() > 0).then(|| stretch.latencies.at(0.5));
    let floor_us = floor_ns as f64 / 1000.0;
    figures.push(Figure::new("floor p50 us", Some(floor_us)));
    figures.push(Figure::new("p50 / floor", p50.map(|p50| p50 / floor_us)));
    let payload = (span.to.count - span.from.count) as f64 * BODY_SIZE as f64;
    let seconds = (span.to.at - span.from.at).as_secs_f64();
    let (before, after) = stretch.written;
    figures.extend(after.figures(before, payload, seconds));
    if conditions.trace_syncs {
        figures.push(Figure::new("sync calls/s", stretch.syncs_per_second));
    }
    Ok(figures)
}

struct Pump {
    poll: Poll,
    /// Several publishers share each of a few connections.
    producers: Vec<Producers>,
    consumer: Consumer,
    ledger: Ledger,
    queues: Vec<String>,
}

/// What was measured, after the warm-up and before the end.
struct Stretch {
    span: Span,
    written: (Written, Written),
    latencies: Latencies,
    syncs_per_second: Option<f64>,
}

/// The beginning of a [`Stretch`].
struct Start {
    mark: Mark,
    written: Written,
    syncs: Option<SyncCount>,
}

impl Pump {
    fn new(target: &Target, shape: Shape) -> Result<Self> {
        let name = fresh_name();
        let queues: Vec<_> = (0..shape.queues)
            .map(|n| format!("{name}.{n:04}"))
            .collect();
        let mut consumer = Connection::open(&target.endpoint)?;
        consumer.set_prefetch(PREFETCH)?;
        for (number, queue) in queues.iter().enumerate() {
            setup::declare_durable_queue(&mut consumer, queue)?;
            consumer.consume(queue, number, false)?;
        }
        let mut producers = Vec::new();
        for queues in queues.chunks(shape.queues.div_ceil(CONNECTIONS)) {
            let connection = setup::open_publishing(&target.endpoint, queues.len() as u16)?;
            let messages = (1..).zip(queues);
            let messages =
                messages.map(|(channel, queue)| setup::persistent(channel, queue, BODY_SIZE));
            producers.push(Producers::new(
                connection,
                messages.collect(),
                shape.window,
            )?);
        }
        let consumer = Consumer::new(consumer, 0, Some(ACK_EVERY));
        let poll = Poll::new()?;
        let connections = producers.iter().map(|it| &it.connection);
        for (index, connection) in connections.chain([&consumer.connection]).enumerate() {
            connection.stream.set_nonblocking(true)?;
            let fd = connection.stream.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut SourceFd(&fd), Token(index), interest)?;
        }
        Ok(Pump {
            poll,
            producers,
            consumer,
            ledger: Ledger::by_queue(shape.queues, 1),
            queues,
        })
    }

    /// Warms up, measures for `duration`, then lets everything arrive.
    fn run(&mut self, target: &Target, conditions: &Conditions<'_>) -> Result<Stretch> {
        let (duration, storage) = (conditions.duration, conditions.storage);
        let mut events = Events::with_capacity(2 * CONNECTIONS);
        let warm_at = Instant::now() + duration / WARM_UP_SHARE;
        let end_at = warm_at + duration;
        let mut start: Option<Start> = None;
        let mut stretch = None;
        let mut progress_at = Instant::now();
        loop {
            let now = Instant::now();
            if start.is_none() && stretch.is_none() && now >= warm_at {
                for producers in &mut self.producers {
                    producers.latencies = Latencies::new()?;
                }
                start = Some(Start {
                    syncs: SyncCount::start(target.pid.filter(|_| conditions.trace_syncs)),
                    written: storage.written(target.pid),
                    mark: Mark::now(target.pid, self.confirmed()),
                });
            }
            if now >= end_at
                && let Some(start) = start.take()
            {
                stretch = Some(self.end(start, target, storage)?);
            }
            if self.is_drained()
                && let Some(stretch) = stretch.take()
            {
                return Ok(stretch);
            }
            if self.advance(stretch.is_none())? {
                progress_at = now;
            } else if now - progress_at > Duration::from_secs(STALL_SECONDS) {
                return Err(self.stalled());
            } else {
                self.wait(&mut events)?;
            }
        }
    }

    fn end(&mut self, start: Start, target: &Target, storage: &Storage) -> Result<Stretch> {
        let to = Mark::now(target.pid, self.confirmed());
        let written = storage.written(target.pid);
        let mut latencies = Latencies::new()?;
        for producers in &self.producers {
            latencies.merge(&producers.latencies);
        }
        Ok(Stretch {
            latencies,
            syncs_per_second: start.syncs.and_then(SyncCount::per_second),
            span: Span {
                from: start.mark,
                to,
            },
            written: (start.written, written),
        })
    }

    /// One read and one write on each socket that may have something. Returns whether any had.
    fn advance(&mut self, may_publish: bool) -> Result<bool> {
        let mut progress = false;
        if self.consumer.readable {
            progress |= self.consumer.read_some(&mut self.ledger, |_| {})?;
        }
        let mut room = BACKLOG_MAX.saturating_sub(self.published() - self.ledger.received);
        if !may_publish {
            room = 0;
        }
        for producers in &mut self.producers {
            if producers.readable {
                progress |= producers.read_some()?;
            }
            if producers.writable && (room > 0 || producers.has_unsent()) {
                let published = producers.published;
                progress |= producers.write_some(room)?;
                room -= producers.published - published;
            }
        }
        Ok(progress)
    }

    fn published(&self) -> u64 {
        self.producers.iter().map(|it| it.published).sum()
    }

    fn confirmed(&self) -> u64 {
        self.producers.iter().map(|it| it.confirmed).sum()
    }

    fn is_drained(&self) -> bool {
        let published = self.published();
        self.ledger.received == published && self.confirmed() == published
    }

    fn wait(&mut self, events: &mut Events) -> Result<()> {
        match self.poll.poll(events, Some(POLL_MAX)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*events {
            match self.producers.get_mut(event.token().0) {
                Some(producers) => {
                    producers.readable |= event.is_readable();
                    producers.writable |= event.is_writable();
                }
                None => self.consumer.readable |= event.is_readable(),
            }
        }
        Ok(())
    }

    /// The queues would outlive their connections.
    fn close(mut self) -> Result<()> {
        for producers in self.producers {
            producers.connection.close()?;
        }
        self.consumer.connection.stream.set_nonblocking(false)?;
        self.consumer.flush()?;
        for queue in &self.queues {
            setup::delete_queue(&mut self.consumer.connection, queue)?;
        }
        self.consumer.connection.close()
    }

    fn stalled(&self) -> Failure {
        Failure::new(format!(
            "stalled: {} published, {} confirmed, {} received",
            self.published(),
            self.confirmed(),
            self.ledger.received
        ))
    }
}

/// A name that no earlier scenario used, always of the same length.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("bench.{:05}.{number:04}", std::process::id() % 100_000)
}

const BODY_SIZE: usize = 1 << 10;
const PREFETCH: u16 = 1000;
/// Deliveries per acknowledgement.
const ACK_EVERY: u64 = 100;
/// Over which publishers are spread evenly.
const CONNECTIONS: usize = 4;
/// Messages published and not yet received, at most: a broker that confirms faster than it delivers
/// would else be measured with a growing backlog.
const BACKLOG_MAX: u64 = 40_000;
/// Wakes the loop to look for a stall, and at the ends of the measured stretch.
const POLL_MAX: Duration = Duration::from_millis(20);
/// The warm-up takes this part of the measured time.
const WARM_UP_SHARE: u32 = 5;
