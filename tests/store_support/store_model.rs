//! What a store must hold, in the simplest words.

use std::collections::{BTreeMap, BTreeSet};

use leveret::broker::journal::{
    Definition, Journal, Note, NoteKind, QueueId, StoredBinding, StoredDestination, StoredExchange,
    StoredQueue,
};
use leveret::broker::message::{Attributes, Body, Message, MessageId};
use leveret::store::Recovered;
use leveret::wire::amqp::properties::Properties;
use leveret::wire::amqp::{OwnedTable, Table};

/// The state after some batches.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Declared {
    pub queues: BTreeSet<u64>,
    pub exchanges: BTreeSet<u64>,
    /// Exchange and queue.
    pub bindings: BTreeSet<(u64, u64)>,
    pub notes: BTreeMap<(NoteKind, Vec<u8>), Vec<u8>>,
}

/// Unacked copies, and what the bodies are made of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Held {
    pub copies: BTreeMap<u64, BTreeSet<u64>>,
    pub bodies: BTreeMap<u64, (u64, usize)>,
}

/// One batch.
#[derive(Clone, Default, Debug)]
pub struct Change {
    pub definitions: Vec<Declaration>,
    pub notes: Vec<Note>,
    /// Id, queues, salt and size of the body.
    pub messages: Vec<(u64, Vec<u64>, u64, usize)>,
    /// Queue, message.
    pub acks: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Declaration {
    Queue(u64),
    DeleteQueue(u64),
    Exchange(u64),
    DeleteExchange(u64),
    Bind(u64, u64),
    Unbind(u64, u64),
}

impl Declared {
    pub fn apply(&mut self, change: &Change) {
        for declaration in &change.definitions {
            match *declaration {
                Declaration::Queue(id) => drop(self.queues.insert(id)),
                Declaration::DeleteQueue(id) => {
                    self.queues.remove(&id);
                    let key = id.to_be_bytes();
                    self.notes.retain(|(kind, of), _| {
                        let of_queues = [NoteKind::Failure, NoteKind::Deduplication];
                        !of_queues.contains(kind) || !of.starts_with(&key)
                    });
                    self.bindings.retain(|(_, queue)| *queue != id);
                }
                Declaration::Exchange(id) => drop(self.exchanges.insert(id)),
                Declaration::DeleteExchange(id) => {
                    self.exchanges.remove(&id);
                    self.bindings.retain(|(exchange, _)| *exchange != id);
                }
                Declaration::Bind(exchange, queue) => drop(self.bindings.insert((exchange, queue))),
                Declaration::Unbind(exchange, queue) => {
                    self.bindings.remove(&(exchange, queue));
                }
            }
        }
        for note in change.notes.iter().cloned() {
            let failed = Note::read_failure_key(&note.key);
            if note.kind == NoteKind::Failure
                && failed.is_some_and(|(queue, _)| !self.queues.contains(&queue.0))
            {
                continue;
            }
            let key = (note.kind, note.key.into_vec());
            match note.value {
                Some(value) => drop(self.notes.insert(key, value.into_vec())),
                None => drop(self.notes.remove(&key)),
            }
        }
    }

    pub fn recovered(recovered: &Recovered) -> Declared {
        let mut declared = Declared::default();
        for definition in &recovered.definitions {
            match definition {
                Definition::QueueDeclared(queue) => assert!(declared.queues.insert(queue.id.0)),
                Definition::ExchangeDeclared(exchange) => {
                    assert!(declared.exchanges.insert(parse(&exchange.name)));
                }
                Definition::Bound(binding) => {
                    let StoredDestination::Queue(queue) = binding.destination else {
                        panic!("no exchange is bound to one");
                    };
                    let exchange = parse(&binding.source);
                    assert!(declared.queues.contains(&queue.0));
                    assert!(declared.exchanges.contains(&exchange));
                    assert!(declared.bindings.insert((exchange, queue.0)));
                }
                other => panic!("{other:?} is no state"),
            }
        }
        let keys = recovered.notes.iter().map(|note| (note.kind, &note.key));
        assert!(keys.is_sorted_by(|a, b| a < b));
        for note in recovered.notes.iter().cloned() {
            let value = note.value.expect("only what is noted is found");
            let key = (note.kind, note.key.into_vec());
            declared.notes.insert(key, value.into_vec());
        }
        declared
    }
}

impl Held {
    pub fn apply(&mut self, change: &Change) {
        for (id, queues, salt, size) in &change.messages {
            self.bodies.insert(*id, (*salt, *size));
            for queue in queues {
                self.copies.entry(*queue).or_default().insert(*id);
            }
        }
        for (queue, id) in &change.acks {
            if let Some(copies) = self.copies.get_mut(queue) {
                copies.remove(id);
            }
        }
    }

    /// Forgets the bodies of what nobody holds.
    pub fn prune(&mut self) {
        let held: BTreeSet<u64> = self.copies.values().flatten().copied().collect();
        self.bodies.retain(|id, _| held.contains(id));
    }

    /// What of it is in queues that exist.
    pub fn of(&self, declared: &Declared) -> BTreeMap<u64, BTreeSet<u64>> {
        self.copies
            .iter()
            .filter(|(queue, copies)| declared.queues.contains(queue) && !copies.is_empty())
            .map(|(queue, copies)| (*queue, copies.clone()))
            .collect()
    }

    pub fn recovered(recovered: &Recovered) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (queue, ids) in &recovered.queues {
            let ids: Vec<u64> = ids.iter().map(MessageId::to_bits).collect();
            assert!(ids.is_sorted_by(|a, b| a < b));
            ids.iter()
                .for_each(|id| *counts.entry(*id).or_default() += 1);
            held.insert(queue.0, ids.into_iter().collect());
        }
        let mut counted = BTreeMap::new();
        for references in &recovered.references {
            for block in references.blocks() {
                for (slot, count) in references.counts().into_iter().enumerate() {
                    if count > 0 {
                        counted.insert(block * 256 + slot as u64, count);
                    }
                }
            }
        }
        assert_eq!(counts, counted, "references do not add up");
        let described = recovered.attributes.iter().map(|(id, _)| id.to_bits());
        assert!(
            described.eq(counts.into_keys()),
            "attributes are those of other messages"
        );
        held
    }

    /// Attributes are those of the bodies, as far as these are known.
    pub fn check_attributes(&self, recovered: &Recovered) {
        for (id, found) in recovered.attributes.iter() {
            if let Some((salt, size)) = self.bodies.get(&id.to_bits()) {
                assert_eq!(found, attributes(*salt, *size), "attributes of {id:?}");
            }
        }
    }
}

impl Change {
    pub fn journal(&self) -> Journal {
        let mut journal = Journal::default();
        for declaration in &self.definitions {
            journal.definitions.push(definition(*declaration));
        }
        journal.notes = self.notes.clone();
        for (id, queues, salt, size) in &self.messages {
            let queues: Vec<_> = queues.iter().map(|queue| QueueId(*queue)).collect();
            let body = body(*id, *salt, *size);
            let attributes = attributes(*salt, *size);
            let expiration = attributes.expiration_ms.map(|ms| ms.to_string());
            let mut properties = Vec::new();
            Properties {
                content_type: Some(b"text/plain"),
                priority: Some(attributes.priority).filter(|priority| *priority > 0),
                expiration: expiration.as_deref().map(str::as_bytes),
                ..Properties::default()
            }
            .encode(&mut properties);
            let message = Message {
                exchange: b"x",
                routing_key: &id.to_le_bytes(),
                properties: &properties,
                body: Body::Slice(&body),
                arrived_ms: attributes.arrived_ms,
            };
            journal.append(MessageId::from_bits(*id), &queues, &message);
        }
        journal.acks = self
            .acks
            .iter()
            .map(|(queue, id)| (QueueId(*queue), MessageId::from_bits(*id)))
            .collect();
        journal
    }
}

/// The bytes of a message: no two messages have the same, unless they are short.
pub fn body(id: u64, salt: u64, size: usize) -> Vec<u8> {
    let mut bytes = [id.to_le_bytes(), salt.to_le_bytes()]
        .concat()
        .repeat(size / 16 + 1);
    bytes.truncate(size);
    bytes
}

/// What a start must know of a message. The clock goes back now and then.
pub fn attributes(salt: u64, size: usize) -> Attributes {
    Attributes {
        arrived_ms: 1_790_000_000_000 + salt / 3 - salt % 100 / 99 * 50,
        body_size: size as u32,
        priority: if salt % 5 == 4 { (salt % 11) as u8 } else { 0 },
        expiration_ms: (salt % 7 == 6).then_some(salt % 13 * 1000),
    }
}

fn definition(declaration: Declaration) -> Definition {
    let slash = || (*b"/").into();
    let none = || OwnedTable::from(Table::EMPTY);
    let name = |id: u64| id.to_string().into_bytes().into_boxed_slice();
    let binding = |exchange, queue| StoredBinding {
        virtual_host: slash(),
        source: name(exchange),
        destination: StoredDestination::Queue(QueueId(queue)),
        routing_key: (*b"key").into(),
        arguments: none(),
    };
    match declaration {
        Declaration::Queue(id) => Definition::QueueDeclared(StoredQueue {
            id: QueueId(id),
            virtual_host: slash(),
            name: name(id),
            auto_delete: false,
            arguments: none(),
        }),
        Declaration::DeleteQueue(id) => Definition::QueueDeleted { id: QueueId(id) },
        Declaration::Exchange(id) => Definition::ExchangeDeclared(StoredExchange {
            virtual_host: slash(),
            name: name(id),
            kind: (*b"fanout").into(),
            auto_delete: false,
            internal: false,
            arguments: none(),
        }),
        Declaration::DeleteExchange(id) => Definition::ExchangeDeleted {
            virtual_host: slash(),
            name: name(id),
        },
        Declaration::Bind(exchange, queue) => Definition::Bound(binding(exchange, queue)),
        Declaration::Unbind(exchange, queue) => Definition::Unbound(binding(exchange, queue)),
    }
}

fn parse(name: &[u8]) -> u64 {
    std::str::from_utf8(name).unwrap().parse().unwrap()
}
