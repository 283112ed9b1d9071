//! As many messages per second as go through, in steady state.
//!
//! **Messages in flight are bounded**, to about 1 MiB and at most 20,000. Without a bound, the
//! publisher outruns the broker at first; what is measured then is how a broker stores a growing
//! backlog, and soon how it throttles publishers or raises its memory alarm, each in its own way. The
//! bound is wide enough to keep every stage busy, and the backlog has a scenario of its own.
//!
//! **What is counted are deliveries**: with fan-out, a message published counts once for every queue.
//!
//! **One thread drives both connections.** On a machine of two cores this leaves one to the broker,
//! always; with two client threads the three would compete for two cores, and the scheduler's choices
//! would be in the figures. It also makes the bound exact at no cost. A broker that uses several
//! threads shares the client's core: compare CPU per message rather than rates. Where the client's
//! CPU per message comes near to the inverse of the rate, the client is the limit (the relay's case).

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::{ACK_EVERY, Path, Shape, cost_figures};
use crate::consumer::Consumer;
use crate::failure::{Failure, Result, STALL_SECONDS};
use crate::process::{Mark, Span};
use crate::publisher::{self, Publisher};
use crate::report::Figure;
use crate::target::Target;

pub fn run(target: &Target, shape: Shape, duration: Duration) -> Result<Vec<Figure>> {
    let path = Path::open(target, shape)?;
    let mut pump = Pump::new(path, shape)?;
    let span = pump.run(target, duration)?;
    pump.publisher.connection.close()?;
    pump.consumer.connection.close()?;
    Ok(cost_figures(target, "deliveries/s", span))
}

struct Pump {
    poll: Poll,
    publisher: Publisher,
    consumer: Consumer,
    /// Deliveries that each message makes.
    fan_out: u64,
    /// Messages that may be published and not yet delivered to every queue.
    in_flight_max: u64,
    unconfirmed_at_end: u64,
}

impl Pump {
    fn new(path: Path, shape: Shape) -> Result<Self> {
        let fan_out = shape.queues as u64;
        let message_size = path.message.bytes.len();
        let by_size = (IN_FLIGHT_BYTES / message_size) as u64;
        let by_count = by_size.min(IN_FLIGHT_DELIVERIES) / fan_out;
        let window = if shape.acknowledged {
            CONFIRM_WINDOW
        } else {
            by_count
        };
        let ack_every = shape.acknowledged.then_some(ACK_EVERY);
        // Whole batches, so that the last one of a window need not wait for its room.
        let batch = publisher::batch_count(message_size, window);
        let publisher = Publisher::new(path.publisher, &path.message, window, shape.acknowledged);
        let consumer = Consumer::new(path.consumer, path.queues, path.copies, ack_every);
        let poll = Poll::new()?;
        for (connection, token) in [
            (&publisher.connection, PUBLISHER),
            (&consumer.connection, CONSUMER),
        ] {
            connection.stream.set_nonblocking(true)?;
            let fd = connection.stream.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut SourceFd(&fd), token, interest)?;
        }
        Ok(Pump {
            poll,
            publisher,
            consumer,
            fan_out,
            in_flight_max: (by_count.max(window) / batch).max(1) * batch,
            unconfirmed_at_end: path.unconfirmed_at_end,
        })
    }

    /// Warms up, measures for `duration`, then lets everything arrive. The span is the middle.
    fn run(&mut self, target: &Target, duration: Duration) -> Result<Span> {
        let mut events = Events::with_capacity(4);
        let warm_at = Instant::now() + duration / WARM_UP_SHARE;
        let end_at = warm_at + duration;
        let mut from = None;
        let mut span = None;
        let mut progress_at = Instant::now();
        loop {
            let now = Instant::now();
            if from.is_none() && now >= warm_at {
                from = Some(Mark::now(target.pid, self.consumer.received));
            }
            let enough = now >= end_at || self.publisher.published >= MESSAGES_MAX;
            if let (Some(from), None, true) = (from, span, enough) {
                let to = Mark::now(target.pid, self.consumer.received);
                span = Some(Span { from, to });
            }
            if let Some(span) = span
                && self.is_drained()
            {
                return Ok(span);
            }
            if self.advance(span.is_none())? {
                progress_at = now;
            } else if now - progress_at > Duration::from_secs(STALL_SECONDS) {
                return Err(self.stalled());
            } else {
                self.wait(&mut events)?;
            }
        }
    }

    /// One read and one write on each socket that may have something. Returns whether any had.
    fn advance(&mut self, may_publish: bool) -> Result<bool> {
        let mut progress = false;
        if self.consumer.readable {
            progress |= self.consumer.read_some(|_| {})?;
        }
        if self.publisher.readable {
            progress |= self.publisher.read_some()?;
        }
        if self.publisher.writable && (may_publish || self.publisher.has_unsent()) {
            let room = if may_publish { self.room() } else { 0 };
            progress |= self.publisher.write_some(room)?;
        }
        Ok(progress)
    }

    fn room(&self) -> u64 {
        let in_flight = self.publisher.published - self.consumer.received / self.fan_out;
        let room = self.in_flight_max.saturating_sub(in_flight);
        if self.publisher.confirms.is_some() {
            room.min(CONFIRM_WINDOW - self.publisher.unconfirmed())
        } else {
            room
        }
    }

    fn is_drained(&self) -> bool {
        let all_received = self.consumer.received == self.publisher.published * self.fan_out;
        all_received && self.publisher.unconfirmed() <= self.unconfirmed_at_end
    }

    fn wait(&mut self, events: &mut Events) -> Result<()> {
        match self.poll.poll(events, Some(POLL_MAX)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*events {
            if event.token() == CONSUMER {
                self.consumer.readable |= event.is_readable();
            } else {
                self.publisher.readable |= event.is_readable();
                self.publisher.writable |= event.is_writable();
            }
        }
        Ok(())
    }

    fn stalled(&self) -> Failure {
        Failure::new(format!(
            "stalled: {} published, {} unconfirmed, {} of {} deliveries received",
            self.publisher.published,
            self.publisher.unconfirmed(),
            self.consumer.received,
            self.publisher.published * self.fan_out
        ))
    }
}

const PUBLISHER: Token = Token(0);
const CONSUMER: Token = Token(1);
/// Wakes the loop to look for a stall, and at the ends of the measured window.
const POLL_MAX: Duration = Duration::from_millis(20);

const IN_FLIGHT_BYTES: usize = 1 << 20;
const IN_FLIGHT_DELIVERIES: u64 = 20_000;
/// Messages published and not confirmed.
const CONFIRM_WINDOW: u64 = 1000;
/// Ends a scenario early that is faster than anything known.
const MESSAGES_MAX: u64 = 100_000_000;
/// The warm-up takes this part of the measured time.
const WARM_UP_SHARE: u32 = 5;
