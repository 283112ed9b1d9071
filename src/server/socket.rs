//! One descriptor and the machine behind it.
//!
//! ```text
//!            no TLS, or a stranger
//! Arriving -----------------------+
//!   | it is known who comes       v
//!   v      machine.wants_close         all is written
//! Open ------------------------> Flushing ----------> Lingering ---> Dead
//!   |                                |  deadline          |  end of stream,
//!   |  end of stream, error          |                    |  error, deadline
//!   +--------------------------------+--------------------+---------> Dead
//! ```
//!
//! Arriving: a PROXY header or a TLS handshake comes before the first byte for the machine, which has no
//! part in it but its deadline. Others begin with Open.
//!
//! Lingering: the peer has been told that nothing more comes, and what it still sends is thrown away.
//! Closing at once would answer its unread bytes with a reset, and a reset makes its kernel throw away
//! our last words, which say why the connection ends.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Interest, Registry};

use super::arrival::{Arrival, Step};
use super::input::{Fill, Input, SCRATCH_ROOM};
use super::token::Source;
use super::transport::{Transport, Written};
use crate::config::Limits;
use crate::protocol::{Hub, IO_SLICES_MAX, Machine, Now, Outboxes, SocketKey};

pub(super) struct Socket {
    key: SocketKey,
    transport: Transport,
    /// While it arrives.
    arrival: Option<Box<Arrival>>,
    machine: Machine,
    input: Input,
    phase: Phase,
    /// There may be something to read: the edge came, and no read has found the end since.
    readable: bool,
    /// The peer has shut down its side: after its last byte comes the end of the stream, for which
    /// there is no further edge.
    read_closed: bool,
    /// The end of the stream was read.
    ended: bool,
    /// Nobody receives what we write: hung up, or a write failed. What the peer sent before that is
    /// still read.
    peer_gone: bool,
    /// The machine stopped in the middle of its input: the leftover may hold whole frames.
    held_back: bool,
    /// What may be read at once, as dear as it was so far.
    read_quota: usize,
    /// The last read took longer than it should.
    was_long: bool,
    /// No `WouldBlock` since the last edge.
    writable: bool,
    /// The transport has something to write of its own, since the last review.
    transport_speaks: bool,
    /// The turn of the last write: a socket that is listed twice writes once.
    written_in_turn: u64,
    /// Registered for WRITABLE, too.
    awaits_writable: bool,
    /// `Machine::on_disconnect` has been called.
    released: bool,
    /// On the loop's ready list; the loop's mark, which keeps the list free of doubles.
    pub listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Bytes are for the [`Arrival`].
    Arriving,
    /// Bytes go to the machine and come from it.
    Open,
    /// The machine is done; input is thrown away, the outbox is written.
    Flushing { deadline: u64 },
    /// See the module's comment.
    Lingering { deadline: u64 },
    /// To be reaped.
    Dead,
}

/// What the loop has to do for a socket, after anything about it may have changed.
pub(super) struct Wishes {
    /// Put it on the ready list.
    pub read: bool,
    /// Put it before the flush stage, from which it is reaped.
    pub flush: bool,
    /// Wake it at this time (monotonic ms).
    pub deadline: Option<u64>,
}

/// How far a flush came.
#[derive(Debug, PartialEq)]
pub(super) enum Flushed {
    /// Nothing to do until something happens.
    Waiting,
    /// All that one write takes was written, and there is more.
    More,
    /// Written to the end, or dead: reap.
    Finished,
}

impl Socket {
    /// Readiness for reading only. WRITABLE is asked for after the first `WouldBlock` and dropped when
    /// the outbox is empty again: two system calls for each time a peer falls behind, where being
    /// registered all the time costs an event at accept and, on a Unix socket, one for each read of
    /// the peer.
    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let token = Source::Socket(self.key.index()).token();
        registry.register(&mut self.transport, token, Interest::READABLE)
    }

    pub fn new(
        key: SocketKey,
        transport: Transport,
        arrival: Option<Box<Arrival>>,
        machine: Machine,
    ) -> Self {
        Socket {
            key,
            transport,
            machine,
            input: Input::default(),
            phase: match arrival {
                Some(_) => Phase::Arriving,
                None => Phase::Open,
            },
            arrival,
            readable: false,
            read_closed: false,
            ended: false,
            peer_gone: false,
            held_back: false,
            read_quota: usize::MAX,
            was_long: false,
            writable: true,
            transport_speaks: false,
            written_in_turn: 0,
            awaits_writable: false,
            released: false,
            listed: false,
        }
    }

    pub fn key(&self) -> SocketKey {
        self.key
    }

    /// Whether it is still unknown who comes. Finding out may take long.
    pub fn is_arriving(&self) -> bool {
        self.phase == Phase::Arriving
    }

    pub fn mark_ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.read_closed |= event.is_read_closed();
        self.writable |= event.is_writable();
        if event.is_error() || event.is_write_closed() {
            self.peer_gone = true;
            self.read_to_the_end();
        }
    }

    /// Reads and lets the machine work, up to `limits.read_bytes_max` or until it has had enough.
    /// Returns the bytes read.
    pub fn read(&mut self, scratch: &mut [u8], hub: &mut Hub, now: Now) -> usize {
        match self.phase {
            Phase::Arriving => self.arrive(hub),
            Phase::Open => self.read_for_machine(scratch, hub, now),
            Phase::Flushing { .. } | Phase::Lingering { .. } => self.read_and_discard(scratch),
            Phase::Dead => 0,
        }
    }

    /// The machine's state was changed by somebody else.
    pub fn on_woken(&mut self, hub: &mut Hub, now: Now) {
        if hub.outboxes.is_cut_off(self.key) {
            self.machine.cut_off(hub);
            self.phase = Phase::Dead;
            return;
        }
        if self.phase == Phase::Open {
            self.machine.on_woken(hub, now);
            hub.outboxes.set_held(self.key, self.machine.is_held());
        }
    }

    /// A deadline may have come; the timer does not know whether it has moved since.
    pub fn on_timer(&mut self, hub: &mut Hub, now: Now) {
        let is_due = |deadline| deadline <= now.monotonic_ms;
        match self.phase {
            Phase::Arriving if self.arrival.as_ref().is_some_and(|a| is_due(a.deadline)) => {
                self.turn_away(&io::ErrorKind::TimedOut.into());
            }
            Phase::Arriving if self.machine.next_deadline(hub).is_some_and(is_due) => {
                self.machine.on_timeout(hub, now);
            }
            Phase::Open if self.machine.next_deadline(hub).is_some_and(is_due) => {
                self.machine.on_timeout(hub, now);
            }
            Phase::Flushing { deadline } | Phase::Lingering { deadline } if is_due(deadline) => {
                self.phase = Phase::Dead;
            }
            _ => {}
        }
    }

    pub fn begin_shutdown(&mut self, hub: &mut Hub, now: Now, reason: &str) {
        match self.phase {
            Phase::Arriving => self.give_up(),
            Phase::Open => self.machine.begin_shutdown(hub, now, reason),
            _ => {}
        }
    }

    /// Follows the machine into its closing, and says what is to be done next.
    pub fn review(&mut self, hub: &Hub, limits: &Limits, now: Now) -> Wishes {
        let before = self.phase;
        if self.phase == Phase::Arriving {
            let is_refused = self.arrival.as_ref().is_none_or(|a| a.is_refused);
            if self.peer_gone || self.machine.wants_close() {
                self.phase = Phase::Dead;
            } else if is_refused {
                // It may be told why.
                let deadline = now.monotonic_ms + LINGER_MS;
                self.phase = Phase::Flushing { deadline };
            }
        } else if self.phase == Phase::Open {
            if self.machine.wants_close() {
                self.input.clear();
                let deadline = now.monotonic_ms + limits.closing_timeout_ms;
                self.phase = Phase::Flushing { deadline };
            } else if self.peer_gone && !self.machine.wants_read(hub) {
                // Its last bytes would be read when the machine goes on, but there is nobody left to
                // wait for, and what it holds (unacked messages) may be wanted elsewhere.
                self.phase = Phase::Dead;
            }
        }
        let has_input = self.readable || (self.held_back && !self.input.is_empty());
        let (read, deadline) = match self.phase {
            Phase::Arriving => {
                let deadlines = [
                    self.arrival.as_ref().map(|arrival| arrival.deadline),
                    self.machine.next_deadline(hub),
                ];
                (self.readable, deadlines.into_iter().flatten().min())
            }
            Phase::Open => (
                has_input && self.machine.wants_read(hub),
                self.machine.next_deadline(hub),
            ),
            Phase::Flushing { deadline } | Phase::Lingering { deadline } => {
                (self.readable, Some(deadline))
            }
            Phase::Dead => (false, None),
        };
        Wishes {
            read,
            flush: self.phase != before
                || self.phase == Phase::Dead
                || std::mem::take(&mut self.transport_speaks),
            deadline,
        }
    }

    /// One write of what the outbox holds, if there was none in this turn (counted from one).
    pub fn flush(&mut self, outboxes: &mut Outboxes, registry: &Registry, turn: u64) -> Flushed {
        if self.peer_gone || matches!(self.phase, Phase::Lingering { .. }) {
            outboxes.discard(self.key);
            if self.peer_gone {
                self.transport.forget_unsent();
            }
        }
        let waiting = outboxes.len(self.key);
        let has_words = waiting > 0 || self.transport.has_unsent();
        let may_write = has_words && self.writable && self.written_in_turn != turn;
        if may_write {
            self.written_in_turn = turn;
            let result = self.write_once(outboxes);
            if let Err(error) = result.and_then(|()| self.watch_writable(outboxes, registry)) {
                log::debug!("socket {:?}: writing failed: {error}", self.key);
                self.fail_writing(outboxes);
            }
        }
        let is_empty = outboxes.is_empty(self.key) && !self.transport.has_unsent();
        match self.phase {
            Phase::Dead => Flushed::Finished,
            Phase::Flushing { .. } if is_empty => Flushed::Finished,
            _ if may_write && !is_empty && self.writable => Flushed::More,
            _ => Flushed::Waiting,
        }
    }

    /// Lets go of all that the connection holds in the broker; once.
    pub fn release(&mut self, hub: &mut Hub) {
        if !std::mem::replace(&mut self.released, true) {
            self.machine.on_disconnect(hub);
        }
    }

    /// Closes as soon as the reap stage comes to it.
    pub fn give_up(&mut self) {
        self.phase = Phase::Dead;
    }

    /// After the last byte is written: true if the descriptor has to stay for a while. May be asked
    /// again: a socket can be on the lists of the flush and reap stages twice.
    pub fn linger(&mut self, now: Now) -> bool {
        match self.phase {
            Phase::Flushing { .. } if !self.peer_gone && !self.ended => {
                let deadline = now.monotonic_ms + LINGER_MS;
                self.phase = Phase::Lingering { deadline };
                if self.transport.shut_down_writing().is_err() {
                    self.phase = Phase::Dead;
                }
            }
            Phase::Lingering { .. } => {}
            _ => self.phase = Phase::Dead,
        }
        self.phase != Phase::Dead
    }

    /// One step of the arrival.
    fn arrive(&mut self, hub: &mut Hub) -> usize {
        let Some(arrival) = &mut self.arrival else {
            return 0;
        };
        match arrival.step(&mut self.transport, &hub.config.tls) {
            Ok(Step::Goes) => {}
            // Where the rest does not come, the end of the stream shows in no other way.
            Ok(Step::Waits) if self.read_closed => {
                self.turn_away(&io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Step::Waits) => self.readable = false,
            Ok(Step::Done) => {
                if let Some(arrival) = self.arrival.take() {
                    self.machine.introduce(arrival.peer);
                }
                self.phase = Phase::Open;
            }
            Err(why) => self.turn_away(&why),
        }
        self.transport_speaks = self.transport.has_unsent();
        0
    }

    fn turn_away(&mut self, why: &io::Error) {
        if let Some(arrival) = &mut self.arrival {
            arrival.refuse(why);
        }
    }

    fn read_for_machine(&mut self, scratch: &mut [u8], hub: &mut Hub, now: Now) -> usize {
        if !self.machine.wants_read(hub) {
            return 0;
        }
        let machine = &mut self.machine;
        if std::mem::take(&mut self.held_back) {
            self.input
                .present(|bytes| machine.on_bytes(bytes, hub, now));
        }
        let bytes_max = scratch.len() - SCRATCH_ROOM;
        let bytes_max = hub.outboxes.read_bytes_max(self.key, bytes_max);
        let bytes_max = bytes_max.min(self.read_quota);
        let started = Instant::now();
        let (mut bytes_read, mut reads) = (0, 0);
        while self.readable
            && bytes_read < bytes_max
            && !self.machine.wants_close()
            && self.machine.wants_read(hub)
        {
            let machine = &mut self.machine;
            let result = self
                .input
                .read_from(&mut self.transport, scratch, bytes_max, |bytes| {
                    machine.on_bytes(bytes, hub, now)
                });
            let result = result.map(|fill| Fill {
                short: self.transport.is_drained(fill.short),
                ..fill
            });
            reads += 1;
            match self.after_read(result) {
                Some(count) => bytes_read += count,
                None => break,
            }
        }
        hub.outboxes.count_received(self.key, bytes_read, reads);
        let unfinished = self.input.held_bytes() + self.machine.unfinished_bytes();
        hub.outboxes
            .set_incoming(self.key, unfinished, self.machine.is_held());
        self.held_back = !self.input.is_empty() && !self.machine.wants_read(hub);
        self.transport_speaks = self.transport.has_unsent();
        self.machine.on_turn_end(hub);
        self.review_quota(bytes_read, started.elapsed());
        bytes_read
    }

    /// Sixteen bytes may be a method that costs a microsecond, and a read may bring thousands of them. Who
    /// sends such is read in smaller pieces, so that others have their turn between them.
    fn review_quota(&mut self, bytes_read: usize, took: Duration) {
        // Whoever cannot read a full piece is known to send such.
        let time_max = match self.read_quota < READ_QUOTA_FULL {
            true => DEAR_TIME_MAX,
            false => READ_TIME_MAX,
        };
        let is_long = took > time_max;
        let was_long = std::mem::replace(&mut self.was_long, is_long);
        if is_long {
            // Once may be somebody else's doing, to whom the system gave the processor.
            if !was_long {
                return;
            }
            let shares = took.as_micros() / DEAR_TIME_MAX.as_micros() + 1;
            let fits = bytes_read / usize::try_from(shares).unwrap_or(usize::MAX);
            self.read_quota = fits.max(READ_QUOTA_MIN);
        } else if took < DEAR_TIME_MAX / 2 {
            self.read_quota = self.read_quota.saturating_mul(2);
        }
    }

    fn read_and_discard(&mut self, scratch: &mut [u8]) -> usize {
        let result = self.transport.discard(scratch).map(|count| Fill {
            count,
            short: count < scratch.len(),
        });
        self.after_read(result).unwrap_or(0)
    }

    /// Notes what a read says about the descriptor; returns the bytes it brought, or `None` if there is
    /// no sense in another one now.
    fn after_read(&mut self, result: io::Result<Fill>) -> Option<usize> {
        match result {
            Ok(Fill { count: 0, .. }) => self.end_of_stream(),
            Ok(Fill { count, short }) => {
                self.readable = !short || self.read_closed;
                return Some(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::debug!("socket {:?}: reading failed: {error}", self.key);
                self.peer_gone = true;
                self.end_of_stream();
            }
        }
        None
    }

    /// A peer that shuts down its side is gone, as for RabbitMQ. One that we are saying goodbye to
    /// may still be listening.
    fn end_of_stream(&mut self) {
        self.readable = false;
        self.ended = true;
        if self.phase == Phase::Open
            && !self.peer_gone
            && let Err(error) = self.transport.say_goodbye()
        {
            log::debug!("socket {:?}: writing failed: {error}", self.key);
        }
        if !matches!(self.phase, Phase::Flushing { .. }) || self.peer_gone {
            self.phase = Phase::Dead;
        }
    }

    fn write_once(&mut self, outboxes: &mut Outboxes) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); IO_SLICES_MAX];
        let count = outboxes.io_slices(self.key, &mut slices);
        debug_assert!(count > 0 || self.transport.has_unsent());
        match self.transport.write_vectored(&slices[..count]) {
            Ok(Written { count, full }) => {
                outboxes.advance(self.key, count);
                self.writable = !full;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Keeps the registration in step with what is waited for.
    fn watch_writable(&mut self, outboxes: &Outboxes, registry: &Registry) -> io::Result<()> {
        let interest = if !self.writable && !self.awaits_writable {
            Interest::READABLE | Interest::WRITABLE
        } else if self.awaits_writable && self.writable && outboxes.len(self.key) == 0 {
            Interest::READABLE
        } else {
            return Ok(());
        };
        self.awaits_writable = !self.awaits_writable;
        let token = Source::Socket(self.key.index()).token();
        registry.reregister(&mut self.transport, token, interest)
    }

    /// What was to be written is lost, but the peer's last bytes may still wait to be read, so an open
    /// socket goes on to the end of its stream.
    fn fail_writing(&mut self, outboxes: &mut Outboxes) {
        outboxes.discard(self.key);
        self.peer_gone = true;
        self.read_to_the_end();
        if self.phase != Phase::Open {
            self.phase = Phase::Dead;
        }
    }

    fn read_to_the_end(&mut self) {
        self.readable = !self.ended;
        self.read_closed = true;
    }
}

/// What one socket's input may take of a turn, as far as that is known beforehand.
const READ_TIME_MAX: Duration = Duration::from_micros(300);
/// The same of one whose input is known to cost much.
const DEAR_TIME_MAX: Duration = Duration::from_micros(100);
/// More than one read brings mostly.
const READ_QUOTA_FULL: usize = 128 << 10;
/// Smaller pieces would cost more than they spare others.
const READ_QUOTA_MIN: usize = 1024;

/// How long a peer may take to notice that we have closed.
const LINGER_MS: u64 = 1000;
