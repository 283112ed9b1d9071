//! Message ids in ascending order, packed: the part of a deep queue's index that nobody looks at now.
//!
//! Ids are kept as distances to their predecessor, seven bits a byte; and where distances repeat, as
//! they do when one or a few publishers take turns, as a distance and how often. So ten million
//! messages in one queue take a few bytes, and scattered ones about a byte each.

use crate::broker::message::MessageId;

/// A sequence of ascending ids; it grows at its end and is read from its front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedIds {
    bytes: Vec<u8>,
    count: usize,
    last: u64,
    /// The run being written: so many ids at this distance from each other, not yet in `bytes`.
    run: Run,
}

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

    pub fn last(&self) -> Option<MessageId> {
        (self.count > 0).then(|| MessageId::from_bits(self.last))
    }

    /// `id` must be greater than all before it.
    pub fn push(&mut self, id: MessageId) {
        let id = id.to_bits();
        debug_assert!(self.count == 0 || id > self.last);
        // Distances are kept less one, from one before zero, so that id 0 has a distance too.
        let distance = match self.count {
            0 => id,
            _ => id - self.last - 1,
        };
        if self.run.repeats > 0 && self.run.distance == distance {
            self.run.repeats += 1;
        } else {
            self.run.write(&mut self.bytes);
            self.run = Run {
                distance,
                repeats: 1,
            };
        }
        self.last = id;
        self.count += 1;
    }

    pub fn iter(&self) -> Ids<'_> {
        Ids {
            bytes: &self.bytes,
            tail: self.run,
            run: Run::default(),
            last: None,
        }
    }

    /// Bytes it takes up.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }
}

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
    bytes: &'a [u8],
    tail: Run,
    run: Run,
    last: Option<u64>,
}

impl Iterator for Ids<'_> {
    type Item = MessageId;

    fn next(&mut self) -> Option<MessageId> {
        if self.run.repeats == 0 {
            self.run = match Run::read(&mut self.bytes) {
                Some(run) => run,
                None => std::mem::take(&mut self.tail),
            };
            if self.run.repeats == 0 {
                return None;
            }
        }
        self.run.repeats -= 1;
        let id = match self.last {
            None => self.run.distance,
            Some(last) => last + 1 + self.run.distance,
        };
        self.last = Some(id);
        Some(MessageId::from_bits(id))
    }
}

impl Run {
    /// One number, twice the distance, for a single id; for several, one more, and their count.
    fn write(self, bytes: &mut Vec<u8>) {
        match self.repeats {
            0 => {}
            1 => write_number(bytes, self.distance << 1),
            repeats => {
                write_number(bytes, self.distance << 1 | 1);
                write_number(bytes, repeats);
            }
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Run> {
        let number = read_number(bytes)?;
        let repeats = match number & 1 {
            0 => 1,
            _ => read_number(bytes)?,
        };
        Some(Run {
            distance: number >> 1,
            repeats,
        })
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

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
        fn what_goes_in_comes_out(mut ids in prop::collection::btree_set(0..1u64 << 62, 0..200), near in 0..1000u64) {
            ids.extend(near..near + 50);
            let packed: PackedIds = ids.iter().copied().map(MessageId::from_bits).collect();
            prop_assert_eq!(packed.len(), ids.len());
            prop_assert_eq!(packed.last().map(MessageId::to_bits), ids.last().copied());
            let back: Vec<u64> = packed.iter().map(MessageId::to_bits).collect();
            prop_assert_eq!(back, ids.into_iter().collect::<Vec<_>>());
        }
    }
}
