//! What is declared, found by replaying definitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::broker::journal::{Definition, QueueId, StoredBinding, StoredDestination};

type Map<K, V> = HashMap<K, V, FixedState>;

/// The state after some definitions, each with its place in their order.
#[derive(Default)]
pub(super) struct Catalog {
    next_place: u64,
    exchanges: Map<ExchangeName, (u64, Definition)>,
    /// When an exchange went last; bindings from before went with it.
    exchange_deletions: Map<ExchangeName, u64>,
    queues: BTreeMap<QueueId, (u64, Definition)>,
    bindings: Map<StoredBinding, u64>,
    deleted_queues: BTreeSet<QueueId>,
    /// Above every id that was seen.
    pub next_queue: u64,
    pub next_message: u64,
}

/// Virtual host and name.
type ExchangeName = (Box<[u8]>, Box<[u8]>);

impl Catalog {
    pub fn apply(&mut self, definition: Definition) {
        let place = self.next_place;
        self.next_place += 1;
        match definition {
            Definition::ExchangeDeclared(ref exchange) => {
                let name = (exchange.virtual_host.clone(), exchange.name.clone());
                self.exchanges.insert(name, (place, definition));
            }
            Definition::ExchangeDeleted { virtual_host, name } => {
                let name = (virtual_host, name);
                self.exchanges.remove(&name);
                self.exchange_deletions.insert(name, place);
            }
            Definition::QueueDeclared(ref queue) => {
                self.next_queue = self.next_queue.max(queue.id.0 + 1);
                self.queues.insert(queue.id, (place, definition));
            }
            Definition::QueueDeleted { id } => {
                self.queues.remove(&id);
                self.deleted_queues.insert(id);
            }
            Definition::Bound(binding) => {
                self.bindings.insert(binding, place);
            }
            Definition::Unbound(binding) => {
                self.bindings.remove(&binding);
            }
        }
    }

    /// Ascending.
    pub fn queues(&self) -> Vec<u64> {
        self.queues.keys().map(|queue| queue.0).collect()
    }

    /// As far as the definitions go back.
    pub fn was_deleted(&self, queue: QueueId) -> bool {
        self.deleted_queues.contains(&queue)
    }

    pub fn has_queue(&self, queue: QueueId) -> bool {
        self.queues.contains_key(&queue)
    }

    /// What leads to the same state, in an order that can be replayed.
    pub fn into_definitions(mut self) -> Vec<Definition> {
        let bindings: Vec<_> = std::mem::take(&mut self.bindings)
            .into_iter()
            .filter(|(binding, place)| self.holds(binding, *place))
            .map(|(binding, place)| (place, Definition::Bound(binding)))
            .collect();
        let mut parts: [Vec<(u64, Definition)>; 3] = [
            self.exchanges.into_values().collect(),
            self.queues.into_values().collect(),
            bindings,
        ];
        for part in &mut parts {
            part.sort_unstable_by_key(|(place, _)| *place);
        }
        let in_order = parts.into_iter().flatten();
        in_order.map(|(_, definition)| definition).collect()
    }

    /// Whether both ends of a binding are still those it was made for.
    fn holds(&self, binding: &StoredBinding, place: u64) -> bool {
        let outlived = |name: &[u8]| {
            let name = (binding.virtual_host.clone(), name.into());
            let deleted = self.exchange_deletions.get(&name);
            deleted.is_none_or(|deleted| *deleted < place)
        };
        outlived(&binding.source)
            && match &binding.destination {
                StoredDestination::Queue(queue) => self.has_queue(*queue),
                StoredDestination::Exchange(name) => outlived(name),
            }
    }
}
