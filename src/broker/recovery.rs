//! A broker that survives: what it writes down, and how it comes back from that.

use super::Core;
use super::journal::{
    Definition, Journal, QueueId, StoredBinding, StoredDestination, StoredExchange, StoredQueue,
};
use super::message::MessageId;
use super::queue::{PackedIds, Ready};
use super::topology::binding::{BindRequest, Binding, Destination};
use super::topology::exchange::{Exchange, ExchangeDeclaration};
use super::topology::queue::QueueDeclaration;
use super::virtual_host::VirtualHostKey;
use crate::slots::Key;

impl Core {
    /// From now on what must survive is written down. Comes after everything was recovered.
    pub fn begin_journal(&mut self, next_message: MessageId, next_queue: QueueId) {
        self.messages.begin_at(next_message);
        self.next_queue_id = next_queue.0;
        self.journal = Some(Journal::default());
        self.redefined = false;
    }

    /// What was written down since last asked.
    pub fn take_journal(&mut self) -> Journal {
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

    /// Gives a recovered queue its messages.
    pub fn recover_messages(
        &mut self,
        queue: QueueId,
        messages: PackedIds,
        redelivered: PackedIds,
        redelivered_up_to: Option<MessageId>,
    ) {
        if let Some(&key) = self.queue_ids.get(&queue) {
            self.traffic.queues[key].ready =
                Ready::recovered(messages, redelivered, redelivered_up_to);
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
