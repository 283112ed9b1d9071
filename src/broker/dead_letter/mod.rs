//! Dead letters (RabbitMQ: dead letter exchanges): why messages leave their queues unconsumed, what
//! is written on them on their way to another, and how they get there.
//!
//! ```text
//!   expired, over the limit, rejected, given back too often
//!        |
//!        v
//!   Core::die ---> dying ---> Core::bury: written on, routed, published like any other
//!                    ^             |
//!                    +-------------+  a target may be full, and its oldest message dies in turn
//! ```
//!
//! A command only notes who dies; burying follows it, a bounded number at a time, so that messages that
//! go from queue to queue keep nobody waiting. The origin lets go of a message when its dead letter is
//! where it belongs, and the journal has it first: what is persistent is never in neither queue.

pub mod history;

use std::collections::VecDeque;
use std::rc::Rc;

use super::journal::QueueId;
use super::message::{Message, MessageId, OwnedMessage, Traits};
use super::name::Name;
use super::outlet::Outlet;
use super::queue::{Entry, QueueKey};
use super::routing::{Route, Unasked};
use super::schedule::Task;
use super::virtual_host::VirtualHostKey;
use super::{Core, Published};
use crate::wire::amqp::Table;
use crate::wire::amqp::properties::Properties;

use history::{Cycle, shown_keys};

/// Why a message leaves its queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A consumer refused it (`basic.reject` or `basic.nack`) and did not want it requeued.
    Rejected,
    /// Its time to live ended before somebody took it.
    Expired,
    /// The queue is at its limit of messages or bytes, and this one made room or was not let in.
    MaxLength,
    /// It was given back more often than the queue allows.
    DeliveryLimit,
}

impl Reason {
    /// RabbitMQ's word for it, which consumers read in `x-death` and the headers beside it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Where messages that leave a queue unconsumed come from, and where they go.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    pub queue: Name,
    pub virtual_host: VirtualHostKey,
    /// `x-dead-letter-exchange`, or whose delay queue it is.
    pub exchange: Name,
    pub purpose: Purpose,
}

/// Why they are not simply dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum Purpose {
    DeadLetters {
        /// `x-dead-letter-routing-key`.
        routing_key: Option<Name>,
        /// `x-dead-letter-strategy`: what nobody takes is tried again, and not dropped.
        at_least_once: bool,
    },
    /// They waited at an exchange that delays.
    Delay,
}

/// A message on its way out of its queue. It is still held for it.
pub(super) struct Death {
    origin: Rc<Origin>,
    /// Its queue, which may be gone by now.
    left: QueueKey,
    /// Whom the store must take it from.
    queue: Option<QueueId>,
    entry: Entry,
    reason: Reason,
}

/// Dead letters that wait.
#[derive(Default)]
pub(super) struct Morgue {
    /// To be buried next, in this order.
    dying: VecDeque<Death>,
    /// The block of the next of them, while that is read back. The others wait with it: they would
    /// overtake it.
    awaited_block: Option<u64>,
    /// Nobody took them when they were published last.
    stuck: Vec<Death>,
    stuck_due: Option<u64>,
    /// A message is being published. Those that die meanwhile without a dead letter are let go only
    /// then: it may be among them, and other queues on its route would hold what is not there any more.
    pub is_publishing: bool,
    unmourned: Vec<(Option<QueueId>, MessageId)>,
    /// Cycles that the log has told about, by their queues.
    told: Vec<Vec<u8>>,
    route: Route,
}

impl Morgue {
    /// Whether so many wait that no more should come as long as they need not.
    pub fn is_crowded(&self) -> bool {
        self.dying.len() >= DYING_MAX
    }

    /// Whether something can be buried now.
    pub fn has_work(&self) -> bool {
        !self.dying.is_empty() && self.awaited_block.is_none()
    }

    /// A block was read back.
    pub fn on_block(&mut self, block: u64) {
        self.awaited_block.take_if(|awaited| *awaited == block);
    }
}

impl Core {
    /// A message that was taken out of its queue's ready ones, or refused by a consumer, leaves the
    /// queue for good.
    pub(super) fn die(&mut self, key: QueueKey, entry: Entry, reason: Reason) {
        let queue = &mut self.traffic.queues[key];
        queue.counters.count_death(reason);
        let id = queue.id;
        self.die_of(key, id, entry, reason);
    }

    /// The same for a message that never got into the queue.
    pub(super) fn die_outside(&mut self, key: QueueKey, entry: Entry, reason: Reason) {
        self.traffic.queues[key].counters.count_death(reason);
        self.die_of(key, None, entry, reason);
    }

    fn die_of(&mut self, key: QueueKey, id: Option<QueueId>, entry: Entry, reason: Reason) {
        match &self.traffic.queues[key].origin {
            Some(origin) => self.morgue.dying.push_back(Death {
                origin: Rc::clone(origin),
                left: key,
                queue: id,
                entry,
                reason,
            }),
            None if self.morgue.is_publishing => self.morgue.unmourned.push((id, entry.message())),
            None => self.let_go(id, entry.message()),
        }
    }

    /// The message is where it belongs, and the journal has it.
    pub(super) fn end_publishing(&mut self) {
        self.morgue.is_publishing = false;
        while let Some((id, message)) = self.morgue.unmourned.pop() {
            self.let_go(id, message);
        }
    }

    /// Publishes dead letters; what is left for the next time is bounded work then.
    pub(super) fn bury(&mut self, outlet: &mut impl Outlet) {
        for _ in 0..BURIALS_PER_STEP {
            let Some(next) = self.morgue.dying.front() else {
                return;
            };
            let id = next.entry.message();
            if self.messages.get(id).is_none() && self.messages.is_paged_out(id) {
                self.messages.request(id);
                self.morgue.awaited_block = Some(id.block());
                return;
            }
            if let Some(death) = self.morgue.dying.pop_front() {
                self.bury_one(death, outlet);
            }
        }
    }

    /// Tries again what nobody took.
    pub(super) fn retry_stuck(&mut self) {
        self.morgue.stuck_due = None;
        self.morgue.dying.extend(self.morgue.stuck.drain(..));
    }

    fn bury_one(&mut self, death: Death, outlet: &mut impl Outlet) {
        let done = match &death.origin.purpose {
            Purpose::Delay => {
                self.publish_delayed(&death.origin, death.entry, outlet);
                true
            }
            Purpose::DeadLetters {
                routing_key,
                at_least_once,
            } => self.publish_dead_letter(&death, routing_key.as_deref(), outlet) || !at_least_once,
        };
        // Nobody waits for the dead letters of a queue that is gone.
        if done || !self.traffic.queues.contains(death.left) {
            self.let_go(death.queue, death.entry.message());
            return;
        }
        self.morgue.stuck.push(death);
        // Others that come to them do not put the next try off.
        let due = self
            .morgue
            .stuck_due
            .unwrap_or(self.now_ms + STUCK_RETRY_MS);
        self.schedule
            .set(&mut self.morgue.stuck_due, Task::Stuck, Some(due));
    }

    /// Whether somebody took it, or nobody ever will.
    fn publish_dead_letter(
        &mut self,
        death: &Death,
        routing_key: Option<&[u8]>,
        outlet: &mut impl Outlet,
    ) -> bool {
        let origin = &*death.origin;
        let Some(message) = self.messages.get(death.entry.message()) else {
            return true;
        };
        let record = history::Death {
            queue: &origin.queue,
            reason: death.reason,
            exchange: message.exchange,
            routing_key: message.routing_key,
            replaces_routing_keys: routing_key.is_some(),
            time_unix_ms: self.now_ms,
        };
        let Ok(properties) = record.write_on(message.properties) else {
            return true;
        };
        let letter = OwnedMessage::of(&Message {
            exchange: &origin.exchange,
            routing_key: routing_key.unwrap_or(message.routing_key),
            properties: &properties,
            body: message.body,
            arrived_ms: self.now_ms,
        });
        let letter = letter.message();
        let mut route = std::mem::take(&mut self.morgue.route);
        let is_taken = self.find_grave(origin, &letter, &mut route)
            && (route.is_empty() || !self.is_refused_by_all(&route, &letter, outlet));
        self.morgue.route = route;
        is_taken
    }

    fn is_refused_by_all(
        &mut self,
        route: &Route,
        letter: &Message<'_>,
        outlet: &mut impl Outlet,
    ) -> bool {
        let published = self.publish(route, letter, &Traits::of(letter), outlet);
        published == Published::Refused && self.refusals == route.queues.len()
    }

    /// Finds the queues for a dead letter, and takes away those where it would go round in circles.
    /// Whether there were any: waiting would not end a circle.
    fn find_grave(&mut self, origin: &Origin, letter: &Message<'_>, route: &mut Route) -> bool {
        let Some(virtual_host) = self.virtual_hosts.get(origin.virtual_host) else {
            return false;
        };
        let Some(&exchange) = virtual_host.exchanges.get(&origin.exchange) else {
            return false;
        };
        let Ok(properties) = Properties::decode(letter.properties) else {
            return false;
        };
        let headers = properties.headers.unwrap_or(Table::EMPTY);
        let keys = shown_keys(letter, &properties);
        self.routing.unasked = Unasked::All;
        self.route(exchange, &keys, &properties, route);
        let was_found = !route.is_empty();
        let (queues, told) = (&self.traffic.queues, &mut self.morgue.told);
        route.queues.retain(|key| {
            let Some(cycle) = Cycle::find(headers, &queues[*key].name) else {
                return true;
            };
            tell_once(&cycle, told);
            false
        });
        was_found
    }
}

/// RabbitMQ: each cycle is logged once.
fn tell_once(cycle: &Cycle<'_>, told: &mut Vec<Vec<u8>>) {
    let queues: Vec<&[u8]> = cycle.queues().take(TOLD_QUEUES_MAX).collect();
    let queues = queues.join(&0);
    if told.len() < TOLD_MAX && !told.contains(&queues) {
        log::warn!("{cycle}");
        told.push(queues);
    }
}

/// With more than this waiting to be buried, nothing expires for the time being.
const DYING_MAX: usize = 1 << 16;
/// Dead letters published in one go.
const BURIALS_PER_STEP: usize = 512;
/// How long a dead letter that nobody took waits for the next try.
const STUCK_RETRY_MS: u64 = 1000;
/// Cycles remembered as told; further ones are not logged.
const TOLD_MAX: usize = 64;
const TOLD_QUEUES_MAX: usize = 32;
