//! Message ids in any order: which messages of a queue are in a certain state.

use std::collections::BTreeMap;

use crate::broker::message::{BLOCK_MESSAGES, MessageId};

/// Ids of messages, by blocks, since neighbours mostly go together.
#[derive(Default)]
pub struct IdSet {
    blocks: BTreeMap<u64, [u64; BLOCK_MESSAGES / 64]>,
    count: usize,
}

impl IdSet {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn contains(&self, id: MessageId) -> bool {
        let Some(bits) = self.blocks.get(&id.block()) else {
            return false;
        };
        bits[id.slot() / 64] >> (id.slot() % 64) & 1 == 1
    }

    /// It must not be in the set.
    pub fn insert(&mut self, id: MessageId) {
        let bits = self.blocks.entry(id.block()).or_default();
        bits[id.slot() / 64] |= 1 << (id.slot() % 64);
        self.count += 1;
    }

    /// Whether it was in the set.
    pub fn remove(&mut self, id: MessageId) -> bool {
        if self.count == 0 || !self.contains(id) {
            return false;
        }
        if let Some(bits) = self.blocks.get_mut(&id.block()) {
            bits[id.slot() / 64] &= !(1 << (id.slot() % 64));
            if *bits == [0; BLOCK_MESSAGES / 64] {
                self.blocks.remove(&id.block());
            }
        }
        self.count -= 1;
        true
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn first(&self) -> Option<MessageId> {
        self.iter().next()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = MessageId> {
        self.iter_from(MessageId::from_bits(0))
    }

    /// Ascending, from this one on.
    pub fn iter_from(&self, first: MessageId) -> impl Iterator<Item = MessageId> {
        let blocks = self.blocks.range(first.block()..);
        let ids = blocks.flat_map(|(block, words)| {
            let first = block * BLOCK_MESSAGES as u64;
            words.iter().zip((first..).step_by(64)).flat_map(ids)
        });
        ids.skip_while(move |id| *id < first)
    }
}

/// Of the bits that are set in one word.
fn ids((word, first): (&u64, u64)) -> impl Iterator<Item = MessageId> {
    let mut left = *word;
    std::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros())?;
        left &= left - 1;
        Some(MessageId::from_bits(first + u64::from(bit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_has_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((0..2000u64, any::<bool>()), 0..300),
        ) {
            let mut set = IdSet::default();
            let mut model = std::collections::BTreeSet::new();
            for (id, is_insert) in steps {
                if is_insert && model.insert(id) {
                    set.insert(MessageId::from_bits(id));
                } else if !is_insert {
                    prop_assert_eq!(set.remove(MessageId::from_bits(id)), model.remove(&id));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.first().map(MessageId::to_bits), model.first().copied());
            }
            prop_assert!(set.iter().map(MessageId::to_bits).eq(model.iter().copied()));
            prop_assert_eq!(set.is_empty(), set.blocks.is_empty());
        }
    }
}
