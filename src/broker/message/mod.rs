//! Messages: what one is, what names it, and the table that holds them all ([`Messages`]).

mod attributes;
mod block;
mod owned;
mod pages;
mod table;

use std::fmt;

use bytes::Bytes;

use crate::wire::amqp::properties::PropertyBlock;

pub use attributes::Attributes;
pub use block::{BLOCK_MESSAGES, INLINE_BODY_MAX};
pub use owned::OwnedMessage;
pub use pages::{PageOut, PageWork};
pub use table::Messages;

/// A message as it is looked at: in a read buffer, in the table, or anywhere else.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    /// Property flags and property list as the publisher encoded them (AMQP 0-9-1 §4.2.6.1).
    pub properties: &'a [u8],
    pub body: Body<'a>,
    /// When the broker got it, in Unix milliseconds.
    pub arrived_ms: u64,
}

/// What a message's properties tell its queues to do with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// It is to survive the broker, in queues that do (`delivery_mode` 2).
    pub persistent: bool,
    pub priority: u8,
    /// How long it may wait to be taken, in milliseconds (`expiration`).
    pub expiration_ms: Option<u64>,
}

impl Traits {
    /// Those of a message without properties.
    pub const NONE: Traits = Traits {
        persistent: false,
        priority: 0,
        expiration_ms: None,
    };

    pub fn of(message: &Message<'_>) -> Self {
        let Attributes {
            priority,
            expiration_ms,
            ..
        } = message.attributes();
        let mode = PropertyBlock::new(message.properties).delivery_mode();
        Traits {
            persistent: mode == Ok(Some(PERSISTENT)),
            priority,
            expiration_ms,
        }
    }
}

/// `delivery_mode` of messages that survive (AMQP 0-9-1 §1.8).
pub const PERSISTENT: u8 = 2;

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

    #[inline(always)]
    pub fn len(self) -> usize {
        match self {
            Body::Slice(slice) => slice.len(),
            Body::Shared(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Names a message in [`Messages`]; later messages have greater ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// Ids stay at or below this, so that a queue can keep a priority and a flag beside them: enough
    /// for a century at ten million messages a second.
    pub const MAX: u64 = u64::MAX >> 9;
    /// Files name none above this, unless they are damaged: so there is always one for the next message.
    pub const STORED_MAX: u64 = Self::MAX / 2;

    pub fn to_bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(bits: u64) -> Self {
        debug_assert!(bits <= Self::MAX);
        MessageId(bits)
    }

    pub(super) fn new(block: u64, slot: usize) -> Self {
        MessageId::from_bits(block * BLOCK_MESSAGES as u64 + slot as u64)
    }

    /// Messages are paged by blocks; this is the number of its.
    pub fn block(self) -> u64 {
        self.0 / BLOCK_MESSAGES as u64
    }

    pub fn slot(self) -> usize {
        self.0 as usize % BLOCK_MESSAGES
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
