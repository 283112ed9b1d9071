//! What a broker has to remember.

use std::collections::BTreeMap;
use std::rc::Rc;

use leveret::wire::amqp::OwnedTable;

/// A connection and one of its channels.
pub type At = (usize, u16);

pub type Shared = Rc<Message>;

pub struct Message {
    /// Given by the test, see `message.rs`.
    pub number: u64,
    pub exchange: String,
    pub routing_key: String,
    /// As they must arrive, except for a `reply-to` that the broker puts in.
    pub properties: Vec<u8>,
    /// Number of the reply consumer whose address stands in `reply-to`.
    pub reply_consumer: Option<u64>,
    pub body: Vec<u8>,
}

/// A message in a queue.
#[derive(Clone)]
pub struct Entry {
    /// Its place: later messages have greater numbers.
    pub place: u64,
    pub message: Shared,
    pub redelivered: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let again = if self.redelivered { " again" } else { "" };
        write!(f, "message {}{again}", self.message.number)
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message {}", self.number)
    }
}

#[derive(Clone)]
pub struct Unacked {
    pub delivery_tag: u64,
    pub entry: Entry,
    /// Number of its queue.
    pub queue: u64,
    /// Number of the consumer; none for `basic.get`.
    pub consumer: Option<u64>,
}

#[derive(Default)]
pub struct Exchange {
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub alternate: Option<String>,
    /// What a consistent hash exchange looks at instead of the routing key.
    pub hash_header: Option<String>,
}

pub struct Queue {
    /// Another queue of the same name has another.
    pub number: u64,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that has it for itself.
    pub owner: Option<usize>,
    /// In the order of their places.
    pub ready: Vec<Entry>,
    /// In the order of their coming.
    pub consumers: Vec<Consumer>,
    /// Counts the messages delivered to consumers.
    pub clock: u64,
}

pub struct Consumer {
    pub number: u64,
    pub at: At,
    pub tag: String,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
    pub prefetch: u16,
    /// The queue's clock when it last got a message.
    pub served: Option<u64>,
    /// The queue's clock since which it could have taken a message at any time.
    pub able_since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Queue(String),
    Exchange(String),
}

pub struct Binding {
    pub source: String,
    pub destination: Destination,
    pub routing_key: String,
    pub arguments: OwnedTable,
}

/// In the order of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Header,
    StartOk,
    TuneOk,
    Open,
    Running,
    Closing,
    /// Closing, and what comes in is no AMQP.
    Garbled,
    Refused,
    Finished,
}

pub struct Connection {
    pub state: State,
    pub wants_cancels: bool,
    pub wants_blocked: bool,
    pub wants_refusals: bool,
    pub frame_max: u32,
    pub heartbeat_ms: u64,
    pub channels: BTreeMap<u16, Channel>,
    /// Not read because of an alarm.
    pub blocked: bool,
    /// Its outbox was full and has not been found half empty since: whether it gets deliveries is not
    /// foretold.
    pub stalled: bool,
    /// When the state began (only kept for those that may last too long).
    pub since_ms: u64,
    /// When the machine was last shown something from it.
    pub heard_ms: u64,
    /// When it last read something.
    pub read_ms: u64,
    /// When it was last not read from because of what it had to read.
    pub overdue_ms: u64,
    /// When the broker last said something.
    pub spoke_ms: u64,
}

pub struct Channel {
    /// The broker closed it and waits for the answer.
    pub closing: bool,
    pub assembly: Option<Assembly>,
    pub mode: Mode,
    pub last_queue: String,
    pub last_delivery_tag: u64,
    pub unacked: Vec<Unacked>,
    /// `basic.qos` with global.
    pub prefetch: u16,
    /// `basic.qos` without, for consumers to come.
    pub consumer_prefetch: u16,
    pub reply_consumer: Option<ReplyConsumer>,
}

pub struct ReplyConsumer {
    pub number: u64,
    pub tag: String,
    /// Not known until it is seen in a request.
    pub address: Option<String>,
}

/// A `basic.publish` whose content is on its way.
pub struct Assembly {
    pub exchange: String,
    pub routing_key: String,
    pub mandatory: bool,
    pub immediate: bool,
    /// With the header came properties and the size of the body.
    pub header: Option<(Vec<u8>, u64)>,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub enum Mode {
    #[default]
    Plain,
    Confirm {
        published: u64,
        confirmed: u64,
    },
    Transaction {
        publications: Vec<Publication>,
        settlements: Vec<(Settlement, Unacked)>,
    },
}

/// A publish that waits for its commit.
pub struct Publication {
    pub mandatory: bool,
    pub message: Shared,
    /// Numbers of queues.
    pub queues: Vec<u64>,
    /// Numbers of reply consumers.
    pub replies: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Acked,
    Requeued,
    Rejected,
}

impl Channel {
    pub fn new() -> Self {
        Channel {
            closing: false,
            assembly: None,
            mode: Mode::Plain,
            last_queue: String::new(),
            last_delivery_tag: 0,
            unacked: Vec::new(),
            prefetch: 0,
            consumer_prefetch: 0,
            reply_consumer: None,
        }
    }

    /// Everything delivered and not settled for good: with what a transaction may give back.
    pub fn held(&self) -> impl Iterator<Item = &Unacked> + Clone {
        let settlements = match &self.mode {
            Mode::Transaction { settlements, .. } => settlements.as_slice(),
            _ => &[],
        };
        self.unacked
            .iter()
            .chain(settlements.iter().map(|(_, unacked)| unacked))
    }

    /// Deliveries that count against the limit of the channel.
    pub fn held_by_consumers(&self) -> usize {
        self.held()
            .filter(|unacked| unacked.consumer.is_some())
            .count()
    }

    pub fn held_by(&self, consumer: u64) -> usize {
        self.held()
            .filter(|unacked| unacked.consumer == Some(consumer))
            .count()
    }
}

impl Connection {
    pub fn new(frame_max: u32, now_ms: u64) -> Self {
        Connection {
            state: State::Header,
            wants_cancels: false,
            wants_blocked: false,
            wants_refusals: false,
            frame_max,
            heartbeat_ms: 0,
            channels: BTreeMap::new(),
            blocked: false,
            stalled: false,
            since_ms: now_ms,
            heard_ms: now_ms,
            read_ms: now_ms,
            overdue_ms: now_ms,
            spoke_ms: now_ms,
        }
    }
}
