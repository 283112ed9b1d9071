//! Exchanges, queues and bindings come and go.

use leveret::wire::amqp::{Method, OwnedTable, Table, Value, exchange, queue};

use super::connection::text;
use super::*;

impl Model {
    /// `None` if the method is not about exchanges and queues.
    pub(super) fn take_topology(&mut self, at: At, method: &Method<'_>) -> Option<Result<(), u16>> {
        Some(match method {
            Method::QueueDeclare(declare) => self.declare_queue(at, declare),
            Method::QueueBind(bind) => self.bind_queue(at, bind),
            Method::QueueUnbind(unbind) => self.unbind_queue(at, unbind),
            Method::QueuePurge(purge) => self.purge_queue(at, purge),
            Method::QueueDelete(delete) => self.delete_queue(at, delete),
            Method::ExchangeDeclare(declare) => self.declare_exchange(at, declare),
            Method::ExchangeDelete(delete) => self.delete_exchange(at, delete),
            Method::ExchangeBind(bind) => {
                let result = self
                    .check_ends(bind.source, bind.destination)
                    .and_then(|()| {
                        self.bind(Binding {
                            source: text(bind.source),
                            destination: Destination::Exchange(text(bind.destination)),
                            routing_key: text(bind.routing_key),
                            arguments: OwnedTable::from(bind.arguments),
                        })
                    });
                self.reply(at, bind.no_wait, result, &exchange::BindOk {})
            }
            Method::ExchangeUnbind(unbind) => {
                let source = if_there(self.check_exchange(unbind.source, true));
                let destination = if_there(self.check_exchange(unbind.destination, true));
                let result = source.and(destination).map(|()| {
                    self.unbind(&Binding {
                        source: text(unbind.source),
                        destination: Destination::Exchange(text(unbind.destination)),
                        routing_key: text(unbind.routing_key),
                        arguments: OwnedTable::from(unbind.arguments),
                    });
                });
                self.reply(at, unbind.no_wait, result, &exchange::UnbindOk {})
            }
            _ => return None,
        })
    }

    fn declare_queue(&mut self, at: At, declare: &queue::Declare<'_>) -> Result<(), u16> {
        let name = if declare.passive {
            // No name is a name here.
            let name = text(declare.queue);
            self.check_access(at.0, &name)?;
            name
        } else if declare.queue.is_empty() {
            let name = self.made_up(at, "amq.gen-", |method| match method {
                Method::QueueDeclareOk(ok) => Some(ok.queue),
                _ => None,
            });
            self.add_queue(at.0, &name, declare);
            name
        } else {
            let name = text(declare.queue);
            if name.starts_with("amq.") {
                return Err(403);
            }
            match self.queues.get(&name) {
                Some(queue) => check_same_queue(queue, at.0, declare)?,
                // Queues of this type survive.
                None if is_quorum(declare.arguments) && !declare.durable => return Err(406),
                None => self.add_queue(at.0, &name, declare),
            }
            name
        };
        self.renew_lease(&name);
        let queue = &self.queues[&name];
        let ok = queue::DeclareOk {
            queue: name.as_bytes(),
            message_count: queue.ready.len() as u32,
            consumer_count: queue.consumers.len() as u32,
        };
        let number = queue.number;
        self.reply(at, declare.no_wait, Ok(()), &ok)?;
        if !declare.no_wait {
            self.note_declare(at, number);
        }
        self.channel(at).last_queue = name;
        Ok(())
    }

    fn add_queue(&mut self, connection: usize, name: &str, declare: &queue::Declare<'_>) {
        let number = self.draw_number();
        let queue = Queue {
            number,
            durable: declare.durable && !declare.exclusive,
            auto_delete: declare.auto_delete,
            delays_for: None,
            owner: declare.exclusive.then_some(connection),
            ready: Vec::new(),
            consumers: Vec::new(),
            clock: 0,
            arguments: OwnedTable::from(declare.arguments),
            rules: self.rules_for(name, declare.arguments),
            delayed: Vec::new(),
            used_ms: self.now_ms,
            window: deduplication::Window::of(declare.arguments),
            sources: (0, BTreeSet::new()),
            stored_as: None,
        };
        self.queues.insert(name.to_owned(), queue);
    }

    fn bind_queue(&mut self, at: At, bind: &queue::Bind<'_>) -> Result<(), u16> {
        let name = self.queue_name(at, bind.queue)?;
        let routing_key = implied_key(&name, bind.queue, bind.routing_key);
        self.check_exchange(bind.exchange, true)?;
        self.check_access(at.0, &name)?;
        let result = self.bind(Binding {
            source: text(bind.exchange),
            destination: Destination::Queue(name),
            routing_key,
            arguments: OwnedTable::from(bind.arguments),
        });
        self.reply(at, bind.no_wait, result, &queue::BindOk {})
    }

    /// Only a binding that is there is looked at closer (RabbitMQ).
    fn unbind_queue(&mut self, at: At, unbind: &queue::Unbind<'_>) -> Result<(), u16> {
        let name = self.queue_name(at, unbind.queue)?;
        let routing_key = implied_key(&name, unbind.queue, unbind.routing_key);
        if_there(self.check_exchange(unbind.exchange, true))?;
        let gone = Binding {
            source: text(unbind.exchange),
            destination: Destination::Queue(name.clone()),
            routing_key,
            arguments: OwnedTable::from(unbind.arguments),
        };
        if self.bindings.iter().any(|binding| binding.is_same(&gone)) {
            self.check_access(at.0, &name)?;
            self.unbind(&gone);
        }
        self.reply(at, false, Ok(()), &queue::UnbindOk {})
    }

    fn purge_queue(&mut self, at: At, purge: &queue::Purge<'_>) -> Result<(), u16> {
        let name = self.queue_name(at, purge.queue)?;
        self.check_access(at.0, &name)?;
        let queue = self.queues.get_mut(&name).expect("access was checked");
        let (number, purged) = (queue.number, std::mem::take(&mut queue.ready));
        let message_count = purged.len() as u32;
        if !purge.no_wait {
            let numbers = purged.iter().map(|entry| (entry.message.number, number));
            self.note_purge(at, numbers.collect());
        }
        self.reply(at, purge.no_wait, Ok(()), &queue::PurgeOk { message_count })
    }

    fn delete_queue(&mut self, at: At, delete: &queue::Delete<'_>) -> Result<(), u16> {
        let name = self.queue_name(at, delete.queue)?;
        let mut message_count = 0;
        if let Some(queue) = self.queues.get(&name) {
            self.check_access(at.0, &name)?;
            let in_use = delete.if_unused && !queue.consumers.is_empty();
            let not_empty = delete.if_empty && !queue.ready.is_empty();
            if in_use || not_empty {
                return Err(406);
            }
            message_count = queue.ready.len() as u32;
            self.remove_queue(&name);
        }
        self.reply(
            at,
            delete.no_wait,
            Ok(()),
            &queue::DeleteOk { message_count },
        )
    }

    /// With its messages, consumers and bindings.
    pub(super) fn remove_queue(&mut self, name: &str) {
        let queue = self.queues.remove(name).expect("the caller found it");
        for consumer in queue.consumers {
            let peer = &self.connections[consumer.at.0];
            if peer.wants_cancels && !peer.is_doomed {
                self.step.cancels.insert((consumer.at, consumer.tag));
            }
        }
        self.unbind_destination(&Destination::Queue(name.to_owned()));
    }

    fn declare_exchange(&mut self, at: At, declare: &exchange::Declare<'_>) -> Result<(), u16> {
        let name = text(declare.exchange);
        if declare.passive {
            if name.is_empty() {
                return Err(403);
            }
            self.check_exchange(declare.exchange, false)?;
            return self.reply(at, declare.no_wait, Ok(()), &exchange::DeclareOk {});
        }
        let kind = text(declare.kind);
        if !KINDS.contains(&kind.as_str()) {
            return Err(503);
        }
        if name.is_empty() {
            return Err(403);
        }
        let alternate = match declare.arguments.get("alternate-exchange") {
            None => None,
            Some(Value::LongString(name)) => Some(text(name)),
            Some(_) => return Err(406),
        };
        match self.exchanges.get(&name) {
            Some(exchange) => {
                let same = exchange.kind == kind
                    && exchange.durable == declare.durable
                    && exchange.auto_delete == declare.auto_delete
                    && exchange.internal == declare.internal
                    && exchange.alternate == alternate;
                if !same {
                    return Err(406);
                }
            }
            None if name.starts_with("amq.") => return Err(403),
            None => {
                let exchange = Exchange {
                    arguments: OwnedTable::from(declare.arguments),
                    window: deduplication::Window::of(declare.arguments),
                    inner_kind: delays::inner_kind(&kind, declare.arguments),
                    kind,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    alternate,
                    hash_header: match declare.arguments.get("hash-header") {
                        Some(Value::LongString(name)) => Some(text(name)),
                        _ => None,
                    },
                };
                self.exchanges.insert(name.clone(), exchange);
                self.add_delay_queue(&name);
            }
        }
        self.reply(at, declare.no_wait, Ok(()), &exchange::DeclareOk {})
    }

    fn delete_exchange(&mut self, at: At, delete: &exchange::Delete<'_>) -> Result<(), u16> {
        let name = text(delete.exchange);
        if name.is_empty() || name.starts_with("amq.") {
            return Err(403);
        }
        if self.exchanges.contains_key(&name) {
            if delete.if_unused && self.bindings.iter().any(|binding| binding.source == name) {
                return Err(406);
            }
            self.remove_exchange(&name);
        }
        self.reply(at, delete.no_wait, Ok(()), &exchange::DeleteOk {})
    }

    fn remove_exchange(&mut self, name: &str) {
        if self.exchanges.remove(name).is_some() {
            self.bindings.retain(|binding| binding.source != name);
            self.unbind_destination(&Destination::Exchange(name.to_owned()));
            self.queues
                .retain(|_, queue| queue.delays_for.as_deref() != Some(name));
        }
    }

    fn bind(&mut self, binding: Binding) -> Result<(), u16> {
        let x_match = binding.arguments.view().get("x-match");
        let fits = x_match.is_none_or(|kind| {
            let kinds = ["all", "any", "all-with-x", "any-with-x"];
            kind.as_str().is_some_and(|kind| kinds.contains(&kind))
        });
        let is_weight = binding.routing_key == "1";
        match self.exchanges[&binding.source].kind.as_str() {
            "headers" if !fits => return Err(406),
            "x-consistent-hash" if !is_weight => return Err(406),
            _ => {}
        }
        if !self.bindings.iter().any(|other| other.is_same(&binding)) {
            self.bindings.push(binding);
        }
        Ok(())
    }

    fn unbind(&mut self, gone: &Binding) {
        let before = self.bindings.len();
        self.bindings.retain(|binding| !binding.is_same(gone));
        if self.bindings.len() < before {
            self.lost_a_binding(&gone.source);
        }
    }

    fn unbind_destination(&mut self, destination: &Destination) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.bindings)
            .into_iter()
            .partition(|binding| binding.destination == *destination);
        self.bindings = kept;
        for binding in gone {
            self.lost_a_binding(&binding.source);
        }
    }

    fn lost_a_binding(&mut self, source: &str) {
        let auto_delete = self.exchanges.get(source).is_some_and(|e| e.auto_delete);
        if auto_delete && !self.bindings.iter().any(|binding| binding.source == source) {
            self.remove_exchange(source);
        }
    }

    /// That one of them is the default exchange is said before that the other is not there.
    fn check_ends(&self, source: &[u8], destination: &[u8]) -> Result<(), u16> {
        if source.is_empty() || destination.is_empty() {
            return Err(403);
        }
        self.check_exchange(source, true)?;
        self.check_exchange(destination, true)
    }

    fn check_exchange(&self, name: &[u8], to_bind: bool) -> Result<(), u16> {
        if to_bind && name.is_empty() {
            return Err(403);
        }
        match self.exchanges.contains_key(&text(name)) {
            true => Ok(()),
            false => Err(404),
        }
    }

    /// The queue exists, and the connection may use it.
    pub(super) fn check_access(&self, connection: usize, name: &str) -> Result<(), u16> {
        match self.queues.get(name).ok_or(404_u16)?.owner {
            Some(owner) if owner != connection => Err(405),
            _ => Ok(()),
        }
    }

    /// No name means the queue declared last.
    pub(super) fn queue_name(&mut self, at: At, given: &[u8]) -> Result<String, u16> {
        let last = &self.channel(at).last_queue;
        match (given, last.as_str()) {
            (b"", "") => Err(404),
            (b"", last) => Ok(last.to_owned()),
            (given, _) => Ok(text(given)),
        }
    }

    fn reply(
        &mut self,
        at: At,
        no_wait: bool,
        result: Result<(), u16>,
        method: &impl EncodeMethod,
    ) -> Result<(), u16> {
        if result.is_ok() && !no_wait {
            self.answer(at.1, method);
        }
        result
    }
}

impl Binding {
    fn is_same(&self, other: &Binding) -> bool {
        let (ours, theirs): (Table<'_>, Table<'_>) =
            (self.arguments.view(), other.arguments.view());
        self.source == other.source
            && self.destination == other.destination
            && self.routing_key == other.routing_key
            && ours.same_entries(&theirs)
    }
}

/// What is not there needs no unbinding (RabbitMQ).
fn if_there(found: Result<(), u16>) -> Result<(), u16> {
    match found {
        Err(404) => Ok(()),
        found => found,
    }
}

fn check_same_queue(
    queue: &Queue,
    connection: usize,
    declare: &queue::Declare<'_>,
) -> Result<(), u16> {
    if queue.owner != declare.exclusive.then_some(connection) {
        return Err(405);
    }
    // What goes with its connection is not durable, whatever it says.
    let durable = declare.durable && !declare.exclusive;
    match (queue.durable, queue.auto_delete) == (durable, declare.auto_delete) {
        true => Ok(()),
        false => Err(406),
    }
}

pub(super) fn is_quorum(arguments: Table<'_>) -> bool {
    let kind = arguments.get("x-queue-type");
    kind.is_some_and(|kind| kind.as_str() == Some("quorum"))
}

/// RabbitMQ: neither queue nor key given means the name of the queue declared last for both.
fn implied_key(name: &str, given: &[u8], routing_key: &[u8]) -> String {
    match (given, routing_key) {
        (b"", b"") => name.to_owned(),
        (_, key) => text(key),
    }
}

const KINDS: [&str; 7] = [
    "x-delayed-message",
    "direct",
    "fanout",
    "topic",
    "headers",
    "x-consistent-hash",
    "x-modulus-hash",
];
