//! The machine's own limit: a process that moves bytes from the publisher's socket to the
//! consumer's and back, and understands none of them. No broker can do less work per message.
//!
//! Connections are taken in pairs, publisher first. The publisher begins with [`preamble`]; after
//! that, what it sends goes to its partner, and what the partner sends goes to it. For fan-out the
//! preamble asks for several copies of each unit of so many bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// What the relay prints in front of its address, once it listens.
pub const READY: &str = "ready relay=";

/// The first bytes on a publisher's connection.
pub fn preamble(copies: u32, unit_size: usize) -> [u8; PREAMBLE_SIZE] {
    let mut bytes = [0; PREAMBLE_SIZE];
    bytes[..4].copy_from_slice(&copies.to_le_bytes());
    bytes[4..].copy_from_slice(&(unit_size as u32).to_le_bytes());
    bytes
}

/// Runs until standard input ends, that is, until the benchmark does.
pub fn run() -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let mut relay = Relay::new()?;
    println!("{READY}{}", relay.listener.local_addr()?);
    relay.serve()
}

struct Relay {
    poll: Poll,
    listener: TcpListener,
    /// Pair `n` has the tokens `2n` and `2n + 1`; they are not used again.
    pairs: Vec<Option<Pair>>,
    accepted: usize,
    scratch: Vec<u8>,
}

struct Pair {
    publisher: Side,
    consumer: Option<Side>,
    /// Copies and unit size, once the preamble is there.
    plan: Option<(usize, usize)>,
}

struct Side {
    stream: TcpStream,
    /// Bytes for this socket that it has not taken. While there are any, its partner is not read.
    outbox: Vec<u8>,
    /// The beginning of a unit that is to be copied once it is complete.
    partial: Vec<u8>,
    readable: bool,
    writable: bool,
}

impl Relay {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut listener = TcpListener::bind(any)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Relay {
            poll,
            listener,
            pairs: Vec::new(),
            accepted: 0,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let index = event.token().0 / 2;
                let Some(pair) = self.pairs.get_mut(index).and_then(Option::as_mut) else {
                    continue;
                };
                if let Some(side) = pair.side(event.token().0 % 2) {
                    side.readable |= event.is_readable();
                    side.writable |= event.is_writable();
                }
                if pair.exchange(&mut self.scratch).is_err() {
                    self.pairs[index] = None;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(self.accepted), interest)?;
            let side = Side::new(stream);
            if self.accepted.is_multiple_of(2) {
                self.pairs.push(Some(Pair {
                    publisher: side,
                    consumer: None,
                    plan: None,
                }));
            } else if let Some(Some(pair)) = self.pairs.last_mut() {
                pair.consumer = Some(side);
            }
            self.accepted += 1;
        }
    }
}

impl Pair {
    fn side(&mut self, number: usize) -> Option<&mut Side> {
        match number {
            0 => Some(&mut self.publisher),
            _ => self.consumer.as_mut(),
        }
    }

    /// Moves what there is, both ways. An error ends the pair.
    fn exchange(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        let Some(consumer) = &mut self.consumer else {
            return Ok(());
        };
        if self.plan.is_none() && self.publisher.readable {
            self.plan = read_preamble(&mut self.publisher)?;
        }
        let Some((copies, unit_size)) = self.plan else {
            return Ok(());
        };
        move_bytes(&mut self.publisher, consumer, copies, unit_size, scratch)?;
        move_bytes(consumer, &mut self.publisher, 1, 1, scratch)
    }
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        Side {
            stream,
            outbox: Vec::new(),
            partial: Vec::new(),
            readable: false,
            writable: true,
        }
    }

    /// Writes `bytes` behind the outbox; what the socket does not take now stays there.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.writable && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(size) => bytes = &bytes[size..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        self.outbox.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.writable && !self.outbox.is_empty() {
            let outbox = std::mem::take(&mut self.outbox);
            self.send(&outbox)?;
        }
        Ok(())
    }
}

fn move_bytes(
    from: &mut Side,
    to: &mut Side,
    copies: usize,
    unit_size: usize,
    scratch: &mut [u8],
) -> io::Result<()> {
    to.flush()?;
    // What goes out is bounded whatever the copies: that much at a time, or one unit.
    let room = (scratch.len() / copies).max(unit_size).min(scratch.len());
    while from.readable && to.outbox.is_empty() {
        let size = match from.stream.read(&mut scratch[..room]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                from.readable = false;
                break;
            }
            Err(error) => return Err(error),
        };
        from.readable = size == room;
        if copies == 1 {
            to.send(&scratch[..size])?;
        } else {
            to.send(&copied(
                &mut from.partial,
                &scratch[..size],
                copies,
                unit_size,
            ))?;
        }
    }
    Ok(())
}

/// Each complete unit of `partial` and `bytes`, `copies` times in a row. The rest stays in `partial`.
fn copied(partial: &mut Vec<u8>, bytes: &[u8], copies: usize, unit_size: usize) -> Vec<u8> {
    partial.extend_from_slice(bytes);
    let whole = partial.len() - partial.len() % unit_size;
    let mut out = Vec::with_capacity(whole * copies);
    for unit in partial[..whole].chunks_exact(unit_size) {
        for _ in 0..copies {
            out.extend_from_slice(unit);
        }
    }
    partial.drain(..whole);
    out
}

/// Eight bytes sent first and alone arrive together on the loopback device.
fn read_preamble(side: &mut Side) -> io::Result<Option<(usize, usize)>> {
    let mut bytes = [0; PREAMBLE_SIZE];
    match side.stream.read(&mut bytes) {
        Ok(PREAMBLE_SIZE) => {}
        Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            side.readable = false;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let number =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok(Some((number(0).max(1) as usize, number(4).max(1) as usize)))
}

const PREAMBLE_SIZE: usize = 8;
const LISTENER: Token = Token(usize::MAX);
/// As much as leveret reads at a time.
const SCRATCH_BYTES: usize = 128 << 10;
