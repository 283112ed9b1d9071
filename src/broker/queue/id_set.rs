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

    pub fn insert(&mut self, id: MessageId) {
        let bits = self.blocks.entry(id.block()).or_default();
        bits[id.slot() / 64] |= 1 << (id.slot() % 64);
        self.count += 1;
    }

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
}
