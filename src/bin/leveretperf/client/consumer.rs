//! The consuming side: hands deliveries to the ledger, and acknowledges where asked.

use std::io::{self, Write};

use super::connection::Connection;
use super::failure::{Failure, Result};
use super::ledger::{Arrival, Ledger};
use super::scanner::{Event, Scanner};
use super::wire::{self, CHANNEL, Method};

pub struct Consumer {
    pub connection: Connection,
    /// Which of those that share queues it is.
    number: usize,
    scanner: Scanner,
    received: u64,
    /// Acknowledge every so many deliveries, all at once; `None` where no-ack was asked for.
    ack_every: Option<u64>,
    acked: u64,
    /// Acknowledgements that the socket has not taken yet.
    outbox: Vec<u8>,
    /// What the poll last said, until the socket says otherwise.
    pub readable: bool,
}

impl Consumer {
    pub fn new(connection: Connection, number: usize, ack_every: Option<u64>) -> Self {
        Consumer {
            scanner: Scanner::new(connection.frame_max),
            connection,
            number,
            received: 0,
            ack_every,
            acked: 0,
            outbox: Vec::new(),
            readable: true,
        }
    }

    /// Reads once, reports the stamp of each delivery and acknowledges what is due. Returns whether
    /// anything came; on a blocking socket, `false` means that its timeout has passed.
    pub fn read_some(
        &mut self,
        ledger: &mut Ledger,
        mut on_stamp: impl FnMut(u64),
    ) -> Result<bool> {
        let inbox = &mut self.connection.inbox;
        match inbox.fill(&self.connection.stream) {
            Ok(0) => return Err(Failure::new("the broker closed the consumer's socket")),
            // A short read has emptied the socket; the poll tells of what comes later.
            Ok(_) => self.readable = !inbox.has_room(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let (received, consumer) = (&mut self.received, self.number);
        let done = self.scanner.scan(inbox.bytes(), |event| match event {
            Event::Delivery(delivery) => {
                *received += 1;
                on_stamp(delivery.stamp);
                ledger.note(Arrival {
                    consumer,
                    queue: delivery.queue,
                    sequence: delivery.sequence,
                    redelivered: delivery.redelivered,
                })
            }
            Event::Blocked(_) => Ok(()),
            Event::Confirm { .. } => Err(Failure::new("the consumer received a confirm")),
        })?;
        inbox.consume(done);
        self.acknowledge()?;
        Ok(true)
    }

    /// Delivery tags count the deliveries of a channel, and there is one channel (§1.8.3.9).
    fn acknowledge(&mut self) -> Result<()> {
        let Some(every) = self.ack_every else {
            return Ok(());
        };
        // As many as a program would that takes one message after the other.
        while self.received - self.acked >= every {
            self.ack_up_to(self.acked + every);
        }
        self.flush()
    }

    /// Acknowledges what is left: when the consumer goes, it would come to another.
    pub fn settle(&mut self) -> Result<()> {
        self.connection.stream.set_nonblocking(false)?;
        if self.ack_every.is_some() && self.received > self.acked {
            self.ack_up_to(self.received);
        }
        self.flush()
    }

    fn ack_up_to(&mut self, delivery_tag: u64) {
        self.acked = delivery_tag;
        let ack = Method::new(wire::BASIC_ACK)
            .u64(delivery_tag)
            .u8(ACK_MULTIPLE);
        self.outbox.extend_from_slice(&ack.frame(CHANNEL));
    }

    /// Writes acknowledgements that are due; on a blocking socket, all of them.
    pub fn flush(&mut self) -> Result<()> {
        while !self.outbox.is_empty() {
            match self.connection.stream.write(&self.outbox) {
                Ok(size) => drop(self.outbox.drain(..size)),
                // The next read tries again; a few acknowledgements never fill a socket for long.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

const ACK_MULTIPLE: u8 = 1;
