//! The broker as a whole.

use serde_json::json;

use crate::support::TestBroker;

#[test]
fn the_overview_adds_up_what_there_is() {
    let broker = TestBroker::with_management();
    broker.add_vhost("other");
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    client.await_count("q", 2);
    client.consume("q", "tag");
    client.expect_bodies(2);
    let overview = broker.http().get("/overview");
    let expected = json!({
        "channels": 1, "connections": 1, "consumers": 1, "exchanges": 14, "queues": 1,
    });
    assert_eq!(overview["object_totals"], expected);
    let totals = &overview["queue_totals"];
    assert_eq!(
        [
            &totals["messages"],
            &totals["messages_ready"],
            &totals["messages_unacknowledged"]
        ],
        [2, 0, 2]
    );
    assert_eq!(overview["message_stats"]["publish"], 2);
    assert_eq!(overview["message_stats"]["deliver"], 2);
    assert_eq!(overview["churn_rates"]["connection_created"], 1);
    assert_eq!(overview["churn_rates"]["queue_created"], 1);
    assert_eq!(overview["node"], "rabbit@localhost");
    assert_eq!(overview["rabbitmq_version"], "3.13.7");
    let listeners = overview["listeners"].as_array().unwrap();
    let port = |name: &str| {
        let found = listeners.iter().find(|it| it["protocol"] == name);
        found.map(|it| it["port"].clone())
    };
    assert_eq!(port("amqp"), Some(json!(broker.address().port())));
    assert!(port("http").is_some());
    let names = overview["exchange_types"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"topic") && names.contains(&"x-delayed-message"));
}

#[test]
fn counts_do_not_shrink_when_channels_are_closed() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.await_count("q", 1);
    client.close_channel();
    let overview = broker.http().get("/overview");
    assert_eq!(overview["message_stats"]["publish"], 1);
    assert_eq!(overview["object_totals"]["channels"], 0);
}

#[test]
fn there_is_one_node_and_it_runs() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let nodes = http.get("/nodes");
    let node = &nodes[0];
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    assert_eq!(node["name"], "rabbit@localhost");
    assert_eq!([&node["running"], &node["mem_alarm"]], [true, false]);
    assert!(node["mem_used"].as_u64().unwrap() > 100_000);
    assert!(node["fd_used"].as_u64().unwrap() > 2);
    assert!(node["uptime"].is_u64());
    assert_eq!(http.get("/nodes/rabbit@localhost")["name"], node["name"]);
    assert!(http.get("/nodes/rabbit@localhost/memory")["memory"]["total"]["rss"].is_u64());
    assert_eq!(http.get_refusal("/nodes/other").0, 404);
}

#[test]
fn what_needs_no_broker_is_answered_as_for_one_node() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    assert_eq!(http.get("/version"), "3.13.7");
    assert_eq!(
        http.get("/cluster-name"),
        json!({"name": "rabbit@localhost"})
    );
    for path in [
        "/extensions",
        "/deprecated-features/used",
        "/shovels",
        "/federation-links",
        "/stream/connections",
    ] {
        assert_eq!(http.get(path), json!([]));
    }
    let permitted = &http.get("/deprecated-features")[1]["deprecation_phase"];
    assert_eq!(permitted, "permitted_by_default");
    let flag = &http.get("/feature-flags")[0];
    assert_eq!(flag["state"], "enabled");
    let enable = |name: &str| {
        let path = format!("/feature-flags/{name}/enable");
        http.put(&path, &json!({"name": name})).status
    };
    assert_eq!(enable(flag["name"].as_str().unwrap()), 204);
    assert_eq!(enable("nope"), 400);
    let reply = http.put("/overview", &json!({}));
    assert_eq!(reply.status, 405);
    assert!(reply.header("allow").is_some());
    assert_eq!(http.get_refusal("/nothing").0, 404);
}

#[test]
fn virtual_hosts_show_what_is_in_them() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.await_count("q", 1);
    let shown = broker.http().get("/vhosts/%2F");
    assert_eq!([&shown["messages"], &shown["messages_ready"]], [1, 1]);
    assert_eq!(shown["message_stats"]["publish"], 1);
}
