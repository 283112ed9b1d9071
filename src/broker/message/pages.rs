//! What stays of blocks that were paged out, and what the store is to do about them.

use super::block::SlotSet;

/// A block whose messages are with the store.
pub(super) struct PagedBlock {
    pub references: References,
    pub live: u32,
    pub stored: SlotSet,
    /// The store has an image of it, not only its messages.
    pub imaged: bool,
    /// Asked for, and not here yet.
    pub requested: bool,
    /// What it took in memory; zero if it was not there since the start.
    pub held_bytes: usize,
}

/// References to the messages of a block that was paged out. Most have one holder.
pub(super) enum References {
    AtMostOne(SlotSet),
    Counts(Box<[u32]>),
}

/// What the store is asked to do for paging, in this order: forget images, take images, read blocks.
#[derive(Debug, Default)]
pub struct PageWork {
    /// Blocks whose image nobody needs any more.
    pub dropped: Vec<u64>,
    /// Blocks with messages that the store does not have.
    pub outs: Vec<PageOut>,
    /// Blocks that are needed again.
    pub fetches: Vec<u64>,
}

/// The living messages of a block, encoded as a [`Journal`] does it, for no queues.
#[derive(Debug)]
pub struct PageOut {
    pub block: u64,
    pub image: Vec<u8>,
}

impl PageWork {
    pub fn is_empty(&self) -> bool {
        self.outs.is_empty() && self.dropped.is_empty() && self.fetches.is_empty()
    }

    /// Nobody needs the image of the block any more; the store may not even have it yet.
    pub(super) fn drop_image(&mut self, block: u64) {
        match self.outs.iter().position(|out| out.block == block) {
            Some(at) => drop(self.outs.swap_remove(at)),
            None => self.dropped.push(block),
        }
    }
}

impl References {
    pub fn new(counts: impl Iterator<Item = u32> + Clone) -> Self {
        if counts.clone().any(|count| count > 1) {
            return References::Counts(counts.collect());
        }
        let mut held = SlotSet::default();
        for (slot, _) in counts.enumerate().filter(|(_, count)| *count > 0) {
            held.insert(slot);
        }
        References::AtMostOne(held)
    }

    pub fn count(&self, slot: usize) -> u32 {
        match self {
            References::AtMostOne(held) => u32::from(held.contains(slot)),
            References::Counts(counts) => counts.get(slot).copied().unwrap_or(0),
        }
    }

    /// Whether that was the last reference.
    pub fn release(&mut self, slot: usize) -> bool {
        match self {
            References::AtMostOne(held) => {
                debug_assert!(held.contains(slot));
                held.remove(slot);
                true
            }
            References::Counts(counts) => {
                counts[slot] -= 1;
                counts[slot] == 0
            }
        }
    }
}
