//! The consuming side: counts deliveries, acknowledges where asked, and ends the scenario on the
//! first message that is lost, comes twice or out of order.

use std::io::{self, Write};

use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::scanner::{Event, Scanner};
use crate::wire::{self, CHANNEL, Method};

pub struct Consumer {
    pub connection: Connection,
    scanner: Scanner,
    pub received: u64,
    order: Order,
    /// Acknowledge every so many deliveries, all at once; `None` where no-ack was asked for.
    ack_every: Option<u64>,
    acked: u64,
    /// Acknowledgements that the socket has not taken yet.
    outbox: Vec<u8>,
    /// What the poll last said, until the socket says otherwise.
    pub readable: bool,
}

/// Deliveries received per queue, from which follows the sequence number that comes next.
struct Order {
    per_queue: Vec<u64>,
    /// How often each message comes in a row: the relay has no queues, only copies.
    copies: u64,
}

impl Consumer {
    pub fn new(connection: Connection, queues: usize, copies: u64, ack_every: Option<u64>) -> Self {
        Consumer {
            connection,
            scanner: Scanner::default(),
            received: 0,
            order: Order {
                per_queue: vec![0; queues],
                copies,
            },
            ack_every,
            acked: 0,
            outbox: Vec::new(),
            readable: true,
        }
    }

    /// Reads once, reports the stamp of each delivery and acknowledges what is due. Returns whether
    /// anything came; on a blocking socket, `false` means that its timeout has passed.
    pub fn read_some(&mut self, mut on_stamp: impl FnMut(u64)) -> Result<bool> {
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
        let (order, received) = (&mut self.order, &mut self.received);
        let done = self.scanner.scan(inbox.bytes(), |event| match event {
            Event::Delivery {
                queue,
                sequence,
                stamp,
            } => {
                order.check(queue, sequence)?;
                *received += 1;
                on_stamp(stamp);
                Ok(())
            }
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
        while self.received - self.acked >= every {
            self.acked += every;
            let ack = Method::new(wire::BASIC_ACK)
                .u64(self.acked)
                .u8(ACK_MULTIPLE);
            self.outbox.extend_from_slice(&ack.frame(CHANNEL));
        }
        self.flush()
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

impl Order {
    fn check(&mut self, queue: usize, sequence: u64) -> Result<()> {
        let Some(count) = self.per_queue.get_mut(queue) else {
            return Err(Failure::new(format!(
                "a delivery from unknown queue {queue}"
            )));
        };
        let due = if self.copies == 1 {
            *count
        } else {
            *count / self.copies
        };
        *count += 1;
        if sequence == due {
            return Ok(());
        }
        let fault = if sequence > due {
            "messages lost or out of order"
        } else {
            "messages duplicated or out of order"
        };
        Err(Failure::new(format!(
            "{fault}: queue {queue} gave number {sequence} where {due} was due"
        )))
    }
}

const ACK_MULTIPLE: u8 = 1;
