//! Bindings: which messages of an exchange go to which queue or further exchange.

use std::rc::Rc;

use crate::broker::Core;
use crate::broker::connection::ConnectionKey;
use crate::broker::error::{Error, Result, named};
use crate::broker::exchange::{Identity, NewBinding};
use crate::broker::name::Name;
use crate::broker::queue::QueueKey;
use crate::broker::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder};

use super::exchange::ExchangeKey;

/// A queue or, as RabbitMQ's exchange to exchange bindings allow, another exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Queue(QueueKey),
    Exchange(ExchangeKey),
}

/// A binding is what it says: one with the same parts is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub source: ExchangeKey,
    pub destination: Destination,
    pub routing_key: Name,
    /// Sorted by key, so that their order makes no difference.
    pub arguments: OwnedTable,
}

/// What `queue.bind`, `exchange.bind` and their opposites ask for.
#[derive(Clone, Copy)]
pub struct BindRequest<'a> {
    pub virtual_host: VirtualHostKey,
    pub source: &'a [u8],
    pub routing_key: &'a [u8],
    pub arguments: Table<'a>,
}

impl Core {
    /// Binds a queue to an exchange; binding again is no error and changes nothing. If the exchange
    /// keeps a history, [`Core::replay`] is to be called.
    ///
    /// # Errors
    /// Source and queue must exist, and the connection must have access to the queue. The default
    /// exchange cannot be bound; the source's type must accept key and arguments.
    pub fn bind_queue(
        &mut self,
        request: &BindRequest<'_>,
        connection: ConnectionKey,
        queue: &[u8],
    ) -> Result<()> {
        let source = self.bindable_exchange(request.virtual_host, request.source)?;
        let queue = self.queue_for(request.virtual_host, connection, queue)?;
        self.act_for(connection);
        self.bind(source, Destination::Queue(queue), request)
    }

    /// Undoes [`Core::bind_queue`]. What does not exist needs no unbinding, be it the binding or one of
    /// its ends (RabbitMQ). An auto-delete exchange goes with the last of its bindings.
    pub fn unbind_queue(
        &mut self,
        request: &BindRequest<'_>,
        connection: ConnectionKey,
        queue: &[u8],
    ) -> Result<()> {
        let source = self.bindable_exchange(request.virtual_host, request.source);
        let Some(source) = existing(source)? else {
            return Ok(());
        };
        let queues = &self.virtual_hosts[request.virtual_host].queues;
        let Some(&key) = queues.get(queue) else {
            return Ok(());
        };
        let binding = Binding::new(source, Destination::Queue(key), request);
        if self.exchanges[source].outgoing.contains(&binding) {
            self.queue_for(request.virtual_host, connection, queue)?;
            self.act_for(connection);
            self.unbind(&binding);
        }
        Ok(())
    }

    /// Binds an exchange to another (RabbitMQ: exchange to exchange bindings).
    pub fn bind_exchange(&mut self, request: &BindRequest<'_>, destination: &[u8]) -> Result<()> {
        let source = self.bindable_exchange(request.virtual_host, request.source)?;
        let destination = self.bindable_exchange(request.virtual_host, destination)?;
        self.bind(source, Destination::Exchange(destination), request)
    }

    /// Undoes [`Core::bind_exchange`].
    pub fn unbind_exchange(&mut self, request: &BindRequest<'_>, destination: &[u8]) -> Result<()> {
        let source = existing(self.bindable_exchange(request.virtual_host, request.source))?;
        let destination = existing(self.bindable_exchange(request.virtual_host, destination))?;
        if let (Some(source), Some(destination)) = (source, destination) {
            let destination = Destination::Exchange(destination);
            self.unbind(&Binding::new(source, destination, request));
        }
        Ok(())
    }

    /// The bindings from an exchange to a queue or another exchange, in no order that means anything.
    /// Walks over those of the end that has fewer.
    pub fn bindings_between(
        &self,
        source: ExchangeKey,
        destination: Destination,
    ) -> Vec<Rc<Binding>> {
        let outgoing = self.exchanges.get(source).map(|source| &source.outgoing);
        let incoming = match destination {
            Destination::Queue(key) => self.traffic.queues.get(key).map(|queue| &queue.bindings),
            Destination::Exchange(key) => self.exchanges.get(key).map(|to| &to.incoming),
        };
        let (Some(outgoing), Some(incoming)) = (outgoing, incoming) else {
            return Vec::new();
        };
        let fewer = match outgoing.len() < incoming.len() {
            true => outgoing,
            false => incoming,
        };
        let between = fewer
            .iter()
            .filter(|binding| binding.source == source && binding.destination == destination);
        between.cloned().collect()
    }

    pub(in crate::broker) fn bind(
        &mut self,
        source_key: ExchangeKey,
        destination: Destination,
        request: &BindRequest<'_>,
    ) -> Result<()> {
        let identity = self.identity(destination);
        let source = &mut self.exchanges[source_key];
        source
            .router
            .check_binding(request.routing_key, request.arguments)
            .map_err(Error::PreconditionFailed)?;
        let binding = Rc::new(Binding::new(source_key, destination, request));
        if !source.outgoing.insert(Rc::clone(&binding)) {
            return Ok(());
        }
        source.router.bind(&NewBinding {
            key: &binding.routing_key,
            arguments: binding.arguments.view(),
            destination,
            identity,
        });
        if let Some(incoming) = self.incoming(destination) {
            incoming.insert(Rc::clone(&binding));
        }
        self.generation += 1;
        self.define_binding(&binding, true);
        self.on_bindings_changed(source_key);
        if self.tells_events() {
            self.tell_binding("binding.created", &binding);
        }
        self.begin_replay(source_key, destination);
        Ok(())
    }

    /// What the destination is known by over restarts.
    fn identity(&self, destination: Destination) -> Identity {
        match destination {
            Destination::Queue(key) => Identity::new("queue", &self.traffic.queues[key].name),
            Destination::Exchange(key) => Identity::new("exchange", &self.exchanges[key].name),
        }
    }

    fn unbind(&mut self, binding: &Binding) {
        if let Some(incoming) = self.incoming(binding.destination)
            && incoming.remove(binding)
        {
            self.define_binding(binding, false);
            if self.tells_events() {
                self.tell_binding("binding.deleted", binding);
            }
        }
        if let Some(emptied) = self.remove_outgoing(binding) {
            self.remove_exchange(emptied);
        }
    }

    fn bindable_exchange(&self, virtual_host: VirtualHostKey, name: &[u8]) -> Result<ExchangeKey> {
        if name.is_empty() {
            return Err(super::exchange::not_on_default_exchange());
        }
        self.exchange(virtual_host, name)
    }

    /// Takes the binding out of its source, and returns that if it has to go with its last binding.
    #[must_use]
    pub(super) fn remove_outgoing(&mut self, binding: &Binding) -> Option<ExchangeKey> {
        let source = self.exchanges.get_mut(binding.source)?;
        if !source.outgoing.remove(binding) {
            return None;
        }
        source.router.unbind(
            &binding.routing_key,
            binding.arguments.view(),
            binding.destination,
        );
        self.generation += 1;
        let is_over = source.auto_delete && source.outgoing.is_empty();
        self.on_bindings_changed(binding.source);
        is_over.then_some(binding.source)
    }

    pub(super) fn incoming(&mut self, destination: Destination) -> Option<&mut super::BindingSet> {
        match destination {
            Destination::Queue(key) => Some(&mut self.traffic.queues.get_mut(key)?.bindings),
            Destination::Exchange(key) => Some(&mut self.exchanges.get_mut(key)?.incoming),
        }
    }
}

impl Binding {
    fn new(source: ExchangeKey, destination: Destination, request: &BindRequest<'_>) -> Self {
        Binding {
            source,
            destination,
            routing_key: Name::from(request.routing_key),
            arguments: sorted(request.arguments),
        }
    }
}

/// The text for a queue or exchange that is not there.
pub(in crate::broker) fn missing(kind: &str, name: &[u8], virtual_host: &[u8]) -> Error {
    Error::NotFound(format!("no {}", named(kind, name, virtual_host)))
}

/// What was looked up, or `None` if it is not there.
fn existing<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(Error::NotFound(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// The table with its entries in the order of their keys.
fn sorted(table: Table<'_>) -> OwnedTable {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut sorted = TableBuilder::new();
    for (key, value) in entries {
        sorted.put(key, value);
    }
    sorted.finish()
}
