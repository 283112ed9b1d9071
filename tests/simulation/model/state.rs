//! What a broker has to remember.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use leveret::wire::amqp::{OwnedTable, Properties, Table, Value};

use super::deduplication::Window;
use super::policies::{InForce, stricter};

/// A connection and one of its channels.
pub type At = (usize, u16);

pub type Shared = Rc<Message>;

/// A message's number, and the numbers of durable queues in which it must survive.
pub type Copies = (u64, Vec<u64>);

pub struct Message {
    /// Another message has another, also if it is the dead letter of this one.
    pub id: u64,
    /// Given by the test, see `message.rs`.
    pub number: u64,
    pub exchange: String,
    pub routing_key: String,
    /// As they must arrive, except for a `reply-to` that the broker puts in.
    pub properties: Vec<u8>,
    /// Number of the reply consumer whose address stands in `reply-to`.
    pub reply_consumer: Option<u64>,
    pub body: Rc<[u8]>,
    pub persistent: bool,
    pub priority: u64,
    pub expiration_ms: Option<u64>,
    /// It waits at an exchange, for so long; what it has else is as it was before.
    pub delay_ms: Option<u64>,
    /// It waited at one.
    pub was_delayed: bool,
    /// Newest first.
    pub deaths: Vec<Death>,
}

/// An element of `x-death`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pub queue: String,
    pub reason: &'static str,
    pub count: u64,
    /// In seconds since 1970.
    pub time: u64,
    pub exchange: String,
    pub routing_keys: Vec<String>,
    pub original_expiration: Option<String>,
}

/// A message in a queue.
#[derive(Clone)]
pub struct Entry {
    /// Its place: later messages have greater numbers.
    pub place: u64,
    /// The call in which it came, and from where: messages from different sources that come in the same
    /// call have no order that could be foretold.
    pub step: u64,
    pub source: u64,
    /// The call in which it was put back last.
    pub put_back: u64,
    pub message: Shared,
    pub redelivered: bool,
    pub priority: u64,
    pub expires_ms: Option<u64>,
    /// How often it was given back: with a failure, and at all.
    pub failed: u64,
    pub acquired: u64,
    /// When it was put off last, until then.
    pub until_ms: u64,
    /// Queues that it died in, as numbers.
    pub lineage: Vec<u64>,
}

impl Entry {
    /// Whether it has to leave the queue first.
    pub fn precedes(&self, other: &Entry) -> bool {
        if self.priority != other.priority {
            return self.priority > other.priority;
        }
        let has_order = self.step != other.step || self.source == other.source;
        has_order && self.place < other.place
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let again = if self.redelivered { " again" } else { "" };
        write!(f, "{:?}{again}", self.message)?;
        match self.expires_ms {
            Some(at) => write!(f, " until {at}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message {}", self.number)?;
        for death in &self.deaths {
            write!(f, ", {} {} in {}", death.count, death.reason, death.queue)?;
        }
        Ok(())
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
    /// When it was delivered, and how long it may be held, if there is an end to that.
    pub since_ms: u64,
    pub timeout_ms: Option<u64>,
}

#[derive(Default)]
pub struct Exchange {
    pub kind: String,
    pub arguments: OwnedTable,
    /// Of one that delays, how it routes.
    pub inner_kind: Option<String>,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub alternate: Option<String>,
    pub window: Option<Window>,
    /// What a consistent hash exchange looks at instead of the routing key.
    pub hash_header: Option<String>,
}

#[derive(Default)]
pub struct Queue {
    /// Another queue of the same name has another.
    pub number: u64,
    pub durable: bool,
    pub auto_delete: bool,
    /// The exchange whose delayed messages it has; clients do not see it.
    pub delays_for: Option<String>,
    /// The connection that has it for itself.
    pub owner: Option<usize>,
    /// In the order of their places.
    pub ready: Vec<Entry>,
    /// In the order of their coming.
    pub consumers: Vec<Consumer>,
    /// Counts the messages delivered to consumers.
    pub clock: u64,
    pub arguments: OwnedTable,
    pub rules: Rules,
    /// Given back, and not ready before a certain time.
    pub delayed: Vec<(u64, Entry)>,
    /// When somebody used it last.
    pub used_ms: u64,
    pub window: Option<Window>,
    /// The sources of what came in a call.
    pub sources: (u64, BTreeSet<u64>),
    /// The store's number of it.
    pub stored_as: Option<u64>,
}

/// What a queue was told by its arguments and policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub ttl_ms: Option<u64>,
    pub lease_ms: Option<u64>,
    pub dead_letter_exchange: Option<String>,
    pub dead_letter_key: Option<String>,
    pub at_least_once: bool,
    pub length: Option<u64>,
    pub bytes: Option<u64>,
    pub overflow: String,
    pub max_priority: u64,
    pub delivery_limit: Option<u64>,
    pub single_active: bool,
    /// A header, or `routing-key`.
    pub group_key: Option<String>,
    pub consumer_timeout_ms: Option<u64>,
    /// Kind, shortest and longest delay.
    pub retry: Option<(String, u64, u64)>,
    pub counts: bool,
}

impl Rules {
    /// What holds by a queue's arguments and the policies in force: of two limits the stricter, of two
    /// words the argument's. Only the overflow of a quorum queue is the policy's to say.
    pub fn of(arguments: Table<'_>, in_force: &InForce) -> Rules {
        let text = |name: &str| {
            let value = arguments.get(format!("x-{name}"))?;
            Some(value.as_str()?.to_owned())
        };
        let number = |name: &str| {
            let value = arguments.get(format!("x-{name}"))?;
            Some(value.as_integer()? as u64)
        };
        let flag = |name: &str| {
            let value = arguments.get(format!("x-{name}"));
            value.and_then(|value| value.as_bool()) == Some(true)
        };
        let word = |name: &str| text(name).or_else(|| in_force.text(name));
        let either = |name: &str| number(name).or_else(|| in_force.least(name));
        let least = |name: &str| {
            let both = number(name).into_iter().chain(in_force.least(name));
            both.min()
        };
        let is_quorum = text("queue-type").as_deref() == Some("quorum");
        let kind = word("delayed-retry-type").filter(|kind| kind != "disabled");
        let retry_least = either("delayed-retry-min").unwrap_or(1000);
        let retry_most = either("delayed-retry-max").unwrap_or(u64::MAX);
        let told = arguments.get("x-delivery-limit");
        let told = told.and_then(|value| value.as_integer());
        let both = told.into_iter().chain(in_force.strictest("delivery-limit"));
        // -1 is none.
        let limit = match both.reduce(stricter) {
            None => is_quorum.then_some(20),
            Some(limit) => u64::try_from(limit).ok(),
        };
        let strategy = word("dead-letter-strategy");
        let overflow = match is_quorum {
            true => in_force.text("overflow").or_else(|| text("overflow")),
            false => word("overflow"),
        };
        Rules {
            ttl_ms: least("message-ttl"),
            lease_ms: least("expires"),
            dead_letter_exchange: word("dead-letter-exchange"),
            dead_letter_key: word("dead-letter-routing-key"),
            at_least_once: strategy.map_or(is_quorum, |it| it == "at-least-once"),
            length: least("max-length"),
            bytes: least("max-length-bytes"),
            overflow: overflow.unwrap_or_else(|| "drop-head".to_owned()),
            max_priority: number("max-priority").unwrap_or(if is_quorum { 31 } else { 0 }),
            delivery_limit: limit,
            consumer_timeout_ms: least("consumer-timeout"),
            group_key: text("group-key"),
            single_active: flag("single-active-consumer"),
            counts: is_quorum || limit.is_some() || kind.is_some(),
            retry: kind.map(|kind| (kind, retry_least, retry_most)),
        }
    }

    pub fn is_limited(&self) -> bool {
        self.length.is_some() || self.bytes.is_some()
    }
}

impl Queue {
    /// Whether it would hold too much with one message of this size more.
    pub fn is_over_with(&self, more: u64, size: usize) -> bool {
        let bytes: usize = self.ready.iter().map(|it| it.message.body.len()).sum();
        let (length, bytes) = (self.ready.len() as u64 + more, (bytes + size) as u64);
        self.rules.length.is_some_and(|max| length > max)
            || self.rules.bytes.is_some_and(|max| bytes > max)
    }

    /// After the single active consumer comes the first of those with the highest priority.
    pub fn promote(&mut self) {
        if self.consumers.iter().all(|consumer| !consumer.is_active) {
            let waiting = self.consumers.iter_mut().rev();
            if let Some(next) = waiting.max_by_key(|consumer| consumer.priority) {
                next.is_active = true;
            }
        }
    }

    /// Those that may leave the queue next; more than one if their order is not known.
    pub fn heads(&self) -> Vec<&Entry> {
        self.heads_but(&BTreeSet::new())
    }

    /// The same for those that consumers get, if these groups are busy.
    pub fn heads_but(&self, busy: &BTreeSet<String>) -> Vec<&Entry> {
        let ready: Vec<&Entry> = match busy.is_empty() {
            true => self.ready.iter().collect(),
            false => self
                .ready
                .iter()
                .filter(|it| !self.is_of(it, busy))
                .collect(),
        };
        let is_first = |it: &&&Entry| !ready.iter().any(|other| other.precedes(it));
        ready.iter().filter(is_first).copied().collect()
    }

    /// The message's group, if it has one here.
    pub fn group_of(&self, entry: &Entry) -> Option<String> {
        let message = &entry.message;
        let key = self.rules.group_key.as_ref()?;
        if key == "routing-key" {
            return Some(message.routing_key.clone());
        }
        let properties = Properties::decode(&message.properties).ok()?;
        match properties.headers?.get(key)? {
            Value::Void => None,
            value => Some(format!("{:?} {:?}", value.as_integer(), value.as_str())),
        }
    }

    pub fn is_of(&self, entry: &Entry, groups: &BTreeSet<String>) -> bool {
        let group = self.group_of(entry);
        group.is_some_and(|group| groups.contains(&group))
    }
}

pub struct Consumer {
    pub number: u64,
    pub at: At,
    pub tag: String,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
    pub prefetch: u16,
    /// By its own arguments, and what holds.
    pub own_timeout_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    /// It gets messages. Where only one may, the others wait for that to go.
    pub is_active: bool,
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
    pub user: String,
    /// It is to be closed because its user is gone.
    pub is_doomed: bool,
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
    /// Deliveries that were taken back from who held them for too long: to settle them is no error.
    pub forgiven: BTreeSet<u64>,
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
        /// To be nacked.
        refused: BTreeSet<u64>,
        /// Numbers of queues that hold what was published as this.
        holders: BTreeMap<u64, Copies>,
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
    /// Numbers of queues in which it is to wait first.
    pub delays: Vec<u64>,
    /// Numbers of reply consumers.
    pub replies: Vec<u64>,
    /// Exchanges to which it is new, and whether one knew it.
    pub news: Vec<String>,
    pub is_repeat: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Acked,
    /// Given back, its consumer did not try.
    Returned,
    /// Given back, its consumer failed.
    Failed,
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
            forgiven: BTreeSet::new(),
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

    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut Unacked> {
        let settlements = match &mut self.mode {
            Mode::Transaction { settlements, .. } => settlements.as_mut_slice(),
            _ => &mut [],
        };
        let taken = settlements.iter_mut().map(|(_, unacked)| unacked);
        self.unacked.iter_mut().chain(taken)
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
            user: String::new(),
            is_doomed: false,
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
