//! What a start finds in the data directory.

use std::fmt;
use std::ops::Range;

use crate::broker::journal::{Definition, Note, QueueId};
use crate::broker::message::{BLOCK_MESSAGES, MessageId};
use crate::broker::queue::PackedIds;

use super::attributes::PackedAttributes;

/// The state that was stored.
#[derive(Debug)]
pub struct Recovered {
    /// In an order that can be replayed.
    pub definitions: Vec<Definition>,
    /// The last value of each key; by kind and key.
    pub notes: Vec<Note>,
    /// Messages that were not acked, for each queue that has any; ascending.
    pub queues: Vec<(QueueId, PackedIds)>,
    /// How many queues have each message; blocks ascending.
    pub references: Vec<References>,
    /// Of each message that somebody needs.
    pub attributes: PackedAttributes,
    pub redelivered: Redelivered,
    /// The first of a block; no message ever had this id or a higher one.
    pub next_message: MessageId,
    pub next_queue: QueueId,
    pub damage: Vec<Damage>,
    pub statistics: RecoveryStatistics,
}

/// How many queues need the messages of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum References {
    /// Blocks all of whose messages are in one queue each.
    Full(Range<u64>),
    /// A bit for each message that is in one queue; the others are in none.
    OneEach {
        block: u64,
        present: [u64; BLOCK_MESSAGES / 64],
    },
    Counts {
        block: u64,
        counts: Box<[u32; BLOCK_MESSAGES]>,
    },
}

impl References {
    /// Block numbers it tells about.
    pub fn blocks(&self) -> Range<u64> {
        match self {
            References::Full(blocks) => blocks.clone(),
            References::OneEach { block, .. } | References::Counts { block, .. } => {
                *block..block + 1
            }
        }
    }

    /// For each message of a block.
    pub fn counts(&self) -> [u32; BLOCK_MESSAGES] {
        match self {
            References::Full(_) => [1; BLOCK_MESSAGES],
            References::OneEach { present, .. } => {
                std::array::from_fn(|slot| (present[slot / 64] >> (slot % 64) & 1) as u32)
            }
            References::Counts { counts, .. } => **counts,
        }
    }
}

/// Which messages may have been delivered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// The broker did not stop by itself, so nobody knows: any of them.
    Any,
    /// After a clean stop.
    Exactly(Vec<(QueueId, PackedIds)>),
}

impl Default for Redelivered {
    fn default() -> Self {
        Redelivered::Exactly(Vec::new())
    }
}

/// Something in the directory that was not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Relative to the data directory.
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
    pub what: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Records that were not completely written when the broker ended; nobody was told they were.
    Torn,
    /// A record, or several, that cannot be read: what was in them is lost.
    Record,
    /// The start of a file; it holds nothing that is not known otherwise.
    Header,
    /// The index of a file, which was made anew from its records.
    Footer,
    /// A file that should be there.
    Missing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            file,
            offset,
            bytes,
            what,
        } = self;
        match what {
            Fault::Torn => write!(
                f,
                "{file}: cut at offset {offset}, {bytes} bytes of a write that was interrupted"
            ),
            Fault::Record => write!(
                f,
                "{file}: damaged at offset {offset}, {bytes} bytes are lost"
            ),
            Fault::Header => write!(f, "{file}: damaged header, read all the same"),
            Fault::Footer => write!(f, "{file}: damaged index, made anew from the records"),
            Fault::Missing => write!(f, "{file}: missing, what was in it is lost"),
        }
    }
}

impl Fault {
    /// Whether something may be gone that was stored.
    pub fn is_loss(self) -> bool {
        matches!(self, Fault::Record | Fault::Missing)
    }
}

/// What a start had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryStatistics {
    pub segments: u64,
    /// Segments without a footer, which were read record by record.
    pub scanned: u64,
    /// Messages that somebody needs.
    pub messages: u64,
    pub log_bytes: u64,
}

/// Counts references in ascending order of ids.
#[derive(Default)]
pub(super) struct ReferenceCounter {
    done: Vec<References>,
    block: u64,
    counts: Option<Box<[u32; BLOCK_MESSAGES]>>,
    pub messages: u64,
}

impl ReferenceCounter {
    #[inline]
    pub fn add(&mut self, id: u64, count: u32) {
        let block = id / BLOCK_MESSAGES as u64;
        if block != self.block {
            self.finish_block();
            self.block = block;
        }
        let counts = self
            .counts
            .get_or_insert_with(|| Box::new([0; BLOCK_MESSAGES]));
        counts[id as usize % BLOCK_MESSAGES] = count;
        self.messages += 1;
    }

    fn finish_block(&mut self) {
        let Some(counts) = &mut self.counts else {
            return;
        };
        let block = self.block;
        if counts.iter().all(|count| *count == 1) {
            match self.done.last_mut() {
                Some(References::Full(blocks)) if blocks.end == block => blocks.end += 1,
                _ => self.done.push(References::Full(block..block + 1)),
            }
        } else if counts.iter().all(|count| *count <= 1) {
            let mut present = [0; BLOCK_MESSAGES / 64];
            for (slot, count) in counts.iter().enumerate() {
                present[slot / 64] |= u64::from(*count) << (slot % 64);
            }
            self.done.push(References::OneEach { block, present });
        } else if counts.iter().any(|count| *count > 0) {
            let counts = counts.clone();
            self.done.push(References::Counts { block, counts });
        }
        counts.fill(0);
    }

    pub fn finish(mut self) -> Vec<References> {
        self.finish_block();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_in_more_queues_than_16_bits_count() {
        let mut counter = ReferenceCounter::default();
        counter.add(BLOCK_MESSAGES as u64, 70_000);
        counter.add(BLOCK_MESSAGES as u64 + 1, 1);
        let [references] = &counter.finish()[..] else {
            panic!("one block");
        };
        assert_eq!(references.counts()[..3], [70_000, 1, 0]);
    }
}
