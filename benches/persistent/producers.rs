//! Several publishers on one connection, each with a channel, a queue and a window of its own, and how
//! long each message waited for its confirm.

use std::io::{self, Write};
use std::time::Instant;

use crate::client::confirms::Confirms;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Result};
use crate::client::message::Message;
use crate::client::publisher::batch_count;
use crate::client::scanner::{Event, Scanner};
use crate::outcome::Latencies;

pub struct Producers {
    pub connection: Connection,
    /// The one at index `n` publishes on channel `n + 1`.
    producers: Vec<Producer>,
    scanner: Scanner,
    /// Messages that the socket has not taken yet, from `sent` on.
    outbox: Vec<u8>,
    sent: usize,
    pub published: u64,
    pub confirmed: u64,
    /// Between handing a message to the socket and reading its confirm.
    pub latencies: Latencies,
    /// What the poll last said, until the socket says otherwise.
    pub readable: bool,
    pub writable: bool,
}

struct Producer {
    message: Message,
    window: u64,
    /// Published in one go; see [`batch_count`].
    batch: u64,
    published: u64,
    confirms: Confirms,
    /// When each message under way was written, at its number modulo the ring's length.
    times: Vec<Instant>,
}

impl Producers {
    /// Publishers of one message each; the connection has as many channels.
    pub fn new(connection: Connection, messages: Vec<Message>, window: u64) -> Result<Self> {
        let producers = messages
            .into_iter()
            .map(|message| Producer::new(message, window));
        Ok(Producers {
            scanner: Scanner::new(connection.frame_max),
            connection,
            producers: producers.collect(),
            outbox: Vec::new(),
            sent: 0,
            published: 0,
            confirmed: 0,
            latencies: Latencies::new()?,
            readable: true,
            writable: true,
        })
    }

    /// Writes once: what is left of the last time, or else a batch of every publisher that has room for
    /// one, up to `room` messages. Returns whether anything was written.
    pub fn write_some(&mut self, room: u64) -> Result<bool> {
        if self.sent == self.outbox.len() {
            self.prepare(room);
            if self.outbox.is_empty() {
                return Ok(false);
            }
        }
        match self.connection.stream.write(&self.outbox[self.sent..]) {
            Ok(size) => {
                self.sent += size;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub fn has_unsent(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// Reads once and takes note of confirms. Returns whether anything came.
    pub fn read_some(&mut self) -> Result<bool> {
        let inbox = &mut self.connection.inbox;
        match inbox.fill(&self.connection.stream) {
            Ok(0) => return Err(Failure::new("the broker closed the publisher's socket")),
            Ok(_) => self.readable = !inbox.has_room(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let (producers, confirmed) = (&mut self.producers, &mut self.confirmed);
        let latencies = &mut self.latencies;
        let done = self.scanner.scan(inbox.bytes(), |event| {
            let Event::Confirm {
                channel,
                number,
                multiple,
            } = event
            else {
                return Err(Failure::new("a publisher received what it did not ask for"));
            };
            let index = usize::from(channel).wrapping_sub(1);
            let Some(producer) = producers.get_mut(index) else {
                return Err(Failure::new("a confirm on a channel that is not open"));
            };
            let (times, published) = (&producer.times, producer.published);
            producer
                .confirms
                .on_confirm(number, multiple, published, |number| {
                    *confirmed += 1;
                    let written = times[number as usize % times.len()];
                    latencies.record((now - written).as_nanos() as u64);
                })
        })?;
        inbox.consume(done);
        Ok(true)
    }

    fn prepare(&mut self, mut room: u64) {
        self.outbox.clear();
        self.sent = 0;
        let now = Instant::now();
        for producer in &mut self.producers {
            if producer.room() >= producer.batch {
                let count = producer.batch.min(room);
                producer.publish(count, &mut self.outbox, now);
                room -= count;
                self.published += count;
            }
        }
    }
}

impl Producer {
    fn new(message: Message, window: u64) -> Self {
        Producer {
            batch: batch_count(message.bytes.len(), window),
            message,
            window,
            published: 0,
            confirms: Confirms::new(window),
            times: vec![Instant::now(); window as usize + 1],
        }
    }

    fn room(&self) -> u64 {
        self.window - (self.published - self.confirms.low)
    }

    /// Confirms count from 1, sequence numbers from 0.
    fn publish(&mut self, count: u64, out: &mut Vec<u8>, now: Instant) {
        for _ in 0..count {
            self.message.set_sequence(self.published);
            out.extend_from_slice(&self.message.bytes);
            self.published += 1;
            let ring = self.times.len();
            self.times[self.published as usize % ring] = now;
        }
    }
}
