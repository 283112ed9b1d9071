//! What a segment holds, without the bodies: ids and queues of its messages, where each block of ids
//! begins, their attributes, and the acks it carries. Built while the segment is written, kept in its footer.
//!
//! Messages are runs of (distance to the id before, set of queues, how often), so that a steady stream
//! takes a few bytes per segment and a scattered one two or three per message; for their attributes see
//! [`attributes`](super::attributes).

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::broker::journal::QueueId;
use crate::broker::message::{Attributes, BLOCK_MESSAGES, MessageId};

use super::attributes::{self, AttributeList};
use super::number;

/// The index of a segment that is being written.
#[derive(Default)]
pub(super) struct IndexBuilder {
    pub blocks: Blocks,
    /// Packed lists, as in the records.
    pub acks: Vec<u8>,
    pub attributes: AttributeList,
    pub messages: u64,
    /// Copies of messages, one for each queue.
    pub references: u64,
    pub bodies: Bodies,
    first: u64,
    /// One more than the last id; zero before the first.
    last: u64,
    sets: Vec<u8>,
    set_numbers: HashMap<Box<[u8]>, u32, FixedState>,
    /// The queues of the message before, as in the record, and their number.
    set: (Vec<u8>, u32),
    runs: Vec<u8>,
    open: Entry,
}

/// Sizes of some bodies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bodies {
    pub count: u64,
    pub bytes: u64,
    pub largest: u64,
}

impl Bodies {
    #[inline]
    pub fn add(&mut self, size: u32) {
        self.count += 1;
        self.bytes += u64::from(size);
        self.largest = self.largest.max(u64::from(size));
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    distance: u64,
    set: u32,
    repeats: u64,
}

impl IndexBuilder {
    /// Adds a message whose record is at `offset`. `queues` as in the record: eight bytes each.
    #[inline]
    pub fn push(&mut self, id: u64, queues: &[u8], attributes: Attributes, offset: u64) {
        if self.messages == 0 {
            self.first = id;
        }
        self.messages += 1;
        self.references += (queues.len() / 8) as u64;
        self.blocks.note(id / BLOCK_MESSAGES as u64, offset);
        self.attributes.push(attributes);
        self.bodies.add(attributes.body_size);
        if self.set.0 != queues || self.set_numbers.is_empty() {
            self.set = (queues.to_vec(), self.set_number(queues));
        }
        let distance = id + 1 - self.last;
        self.last = id + 1;
        let set = self.set.1;
        if self.open.repeats > 0 && self.open.distance == distance && self.open.set == set {
            self.open.repeats += 1;
        } else {
            self.open.write(&mut self.runs);
            self.open = Entry {
                distance,
                set,
                repeats: 1,
            };
        }
    }

    fn set_number(&mut self, queues: &[u8]) -> u32 {
        if let Some(number) = self.set_numbers.get(queues) {
            return *number;
        }
        let number = self.set_numbers.len() as u32;
        self.set_numbers.insert(queues.into(), number);
        number::write(&mut self.sets, (queues.len() / 8) as u64);
        for queue in queues.as_chunks::<8>().0 {
            number::write(&mut self.sets, u64::from_le_bytes(*queue));
        }
        number
    }

    /// First and last id.
    pub fn ids(&self) -> Option<(u64, u64)> {
        (self.messages > 0).then(|| (self.first, self.last - 1))
    }

    /// At most what [`IndexBuilder::encode_messages`] and the other sections take, and a bit more.
    pub fn size(&self) -> usize {
        self.sets.len()
            + self.runs.len()
            + self.acks.len()
            + self.attributes.size()
            + BLOCK_ENTRY_SIZE_MAX * self.blocks.entries.len()
            + INDEX_SLACK
    }

    pub fn encode_messages(&self, out: &mut Vec<u8>) {
        let mut runs = self.runs.clone();
        self.open.write(&mut runs);
        number::write(out, self.set_numbers.len() as u64);
        out.extend_from_slice(&self.sets);
        out.extend_from_slice(&runs);
    }
}

impl Entry {
    fn write(self, out: &mut Vec<u8>) {
        if self.repeats > 0 {
            number::write(out, self.distance << 1 | u64::from(self.repeats > 1));
            number::write(out, u64::from(self.set));
        }
        if self.repeats > 1 {
            number::write(out, self.repeats);
        }
    }
}

/// What a message adds to an index at most, beside its queues.
pub(super) const ENTRY_SIZE_MAX: usize =
    BLOCK_ENTRY_SIZE_MAX + RUN_SIZE_MAX + attributes::ENTRY_SIZE_MAX;
const RUN_SIZE_MAX: usize = 10 + 5 + 10;
const BLOCK_ENTRY_SIZE_MAX: usize = 5 + 5;
const INDEX_SLACK: usize = 256;

/// Where blocks of ids begin in a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// The number of the first block.
    base: u64,
    /// Distance from the first block, offset; ascending in both.
    entries: Vec<(u32, u32)>,
}

impl Blocks {
    #[inline]
    fn note(&mut self, block: u64, offset: u64) {
        match self.entries.last() {
            None => self.base = block,
            Some((last, _)) if self.base + u64::from(*last) == block => return,
            Some(_) => {}
        }
        // A segment is full long before ids are that far apart; if they are, the block before it is
        // read along with it.
        if let (Ok(distance), Ok(offset)) = ((block - self.base).try_into(), offset.try_into()) {
            self.entries.push((distance, offset));
        }
    }

    /// Where the records of a block are: from, and up to, unless it is the last one.
    pub fn range(&self, block: u64) -> Option<(u64, Option<u64>)> {
        let distance = block.checked_sub(self.base)?;
        let behind = self
            .entries
            .partition_point(|(entry, _)| u64::from(*entry) <= distance);
        let (_, offset) = self.entries[..behind].last()?;
        let end = self.entries.get(behind).map(|(_, end)| u64::from(*end));
        Some((u64::from(*offset), end))
    }

    /// Whether all of them begin before the records end.
    pub fn are_within(&self, data_end: u64) -> bool {
        let last = self.entries.last();
        last.is_none_or(|(_, offset)| u64::from(*offset) < data_end)
    }

    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        number::write(out, self.base);
        let mut last = (0, 0);
        for entry in &self.entries {
            number::write(out, u64::from(entry.0 - last.0));
            number::write(out, u64::from(entry.1 - last.1));
            last = *entry;
        }
    }

    pub fn decode(mut bytes: &[u8]) -> Option<Blocks> {
        let mut blocks = Blocks {
            base: number::read(&mut bytes)?,
            entries: Vec::new(),
        };
        let mut last = (0u32, 0u32);
        while !bytes.is_empty() {
            let distance = u32::try_from(number::read(&mut bytes)?).ok()?;
            let size = u32::try_from(number::read(&mut bytes)?).ok()?;
            last = (last.0.checked_add(distance)?, last.1.checked_add(size)?);
            blocks.entries.push(last);
        }
        blocks.shrink();
        Some(blocks)
    }
}

/// Messages of an index: some with ids at equal distances and the same queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageRun {
    pub first: u64,
    pub stride: u64,
    pub count: u64,
    /// Into the sets.
    pub set: usize,
}

/// The messages section of an index, read.
pub(super) struct MessageRuns<'a> {
    /// For each set its queues; may be taken.
    pub sets: Vec<Vec<QueueId>>,
    set_count: usize,
    bytes: &'a [u8],
    /// One more than the last id.
    last: u64,
    /// The bytes were not what an index writes.
    pub malformed: bool,
}

impl<'a> MessageRuns<'a> {
    pub fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let count = number::read(&mut bytes)?;
        let mut sets = Vec::new();
        for _ in 0..count {
            let queues = number::read(&mut bytes)?;
            let set: Option<Vec<_>> = (0..queues)
                .map(|_| number::read(&mut bytes).map(QueueId))
                .collect();
            sets.push(set?);
        }
        Some(MessageRuns {
            set_count: sets.len(),
            sets,
            bytes,
            last: 0,
            malformed: false,
        })
    }

    fn read(&mut self) -> Option<MessageRun> {
        let number = number::read(&mut self.bytes)?;
        let set = usize::try_from(number::read(&mut self.bytes)?).ok()?;
        let count = match number & 1 {
            0 => 1,
            _ => number::read(&mut self.bytes)?,
        };
        let stride = number >> 1;
        let run = MessageRun {
            first: self.last.checked_add(stride)?.checked_sub(1)?,
            stride,
            count,
            set,
        };
        self.last = self.last.checked_add(stride.checked_mul(count)?)?;
        let valid =
            stride > 0 && count > 0 && set < self.set_count && self.last <= MessageId::STORED_MAX;
        valid.then_some(run)
    }
}

impl Iterator for MessageRuns<'_> {
    type Item = MessageRun;

    fn next(&mut self) -> Option<MessageRun> {
        if self.bytes.is_empty() {
            return None;
        }
        let run = self.read();
        if run.is_none() {
            self.malformed = true;
            self.bytes = &[];
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queues(ids: &[u64]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    #[test]
    fn a_steady_stream_takes_a_few_bytes_beside_its_blocks() {
        let mut index = IndexBuilder::default();
        for id in 0..100_000 {
            index.push(id, &queues(&[7]), Attributes::default(), 64 + 150 * id);
        }
        let mut out = Vec::new();
        index.encode_messages(&mut out);
        assert!(out.len() < 20);
        assert_eq!(
            index.blocks.range(3),
            Some((64 + 150 * 768, Some(64 + 150 * 1024)))
        );
        assert_eq!(
            index.blocks.range(100_000 / 256),
            Some((64 + 150 * 99_840, None))
        );
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            messages in prop::collection::vec((1..4u64, prop::collection::vec(0..5u64, 0..3)), 0..300),
        ) {
            let mut index = IndexBuilder::default();
            let mut id = 0;
            let mut given = Vec::new();
            for (n, (distance, set)) in messages.iter().enumerate() {
                id += distance;
                index.push(id, &queues(set), Attributes::default(), 64 + n as u64);
                given.push((id, set.clone()));
            }
            let mut out = Vec::new();
            index.encode_messages(&mut out);
            let mut runs = MessageRuns::decode(&out).unwrap();
            let mut back = Vec::new();
            while let Some(run) = runs.next() {
                for n in 0..run.count {
                    let set = runs.sets[run.set].iter().map(|queue| queue.0).collect();
                    back.push((run.first + n * run.stride, set));
                }
            }
            prop_assert!(!runs.malformed);
            prop_assert_eq!(back, given);
            let mut out = Vec::new();
            index.blocks.encode(&mut out);
            prop_assert_eq!(Blocks::decode(&out).unwrap().entries, index.blocks.entries);
        }

        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(runs) = MessageRuns::decode(&bytes) {
                runs.for_each(drop);
            }
            Blocks::decode(&bytes);
        }
    }
}
