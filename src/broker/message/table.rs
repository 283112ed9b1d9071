//! Messages in memory: one table for the whole broker, blocks of up to 256 in order of arrival.
//!
//! A queue holds [`MessageId`]s, eight bytes each; the message itself is written once, whatever the
//! fan-out, behind its neighbours in a block. Nothing is allocated or freed per message, only per
//! block, and ids grow with time, so that an id is also a message's place in its queue: requeueing
//! is putting it back in order.
//!
//! ```text
//!   queue: [ 7 | 8 | 258 ]        block 0: slots [offset, references] x 256, bytes ...
//!            |   |    |  +------> block 1
//!            +---+--------------> block 0
//! ```
//!
//! A block goes when its last message does. A block of which little is left is rewritten (by
//! [`Messages::tidy`], a few at a time), so that one old message does not hold its neighbours' room.
//! Bodies over [`INLINE_BODY_MAX`] stay outside, shared and never copied.
//!
//! Beyond the budget, blocks are paged out: the youngest first, since the oldest messages are wanted
//! first, but not the very last, since most messages are gone soon after they came, and not what was
//! just read back, since somebody waits for it. What the store has anyway is dropped and read back from
//! it; of other messages it gets an image ([`PageOut`]). All that stays is who is referred to.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::Map;
use crate::broker::journal::StoredMessages;

use super::block::{BLOCK_MESSAGES, Block, OPEN_BYTES_MAX, SLOTS_BYTES, SlotSet};
use super::pages::{PageOut, PageWork, PagedBlock};
use super::{Message, MessageId};

/// All messages that any queue or channel holds.
pub struct Messages {
    /// Full blocks with living messages, by block number.
    sealed: Map<u64, Block>,
    /// Numbers of the sealed blocks that may be paged out.
    resident: BTreeSet<u64>,
    /// Blocks that were read back lately, oldest first, with their bytes then: they stay for a while.
    /// Some may be gone by now.
    wanted: VecDeque<(u64, usize)>,
    wanted_bytes: usize,
    /// What is left here of blocks that were paged out.
    paged: Map<u64, PagedBlock>,
    /// What the store is to do about paged blocks.
    pub page_work: PageWork,
    /// The block being filled, and its number.
    open: Block,
    open_number: u64,
    /// Sealed blocks that were mostly dead when last looked at.
    sparse: Vec<u64>,
    /// Bytes held, living or not: what the memory budget counts.
    held_bytes: usize,
    /// Bytes of living messages.
    live_bytes: usize,
    /// Holders of messages: entries of queues, and unacked deliveries.
    references: usize,
    /// Sizes of bodies of the block that is being recovered, by slot.
    recovering: (u64, Vec<Option<u32>>),
}

impl Messages {
    pub fn new() -> Self {
        Messages {
            sealed: Map::default(),
            resident: BTreeSet::new(),
            wanted: VecDeque::new(),
            wanted_bytes: 0,
            paged: Map::default(),
            page_work: PageWork::default(),
            open: Block::default(),
            open_number: 0,
            sparse: Vec::new(),
            held_bytes: 0,
            live_bytes: 0,
            references: 0,
            recovering: (0, Vec::new()),
        }
    }

    /// Copies the message in. The caller holds the one reference.
    pub fn insert(&mut self, message: &Message<'_>) -> MessageId {
        if self.open.is_full() {
            self.seal();
        }
        let id = MessageId::new(self.open_number, self.open.slots.len());
        let capacity = self.open.bytes.capacity();
        let size = self.open.push(message);
        self.held_bytes += self.open.bytes.capacity() - capacity + size.outside;
        self.live_bytes += size.total();
        self.references += 1;
        id
    }

    /// The store has, or is about to be given, the message as well.
    pub fn mark_stored(&mut self, id: MessageId) {
        let slot = id.slot();
        self.block_mut(id).stored.insert(slot);
    }

    /// Whether the store has the message, or is about to be given it.
    pub fn is_stored(&self, id: MessageId) -> bool {
        let number = id.block();
        let set = if number == self.open_number {
            Some(self.open.stored)
        } else {
            let resident = self.sealed.get(&number).map(|block| block.stored);
            resident.or_else(|| self.paged.get(&number).map(PagedBlock::stored))
        };
        set.is_some_and(|stored| stored.contains(id.slot()))
    }

    /// One more holder. Only while it is here: nobody begins to hold a message that was paged out.
    pub fn retain(&mut self, id: MessageId) {
        let slot = id.slot();
        self.block_mut(id).slots[slot].references += 1;
        self.references += 1;
    }

    /// One holder less; the last one frees it. Whether the store has it, and must hear of this.
    pub fn release(&mut self, id: MessageId) -> bool {
        let number = id.block();
        let open = number == self.open_number;
        let block = if open {
            &mut self.open
        } else if let Some(block) = self.sealed.get_mut(&number) {
            block
        } else {
            return self.release_paged(id);
        };
        let stored = block.stored.contains(id.slot());
        let slot = &mut block.slots[id.slot()];
        slot.references -= 1;
        self.references -= 1;
        if slot.references > 0 {
            return stored;
        }
        let size = block.forget(id.slot());
        self.live_bytes -= size.total();
        self.held_bytes -= size.outside;
        if block.live == 0 && !open {
            self.held_bytes -= block.bytes.capacity() + SLOTS_BYTES;
            self.sealed.remove(&number);
            self.resident.remove(&number);
        } else if block.live == SPARSE && !open {
            self.sparse.push(number);
        }
        stored
    }

    /// The message, unless it was paged out or lost.
    #[inline]
    pub fn get(&self, id: MessageId) -> Option<Message<'_>> {
        let block = if id.block() == self.open_number {
            &self.open
        } else {
            self.sealed.get(&id.block())?
        };
        block.message(id.slot())
    }

    /// The size of the message's body, wherever that is; zero if it is lost.
    pub fn body_size(&self, id: MessageId) -> u32 {
        let number = id.block();
        if number == self.open_number {
            return self.open.body_size(id.slot());
        }
        let resident = self.sealed.get(&number);
        let resident = resident.map(|block| block.body_size(id.slot()));
        let paged = || self.paged.get(&number).map(|it| it.body_size(id.slot()));
        resident.or_else(paged).unwrap_or(0)
    }

    /// Whether the message can be had after [`Messages::request`].
    pub fn is_paged_out(&self, id: MessageId) -> bool {
        self.paged.contains_key(&id.block())
    }

    /// Numbers of the blocks that were paged out, ascending.
    pub fn paged_out_blocks(&self) -> Vec<u64> {
        let mut blocks: Vec<u64> = self.paged.keys().copied().collect();
        blocks.sort_unstable();
        blocks
    }

    /// Above the ids of all messages so far.
    pub fn end(&self) -> MessageId {
        MessageId::from_bits(
            self.open_number * BLOCK_MESSAGES as u64 + self.open.slots.len() as u64,
        )
    }

    /// Asks for the block of a message that was paged out, and a few behind it, since whoever needs
    /// one will likely need the next.
    pub fn request(&mut self, id: MessageId) {
        let mut bytes = 0;
        for number in id.block()..id.block() + READ_AHEAD_BLOCKS {
            let Some(paged) = self.paged.get_mut(&number) else {
                continue;
            };
            if !std::mem::replace(&mut paged.requested, true) && !paged.shown {
                self.page_work.fetches.push(number);
            }
            bytes += paged.held_bytes();
            if bytes >= READ_AHEAD_BYTES {
                return;
            }
        }
    }

    /// Has a block read that was paged out, for somebody who only looks: it does not come back for that.
    pub fn read_page(&mut self, number: u64) {
        if let Some(paged) = self.paged.get_mut(&number)
            && !std::mem::replace(&mut paged.shown, true)
            && !paged.requested
        {
            self.page_work.fetches.push(number);
        }
    }

    /// What a block took in memory before it was paged out; zero if it was not there since the start.
    pub fn paged_out_bytes(&self, number: u64) -> usize {
        self.paged.get(&number).map_or(0, PagedBlock::held_bytes)
    }

    /// Takes a block in again: its messages as the store has them, encoded as a [`Journal`] does it.
    /// What the store could not give back is lost: it is here, and there is nothing to get.
    pub fn page_in(&mut self, number: u64, encoded: &[u8]) {
        // Everybody may have let go of its messages meanwhile, or it was only looked at.
        let Some(mut paged) = self.paged.remove(&number) else {
            return;
        };
        if !paged.requested {
            debug_assert!(paged.shown, "block {number} came unasked");
            paged.shown = false;
            self.paged.insert(number, paged);
            return;
        }
        let mut block = Block::default();
        for stored in StoredMessages::new(encoded) {
            let slot = stored.id.slot();
            if stored.id.block() == number && paged.count(slot) > 0 {
                self.live_bytes += block.place(slot, &stored.message, paged.count(slot));
            }
        }
        for slot in 0..BLOCK_MESSAGES {
            let references = paged.count(slot);
            if references > 0
                && block
                    .slots
                    .get(slot)
                    .is_none_or(|slot| slot.references == 0)
            {
                log::error!("message {number}.{slot} is lost: the store could not read it back");
                block.place_lost(slot, references);
            }
        }
        block.stored = paged.stored();
        let held_bytes = block.held_bytes();
        self.held_bytes += held_bytes;
        self.references += block.references();
        if paged.imaged {
            self.page_work.drop_image(number);
        }
        self.wanted.push_back((number, held_bytes));
        self.wanted_bytes += held_bytes;
        self.sealed.insert(number, block);
        self.dismiss_gone();
    }

    /// A block as it was when the broker was stopped: with the store.
    pub fn recover_block(&mut self, number: u64, counts: impl IntoIterator<Item = (usize, u32)>) {
        let mut stored = SlotSet::default();
        let mut all = vec![0; BLOCK_MESSAGES];
        for (slot, count) in counts {
            stored.insert(slot);
            all[slot] += count;
        }
        let paged = PagedBlock::new(all.into_iter(), std::iter::empty(), stored, false, 0);
        if paged.live() > 0 {
            self.paged.insert(number, paged);
        }
    }

    /// The size of a message's body in a block as [`Messages::recover_block`] has it. Ids must grow from
    /// call to call; the last ones are completed by [`Messages::recover_last_sizes`].
    pub fn recover_size(&mut self, id: MessageId, body_size: u32) {
        if id.block() != self.recovering.0 {
            self.recover_last_sizes();
            self.recovering.0 = id.block();
        }
        let sizes = &mut self.recovering.1;
        sizes.resize(id.slot(), None);
        sizes.push(Some(body_size));
    }

    pub fn recover_last_sizes(&mut self) {
        let (number, sizes) = std::mem::take(&mut self.recovering);
        if let Some(paged) = self.paged.get_mut(&number) {
            paged.set_body_sizes(sizes.into_iter());
        }
    }

    /// Ids from here on are new.
    pub fn begin_at(&mut self, id: MessageId) {
        debug_assert!(self.open.slots.is_empty() && id.slot() == 0);
        self.open_number = id.block();
    }

    /// Pages blocks out until what is held fits the budget, a few at a time. Blocks from `unstored` on
    /// stay: the store may not have all of their messages yet.
    pub fn page_out(&mut self, budget_bytes: usize, unstored: u64) {
        if self.held_bytes <= budget_bytes {
            return;
        }
        self.dismiss_wanted(budget_bytes / 2);
        let end = self.oldest_spared(budget_bytes / 4).min(unstored);
        for _ in 0..PAGE_BLOCKS {
            let Some(&number) = self.resident.range(..end).next_back() else {
                return;
            };
            self.page_out_block(number);
            if self.held_bytes <= budget_bytes {
                return;
            }
        }
    }

    /// Forgets that blocks were read back which are gone already.
    fn dismiss_gone(&mut self) {
        while let Some((number, bytes)) = self.wanted.front()
            && !self.sealed.contains_key(number)
        {
            self.wanted_bytes -= bytes;
            self.wanted.pop_front();
        }
    }

    /// Lets the oldest of the blocks that were read back be paged out again, until so much is left.
    fn dismiss_wanted(&mut self, bytes_max: usize) {
        while self.wanted_bytes > bytes_max && self.wanted.len() > READ_AHEAD_BLOCKS as usize {
            let Some((number, bytes)) = self.wanted.pop_front() else {
                return;
            };
            self.wanted_bytes -= bytes;
            if self.sealed.contains_key(&number) {
                self.resident.insert(number);
            }
        }
    }

    /// The messages of the youngest blocks may be gone in a moment, so these are spared, as far as they
    /// take no more than this.
    fn oldest_spared(&self, bytes_max: usize) -> u64 {
        let mut oldest = self.open_number;
        let mut bytes = 0;
        for number in (oldest.saturating_sub(SPARED_BLOCKS)..oldest).rev() {
            bytes += self.sealed.get(&number).map_or(0, Block::held_bytes);
            if bytes > bytes_max {
                break;
            }
            oldest = number;
        }
        oldest
    }

    fn page_out_block(&mut self, number: u64) {
        self.resident.remove(&number);
        let Some(block) = self.sealed.remove(&number) else {
            return;
        };
        let held_bytes = block.held_bytes();
        self.held_bytes -= held_bytes;
        self.live_bytes -= block.live_bytes();
        self.references -= block.references();
        let imaged = block.has_unstored();
        if imaged {
            let image = block.image(number);
            self.page_work.hand_over(PageOut {
                block: number,
                image,
            });
        }
        let sizes = block.slots.iter().enumerate();
        let sizes = sizes.map(|(at, slot)| (slot.references > 0).then(|| block.body_size(at)));
        let counts = block.slots.iter().map(|slot| slot.references);
        let paged = PagedBlock::new(counts, sizes, block.stored, imaged, held_bytes);
        self.paged.insert(number, paged);
    }

    fn release_paged(&mut self, id: MessageId) -> bool {
        let number = id.block();
        let paged = self
            .paged
            .get_mut(&number)
            .expect("a held message's block is here or paged out");
        paged.release(id.slot());
        let stored = paged.stored().contains(id.slot());
        if paged.live() == 0 {
            if paged.imaged {
                self.page_work.drop_image(number);
            }
            self.paged.remove(&number);
        }
        stored
    }

    /// Rewrites a few mostly dead blocks if more than half of what is held is dead.
    pub fn tidy(&mut self) {
        if self.sparse.len() > 2 * self.sealed.len() + TIDY_BLOCKS {
            let sealed = &self.sealed;
            self.sparse.retain(|number| sealed.contains_key(number));
        }
        for _ in 0..TIDY_BLOCKS {
            if self.held_bytes < 2 * self.live_bytes + TIDY_SLACK_BYTES {
                return;
            }
            let Some(number) = self.sparse.pop() else {
                return;
            };
            if let Some(block) = self.sealed.get_mut(&number) {
                let before = block.bytes.capacity();
                block.compact();
                self.held_bytes -= before - block.bytes.capacity();
            }
        }
    }

    /// Bytes of messages that could be paged out, once they are stored.
    pub fn present_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes that the messages take up, and what their holders keep of them: a message of one byte in
    /// ten thousand queues is in ten thousand places.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.references * REFERENCE_BYTES
    }

    /// Messages that somebody holds.
    pub fn count(&self) -> usize {
        self.sealed
            .values()
            .chain([&self.open])
            .map(|block| block.live as usize)
            .chain(self.paged.values().map(|paged| paged.live() as usize))
            .sum()
    }

    #[inline]
    fn block_mut(&mut self, id: MessageId) -> &mut Block {
        if id.block() == self.open_number {
            &mut self.open
        } else {
            self.sealed
                .get_mut(&id.block())
                .expect("a held message's block is there")
        }
    }

    /// Puts the full block away, or starts over in it when nothing in it lives. Its numbers are not
    /// used again in either case.
    fn seal(&mut self) {
        let number = self.open_number;
        self.open_number += 1;
        if self.open.live == 0 {
            self.held_bytes -= self.open.bytes.capacity();
            self.open.reset();
            self.held_bytes += self.open.bytes.capacity();
            return;
        }
        // The next block will likely need what this one did.
        let expected = self.open.bytes.len().min(OPEN_BYTES_MAX);
        let mut full = std::mem::replace(&mut self.open, Block::with_capacity(expected));
        let before = full.bytes.capacity();
        full.bytes.shrink_to_fit();
        self.held_bytes += self.open.bytes.capacity() + full.bytes.capacity() + SLOTS_BYTES;
        self.held_bytes -= before;
        if full.live <= SPARSE {
            self.sparse.push(number);
        }
        self.resident.insert(number);
        self.sealed.insert(number, full);
    }
}

impl Default for Messages {
    fn default() -> Self {
        Messages::new()
    }
}

/// An entry of a queue, with the room that a growing queue keeps.
const REFERENCE_BYTES: usize = 2 * size_of::<u64>();
/// A block with this few living messages is worth rewriting.
const SPARSE: u32 = BLOCK_MESSAGES as u32 / 8;
/// Blocks rewritten per turn: well under a millisecond.
const TIDY_BLOCKS: usize = 16;
/// Blocks paged out per turn.
const PAGE_BLOCKS: usize = 64;
/// The youngest blocks stay, if they are not large.
const SPARED_BLOCKS: u64 = 32;
/// Blocks read back at once, unless they are large.
const READ_AHEAD_BLOCKS: u64 = 8;
const READ_AHEAD_BYTES: usize = 1 << 20;
/// Below this much dead room tidying is not worth the copying.
const TIDY_SLACK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::journal::Journal;
    use crate::broker::message::{Body, INLINE_BODY_MAX};

    fn message<'a>(key: &'a [u8], body: &'a [u8]) -> Message<'a> {
        Message {
            exchange: b"x",
            routing_key: key,
            properties: &[0, 0],
            body: Body::Slice(body),
            arrived_ms: 0,
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut messages = Messages::new();
        let large = vec![7; INLINE_BODY_MAX + 1];
        let properties = vec![1; 70_000];
        let ids: Vec<_> = (0..1000u32)
            .map(|n| messages.insert(&message(&n.to_be_bytes(), &n.to_le_bytes())))
            .collect();
        let big = messages.insert(&message(b"big", &large));
        let heavy = messages.insert(&Message {
            properties: &properties,
            ..message(b"heavy", b"")
        });
        assert!(ids.is_sorted());
        for (n, id) in ids.iter().enumerate() {
            let message = messages.get(*id).unwrap();
            assert_eq!(message.exchange, b"x");
            assert_eq!(message.routing_key, (n as u32).to_be_bytes());
            assert_eq!(message.properties, [0, 0]);
            assert_eq!(message.body.as_slice(), (n as u32).to_le_bytes());
        }
        assert_eq!(messages.get(big).unwrap().body.as_slice(), large);
        assert_eq!(messages.get(heavy).unwrap().properties, properties);
        assert_eq!(messages.count(), 1002);
    }

    fn fill(messages: &mut Messages, count: usize, stored: bool) -> Vec<MessageId> {
        let insert = |n: usize| {
            let id = messages.insert(&message(&n.to_be_bytes(), &[n as u8; 200]));
            if stored {
                messages.mark_stored(id);
            }
            id
        };
        (0..count).map(insert).collect()
    }

    #[test]
    fn blocks_are_paged_out_to_fit_the_budget_and_come_back_when_wanted() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 100 * BLOCK_MESSAGES, false);
        messages.retain(ids[7]);
        messages.release(ids[9]);
        let mut images = std::collections::HashMap::new();
        while messages.held_bytes > 40 * BLOCK_MESSAGES * 250 {
            messages.page_out(40 * BLOCK_MESSAGES * 250, u64::MAX);
            for out in messages.page_work.outs.drain(..) {
                images.insert(out.block, out.image);
            }
        }
        assert!(
            messages.get(ids[0]).is_some(),
            "the oldest are wanted first"
        );
        let last = ids.len() - 1;
        assert!(
            messages.get(ids[last]).is_some(),
            "the youngest may be gone soon"
        );
        messages.page_out(0, u64::MAX);
        messages.page_work.outs.drain(..).for_each(|out| {
            images.insert(out.block, out.image);
        });
        assert!(messages.get(ids[8]).is_none() && messages.is_paged_out(ids[8]));
        messages.request(ids[8]);
        messages.request(ids[8]);
        let fetches = std::mem::take(&mut messages.page_work.fetches);
        assert_eq!(fetches, (0..READ_AHEAD_BLOCKS).collect::<Vec<_>>());
        messages.page_in(0, &images[&0]);
        assert_eq!(messages.get(ids[8]).unwrap().body.as_slice(), [8; 200]);
        assert_eq!(messages.page_work.dropped, [0]);
        assert!(!messages.release(ids[7]));
        assert!(messages.get(ids[7]).is_some(), "it has another holder");
        assert_eq!(messages.count(), ids.len() - 1);
        messages.release(ids[7]);
        for id in ids.iter().filter(|id| ![ids[7], ids[9]].contains(id)) {
            messages.release(*id);
        }
        assert_eq!(messages.count(), 0);
        assert_eq!(messages.live_bytes, 0);
        assert!(messages.paged.is_empty() && messages.sealed.is_empty());
        assert_eq!(messages.held_bytes, messages.open.bytes.capacity());
    }

    #[test]
    fn what_was_just_read_back_stays_however_little_room_there_is() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 50 * BLOCK_MESSAGES, false);
        messages.page_out(0, u64::MAX);
        let outs = std::mem::take(&mut messages.page_work.outs);
        assert!(outs.len() >= 49, "nothing is spared where nothing fits");
        messages.request(ids[0]);
        for number in messages.page_work.fetches.clone() {
            let out = outs.iter().find(|out| out.block == number).unwrap();
            messages.page_in(number, &out.image);
        }
        messages.page_out(0, u64::MAX);
        assert!(messages.get(ids[0]).is_some());
        assert!(messages.get(ids[8 * BLOCK_MESSAGES]).is_none());
        // The next that are read back take their place.
        let next = ids[8 * BLOCK_MESSAGES];
        messages.request(next);
        for number in 8..16 {
            let out = outs.iter().find(|out| out.block == number).unwrap();
            messages.page_in(number, &out.image);
        }
        messages.page_out(0, u64::MAX);
        assert!(messages.get(next).is_some() && messages.get(ids[0]).is_none());
    }

    #[test]
    fn who_only_looks_brings_nothing_back() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 50 * BLOCK_MESSAGES, false);
        messages.page_out(0, u64::MAX);
        let outs = std::mem::take(&mut messages.page_work.outs);
        let held = messages.held_bytes();
        messages.read_page(0);
        assert_eq!(std::mem::take(&mut messages.page_work.fetches), [0]);
        let image = &outs.iter().find(|out| out.block == 0).unwrap().image;
        messages.page_in(0, image);
        assert!(messages.is_paged_out(ids[0]));
        assert_eq!(messages.held_bytes(), held);
        // Who needs it in earnest has the same reading.
        messages.read_page(0);
        messages.request(ids[0]);
        messages.read_page(0);
        let fetches = std::mem::take(&mut messages.page_work.fetches);
        assert_eq!(fetches, (0..READ_AHEAD_BLOCKS).collect::<Vec<_>>());
        messages.page_in(0, image);
        assert!(messages.get(ids[0]).is_some());
    }

    #[test]
    fn what_is_not_stored_yet_stays() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 50 * BLOCK_MESSAGES, true);
        messages.page_out(0, ids[10 * BLOCK_MESSAGES].block());
        assert!(messages.get(ids[10 * BLOCK_MESSAGES - 1]).is_none());
        assert!(messages.get(ids[10 * BLOCK_MESSAGES]).is_some());
    }

    #[test]
    fn large_messages_are_paged_out_and_read_back_a_few_at_a_time() {
        let mut messages = Messages::new();
        let body = vec![1; 100_000];
        let ids: Vec<_> = (0..100)
            .map(|_| messages.insert(&message(b"k", &body)))
            .collect();
        messages.page_out(4_000_000, u64::MAX);
        while messages.held_bytes > 4_000_000 {
            messages.page_out(4_000_000, u64::MAX);
        }
        assert!(messages.held_bytes > 3_000_000);
        assert!(messages.get(ids[0]).is_some() && messages.get(ids[99]).is_some());
        let absent = ids.iter().find(|id| messages.is_paged_out(**id)).unwrap();
        messages.request(*absent);
        assert!(messages.page_work.fetches.len() <= READ_AHEAD_BLOCKS as usize);
    }

    #[test]
    fn what_the_store_has_is_paged_out_without_an_image_and_may_be_lost() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 50 * BLOCK_MESSAGES, true);
        messages.page_out(0, u64::MAX);
        assert!(messages.page_work.outs.is_empty());
        messages.request(ids[0]);
        let mut journal = Journal::default();
        journal.append(ids[1], &[], &message(b"k", b"found"));
        messages.page_in(0, &journal.messages);
        assert_eq!(messages.get(ids[1]).unwrap().body.as_slice(), b"found");
        assert!(messages.get(ids[0]).is_none() && !messages.is_paged_out(ids[0]));
        for id in ids {
            assert!(messages.release(id), "the store must hear of it");
        }
        assert_eq!((messages.count(), messages.live_bytes), (0, 0));
    }

    #[test]
    fn a_large_message_takes_no_room_in_its_block() {
        let mut messages = Messages::new();
        let body = bytes::Bytes::from(vec![7; 1 << 20]);
        let large = Message {
            body: Body::Shared(&body),
            ..message(b"large", b"")
        };
        let id = messages.insert(&large);
        assert!(messages.held_bytes() < body.len() + 4096);
        messages.release(id);
        assert!(messages.held_bytes() < 4096);
    }

    #[test]
    fn the_last_holder_frees() {
        let mut messages = Messages::new();
        let ids: Vec<_> = (0..1000)
            .map(|_| messages.insert(&message(b"k", b"body")))
            .collect();
        for id in &ids {
            messages.retain(*id);
            messages.release(*id);
        }
        assert_eq!(messages.count(), 1000);
        for id in &ids {
            messages.release(*id);
        }
        assert_eq!(messages.count(), 0);
        assert_eq!(messages.live_bytes, 0);
        assert!(messages.sealed.is_empty());
        assert_eq!(messages.held_bytes, messages.open.bytes.capacity());
    }

    #[test]
    fn a_block_without_survivors_is_filled_again() {
        let mut messages = Messages::new();
        for _ in 0..10 * BLOCK_MESSAGES {
            let id = messages.insert(&message(b"k", &[1; 100]));
            messages.release(id);
        }
        assert!(messages.sealed.is_empty());
        assert!(messages.held_bytes() <= OPEN_BYTES_MAX);
    }

    #[test]
    fn one_old_message_does_not_hold_its_neighbours_room() {
        let mut messages = Messages::new();
        let body = vec![9; INLINE_BODY_MAX];
        let mut old = Vec::new();
        for n in 0..20 * BLOCK_MESSAGES {
            let id = messages.insert(&message(&n.to_be_bytes(), &body));
            if n % BLOCK_MESSAGES == 5 {
                old.push((id, n));
            } else {
                messages.release(id);
            }
        }
        while {
            let before = messages.held_bytes();
            messages.tidy();
            messages.held_bytes() < before
        } {}
        assert!(messages.held_bytes() < 2 * messages.live_bytes + TIDY_SLACK_BYTES);
        for (id, n) in old {
            assert_eq!(messages.get(id).unwrap().routing_key, n.to_be_bytes());
            assert_eq!(messages.get(id).unwrap().body.as_slice(), body);
            messages.release(id);
        }
        assert_eq!(messages.live_bytes, 0);
    }
}
