//! The AMQ model (AMQP 0-9-1 §3.1): commands in, effects out. No IO, no clock, no randomness.
//!
//! [`Core`] owns all truth of the broker. Every operation has one door, whoever asks: AMQP today,
//! other protocols, an HTTP API or a replicated log later. Given the same commands it does the same
//! things: names are generated and time is told by the caller, and no hash order reaches the outside.
//!
//! ```text
//!   publish ---> routing ---> queues ---> hand_over ---> Outlet (a consumer's outbox)
//!                                ^            |
//!                                |            v
//!                          requeue, purge   unacked ring of the channel <--- settle (ack, nack)
//! ```
//!
//! A command answers its caller. What it means for others is delivered at once where it is a message
//! ([`Core::publish`] and [`Core::deliver_fresh`] take the [`Outlet`]), and else left as an [`Effect`]
//! for the caller to carry out behind its answer.
//!
//! Most queues are plain, and what is drawn above is all that happens to their messages. What a queue
//! was told by its arguments or a policy ([`policy`]) stands beside that way, a file for each rule:
//!
//! ```text
//!   limits       how much a queue may hold           dead_letter    where messages go that die
//!   expiry       when messages and queues go         delays         exchanges that hold messages back
//!   attempts     what was given back, and how often  deduplication  what was seen before
//!   groups       what must wait for its neighbours   ack_clock      who holds deliveries for too long
//! ```
//!
//! Who only wants to look finds whole tables in [`survey`] and messages in [`browse`].
//!
//! Whatever is due at a time stands on one `schedule`; [`Core::set_time`] tells it.

pub mod access;
mod ack_clock;
mod attempts;
pub mod browse;
mod channel;
mod connection;
mod consumer;
mod counters;
pub mod dead_letter;
mod declared;
mod deduplication;
mod delays;
mod delivery;
mod error;
mod event;
pub mod exchange;
mod expiry;
mod groups;
mod histogram;
mod history;
mod inventory;
pub mod journal;
mod limits;
mod log_exchange;
pub mod message;
mod name;
mod outlet;
mod paging;
pub mod policy;
pub mod queue;
mod recovery;
pub mod redrive;
mod routing;
mod schedule;
mod session;
mod settlement;
mod subscription;
pub mod survey;
pub mod topology;
mod trace;
mod traffic;
mod unacked;
mod virtual_host;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use foldhash::fast::FixedState;

use crate::slots::Slots;

pub use ack_clock::OverdueChannel;
pub use channel::{ChannelKey, ChannelMode};
pub use connection::{About, AboutTls, ConnectionKey, ConnectionState, Endpoint};
pub use consumer::{ConsumeRequest, ConsumerKey};
pub use counters::{
    ChannelCounters, Counters, ExchangeCounters, QueueCounters, SIZE_BOUNDS, Sizes,
};
pub use declared::{DeclaredBinding, DeclaredExchange, DeclaredQueue, Place};
pub use deduplication::RecoveredKeys;
pub use delivery::{Getting, Got, Published};
pub use error::{Error, Result};
pub use event::{Event, Login};
pub use histogram::Histogram;
pub use inventory::Inventory;
pub use message::{Body, Message};
pub use name::Name;
pub use outlet::{Delivery, Effect, Outlet, Socket, SocketKey};
pub use queue::{QueueKey, QueueKind, Waits};
pub use recovery::{RecoveredFailures, RecoveredMessages};
pub use routing::Route;
pub use settlement::Settlement;
pub use subscription::REPLY_TO;
pub use trace::{TracedDelivery, TracedPublish};
pub use unacked::Unacked;
pub use virtual_host::{DEFAULT_VIRTUAL_HOST, Metadata, VirtualHost, VirtualHostKey};

use access::{FirstStart, PasswordHash, SALT_SIZE, Users};
use connection::Connection;
use dead_letter::Morgue;
use event::Events;
use history::Replay;
use journal::{Journal, Note, QueueId};
use message::{MessageId, Messages};
use paging::PageWaiters;
use policy::{GlobalParameters, Review};
use queue::{QueueArguments, Ready};
use routing::RoutingScratch;
use schedule::Schedule;
use topology::exchange::Exchange;
use traffic::Traffic;

/// Hashed the same way in every run; nothing depends on its order.
type Map<K, V> = HashMap<K, V, FixedState>;

/// All broker state, owned by one thread.
pub struct Core {
    users: Users,
    pub counters: Counters,
    /// How long messages waited in queues for their first delivery, to the millisecond.
    pub waits: Histogram,
    /// For consumers and queues that do not say themselves (RabbitMQ: `consumer_timeout`).
    pub consumer_timeout_ms: Option<u64>,
    /// How traces name this broker (RabbitMQ: node name).
    pub node_name: Name,
    virtual_hosts: Slots<VirtualHost>,
    virtual_host_names: Map<Name, VirtualHostKey>,
    exchanges: Slots<Exchange>,
    connections: Slots<Connection>,
    sockets: Map<SocketKey, ConnectionKey>,
    messages: Messages,
    traffic: Traffic,
    /// Queues that can go on delivering, each in its turn.
    backlogs: VecDeque<QueueKey>,
    /// New bindings that are to get the history of their source.
    replays: VecDeque<Replay>,
    /// Who waits for direct replies where.
    reply_addresses: Map<Name, ChannelKey>,
    /// Moves with every change of exchanges, queues and bindings.
    generation: u64,
    routing: RoutingScratch,
    /// Messages of purged and deleted queues, freed bit by bit, in order; with the queue that the store
    /// must take them from.
    discarded: VecDeque<(Option<QueueId>, Ready)>,
    /// How many such there were.
    discards_begun: u64,
    /// What must survive; taken once a turn. `None` in a broker without a store.
    journal: Option<Journal>,
    next_queue_id: u64,
    /// Above every id of a queue or an exchange in the notes that a start found.
    next_window_id: u64,
    /// The message that was written down last.
    journaled: Option<MessageId>,
    /// A queue has dropped the message being published, and noted that.
    is_repeat_noted: bool,
    /// Durable queues by what the store calls them.
    queue_ids: Map<QueueId, QueueKey>,
    /// Deleted durable queues with deliveries that are still unacked, and how many.
    graves: Map<QueueKey, (QueueId, usize)>,
    /// Who waits for blocks that are being read back.
    page_waiters: Map<u64, PageWaiters>,
    /// Durable queues that hold the message being published.
    holders: Vec<QueueId>,
    /// The last command changed what is declared, in a way that must survive.
    redefined: bool,
    /// Milliseconds since 1970.
    now_ms: u64,
    schedule: Schedule,
    morgue: Morgue,
    /// What was noted about messages that are not there any more.
    outdated_notes: Vec<Note>,
    /// Queues that did not take the message being published.
    refusals: usize,
    global_parameters: GlobalParameters,
    /// Of every queue that has none.
    no_arguments: Rc<QueueArguments>,
    review: Review,
    events: Events,
}

impl Core {
    /// A broker with the virtual host `/`, its predeclared exchanges, and the user `guest` with the
    /// password `guest`, who may do everything there and comes from this machine only.
    pub fn new() -> Self {
        let mut core = Core::empty();
        let first = FirstStart {
            user: "guest",
            password: PasswordHash::of(b"guest", [0; SALT_SIZE]),
            tags: &["administrator".to_owned()],
            virtual_host: DEFAULT_VIRTUAL_HOST,
            permissions: [".*"; 3],
        };
        core.start_first(&first).expect("there is nothing yet");
        core.set_loopback_users(&["guest".to_owned()]);
        core
    }

    /// A broker without users and virtual hosts.
    pub fn empty() -> Self {
        Core {
            users: Users::default(),
            counters: Counters::default(),
            waits: Histogram::default(),
            consumer_timeout_ms: None,
            node_name: Name::from(""),
            virtual_hosts: Slots::new(),
            virtual_host_names: Map::default(),
            exchanges: Slots::new(),
            connections: Slots::new(),
            sockets: Map::default(),
            messages: Messages::new(),
            traffic: Traffic::new(),
            backlogs: VecDeque::new(),
            replays: VecDeque::new(),
            reply_addresses: Map::default(),
            generation: 1,
            routing: RoutingScratch::default(),
            discarded: VecDeque::new(),
            discards_begun: 0,
            journal: None,
            next_queue_id: 1,
            next_window_id: 1,
            journaled: None,
            is_repeat_noted: false,
            queue_ids: Map::default(),
            graves: Map::default(),
            page_waiters: Map::default(),
            holders: Vec::new(),
            redefined: false,
            now_ms: 0,
            schedule: Schedule::default(),
            morgue: Morgue::default(),
            outdated_notes: Vec::new(),
            refusals: 0,
            global_parameters: GlobalParameters::new(),
            no_arguments: Rc::default(),
            review: Review::default(),
            events: Events::default(),
        }
    }

    /// The time, for whatever is timed from here on (monotonic ms).
    pub fn set_monotonic_time(&mut self, now_ms: u64) {
        self.traffic.monotonic_ms = now_ms;
    }

    /// Whether [`Core::deliver_fresh`] or [`Core::take_effects`] have something to do.
    #[inline]
    pub fn is_settled(&self) -> bool {
        !self.traffic.has_fresh() && self.traffic.effects.is_empty() && !self.morgue.has_work()
    }

    /// What the last commands mean for others than who gave them, in their order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.traffic.effects)
    }

    /// Routes found at another generation may be wrong.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes that messages take up in memory.
    pub fn message_bytes(&self) -> usize {
        self.messages.held_bytes()
    }

    /// The same, of those that could be paged out once what they are with is stored.
    pub fn present_message_bytes(&self) -> usize {
        self.messages.present_bytes()
    }

    /// Leaves messages that nobody will get to [`Core::tidy`].
    fn discard(&mut self, queue: Option<QueueId>, mut messages: Ready) {
        if !messages.is_empty() {
            messages.disband();
            self.discarded.push_back((queue, messages));
            self.discards_begun += 1;
        }
    }

    /// A bounded piece of the work that can wait: frees discarded messages, rewrites sparse blocks,
    /// carries changed policies through.
    pub fn tidy(&mut self) {
        self.free_discarded(DISCARDS_PER_TURN);
        self.messages.tidy();
        self.review_policies();
    }

    /// Frees up to so many discarded messages. A broker that stops frees all of them, since the store takes
    /// them for messages that are there until it is told of each.
    pub fn free_discarded(&mut self, count_max: usize) {
        for _ in 0..count_max {
            let Some((queue, messages)) = self.discarded.front_mut() else {
                return;
            };
            let queue = *queue;
            match messages.pop_any() {
                Some(entry) => self.let_go(queue, entry.message()),
                None => drop(self.discarded.pop_front()),
            }
        }
    }

    /// Purges, counted as [`Purged::number`] does, whose messages are freed.
    pub fn purges_done(&self) -> u64 {
        self.discards_begun - self.discarded.len() as u64
    }

    /// Whether [`Core::tidy`] or [`Core::deliver_backlogs`] have more to do.
    pub fn has_more_work(&self) -> bool {
        self.has_backlogs()
            || !self.discarded.is_empty()
            || self.morgue.has_work()
            || self.next_deadline().is_some_and(|due| due <= self.now_ms)
            || self.is_applying_policies()
    }
}

impl Default for Core {
    fn default() -> Self {
        Core::new()
    }
}

/// Messages freed in one turn of the loop.
const DISCARDS_PER_TURN: usize = 256;
