//! Up to 256 messages that came behind each other, in one piece of memory.

use bytes::Bytes;

use crate::broker::journal::Journal;

use super::{Body, Message, MessageId};

#[derive(Default)]
pub(super) struct Block {
    pub bytes: Vec<u8>,
    pub slots: Vec<Slot>,
    /// Messages that do not fit a record; the record holds the index.
    large: Vec<Option<Large>>,
    /// Bytes of all that were put there.
    outside: usize,
    /// Slots with references.
    pub live: u32,
    /// Which slots the store has as well.
    pub stored: SlotSet,
}

#[derive(Clone, Copy)]
pub(super) struct Slot {
    offset: u32,
    pub references: u32,
}

struct Large {
    properties: Box<[u8]>,
    body: Bytes,
}

/// A bit for each slot of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotSet([u64; BLOCK_MESSAGES / 64]);

/// What a message takes: its record in the block, and what lies outside.
pub(super) struct Size {
    record: usize,
    pub outside: usize,
}

impl Size {
    pub fn total(&self) -> usize {
        self.record + self.outside
    }
}

impl Block {
    pub fn with_capacity(bytes: usize) -> Self {
        Block {
            bytes: Vec::with_capacity(bytes),
            slots: Vec::with_capacity(BLOCK_MESSAGES),
            ..Block::default()
        }
    }

    /// Whether it takes no more messages.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.slots.len() == BLOCK_MESSAGES || self.bytes.len() + self.outside >= BLOCK_BYTES_FULL
    }

    pub fn reset(&mut self) {
        self.bytes.clear();
        self.outside = 0;
        self.bytes.shrink_to(OPEN_BYTES_MAX);
        self.slots.clear();
        self.large.clear();
        self.stored = SlotSet::default();
    }

    pub fn references(&self) -> usize {
        let references = self.slots.iter().map(|slot| slot.references as usize);
        references.sum()
    }

    pub fn held_bytes(&self) -> usize {
        let large = self.large.iter().flatten();
        self.bytes.capacity() + SLOTS_BYTES + large.map(Large::size).sum::<usize>()
    }

    pub fn live_bytes(&self) -> usize {
        let live = (0..self.slots.len()).filter(|slot| self.slots[*slot].references > 0);
        let records = live.filter_map(|slot| Some(Header::read(self.record(slot)?).record_size()));
        records.sum::<usize>() + self.large.iter().flatten().map(Large::size).sum::<usize>()
    }

    /// Puts a message at a slot at or behind the end; how many bytes it takes.
    pub fn place(&mut self, slot: usize, message: &Message<'_>, references: u32) -> usize {
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
    pub fn place_lost(&mut self, slot: usize, references: u32) {
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
    pub fn has_unstored(&self) -> bool {
        let mut slots = self.slots.iter().enumerate();
        slots.any(|(slot, entry)| entry.references > 0 && !self.stored.contains(slot))
    }

    /// The living messages, for the store to keep.
    pub fn image(&self, number: u64) -> Vec<u8> {
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

    /// Record: lengths of exchange, routing key (one byte each), properties (two), body (four), the
    /// time of arrival (six), and then the four of them. [`LARGE`] as the properties' length: the body's
    /// is an index.
    pub fn push(&mut self, message: &Message<'_>) -> Size {
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
        header[8..].copy_from_slice(&message.arrived_ms.to_le_bytes()[..6]);
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
            self.outside += outside;
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
    pub fn message(&self, slot: usize) -> Option<Message<'_>> {
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
                arrived_ms: header.arrived_ms,
            });
        }
        let (properties, rest) = rest.split_at(usize::from(header.properties));
        Some(Message {
            exchange,
            routing_key,
            properties,
            body: Body::Slice(&rest[..header.body as usize]),
            arrived_ms: header.arrived_ms,
        })
    }

    /// The size of the message's body; zero if it is lost.
    pub fn body_size(&self, slot: usize) -> u32 {
        let Some(record) = self.record(slot) else {
            return 0;
        };
        let header = Header::read(record);
        if header.properties != LARGE {
            return header.body;
        }
        let large = self.large[header.body as usize].as_ref();
        large.map_or(0, |large| large.body.len() as u32)
    }

    /// The bytes from the slot's record on, unless its message is lost.
    #[inline]
    fn record(&self, slot: usize) -> Option<&[u8]> {
        self.bytes.get(self.slots[slot].offset as usize..)
    }

    /// Drops a message without holders.
    pub fn forget(&mut self, slot: usize) -> Size {
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
    pub fn compact(&mut self) {
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
    arrived_ms: u64,
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
            arrived_ms: u64::from_le_bytes([
                header[8], header[9], header[10], header[11], header[12], header[13], 0, 0,
            ]),
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
    pub fn full() -> Self {
        SlotSet([u64::MAX; BLOCK_MESSAGES / 64])
    }

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

/// Bodies up to this many bytes are copied into the block.
pub const INLINE_BODY_MAX: usize = 4096;

/// Messages in a block at most.
pub const BLOCK_MESSAGES: usize = 256;
const RECORD_HEADER: usize = 14;
const LARGE: u16 = u16::MAX;
/// The offset of a message without a record.
const LOST: u32 = u32::MAX;
pub(super) const SLOTS_BYTES: usize = BLOCK_MESSAGES * size_of::<Slot>();
/// A block with so much in it takes no more messages.
pub(super) const BLOCK_BYTES_FULL: usize = 64 << 10;
/// What an empty open block keeps, and what a new one starts with at most.
pub(super) const OPEN_BYTES_MAX: usize = BLOCK_BYTES_FULL + INLINE_BODY_MAX;
