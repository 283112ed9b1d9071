//! What the official RabbitMQ-Overview dashboard for Grafana asks Prometheus for.

use std::collections::BTreeSet;

use crate::support::{HttpClient, TestBroker};

/// The names in its queries. All come from `/metrics`, which its panels join by node.
const NAMES: [&str; 40] = [
    "rabbitmq_build_info",
    "rabbitmq_channels",
    "rabbitmq_channels_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_connections",
    "rabbitmq_connections_closed_total",
    "rabbitmq_connections_opened_total",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_global_consumers",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_publishers",
    "rabbitmq_identity_info",
    "rabbitmq_message_size_bytes_bucket",
    "rabbitmq_message_size_bytes_count",
    "rabbitmq_message_size_bytes_sum",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queues",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_resident_memory_limit_bytes",
];

/// As Prometheus reads it: name and labels of every sample.
fn scrape(metrics: &HttpClient, path: &str) -> Vec<(String, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let reply = metrics.exchange(request.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (name.to_owned(), labels.trim_end_matches('}').to_owned())
        })
        .collect()
}

fn start() -> (TestBroker, HttpClient) {
    let broker = TestBroker::with(|config| {
        config.prometheus_port = Some(0);
        config.prometheus_ip = Some("127.0.0.1".to_owned());
    });
    let metrics = HttpClient::new(broker.metrics_address());
    (broker, metrics)
}

#[test]
fn every_name_of_the_overview_dashboard_has_a_series() {
    let (_broker, metrics) = start();
    let samples = scrape(&metrics, "/metrics");
    let there: BTreeSet<&str> = samples.iter().map(|(name, _)| name.as_str()).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !there.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn panels_find_node_and_cluster_by_the_labels_that_they_group_by() {
    let (_broker, metrics) = start();
    let samples = scrape(&metrics, "/metrics");
    let labels = |wanted: &str| {
        let found = samples.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, labels)| labels.clone()).collect::<Vec<_>>()
    };
    let [identity] = labels("rabbitmq_identity_info").try_into().unwrap();
    for label in ["rabbitmq_node=", "rabbitmq_cluster=", "rabbitmq_endpoint="] {
        assert!(identity.contains(label), "{identity}");
    }
    let [build] = labels("rabbitmq_build_info").try_into().unwrap();
    for label in ["rabbitmq_version=", "erlang_version="] {
        assert!(build.contains(label), "{build}");
    }
    // RabbitMQ writes 1.0e6 as well.
    let bounds = labels("rabbitmq_message_size_bytes_bucket");
    let bounds = bounds.iter().map(|labels| {
        let (_, bound) = labels.split_once("le=\"").unwrap();
        bound.trim_end_matches('"').parse::<f64>().unwrap()
    });
    let expected = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 5e7, 1e8, f64::INFINITY];
    assert!(bounds.eq(expected));
}

#[test]
fn latencies_of_each_queue_are_among_its_metrics() {
    let (broker, metrics) = start();
    let mut client = broker.connect();
    for queue in ["used", "unused"] {
        client.declare_queue(queue);
    }
    // One waits for its consumer, one does not.
    client.publish("", "used", "1");
    client.await_count("used", 1);
    client.consume("used", "tag");
    client.publish("", "used", "2");
    client.expect_bodies(2);
    let name = "leveret_queue_publish_to_deliver_seconds_count";
    let detailed = "/metrics/detailed?family=queue_latency_metrics";
    for path in ["/metrics/per-object", detailed] {
        let samples = scrape(&metrics, path);
        let counts: Vec<_> = samples.iter().filter(|it| it.0 == name).collect();
        assert_eq!(counts.len(), 1, "{path}: {counts:?}");
        assert!(counts[0].1.contains("queue=\"used\""), "{counts:?}");
    }
}
