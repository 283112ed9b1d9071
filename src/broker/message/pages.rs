//! What stays of blocks that were paged out, and what the store is to do about them.

use super::block::{BLOCK_MESSAGES, SlotSet};
use crate::wire::number;

/// A block whose messages are with the store. A hundred million messages are some hundred thousand of
/// these, so the usual one is small.
pub(super) struct PagedBlock {
    contents: Contents,
    /// What it took in memory; zero if it was not there since the start.
    held_bytes: u32,
    /// The store has an image of it, not only its messages.
    pub imaged: bool,
    /// Asked for, and not here yet.
    pub requested: bool,
    /// Being read for somebody who only looks. There is one reading at a time, whoever wants it: an answer
    /// that came late could not be told from the one that is waited for, and may lack what was imaged since.
    pub shown: bool,
}

enum Contents {
    /// As many as there can be, each with one holder; all with bodies of one size, and the store has
    /// all of them by themselves, or none.
    Uniform {
        body_size: u32,
        stored: bool,
    },
    Varied(Box<Varied>),
}

struct Varied {
    references: References,
    live: u32,
    stored: SlotSet,
    body_sizes: BodySizes,
}

/// Sizes of the bodies of a block that was paged out.
enum BodySizes {
    /// Of all that live.
    Same(u32),
    /// By slot, seven bits a byte, the lowest first.
    Each(Box<[u8]>),
}

/// References to the messages of a block that was paged out. Most have one holder.
enum References {
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
    /// Of the images in `outs`.
    image_bytes: usize,
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

    /// Bytes that are in memory until the store has taken them.
    pub fn image_bytes(&self) -> usize {
        self.image_bytes
    }

    /// Nobody but the store has the image from now on.
    pub(super) fn hand_over(&mut self, out: PageOut) {
        self.image_bytes += out.image.len();
        self.outs.push(out);
    }

    /// Nobody needs the image of the block any more; the store may not even have it yet.
    pub(super) fn drop_image(&mut self, block: u64) {
        match self.outs.iter().position(|out| out.block == block) {
            Some(at) => self.image_bytes -= self.outs.swap_remove(at).image.len(),
            None => self.dropped.push(block),
        }
    }
}

impl PagedBlock {
    /// By slot: the count of holders and the size of the body. `held_bytes` is what it took in memory.
    pub fn new(
        counts: impl Iterator<Item = u32> + Clone,
        body_sizes: impl Iterator<Item = Option<u32>> + Clone,
        stored: SlotSet,
        imaged: bool,
        held_bytes: usize,
    ) -> Self {
        let varied = Varied {
            live: counts.clone().filter(|count| *count > 0).count() as u32,
            references: References::new(counts),
            stored,
            body_sizes: BodySizes::new(body_sizes),
        };
        PagedBlock {
            contents: varied.contents(),
            held_bytes: held_bytes.try_into().unwrap_or(u32::MAX),
            imaged,
            requested: false,
            shown: false,
        }
    }

    /// Messages that somebody holds.
    pub fn live(&self) -> u32 {
        match &self.contents {
            Contents::Uniform { .. } => BLOCK_MESSAGES as u32,
            Contents::Varied(varied) => varied.live,
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes as usize
    }

    /// Holders of a message.
    pub fn count(&self, slot: usize) -> u32 {
        match &self.contents {
            Contents::Uniform { .. } => u32::from(slot < BLOCK_MESSAGES),
            Contents::Varied(varied) => varied.references.count(slot),
        }
    }

    /// The messages that the store has by themselves.
    pub fn stored(&self) -> SlotSet {
        match &self.contents {
            Contents::Uniform { stored: true, .. } => SlotSet::full(),
            Contents::Uniform { stored: false, .. } => SlotSet::default(),
            Contents::Varied(varied) => varied.stored,
        }
    }

    pub fn body_size(&self, slot: usize) -> u32 {
        match &self.contents {
            Contents::Uniform { body_size, .. } => *body_size,
            Contents::Varied(varied) => varied.body_sizes.get(slot),
        }
    }

    /// What the sizes of the bodies are, once that is known.
    pub fn set_body_sizes(&mut self, sizes: impl Iterator<Item = Option<u32>> + Clone) {
        self.vary().body_sizes = BodySizes::new(sizes);
        self.settle();
    }

    /// One holder less.
    pub fn release(&mut self, slot: usize) {
        let varied = self.vary();
        if varied.references.release(slot) {
            varied.live -= 1;
        }
    }

    /// Its contents, each by itself.
    fn vary(&mut self) -> &mut Varied {
        if let Contents::Uniform { body_size, .. } = self.contents {
            self.contents = Contents::Varied(Box::new(Varied {
                references: References::AtMostOne(SlotSet::full()),
                live: BLOCK_MESSAGES as u32,
                stored: self.stored(),
                body_sizes: BodySizes::Same(body_size),
            }));
        }
        match &mut self.contents {
            Contents::Varied(varied) => varied,
            Contents::Uniform { .. } => unreachable!("it varies since just now"),
        }
    }

    /// Makes its contents small again, if they can be.
    fn settle(&mut self) {
        if let Contents::Varied(varied) = &self.contents
            && let Some(uniform) = varied.as_uniform()
        {
            self.contents = uniform;
        }
    }
}

impl Varied {
    fn contents(self) -> Contents {
        let uniform = self.as_uniform();
        uniform.unwrap_or_else(|| Contents::Varied(Box::new(self)))
    }

    fn as_uniform(&self) -> Option<Contents> {
        let (References::AtMostOne(held), BodySizes::Same(body_size)) =
            (&self.references, &self.body_sizes)
        else {
            return None;
        };
        let stored = self.stored == SlotSet::full();
        let is_uniform = *held == SlotSet::full() && (stored || self.stored == SlotSet::default());
        is_uniform.then_some(Contents::Uniform {
            body_size: *body_size,
            stored,
        })
    }
}

impl BodySizes {
    /// By slot; `None` where nobody needs the message.
    fn new(sizes: impl Iterator<Item = Option<u32>> + Clone) -> Self {
        let first = sizes.clone().flatten().next().unwrap_or(0);
        if sizes.clone().flatten().all(|size| size == first) {
            return BodySizes::Same(first);
        }
        let mut bytes = Vec::new();
        for size in sizes.map(Option::unwrap_or_default) {
            number::write(&mut bytes, size.into());
        }
        BodySizes::Each(bytes.into())
    }

    fn get(&self, slot: usize) -> u32 {
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
    fn new(counts: impl Iterator<Item = u32> + Clone) -> Self {
        if counts.clone().any(|count| count > 1) {
            return References::Counts(counts.collect());
        }
        let mut held = SlotSet::default();
        for (slot, _) in counts.enumerate().filter(|(_, count)| *count > 0) {
            held.insert(slot);
        }
        References::AtMostOne(held)
    }

    fn count(&self, slot: usize) -> u32 {
        match self {
            References::AtMostOne(held) => u32::from(held.contains(slot)),
            References::Counts(counts) => counts.get(slot).copied().unwrap_or(0),
        }
    }

    /// Whether that was the last reference.
    fn release(&mut self, slot: usize) -> bool {
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
    fn a_full_block_of_equal_messages_is_small_until_one_of_them_goes() {
        assert!(size_of::<PagedBlock>() <= 24);
        let counts = std::iter::repeat_n(1, BLOCK_MESSAGES);
        let sizes = std::iter::repeat_n(Some(100), BLOCK_MESSAGES);
        for stored in [SlotSet::full(), SlotSet::default()] {
            let mut block = PagedBlock::new(counts.clone(), sizes.clone(), stored, true, 9);
            assert!(matches!(block.contents, Contents::Uniform { .. }));
            assert_eq!((block.live(), block.stored()), (256, stored));
            assert_eq!((block.count(255), block.body_size(7)), (1, 100));
            block.release(7);
            assert_eq!((block.live(), block.stored()), (255, stored));
            assert_eq!((block.count(7), block.count(8)), (0, 1));
            assert_eq!(block.body_size(8), 100);
        }
        let mut mixed = SlotSet::full();
        mixed.remove(3);
        let block = PagedBlock::new(counts, sizes, mixed, true, 9);
        assert!(matches!(block.contents, Contents::Varied(_)));
        assert_eq!(block.stored(), mixed);
    }

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
