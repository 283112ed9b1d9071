//! One HTTP connection.
//!
//! ```text
//! Arriving (TLS) --> Reading --> Working --> Writing --> Reading (keep-alive), or closed
//!                                               \-----> Streaming, until either side has enough
//! ```

use std::io::{self, IoSlice, Read};

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};

use crate::config::Tls;
use crate::management::http::{
    Body, Caller, Door, Method, Reader, Request, Response, Step, Stream,
};
use crate::protocol::Peer;
use crate::server::arrival::{self, Arrival};
use crate::server::transport::{Transport, Written};

pub(super) struct Socket {
    transport: Transport,
    caller: Caller,
    reader: Reader,
    phase: Phase,
    /// What is being written, and how much of it was.
    out: Outgoing,
    /// No other request is read after the one at hand.
    closes: bool,
    /// HEAD: the answer's body is left out.
    head_only: bool,
    /// The edge came, and no `WouldBlock` since.
    readable: bool,
    writable: bool,
    /// The peer says no more.
    ended: bool,
    /// Nobody hears us.
    broken: bool,
    /// When it is closed if nothing moves.
    deadline_ms: u64,
}

enum Phase {
    /// It is not encrypted yet.
    Arriving(Box<Arrival>),
    Reading,
    /// A worker has the request.
    Working,
    Writing,
    Streaming(Box<dyn Stream>),
}

#[derive(Default)]
struct Outgoing {
    head: Vec<u8>,
    body: Bytes,
    written: usize,
}

enum Bytes {
    Owned(Vec<u8>),
    Static(&'static [u8]),
}

/// What is to be done for a socket.
pub(super) enum Wish {
    Nothing,
    Work(Box<Request>),
    Close,
}

impl Socket {
    /// Bodies over `body_bytes_max` are refused, and those over [`BODY_BYTES_MAX`].
    pub fn new(
        transport: Transport,
        peer: Peer,
        door: Door,
        body_bytes_max: usize,
        now_ms: u64,
    ) -> Socket {
        let deadline_ms = now_ms + REQUEST_MS_MAX;
        let arrival = Arrival::expect(&peer, &transport, false, deadline_ms);
        Socket {
            caller: Caller {
                encrypted: arrival.is_some() || door == Door::Control,
                address: peer.address,
                loopback: peer.loopback,
                door,
            },
            transport,
            reader: Reader::new(BODY_BYTES_MAX.min(body_bytes_max)),
            phase: arrival.map_or(Phase::Reading, Phase::Arriving),
            out: Outgoing::default(),
            closes: false,
            head_only: false,
            // What came before it was registered has no edge.
            readable: true,
            writable: true,
            ended: false,
            broken: false,
            deadline_ms,
        }
    }

    pub fn register(&mut self, at: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        at.register(&mut self.transport, token, interest)
    }

    pub fn deregister(&mut self, registry: &Registry) {
        // It is closed either way.
        let _ = self.transport.deregister(registry);
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn mark_ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.writable |= event.is_writable();
        self.broken |= event.is_error() || event.is_write_closed();
    }

    /// Whether it has something to do that no event will announce.
    pub fn has_work(&self) -> bool {
        match self.phase {
            Phase::Arriving(_) | Phase::Reading => self.broken || self.readable,
            Phase::Working => false,
            Phase::Writing => self.broken || self.writable,
            Phase::Streaming(_) => self.broken,
        }
    }

    /// When it is to be looked at, if nothing happens before.
    pub fn due_ms(&self, now_ms: u64) -> u64 {
        match self.phase {
            Phase::Working => u64::MAX,
            Phase::Streaming(_) => now_ms + STREAM_POLL_MS,
            Phase::Arriving(_) | Phase::Reading | Phase::Writing => self.deadline_ms,
        }
    }

    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Whether it waits for another request to begin.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Reading) && !self.reader.is_in_request()
    }

    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// The answer to its request. A peer that is gone gets none.
    pub fn answer(&mut self, response: Response, now_ms: u64) {
        self.closes |= self.broken;
        let head = response.head(!self.closes);
        let mut body = match response.body {
            Body::Bytes(bytes) => Bytes::Owned(bytes),
            Body::Static(bytes) => Bytes::Static(bytes),
            Body::Stream(_) if self.head_only => Bytes::default(),
            Body::Stream(stream) => {
                self.out = Outgoing {
                    head,
                    ..Outgoing::default()
                };
                self.phase = Phase::Streaming(stream);
                self.deadline_ms = now_ms + WRITE_MS_MAX;
                return;
            }
        };
        if self.head_only {
            body = Bytes::default();
        }
        self.out = Outgoing {
            head,
            body,
            written: 0,
        };
        self.phase = Phase::Writing;
        self.deadline_ms = now_ms + WRITE_MS_MAX;
    }

    /// Does what can be done now. `crowded`: nothing is read that would take more memory.
    pub fn serve(&mut self, scratch: &mut [u8], crowded: bool, now_ms: u64) -> Wish {
        loop {
            match &self.phase {
                // Its slot is kept for the worker's answer.
                Phase::Working => return Wish::Nothing,
                _ if self.broken => return Wish::Close,
                Phase::Arriving(_) => match self.arrive(now_ms) {
                    Some(wish) => return wish,
                    None => continue,
                },
                Phase::Reading => match self.next_request(scratch, crowded, now_ms) {
                    Some(wish) => return wish,
                    None => continue,
                },
                Phase::Writing => {
                    if now_ms >= self.deadline_ms {
                        return Wish::Close;
                    }
                    if !self.write(now_ms) {
                        return Wish::Nothing;
                    }
                    if self.closes {
                        let _ = self.transport.shut_down_writing();
                        return Wish::Close;
                    }
                    self.phase = Phase::Reading;
                    self.deadline_ms = now_ms + IDLE_MS_MAX;
                }
                Phase::Streaming(_) => return self.stream(scratch, now_ms),
            }
        }
    }

    /// `None`: something has come of it.
    fn arrive(&mut self, now_ms: u64) -> Option<Wish> {
        let Phase::Arriving(arrival) = &mut self.phase else {
            return None;
        };
        if now_ms >= self.deadline_ms {
            return Some(Wish::Close);
        }
        if !self.readable {
            return Some(Wish::Nothing);
        }
        // Logins are by password here: what a certificate says of its owner is not asked.
        let step = arrival.step(&mut self.transport, &Tls::default());
        let is_done = matches!(step, Ok(arrival::Step::Done));
        match step {
            Ok(arrival::Step::Goes | arrival::Step::Done) => {}
            Ok(arrival::Step::Waits) => self.readable = false,
            Err(why) => {
                arrival.refuse(&why);
                self.flush();
                return Some(Wish::Close);
            }
        }
        self.flush();
        if is_done {
            self.phase = Phase::Reading;
        }
        None
    }

    /// What the transport has to say beside what it is given.
    fn flush(&mut self) {
        if self.transport.has_unsent()
            && let Err(error) = self.transport.write_vectored(&[])
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.broken = true;
        }
    }

    /// `None`: an answer is there to be written.
    fn next_request(&mut self, scratch: &mut [u8], crowded: bool, now_ms: u64) -> Option<Wish> {
        loop {
            let was_idle = self.is_idle();
            match self.reader.step() {
                Step::Request(request) => {
                    self.closes = !request.keep_alive;
                    self.head_only = request.method == Method::Head;
                    self.phase = Phase::Working;
                    return Some(Wish::Work(request));
                }
                Step::Continue => {
                    let go: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
                    // Short enough for any socket; who does not get it sends its body all the same.
                    let _ = self.transport.write_vectored(&[IoSlice::new(go)]);
                    continue;
                }
                Step::Refused(response) => {
                    if let Body::Bytes(why) = &response.body {
                        let why = String::from_utf8_lossy(why);
                        log::warn!("{}: HTTP: {}", self.caller.address, why.trim_end());
                    }
                    self.closes = true;
                    self.answer(response, now_ms);
                    return None;
                }
                Step::More => {}
            }
            if self.ended {
                return Some(Wish::Close);
            }
            if now_ms >= self.deadline_ms {
                if was_idle {
                    return Some(Wish::Close);
                }
                self.closes = true;
                self.answer(Response::text(408, "the request took too long\n"), now_ms);
                return None;
            }
            if !self.readable || crowded {
                return Some(Wish::Nothing);
            }
            if self.read(scratch) && was_idle {
                // Its first byte; from here on it has so long.
                self.deadline_ms = now_ms + REQUEST_MS_MAX;
            }
        }
    }

    /// Whether something came.
    fn read(&mut self, scratch: &mut [u8]) -> bool {
        match self.transport.read(scratch) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.reader.on_bytes(&scratch[..count]);
                self.flush();
                return true;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => self.readable = false,
                io::ErrorKind::Interrupted => {}
                _ => self.ended = true,
            },
        }
        false
    }

    /// Whether all is written.
    fn write(&mut self, now_ms: u64) -> bool {
        while self.writable {
            let slices = self.out.rest();
            let is_empty = slices.iter().all(|slice| slice.is_empty());
            if is_empty && !self.transport.has_unsent() {
                self.out = Outgoing::default();
                return true;
            }
            match self.transport.write_vectored(&slices) {
                Ok(Written { count, full }) => {
                    self.out.written += count;
                    self.writable = !full;
                    self.deadline_ms = now_ms + WRITE_MS_MAX;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.writable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        self.broken = true;
                        return false;
                    }
                },
            }
        }
        false
    }

    /// Passes on what has come since, as chunks (RFC 9112 §7.1). A reader that has stopped while much
    /// waits for it is cut off, as is one that takes nothing for long: it can ask again.
    fn stream(&mut self, scratch: &mut [u8], now_ms: u64) -> Wish {
        while self.readable {
            match self.transport.read(scratch) {
                Ok(0) => return Wish::Close,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return Wish::Close,
            }
        }
        // A fast stream has the others wait for no more than that.
        for _ in 0..STREAM_ROUNDS_MAX {
            let is_over = !self.take_chunk(now_ms);
            let is_idle = self.out.head.is_empty();
            let is_written = self.write(now_ms);
            if self.broken || now_ms >= self.deadline_ms {
                return Wish::Close;
            }
            if !is_written {
                self.out.head.drain(..self.out.written);
                self.out.written = 0;
                let is_stuck = self.out.head.len() >= STREAM_BYTES_MAX;
                return match is_over || is_stuck {
                    true => Wish::Close,
                    false => Wish::Nothing,
                };
            }
            // There is nothing that it could take.
            self.deadline_ms = now_ms + WRITE_MS_MAX;
            if is_over {
                let _ = self.transport.shut_down_writing();
                return Wish::Close;
            }
            if is_idle {
                break;
            }
        }
        Wish::Nothing
    }

    /// Returns false at the end of the stream.
    fn take_chunk(&mut self, now_ms: u64) -> bool {
        let Phase::Streaming(stream) = &mut self.phase else {
            return false;
        };
        let room = STREAM_BYTES_MAX.saturating_sub(self.out.head.len());
        let mut chunk = Vec::new();
        let goes_on = room == 0 || stream.add_to(&mut chunk, room, now_ms);
        if !chunk.is_empty() {
            let size = format!("{:x}\r\n", chunk.len());
            self.out.head.extend_from_slice(size.as_bytes());
            self.out.head.extend_from_slice(&chunk);
            self.out.head.extend_from_slice(b"\r\n");
        }
        if !goes_on {
            self.out.head.extend_from_slice(b"0\r\n\r\n");
        }
        goes_on
    }
}

impl Outgoing {
    /// What is left to write.
    fn rest(&self) -> [IoSlice<'_>; 2] {
        let body = self.body.as_slice();
        let of_head = self.written.min(self.head.len());
        let of_body = self.written - of_head;
        [
            IoSlice::new(&self.head[of_head..]),
            IoSlice::new(&body[of_body.min(body.len())..]),
        ]
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes,
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Static(&[])
    }
}

/// Largest body of a request (RabbitMQ: `management.http.max_body_size`).
const BODY_BYTES_MAX: usize = 20_000_000;

/// From the first byte of a request to its last.
const REQUEST_MS_MAX: u64 = 30_000;

/// Between requests.
const IDLE_MS_MAX: u64 = 60_000;

/// An answer of which nothing could be written for so long is given up.
const WRITE_MS_MAX: u64 = 30_000;

/// How often a stream is looked after.
const STREAM_POLL_MS: u64 = 200;

/// Chunks of one stream in one turn.
const STREAM_ROUNDS_MAX: usize = 4;

/// Of a stream, what may wait for a slow reader.
const STREAM_BYTES_MAX: usize = 256 << 10;
