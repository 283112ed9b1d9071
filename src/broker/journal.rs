//! What must survive: the store operations of one turn, as the core names them.
//!
//! The core only appends; whoever drives it takes the [`Journal`] at the end of the turn and hands it
//! to the store as one batch. Messages are encoded at once, since their bytes may not outlive the
//! call.

use crate::wire::amqp::field_table::OwnedTable;

use super::message::{Body, Message, MessageId};

/// Names a durable queue in the store, for ever: a queue that is deleted and declared again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

impl QueueId {
    /// Files name none above this, unless they are damaged: so there is always one for the next queue.
    pub const STORED_MAX: u64 = u64::MAX / 2;
}

/// Operations in their order, by kind. Within a batch definitions come first, then notes, messages and
/// acks; all of a batch is stored when its number is under the watermark.
#[derive(Debug, Default)]
pub struct Journal {
    pub definitions: Vec<Definition>,
    pub notes: Vec<Note>,
    /// Encoded by [`Journal::append`], read by [`StoredMessages`].
    pub messages: Vec<u8>,
    /// Copies of messages that are done with, one for each queue that had it.
    pub acks: Vec<(QueueId, MessageId)>,
    /// Somebody waits for the batch to be stored.
    pub awaited: bool,
    /// Room that the first message makes for those behind it, so that a steady stream of batches is not
    /// copied over and over into larger buffers.
    pub expected_bytes: usize,
}

/// A change of what is declared. Names and tables are as declared; parts are `Box<[u8]>` since they
/// cross to another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    ExchangeDeclared(StoredExchange),
    ExchangeDeleted {
        virtual_host: Box<[u8]>,
        name: Box<[u8]>,
    },
    QueueDeclared(StoredQueue),
    QueueDeleted {
        id: QueueId,
    },
    Bound(StoredBinding),
    Unbound(StoredBinding),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExchange {
    pub virtual_host: Box<[u8]>,
    pub name: Box<[u8]>,
    pub kind: Box<[u8]>,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: OwnedTable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredQueue {
    pub id: QueueId,
    pub virtual_host: Box<[u8]>,
    pub name: Box<[u8]>,
    pub auto_delete: bool,
    pub arguments: OwnedTable,
}

/// Both ends are durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredBinding {
    pub virtual_host: Box<[u8]>,
    pub source: Box<[u8]>,
    pub destination: StoredDestination,
    pub routing_key: Box<[u8]>,
    pub arguments: OwnedTable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoredDestination {
    Queue(QueueId),
    Exchange(Box<[u8]>),
}

/// A fact under a key: the last value that was noted is what a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    pub key: Box<[u8]>,
    /// `None` takes it back.
    pub value: Option<Box<[u8]>>,
}

/// What a note is about. Keys and values are up to whoever writes them, but for [`NoteKind::Failure`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NoteKind {
    Policy = 1,
    OperatorPolicy = 2,
    Parameter = 3,
    GlobalParameter = 4,
    VirtualHost = 5,
    User = 6,
    Permission = 7,
    TopicPermission = 8,
    Limit = 9,
    /// How often a message of a queue was given back, and when last; the key is [`Note::failure_key`].
    /// Goes with its queue.
    Failure = 10,
    /// What messages an exchange or a queue has seen; the keys begin with eight bytes that say which, and
    /// a note under these alone, when it is taken back, takes all of them back. Goes with its queue, and
    /// with the message that brought it ([`Note::brought_by`]) if a crash tore them apart.
    Deduplication = 11,
}

impl Note {
    /// Queue and message, eight bytes each, big endian: so those of a queue stand together.
    pub fn failure_key(queue: QueueId, message: MessageId) -> Box<[u8]> {
        [queue.0, message.to_bits()]
            .map(u64::to_be_bytes)
            .concat()
            .into()
    }

    /// The message without which the note says nothing: they come in one batch, and a crash may leave only
    /// the note. It ends a value of 32 bytes.
    pub fn brought_by(kind: NoteKind, key: &[u8], value: &[u8]) -> Option<MessageId> {
        if kind != NoteKind::Deduplication || key.len() != 16 || value.len() != 32 {
            return None;
        }
        let message = u64::from_le_bytes(*value.last_chunk()?);
        (message <= MessageId::STORED_MAX).then(|| MessageId::from_bits(message))
    }

    /// The queue and the message of a failure's key.
    pub fn read_failure_key(key: &[u8]) -> Option<(QueueId, MessageId)> {
        let (queue, rest) = key.split_first_chunk::<8>()?;
        let message = u64::from_be_bytes(rest.try_into().ok()?);
        let message = (message <= MessageId::STORED_MAX).then(|| MessageId::from_bits(message));
        Some((QueueId(u64::from_be_bytes(*queue)), message?))
    }
}

impl NoteKind {
    const ALL: [NoteKind; 11] = [
        NoteKind::Policy,
        NoteKind::OperatorPolicy,
        NoteKind::Parameter,
        NoteKind::GlobalParameter,
        NoteKind::VirtualHost,
        NoteKind::User,
        NoteKind::Permission,
        NoteKind::TopicPermission,
        NoteKind::Limit,
        NoteKind::Failure,
        NoteKind::Deduplication,
    ];

    /// The kind with this number.
    pub fn from_byte(byte: u8) -> Option<NoteKind> {
        NoteKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl Journal {
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
            && self.notes.is_empty()
            && self.messages.is_empty()
            && self.acks.is_empty()
    }

    /// What was written down so far. The next batch is expected to be about as large.
    pub fn take(&mut self) -> Journal {
        let next = Journal {
            expected_bytes: self.messages.len().min(EXPECTED_BYTES_MAX),
            ..Journal::default()
        };
        std::mem::replace(self, next)
    }

    /// The first of its messages.
    pub fn first_message(&self) -> Option<MessageId> {
        let first = StoredMessages::new(&self.messages).next()?;
        Some(first.id)
    }

    /// Adds a message for these queues. Ids must grow from call to call.
    ///
    /// All numbers little endian: size of what follows (4 bytes), id (8), time of arrival (8), count
    /// of queues (4), queue ids (8 each), lengths of exchange and routing key (1 each), properties (4), body (4), and these
    /// four.
    pub fn append(&mut self, id: MessageId, queues: &[QueueId], message: &Message<'_>) {
        let body = message.body.as_slice();
        let size = MESSAGE_FIXED_SIZE
            + 8 * queues.len()
            + message.exchange.len()
            + message.routing_key.len()
            + message.properties.len()
            + body.len();
        let out = &mut self.messages;
        let expected = if out.capacity() == 0 {
            self.expected_bytes
        } else {
            0
        };
        out.reserve((4 + size).max(expected));
        out.extend_from_slice(&(size as u32).to_le_bytes());
        out.extend_from_slice(&id.to_bits().to_le_bytes());
        out.extend_from_slice(&message.arrived_ms.to_le_bytes());
        out.extend_from_slice(&(queues.len() as u32).to_le_bytes());
        for queue in queues {
            out.extend_from_slice(&queue.0.to_le_bytes());
        }
        out.push(message.exchange.len() as u8);
        out.push(message.routing_key.len() as u8);
        out.extend_from_slice(&(message.properties.len() as u32).to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(message.exchange);
        out.extend_from_slice(message.routing_key);
        out.extend_from_slice(message.properties);
        out.extend_from_slice(body);
    }
}

/// One message as [`Journal::append`] encoded it.
#[derive(Clone, Copy)]
pub struct StoredMessage<'a> {
    pub id: MessageId,
    /// Eight bytes, little endian, for each.
    pub queue_bytes: &'a [u8],
    pub message: Message<'a>,
    /// All of it, without the leading size.
    pub encoded: &'a [u8],
}

impl<'a> StoredMessage<'a> {
    /// Reads one message without its leading size; `None` if that is not what the bytes are.
    pub fn decode(encoded: &'a [u8]) -> Option<Self> {
        let (id, rest) = encoded.split_first_chunk::<8>()?;
        let (arrived_ms, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let queues_size = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
        let (queues, rest) = rest.split_at_checked(queues_size)?;
        let (&[exchange, routing_key], rest) = rest.split_first_chunk::<2>()?;
        let (properties, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_first_chunk::<4>()?;
        let (exchange, rest) = rest.split_at_checked(exchange.into())?;
        let (routing_key, rest) = rest.split_at_checked(routing_key.into())?;
        let (properties, rest) = rest.split_at_checked(u32::from_le_bytes(*properties) as usize)?;
        if rest.len() != u32::from_le_bytes(*body) as usize {
            return None;
        }
        let id = u64::from_le_bytes(*id);
        (id <= MessageId::STORED_MAX).then(|| StoredMessage {
            id: MessageId::from_bits(id),
            queue_bytes: queues,
            message: Message {
                exchange,
                routing_key,
                properties,
                body: Body::Slice(rest),
                arrived_ms: u64::from_le_bytes(*arrived_ms),
            },
            encoded,
        })
    }

    pub fn queues(&self) -> impl ExactSizeIterator<Item = QueueId> + 'a {
        let (ids, _) = self.queue_bytes.as_chunks::<8>();
        ids.iter().map(|id| QueueId(u64::from_le_bytes(*id)))
    }
}

/// The messages of a [`Journal`], in order.
pub struct StoredMessages<'a> {
    rest: &'a [u8],
}

impl<'a> StoredMessages<'a> {
    pub fn new(encoded: &'a [u8]) -> Self {
        StoredMessages { rest: encoded }
    }
}

impl<'a> Iterator for StoredMessages<'a> {
    type Item = StoredMessage<'a>;

    fn next(&mut self) -> Option<StoredMessage<'a>> {
        let (size, rest) = self.rest.split_first_chunk::<4>()?;
        let (encoded, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        self.rest = rest;
        StoredMessage::decode(encoded)
    }
}

const EXPECTED_BYTES_MAX: usize = 1 << 20;
/// What a message takes without queue ids, names, properties and body.
const MESSAGE_FIXED_SIZE: usize = 8 + 8 + 4 + 1 + 1 + 4 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_notes_and_keys_of_failures_are_read_as_written() {
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(NoteKind::from_byte(0), None);
        let (queue, message) = (QueueId(7), MessageId::from_bits(300));
        let key = Note::failure_key(queue, message);
        assert_eq!(Note::read_failure_key(&key), Some((queue, message)));
        assert_eq!(Note::read_failure_key(&key[1..]), None);
        assert_eq!(Note::read_failure_key(&[0xff; 16]), None);
    }

    #[test]
    fn messages_are_read_as_they_were_appended() {
        let mut journal = Journal::default();
        let body = vec![7; 100_000];
        let message = |body| Message {
            exchange: b"x",
            routing_key: b"key",
            properties: &[0, 0],
            body: Body::Slice(body),
            arrived_ms: 1_790_000_000_123,
        };
        journal.append(
            MessageId::from_bits(1),
            &[QueueId(5), QueueId(9)],
            &message(&body),
        );
        journal.append(MessageId::from_bits(4), &[QueueId(9)], &message(b""));
        let read: Vec<_> = StoredMessages::new(&journal.messages).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].id, MessageId::from_bits(1));
        assert_eq!(
            read[0].queues().collect::<Vec<_>>(),
            [QueueId(5), QueueId(9)]
        );
        assert_eq!(read[0].message.body.as_slice(), body);
        assert_eq!(read[0].message.arrived_ms, 1_790_000_000_123);
        assert_eq!(read[1].message.routing_key, b"key");
        assert!(read[1].message.body.is_empty());
        for cut in 0..read[1].encoded.len() {
            assert!(StoredMessage::decode(&read[1].encoded[..cut]).is_none());
        }
        let mut damaged = read[1].encoded.to_vec();
        damaged[..8].fill(0xff);
        assert!(
            StoredMessage::decode(&damaged).is_none(),
            "there is no such id"
        );
    }
}
