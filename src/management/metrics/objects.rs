//! Figures of each queue, connection, channel and exchange: `/metrics/per-object` and
//! `/metrics/detailed`, by RabbitMQ's families.

use std::sync::Arc;

use super::text::{Kind, Text};
use crate::broker::survey::{
    ChannelSurvey, ConnectionSurvey, ExchangeSurvey, Page, QueueSurvey, SLOTS_PER_PAGE,
};
use crate::management::call::PATIENCE;
use crate::management::http::Request;
use crate::management::{Management, Refusal};
use crate::protocol::{Hub, SocketTraffic};

/// What is wanted.
pub struct Families {
    prefix: &'static str,
    /// `None`: all.
    names: Option<Vec<String>>,
    /// Virtual hosts; empty: all.
    hosts: Arc<Vec<String>>,
}

impl Families {
    pub fn all(prefix: &'static str) -> Families {
        Families {
            prefix,
            names: None,
            hosts: Arc::default(),
        }
    }

    /// `?family=queue_coarse_metrics&family=...&vhost=...`; without a family, none.
    pub fn asked_for(request: &Request) -> Families {
        let all = |wanted: &str| {
            let values = request.query.iter().filter(|(name, _)| name == wanted);
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        Families {
            prefix: "rabbitmq_detailed_",
            names: Some(all("family")),
            hosts: Arc::new(all("vhost")),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.iter().any(|n| n == name))
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// What tells whether a virtual host is wanted, to take along to the loop.
    fn wants(&self) -> impl Fn(&[u8]) -> bool + Send + 'static {
        let hosts = Arc::clone(&self.hosts);
        move |host| hosts.is_empty() || hosts.iter().any(|wanted| wanted.as_bytes() == host)
    }
}

/// A figure of an object: family, name, kind, meaning, and where it is.
type Column<T> = (
    &'static str,
    &'static str,
    Kind,
    &'static str,
    fn(&T) -> u64,
);

pub fn write(management: &Management, families: &Families, text: &mut Text) -> Result<(), Refusal> {
    let mut queue_families: Vec<_> = QUEUES.iter().map(|column| column.0).collect();
    queue_families.push(LATENCY);
    if families.any(&queue_families) {
        let queues = all(management, families, |hub, from, wants| {
            hub.core.survey_queues(from, SLOTS_PER_PAGE, wants)
        })?;
        write_columns(&QUEUES, families, &queues, text, |queue| {
            vec![
                ("vhost", queue.virtual_host.clone()),
                ("queue", queue.name.clone()),
            ]
        });
        if families.has(LATENCY) {
            write_waits(&queues, text);
        }
    }
    if families.any(&["exchange_metrics", "channel_exchange_metrics"]) {
        let exchanges = all(management, families, |hub, from, wants| {
            hub.core.survey_exchanges(from, SLOTS_PER_PAGE, wants)
        })?;
        write_columns(&EXCHANGES, families, &exchanges, text, |exchange| {
            let name = exchange.name.clone();
            vec![("vhost", exchange.virtual_host.clone()), ("exchange", name)]
        });
    }
    let connection_families: Vec<_> = CONNECTIONS.iter().map(|column| column.0).collect();
    if families.any(&connection_families) {
        let connections = all(management, families, |hub, from, wants| {
            let page = hub
                .core
                .survey_connections(from, SLOTS_PER_PAGE, &|_, host| wants(host));
            let with = |it: ConnectionSurvey| {
                let traffic = hub.outboxes.traffic(it.socket);
                (it, traffic)
            };
            Page {
                items: page.items.into_iter().map(with).collect(),
                next: page.next,
            }
        })?;
        write_columns(&CONNECTIONS, families, &connections, text, |(it, _)| {
            vec![
                ("connection", it.name.clone()),
                ("vhost", it.virtual_host.clone()),
            ]
        });
    }
    let channel_families: Vec<_> = CHANNELS.iter().map(|column| column.0).collect();
    if families.any(&channel_families) {
        let channels = all(management, families, |hub, from, wants| {
            hub.core
                .survey_channels(from, SLOTS_PER_PAGE, &|_, host| wants(host))
        })?;
        write_columns(&CHANNELS, families, &channels, text, |it| {
            vec![("channel", it.name()), ("vhost", it.virtual_host.clone())]
        });
    }
    Ok(())
}

/// Everything of a kind, piece by piece.
fn all<T: Send + 'static>(
    management: &Management,
    families: &Families,
    look: impl Fn(&mut Hub, usize, &dyn Fn(&[u8]) -> bool) -> Page<T> + Send + Copy + 'static,
) -> Result<Vec<T>, Refusal> {
    let mut items = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let wants = families.wants();
        let page = management
            .broker
            .run(PATIENCE, move |hub| look(hub, from, &wants))?;
        items.extend(page.items);
        next = page.next;
    }
    Ok(items)
}

fn write_columns<T>(
    columns: &[Column<T>],
    families: &Families,
    items: &[T],
    text: &mut Text,
    labels: impl Fn(&T) -> Vec<(&'static str, String)>,
) {
    let labelled: Vec<_> = items.iter().map(|item| (item, labels(item))).collect();
    for (family, name, kind, help, figure) in columns {
        if !families.has(family) {
            continue;
        }
        let name = format!("{}{name}", families.prefix);
        text.head(&name, *kind, help);
        for (item, labels) in &labelled {
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, it)| (*name, it.as_str()))
                .collect();
            text.sample(&name, &labels, figure(item));
        }
    }
}

/// Ours, by the same name everywhere. Of queues that delivered something.
fn write_waits(queues: &[QueueSurvey], text: &mut Text) {
    let name = "leveret_queue_publish_to_deliver_seconds";
    let help = "From a message's arrival to its first delivery from this queue to a consumer";
    text.head(name, Kind::Histogram, help);
    let bucket = format!("{name}_bucket");
    for queue in queues {
        let waits = &queue.waits;
        if waits.total() == 0 {
            continue;
        }
        let labels = [
            ("vhost", queue.virtual_host.as_str()),
            ("queue", queue.name.as_str()),
        ];
        let [host, queue] = labels;
        for (bound_ms, count) in waits.below().step_by(WAIT_STEP) {
            let bound = (bound_ms as f64 / 1000.0).to_string();
            text.sample(&bucket, &[host, queue, ("le", &bound)], count);
        }
        text.sample(&bucket, &[host, queue, ("le", "+Inf")], waits.total());
        text.sample(
            &format!("{name}_sum"),
            &labels,
            waits.sum_ms() as f64 / 1000.0,
        );
        text.sample(&format!("{name}_count"), &labels, waits.total());
    }
}

/// Of the powers of two that are known: 1 ms, 4 ms, 16 ms, ... more than an hour.
const WAIT_STEP: usize = 2;

const LATENCY: &str = "queue_latency_metrics";
const COARSE: &str = "queue_coarse_metrics";
const DELIVERY: &str = "queue_delivery_metrics";
const FULL: &str = "queue_metrics";

const QUEUES: [Column<QueueSurvey>; 17] = [
    (
        COARSE,
        "queue_messages_ready",
        Kind::Gauge,
        "Messages ready to be delivered to consumers",
        |q| q.ready,
    ),
    (
        COARSE,
        "queue_messages_unacked",
        Kind::Gauge,
        "Messages delivered to consumers but not yet acknowledged",
        |q| q.unacked,
    ),
    (
        COARSE,
        "queue_messages",
        Kind::Gauge,
        "Sum of ready and unacknowledged messages - total queue depth",
        |q| q.ready + q.unacked,
    ),
    (
        "queue_consumer_count",
        "queue_consumers",
        Kind::Gauge,
        "Consumers on a queue",
        |q| q.consumers as u64,
    ),
    (
        FULL,
        "queue_messages_ready_bytes",
        Kind::Gauge,
        "Size in bytes of ready messages",
        |q| q.ready_bytes,
    ),
    (
        FULL,
        "queue_messages_unacked_bytes",
        Kind::Gauge,
        "Size in bytes of all unacknowledged messages",
        |q| q.unacked_bytes,
    ),
    (
        FULL,
        "queue_messages_bytes",
        Kind::Gauge,
        "Size in bytes of ready and unacknowledged messages",
        |q| q.ready_bytes + q.unacked_bytes,
    ),
    (
        FULL,
        "queue_messages_published_total",
        Kind::Counter,
        "Total number of messages published to this queue",
        |q| q.counters.published,
    ),
    (
        FULL,
        "queue_messages_expired_total",
        Kind::Counter,
        "Total number of messages that expired in this queue",
        |q| q.counters.expired,
    ),
    (
        FULL,
        "queue_messages_dropped_total",
        Kind::Counter,
        "Total number of messages that were beyond this queue's limits",
        |q| q.counters.dropped,
    ),
    (
        DELIVERY,
        "queue_get_ack_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |q| q.counters.gotten,
    ),
    (
        DELIVERY,
        "queue_get_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        |q| q.counters.gotten_no_ack,
    ),
    (
        DELIVERY,
        "queue_messages_delivered_ack_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |q| q.counters.delivered,
    ),
    (
        DELIVERY,
        "queue_messages_delivered_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        |q| q.counters.delivered_no_ack,
    ),
    (
        DELIVERY,
        "queue_messages_redelivered_total",
        Kind::Counter,
        "Total number of messages redelivered from a queue to consumers",
        |q| q.counters.redelivered,
    ),
    (
        DELIVERY,
        "queue_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers on a queue",
        |q| q.counters.acked,
    ),
    (
        DELIVERY,
        "queue_get_empty_total",
        Kind::Counter,
        "Total number of times basic.get operations fetched no message on a queue",
        |q| q.counters.get_empty,
    ),
];

const EXCHANGES: [Column<ExchangeSurvey>; 2] = [
    (
        "exchange_metrics",
        "exchange_messages_published_total",
        Kind::Counter,
        "Total number of messages published into an exchange",
        |x| x.published_in,
    ),
    (
        "exchange_metrics",
        "exchange_messages_routed_total",
        Kind::Counter,
        "Total number of copies that queues got from an exchange",
        |x| x.published_out,
    ),
];

type Connection = (ConnectionSurvey, SocketTraffic);
const CONNECTION: &str = "connection_coarse_metrics";

const CONNECTIONS: [Column<Connection>; 5] = [
    (
        CONNECTION,
        "connection_incoming_bytes_total",
        Kind::Counter,
        "Total number of bytes received on a connection",
        |(_, t)| t.received_bytes,
    ),
    (
        CONNECTION,
        "connection_outgoing_bytes_total",
        Kind::Counter,
        "Total number of bytes sent on a connection",
        |(_, t)| t.sent_bytes,
    ),
    (
        "connection_metrics",
        "connection_incoming_packets_total",
        Kind::Counter,
        "Total number of packets received on a connection",
        |(_, t)| t.reads,
    ),
    (
        "connection_metrics",
        "connection_outgoing_packets_total",
        Kind::Counter,
        "Total number of packets sent on a connection",
        |(_, t)| t.writes,
    ),
    (
        "connection_metrics",
        "connection_channels",
        Kind::Gauge,
        "Channels on a connection",
        |(it, _)| it.channels as u64,
    ),
];

const CHANNEL: &str = "channel_metrics";
const FLOW: &str = "channel_exchange_metrics";
const TAKEN: &str = "channel_queue_metrics";

const CHANNELS: [Column<ChannelSurvey>; 14] = [
    (
        CHANNEL,
        "channel_consumers",
        Kind::Gauge,
        "Consumers on a channel",
        |c| c.consumers as u64,
    ),
    (
        CHANNEL,
        "channel_messages_unacked",
        Kind::Gauge,
        "Delivered but not yet acknowledged messages",
        |c| c.unacked as u64,
    ),
    (
        CHANNEL,
        "channel_messages_unconfirmed",
        Kind::Gauge,
        "Published but not yet confirmed messages",
        ChannelSurvey::unconfirmed,
    ),
    (
        CHANNEL,
        "channel_messages_uncommitted",
        Kind::Gauge,
        "Messages received in a transaction but not yet committed",
        |c| u64::from(c.uncommitted.0),
    ),
    (
        CHANNEL,
        "channel_acks_uncommitted",
        Kind::Gauge,
        "Message acknowledgements in a transaction not yet committed",
        |c| u64::from(c.uncommitted.1),
    ),
    (
        CHANNEL,
        "channel_prefetch",
        Kind::Gauge,
        "Total limit of unacknowledged messages for all consumers on a channel",
        |c| u64::from(c.global_prefetch),
    ),
    (
        FLOW,
        "channel_messages_published_total",
        Kind::Counter,
        "Total number of messages published into an exchange on a channel",
        |c| c.counters.published,
    ),
    (
        FLOW,
        "channel_messages_confirmed_total",
        Kind::Counter,
        "Total number of messages published into an exchange and confirmed on the channel",
        |c| c.counters.confirmed,
    ),
    (
        FLOW,
        "channel_messages_unroutable_returned_total",
        Kind::Counter,
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |c| c.counters.returned,
    ),
    (
        FLOW,
        "channel_messages_unroutable_dropped_total",
        Kind::Counter,
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |c| c.counters.dropped,
    ),
    (
        TAKEN,
        "channel_messages_delivered_ack_total",
        Kind::Counter,
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |c| c.counters.delivered,
    ),
    (
        TAKEN,
        "channel_messages_delivered_total",
        Kind::Counter,
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |c| c.counters.delivered_no_ack,
    ),
    (
        TAKEN,
        "channel_messages_redelivered_total",
        Kind::Counter,
        "Total number of messages redelivered to consumers",
        |c| c.counters.redelivered,
    ),
    (
        TAKEN,
        "channel_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers",
        |c| c.counters.acked,
    ),
];
