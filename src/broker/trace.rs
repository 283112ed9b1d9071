//! RabbitMQ: firehose. While a virtual host is traced, all that clients publish in it and all that is
//! delivered from its queues is published once more, to its exchange `amq.rabbitmq.trace`.
//!
//! It costs nothing while it is off: published messages of a traced virtual host never take the short
//! way (no route is remembered), and its consumers are [watched](super::consumer::Consumer::watched).
//! What is traced is not traced again. It is not stored, and does not last longer than the broker.

use super::Core;
use super::channel::ChannelKey;
use super::connection::ConnectionKey;
use super::dead_letter::history::shown_keys;
use super::error::Result;
use super::message::{Message, OwnedMessage, Traits};
use super::name::Name;
use super::outlet::{Effect, Outlet};
use super::queue::QueueKey;
use super::routing::Route;
use super::traffic::Traffic;
use super::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::Value;
use crate::wire::amqp::properties::Properties;
use crate::wire::amqp::{ArrayBuilder, TableBuilder};

/// A delivery to be traced when the command that caused it is done.
#[derive(Debug, PartialEq, Eq)]
pub struct TracedDelivery {
    /// Of the receiver.
    connection: ConnectionKey,
    channel: u16,
    queue: Name,
    redelivered: bool,
    message: OwnedMessage,
}

/// What a client published, as it is routed.
pub struct TracedPublish<'a> {
    pub channel: ChannelKey,
    /// Its own routing key, then those of its CC and BCC headers.
    pub keys: &'a [&'a [u8]],
    pub properties: &'a Properties<'a>,
    pub message: &'a Message<'a>,
    pub route: &'a Route,
}

/// What is told of a message besides itself.
struct Report<'a> {
    connection: ConnectionKey,
    channel: u16,
    keys: &'a [&'a [u8]],
    properties: &'a Properties<'a>,
    event: Event<'a>,
}

enum Event<'a> {
    Published { route: &'a Route },
    Delivered { queue: &'a [u8], redelivered: bool },
}

impl Core {
    /// Begins or ends the tracing of a virtual host (RabbitMQ: `rabbitmqctl trace_on`, `trace_off`).
    ///
    /// # Errors
    /// There is no such virtual host.
    pub fn set_tracing(&mut self, virtual_host: &[u8], traced: bool) -> Result<()> {
        let key = self.virtual_host(virtual_host)?;
        let virtual_host = &mut self.virtual_hosts[key];
        if virtual_host.traced == traced {
            return Ok(());
        }
        virtual_host.traced = traced;
        for queue in virtual_host.queues.values() {
            for consumer in self.traffic.queues[*queue].dispatch.consumers() {
                self.traffic.consumers[consumer].set_traced(traced);
            }
        }
        self.generation += 1;
        Ok(())
    }

    pub fn is_traced(&self, virtual_host: VirtualHostKey) -> bool {
        self.virtual_hosts[virtual_host].traced
    }

    /// Traces a message that a client publishes in a traced virtual host.
    pub fn trace_publish(&mut self, publish: &TracedPublish<'_>, outlet: &mut impl Outlet) {
        let channel = &self.traffic.channels[publish.channel];
        let report = Report {
            connection: channel.connection,
            channel: channel.number,
            keys: publish.keys,
            properties: publish.properties,
            event: Event::Published {
                route: publish.route,
            },
        };
        self.publish_trace(&report, publish.message, outlet);
    }

    /// Traces a delivery that was made.
    pub fn trace_delivery(&mut self, delivery: &TracedDelivery, outlet: &mut impl Outlet) {
        let message = delivery.message.message();
        let Ok(properties) = Properties::decode(message.properties) else {
            return;
        };
        // Those of BCC are gone for good.
        let keys = shown_keys(&message, &properties);
        let report = Report {
            connection: delivery.connection,
            channel: delivery.channel,
            keys: &keys,
            properties: &properties,
            event: Event::Delivered {
                queue: &delivery.queue,
                redelivered: delivery.redelivered,
            },
        };
        self.publish_trace(&report, &message, outlet);
    }

    fn publish_trace(
        &mut self,
        report: &Report<'_>,
        original: &Message<'_>,
        outlet: &mut impl Outlet,
    ) {
        // A receiver that is gone by now.
        let Some(connection) = self.connections.get(report.connection) else {
            return;
        };
        let virtual_host = connection.virtual_host;
        let Ok(exchange) = self.exchange(virtual_host, TRACE_EXCHANGE) else {
            return;
        };
        let headers = self.trace_headers(report, original);
        let mut properties = Vec::new();
        let traced = Properties {
            headers: Some(headers.view()),
            ..Properties::default()
        };
        traced.encode(&mut properties);
        let routing_key = report.event.routing_key(original.exchange);
        let message = Message {
            exchange: TRACE_EXCHANGE,
            routing_key: &routing_key,
            properties: &properties,
            ..*original
        };
        let mut route = Route::default();
        self.route(exchange, &[&routing_key], &traced, &mut route);
        self.publish(&route, &message, &Traits::default(), outlet);
    }

    /// In RabbitMQ's order and types.
    fn trace_headers(&self, report: &Report<'_>, original: &Message<'_>) -> TableBuilder {
        let connection = &self.connections[report.connection];
        let virtual_host = &self.virtual_hosts[connection.virtual_host].name;
        let mut headers = TableBuilder::new();
        headers.put("exchange_name", Value::LongString(original.exchange));
        headers.put_array("routing_keys", &strings(report.keys.iter().copied()));
        headers.put_table("properties", &property_table(report.properties));
        headers.put("node", Value::LongString(&self.node_name));
        if let Event::Delivered { redelivered, .. } = report.event {
            headers.put("redelivered", Value::SignedInt(redelivered.into()));
        }
        headers.put("vhost", Value::LongString(virtual_host));
        headers.put("connection", Value::LongString(&connection.name));
        headers.put("channel", Value::SignedInt(report.channel.into()));
        headers.put("user", Value::LongString(&connection.user));
        if let Event::Published { route } = report.event {
            let queues = route.queues.iter();
            let names = queues.filter_map(|key| Some(&*self.traffic.queues.get(*key)?.name));
            headers.put_array("routed_queues", &strings(names));
        }
        headers
    }
}

impl Traffic {
    /// Notes a delivery of a traced virtual host, unless it is that of a trace.
    #[cold]
    pub fn note_traced(
        &mut self,
        channel: ChannelKey,
        queue: QueueKey,
        redelivered: bool,
        message: &Message<'_>,
    ) {
        if message.exchange == TRACE_EXCHANGE {
            return;
        }
        let channel = &self.channels[channel];
        let delivery = TracedDelivery {
            connection: channel.connection,
            channel: channel.number,
            queue: self.queues[queue].name.clone(),
            redelivered,
            message: OwnedMessage::of(message),
        };
        self.effects.push(Effect::Traced(Box::new(delivery)));
    }
}

impl Event<'_> {
    /// `publish.` and the exchange, or `deliver.` and the queue, cut to what a routing key may have.
    fn routing_key(&self, exchange: &[u8]) -> Vec<u8> {
        let mut key = match self {
            Event::Published { .. } => [b"publish.", exchange].concat(),
            Event::Delivered { queue, .. } => [b"deliver.", *queue].concat(),
        };
        if key.len() > ROUTING_KEY_MAX {
            let is_between_characters = |at: &usize| key[*at] & 0xc0 != 0x80;
            let end = (0..=ROUTING_KEY_MAX).rev().find(is_between_characters);
            key.truncate(end.unwrap_or(ROUTING_KEY_MAX));
        }
        key
    }
}

fn strings<'a>(values: impl Iterator<Item = &'a [u8]>) -> ArrayBuilder {
    let mut array = ArrayBuilder::new();
    for value in values {
        array.push(Value::LongString(value));
    }
    array
}

/// The properties that are set, by name, from the last to the first.
fn property_table(properties: &Properties<'_>) -> TableBuilder {
    let number = |value: u64| match i32::try_from(value) {
        Ok(small) => Value::SignedInt(small),
        Err(_) => Value::Long(i64::try_from(value).unwrap_or(i64::MAX)),
    };
    let string = |value| Option::map(value, Value::LongString);
    let small = |value: Option<u8>| value.map(|value| number(value.into()));
    let mut table = TableBuilder::new();
    for (name, value) in [
        ("cluster_id", string(properties.cluster_id)),
        ("app_id", string(properties.app_id)),
        ("user_id", string(properties.user_id)),
        ("type", string(properties.kind)),
        ("timestamp", properties.timestamp.map(number)),
        ("message_id", string(properties.message_id)),
        ("expiration", string(properties.expiration)),
        ("reply_to", string(properties.reply_to)),
        ("correlation_id", string(properties.correlation_id)),
        ("priority", small(properties.priority)),
        ("delivery_mode", small(properties.delivery_mode)),
        ("headers", properties.headers.map(Value::Table)),
        ("content_encoding", string(properties.content_encoding)),
        ("content_type", string(properties.content_type)),
    ] {
        if let Some(value) = value {
            table.put(name, value);
        }
    }
    table
}

const TRACE_EXCHANGE: &[u8] = b"amq.rabbitmq.trace";
/// Bytes of a short string (AMQP 0-9-1 §4.2.5.3).
const ROUTING_KEY_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::Table;

    #[test]
    fn long_routing_keys_are_cut_between_characters() {
        let key = |queue: &str| {
            let event = Event::Delivered {
                queue: queue.as_bytes(),
                redelivered: false,
            };
            String::from_utf8(event.routing_key(b"x")).unwrap()
        };
        assert_eq!(key("q"), "deliver.q");
        assert_eq!(key(&"q".repeat(247)).len(), 255);
        assert_eq!(key(&"q".repeat(255)).len(), 255);
        assert_eq!(key(&format!("{}ü", "q".repeat(246))).len(), 254);
        assert_eq!(key(&format!("{}üü", "q".repeat(245))).len(), 255);
    }

    #[test]
    fn properties_are_told_by_name_with_rabbitmqs_types() {
        let properties = Properties {
            delivery_mode: Some(2),
            timestamp: Some(1 << 40),
            kind: Some(b"t"),
            headers: Some(Table::EMPTY),
            ..Properties::default()
        };
        let table = property_table(&properties);
        let entries: Vec<_> = table.view().iter().collect();
        assert_eq!(
            entries,
            [
                (&b"type"[..], Value::LongString(b"t")),
                (b"timestamp", Value::Long(1 << 40)),
                (b"delivery_mode", Value::SignedInt(2)),
                (b"headers", Value::Table(Table::EMPTY)),
            ]
        );
        assert!(property_table(&Properties::default()).view().is_empty());
    }
}
