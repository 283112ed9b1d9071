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
    pub body_sizes: BodySizes,
}

/// Sizes of the bodies of a block that was paged out.
pub(super) enum BodySizes {
    /// Of all that live.
    Same(u32),
    /// By slot, seven bits a byte, the lowest first.
    Each(Box<[u8]>),
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

impl BodySizes {
    /// By slot; `None` where nobody needs the message.
    pub fn new(sizes: impl Iterator<Item = Option<u32>> + Clone) -> Self {
        let first = sizes.clone().flatten().next().unwrap_or(0);
        if sizes.clone().flatten().all(|size| size == first) {
            return BodySizes::Same(first);
        }
        let mut bytes = Vec::new();
        for mut size in sizes.map(Option::unwrap_or_default) {
            while size >= 0x80 {
                bytes.push(size as u8 | 0x80);
                size >>= 7;
            }
            bytes.push(size as u8);
        }
        BodySizes::Each(bytes.into())
    }

    pub fn get(&self, slot: usize) -> u32 {
        match self {
            BodySizes::Same(size) => *size,
            BodySizes::Each(bytes) => {
                let mut sizes = bytes.split_inclusive(|byte| *byte < 0x80);
                let size = sizes.nth(slot).unwrap_or_default();
                let digits = size.iter().rev();
                digits.fold(0, |size, byte| size << 7 | u32::from(byte & 0x7f))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_bodies_are_kept_by_slot() {
        let same = [Some(5), None, Some(5)];
        let sizes = BodySizes::new(same.into_iter());
        assert!(matches!(sizes, BodySizes::Same(5)));
        let each = [
            Some(0),
            Some(127),
            None,
            Some(128),
            Some(70_000),
            Some(u32::MAX),
        ];
        let sizes = BodySizes::new(each.into_iter());
        for (slot, size) in each.into_iter().enumerate() {
            assert_eq!(sizes.get(slot), size.unwrap_or(0));
        }
        assert_eq!(sizes.get(6), 0);
    }
}
