//! What is declared, found by replaying definitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::broker::journal::{
    Definition, Note, NoteKind, QueueId, StoredBinding, StoredDestination,
};

use super::note_codec;

type Map<K, V> = HashMap<K, V, FixedState>;

/// The state after some definitions, each with its place in their order.
#[derive(Default)]
pub(super) struct Catalog {
    next_place: u64,
    exchanges: Map<ExchangeName, (u64, Definition)>,
    /// When an exchange went last; bindings from before went with it.
    exchange_deletions: Map<ExchangeName, u64>,
    queues: BTreeMap<QueueId, (u64, Definition)>,
    /// Who has which name now.
    queue_names: Map<QueueName, QueueId>,
    bindings: Map<StoredBinding, u64>,
    deleted_queues: BTreeSet<QueueId>,
    notes: BTreeMap<NoteKey, Box<[u8]>>,
    /// Above every id that was seen.
    pub next_queue: u64,
    pub next_message: u64,
}

/// Virtual host and name.
type ExchangeName = (Box<[u8]>, Box<[u8]>);
type QueueName = (Box<[u8]>, Box<[u8]>);
type NoteKey = (NoteKind, Box<[u8]>);

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
                let name = (queue.virtual_host.clone(), queue.name.clone());
                if let Some(before) = self.queue_names.insert(name, queue.id)
                    && before != queue.id
                {
                    // It was deleted, and damage took the record that said so.
                    self.delete_queue(before);
                }
                self.queues.insert(queue.id, (place, definition));
            }
            Definition::QueueDeleted { id } => {
                if let Some(Definition::QueueDeclared(queue)) = self.delete_queue(id) {
                    self.queue_names.remove(&(queue.virtual_host, queue.name));
                }
            }
            Definition::Bound(binding) => {
                self.bindings.insert(binding, place);
            }
            Definition::Unbound(binding) => {
                self.bindings.remove(&binding);
            }
        }
    }

    fn delete_queue(&mut self, id: QueueId) -> Option<Definition> {
        let deleted = self.queues.remove(&id);
        self.deleted_queues.insert(id);
        self.forget_notes(NoteKind::Failure, id.0);
        self.forget_notes(NoteKind::Deduplication, id.0);
        deleted.map(|(_, definition)| definition)
    }

    pub fn note(&mut self, note: Note) {
        let failed = Note::read_failure_key(&note.key).filter(|_| note.kind == NoteKind::Failure);
        if failed.is_some_and(|(queue, _)| !self.has_queue(queue)) {
            // The queue went in the same batch.
            return;
        }
        let key = (note.kind, note.key);
        match note.value {
            Some(value) => drop(self.notes.insert(key, value)),
            None => {
                self.notes.remove(&key);
                if let (NoteKind::Deduplication, Ok(owner)) = (key.0, (*key.1).try_into()) {
                    self.forget_notes(NoteKind::Deduplication, u64::from_be_bytes(owner));
                }
            }
        }
    }

    /// Takes notes back that came with messages from this one on, none of which was stored. Whether there
    /// were any.
    pub fn forget_torn_notes(&mut self, from: u64) -> bool {
        let before = self.notes.len();
        self.notes.retain(|(kind, key), value| {
            let brought_by = Note::brought_by(*kind, key, value);
            brought_by.is_none_or(|message| message.to_bits() < from)
        });
        self.notes.len() < before
    }

    /// Those whose keys begin with this number.
    fn forget_notes(&mut self, kind: NoteKind, owner: u64) {
        let key = |owner: u64| (kind, Box::from(owner.to_be_bytes()));
        let range = key(owner)..key(owner.saturating_add(1));
        let keys: Vec<NoteKey> = self
            .notes
            .range(range)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.notes.remove(&key);
        }
    }

    /// Bytes that notes take when they are written.
    pub fn note_bytes(&self) -> u64 {
        let notes = self.notes.iter();
        let sizes = notes.map(|((_, key), value)| note_codec::size(key, value));
        sizes.sum()
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

    /// What leads to the same state, in an order that can be replayed; notes by kind and key.
    pub fn into_definitions(mut self) -> (Vec<Definition>, Vec<Note>) {
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
        let definitions = in_order.map(|(_, definition)| definition).collect();
        let notes = self.notes.into_iter();
        let notes = notes.map(|((kind, key), value)| Note {
            kind,
            key,
            value: Some(value),
        });
        (definitions, notes.collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::journal::StoredQueue;
    use crate::wire::amqp::{OwnedTable, Table};

    #[test]
    fn a_queue_whose_name_another_has_was_deleted() {
        let declared = |id| {
            Definition::QueueDeclared(StoredQueue {
                id: QueueId(id),
                virtual_host: (*b"/").into(),
                name: (*b"jobs").into(),
                auto_delete: false,
                arguments: OwnedTable::from(Table::EMPTY),
            })
        };
        let mut catalog = Catalog::default();
        for id in [1, 1, 2] {
            catalog.apply(declared(id));
        }
        assert_eq!(catalog.queues(), [2]);
        assert!(catalog.was_deleted(QueueId(1)) && !catalog.was_deleted(QueueId(2)));
        catalog.apply(Definition::QueueDeleted { id: QueueId(1) });
        catalog.apply(Definition::QueueDeleted { id: QueueId(2) });
        catalog.apply(declared(3));
        assert_eq!(catalog.queues(), [3]);
    }
}
