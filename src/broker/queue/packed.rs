//! Message ids in ascending order, packed: the part of a deep queue's index that nobody looks at now.
//!
//! Ids are kept as distances to their predecessor, seven bits a byte; and where distances repeat, as
//! they do when one or a few publishers take turns, as a distance and how often. So ten million
//! messages in one queue take a few bytes, and scattered ones about a byte each. Where they take many bytes,
//! some places in these are marked, so that who looks for an id need not read all before it.

use std::collections::VecDeque;

use crate::broker::message::MessageId;
use crate::wire::number;

/// A sequence of ascending ids; it grows at its end and is taken from its front.
#[derive(Clone, Debug, Default)]
pub struct PackedIds {
    /// Runs; those before `start` are taken.
    bytes: Vec<u8>,
    start: usize,
    /// The run being taken.
    head: Run,
    /// The id taken last.
    taken: Option<u64>,
    /// The run being written, not yet in `bytes`.
    tail: Run,
    count: usize,
    last: u64,
    /// Only where there are many bytes.
    marks: Option<Box<Marks>>,
}

/// Places in the bytes where a run begins, every [`MARK_EVERY`] bytes or so.
#[derive(Clone, Debug, Default)]
struct Marks {
    /// Ascending, by place and by id.
    places: VecDeque<Mark>,
    /// Bytes that were before the first one that is still kept.
    drained: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Counted with those that were drained.
    at: usize,
    /// The id before.
    taken: Option<u64>,
}

/// So many ids, each at this distance from the one before, less one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    distance: u64,
    repeats: u64,
}

impl PackedIds {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn first(&self) -> Option<MessageId> {
        self.iter().next()
    }

    pub fn last(&self) -> Option<MessageId> {
        (self.count > 0).then(|| MessageId::from_bits(self.last))
    }

    /// `id` must be greater than all before it, also those that were taken.
    pub fn push(&mut self, id: MessageId) {
        let id = id.to_bits();
        let before = if self.count > 0 {
            Some(self.last)
        } else {
            self.taken
        };
        debug_assert!(before.is_none_or(|before| before < id));
        // The first id stands as its distance from one before zero.
        let distance = before.map_or(id, |before| id - before - 1);
        if self.tail.repeats > 0 && self.tail.distance == distance {
            self.tail.repeats += 1;
        } else {
            self.tail.write(&mut self.bytes);
            self.tail = Run {
                distance,
                repeats: 1,
            };
            if self.bytes.len() >= MARK_EVERY {
                self.mark(before);
            }
        }
        self.last = id;
        self.count += 1;
    }

    /// Takes the first id.
    pub fn pop(&mut self) -> Option<MessageId> {
        let mut ids = self.iter();
        let id = ids.next()?;
        let Ids {
            rest,
            head,
            tail,
            taken,
        } = ids;
        self.start = self.bytes.len() - rest.len();
        (self.head, self.tail, self.taken) = (head, tail, taken);
        self.count -= 1;
        if self.start > COMPACT_MIN && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            if let Some(marks) = &mut self.marks {
                marks.drain(self.start);
            }
            self.start = 0;
        }
        Some(id)
    }

    pub fn iter(&self) -> Ids<'_> {
        Ids {
            rest: &self.bytes[self.start..],
            head: self.head,
            tail: self.tail,
            taken: self.taken,
        }
    }

    /// From this id on. What is before it is mostly not read.
    pub fn iter_from(&self, first: MessageId) -> Ids<'_> {
        let first = first.to_bits();
        let mut ids = self.iter();
        if let Some(marks) = &self.marks
            && let Some(mark) = marks.before(first)
            && mark.at - marks.drained > self.start
        {
            ids = Ids {
                rest: &self.bytes[mark.at - marks.drained..],
                head: Run::default(),
                tail: self.tail,
                taken: mark.taken,
            };
        }
        ids.skip_to(first);
        ids
    }

    /// The run being written begins at the end of the bytes, behind this id.
    #[cold]
    fn mark(&mut self, before: Option<u64>) {
        let marks = self.marks.get_or_insert_default();
        let at = marks.drained + self.bytes.len();
        let last = marks.places.back();
        if last.is_none_or(|last| at >= last.at + MARK_EVERY) {
            marks.places.push_back(Mark { at, taken: before });
        }
    }

    /// Bytes it takes up.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }
}

impl Marks {
    /// The last from which an id can be come to.
    fn before(&self, id: u64) -> Option<Mark> {
        let is_before = |mark: &Mark| mark.taken.is_none_or(|taken| taken < id);
        let end = self.places.partition_point(is_before);
        self.places.get(end.checked_sub(1)?).copied()
    }

    /// So many bytes went from the front.
    fn drain(&mut self, bytes: usize) {
        self.drained += bytes;
        let gone = self.places.partition_point(|mark| mark.at < self.drained);
        self.places.drain(..gone);
    }
}

impl PartialEq for PackedIds {
    fn eq(&self, other: &PackedIds) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for PackedIds {}

impl Extend<MessageId> for PackedIds {
    fn extend<I: IntoIterator<Item = MessageId>>(&mut self, ids: I) {
        for id in ids {
            self.push(id);
        }
    }
}

impl FromIterator<MessageId> for PackedIds {
    fn from_iter<I: IntoIterator<Item = MessageId>>(ids: I) -> Self {
        let mut packed = PackedIds::default();
        packed.extend(ids);
        packed
    }
}

/// Ids of a [`PackedIds`], in ascending order.
#[derive(Clone, Debug)]
pub struct Ids<'a> {
    rest: &'a [u8],
    head: Run,
    tail: Run,
    taken: Option<u64>,
}

impl Iterator for Ids<'_> {
    type Item = MessageId;

    #[inline]
    fn next(&mut self) -> Option<MessageId> {
        if !self.has_head() {
            return None;
        }
        self.head.repeats -= 1;
        let distance = self.head.distance;
        let id = self.taken.map_or(distance, |taken| taken + 1 + distance);
        self.taken = Some(id);
        Some(MessageId::from_bits(id))
    }
}

impl Ids<'_> {
    /// Whether there is a run to read from.
    #[inline]
    fn has_head(&mut self) -> bool {
        if self.head.repeats == 0 {
            self.head = match Run::read(&mut self.rest) {
                Some(run) => run,
                None => std::mem::take(&mut self.tail),
            };
        }
        self.head.repeats > 0
    }

    /// Passes over the ids before this one, a run at a time.
    fn skip_to(&mut self, first: u64) {
        while self.has_head() {
            // Those of a run are at whole steps from the id before it, which is -1 before the first.
            let before = self.taken.unwrap_or(u64::MAX);
            let step = self.head.distance + 1;
            let gap = first.wrapping_sub(before);
            if first <= before && self.taken.is_some() || gap <= step {
                return;
            }
            let skipped = ((gap - 1) / step).min(self.head.repeats);
            self.taken = Some(before.wrapping_add(skipped * step));
            self.head.repeats -= skipped;
            if self.head.repeats > 0 {
                return;
            }
        }
    }
}

impl Run {
    /// One number, twice the distance, for a single id; for several, one more, and their count.
    fn write(self, bytes: &mut Vec<u8>) {
        match self.repeats {
            0 => {}
            1 => number::write(bytes, self.distance << 1),
            repeats => {
                number::write(bytes, self.distance << 1 | 1);
                number::write(bytes, repeats);
            }
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Run> {
        let first = number::read(bytes)?;
        let repeats = match first & 1 {
            0 => 1,
            _ => number::read(bytes)?,
        };
        Some(Run {
            distance: first >> 1,
            repeats,
        })
    }
}

/// Taken bytes are not worth moving the rest for before there are this many.
const COMPACT_MIN: usize = 1024;
/// Bytes between two marks: a few microseconds of reading.
const MARK_EVERY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_steady_stream_takes_next_to_nothing() {
        let packed: PackedIds = (0..1_000_000).map(MessageId::from_bits).collect();
        assert_eq!(packed.len(), 1_000_000);
        assert!(packed.size() < 200);
        let strided: PackedIds = (0..1_000_000)
            .map(|n| MessageId::from_bits(7 + 100 * n))
            .collect();
        assert!(strided.size() < 200);
        assert_eq!(strided.iter().count(), 1_000_000);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(mut ids in prop::collection::btree_set(0..1u64 << 55, 0..200), near in 0..1000u64) {
            ids.extend(near..near + 50);
            let packed: PackedIds = ids.iter().copied().map(MessageId::from_bits).collect();
            prop_assert_eq!(packed.len(), ids.len());
            prop_assert_eq!(packed.last().map(MessageId::to_bits), ids.last().copied());
            let back: Vec<u64> = packed.iter().map(MessageId::to_bits).collect();
            prop_assert_eq!(back, ids.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn reading_can_begin_at_any_id(
            distances in prop::collection::vec((1..2000u64, 1..20u64), 1..4000),
            taken in 0..3000usize,
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        ) {
            let mut ids = Vec::new();
            for (distance, repeats) in distances {
                let distance = if distance < 500 { 2 } else { distance };
                for _ in 0..repeats {
                    ids.push(ids.last().map_or(distance - 1, |last| last + distance));
                }
            }
            let mut packed: PackedIds = ids.iter().copied().map(MessageId::from_bits).collect();
            let taken = taken.min(ids.len());
            for _ in 0..taken {
                packed.pop();
            }
            let end = ids.last().map_or(0, |last| last + 3);
            for place in places {
                let first = place.index(end as usize) as u64;
                let found = packed.iter_from(MessageId::from_bits(first)).map(MessageId::to_bits);
                let due = ids[taken..].iter().copied().filter(|id| *id >= first);
                prop_assert!(found.eq(due), "from {first}");
            }
        }

        #[test]
        fn what_is_taken_is_gone(steps in prop::collection::vec((1..2000u64, any::<bool>()), 0..3000)) {
            let mut packed = PackedIds::default();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0;
            for (distance, take) in steps {
                // Mostly runs, sometimes none.
                next += if distance < 1500 { 3 } else { distance };
                packed.push(MessageId::from_bits(next));
                model.push_back(next);
                if take {
                    prop_assert_eq!(packed.pop().map(MessageId::to_bits), model.pop_front());
                }
                prop_assert_eq!(packed.len(), model.len());
            }
            prop_assert!(packed.iter().map(MessageId::to_bits).eq(model.iter().copied()));
            while let Some(id) = model.pop_front() {
                prop_assert_eq!(packed.pop().map(MessageId::to_bits), Some(id));
            }
            prop_assert_eq!(packed.pop(), None);
            packed.push(MessageId::from_bits(next + 9));
            prop_assert_eq!(packed.pop(), Some(MessageId::from_bits(next + 9)));
        }
    }
}
