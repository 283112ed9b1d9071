//! Commands that only ask, put to a real broker: it has an answer to each.

use serde_json::Value;

use super::served::ServedBroker;

#[test]
fn every_question_has_an_answer() {
    let broker = ServedBroker::start();
    for line in [
        "alarms",
        "await_startup",
        "check_alarms",
        "check_certificate_expiration --unit weeks --within 4",
        "check_local_alarms",
        "check_port_connectivity",
        "check_protocol_listener amqp",
        "check_running",
        "check_virtual_hosts",
        "cluster_status",
        "environment",
        "list_bindings",
        "list_channels",
        "list_connections",
        "list_consumers",
        "list_exchanges",
        "list_global_parameters",
        "list_node_auth_attempt_stats",
        "list_operator_policies",
        "list_parameters",
        "list_policies",
        "list_queues",
        "list_topic_permissions",
        "list_unresponsive_queues",
        "list_user_limits --global",
        "list_user_topic_permissions guest",
        "list_vhost_limits --global",
        "list_vhosts name tracing",
        "listeners",
        "log_location",
        "memory_breakdown",
        "node_health_check",
        "ping",
        "report",
        "server_version",
        "status",
    ] {
        broker.does(&format!("leveretctl {line}"));
        // Programs are told the same in JSON.
        let told = broker.does(&format!("leveretctl -q --formatter json {line}"));
        if !told.is_empty() && line != "report" {
            let json: Result<Value, _> = serde_json::from_str(&told);
            assert!(json.is_ok(), "{line}: {told}");
        }
    }
}

#[test]
fn sizes_of_messages_are_counted() {
    let broker = ServedBroker::start();
    let mut client = broker.guest();
    client.declare_queue("q");
    for size in [0, 100, 101, 5000] {
        client.publish("", "q", vec![b'x'; size]);
    }
    client.counts("q");
    let out = broker.does("leveretctl -q message_size_stats");
    let lines: Vec<_> = out.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            "message_bytes_up_to\tmessages\tpercentage",
            "100\t2\t50.0",
            "1000\t1\t25.0",
            "10000\t1\t25.0",
            "100000\t0\t0.0",
        ]
    );
    assert!(out.ends_with("infinity\t0\t0.0\n"), "{out}");
}
