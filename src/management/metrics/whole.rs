//! Figures of the whole broker.

use super::text::{Kind, Text};
use crate::broker::{ChannelCounters, Counters, Histogram, Inventory, SIZE_BOUNDS};
use crate::management::call::PATIENCE;
use crate::management::{Management, Refusal};
use crate::protocol::latency::Latencies;
use crate::protocol::{Now, Resources};

/// What the loop is asked for, in one look.
struct Look {
    inventory: Inventory,
    counters: Counters,
    totals: ChannelCounters,
    publishers: usize,
    resources: Resources,
    message_bytes: usize,
    latencies: Latencies,
    waits: Histogram,
    oldest_unacked_ms: Option<u64>,
}

/// Who we are, what went through, what the process takes up.
pub fn write(management: &Management, now: Now, text: &mut Text) -> Result<(), Refusal> {
    let look = look(management)?;
    write_identity(management, text);
    write_messages(&look, text);
    write_sizes(&look.counters, text);
    write_churn(&look.counters, text);
    write_process(management, &look, now, text);
    write_alarms(&look.resources, text);
    write_latencies(&look, text);
    Ok(())
}

/// Sums of what is reported for each object otherwise.
pub fn write_sums(management: &Management, text: &mut Text) -> Result<(), Refusal> {
    let Look {
        inventory,
        message_bytes,
        ..
    } = look(management)?;
    let all = inventory.messages_ready + inventory.messages_unacked;
    let gauges = [
        (
            "rabbitmq_queue_messages_ready",
            "Messages ready to be delivered to consumers",
            inventory.messages_ready,
        ),
        (
            "rabbitmq_queue_messages_unacked",
            "Messages delivered to consumers but not yet acknowledged",
            inventory.messages_unacked,
        ),
        (
            "rabbitmq_queue_messages",
            "Sum of ready and unacknowledged messages - total queue depth",
            all,
        ),
        (
            "rabbitmq_queue_consumers",
            "Consumers on a queue",
            inventory.consumers,
        ),
        (
            "rabbitmq_channel_consumers",
            "Consumers on a channel",
            inventory.consumers,
        ),
        (
            "rabbitmq_channel_messages_unacked",
            "Delivered but not yet acknowledged messages",
            inventory.messages_unacked,
        ),
        (
            "rabbitmq_connection_channels",
            "Channels on a connection",
            inventory.channels,
        ),
        (
            "leveret_messages_in_memory",
            "Messages held in memory",
            inventory.messages,
        ),
        (
            "leveret_message_memory_bytes",
            "Bytes that messages take up in memory",
            message_bytes,
        ),
    ];
    for (name, help, value) in gauges {
        text.single(name, Kind::Gauge, help, value);
    }
    Ok(())
}

/// Where the memory goes.
pub fn write_memory(management: &Management, text: &mut Text) -> Result<(), Refusal> {
    let look = look(management)?;
    let resident = look.resources.measured.memory_used.unwrap_or(0);
    let messages = look.message_bytes as u64;
    let name = "rabbitmq_memory_messages_bytes";
    text.single(
        name,
        Kind::Gauge,
        "Bytes that messages take up in memory",
        messages,
    );
    let name = "rabbitmq_memory_other_bytes";
    let rest = resident.saturating_sub(messages);
    text.single(name, Kind::Gauge, "Everything else", rest);
    Ok(())
}

fn look(management: &Management) -> Result<Look, Refusal> {
    let look = management.broker.run(PATIENCE, |hub| Look {
        inventory: hub.core.inventory(),
        counters: hub.core.counters,
        totals: hub.core.channel_totals(),
        publishers: hub.core.publisher_count(),
        resources: hub.resources(),
        message_bytes: hub.core.message_bytes(),
        latencies: hub.latencies.clone(),
        waits: hub.core.waits.clone(),
        oldest_unacked_ms: hub.core.oldest_unacked_ms(),
    })?;
    Ok(look)
}

fn write_identity(management: &Management, text: &mut Text) {
    let server = &management.facts.config.server;
    let name = "rabbitmq_identity_info";
    text.head(name, Kind::Gauge, "RabbitMQ node & cluster identity info");
    let labels = [
        ("rabbitmq_node", server.node_name.as_str()),
        ("rabbitmq_cluster", server.cluster_name.as_str()),
        ("rabbitmq_cluster_permanent_id", server.node_name.as_str()),
        ("rabbitmq_endpoint", "aggregated"),
    ];
    text.sample(name, &labels, 1);
    let name = "rabbitmq_build_info";
    text.head(name, Kind::Gauge, "RabbitMQ & Erlang/OTP version info");
    let labels = [
        ("rabbitmq_version", server.version.as_str()),
        ("prometheus_plugin_version", server.version.as_str()),
        ("prometheus_client_version", "none"),
        ("erlang_version", "none"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("product_name", "leveret"),
    ];
    text.sample(name, &labels, 1);
}

fn write_messages(look: &Look, text: &mut Text) {
    let totals = &look.totals;
    let in_confirm_mode = totals.published - totals.published_unconfirmed;
    let unroutable = totals.returned + totals.dropped;
    let by_protocol = [
        (
            "messages_received_total",
            "Total number of messages received from publishers",
            totals.published,
        ),
        (
            "messages_received_confirm_total",
            "Total number of messages received from publishers expecting confirmations",
            in_confirm_mode,
        ),
        (
            "messages_routed_total",
            "Total number of messages routed to queues or streams",
            totals.published - unroutable.min(totals.published),
        ),
        (
            "messages_confirmed_total",
            "Total number of messages confirmed to publishers",
            totals.confirmed,
        ),
        (
            "messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
            totals.dropped,
        ),
        (
            "messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
            totals.returned,
        ),
    ];
    for (name, help, value) in by_protocol {
        let name = format!("rabbitmq_global_{name}");
        text.head(&name, Kind::Counter, help);
        text.sample(&name, &[PROTOCOL], value);
    }
    let consumers = look.inventory.consumers + look.inventory.reply_consumers;
    let gauges = [
        (
            "rabbitmq_global_publishers",
            "Publishers currently connected",
            look.publishers,
        ),
        (
            "rabbitmq_global_consumers",
            "Consumers currently connected",
            consumers,
        ),
    ];
    for (name, help, value) in gauges {
        text.head(name, Kind::Gauge, help);
        text.sample(name, &[PROTOCOL], value);
    }
    let by_queue_type = [
        (
            "messages_delivered_total",
            "Total number of messages delivered to consumers",
            totals.delivered_in_all(),
        ),
        (
            "messages_delivered_consume_manual_ack_total",
            "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
            totals.delivered,
        ),
        (
            "messages_delivered_consume_auto_ack_total",
            "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
            totals.delivered_no_ack,
        ),
        (
            "messages_delivered_get_manual_ack_total",
            "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
            totals.gotten,
        ),
        (
            "messages_delivered_get_auto_ack_total",
            "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
            totals.gotten_no_ack,
        ),
        (
            "messages_get_empty_total",
            "Total number of times basic.get operations fetched no message",
            totals.get_empty,
        ),
        (
            "messages_redelivered_total",
            "Total number of messages redelivered to consumers",
            totals.redelivered,
        ),
        (
            "messages_acknowledged_total",
            "Total number of messages acknowledged by consumers",
            totals.acked,
        ),
    ];
    for (name, help, value) in by_queue_type {
        let name = format!("rabbitmq_global_{name}");
        text.head(&name, Kind::Counter, help);
        text.sample(&name, &[PROTOCOL, QUEUE_TYPE], value);
    }
    let objects = [
        (
            "rabbitmq_connections",
            "Connections currently open",
            look.inventory.connections,
        ),
        (
            "rabbitmq_channels",
            "Channels currently open",
            look.inventory.channels,
        ),
        (
            "rabbitmq_consumers",
            "Consumers currently connected",
            look.inventory.consumers,
        ),
        ("rabbitmq_queues", "Queues available", look.inventory.queues),
        (
            "leveret_exchanges",
            "Exchanges, with those that every virtual host is born with",
            look.inventory.exchanges,
        ),
        (
            "leveret_bindings",
            "Bindings, without those of the default exchange",
            look.inventory.bindings,
        ),
    ];
    for (name, help, value) in objects {
        text.single(name, Kind::Gauge, help, value);
    }
}

fn write_sizes(counters: &Counters, text: &mut Text) {
    let name = "rabbitmq_message_size_bytes";
    text.head(
        name,
        Kind::Histogram,
        "Size of messages received from publishers",
    );
    let bucket = format!("{name}_bucket");
    let bounds = [
        "100", "1000", "10000", "100000", "1.0e6", "1.0e7", "5.0e7", "1.0e8", "+Inf",
    ];
    const { assert!(SIZE_BOUNDS.len() == 8) };
    let mut sum = 0;
    for (bound, count) in bounds.into_iter().zip(counters.sizes.counts) {
        sum += count;
        text.sample(&bucket, &[PROTOCOL, ("le", bound)], sum);
    }
    text.sample(&format!("{name}_count"), &[PROTOCOL], sum);
    text.sample(
        &format!("{name}_sum"),
        &[PROTOCOL],
        counters.sizes.sum_bytes,
    );
}

fn write_churn(counters: &Counters, text: &mut Text) {
    let all = [
        (
            "rabbitmq_connections_opened_total",
            "Total number of connections opened",
            counters.connections_opened,
        ),
        (
            "rabbitmq_connections_closed_total",
            "Total number of connections closed or terminated",
            counters.connections_closed,
        ),
        (
            "rabbitmq_channels_opened_total",
            "Total number of channels opened",
            counters.channels_opened,
        ),
        (
            "rabbitmq_channels_closed_total",
            "Total number of channels closed",
            counters.channels_closed,
        ),
        (
            "rabbitmq_queues_declared_total",
            "Total number of queues declared",
            counters.queues_declared,
        ),
        (
            "rabbitmq_queues_created_total",
            "Total number of queues created",
            counters.queues_created,
        ),
        (
            "rabbitmq_queues_deleted_total",
            "Total number of queues deleted",
            counters.queues_deleted,
        ),
    ];
    for (name, help, value) in all {
        text.single(name, Kind::Counter, help, value);
    }
}

fn write_process(management: &Management, look: &Look, now: Now, text: &mut Text) {
    let vitals = (management.facts.vitals)();
    let resources = &look.resources;
    let measured = &resources.measured;
    let uptime_ms = now.unix_ms.saturating_sub(management.facts.started.unix_ms);
    let uptime = uptime_ms as f64 / 1000.0;
    text.single(
        "rabbitmq_erlang_uptime_seconds",
        Kind::Gauge,
        "Node uptime",
        uptime,
    );
    let gauges = [
        (
            "rabbitmq_process_open_fds",
            "Open file descriptors",
            vitals.files,
        ),
        (
            "rabbitmq_process_max_fds",
            "Open file descriptors limit",
            vitals.files_max,
        ),
        (
            "rabbitmq_process_open_tcp_sockets",
            "Open TCP sockets",
            look.inventory.connections as u64,
        ),
        (
            "rabbitmq_process_max_tcp_sockets",
            "Open TCP sockets limit",
            vitals.files_max,
        ),
        (
            "rabbitmq_process_resident_memory_bytes",
            "Memory used in bytes",
            measured.memory_used.unwrap_or(0),
        ),
        (
            "rabbitmq_resident_memory_limit_bytes",
            "Memory high watermark in bytes",
            resources.memory_limit.unwrap_or(0),
        ),
        (
            "rabbitmq_disk_space_available_bytes",
            "Disk space available in bytes",
            measured.disk_free.unwrap_or(0),
        ),
        (
            "rabbitmq_disk_space_available_limit_bytes",
            "Free disk space low watermark in bytes",
            resources.disk_free_limit.unwrap_or(0),
        ),
    ];
    for (name, help, value) in gauges {
        text.single(name, Kind::Gauge, help, value);
    }
}

fn write_alarms(resources: &Resources, text: &mut Text) {
    let alarms = [
        (
            "rabbitmq_alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
            resources.memory_alarm,
        ),
        (
            "rabbitmq_alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
            resources.disk_alarm,
        ),
        (
            "rabbitmq_alarms_file_descriptor_limit",
            "is 1 if file descriptor limit alarm is in effect",
            false,
        ),
    ];
    for (name, help, raised) in alarms {
        text.single(name, Kind::Gauge, help, u8::from(raised));
    }
}

fn write_latencies(look: &Look, text: &mut Text) {
    let latencies = &look.latencies;
    let all = [
        (
            "leveret_publish_to_deliver_seconds",
            "From reading a message to writing it to a consumer that waited; one for each turn of the loop",
            &latencies.straight,
        ),
        (
            "leveret_queue_wait_seconds",
            "From a message's arrival to its first delivery out of a queue",
            &look.waits,
        ),
        (
            "leveret_publish_to_confirm_seconds",
            "From reading persistent messages to their being stored; one for each batch",
            &latencies.publish_to_confirm,
        ),
        (
            "leveret_disk_sync_seconds",
            "How long the disk takes for a sync",
            &latencies.sync,
        ),
        (
            "leveret_loop_turn_seconds",
            "How long a turn of the event loop takes",
            &latencies.turn,
        ),
    ];
    for (name, help, histogram) in all {
        write_histogram(name, help, histogram, text);
    }
    let oldest = look.oldest_unacked_ms.unwrap_or(0) as f64 / 1000.0;
    let name = "leveret_oldest_unacked_age_seconds";
    let help =
        "How long ago the oldest message arrived that is delivered and not settled; 0 without any";
    text.single(name, Kind::Gauge, help, oldest);
}

fn write_histogram(name: &str, help: &str, histogram: &Histogram, text: &mut Text) {
    text.head(name, Kind::Histogram, help);
    let bucket = format!("{name}_bucket");
    for (bound_us, bound) in BOUNDS {
        text.sample(&bucket, &[("le", bound)], histogram.up_to(bound_us));
    }
    let total = histogram.total();
    text.sample(&bucket, &[("le", "+Inf")], total);
    let sum = histogram.sum_us() as f64 / 1e6;
    text.sample(&format!("{name}_sum"), &[], sum);
    text.sample(&format!("{name}_count"), &[], total);
}

const PROTOCOL: (&str, &str) = ("protocol", "amqp091");
const QUEUE_TYPE: (&str, &str) = ("queue_type", "rabbit_classic_queue");

/// In microseconds, and as Prometheus reads them.
const BOUNDS: [(u64, &str); 16] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];
