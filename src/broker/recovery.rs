//! A broker that survives: what it writes down, and how it comes back from that.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use super::Core;
use super::attempts::NotedAttempts;
use super::deduplication::RecoveredKeys;
use super::delays::DELAY_QUEUE_PREFIX;
use super::event::EVENT_EXCHANGE;
use super::journal::{
    Definition, Journal, Note, NoteKind, QueueId, StoredBinding, StoredDestination, StoredExchange,
    StoredQueue,
};
use super::log_exchange::LOG_EXCHANGE;
use super::message::{Attributes, MessageId};
use super::queue::{Entry, Ids, PackedIds, Queue, QueueKey};
use super::schedule::Task;
use super::topology::binding::{BindRequest, Binding, Destination};
use super::topology::exchange::{Exchange, ExchangeDeclaration};
use super::topology::queue::QueueDeclaration;
use super::virtual_host::VirtualHostKey;
use crate::slots::Key;

/// The messages of a durable queue as they were when the broker was stopped.
pub struct RecoveredMessages {
    pub queue: QueueId,
    pub messages: PackedIds,
    /// Those that may have been delivered, and perhaps others that are not there any more.
    pub redelivered: PackedIds,
    /// All up to this one may have been delivered.
    pub redelivered_up_to: Option<MessageId>,
}

/// Walks over the messages of one recovered queue.
struct Reader<'a> {
    key: QueueKey,
    messages: Ids<'a>,
    /// By priority, in a queue that has them.
    urgent: BTreeMap<u8, PackedIds>,
    /// Those that wait for another try.
    put_off: Vec<PutOff>,
}

/// What is noted about messages that were given back.
#[derive(Default)]
pub struct RecoveredFailures {
    noted: BTreeMap<(QueueId, MessageId), NotedAttempts>,
}

impl RecoveredFailures {
    /// Takes a note of [`NoteKind::Failure`](super::journal::NoteKind); one that is no such note is
    /// passed over.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let key = Note::read_failure_key(key);
        if let Some((key, noted)) = key.zip(NotedAttempts::decode(value)) {
            self.noted.insert(key, noted);
        }
    }
}

/// A message that waits for another try.
struct PutOff {
    until_ms: u64,
    entry: Entry,
    expires_ms: Option<u64>,
}

impl<'a> Reader<'a> {
    fn new(key: QueueKey, queue: &Queue, recovered: &'a RecoveredMessages) -> Self {
        let mut urgent = BTreeMap::new();
        if queue.arguments.priority_max.is_some() {
            urgent.insert(0, PackedIds::default());
        }
        Reader {
            key,
            messages: recovered.messages.iter(),
            urgent,
            put_off: Vec::new(),
        }
    }

    fn take(
        &mut self,
        message: MessageId,
        attributes: Attributes,
        queue: &mut Queue,
        failures: &mut RecoveredFailures,
    ) {
        queue.ready.body_bytes += u64::from(attributes.body_size);
        let max = queue.arguments.priority_max.unwrap_or(0);
        let priority = attributes.priority.min(max);
        if !self.urgent.is_empty() {
            self.urgent.entry(priority).or_default().push(message);
        }
        let entry = Entry::with_priority(message, priority);
        let expires_ms = queue.expiry(attributes.arrived_ms, attributes.expiration_ms);
        if let Some(expires_ms) = expires_ms {
            queue.has_memory = true;
            let lifetimes = queue.lifetimes.get_or_insert_default();
            lifetimes.recover(expires_ms, entry);
        }
        if !failures.noted.is_empty()
            && let Some(id) = queue.id
            && let Some(noted) = failures.noted.remove(&(id, message))
        {
            queue.has_memory = true;
            queue.attempts.insert(message, noted.attempts);
            if noted.until_ms > 0 {
                self.put_off.push(PutOff {
                    until_ms: noted.until_ms,
                    entry,
                    expires_ms,
                });
            }
        }
    }
}

impl Core {
    /// New messages get ids from here on. Comes before messages are recovered, which have older ones.
    pub fn begin_messages(&mut self, next: MessageId) {
        self.messages.begin_at(next);
    }

    /// From now on what must survive is written down. Comes after everything was recovered.
    pub fn begin_journal(&mut self, next_queue: QueueId) {
        self.next_queue_id = next_queue.0.max(self.next_window_id);
        self.journal = Some(Journal {
            notes: std::mem::take(&mut self.outdated_notes),
            ..Journal::default()
        });
        self.begin_windows();
        self.redefined = false;
    }

    /// What was written down since last asked.
    pub fn take_journal(&mut self) -> Journal {
        // Who asks for an answer from now on waits for no change that came before: there may be no
        // batch after this one for a long time.
        self.redefined = false;
        match &mut self.journal {
            Some(journal) => journal.take(),
            None => Journal::default(),
        }
    }

    /// Whether there is something to take.
    pub fn has_journal(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| !journal.is_empty())
    }

    /// Bytes of messages written down and not taken.
    pub fn journal_bytes(&self) -> usize {
        self.journal
            .as_ref()
            .map_or(0, |journal| journal.messages.len())
    }

    /// The first message that is written down and not taken.
    pub fn first_journaled(&self) -> Option<MessageId> {
        self.journal.as_ref().and_then(Journal::first_message)
    }

    /// Somebody waits for what is written down to be stored.
    pub fn await_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.awaited = true;
        }
    }

    /// Whether the commands since last asked changed what is declared in a way that must survive.
    pub fn take_redefined(&mut self) -> bool {
        std::mem::take(&mut self.redefined)
    }

    /// Declares again what was declared when the broker was stopped. `Err` says what does not fit.
    pub fn recover_definition(&mut self, definition: &Definition) -> Result<(), String> {
        debug_assert!(self.journal.is_none(), "it would be written down again");
        match definition {
            Definition::ExchangeDeclared(exchange) => self.recover_exchange(exchange),
            Definition::QueueDeclared(queue) => self.recover_queue(queue),
            Definition::Bound(binding) => self.recover_binding(binding),
            Definition::ExchangeDeleted { .. }
            | Definition::QueueDeleted { .. }
            | Definition::Unbound(_) => Err("only what exists can be recovered".to_owned()),
        }
    }

    /// Gives recovered queues their messages. `attributes` are those of all messages, ascending.
    pub fn recover_messages(
        &mut self,
        queues: Vec<RecoveredMessages>,
        attributes: impl Iterator<Item = (MessageId, Attributes)>,
        mut failures: RecoveredFailures,
        mut keys: RecoveredKeys,
    ) {
        let queues = queues.into_iter().filter_map(|recovered| {
            let key = *self.queue_ids.get(&recovered.queue)?;
            Some((key, recovered))
        });
        let queues: Vec<_> = queues.collect();
        let mut readers: Vec<_> = queues
            .iter()
            .map(|(key, recovered)| Reader::new(*key, &self.traffic.queues[*key], recovered))
            .collect();
        // The queues in the order of their next messages.
        let mut next: BinaryHeap<_> = readers
            .iter_mut()
            .enumerate()
            .filter_map(|(at, reader)| Some(Reverse((reader.messages.next()?, at))))
            .collect();
        for (message, attributes) in attributes {
            self.messages.recover_size(message, attributes.body_size);
            while let Some(mut first) = next.peek_mut()
                && first.0.0 <= message
            {
                let Reverse((id, at)) = *first;
                let reader = &mut readers[at];
                if id == message {
                    let queue = &mut self.traffic.queues[reader.key];
                    reader.take(message, attributes, queue, &mut failures);
                    queue.recover_key(message, &mut keys);
                }
                match reader.messages.next() {
                    Some(id) => *first = Reverse((id, at)),
                    None => drop(PeekMut::pop(first)),
                }
            }
        }
        self.messages.recover_last_sizes();
        let readers = readers.into_iter();
        let found: Vec<_> = readers.map(|it| (it.urgent, it.put_off)).collect();
        for ((key, recovered), (urgent, put_off)) in queues.into_iter().zip(found) {
            self.fill_recovered(key, recovered, urgent);
            self.recover_put_off(key, put_off);
        }
        let outdated = failures.noted.into_keys().map(|(queue, message)| Note {
            kind: NoteKind::Failure,
            key: Note::failure_key(queue, message),
            value: None,
        });
        self.outdated_notes = outdated.chain(keys.into_outdated()).collect();
    }

    fn recover_put_off(&mut self, key: QueueKey, put_off: Vec<PutOff>) {
        let now_ms = self.now_ms;
        for it in put_off.into_iter().filter(|it| it.until_ms > now_ms) {
            let (until_ms, entry) = (it.until_ms, it.entry);
            let queue = &mut self.traffic.queues[key];
            if let Some(groups) = &mut queue.groups {
                groups.put_off(entry.message(), until_ms);
            } else if queue.ready.remove(entry).is_some() {
                // If its time passes meanwhile, that is seen when it comes back.
                queue.lend(entry.message(), it.expires_ms, true);
                self.uncount_body(key, entry.message());
                self.wait_until(key, entry, until_ms);
            }
        }
    }

    fn fill_recovered(
        &mut self,
        key: QueueKey,
        recovered: RecoveredMessages,
        lines: BTreeMap<u8, PackedIds>,
    ) {
        let ready = &mut self.traffic.queues[key].ready;
        let (redelivered, up_to) = (recovered.redelivered, recovered.redelivered_up_to);
        if lines.is_empty() {
            ready.recover(0, recovered.messages, redelivered, up_to);
        } else {
            for (priority, messages) in lines {
                ready.recover(priority, messages, redelivered.clone(), up_to);
            }
        }
        self.schedule_expiry(key);
        // Unacked messages are ready again, so there may be more than the queue may hold.
        let queue = &mut self.traffic.queues[key];
        if !queue.is_plain {
            let place = &mut queue.excess_due;
            self.schedule
                .set(place, Task::Excess(key), Some(self.now_ms));
        }
    }

    /// A block of messages as the store has it: how many queues hold which of its slots.
    pub fn recover_block(&mut self, block: u64, counts: impl IntoIterator<Item = (usize, u32)>) {
        self.messages.recover_block(block, counts);
    }

    /// Messages in durable queues that may have been delivered, for a broker that comes after this
    /// one.
    pub fn redelivered(&self) -> Vec<(QueueId, PackedIds)> {
        let mut all: Vec<_> = self
            .traffic
            .queues
            .iter()
            .filter_map(|(_, queue)| Some((queue.id?, queue.ready.redelivered())))
            .filter(|(_, ids)| !ids.is_empty())
            .collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    pub(super) fn define(&mut self, definition: Definition) {
        if let Some(journal) = &mut self.journal {
            journal.definitions.push(definition);
            journal.awaited = true;
            self.redefined = true;
        }
    }

    pub(super) fn define_binding(&mut self, binding: &Binding, bound: bool) {
        if self.journal.is_none() {
            return;
        }
        if let Some(stored) = self.stored_binding(binding) {
            self.define(match bound {
                true => Definition::Bound(stored),
                false => Definition::Unbound(stored),
            });
        }
    }

    /// The binding as the store keeps it, if both its ends survive.
    fn stored_binding(&self, binding: &Binding) -> Option<StoredBinding> {
        let source = self.exchanges.get(binding.source)?;
        let destination = match binding.destination {
            Destination::Queue(key) => StoredDestination::Queue(self.traffic.queues.get(key)?.id?),
            Destination::Exchange(key) => {
                let exchange = self.exchanges.get(key)?;
                exchange.durable.then_some(())?;
                StoredDestination::Exchange(exchange.name.as_bytes().into())
            }
        };
        source.durable.then(|| StoredBinding {
            virtual_host: self.virtual_host_name(source.virtual_host),
            source: source.name.as_bytes().into(),
            destination,
            routing_key: binding.routing_key.as_bytes().into(),
            arguments: binding.arguments.clone(),
        })
    }

    pub(super) fn stored_exchange(&self, exchange: &Exchange) -> StoredExchange {
        StoredExchange {
            virtual_host: self.virtual_host_name(exchange.virtual_host),
            name: exchange.name.as_bytes().into(),
            kind: exchange.router.type_name().as_bytes().into(),
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
        }
    }

    pub(super) fn virtual_host_name(&self, key: VirtualHostKey) -> Box<[u8]> {
        self.virtual_hosts[key].name.as_bytes().into()
    }

    fn recover_exchange(&mut self, exchange: &StoredExchange) -> Result<(), String> {
        let virtual_host = self.recovered_virtual_host(&exchange.virtual_host)?;
        if *exchange.name == *LOG_EXCHANGE {
            self.declare_log_exchange_in(virtual_host);
            return Ok(());
        }
        if *exchange.name == *EVENT_EXCHANGE {
            self.declare_event_exchange_in(virtual_host);
            return Ok(());
        }
        self.declare_exchange(&ExchangeDeclaration {
            virtual_host,
            name: &exchange.name,
            kind: &exchange.kind,
            durable: true,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.view(),
        })
        .map_err(|error| error.to_string())
    }

    fn recover_queue(&mut self, queue: &StoredQueue) -> Result<(), String> {
        let virtual_host = self.recovered_virtual_host(&queue.virtual_host)?;
        if queue.name.starts_with(DELAY_QUEUE_PREFIX) {
            let key = self.recovered_delay_queue(virtual_host, &queue.name);
            let key = key.map_err(|error| error.to_string())?;
            self.traffic.queues[key].id = Some(queue.id);
            self.queue_ids.insert(queue.id, key);
            return Ok(());
        }
        self.next_queue_id = queue.id.0;
        self.declare_queue(&QueueDeclaration {
            virtual_host,
            connection: Key::NONE,
            name: &queue.name,
            generated: true,
            durable: true,
            exclusive: false,
            auto_delete: queue.auto_delete,
            arguments: queue.arguments.view(),
        })
        .map_err(|error| error.to_string())?;
        let key = self.virtual_hosts[virtual_host].queues[&*queue.name];
        self.traffic.queues[key].id = Some(queue.id);
        self.queue_ids.insert(queue.id, key);
        Ok(())
    }

    fn recover_binding(&mut self, binding: &StoredBinding) -> Result<(), String> {
        let virtual_host = self.recovered_virtual_host(&binding.virtual_host)?;
        let destination = match &binding.destination {
            StoredDestination::Queue(id) => {
                let key = self.queue_ids.get(id).copied();
                Destination::Queue(key.ok_or("its queue is missing")?)
            }
            StoredDestination::Exchange(name) => {
                let key = self.exchange(virtual_host, name);
                Destination::Exchange(key.map_err(|error| error.to_string())?)
            }
        };
        let request = BindRequest {
            virtual_host,
            source: &binding.source,
            routing_key: &binding.routing_key,
            arguments: binding.arguments.view(),
        };
        let source = self.exchange(virtual_host, &binding.source);
        let source = source.map_err(|error| error.to_string())?;
        self.bind(source, destination, &request)
            .map_err(|error| error.to_string())
    }

    fn recovered_virtual_host(&self, name: &[u8]) -> Result<VirtualHostKey, String> {
        self.virtual_host(name).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::DEFAULT_VIRTUAL_HOST;
    use crate::wire::amqp::field_table::Table;

    #[test]
    fn a_change_that_was_taken_holds_up_no_later_answer() {
        let mut core = Core::new();
        core.begin_messages(MessageId::from_bits(0));
        core.begin_journal(QueueId(1));
        let virtual_host = core.virtual_host(DEFAULT_VIRTUAL_HOST.as_bytes()).unwrap();
        // Nobody waits for this: the queue could as well have gone with its last consumer.
        core.declare_queue(&QueueDeclaration {
            virtual_host,
            connection: Key::NONE,
            name: b"q",
            generated: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Table::EMPTY,
        })
        .unwrap();
        assert!(!core.take_journal().is_empty());
        assert!(!core.take_redefined());
    }
}
