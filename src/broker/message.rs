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

use std::fmt;

use bytes::Bytes;

use super::Map;

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

    /// The number of its block: ids come in blocks of [`BLOCK_MESSAGES`].
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
    /// The block being filled, and its number.
    open: Block,
    open_number: u64,
    /// Sealed blocks that were mostly dead when last looked at.
    sparse: Vec<u64>,
    /// Bytes held, living or not: what the memory budget counts.
    held_bytes: usize,
    /// Bytes of living messages.
    live_bytes: usize,
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// Messages that do not fit a record; the record holds the index.
    large: Vec<Option<Large>>,
    /// Slots with references.
    live: u32,
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
            open: Block::default(),
            open_number: 0,
            sparse: Vec::new(),
            held_bytes: 0,
            live_bytes: 0,
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
        id
    }

    /// One more holder.
    pub fn retain(&mut self, id: MessageId) {
        let slot = id.slot();
        self.block_mut(id).slots[slot].references += 1;
    }

    /// One holder less; the last one frees it.
    pub fn release(&mut self, id: MessageId) {
        let number = id.block();
        let open = number == self.open_number;
        let block = if open {
            &mut self.open
        } else {
            self.sealed
                .get_mut(&number)
                .expect("a held message's block is there")
        };
        let slot = &mut block.slots[id.slot()];
        slot.references -= 1;
        if slot.references > 0 {
            return;
        }
        let size = block.forget(id.slot());
        self.live_bytes -= size.total();
        self.held_bytes -= size.outside;
        if block.live == 0 && !open {
            self.held_bytes -= block.bytes.capacity() + SLOTS_BYTES;
            self.sealed.remove(&number);
        } else if block.live == SPARSE && !open {
            self.sparse.push(number);
        }
    }

    #[inline]
    pub fn get(&self, id: MessageId) -> Message<'_> {
        self.block(id).message(id.slot())
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

    /// Bytes that the messages take up.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Messages that somebody holds.
    pub fn count(&self) -> usize {
        self.sealed
            .values()
            .chain([&self.open])
            .map(|block| block.live as usize)
            .sum()
    }

    #[inline]
    fn block(&self, id: MessageId) -> &Block {
        if id.block() == self.open_number {
            &self.open
        } else {
            self.sealed
                .get(&id.block())
                .expect("a held message's block is there")
        }
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
        self.bytes
            .reserve(RECORD_HEADER + names + message.properties.len() + body.len());
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
    fn message(&self, slot: usize) -> Message<'_> {
        let record = &self.bytes[self.slots[slot].offset as usize..];
        let header = Header::read(record);
        let names = &record[RECORD_HEADER..];
        let (exchange, names) = names.split_at(header.exchange);
        let (routing_key, rest) = names.split_at(header.routing_key);
        if header.properties == LARGE {
            let large = self.large[header.body as usize]
                .as_ref()
                .expect("a living message keeps its body");
            return Message {
                exchange,
                routing_key,
                properties: &large.properties,
                body: Body::Shared(&large.body),
            };
        }
        let (properties, rest) = rest.split_at(usize::from(header.properties));
        Message {
            exchange,
            routing_key,
            properties,
            body: Body::Slice(&rest[..header.body as usize]),
        }
    }

    /// Drops a message without holders.
    fn forget(&mut self, slot: usize) -> Size {
        self.live -= 1;
        let header = Header::read(&self.bytes[self.slots[slot].offset as usize..]);
        let mut outside = 0;
        if header.properties == LARGE
            && let Some(large) = self.large[header.body as usize].take()
        {
            outside = large.body.len() + large.properties.len();
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
            let record = &self.bytes[slot.offset as usize..];
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

/// Bodies up to this many bytes are copied into the block.
pub const INLINE_BODY_MAX: usize = 4096;

pub const BLOCK_MESSAGES: usize = 256;
const RECORD_HEADER: usize = 8;
const LARGE: u16 = u16::MAX;
const SLOTS_BYTES: usize = BLOCK_MESSAGES * size_of::<Slot>();
/// A block with this few living messages is worth rewriting.
const SPARSE: u32 = BLOCK_MESSAGES as u32 / 8;
/// A block with so much in it takes no more messages.
const BLOCK_BYTES_FULL: usize = 64 << 10;
/// What an empty open block keeps, and what a new one starts with at most.
const OPEN_BYTES_MAX: usize = BLOCK_BYTES_FULL + INLINE_BODY_MAX;
/// Blocks rewritten per turn: well under a millisecond.
const TIDY_BLOCKS: usize = 16;
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
            let message = messages.get(*id);
            assert_eq!(message.exchange, b"x");
            assert_eq!(message.routing_key, (n as u32).to_be_bytes());
            assert_eq!(message.properties, [0, 0]);
            assert_eq!(message.body.as_slice(), (n as u32).to_le_bytes());
        }
        assert_eq!(messages.get(big).body.as_slice(), large);
        assert_eq!(messages.get(heavy).properties, properties);
        assert_eq!(messages.count(), 1002);
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
            assert_eq!(messages.get(id).routing_key, n.to_be_bytes());
            assert_eq!(messages.get(id).body.as_slice(), body);
            messages.release(id);
        }
        assert_eq!(messages.live_bytes, 0);
    }
}
