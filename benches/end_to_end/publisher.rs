//! The publishing side: batches of ready-made frames in which only the sequence numbers are set, and
//! the record of what the broker has confirmed.

use std::io::{self, Write};
use std::ops::Range;

use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::scanner::{Event, Scanner};
use crate::wire::Message;

pub struct Publisher {
    pub connection: Connection,
    /// `batch_count` messages, one behind the other.
    batch: Vec<u8>,
    batch_count: u64,
    message_size: usize,
    body_at: usize,
    /// The part of the batch that the socket has not taken yet.
    unsent: Range<usize>,
    /// Messages written or about to be: the next sequence number.
    pub published: u64,
    pub confirms: Option<Confirms>,
    scanner: Scanner,
    /// What the poll last said, until the socket says otherwise.
    pub readable: bool,
    pub writable: bool,
}

/// Which messages are confirmed. Confirms may come singly and in any order, or for all up to one.
pub struct Confirms {
    /// Every number up to this one is confirmed.
    pub low: u64,
    /// Those above `low` that were confirmed singly, at their number modulo the ring's length.
    above: Vec<bool>,
}

impl Publisher {
    /// A publisher that may have up to `window` messages under way at a time.
    pub fn new(connection: Connection, message: &Message, window: u64, confirms: bool) -> Self {
        let message_size = message.bytes.len();
        let batch_count = batch_count(message_size, window);
        Publisher {
            connection,
            batch: message.bytes.repeat(batch_count as usize),
            batch_count,
            message_size,
            body_at: message.body_at,
            unsent: 0..0,
            published: 0,
            confirms: confirms.then(|| Confirms::new(window)),
            scanner: Scanner::default(),
            readable: true,
            writable: true,
        }
    }

    /// Writes once, as long as a whole batch has `room`; smaller writes would make the client dear.
    /// Returns whether anything was written.
    pub fn write_some(&mut self, room: u64) -> Result<bool> {
        if self.unsent.is_empty() {
            if room < self.batch_count {
                return Ok(false);
            }
            self.prepare(self.batch_count);
        }
        match self
            .connection
            .stream
            .write(&self.batch[self.unsent.clone()])
        {
            Ok(size) => {
                self.unsent.start += size;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes up to a batch, but no more than `most` messages, to a blocking socket.
    pub fn write_batch(&mut self, most: u64) -> Result<()> {
        self.prepare(self.batch_count.min(most));
        let unsent = std::mem::take(&mut self.unsent);
        self.connection.stream.write_all(&self.batch[unsent])?;
        Ok(())
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
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
        let published = self.published;
        let confirms = &mut self.confirms;
        let done = self
            .scanner
            .scan(inbox.bytes(), |event| match (event, &mut *confirms) {
                (
                    Event::Confirm {
                        number, multiple, ..
                    },
                    Some(confirms),
                ) => confirms.on_confirm(number, multiple, published, |_| {}),
                _ => Err(Failure::new(
                    "the publisher received what it did not ask for",
                )),
            })?;
        inbox.consume(done);
        Ok(true)
    }

    /// Messages published and not yet confirmed; 0 without confirms.
    pub fn unconfirmed(&self) -> u64 {
        let confirmed = self.confirms.as_ref().map(|confirms| confirms.low);
        confirmed.map_or(0, |low| self.published - low)
    }

    /// Sets the sequence numbers of the first `count` messages of the batch.
    fn prepare(&mut self, count: u64) {
        let size = self.message_size;
        for message in self.batch.chunks_exact_mut(size).take(count as usize) {
            message[self.body_at..][..8].copy_from_slice(&self.published.to_be_bytes());
            self.published += 1;
        }
        self.unsent = 0..count as usize * size;
    }
}

impl Confirms {
    pub fn new(window: u64) -> Self {
        Confirms {
            low: 0,
            above: vec![false; window as usize + 1],
        }
    }

    /// Takes note of a confirm and names every message that it is the first for.
    pub fn on_confirm(
        &mut self,
        number: u64,
        multiple: bool,
        published: u64,
        mut on_confirmed: impl FnMut(u64),
    ) -> Result<()> {
        if number <= self.low || number > published {
            return Err(Failure::new(format!(
                "confirm of {number}, with all up to {} confirmed and {published} published",
                self.low
            )));
        }
        let ring = self.above.len() as u64;
        if multiple {
            while self.low < number {
                self.low += 1;
                if !std::mem::take(&mut self.above[(self.low % ring) as usize]) {
                    on_confirmed(self.low);
                }
            }
        } else {
            let confirmed = &mut self.above[(number % ring) as usize];
            if std::mem::replace(confirmed, true) {
                return Err(Failure::new(format!("second confirm of {number}")));
            }
            on_confirmed(number);
        }
        while std::mem::take(&mut self.above[((self.low + 1) % ring) as usize]) {
            self.low += 1;
        }
        Ok(())
    }
}

/// How many messages make up a batch: about [`BATCH_BYTES`], and a quarter of the window at most, so
/// that the broker has work while the client waits for room.
pub fn batch_count(message_size: usize, window: u64) -> u64 {
    let by_size = (BATCH_BYTES / message_size) as u64;
    by_size.min(window / 4).max(1)
}

const BATCH_BYTES: usize = 64 << 10;
