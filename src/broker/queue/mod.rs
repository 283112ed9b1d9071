//! Queues: messages in order, and whose turn it is to get them.

mod agenda;
pub mod arguments;
mod dispatch;
mod entry;
mod former_ttls;
mod groups;
mod id_set;
mod lifetimes;
mod line;
mod packed;
mod ready;
mod set_aside;
mod waits;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use agenda::Agenda;
pub use arguments::{DeadLetterStrategy, Overflow, QueueArguments, QueueKind, RetryType};
pub use dispatch::Dispatch;
pub use entry::Entry;
pub use former_ttls::FormerTtls;
pub use groups::{Group, Groups};
pub use lifetimes::Lifetimes;
pub use packed::{Ids, PackedIds};
pub use ready::Ready;
pub use waits::Waits;

use super::attempts::Attempts;
use super::connection::ConnectionKey;
use super::counters::QueueCounters;
use super::dead_letter::{Origin, Purpose};
use super::deduplication::{RecoveredKeys, Window};
use super::journal::QueueId;
use super::message::{Message, MessageId, Traits};
use super::name::Name;
use super::policy::Applied;
use super::topology::BindingSet;
use super::virtual_host::VirtualHostKey;
use crate::slots::Key;
use crate::wire::amqp::field_table::OwnedTable;

pub type QueueKey = Key<Queue>;

/// A message queue (AMQP 0-9-1 §3.1.2).
pub struct Queue {
    pub name: Name,
    pub virtual_host: VirtualHostKey,
    pub durable: bool,
    /// Goes with its last consumer; one that never had any stays (AMQP 0-9-1 §1.7.2.1).
    pub auto_delete: bool,
    /// The only connection that may use it, and with which it goes (`exclusive`).
    pub owner: Option<ConnectionKey>,
    /// As they came: shown, and compared when it is declared again.
    pub declared_arguments: OwnedTable,
    /// What holds now: the declared arguments and the policies together. Most queues have none, and
    /// those share one ([`Core::share`](super::Core)): it is a quarter of what a queue takes.
    pub arguments: Rc<QueueArguments>,
    /// Messages go in and out by no other rules than those of every queue: no limits, no times, no
    /// priorities, no groups, no duplicates. Follows from `arguments`.
    pub is_plain: bool,
    /// It counts how often its messages are given back. Follows from `arguments`.
    pub counts_attempts: bool,
    /// Where its dead letters go. Follows from `arguments`.
    pub origin: Option<Rc<Origin>>,
    pub policies: Applied,
    /// That of its virtual host's policies when these were found.
    pub policy_revision: u64,
    pub bindings: BindingSet,
    pub ready: Ready,
    /// Deliveries of its messages that wait for their ack.
    pub unacked: usize,
    /// Of their bodies.
    pub unacked_bytes: u64,
    /// How long its messages waited; `None` until one did.
    pub waits: Option<Box<Waits>>,
    pub dispatch: Dispatch,
    /// An exclusive consumer has it for itself.
    pub exclusively_consumed: bool,
    /// What the store knows it by, if it survives the broker.
    pub id: Option<QueueId>,
    /// The block that its next message is in, while that is read back.
    pub awaited_block: Option<u64>,
    /// On a list of queues to deliver from: it has messages and somebody to take them.
    pub listed: bool,
    /// The last routing pass that came by.
    pub visited: u64,
    /// It may know something of single messages: when they expire, how often they were given back, of
    /// what group they are. Once true, it stays.
    pub has_memory: bool,
    /// Messages that expire.
    pub lifetimes: Option<Box<Lifetimes>>,
    /// What its message TTL was for those that came before it changed.
    pub former_ttls: FormerTtls,
    /// Of messages that were given back.
    pub attempts: BTreeMap<MessageId, Attempts>,
    /// Messages that were given back and wait for another try.
    pub retries: Option<Box<Retries>>,
    /// Which groups of messages wait for one that is not settled.
    pub groups: Option<Box<Groups>>,
    /// What its messages are known by, if it is to drop duplicates.
    pub window: Option<Box<Window>>,
    /// When it was used last (RabbitMQ: queue TTL), in milliseconds since 1970.
    pub used_ms: u64,
    /// When it is looked at for that, and for what is beyond its limits.
    pub lease_due: Option<u64>,
    pub excess_due: Option<u64>,
    pub counters: QueueCounters,
    /// [`Queue::mark`] when somebody asked for what has changed.
    pub seen_mark: u64,
}

/// Messages that come back to a queue later (RabbitMQ: delayed retry).
#[derive(Default)]
pub struct Retries {
    pub agenda: Agenda,
    /// When the queue is on the core's schedule.
    pub scheduled_ms: Option<u64>,
}

impl Queue {
    /// A queue as it was declared, with nothing in it.
    pub fn new(
        name: Name,
        virtual_host: VirtualHostKey,
        declared_arguments: OwnedTable,
        arguments: Rc<QueueArguments>,
    ) -> Self {
        let dispatch = match arguments.single_active_consumer {
            true => Dispatch::with_single_active(),
            false => Dispatch::default(),
        };
        let mut queue = Queue {
            name,
            virtual_host,
            durable: false,
            auto_delete: false,
            owner: None,
            declared_arguments,
            arguments,
            policies: Applied::default(),
            policy_revision: 0,
            is_plain: true,
            counts_attempts: false,
            origin: None,
            bindings: BindingSet::default(),
            ready: Ready::default(),
            unacked: 0,
            unacked_bytes: 0,
            waits: None,
            dispatch,
            exclusively_consumed: false,
            id: None,
            awaited_block: None,
            listed: false,
            visited: 0,
            has_memory: false,
            lifetimes: None,
            former_ttls: FormerTtls::default(),
            attempts: BTreeMap::new(),
            retries: None,
            groups: None,
            window: None,
            used_ms: 0,
            lease_due: None,
            excess_due: None,
            counters: QueueCounters::default(),
            seen_mark: 0,
        };
        queue.follow_arguments();
        queue
    }

    /// What follows from the arguments, after they changed.
    pub fn follow_arguments(&mut self) {
        let arguments = &self.arguments;
        self.is_plain = arguments.message_ttl_ms.is_none()
            && arguments.length_max.is_none()
            && arguments.length_bytes_max.is_none()
            && arguments.priority_max.is_none()
            && arguments.group_key.is_none()
            && arguments.deduplication.is_none();
        if let (None, Some(settings)) = (&self.window, &arguments.deduplication) {
            self.window = Some(Box::new(Window::new(settings.clone())));
        }
        if let (Some(key), None) = (&arguments.group_key, &self.groups) {
            self.groups = Some(Box::new(Groups::new(key.clone())));
        }
        self.counts_attempts = arguments.kind == QueueKind::Quorum
            || arguments.delivery_limit.is_some()
            || arguments.delayed_retry_type != RetryType::Disabled;
        self.has_memory |= self.counts_attempts || self.groups.is_some() || self.window.is_some();
        self.origin = arguments.dead_letter_exchange.as_ref().map(|exchange| {
            Rc::new(Origin {
                queue: self.name.clone(),
                virtual_host: self.virtual_host,
                exchange: exchange.clone(),
                purpose: Purpose::DeadLetters {
                    routing_key: arguments.dead_letter_routing_key.clone(),
                    at_least_once: arguments.dead_letter_strategy
                        == DeadLetterStrategy::AtLeastOnce,
                },
            })
        });
    }

    /// Another number when any of its counts has changed, and its lengths with them; 0 while nothing ever
    /// happened.
    pub fn mark(&self) -> u64 {
        let counts = self.counters.sum().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let lengths = self.ready.len() as u64 ^ (self.unacked as u64) << 32;
        counts ^ lengths
    }

    /// Messages that wait for their next try.
    pub fn retrying(&self) -> usize {
        self.retries.as_ref().map_or(0, |it| it.agenda.len())
    }

    /// With those that did not wait.
    pub fn waits_in_all(&self) -> Waits {
        let waits = self.waits.as_deref().copied().unwrap_or_default();
        waits.with_straight(self.counters.delivered + self.counters.delivered_no_ack)
    }

    /// Whether it is an exchange's own, where its messages wait.
    pub fn is_delay_queue(&self) -> bool {
        let purpose = self.origin.as_ref().map(|origin| &origin.purpose);
        purpose == Some(&Purpose::Delay)
    }

    /// When the message expires here, by its own word and the queue's, the earlier of both.
    pub fn expiry_of(&self, id: MessageId, message: &Message<'_>) -> Option<u64> {
        let own_ms = message.attributes().expiration_ms;
        let ttl_ms = self.former_ttls.of(id);
        expiry(
            message.arrived_ms,
            own_ms,
            ttl_ms.unwrap_or(self.arguments.message_ttl_ms),
        )
    }

    /// The same for a message that comes now.
    pub fn expiry(&self, arrived_ms: u64, own_ms: Option<u64>) -> Option<u64> {
        expiry(arrived_ms, own_ms, self.arguments.message_ttl_ms)
    }

    /// Whether the time of a message has passed, though nobody came to take it out yet: when very many
    /// expire at once, that takes some turns of the loop.
    #[inline]
    pub fn has_expired(&self, id: MessageId, message: &Message<'_>, now_ms: u64) -> bool {
        let expires_ms = || self.expiry_of(id, message);
        self.lifetimes.is_some() && expires_ms().is_some_and(|at| at <= now_ms)
    }

    /// A consumer gets a message; if that expires, the queue must know when it comes back.
    pub fn lend(&mut self, message: MessageId, expires_ms: Option<u64>, was_ready: bool) {
        if let Some(expires_ms) = expires_ms {
            self.has_memory = true;
            let lifetimes = self.lifetimes.get_or_insert_default();
            lifetimes.lend(message, expires_ms, was_ready);
        }
    }

    /// The message is there again after a start: what is noted of its key is known again.
    pub(super) fn recover_key(&mut self, message: MessageId, keys: &mut RecoveredKeys) {
        if let (Some(window), Some(id)) = (&mut self.window, self.id)
            && let Some(kept) = keys.take(id, message)
        {
            window.insert(message.to_bits(), kept);
        }
    }

    /// The priority that such a message has here.
    pub fn priority_of(&self, traits: Traits) -> u8 {
        let max = self.arguments.priority_max.unwrap_or(0);
        traits.priority.min(max)
    }
}

/// The earlier of both times to live counts.
fn expiry(arrived_ms: u64, own_ms: Option<u64>, queue_ms: Option<u64>) -> Option<u64> {
    let ttl_ms = [own_ms, queue_ms].into_iter().flatten().min()?;
    Some(arrived_ms.saturating_add(ttl_ms))
}
