//! Looking into queues without a trace, and moving messages. RabbitMQ has neither.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Properties, Table, queue};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::asking::{ask, expect, refuse};
use crate::support::{HttpClient, RawClient, TestBroker, died, eventually, table, to_queue};

/// All that browsing with these parameters shows, page by page.
#[track_caller]
fn all(http: &HttpClient, queue: &str, parameters: &str) -> Vec<Value> {
    let mut shown = Vec::new();
    let mut after = String::new();
    loop {
        let page = http.get(&format!(
            "/queues/%2F/{queue}/browse?{parameters}&after={after}"
        ));
        shown.extend(page["messages"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return shown,
        }
    }
}

fn payloads(messages: &[Value]) -> Vec<&str> {
    let payloads = messages.iter().map(|it| it["payload"].as_str().unwrap());
    payloads.collect()
}

#[track_caller]
fn redrive(http: &HttpClient, queue: &str, order: Value) -> (u64, u64) {
    let reply = http.post(&format!("/queues/%2F/{queue}/redrive"), &order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (moved, skipped) = (&reply.json()["moved"], &reply.json()["skipped"]);
    (moved.as_u64().unwrap(), skipped.as_u64().unwrap())
}

fn start() -> (TestBroker, HttpClient, RawClient) {
    let broker = TestBroker::with_management();
    let (http, client) = (broker.http(), broker.connect());
    (broker, http, client)
}

/// A broker that pages out beyond a few hundred kilobytes, to a directory that must outlive it.
fn start_deep(place: &TempDir) -> (TestBroker, HttpClient, RawClient) {
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.http_ip = Some("127.0.0.1".to_owned());
        config.data_dir = Some(place.path().to_owned());
        config.limits.messages_bytes_budget = 512 << 10;
    });
    let (http, client) = (broker.http(), broker.connect());
    (broker, http, client)
}

/// As persistent messages, which are stored when this returns.
fn publish_all(client: &mut RawClient, queue: &str, bodies: impl Iterator<Item = String>) {
    client.open_channel(9);
    client.confirm();
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let mut count = 0;
    for body in bodies {
        client.publish_with("", queue, &properties, body);
        count += 1;
    }
    client.expect_confirms_up_to(count);
    client.close_channel();
    client.switch_to(1);
}

#[test]
fn a_message_is_shown_and_nothing_is_changed() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    let headers = table(&[("kind", "new".into())]);
    client.publish_headers("q", headers.view(), "h\u{e4}llo");
    client.publish("", "q", b"\xff\x00");
    client.settle();
    let before = http.get("/queues/%2F/q");
    for _ in 0..2 {
        let page = http.get("/queues/%2F/q/browse?truncate=2");
        let expected = json!({
            "messages": [
                {
                    "position": 0, "exchange": "", "routing_key": "q", "redelivered": false,
                    "state": "ready", "properties": {"headers": {"kind": "new"}},
                    "payload": "h", "payload_encoding": "string", "payload_bytes": 6,
                },
                {
                    "position": 1, "exchange": "", "routing_key": "q", "redelivered": false,
                    "state": "ready", "properties": {"headers": {}},
                    "payload": "/wA=", "payload_encoding": "base64", "payload_bytes": 2,
                },
            ],
            "next": null,
            "searched": 2,
        });
        assert_eq!(page, expected);
    }
    assert_eq!(
        http.get("/queues/%2F/q")["message_stats"],
        before["message_stats"]
    );
    let delivery = client.get("q").unwrap();
    assert!(!delivery.redelivered);
    assert_eq!(delivery.text(), "h\u{e4}llo");
}

#[test]
fn pages_follow_each_other_while_messages_come_and_go() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    for n in 0..2000 {
        client.publish("", "q", n.to_string());
    }
    client.settle();
    let first = http.get("/queues/%2F/q/browse?count=100");
    assert_eq!(first["messages"].as_array().unwrap().len(), 100);
    for _ in 0..500 {
        client.get_as("q", true).unwrap();
    }
    client.publish("", "q", "last");
    client.settle();
    let next = first["next"].as_str().unwrap();
    let second = http.get(&format!("/queues/%2F/q/browse?count=200&after={next}"));
    let messages = second["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 200);
    assert_eq!(
        (&messages[0]["payload"], &messages[0]["position"]),
        (&json!("500"), &json!(100))
    );
    let all = all(&http, "q", "count=200");
    assert_eq!(all.len(), 1501);
    assert_eq!(
        (&all[1500]["payload"], &all[1500]["position"]),
        (&json!("last"), &json!(1500))
    );
}

#[test]
fn messages_are_shown_in_the_order_of_their_delivery_and_unacked_ones_after_them() {
    let (broker, http, mut client) = start();
    client.declare_with("q", &[("x-max-priority", 5.into())]);
    for n in 0..6 {
        client.publish_priority("q", n % 3, n.to_string());
    }
    client.settle();
    let mut other = broker.connect();
    let held = [client.get("q").unwrap(), other.get("q").unwrap()];
    assert_eq!(held.map(|it| it.text().to_owned()), ["2", "5"]);
    let third = client.get("q").unwrap();
    client.requeue(third.delivery_tag);
    client.settle();
    for count in [1, 2, 200] {
        let shown = all(&http, "q", &format!("count={count}"));
        assert_eq!(payloads(&shown)[..4], ["1", "4", "0", "3"]);
        let states: Vec<_> = shown
            .iter()
            .map(|it| it["state"].as_str().unwrap())
            .collect();
        assert_eq!(
            states,
            ["ready", "ready", "ready", "ready", "unacked", "unacked"]
        );
        let flags: Vec<_> = shown.iter().map(|it| it["redelivered"] == true).collect();
        assert_eq!(flags, [true, false, false, false, false, false]);
        let mut unacked = payloads(&shown)[4..].to_vec();
        unacked.sort_unstable();
        assert_eq!(unacked, ["2", "5"]);
    }
}

#[test]
fn a_search_looks_into_bodies_keys_and_headers_whatever_the_case() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    client.declare_exchange("x", "fanout");
    client.bind_queue("q", "x", "");
    client.publish("", "q", "an Order, \u{c4}rger");
    let inner = table(&[("deep", "ORDERED".into())]);
    let headers = table(&[("outer", leveret::wire::amqp::Value::Table(inner.view()))]);
    client.publish_headers("q", headers.view(), "in a value");
    client.publish_headers("q", table(&[("x-order-id", 17.into())]).view(), "in a name");
    client.publish("x", "new.ORDER", "in the key");
    client.publish("", "q", b"\xfforder");
    client.publish("", "q", "nothing");
    client.settle();
    let found = |text: &str| all(&http, "q", &format!("search={text}"));
    let order = found("oRDer");
    assert_eq!(
        payloads(&order),
        [
            "an Order, \u{c4}rger",
            "in a value",
            "in a name",
            "in the key"
        ]
    );
    let positions: Vec<_> = order
        .iter()
        .map(|it| it["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, [0, 1, 2, 3]);
    assert_eq!(payloads(&found("%C3%A4rger")), ["an Order, \u{c4}rger"]);
    assert_eq!(payloads(&found("17")), ["in a name"]);
    assert!(found("nowhere").is_empty());
}

#[test]
fn a_search_ends_after_so_many_messages_and_goes_on_there() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    for n in 0..12_000 {
        client.publish("", "q", format!("<{n}>"));
    }
    client.settle();
    let first = http.get("/queues/%2F/q/browse?search=%3C11999%3E");
    assert_eq!(first["messages"], json!([]));
    assert_eq!(first["searched"], 5000);
    let found = all(&http, "q", "search=%3C11999%3E");
    assert_eq!(payloads(&found), ["<11999>"]);
    assert_eq!(found[0]["position"], 11_999);
}

#[test]
fn what_is_on_the_disk_is_shown_and_stays_there() {
    let place = tempfile::tempdir().unwrap();
    let (_broker, http, mut client) = start_deep(&place);
    client.declare_durable_with("q", &[]);
    let filler = "x".repeat(200);
    let body = |n: usize| format!("<{n}>{filler}");
    publish_all(&mut client, "q", (0..10_000).map(body));
    // What is not stored by itself is spilled.
    (10_000..20_000).for_each(|n| client.publish("", "q", body(n)));
    client.settle();
    let spilled = || {
        let files = std::fs::read_dir(place.path().join("spill")).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
        sizes.sum::<u64>()
    };
    eventually("much of it is spilled", || spilled() > 1_000_000);
    let before = spilled();
    let shown = all(&http, "q", "count=200&truncate=8");
    assert_eq!(shown.len(), 20_000);
    for (n, message) in shown.iter().enumerate() {
        let payload = message["payload"].as_str().unwrap();
        assert_eq!(payload, &body(n)[..8]);
        assert_eq!(message["position"], n);
    }
    for (text, n) in [("%3C5678%3E", 5678), ("%3C12345%3E", 12_345)] {
        let found = all(&http, "q", &format!("search={text}"));
        assert_eq!(payloads(&found), [body(n)]);
    }
    assert_eq!(spilled(), before);
    let delivery = client.get("q").unwrap();
    assert!(!delivery.redelivered && delivery.text() == body(0));
}

#[test]
fn dead_letters_go_back_to_where_they_died_as_if_they_had_not() {
    let (_broker, http, mut client) = start();
    client.declare_queue("dead");
    client.declare_exchange("x", "topic");
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-message-ttl", 60_000.into()));
    client.declare_with("q", &arguments);
    client.bind_queue("q", "x", "a.#");
    for body in ["one", "two"] {
        client.publish("x", "a.b", body);
        client.reject_next("q");
    }
    client.await_count("dead", 2);
    assert_eq!(redrive(&http, "dead", json!({"to": "origin"})), (2, 0));
    assert_eq!((client.counts("dead").0, client.counts("q").0), (0, 2));
    let delivery = client.get("q").unwrap();
    assert_eq!((delivery.text(), delivery.redelivered), ("one", false));
    assert_eq!(delivery.exchange, "x");
    assert_eq!(delivery.routing_key, "a.b");
    assert_eq!(
        delivery.properties().headers.unwrap_or(Table::EMPTY),
        Table::EMPTY
    );
    // It dies again, for the first time.
    client.reject(delivery.delivery_tag);
    let again = client.await_message("dead");
    assert_eq!(again.deaths(), [died("q", "rejected", 1)]);
    assert_eq!(again.text_header("x-first-death-queue"), Some("q"));
}

#[test]
fn a_letter_that_died_in_several_queues_goes_back_to_the_first() {
    let (_broker, http, mut client) = start();
    client.declare_mortal("retry", "last", &[("x-message-ttl", 1.into())]);
    client.declare_with("q", &to_queue("retry"));
    client.publish("", "q", "body");
    client.reject_next("q");
    client.await_count("last", 1);
    assert_eq!(redrive(&http, "last", json!({})), (1, 0));
    let delivery = client.get("q").unwrap();
    assert_eq!(
        (delivery.routing_key.as_str(), delivery.deaths()),
        ("q", vec![])
    );
}

#[test]
fn those_without_a_way_back_stay_where_they_are() {
    let (_broker, http, mut client) = start();
    client.declare_mortal("gone", "dead", &[]);
    client.declare_mortal(
        "full",
        "dead",
        &[
            ("x-max-length", 1.into()),
            ("x-overflow", "reject-publish".into()),
        ],
    );
    client.publish("", "gone", "from gone");
    client.reject_next("gone");
    client.publish("", "dead", "never died");
    client.settle();
    client.publish("", "full", "from full");
    client.reject_next("full");
    client.await_count("dead", 3);
    client.publish("", "full", "first");
    client.call(queue::Delete {
        queue: b"gone",
        ..Default::default()
    });
    assert_eq!(
        redrive(&http, "dead", json!({"count": null, "search": null})),
        (0, 3)
    );
    let shown = all(&http, "dead", "");
    assert_eq!(payloads(&shown), ["from gone", "never died", "from full"]);
    // Nor where no queue is, or only the one that they are in.
    for key in ["nowhere", "dead"] {
        let order = json!({"to": {"exchange": "", "routing_key": key}});
        assert_eq!(redrive(&http, "dead", order), (0, 3), "{key}");
    }
    assert_eq!(all(&http, "dead", ""), shown);
}

#[test]
fn messages_go_elsewhere_as_they_are() {
    let (_broker, http, mut client) = start();
    client.declare_mortal("q", "dead", &[]);
    client.declare_exchange("x", "direct");
    for (queue, key) in [("one", "dead"), ("two", "k")] {
        client.declare_queue(queue);
        client.bind_queue(queue, "x", key);
    }
    for n in 0..4 {
        // Not a number alone: the time of a death is searched, too.
        client.publish("", "q", format!("m{n}"));
        client.reject_next("q");
    }
    client.await_count("dead", 4);
    let own_key = json!({"count": 1, "to": {"exchange": "x", "routing_key": ""}});
    assert_eq!(redrive(&http, "dead", own_key), (1, 0));
    let delivery = client.get_as("one", true).unwrap();
    assert_eq!((delivery.text(), delivery.exchange.as_str()), ("m0", "x"));
    assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    let found = json!({"search": "m2", "to": {"exchange": "x", "routing_key": "k"}});
    assert_eq!(redrive(&http, "dead", found), (1, 0));
    let default = json!({"count": 1, "to": {"exchange": "amq.default", "routing_key": "two"}});
    assert_eq!(redrive(&http, "dead", default), (1, 0));
    assert_eq!(client.drain("two"), ["m2", "m1"]);
    assert_eq!(client.drain("dead"), ["m3"]);
}

#[test]
fn many_are_moved_in_their_order_and_those_that_come_back_once() {
    let place = tempfile::tempdir().unwrap();
    let (_broker, http, mut client) = start_deep(&place);
    client.declare_durable_with("dead", &[]);
    // Whatever comes here dies at once.
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-message-ttl", 0.into()));
    client.declare_durable_with("q", &arguments);
    client.declare_durable_with("other", &[]);
    let filler = "x".repeat(200);
    publish_all(
        &mut client,
        "q",
        (0..10_000).map(|n| format!("{n:05}{filler}")),
    );
    client.await_count("dead", 10_000);
    assert_eq!(redrive(&http, "dead", json!({"count": 5000})), (5000, 0));
    client.await_count("dead", 10_000);
    assert_eq!(redrive(&http, "dead", json!({})), (10_000, 0));
    client.await_count("dead", 10_000);
    let order = json!({"to": {"exchange": "", "routing_key": "other"}});
    assert_eq!(redrive(&http, "dead", order), (10_000, 0));
    let bodies = client.drain("other");
    let numbers = bodies.iter().map(|body| body[..5].parse::<u32>().unwrap());
    assert!(numbers.eq((5000..10_000).chain(0..5000)));
    eventually("the queues are empty", || {
        let queue = http.get("/queues/%2F/dead");
        queue["messages"] == 0
    });
}

#[test]
fn a_dry_run_counts_what_would_be_moved_and_moves_nothing() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    client.declare_queue("other");
    for n in 0..300 {
        client.publish("", "q", n.to_string());
    }
    client.await_count("q", 300);
    let to = |key: &str| json!({"to": {"exchange": "", "routing_key": key}, "dry_run": true});
    assert_eq!(redrive(&http, "q", to("other")), (300, 0));
    assert_eq!(redrive(&http, "q", to("nowhere")), (0, 300));
    assert_eq!(redrive(&http, "q", json!({"dry_run": true})), (0, 300));
    assert_eq!(http.get("/queues/%2F/q")["messages"], 300);
    assert_eq!(http.get("/queues/%2F/other")["messages"], 0);
}

#[test]
fn messages_are_moved_at_a_rate() {
    let (_broker, http, mut client) = start();
    client.declare_queue("q");
    client.declare_queue("other");
    for n in 0..60 {
        client.publish("", "q", n.to_string());
    }
    client.await_count("q", 60);
    let order = json!({"to": {"exchange": "", "routing_key": "other"}, "rate": 200});
    let began = Instant::now();
    let reply = http.post("/queues/%2F/q/redrive", &order);
    assert_eq!(
        reply.json(),
        json!({"moved": 60, "skipped": 0, "more": false})
    );
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(http.get("/queues/%2F/other")["messages"], 60);
    let none = "POST /queues/%2F/q/redrive {\"rate\": 0}";
    expect(&http, &[(none, 400)]);
}

#[test]
fn what_waits_for_another_try_is_shown_behind_all_others() {
    let (_broker, http, mut client) = start();
    let arguments = [
        (
            "x-delayed-retry-type",
            leveret::wire::amqp::Value::string("all"),
        ),
        ("x-delayed-retry-min", 60_000.into()),
    ];
    client.declare_with("q", &arguments);
    for n in 0..5 {
        client.publish("", "q", n.to_string());
    }
    for _ in 0..3 {
        let tag = client.await_unacked("q").delivery_tag;
        client.requeue(tag);
    }
    client.await_count("q", 2);
    let tag = client.await_unacked("q").delivery_tag;
    for parameters in ["", "count=1"] {
        let shown = all(&http, "q", parameters);
        assert_eq!(payloads(&shown), ["4", "3", "0", "1", "2"]);
        let states: Vec<_> = shown
            .iter()
            .map(|it| it["state"].as_str().unwrap())
            .collect();
        assert_eq!(
            states,
            ["ready", "unacked", "retrying", "retrying", "retrying"]
        );
        assert!(shown[2]["due_ms"].is_u64() && shown[2]["redelivered"] == true);
    }
    assert_eq!(http.get("/queues/%2F/q")["messages_retrying"], 3);
    client.ack(tag);
}

#[test]
fn to_look_takes_read_and_to_move_write_too() {
    let (broker, http, mut client) = start();
    client.declare_mortal("q", "dead", &[]);
    client.publish("", "q", "body");
    client.reject_next("q");
    client.await_count("dead", 1);
    let body = json!({"tags": "management", "password": "u"});
    assert_eq!(http.put("/users/u", &body).status, 201);
    let user = http.user("u", "u");
    let browse = "GET /queues/%2F/dead/browse";
    let back = r#"POST /queues/%2F/dead/redrive {"to":"origin"}"#;
    let elsewhere = r#"POST /queues/%2F/dead/redrive {"to":{"exchange":"amq.topic"}}"#;
    broker.permit("u", "/", ["", "^$", "^q$"]);
    let text = "ACCESS_REFUSED - read access to queue 'dead' in vhost '/' refused for user 'u'";
    refuse(&user, &[(browse, 401, text), (back, 401, text)]);
    broker.permit("u", "/", ["", "^$", "^dead$"]);
    expect(&user, &[(browse, 200)]);
    let text =
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'";
    refuse(&user, &[(back, 401, text)]);
    let text =
        "ACCESS_REFUSED - write access to exchange 'amq.topic' in vhost '/' refused for user 'u'";
    refuse(&user, &[(elsewhere, 401, text)]);
    broker.permit("u", "/", ["", "^amq.default$", "^dead$"]);
    assert_eq!(ask(&user, back).json(), json!({"moved": 1, "skipped": 0}));
    let monitor = json!({"tags": "monitoring", "password": "m"});
    assert_eq!(http.put("/users/m", &monitor).status, 201);
    let text = "User not authorised to access virtual host";
    refuse(&http.user("m", "m"), &[(browse, 401, text)]);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (broker, http, mut client) = start();
    client.declare_queue("q");
    client.call(queue::Declare {
        queue: b"own",
        exclusive: true,
        ..Default::default()
    });
    refuse(
        &http,
        &[
            ("GET /queues/%2F/q/browse?after=x", 400, "no cursor of ours"),
            (
                "GET /queues/%2F/q/browse?count=x",
                400,
                r#"["not_integer","x"]"#,
            ),
            (
                "GET /queues/%2F/none/browse",
                404,
                "NOT_FOUND - no queue 'none' in vhost '/'",
            ),
            (
                "GET /queues/%2F/own/browse",
                400,
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'own' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
            ),
            (
                r#"POST /queues/%2F/q/redrive {"to":"x"}"#,
                400,
                r#"["unknown_target","x"]"#,
            ),
            (
                r#"POST /queues/%2F/q/redrive {"count":-1}"#,
                400,
                r#"["negative_count",-1]"#,
            ),
            (
                r#"POST /queues/%2F/q/redrive {"to":{"exchange":"none"}}"#,
                404,
                "NOT_FOUND - no exchange 'none' in vhost '/'",
            ),
        ],
    );
    expect(
        &http,
        &[
            ("POST /queues/%2F/q/browse", 405),
            ("GET /queues/%2F/q/redrive", 405),
        ],
    );
    broker.block("low on test");
    let text = "publishers are blocked: low on test";
    refuse(&http, &[("POST /queues/%2F/q/redrive {}", 503, text)]);
}
