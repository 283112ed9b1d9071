//! What happens in the broker, for whoever listens: names and properties are those of RabbitMQ's plugin
//! `rabbitmq_event_exchange`.
//!
//! ```text
//!   a command --> Core::tell_* (tell) --> Events --> Core::take_events --> listeners, once a turn
//!                                                                     \--> amq.rabbitmq.event (exchange)
//! ```
//!
//! While nobody listens, whoever would tell an event asks one flag, and that is all. What is told is bounded
//! in number and in size: events beyond are counted and lost, as is what is too large in one of them.
//!
//! A connection's events are those of clients: what management does in passing is no connection.

mod exchange;
mod tell;

use super::Core;
use super::connection::ConnectionKey;
use super::name::Name;
use super::topology::exchange::ExchangeKey;
use crate::wire::amqp::field_table::{OwnedTable, TableBuilder, Value};

pub(super) use exchange::EVENT_EXCHANGE;
pub use tell::Login;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// RabbitMQ's, as in `queue.created`.
    pub name: &'static str,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    pub properties: OwnedTable,
}

/// What has happened since somebody took it, and who would like to know.
#[derive(Default)]
pub(super) struct Events {
    /// Somebody listens, or the exchange has bindings.
    are_heard: bool,
    has_listeners: bool,
    /// `amq.rabbitmq.event`, if it is there and wanted.
    exchange: Option<ExchangeKey>,
    /// On whose account the events of the command at hand are.
    actor: Option<Name>,
    happened: Vec<Event>,
    /// Of their properties.
    bytes: usize,
}

impl Core {
    /// Whether events are worth their telling.
    #[inline]
    pub fn tells_events(&self) -> bool {
        self.events.are_heard
    }

    /// Whether somebody listens beside the exchange.
    pub fn set_event_listeners(&mut self, has_listeners: bool) {
        self.events.has_listeners = has_listeners;
        self.review_event_hearing();
    }

    /// Whether [`Core::take_events`] has some.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.happened.is_empty()
    }

    /// What has happened, in its order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.bytes = 0;
        std::mem::take(&mut self.events.happened)
    }

    /// The events of what comes now are on this user's account (RabbitMQ: `user_who_performed_action`);
    /// nobody's with an empty name.
    pub fn act_as(&mut self, user: &[u8]) {
        if self.tells_events() {
            self.events.actor = (!user.is_empty()).then(|| Name::from(user));
        }
    }

    /// The same for the user of a connection.
    #[inline]
    pub fn act_for(&mut self, connection: ConnectionKey) {
        if self.tells_events() {
            let connection = self.connections.get(connection);
            self.events.actor = connection.map(|connection| connection.user.clone());
        }
    }

    /// The bindings of the exchange for events may have changed, or whether there is one.
    fn review_event_hearing(&mut self) {
        let exchange = self.events.exchange.and_then(|key| self.exchanges.get(key));
        let is_bound = exchange.is_some_and(|exchange| !exchange.outgoing.is_empty());
        self.events.are_heard = is_bound || self.events.has_listeners;
        if !self.events.are_heard {
            self.events.actor = None;
        }
    }

    /// Notes an event with who did it. `properties` may be larger than what is kept of them.
    fn tell(&mut self, name: &'static str, mut properties: TableBuilder) {
        let events = &mut self.events;
        let actor = events.actor.as_deref().unwrap_or(NOBODY);
        properties.put("user_who_performed_action", actor);
        if properties.view().as_bytes().len() > EVENT_BYTES_MAX {
            properties = without_large(&properties);
        }
        let bytes = properties.view().as_bytes().len();
        if events.happened.len() >= EVENTS_MAX || events.bytes + bytes > BYTES_MAX {
            self.counters.events_lost += 1;
            return;
        }
        events.bytes += bytes;
        self.counters.events += 1;
        events.happened.push(Event {
            name,
            at_ms: self.now_ms,
            properties: properties.finish(),
        });
    }
}

/// What is left without the entries that are large, be they tables or text.
fn without_large(properties: &TableBuilder) -> TableBuilder {
    let mut rest = TableBuilder::new();
    for (name, value) in properties.view().iter() {
        let size = match value {
            Value::Table(table) => table.as_bytes().len(),
            Value::Array(array) => array.as_bytes().len(),
            Value::LongString(text) | Value::Binary(text) => text.len(),
            _ => 0,
        };
        if size <= VALUE_BYTES_MAX {
            rest.put(name, value);
        }
    }
    rest
}

/// Who does what happens by itself (RabbitMQ: the internal user).
const NOBODY: &[u8] = b"rmq-internal";
/// Events of one turn.
const EVENTS_MAX: usize = 4096;
/// And all their properties.
const BYTES_MAX: usize = 4 << 20;
/// Properties of one event, before anything is left out.
const EVENT_BYTES_MAX: usize = 4096;
/// What an entry of a larger event may have.
const VALUE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_noted_while_nobody_listens() {
        let mut core = Core::new();
        core.add_virtual_host(b"before").unwrap();
        assert!(!core.tells_events() && !core.has_events());
        core.set_event_listeners(true);
        core.act_as(b"guest");
        core.add_virtual_host(b"test").unwrap();
        let events = core.take_events();
        let names: Vec<_> = events.iter().map(|event| event.name).collect();
        assert_eq!(names[..7], ["exchange.created"; 7]);
        assert_eq!(names[7..], ["vhost.created"]);
        let properties = events[7].properties.view();
        assert_eq!(properties.get("name"), Some(Value::string("test")));
        let actor = properties.get("user_who_performed_action");
        assert_eq!(actor, Some(Value::string("guest")));
        core.set_event_listeners(false);
        core.add_virtual_host(b"after").unwrap();
        assert!(!core.has_events());
        assert_eq!(core.counters.events, 8);
    }

    #[test]
    fn a_large_event_loses_what_is_large_in_it() {
        let mut core = Core::new();
        core.set_event_listeners(true);
        let large = vec![b'x'; EVENT_BYTES_MAX];
        let mut properties = TableBuilder::new();
        properties.put("name", "q").put("text", &large[..]);
        core.tell("queue.created", properties);
        let events = core.take_events();
        let properties = events[0].properties.view();
        assert!(properties.get("name").is_some() && properties.get("text").is_none());
    }

    #[test]
    fn events_beyond_the_bound_are_counted_and_lost() {
        let mut core = Core::new();
        core.set_event_listeners(true);
        for _ in 0..EVENTS_MAX + 3 {
            core.tell("queue.created", TableBuilder::new());
        }
        assert_eq!(core.counters.events_lost, 3);
        assert_eq!(core.take_events().len(), EVENTS_MAX);
        core.tell("queue.created", TableBuilder::new());
        assert!(core.has_events());
    }
}
