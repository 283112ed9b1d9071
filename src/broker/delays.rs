//! Exchanges that hold messages back (RabbitMQ: delayed message exchange): where these wait, and what
//! happens when their time has come.
//!
//! Such an exchange has a queue of its own, which nobody else can reach: its messages are paged out,
//! stored and found again like those of any queue, and the delay is their time to live there. A message
//! that expires in it is no dead letter, but routed by the exchange as it would have been without the
//! delay.
//!
//! ```text
//!   publish --> exchange --- no delay ---> its queues
//!                  |                          ^
//!                x-delay                      | x-delay negated
//!                  v                          |
//!            its own queue --- expired -------+
//! ```
//!
//! While it waits, its `expiration` is the delay, and its own stands among its headers. A message that
//! is delayed counts as routed. The keys of its BCC header are forgotten, since nobody may see them.

use super::Core;
use super::Published;
use super::dead_letter::{Origin, Purpose};
use super::error::Result;
use super::exchange::delay_of;
use super::message::{Message, OwnedMessage, Traits};
use super::name::Name;
use super::outlet::Outlet;
use super::queue::{Entry, Queue, QueueKey};
use super::routing::{Route, Unasked};
use super::topology::exchange::ExchangeKey;
use super::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::{OwnedTable, Value};
use crate::wire::amqp::{Properties, Table, TableBuilder};
use std::rc::Rc;

/// The names of the queues of exchanges that delay begin so; clients cannot declare such names.
pub(super) const DELAY_QUEUE_PREFIX: &[u8] = b"amq.delayed.";

impl Core {
    /// Makes the exchange delay messages, or not, as its type and its policy say.
    pub(super) fn follow_delay(&mut self, key: ExchangeKey) {
        let exchange = &mut self.exchanges[key];
        let by_policy = exchange.policies.settings().delayed_message == Some(true);
        let delays = exchange.router.delays() || by_policy;
        if exchange.delays != delays {
            exchange.delays = delays;
            self.generation += 1;
        }
        if delays {
            self.add_delay_queue(key);
        }
    }

    /// Gives the exchange a queue for messages that wait, unless it has one.
    pub(super) fn add_delay_queue(&mut self, exchange: ExchangeKey) -> QueueKey {
        let Some(key) = self.exchanges[exchange].delay_queue else {
            let key = self.new_delay_queue(exchange);
            self.exchanges[exchange].delay_queue = Some(key);
            return key;
        };
        key
    }

    fn new_delay_queue(&mut self, exchange: ExchangeKey) -> QueueKey {
        let exchange = &self.exchanges[exchange];
        let name = [DELAY_QUEUE_PREFIX, &exchange.name].concat();
        let name = Name::from(&*name);
        let durable = exchange.durable;
        let origin = Origin {
            queue: name.clone(),
            virtual_host: exchange.virtual_host,
            exchange: exchange.name.clone(),
            purpose: Purpose::Delay,
        };
        let arguments = (OwnedTable::default(), Rc::clone(&self.no_arguments));
        let mut queue = Queue::new(name, exchange.virtual_host, arguments.0, arguments.1);
        queue.durable = durable;
        queue.origin = Some(Rc::new(origin));
        let key = self.traffic.queues.insert(queue);
        if durable && self.journal.is_some() {
            self.store_queue(key);
        }
        key
    }

    /// The delay queue with this name, found again after a start.
    pub(super) fn recovered_delay_queue(
        &mut self,
        virtual_host: VirtualHostKey,
        name: &[u8],
    ) -> Result<QueueKey> {
        let exchange = &name[DELAY_QUEUE_PREFIX.len()..];
        let exchange = self.exchange(virtual_host, exchange)?;
        Ok(self.add_delay_queue(exchange))
    }

    /// Lets a message wait at the exchange for as long as its headers say. Whether it is written down.
    pub(super) fn delay(
        &mut self,
        exchange: ExchangeKey,
        message: &Message<'_>,
        traits: &Traits,
        outlet: &mut impl Outlet,
    ) -> Published {
        let Ok(properties) = Properties::decode(message.properties) else {
            return Published::Taken;
        };
        let Some(delay_ms) = delay_of(properties.headers) else {
            return Published::Taken;
        };
        // A transaction may commit to an exchange that is gone by then.
        let queue = self.exchanges.get(exchange).and_then(|it| it.delay_queue);
        let Some(queue) = queue else {
            return Published::Taken;
        };
        let delay_ms = delay_ms.min(DELAY_MAX_MS);
        let properties = waiting_properties(properties, delay_ms);
        let waiting = Message {
            properties: &properties,
            ..*message
        };
        let traits = Traits {
            expiration_ms: Some(delay_ms),
            ..*traits
        };
        self.place(&[queue], &waiting, &traits, outlet)
    }

    /// The message has waited long enough: the exchange routes it.
    pub(super) fn publish_delayed(
        &mut self,
        origin: &Origin,
        entry: Entry,
        outlet: &mut impl Outlet,
    ) {
        let Some(message) = self.messages.get(entry.message()) else {
            return;
        };
        let Ok(exchange) = self.exchange(origin.virtual_host, &origin.exchange) else {
            return;
        };
        let Some(properties) = released_properties(message.properties) else {
            return;
        };
        let released = OwnedMessage::of(&Message {
            properties: &properties,
            arrived_ms: self.now_ms,
            ..message
        });
        let released = released.message();
        let Ok(properties) = Properties::decode(&properties) else {
            return;
        };
        let keys = super::dead_letter::history::shown_keys(&released, &properties);
        let mut route = Route::default();
        self.routing.unasked = Unasked::Exchange(exchange);
        self.route(exchange, &keys, &properties, &mut route);
        self.publish(&route, &released, &Traits::of(&released), outlet);
    }

    /// The messages that wait at the exchange, and when each is due in milliseconds since 1970, in no
    /// particular order; none if it does not delay.
    pub fn delayed_messages(
        &self,
        exchange: ExchangeKey,
    ) -> impl Iterator<Item = (u64, Option<Message<'_>>)> {
        let queue = self.exchanges.get(exchange).and_then(|it| it.delay_queue);
        let queue = queue.and_then(|key| self.traffic.queues.get(key));
        let waiting = queue.and_then(|queue| queue.lifetimes.as_deref().map(|it| (queue, it)));
        let due = waiting.into_iter().flat_map(|(queue, lifetimes)| {
            let all = lifetimes.iter();
            all.filter(|(_, entry)| queue.ready.contains(*entry))
        });
        due.map(|(at_ms, entry)| (at_ms, self.messages.get(entry.message())))
    }

    /// How many messages wait at the exchange.
    pub fn delayed_count(&self, exchange: ExchangeKey) -> usize {
        let queue = self.exchanges.get(exchange).and_then(|it| it.delay_queue);
        let queue = queue.and_then(|key| self.traffic.queues.get(key));
        queue.map_or(0, |queue| queue.ready.len())
    }
}

/// Encoded, with the delay in place of the expiration.
fn waiting_properties(properties: Properties<'_>, delay_ms: u64) -> Vec<u8> {
    let mut headers = copy_without(properties.headers, &[OWN_EXPIRATION]);
    if let Some(own) = properties.expiration {
        headers.put(OWN_EXPIRATION, Value::LongString(own));
    }
    let delay = delay_ms.to_string();
    let properties = Properties {
        headers: Some(headers.view()),
        expiration: Some(delay.as_bytes()),
        ..properties
    };
    encode(&properties)
}

/// Encoded, as they were, but the delay is negative now.
fn released_properties(block: &[u8]) -> Option<Vec<u8>> {
    let properties = Properties::decode(block).ok()?;
    let old = properties.headers;
    let mut headers = copy_without(old, &[OWN_EXPIRATION, DELAY]);
    if let Some(delay_ms) = delay_of(old) {
        headers.put(DELAY, negated(delay_ms));
    }
    let own = old.and_then(|old| old.get(OWN_EXPIRATION));
    let properties = Properties {
        headers: Some(headers.view()),
        expiration: own.and_then(|own| own.as_bytes()),
        ..properties
    };
    Some(encode(&properties))
}

/// As narrow as it can be, since clients may expect the type that they sent.
fn negated(delay_ms: u64) -> Value<'static> {
    match i32::try_from(delay_ms) {
        Ok(delay_ms) => Value::SignedInt(-delay_ms),
        Err(_) => Value::Long(-i64::try_from(delay_ms).unwrap_or(i64::MAX)),
    }
}

fn copy_without(headers: Option<Table<'_>>, names: &[&[u8]]) -> TableBuilder {
    let mut copy = TableBuilder::new();
    for (name, value) in headers.unwrap_or_default().iter() {
        if !names.contains(&name) {
            copy.put(name, value);
        }
    }
    copy
}

fn encode(properties: &Properties<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    properties.encode(&mut block);
    block
}

const DELAY: &[u8] = b"x-delay";
/// Where a message's own expiration stands while it waits.
const OWN_EXPIRATION: &[u8] = b"x-leveret-expiration";
/// Ten years of 365 days, as for expirations.
const DELAY_MAX_MS: u64 = 315_360_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in_but_for_the_sign_of_its_delay() {
        for expiration in [None, Some(&b"5000"[..])] {
            let mut headers = TableBuilder::new();
            headers.put("a", 1).put("x-delay", Value::Long(250));
            let properties = Properties {
                headers: Some(headers.view()),
                expiration,
                message_id: Some(b"m"),
                ..Properties::default()
            };
            let waiting = waiting_properties(properties, 250);
            let shown = Properties::decode(&waiting).unwrap();
            assert_eq!(shown.expiration, Some(&b"250"[..]));
            let released = released_properties(&waiting).unwrap();
            let released = Properties::decode(&released).unwrap();
            assert_eq!(released.expiration, expiration);
            assert_eq!(released.message_id, Some(&b"m"[..]));
            let headers = released.headers.unwrap();
            assert_eq!(headers.get("x-delay"), Some(Value::SignedInt(-250)));
            assert_eq!(headers.iter().count(), 2);
            assert_eq!(delay_of(Some(headers)), None);
        }
    }
}
