//! RabbitMQ: the exchange `amq.rabbitmq.event`, to which events are published as messages. It is declared
//! when it is first wanted, and lasts.

use crate::broker::Core;
use crate::broker::error::Result;
use crate::broker::message::{Body, Message, PERSISTENT, Traits};
use crate::broker::outlet::Outlet;
use crate::broker::routing::Route;
use crate::broker::topology::exchange::{ExchangeDeclaration, ExchangeKey};
use crate::broker::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::Value;
use crate::wire::amqp::{Properties, Table, TableBuilder};

use super::Event;

impl Core {
    /// Publishes events from now on to the exchange of this virtual host, which is declared unless it is
    /// there; or to none.
    ///
    /// # Errors
    /// There is no such virtual host.
    pub fn publish_events_in(&mut self, virtual_host: Option<&[u8]>) -> Result<()> {
        self.events.exchange = None;
        if let Some(name) = virtual_host {
            let virtual_host = self.virtual_host(name)?;
            self.declare_event_exchange_in(virtual_host);
            self.events.exchange = Some(self.exchange(virtual_host, EVENT_EXCHANGE)?);
        }
        self.review_event_hearing();
        Ok(())
    }

    pub(in crate::broker) fn declare_event_exchange_in(&mut self, virtual_host: VirtualHostKey) {
        if self.exchange(virtual_host, EVENT_EXCHANGE).is_err() {
            self.declare_own_exchange(&ExchangeDeclaration {
                virtual_host,
                name: EVENT_EXCHANGE,
                kind: b"topic",
                durable: true,
                auto_delete: false,
                internal: true,
                arguments: Table::EMPTY,
            });
        }
    }

    /// The exchange was bound, or unbound: if it is that for events, they may be heard now.
    #[inline]
    pub(in crate::broker) fn on_bindings_changed(&mut self, source: ExchangeKey) {
        if self.events.exchange == Some(source) {
            self.review_event_hearing();
        }
    }

    /// Whether events go to an exchange with bindings.
    pub fn publishes_events(&self) -> bool {
        let exchange = self.events.exchange.and_then(|key| self.exchanges.get(key));
        exchange.is_some_and(|exchange| !exchange.outgoing.is_empty())
    }

    /// Publishes an event in RabbitMQ's form: its name is the routing key, its properties are the
    /// headers, and there is no body.
    pub fn publish_event(&mut self, event: &Event, outlet: &mut impl Outlet) {
        let Some(exchange) = self.events.exchange else {
            return;
        };
        let mut headers = TableBuilder::from_table(event.properties.view());
        let at_ms = i64::try_from(event.at_ms).unwrap_or(i64::MAX);
        headers.put("timestamp_in_ms", Value::Long(at_ms));
        let properties = Properties {
            headers: Some(headers.view()),
            delivery_mode: Some(PERSISTENT),
            timestamp: Some(event.at_ms / 1000),
            ..Properties::default()
        };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let message = Message {
            exchange: EVENT_EXCHANGE,
            routing_key: event.name.as_bytes(),
            properties: &encoded,
            body: Body::Slice(b""),
            arrived_ms: self.now_ms,
        };
        let mut route = Route::default();
        self.route(exchange, &[event.name.as_bytes()], &properties, &mut route);
        let traits = Traits {
            persistent: true,
            ..Traits::NONE
        };
        self.publish(&route, &message, &traits, outlet);
    }
}

pub(in crate::broker) const EVENT_EXCHANGE: &[u8] = b"amq.rabbitmq.event";
