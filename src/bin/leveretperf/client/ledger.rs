//! What must arrive, held against what does: nothing is lost, comes twice, or overtakes what was published before it
//! on the same path (§4.7).
//!
//! Every body begins with a number: the line in the upper 16 bits, the place in that line below. A line is what
//! one publisher sends to one queue, or, where a queue gets copies of what others get too, all that goes to that queue.
//! With one consumer the next message of a line is known. With several they share a queue: each sees growing numbers,
//! and all of them together every number once. A delivery that is marked as redelivered may come a second time.

use std::collections::VecDeque;

use super::failure::{Failure, Result};

pub struct Ledger {
    lines: Vec<Line>,
    by: By,
    /// How often each message comes in a row: the relay has no queues, only copies.
    copies: u64,
    pub received: u64,
    /// Deliveries that came once more, and said so.
    pub redelivered: u64,
}

/// What a line is.
#[derive(Clone, Copy)]
enum By {
    /// All that a queue gets.
    Queue,
    /// What bears the line's number; goes to the queue of that number, modulo the count of queues.
    Number { queues: usize },
}

#[derive(Clone, Default)]
struct Line {
    /// All numbers below have arrived.
    low: u64,
    /// Whether those from `low` on have, where consumers share a queue; empty otherwise.
    above: VecDeque<bool>,
    /// By consumer, one more than the last number it was given, where they share a queue.
    last: Vec<u64>,
}

/// One delivery.
pub struct Arrival {
    pub consumer: usize,
    pub queue: usize,
    pub sequence: u64,
    pub redelivered: bool,
}

impl Ledger {
    /// Every queue gets every message, `copies` times in a row.
    pub fn by_queue(queues: usize, copies: u64) -> Self {
        Ledger::new(By::Queue, vec![Line::default(); queues], copies)
    }

    /// Messages are numbered within lines, which are spread over `queues`. `sharing` is the count of consumers if
    /// they share queues.
    pub fn by_number(lines: usize, queues: usize, sharing: Option<usize>) -> Self {
        let line = Line {
            last: vec![0; sharing.unwrap_or(0)],
            ..Line::default()
        };
        Ledger::new(By::Number { queues }, vec![line; lines], 1)
    }

    fn new(by: By, lines: Vec<Line>, copies: u64) -> Self {
        Ledger {
            lines,
            by,
            copies,
            received: 0,
            redelivered: 0,
        }
    }

    /// Takes note of a delivery.
    #[inline]
    pub fn note(&mut self, arrival: Arrival) -> Result<()> {
        let number = arrival.sequence & NUMBER_MASK;
        let index = match self.by {
            By::Queue => arrival.queue,
            By::Number { queues } => {
                let line = (arrival.sequence >> NUMBER_BITS) as usize;
                if queues > 1 && line % queues != arrival.queue {
                    return Err(Failure::promise(format!(
                        "queue {} gave a message of queue {}",
                        arrival.queue,
                        line % queues
                    )));
                }
                line
            }
        };
        let Some(line) = self.lines.get_mut(index) else {
            return Err(Failure::promise(format!(
                "a message that nobody published: line {index}, number {number}"
            )));
        };
        if !line.last.is_empty() {
            let is_first = line.note_shared(&arrival, number)?;
            self.received += u64::from(is_first);
            self.redelivered += u64::from(!is_first);
            return Ok(());
        }
        let due = if self.copies == 1 {
            line.low
        } else {
            line.low / self.copies
        };
        if number == due {
            line.low += 1;
            self.received += 1;
            return Ok(());
        }
        if number < due && arrival.redelivered {
            self.redelivered += 1;
            return Ok(());
        }
        Err(fault(number > due, arrival.queue, number, due))
    }
}

impl Line {
    /// Whether it came for the first time.
    fn note_shared(&mut self, arrival: &Arrival, number: u64) -> Result<bool> {
        let due = self.low;
        let ahead = number.wrapping_sub(due);
        if number >= due && ahead > AHEAD_MAX {
            return Err(fault(true, arrival.queue, number, due));
        }
        let known = number < due || self.above.get(ahead as usize) == Some(&true);
        if known {
            if arrival.redelivered {
                return Ok(false);
            }
            return Err(fault(false, arrival.queue, number, due));
        }
        if let Some(last) = self.last.get_mut(arrival.consumer) {
            if number < *last && !arrival.redelivered {
                return Err(Failure::promise(format!(
                    "messages out of order: queue {} gave number {number} after {} to one consumer",
                    arrival.queue,
                    *last - 1
                )));
            }
            *last = number + 1;
        }
        if self.above.len() <= ahead as usize {
            self.above.resize(ahead as usize + 1, false);
        }
        self.above[ahead as usize] = true;
        while self.above.front() == Some(&true) {
            self.above.pop_front();
            self.low += 1;
        }
        Ok(true)
    }
}

/// The sequence number of message `number` in `line`.
pub fn sequence(line: usize, number: u64) -> u64 {
    (line as u64) << NUMBER_BITS | number
}

#[cold]
fn fault(ahead: bool, queue: usize, number: u64, due: u64) -> Failure {
    let fault = if ahead {
        "messages lost or out of order"
    } else {
        "messages duplicated or out of order"
    };
    Failure::promise(format!(
        "{fault}: queue {queue} gave number {number} where {due} was due"
    ))
}

/// Lines that can be told apart.
pub const LINES_MAX: usize = 1 << 16;
const NUMBER_BITS: u32 = 48;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
/// A message that so many others of its line overtake counts as lost; bounds the memory for them.
const AHEAD_MAX: u64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(consumer: usize, sequence: u64, redelivered: bool) -> Arrival {
        Arrival {
            consumer,
            queue: 0,
            sequence,
            redelivered,
        }
    }

    #[test]
    fn one_consumer_gets_the_next_message_and_no_other() {
        let mut ledger = Ledger::by_number(2, 1, None);
        for sequence in [sequence(0, 0), sequence(1, 0), sequence(0, 1)] {
            assert!(ledger.note(arrival(0, sequence, false)).is_ok());
        }
        for wrong in [sequence(0, 3), sequence(0, 1), sequence(2, 0)] {
            assert!(ledger.note(arrival(0, wrong, false)).is_err());
        }
    }

    #[test]
    fn consumers_that_share_a_queue_each_see_growing_numbers() {
        let mut ledger = Ledger::by_number(1, 1, Some(2));
        for (consumer, number) in [(0, 1), (1, 0), (1, 2)] {
            assert!(ledger.note(arrival(consumer, number, false)).is_ok());
        }
        assert!(ledger.note(arrival(0, 2, false)).is_err(), "a duplicate");
        assert!(ledger.note(arrival(1, 5, false)).is_ok());
        assert!(ledger.note(arrival(1, 4, false)).is_err(), "out of order");
    }

    #[test]
    fn what_is_marked_as_redelivered_may_come_again() {
        let mut ledger = Ledger::by_number(1, 1, None);
        assert!(ledger.note(arrival(0, 0, false)).is_ok());
        assert!(ledger.note(arrival(0, 0, true)).is_ok());
        assert!(ledger.note(arrival(0, 0, false)).is_err());
        assert_eq!((ledger.received, ledger.redelivered), (1, 1));
    }
}
