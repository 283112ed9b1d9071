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
//! first, but not the very last, since most messages are gone soon after they came. What the store has
//! anyway is dropped and read back from it; of other messages it gets an image ([`PageOut`]). All that
//! stays is who is referred to.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use super::Map;
use super::journal::{Journal, StoredMessages};

/// A message as it is looked at: in a read buffer, in the table, or anywhere else.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    /// Property flags and property list as the publisher encoded them (AMQP 0-9-1 §4.2.6.1).
    pub properties: &'a [u8],
    pub body: Body<'a>,
}

#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Copied wherever it goes.
    Slice(&'a [u8]),
    /// Large: passed on by reference count.
    Shared(&'a Bytes),
}

impl<'a> Body<'a> {
    pub fn as_slice(self) -> &'a [u8] {
        match self {
            Body::Slice(slice) => slice,
            Body::Shared(bytes) => bytes,
        }
    }

    pub fn len(self) -> usize {
        self.as_slice().len()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Names a message in [`Messages`]; later messages have greater ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// Ids stay below this, so that a queue can keep one bit beside them.
    pub const MAX: u64 = u64::MAX >> 1;

    pub fn to_bits(self) -> u64 {
        self.0
    }

    pub fn from_bits(bits: u64) -> Self {
        debug_assert!(bits <= Self::MAX);
        MessageId(bits)
    }

    fn new(block: u64, slot: usize) -> Self {
        MessageId::from_bits(block * BLOCK_MESSAGES as u64 + slot as u64)
    }

    /// Messages are paged by blocks; this is the number of its.
    pub fn block(self) -> u64 {
        self.0 / BLOCK_MESSAGES as u64
    }

    fn slot(self) -> usize {
        self.0 as usize % BLOCK_MESSAGES
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// All messages that any queue or channel holds.
pub struct Messages {
    /// Full blocks with living messages, by block number.
    sealed: Map<u64, Block>,
    /// Numbers of the sealed blocks.
    resident: BTreeSet<u64>,
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
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// Messages that do not fit a record; the record holds the index.
    large: Vec<Option<Large>>,
    /// Slots with references.
    live: u32,
    /// Which slots the store has as well.
    stored: SlotSet,
}

/// A block whose messages are with the store.
struct PagedBlock {
    references: References,
    live: u32,
    stored: SlotSet,
    /// The store has an image of it, not only its messages.
    imaged: bool,
    /// Asked for, and not here yet.
    requested: bool,
}

/// References to the messages of a block that was paged out. Most have one holder.
enum References {
    AtMostOne(SlotSet),
    Counts(Box<[u32]>),
}

/// A bit for each slot of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSet([u64; BLOCK_MESSAGES / 64]);

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
    fn drop_image(&mut self, block: u64) {
        match self.outs.iter().position(|out| out.block == block) {
            Some(at) => drop(self.outs.swap_remove(at)),
            None => self.dropped.push(block),
        }
    }
}

#[derive(Clone, Copy)]
struct Slot {
    offset: u32,
    references: u32,
}

struct Large {
    properties: Box<[u8]>,
    body: Bytes,
}

impl Messages {
    pub fn new() -> Self {
        Messages {
            sealed: Map::default(),
            resident: BTreeSet::new(),
            paged: Map::default(),
            page_work: PageWork::default(),
            open: Block::default(),
            open_number: 0,
            sparse: Vec::new(),
            held_bytes: 0,
            live_bytes: 0,
            references: 0,
        }
    }

    /// Copies the message in. The caller holds the one reference.
    pub fn insert(&mut self, message: &Message<'_>) -> MessageId {
        if self.open.slots.len() == BLOCK_MESSAGES || self.open.bytes.len() >= BLOCK_BYTES_FULL {
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

    /// Whether the message can be had after [`Messages::request`].
    pub fn is_paged_out(&self, id: MessageId) -> bool {
        self.paged.contains_key(&id.block())
    }

    /// Asks for the block of a message that was paged out, and a few behind it, since whoever needs
    /// one will likely need the next.
    pub fn request(&mut self, id: MessageId) {
        for number in id.block()..id.block() + READ_AHEAD_BLOCKS {
            if let Some(paged) = self.paged.get_mut(&number)
                && !paged.requested
            {
                paged.requested = true;
                self.page_work.fetches.push(number);
            }
        }
    }

    /// Takes a block in again: its messages as the store has them, encoded as a [`Journal`] does it.
    /// What the store could not give back is lost: it is here, and there is nothing to get.
    pub fn page_in(&mut self, number: u64, encoded: &[u8]) {
        let Some(paged) = self.paged.remove(&number) else {
            return;
        };
        let mut block = Block::default();
        for stored in StoredMessages::new(encoded) {
            let slot = stored.id.slot();
            if stored.id.block() == number && paged.references.count(slot) > 0 {
                self.live_bytes += block.place(slot, &stored.message, paged.references.count(slot));
            }
        }
        for slot in 0..BLOCK_MESSAGES {
            let references = paged.references.count(slot);
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
        block.stored = paged.stored;
        self.held_bytes += block.held_bytes();
        self.references += block.references();
        if paged.imaged {
            self.page_work.drop_image(number);
        }
        self.resident.insert(number);
        self.sealed.insert(number, block);
    }

    /// A block as it was when the broker was stopped: with the store.
    pub fn recover_block(&mut self, number: u64, counts: impl IntoIterator<Item = (usize, u32)>) {
        let mut stored = SlotSet::default();
        let mut all = vec![0; BLOCK_MESSAGES];
        for (slot, count) in counts {
            stored.insert(slot);
            all[slot] += count;
        }
        let paged = PagedBlock {
            live: all.iter().filter(|count| **count > 0).count() as u32,
            references: References::new(all.into_iter()),
            stored,
            imaged: false,
            requested: false,
        };
        if paged.live > 0 {
            self.paged.insert(number, paged);
        }
    }

    /// Ids from here on are new.
    pub fn begin_at(&mut self, id: MessageId) {
        debug_assert!(self.open.slots.is_empty() && id.slot() == 0);
        self.open_number = id.block();
    }

    /// Pages blocks out until what is held fits the budget, a few at a time.
    pub fn page_out(&mut self, budget_bytes: usize) {
        for _ in 0..PAGE_BLOCKS {
            if self.held_bytes <= budget_bytes {
                return;
            }
            // Not the youngest: their messages may be gone in a moment.
            let oldest_spared = self.open_number.saturating_sub(SPARED_BLOCKS);
            let Some(&number) = self.resident.range(..oldest_spared).next_back() else {
                return;
            };
            self.page_out_block(number);
        }
    }

    fn page_out_block(&mut self, number: u64) {
        self.resident.remove(&number);
        let Some(block) = self.sealed.remove(&number) else {
            return;
        };
        self.held_bytes -= block.held_bytes();
        self.live_bytes -= block.live_bytes();
        self.references -= block.references();
        let imaged = block.has_unstored();
        if imaged {
            let image = block.image(number);
            self.page_work.outs.push(PageOut {
                block: number,
                image,
            });
        }
        let paged = PagedBlock {
            references: References::new(block.slots.iter().map(|slot| slot.references)),
            live: block.live,
            stored: block.stored,
            imaged,
            requested: false,
        };
        self.paged.insert(number, paged);
    }

    fn release_paged(&mut self, id: MessageId) -> bool {
        let number = id.block();
        let paged = self
            .paged
            .get_mut(&number)
            .expect("a held message's block is here or paged out");
        if paged.references.release(id.slot()) {
            paged.live -= 1;
        }
        let stored = paged.stored.contains(id.slot());
        if paged.live == 0 {
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
            .chain(self.paged.values().map(|paged| paged.live as usize))
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

/// What a message takes: its record in the block, and what lies outside.
struct Size {
    record: usize,
    outside: usize,
}

impl Size {
    fn total(&self) -> usize {
        self.record + self.outside
    }
}

impl Block {
    fn with_capacity(bytes: usize) -> Self {
        Block {
            bytes: Vec::with_capacity(bytes),
            slots: Vec::with_capacity(BLOCK_MESSAGES),
            ..Block::default()
        }
    }

    fn reset(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OPEN_BYTES_MAX);
        self.slots.clear();
        self.large.clear();
        self.stored = SlotSet::default();
    }

    fn references(&self) -> usize {
        let references = self.slots.iter().map(|slot| slot.references as usize);
        references.sum()
    }

    fn held_bytes(&self) -> usize {
        let large = self.large.iter().flatten();
        self.bytes.capacity() + SLOTS_BYTES + large.map(Large::size).sum::<usize>()
    }

    fn live_bytes(&self) -> usize {
        let live = (0..self.slots.len()).filter(|slot| self.slots[*slot].references > 0);
        let records = live.filter_map(|slot| Some(Header::read(self.record(slot)?).record_size()));
        records.sum::<usize>() + self.large.iter().flatten().map(Large::size).sum::<usize>()
    }

    /// Puts a message at a slot at or behind the end; how many bytes it takes.
    fn place(&mut self, slot: usize, message: &Message<'_>, references: u32) -> usize {
        while self.slots.len() < slot {
            self.slots.push(Slot::EMPTY);
        }
        let held = match self.slots.get(slot) {
            None => self.push(message),
            // A gap left before: written behind the others, and referred to from its place.
            Some(_) => {
                let size = self.push(message);
                self.slots[slot] = self.slots.pop().expect("just pushed");
                size
            }
        };
        self.slots[slot].references = references;
        held.total()
    }

    /// Holds a place for a message that nobody will see again.
    fn place_lost(&mut self, slot: usize, references: u32) {
        while self.slots.len() <= slot {
            self.slots.push(Slot::EMPTY);
        }
        self.slots[slot] = Slot {
            offset: LOST,
            references,
        };
        self.live += 1;
    }

    /// Whether the store lacks some of the living messages.
    fn has_unstored(&self) -> bool {
        let mut slots = self.slots.iter().enumerate();
        slots.any(|(slot, entry)| entry.references > 0 && !self.stored.contains(slot))
    }

    /// The living messages, for the store to keep.
    fn image(&self, number: u64) -> Vec<u8> {
        let mut journal = Journal::default();
        for (slot, entry) in self.slots.iter().enumerate() {
            if entry.references > 0
                && let Some(message) = self.message(slot)
            {
                journal.append(MessageId::new(number, slot), &[], &message);
            }
        }
        journal.messages
    }

    /// Record: lengths of exchange, routing key (one byte each), properties (two), body (four), and
    /// then the four of them. [`LARGE`] as the properties' length: the body's is an index.
    fn push(&mut self, message: &Message<'_>) -> Size {
        self.slots.push(Slot {
            offset: self.bytes.len() as u32,
            references: 1,
        });
        self.live += 1;
        let start = self.bytes.len();
        let body = message.body.as_slice();
        let large = body.len() > INLINE_BODY_MAX || message.properties.len() >= usize::from(LARGE);
        let (properties_size, body_size) = if large {
            (LARGE, self.large.len() as u32)
        } else {
            (message.properties.len() as u16, body.len() as u32)
        };
        let names = message.exchange.len() + message.routing_key.len();
        let inline = match large {
            true => 0,
            false => message.properties.len() + body.len(),
        };
        self.bytes.reserve(RECORD_HEADER + names + inline);
        let mut header = [0; RECORD_HEADER];
        header[0] = message.exchange.len() as u8;
        header[1] = message.routing_key.len() as u8;
        header[2..4].copy_from_slice(&properties_size.to_le_bytes());
        header[4..8].copy_from_slice(&body_size.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(message.exchange);
        self.bytes.extend_from_slice(message.routing_key);
        let mut outside = 0;
        if large {
            let body = match message.body {
                Body::Shared(bytes) => bytes.clone(),
                Body::Slice(slice) => Bytes::copy_from_slice(slice),
            };
            outside = body.len() + message.properties.len();
            self.large.push(Some(Large {
                properties: message.properties.into(),
                body,
            }));
        } else {
            self.bytes.extend_from_slice(message.properties);
            self.bytes.extend_from_slice(body);
        }
        Size {
            record: self.bytes.len() - start,
            outside,
        }
    }

    #[inline]
    fn message(&self, slot: usize) -> Option<Message<'_>> {
        let record = self.record(slot)?;
        let header = Header::read(record);
        let names = &record[RECORD_HEADER..];
        let (exchange, names) = names.split_at(header.exchange);
        let (routing_key, rest) = names.split_at(header.routing_key);
        if header.properties == LARGE {
            let large = self.large[header.body as usize]
                .as_ref()
                .expect("a living message keeps its body");
            return Some(Message {
                exchange,
                routing_key,
                properties: &large.properties,
                body: Body::Shared(&large.body),
            });
        }
        let (properties, rest) = rest.split_at(usize::from(header.properties));
        Some(Message {
            exchange,
            routing_key,
            properties,
            body: Body::Slice(&rest[..header.body as usize]),
        })
    }

    /// The bytes from the slot's record on, unless its message is lost.
    #[inline]
    fn record(&self, slot: usize) -> Option<&[u8]> {
        self.bytes.get(self.slots[slot].offset as usize..)
    }

    /// Drops a message without holders.
    fn forget(&mut self, slot: usize) -> Size {
        self.live -= 1;
        let Some(record) = self.record(slot) else {
            return Size {
                record: 0,
                outside: 0,
            };
        };
        let header = Header::read(record);
        let mut outside = 0;
        if header.properties == LARGE
            && let Some(large) = self.large[header.body as usize].take()
        {
            outside = large.size();
        }
        Size {
            record: header.record_size(),
            outside,
        }
    }

    /// Keeps the living records only.
    fn compact(&mut self) {
        let mut bytes = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| slot.references > 0) {
            let Some(record) = self.bytes.get(slot.offset as usize..) else {
                continue;
            };
            let size = Header::read(record).record_size();
            slot.offset = bytes.len() as u32;
            bytes.extend_from_slice(&record[..size]);
        }
        bytes.shrink_to_fit();
        self.bytes = bytes;
    }
}

struct Header {
    exchange: usize,
    routing_key: usize,
    properties: u16,
    body: u32,
}

impl Header {
    #[inline]
    fn read(record: &[u8]) -> Header {
        let header: &[u8; RECORD_HEADER] = record
            .first_chunk()
            .expect("every slot points at a whole record");
        Header {
            exchange: usize::from(header[0]),
            routing_key: usize::from(header[1]),
            properties: u16::from_le_bytes([header[2], header[3]]),
            body: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
        }
    }

    fn record_size(&self) -> usize {
        let inline = match self.properties {
            LARGE => 0,
            properties => usize::from(properties) + self.body as usize,
        };
        RECORD_HEADER + self.exchange + self.routing_key + inline
    }
}

impl Slot {
    const EMPTY: Slot = Slot {
        offset: 0,
        references: 0,
    };
}

impl Large {
    fn size(&self) -> usize {
        self.properties.len() + self.body.len()
    }
}

impl SlotSet {
    pub fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
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

/// Bodies up to this many bytes are copied into the block.
pub const INLINE_BODY_MAX: usize = 4096;

/// Messages in a block at most.
pub const BLOCK_MESSAGES: usize = 256;
const RECORD_HEADER: usize = 8;
const LARGE: u16 = u16::MAX;
/// The offset of a message without a record.
const LOST: u32 = u32::MAX;
/// An entry of a queue, with the room that a growing queue keeps.
const REFERENCE_BYTES: usize = 2 * size_of::<u64>();
const SLOTS_BYTES: usize = BLOCK_MESSAGES * size_of::<Slot>();
/// A block with this few living messages is worth rewriting.
const SPARSE: u32 = BLOCK_MESSAGES as u32 / 8;
/// A block with so much in it takes no more messages.
const BLOCK_BYTES_FULL: usize = 64 << 10;
/// What an empty open block keeps, and what a new one starts with at most.
const OPEN_BYTES_MAX: usize = BLOCK_BYTES_FULL + INLINE_BODY_MAX;
/// Blocks rewritten per turn: well under a millisecond.
const TIDY_BLOCKS: usize = 16;
/// Blocks paged out per turn.
const PAGE_BLOCKS: usize = 64;
/// The youngest blocks stay.
const SPARED_BLOCKS: u64 = 32;
/// Blocks read back at once.
const READ_AHEAD_BLOCKS: u64 = 8;
/// Below this much dead room tidying is not worth the copying.
const TIDY_SLACK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(key: &'a [u8], body: &'a [u8]) -> Message<'a> {
        Message {
            exchange: b"x",
            routing_key: key,
            properties: &[0, 0],
            body: Body::Slice(body),
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

    #[test]
    fn a_large_message_takes_no_room_in_its_block() {
        let mut messages = Messages::new();
        let body = Bytes::from(vec![7; 1 << 20]);
        let large = Message {
            body: Body::Shared(&body),
            ..message(b"large", b"")
        };
        let id = messages.insert(&large);
        assert!(messages.held_bytes() < body.len() + 4096);
        messages.release(id);
        assert!(messages.held_bytes() < 4096);
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
            messages.page_out(40 * BLOCK_MESSAGES * 250);
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
        messages.page_out(0);
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
    fn what_the_store_has_is_paged_out_without_an_image_and_may_be_lost() {
        let mut messages = Messages::new();
        let ids = fill(&mut messages, 50 * BLOCK_MESSAGES, true);
        messages.page_out(0);
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
