//! Attributes of messages, packed: what a start must know of each without reading its body.
//!
//! Runs of equal ones, each as the difference to the run before:
//!
//! ```text
//!   repeats less one << 3 | what differs | time, as a zigzag distance | body size | priority and
//!   expiration, which is one more than its milliseconds, or zero
//! ```
//!
//! So a steady stream takes three bytes a millisecond, and bodies of random sizes about three bytes each.

use crate::broker::message::{Attributes, MessageId};
use crate::broker::queue::PackedIds;

use super::number;

/// Attributes in the order of their messages; it grows at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct AttributeList {
    bytes: Vec<u8>,
    /// The last one in `bytes`.
    last: Attributes,
    open: Run,
}

/// So many messages with the same attributes.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    attributes: Attributes,
    repeats: u64,
}

impl AttributeList {
    #[inline]
    pub fn push(&mut self, attributes: Attributes) {
        if self.open.attributes == attributes && self.open.repeats > 0 {
            self.open.repeats += 1;
            return;
        }
        self.open.write(&mut self.last, &mut self.bytes);
        self.open = Run {
            attributes,
            repeats: 1,
        };
    }

    /// Bytes of it, without the last run, which takes [`ENTRY_SIZE_MAX`] at most.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        self.open.write(&mut self.last.clone(), out);
    }

    pub fn iter(&self) -> AttributeRuns<'_> {
        AttributeRuns {
            tail: self.open,
            ..AttributeRuns::new(&self.bytes)
        }
    }
}

impl Run {
    fn write(self, last: &mut Attributes, out: &mut Vec<u8>) {
        let Run {
            attributes,
            repeats,
        } = self;
        let Some(more) = repeats.checked_sub(1) else {
            return;
        };
        let urgency = |of: &Attributes| (of.priority, of.expiration_ms);
        let time = attributes.arrived_ms != last.arrived_ms;
        let size = attributes.body_size != last.body_size;
        let rest = urgency(&attributes) != urgency(last);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let flags = flag(time, TIME) | flag(size, SIZE) | flag(rest, URGENCY);
        number::write(out, more << FLAG_BITS | flags);
        if time {
            let distance = attributes.arrived_ms.wrapping_sub(last.arrived_ms) as i64;
            number::write(out, (distance << 1 ^ distance >> 63) as u64);
        }
        if size {
            number::write(out, u64::from(attributes.body_size));
        }
        if rest {
            let expiration = attributes.expiration_ms;
            out.push(attributes.priority);
            number::write(out, expiration.map_or(0, |ms| ms.saturating_add(1)));
        }
        *last = attributes;
    }
}

/// Runs of equal attributes, and how many there are in each.
#[derive(Clone, Debug)]
pub(super) struct AttributeRuns<'a> {
    bytes: &'a [u8],
    last: Attributes,
    tail: Run,
    /// The bytes were not what a list writes.
    pub malformed: bool,
}

impl<'a> AttributeRuns<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        AttributeRuns {
            bytes,
            last: Attributes::default(),
            tail: Run::default(),
            malformed: false,
        }
    }

    fn read(&mut self) -> Option<u64> {
        let head = number::read(&mut self.bytes)?;
        let attributes = &mut self.last;
        if head & TIME != 0 {
            let zigzag = number::read(&mut self.bytes)?;
            let distance = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            attributes.arrived_ms = attributes.arrived_ms.wrapping_add(distance as u64);
        }
        if head & SIZE != 0 {
            attributes.body_size = number::read(&mut self.bytes)?.try_into().ok()?;
        }
        if head & URGENCY != 0 {
            attributes.priority = *self.bytes.split_off_first()?;
            attributes.expiration_ms = number::read(&mut self.bytes)?.checked_sub(1);
        }
        Some((head >> FLAG_BITS) + 1)
    }
}

impl Iterator for AttributeRuns<'_> {
    type Item = (Attributes, u64);

    #[inline]
    fn next(&mut self) -> Option<(Attributes, u64)> {
        if self.bytes.is_empty() {
            let Run {
                attributes,
                repeats,
            } = std::mem::take(&mut self.tail);
            return (repeats > 0).then_some((attributes, repeats));
        }
        let repeats = self.read();
        if repeats.is_none() {
            self.malformed = true;
            self.bytes = &[];
        }
        Some((self.last, repeats?))
    }
}

/// Attributes of one message after the other; of none, behind the last, the default.
pub(super) struct AttributeReader<'a> {
    runs: AttributeRuns<'a>,
    attributes: Attributes,
    left: u64,
}

impl<'a> AttributeReader<'a> {
    pub fn new(runs: AttributeRuns<'a>) -> Self {
        AttributeReader {
            runs,
            attributes: Attributes::default(),
            left: 0,
        }
    }

    #[inline]
    pub fn read(&mut self) -> Attributes {
        if self.left == 0 {
            (self.attributes, self.left) = self.runs.next().unwrap_or((Attributes::default(), 1));
        }
        self.left -= 1;
        self.attributes
    }
}

/// Messages and their attributes, ascending; ten million equal messages take some bytes for each
/// millisecond in which some of them came.
#[derive(Debug, Default)]
pub struct PackedAttributes {
    ids: PackedIds,
    attributes: AttributeList,
}

impl PackedAttributes {
    /// `id` must be greater than all before it.
    #[inline]
    pub(super) fn push(&mut self, id: MessageId, attributes: Attributes) {
        self.ids.push(id);
        self.attributes.push(attributes);
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes it takes up.
    pub fn size(&self) -> usize {
        self.ids.size() + self.attributes.bytes.capacity() + size_of::<AttributeList>()
    }

    pub fn iter(&self) -> impl Iterator<Item = (MessageId, Attributes)> {
        let mut attributes = AttributeReader::new(self.attributes.iter());
        self.ids.iter().map(move |id| (id, attributes.read()))
    }
}

/// What a run takes at most.
pub(super) const ENTRY_SIZE_MAX: usize = 10 + 10 + 5 + 1 + 10;

const FLAG_BITS: u32 = 3;
const TIME: u64 = 1;
const SIZE: u64 = 2;
/// Priority and expiration.
const URGENCY: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(arrived_ms: u64, body_size: u32) -> Attributes {
        Attributes {
            arrived_ms,
            body_size,
            ..Attributes::default()
        }
    }

    #[test]
    fn a_steady_stream_takes_a_few_bytes_a_millisecond() {
        let mut packed = PackedAttributes::default();
        for n in 0..1_000_000 {
            let attributes = plain(1_790_000_000_000 + n / 1000, 100);
            packed.push(MessageId::from_bits(n), attributes);
        }
        assert!(packed.attributes.size() < 3100, "{}", packed.size());
        assert!(packed.size() < 10_000, "{}", packed.size());
    }

    #[test]
    fn random_sizes_take_three_bytes_each() {
        let mut list = AttributeList::default();
        let mut size = 1u32;
        for n in 0..100_000 {
            size = size.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            list.push(plain(1_790_000_000_000 + n / 100, size >> 18));
        }
        assert!(list.size() < 310_000, "{}", list.size());
    }

    fn arbitrary() -> impl Strategy<Value = Attributes> {
        let time = prop_oneof![9 => 0..3u64, 1 => any::<u64>()];
        let size = prop_oneof![9 => 0..3u32, 1 => any::<u32>()];
        let priority = prop_oneof![9 => Just(0), 1 => any::<u8>()];
        let expiration = prop_oneof![9 => Just(None), 1 => prop::option::of(0..u64::MAX)];
        (time, size, priority, expiration).prop_map(|(time, size, priority, expiration)| {
            Attributes {
                arrived_ms: time,
                body_size: size,
                priority,
                expiration_ms: expiration,
            }
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(given in prop::collection::vec((1..4usize, arbitrary()), 0..100)) {
            let given: Vec<_> = given.into_iter().flat_map(|(n, it)| vec![it; n]).collect();
            let mut list = AttributeList::default();
            let mut packed = PackedAttributes::default();
            for (n, attributes) in given.iter().enumerate() {
                let before = list.size();
                list.push(*attributes);
                prop_assert!(list.size() - before <= ENTRY_SIZE_MAX);
                packed.push(MessageId::from_bits(3 * n as u64), *attributes);
            }
            let mut bytes = Vec::new();
            list.encode(&mut bytes);
            for mut runs in [AttributeRuns::new(&bytes), list.iter()] {
                let mut back = Vec::new();
                for (attributes, count) in runs.by_ref() {
                    back.extend(vec![attributes; count as usize]);
                }
                prop_assert!(!runs.malformed);
                prop_assert_eq!(&back, &given);
            }
            let ids = (0..).map(|n| MessageId::from_bits(3 * n));
            prop_assert!(packed.iter().eq(ids.zip(given)));
        }

        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            AttributeRuns::new(&bytes).for_each(drop);
        }
    }
}
