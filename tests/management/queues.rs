//! Queues as they are shown.

use serde_json::json;

use leveret::wire::amqp::queue;

use crate::support::{TestBroker, eventually};

#[test]
fn a_queue_shows_what_it_was_declared_with_and_what_it_has() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_with(
        "q",
        &[("x-max-length", 10.into()), ("x-max-priority", 3.into())],
    );
    client.confirm();
    client.publish("", "q", "four");
    client.publish("", "q", "more!");
    client.expect_confirms_up_to(2);
    client.prefetch(1, false);
    client.consume("q", "tag");
    client.expect_delivery();
    let shown = broker.http().get("/queues/%2F/q");
    assert_eq!(shown["name"], "q");
    assert_eq!(shown["vhost"], "/");
    assert_eq!(shown["type"], "classic");
    assert_eq!(shown["state"], "running");
    assert_eq!(shown["node"], "rabbit@localhost");
    assert_eq!(
        shown["arguments"],
        json!({"x-max-length": 10, "x-max-priority": 3})
    );
    assert_eq!(
        [
            &shown["durable"],
            &shown["auto_delete"],
            &shown["exclusive"]
        ],
        [false, false, false]
    );
    assert_eq!(
        [
            &shown["messages"],
            &shown["messages_ready"],
            &shown["messages_unacknowledged"],
            &shown["message_bytes"],
            &shown["message_bytes_ready"],
            &shown["message_bytes_unacknowledged"],
            &shown["consumers"],
        ],
        [2, 1, 1, 9, 5, 4, 1]
    );
    assert_eq!(shown["message_stats"]["publish"], 2);
    assert_eq!(shown["message_stats"]["deliver_get"], 1);
    assert_eq!(shown["message_stats"]["deliver"], 1);
    assert!(shown["message_stats"]["publish_details"]["rate"].is_f64());
    let consumer = &shown["consumer_details"][0];
    assert_eq!(consumer["consumer_tag"], "tag");
    assert_eq!(consumer["activity_status"], "up");
    assert_eq!(consumer["prefetch_count"], 1);
    assert_eq!(consumer["queue"], json!({"name": "q", "vhost": "/"}));
    assert_eq!(consumer["channel_details"]["number"], 1);
    let consumers = broker.http().get("/consumers/%2F");
    assert_eq!(consumers[0]["consumer_tag"], "tag");
}

#[test]
fn queues_are_listed_by_virtual_host_and_name_and_can_be_paged_and_filtered() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    for name in ["c", "a", "b1", "b2"] {
        client.declare_queue(name);
    }
    let http = broker.http();
    let names = |list: &serde_json::Value| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&http.get("/queues")), ["a", "b1", "b2", "c"]);
    assert_eq!(names(&http.get("/queues/%2F")), ["a", "b1", "b2", "c"]);
    assert_eq!(names(&http.get("/queues/detailed")), ["a", "b1", "b2", "c"]);
    let page = http.get("/queues?page=2&page_size=1&name=^b&use_regex=true&columns=name");
    let expected = json!({
        "filtered_count": 2, "item_count": 1, "items": [{"name": "b2"}], "page": 2,
        "page_count": 2, "page_size": 1, "total_count": 4,
    });
    assert_eq!(page, expected);
    // A dot and a class of others match any byte.
    for (expression, count) in [("b.", 2), ("%5E%5B%5Eb%5D", 2), (".*", 4)] {
        let path = format!("/queues?page=1&name={expression}&use_regex=true");
        assert_eq!(http.get(&path)["filtered_count"], count, "{expression}");
    }
    let plain = http.get("/queues/%2F?disable_stats=true&enable_queue_totals=true");
    assert_eq!(plain[0]["messages"], 0);
    assert!(plain[0].get("message_stats").is_none());
    assert_eq!(http.get_refusal("/queues/nope").0, 404);
    assert_eq!(http.get_refusal("/queues/%2F/nope").0, 404);
}

#[test]
fn an_exclusive_queue_shows_whose_it_is() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.call(queue::Declare {
        queue: b"mine",
        exclusive: true,
        ..Default::default()
    });
    let shown = broker.http().get("/queues/%2F/mine");
    assert_eq!(shown["exclusive"], true);
    let connection = broker.http().get("/connections")[0].clone();
    assert_eq!(shown["owner_pid_details"]["name"], connection["name"]);
    assert_eq!(
        shown["owner_pid_details"]["peer_port"],
        connection["peer_port"]
    );
}

#[test]
fn of_consumers_that_wait_for_each_other_one_is_active() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-single-active-consumer", true.into())]);
    client.consume("q", "first");
    client.consume("q", "second");
    let shown = broker.http().get("/queues/%2F/q");
    assert_eq!(shown["single_active_consumer_tag"], "first");
    let consumers = broker.http().get("/consumers");
    let status = |at: usize| (&consumers[at]["activity_status"], &consumers[at]["active"]);
    assert_eq!(status(0), (&json!("single_active"), &json!(true)));
    assert_eq!(status(1), (&json!("waiting"), &json!(false)));
}

#[test]
fn samples_are_kept_once_somebody_asks_for_them() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.await_count("q", 1);
    let path = "/queues/%2F/q?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5";
    eventually("a sample", || {
        let shown = broker.http().get(path);
        let details = &shown["messages_details"];
        let samples = details["samples"].as_array().unwrap();
        !samples.is_empty()
            && samples[0]["sample"] == 1
            && details["avg"] == 1.0
            && shown["message_stats"]["publish_details"]["samples"].is_array()
    });
}

#[test]
fn a_policy_in_force_is_shown_with_its_definition() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_with("q", &[]);
    let http = broker.http();
    let policy = json!({"pattern": "^q", "definition": {"max-length": 5}, "apply-to": "queues"});
    assert_eq!(http.put("/policies/%2F/short", &policy).status, 201);
    let shown = http.get("/queues/%2F/q");
    assert_eq!(shown["policy"], "short");
    assert_eq!(shown["operator_policy"], json!(null));
    assert_eq!(
        shown["effective_policy_definition"],
        json!({"max-length": 5})
    );
}

#[test]
fn bytes_of_messages_are_exact_however_these_come_and_go() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut client = broker.connect();
    client.declare_queue("q");
    let bytes = || {
        let shown = http.get("/queues/%2F/q");
        let names = ["ready", "unacknowledged"];
        names.map(|name| shown[format!("message_bytes_{name}")].as_u64().unwrap())
    };
    for body in ["1", "22", "333", "4444", "55555"] {
        client.publish("", "q", body);
    }
    client.settle();
    assert_eq!(bytes(), [15, 0]);
    let gotten = client.await_unacked("q").delivery_tag;
    assert_eq!(bytes(), [14, 1]);
    client.prefetch(3, false);
    client.consume("q", "tag");
    client.expect_bodies(3);
    assert_eq!(bytes(), [5, 10]);
    client.ack(gotten);
    client.settle();
    assert_eq!(bytes(), [5, 9]);
    client.cancel("tag");
    // Back comes the one of two bytes, then all.
    client.requeue(gotten + 1);
    client.settle();
    assert_eq!(bytes(), [7, 7]);
    client.close_channel();
    client.open_channel(1);
    client.settle();
    assert_eq!(bytes(), [14, 0]);
    client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    assert_eq!(bytes(), [0, 0]);
}

#[test]
fn how_long_messages_waited_is_told_of_each_queue() {
    let broker = TestBroker::with_management();
    let mut client = broker.connect();
    client.declare_queue("q");
    let latency = || broker.http().get("/queues/%2F/q")["latency"]["publish_to_deliver"].clone();
    assert_eq!(
        latency(),
        json!({"p50_us": null, "p99_us": null, "p999_us": null, "count": 0})
    );
    client.consume("q", "tag");
    for _ in 0..3 {
        client.publish("", "q", "1");
    }
    client.expect_bodies(3);
    assert_eq!(
        latency(),
        json!({"p50_us": 1000, "p99_us": 1000, "p999_us": 1000, "count": 3})
    );
    client.cancel("tag");
    client.publish("", "q", "1");
    std::thread::sleep(std::time::Duration::from_millis(20));
    client.consume("q", "tag");
    client.expect_bodies(1);
    let waited = latency();
    assert_eq!(
        (&waited["count"], &waited["p50_us"]),
        (&json!(4), &json!(1000))
    );
    assert!(waited["p99_us"].as_u64().unwrap() >= 32_000, "{waited}");
}
