//! One connection on the made-up network: the machine, its client, and the bytes between them.
//!
//! ```text
//!   client.out -> underway -> input -> Machine -> Hub -> outbox -> in flight -> client
//!                 (delayed)   (split)                    (written in parts)  (delayed)
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use leveret::protocol::{Machine, Outboxes, SocketKey};
use leveret::wire::amqp::Method;
use leveret::wire::amqp::frame::{self, ContentHeader, Frame};

use crate::client::Client;
use crate::event::Event;
use crate::model::State;
use crate::random::Random;
use crate::{Check, ensure};

pub struct Socket {
    pub key: SocketKey,
    pub machine: Machine,
    pub client: Client,
    pub pace: Pace,
    /// Sent by the client, not arrived.
    pub underway: Vec<u8>,
    /// Arrived, not taken by the machine.
    pub input: Vec<u8>,
    /// Bytes of `input` that the machine has seen and left because a frame is not complete.
    pub seen: usize,
    /// What the outbox holds, as it was when it went in.
    unwritten: VecDeque<u8>,
    /// Bytes that ever went into the outbox, left it, and reached the client.
    pub generated: u64,
    written: u64,
    received: u64,
    /// What the client has still to receive, by the byte after it.
    events: VecDeque<(u64, Event)>,
    pub phase: Phase,
    /// The client has hung up.
    pub is_cut: bool,
    /// The client does not read until this turn.
    pub stalled_until: usize,
}

/// What a client hears that says that something is stored.
pub enum Heard {
    /// A transaction on this channel.
    Committed(u16),
    /// A queue, on this one.
    Declared(u16),
    Purged(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// Written to the end, until this time, then closed.
    Flushing(u64),
    Gone,
}

/// How the network treats a connection.
pub struct Pace {
    /// Percentage of turns in which something moves.
    pub moves: usize,
    /// Bytes that move at once, at most.
    pub bytes_max: usize,
    /// Bytes written and not received, at most.
    pub buffer: usize,
    /// Percentage of turns in which the client stops reading for a while, and for how long at most.
    pub stalls: usize,
    pub stall_turns: usize,
}

impl Socket {
    pub fn new(key: SocketKey, machine: Machine, client: Client, pace: Pace) -> Self {
        Socket {
            key,
            machine,
            client,
            pace,
            underway: Vec::new(),
            input: Vec::new(),
            seen: 0,
            unwritten: VecDeque::new(),
            generated: 0,
            written: 0,
            received: 0,
            events: VecDeque::new(),
            phase: Phase::Open,
            is_cut: false,
            stalled_until: 0,
        }
    }

    /// The network carries on. What the client heard that must be stored, in order.
    pub fn carry(&mut self, random: &mut Random, turn: usize) -> Vec<Heard> {
        self.underway.append(&mut self.client.out);
        let arrived = match random.percent(self.pace.moves) {
            true => self
                .underway
                .len()
                .min(random.between(1, self.pace.bytes_max)),
            false => 0,
        };
        self.input.extend(self.underway.drain(..arrived));
        if random.percent(self.pace.stalls) {
            self.stalled_until = turn + random.between(1, self.pace.stall_turns);
        }
        if turn >= self.stalled_until && random.percent(self.pace.moves) {
            let most = random.between(1, self.pace.bytes_max) as u64;
            self.received += most.min(self.written - self.received);
        }
        let mut heard = Vec::new();
        while let Some((end, _)) = self.events.front()
            && *end <= self.received
        {
            let (_, event) = self.events.pop_front().expect("it was looked at");
            if !self.is_cut {
                match event.method() {
                    Some(Method::TxCommitOk(_)) => heard.push(Heard::Committed(event.channel)),
                    Some(Method::QueueDeclareOk(_)) => heard.push(Heard::Declared(event.channel)),
                    Some(Method::QueuePurgeOk(_)) => heard.push(Heard::Purged(event.channel)),
                    _ => {}
                }
                self.client.receive(&event);
            }
        }
        heard
    }

    /// The bytes that went into the outbox since last asked.
    pub fn take_generated(&mut self, outboxes: &Outboxes) -> Check<Vec<u8>> {
        let total = outboxes.total(self.key);
        let fresh = (total - self.generated) as usize;
        let mut bytes = outboxes.unwritten(self.key);
        bytes.drain(..bytes.len() - fresh);
        ensure!(
            bytes.len() == fresh,
            "{fresh} bytes went in, {} are there",
            bytes.len()
        );
        self.unwritten.extend(&bytes);
        self.generated = total;
        Ok(bytes)
    }

    pub fn expect(&mut self, events: Vec<Event>) {
        let sizes: u64 = events.iter().map(|event| event.size as u64).sum();
        let mut end = self.generated - sizes;
        for event in events {
            end += event.size as u64;
            self.events.push_back((end, event));
        }
    }

    /// One write, as much as the client's buffer takes and chance will have; it must be what went in.
    /// Whether it was more than nothing.
    pub fn write(&mut self, outboxes: &mut Outboxes, random: &mut Random) -> Check<bool> {
        if self.is_cut {
            outboxes.discard(self.key);
            self.unwritten.clear();
            return Ok(false);
        }
        let room = self
            .pace
            .buffer
            .saturating_sub((self.written - self.received) as usize);
        let room = match random.percent(60) {
            true => room,
            false => random.between(0, room),
        };
        let mut left = room;
        let mut written = 0;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = outboxes.io_slices(self.key, &mut slices);
        for slice in &slices[..count] {
            let part = &slice[..slice.len().min(left)];
            let expected = self.unwritten.drain(..part.len());
            ensure!(
                expected.eq(part.iter().copied()),
                "what is written is not what went in"
            );
            written += part.len();
            left -= part.len();
        }
        outboxes.advance(self.key, written);
        self.written += written as u64;
        Ok(written > 0)
    }

    /// How much of the input to show the machine at once: no more than one command, so that what it
    /// causes can be told from what the next one does. A publish is mostly shown whole.
    pub fn next_slice(&self, state: State, random: &mut Random) -> usize {
        let input = &self.input;
        match state {
            State::Header => input.len().min(8),
            State::Garbled | State::Refused | State::Finished => input.len(),
            _ => match Frame::decode(input, 0) {
                Ok(None) | Err(_) => input.len(),
                Ok(Some((frame, used))) => {
                    let is_publish = frame.payload.starts_with(&[0, 60, 0, 40]);
                    match frame.kind == frame::METHOD && is_publish && random.percent(80) {
                        true => used + content_size(&input[used..], frame.channel),
                        false => used,
                    }
                }
            },
        }
    }
}

/// Bytes of the content at the front, as far as it is there and nothing is in between.
fn content_size(input: &[u8], channel: u16) -> usize {
    let mut used = 0;
    let mut missing = None;
    while missing != Some(0) {
        let (frame, size) = match Frame::decode(&input[used..], 0) {
            Ok(Some((frame, size))) if frame.channel == channel => (frame, size),
            Ok(None) if used > 0 => return input.len(),
            _ => break,
        };
        missing = match (frame.kind, missing) {
            (frame::HEADER, None) => match ContentHeader::decode(frame.payload) {
                Ok(header) => Some(header.body_size),
                Err(_) => break,
            },
            (frame::BODY, Some(missing)) => {
                Some(missing.saturating_sub(frame.payload.len() as u64))
            }
            _ => break,
        };
        used += size;
    }
    used
}

/// More than any outbox is in here.
const SLICES_MAX: usize = 512;
