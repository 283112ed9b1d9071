//! What is declared, for those who write it down: queues, exchanges and bindings as they were asked for.
//!
//! A look is bounded: it goes on from the slot where the last one ended. What is declared or deleted
//! between two looks may be in neither.

use super::Core;
use super::queue::{Queue, QueueKey};
use super::topology::binding::{Binding, Destination};
use super::topology::exchange::{Exchange, ExchangeKey};
use crate::wire::amqp::OwnedTable;

/// A queue as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredQueue {
    pub virtual_host: String,
    pub name: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub exclusive: bool,
    pub arguments: OwnedTable,
}

/// An exchange as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredExchange {
    pub virtual_host: String,
    pub name: String,
    pub kind: &'static str,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: OwnedTable,
}

/// A binding by the names of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredBinding {
    pub virtual_host: String,
    pub source: String,
    pub destination: String,
    pub to_exchange: bool,
    pub routing_key: String,
    pub arguments: OwnedTable,
}

/// Where the next look begins: a slot, and how many of what is in it were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    slot: usize,
    offset: usize,
}

impl Core {
    /// Up to so many queues, and where to go on if there may be more.
    pub fn declared_queues(&self, from: Place, max: usize) -> (Vec<DeclaredQueue>, Option<Place>) {
        let queues = &self.traffic.queues;
        look(from, max, queues.slot_count(), |slot| {
            let key = queues.key_at(slot)?;
            self.declared_queue(key)
        })
    }

    /// Nothing for the queues of exchanges that delay, which nobody declared.
    pub fn declared_queue(&self, key: QueueKey) -> Option<DeclaredQueue> {
        let queue: &Queue = self.traffic.queues.get(key)?;
        let host = self.virtual_hosts.get(queue.virtual_host)?;
        if host.queues.get(&queue.name) != Some(&key) {
            return None;
        }
        Some(DeclaredQueue {
            virtual_host: host.name.to_string(),
            name: queue.name.to_string(),
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            exclusive: queue.owner.is_some(),
            arguments: queue.declared_arguments.clone(),
        })
    }

    /// Up to so many exchanges, and where to go on if there may be more.
    pub fn declared_exchanges(
        &self,
        from: Place,
        max: usize,
    ) -> (Vec<DeclaredExchange>, Option<Place>) {
        look(from, max, self.exchanges.slot_count(), |slot| {
            self.declared_exchange(self.exchanges.key_at(slot)?)
        })
    }

    pub fn declared_exchange(&self, key: ExchangeKey) -> Option<DeclaredExchange> {
        let exchange: &Exchange = self.exchanges.get(key)?;
        let host = self.virtual_hosts.get(exchange.virtual_host)?;
        Some(DeclaredExchange {
            virtual_host: host.name.to_string(),
            name: exchange.name.to_string(),
            kind: exchange.router.type_name(),
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
        })
    }

    /// Up to so many bindings, and where to go on if there may be more. Those of exclusive queues are left
    /// out: they go with their connection.
    pub fn declared_bindings(
        &self,
        from: Place,
        max: usize,
    ) -> (Vec<DeclaredBinding>, Option<Place>) {
        let mut found = Vec::new();
        let mut place = from;
        let mut looked_at = 0;
        while place.slot < self.exchanges.slot_count() {
            let key = self.exchanges.key_at(place.slot);
            let bindings = key.and_then(|key| self.exchanges.get(key));
            let bindings = bindings.map(|exchange| &exchange.outgoing);
            for binding in bindings.into_iter().flatten().skip(place.offset) {
                if looked_at >= max {
                    return (found, Some(place));
                }
                looked_at += 1;
                place.offset += 1;
                found.extend(self.declared_binding(binding));
            }
            looked_at += 1;
            place = Place {
                slot: place.slot + 1,
                offset: 0,
            };
        }
        (found, None)
    }

    fn declared_binding(&self, binding: &Binding) -> Option<DeclaredBinding> {
        let source = self.exchanges.get(binding.source)?;
        let (destination, to_exchange) = match binding.destination {
            Destination::Queue(key) => {
                let queue = self.traffic.queues.get(key)?;
                if queue.owner.is_some() {
                    return None;
                }
                (&queue.name, false)
            }
            Destination::Exchange(key) => (&self.exchanges.get(key)?.name, true),
        };
        Some(DeclaredBinding {
            virtual_host: self
                .virtual_hosts
                .get(source.virtual_host)?
                .name
                .to_string(),
            source: source.name.to_string(),
            destination: destination.to_string(),
            to_exchange,
            routing_key: binding.routing_key.to_string(),
            arguments: binding.arguments.clone(),
        })
    }
}

fn look<T>(
    from: Place,
    max: usize,
    slot_count: usize,
    in_slot: impl Fn(usize) -> Option<T>,
) -> (Vec<T>, Option<Place>) {
    let end = slot_count.min(from.slot.saturating_add(max));
    let found = (from.slot..end).filter_map(in_slot).collect();
    let next = Place {
        slot: end,
        offset: 0,
    };
    (found, (end < slot_count).then_some(next))
}
