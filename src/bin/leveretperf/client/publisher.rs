//! The publishing side: batches of ready-made frames in which only the sequence numbers are set, and what the broker
//! has confirmed.

use std::io::{self, Write};
use std::ops::Range;

use super::confirms::Confirms;
use super::connection::Connection;
use super::failure::{Failure, Result};
use super::ledger;
use super::message::{Message, SEQUENCE_SIZE};
use super::scanner::{Event, Scanner};
use super::wire::CHANNEL;

pub struct Publisher {
    pub connection: Connection,
    /// Its messages, one behind the other, as many rounds of them as make a batch.
    batch: Vec<u8>,
    /// By place in the batch: where the sequence number goes.
    bodies_at: Vec<usize>,
    /// By place in the batch: where the message ends.
    ends: Vec<usize>,
    /// Lines of the ledger, one for each message of a round.
    lines: Vec<usize>,
    /// The part of the batch that the socket has not taken yet.
    unsent: Range<usize>,
    /// Messages written or about to be, over all lines.
    pub published: u64,
    pub confirms: Option<Confirms>,
    /// Why the broker takes nothing for the time being (RabbitMQ: `connection.blocked`).
    pub blocked: Option<String>,
    scanner: Scanner,
    /// What the poll last said, until the socket says otherwise.
    pub readable: bool,
    pub writable: bool,
}

/// How much a publisher may do at a time.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Messages under way, at most; with confirms, published and not confirmed.
    pub window: u64,
    pub confirms: bool,
    /// Messages in one write, at most.
    pub batch_max: u64,
}

impl Publisher {
    /// A publisher of `messages` in turn, each of which belongs to the line of the ledger beside it.
    pub fn new(connection: Connection, messages: &[(usize, Message)], pace: Pace) -> Self {
        let round: usize = messages
            .iter()
            .map(|(_, message)| message.bytes.len())
            .sum();
        let per_round = messages.len() as u64;
        let messages_max = batch_count(round / messages.len(), pace.window).min(pace.batch_max);
        let rounds = (messages_max / per_round).max(1);
        let (mut batch, mut bodies_at, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (_, message) in messages {
                bodies_at.push(batch.len() + message.body_at);
                batch.extend_from_slice(&message.bytes);
                ends.push(batch.len());
            }
        }
        Publisher {
            scanner: Scanner::new(connection.frame_max),
            connection,
            batch,
            bodies_at,
            ends,
            lines: messages.iter().map(|&(line, _)| line).collect(),
            unsent: 0..0,
            published: 0,
            confirms: pace
                .confirms
                .then(|| Confirms::new(pace.window + rounds * per_round)),
            blocked: None,
            readable: true,
            writable: true,
        }
    }

    /// Messages that go out together.
    pub fn batch_count(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Writes once, as long as a whole batch, or all that is left to send, has `room`; smaller writes would make
    /// the client dear. Returns whether anything was written.
    pub fn write_some(&mut self, room: u64, left: u64) -> Result<bool> {
        if self.unsent.is_empty() {
            let count = self.batch_count().min(left);
            if count == 0 || room < count {
                return Ok(false);
            }
            self.prepare(count);
        }
        let unsent = self.unsent.clone();
        match self.connection.stream.write(&self.batch[unsent]) {
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
        self.prepare(self.batch_count().min(most));
        let unsent = std::mem::take(&mut self.unsent);
        self.connection.stream.write_all(&self.batch[unsent])?;
        Ok(())
    }

    /// Writes up to a batch of messages from number `from` on, each with the stamp that belongs to its number, to a
    /// blocking socket. Returns the number that comes next.
    pub fn write_stamped(
        &mut self,
        from: u64,
        until: u64,
        stamp: impl Fn(u64) -> u64,
    ) -> Result<u64> {
        let count = self.batch_count().min(until - from);
        self.prepare(count);
        for (&at, number) in self.bodies_at[..count as usize].iter().zip(from..) {
            let place = &mut self.batch[at + SEQUENCE_SIZE..][..8];
            place.copy_from_slice(&stamp(number).to_be_bytes());
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.connection.stream.write_all(&self.batch[unsent])?;
        Ok(from + count)
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
        let (confirms, blocked) = (&mut self.confirms, &mut self.blocked);
        let done = self
            .scanner
            .scan(inbox.bytes(), |event| match (event, &mut *confirms) {
                (
                    Event::Confirm {
                        channel: CHANNEL,
                        number,
                        multiple,
                    },
                    Some(confirms),
                ) => confirms.on_confirm(number, multiple, published, |_| {}),
                (Event::Blocked(reason), _) => {
                    *blocked = reason;
                    Ok(())
                }
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
        let count = count as usize;
        if let [line] = self.lines[..] {
            let sequences = ledger::sequence(line, self.published)..;
            for (&at, sequence) in self.bodies_at[..count].iter().zip(sequences) {
                self.batch[at..][..8].copy_from_slice(&sequence.to_be_bytes());
            }
            self.published += count as u64;
        } else {
            self.prepare_rounds(count);
        }
        self.unsent = 0..self.ends[count - 1];
    }

    /// Whole rounds, so that each line's numbers follow from the count of rounds.
    fn prepare_rounds(&mut self, count: usize) {
        let per_round = self.lines.len();
        for (&at, place) in self.bodies_at[..count].iter().zip(0..) {
            let number = (self.published + place) / per_round as u64;
            let line = self.lines[place as usize % per_round];
            let sequence = ledger::sequence(line, number);
            self.batch[at..][..8].copy_from_slice(&sequence.to_be_bytes());
        }
        self.published += count as u64;
    }
}

/// How many messages make up a batch: about [`BATCH_BYTES`], and a quarter of the window at most, so
/// that the broker has work while the client waits for room.
pub fn batch_count(message_size: usize, window: u64) -> u64 {
    let by_size = (BATCH_BYTES / message_size) as u64;
    by_size.min(window / 4).max(1)
}

const BATCH_BYTES: usize = 64 << 10;
