//! As many messages per second as go through, in steady state.
//!
//! **Messages in flight are bounded**, to about 1 MiB and at most 20,000. Without a bound, the
//! publisher outruns the broker at first; what is measured then is how a broker stores a growing
//! backlog, and soon how it throttles publishers or raises its memory alarm, each in its own way. The
//! bound is wide enough to keep every stage busy, and the backlog has a scenario of its own.
//!
//! **What is counted are deliveries**: with fan-out, a message published counts once for every queue.
//!
//! **One thread drives all connections.** On a machine of two cores this leaves one to the broker,
//! always; with two client threads the three would compete for two cores, and the scheduler's choices
//! would be in the figures. It also makes the bound exact at no cost, and is enough: a message costs
//! the client a fraction of what it costs any broker. A broker that uses several threads shares the
//! client's core: compare CPU per message rather than rates. Where the client's CPU per message comes
//! near to the inverse of the rate, the client is the limit (the relay's case).

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::path::Path;
use crate::client::failure::{Failure, Result, STALL_SECONDS};
use crate::load::Load;
use crate::outcome::{DELIVERIES, Figure, Outcome, cost_figures};
use crate::process::{Mark, Span};
use crate::progress::Progress;
use crate::target::Target;

pub fn run(target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
    let batch_max = load
        .rate
        .map_or(u64::MAX, |rate| ((rate / WRITES_PER_SECOND) as u64).max(1));
    let mut pump = Pump::new(Path::open(target, load, batch_max)?, load)?;
    let span = pump.run(target, load, progress)?;
    let redelivered = pump.path.ledger.redelivered;
    pump.path.close()?;
    let mut figures = cost_figures(target, DELIVERIES, span);
    figures.push(Figure::new(
        "MB/s",
        Some(span.rate() * load.body_size as f64 / 1e6),
    ));
    if redelivered > 0 {
        let count = Some(redelivered as f64);
        figures.push(Figure::new("redelivered", count));
    }
    Ok(Outcome::new(figures))
}

struct Pump {
    poll: Poll,
    path: Path,
    /// Messages that may be published and not yet delivered to every queue.
    in_flight_max: u64,
    /// Who may publish first, so that all get their share.
    turn: usize,
    started: Instant,
    rate: Option<f64>,
    messages_max: u64,
    /// Messages published.
    published: u64,
}

impl Pump {
    fn new(path: Path, load: &Load) -> Result<Self> {
        let poll = Poll::new()?;
        let publishers = path.publishers.iter().map(|it| &it.connection);
        let consumers = path.consumers.iter().map(|it| &it.connection);
        for (index, connection) in publishers.chain(consumers).enumerate() {
            connection.stream.set_nonblocking(true)?;
            let fd = connection.stream.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut SourceFd(&fd), Token(index), interest)?;
        }
        // Whole batches, so that the last one of a window need not wait for its room.
        let batches = path.publishers.iter().map(|it| {
            let batch = it.batch_count();
            (path.in_flight / batch).max(1) * batch
        });
        Ok(Pump {
            in_flight_max: batches.sum::<u64>(),
            poll,
            path,
            turn: 0,
            started: Instant::now(),
            rate: load.rate,
            messages_max: load.messages_max(),
            published: 0,
        })
    }

    /// Warms up, measures for as long as told, then lets everything arrive. The span is the middle. Where
    /// messages are counted there is no warm-up, and the span ends with the last of them.
    fn run(&mut self, target: &Target, load: &Load, mut progress: Progress) -> Result<Span> {
        let mut events = Events::with_capacity(64);
        let warm_up = match load.messages {
            Some(_) => Duration::ZERO,
            None => load.duration / WARM_UP_SHARE,
        };
        let warm_at = Instant::now() + warm_up;
        let end_at = warm_at + load.duration;
        let (mut from, mut span) = (None, None);
        let mut moved_at = Instant::now();
        loop {
            let now = Instant::now();
            progress.tell(now, self.path.ledger.received);
            if from.is_none() && now >= warm_at {
                from = Some(Mark::now(target.pid, self.path.ledger.received));
            }
            let all_sent = self.published >= self.messages_max;
            let enough = now >= end_at || all_sent && self.is_drained();
            if let (Some(from), None, true) = (from, span, enough) {
                let to = Mark::now(target.pid, self.path.ledger.received);
                span = Some(Span { from, to });
            }
            if let Some(span) = span
                && self.is_drained()
            {
                return Ok(span);
            }
            if self.advance(span.is_none())? {
                moved_at = now;
            } else if now - moved_at > self.patience() {
                return Err(self.stalled());
            } else {
                self.wait(&mut events)?;
            }
        }
    }

    /// One read and one write on each socket that may have something. Returns whether any had.
    fn advance(&mut self, may_publish: bool) -> Result<bool> {
        let mut moved = false;
        for consumer in &mut self.path.consumers {
            if consumer.readable {
                moved |= consumer.read_some(&mut self.path.ledger, |_| {})?;
            }
        }
        let count = self.path.publishers.len();
        self.turn += 1;
        for index in (0..count).map(|index| (index + self.turn) % count) {
            if self.path.publishers[index].readable {
                moved |= self.path.publishers[index].read_some()?;
            }
            let (room, left) = if may_publish {
                self.room(index)
            } else {
                (0, 0)
            };
            let publisher = &mut self.path.publishers[index];
            if publisher.writable && (room > 0 || publisher.has_unsent()) {
                let before = publisher.published;
                moved |= publisher.write_some(room, left)?;
                self.published += publisher.published - before;
            }
        }
        Ok(moved)
    }

    /// Messages that a publisher may send now, and those that are left to send.
    fn room(&self, index: usize) -> (u64, u64) {
        let publisher = &self.path.publishers[index];
        let left = self.messages_max - self.published;
        let in_flight = self.published - self.path.ledger.received / self.path.fan_out;
        let mut room = self.in_flight_max.saturating_sub(in_flight).min(left);
        if publisher.confirms.is_some() {
            room = room.min(self.path.window.saturating_sub(publisher.unconfirmed()));
        }
        if let Some(rate) = self.rate {
            let due = (self.started.elapsed().as_secs_f64() * rate) as u64;
            room = room.min(due.saturating_sub(self.published));
        }
        if publisher.blocked.is_some() {
            room = 0;
        }
        (room, left)
    }

    fn is_drained(&self) -> bool {
        let publishers = &self.path.publishers;
        let unconfirmed: u64 = publishers.iter().map(|it| it.unconfirmed()).sum();
        let all_sent = publishers.iter().all(|it| !it.has_unsent());
        let all_received = self.path.ledger.received == self.published * self.path.fan_out;
        all_sent && all_received && unconfirmed <= self.path.unconfirmed_at_end
    }

    fn wait(&mut self, events: &mut Events) -> Result<()> {
        let longest = self.rate.map_or(POLL_MAX, |_| RATED_POLL_MAX);
        match self.poll.poll(events, Some(longest)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*events {
            let index = event.token().0;
            if let Some(publisher) = self.path.publishers.get_mut(index) {
                publisher.readable |= event.is_readable();
                publisher.writable |= event.is_writable();
            } else if let Some(consumer) = self
                .path
                .consumers
                .get_mut(index - self.path.publishers.len())
            {
                consumer.readable |= event.is_readable();
            }
        }
        Ok(())
    }

    /// A broker that said that it is short of something gets more time than one that says nothing.
    fn patience(&self) -> Duration {
        Duration::from_secs(match self.blocked() {
            Some(_) => BLOCKED_SECONDS_MAX,
            None => STALL_SECONDS,
        })
    }

    fn blocked(&self) -> Option<&str> {
        let mut publishers = self.path.publishers.iter();
        publishers.find_map(|it| it.blocked.as_deref())
    }

    /// What was sent to the last byte and does not come is lost.
    fn stalled(&self) -> Failure {
        let publishers = &self.path.publishers;
        let unconfirmed: u64 = publishers.iter().map(|it| it.unconfirmed()).sum();
        let text = format!(
            "nothing moves: {} published, {unconfirmed} unconfirmed, {} of {} deliveries received",
            self.published,
            self.path.ledger.received,
            self.published * self.path.fan_out
        );
        match self.blocked() {
            Some(reason) => Failure::new(format!("{text}; the broker blocks publishers: {reason}")),
            None if publishers.iter().all(|it| !it.has_unsent()) => Failure::promise(text),
            None => Failure::new(text),
        }
    }
}

/// Wakes the loop to look for a stall, and at the ends of the measured stretch.
const POLL_MAX: Duration = Duration::from_millis(20);
const RATED_POLL_MAX: Duration = Duration::from_millis(1);
const BLOCKED_SECONDS_MAX: u64 = 60;
/// With a rate to keep, batches are small enough for so many.
const WRITES_PER_SECOND: f64 = 200.0;
/// The warm-up takes this part of the measured time.
const WARM_UP_SHARE: u32 = 5;
