//! Duplicates are dropped by exchanges and queues that are told to (RabbitMQ's plugin and LavinMQ:
//! `x-message-deduplication`).

use leveret::wire::amqp::{OwnedTable, Properties, TableBuilder, Value, basic, exchange, queue};

use crate::support::{RawClient, TestBroker, eventually, publish_to};

const ASKED: (&str, Value<'static>) = ("x-message-deduplication", Value::bool(true));

fn table(entries: &[(&str, Value<'_>)]) -> OwnedTable {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.put(name, *value);
    }
    table.finish()
}

fn declare_exchange(client: &mut RawClient, kind: &str, arguments: &[(&str, Value<'_>)]) {
    client.call(exchange::Declare {
        exchange: b"x",
        kind: kind.as_bytes(),
        arguments: table(arguments).view(),
        ..Default::default()
    });
}

fn declare_queue(client: &mut RawClient, name: &str, arguments: &[(&str, Value<'_>)]) {
    client.call(queue::Declare {
        queue: name.as_bytes(),
        arguments: table(arguments).view(),
        ..Default::default()
    });
}

/// An exchange that drops duplicates, with a queue that gets everything.
fn exchange_and_queue(client: &mut RawClient, arguments: &[(&str, Value<'_>)]) {
    declare_exchange(client, "direct", &[&[ASKED], arguments].concat());
    client.declare_queue("q");
    client.bind_queue("q", "x", "k");
}

fn publish_headers(
    client: &mut RawClient,
    (exchange, routing_key): (&str, &str),
    headers: &[(&str, Value<'_>)],
    body: &str,
) {
    let headers = table(headers);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    client.publish_with(exchange, routing_key, &properties, body);
}

/// With this key.
fn publish<'a>(
    client: &mut RawClient,
    to: (&str, &str),
    key: impl Into<Value<'a>>,
    body: impl AsRef<str>,
) {
    let headers = [("x-deduplication-header", key.into())];
    publish_headers(client, to, &headers, body.as_ref());
}

const X: (&str, &str) = ("x", "k");
const Q: (&str, &str) = ("", "q");

#[test]
fn an_exchange_drops_what_it_has_seen() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    for key in ["a", "b", "a", "b", "a"] {
        publish(&mut client, X, key, key);
    }
    assert_eq!(client.drain("q"), ["a", "b"]);
    // Whether it is still somewhere or not.
    publish(&mut client, X, "a", "again");
    assert_eq!(client.drain("q"), [""; 0]);
}

#[test]
fn a_message_without_the_header_is_no_duplicate() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    for _ in 0..3 {
        client.publish("x", "k", "m");
        publish_headers(&mut client, X, &[("other", 1.into())], "m");
        publish(&mut client, X, Value::Void, "m");
    }
    assert_eq!(client.counts("q").0, 9);
}

#[test]
fn keys_are_compared_by_value_and_type() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    let keys = [
        Value::string("1"),
        Value::Byte(1),
        Value::Long(1),
        Value::bool(true),
        Value::double(1.0),
        Value::Binary(b"1"),
    ];
    for (n, key) in keys.into_iter().enumerate() {
        publish(&mut client, X, key, n.to_string());
    }
    assert_eq!(client.drain("q"), ["0", "1", "3", "4"]);
}

#[test]
fn duplicates_are_confirmed_and_not_returned() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    client.confirm();
    let headers = table(&[("x-deduplication-header", 1.into())]);
    let mut properties = Vec::new();
    Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    }
    .encode(&mut properties);
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to("x", "k")
    };
    for _ in 0..3 {
        client.publish_content(&publish, &properties, "m");
    }
    client.expect_confirms_up_to(3);
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn what_went_nowhere_can_be_published_again() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_exchange(&mut client, "direct", &[ASKED]);
    publish(&mut client, X, "a", "lost");
    client.declare_queue("q");
    client.bind_queue("q", "x", "k");
    publish(&mut client, X, "a", "routed");
    assert_eq!(client.drain("q"), ["routed"]);
}

#[test]
fn what_a_queue_refused_can_be_published_again() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_exchange(&mut client, "fanout", &[ASKED]);
    let full = [
        ("x-max-length", 1.into()),
        ("x-overflow", "reject-publish".into()),
    ];
    declare_queue(&mut client, "q", &full);
    client.bind_queue("q", "x", "");
    client.confirm();
    publish(&mut client, X, "a", "a");
    assert_eq!(client.expect_confirm(), (1, false));
    publish(&mut client, X, "b", "b");
    client.expect("basic.nack");
    assert_eq!(client.drain("q"), ["a"]);
    publish(&mut client, X, "b", "b");
    assert_eq!(client.expect_confirm(), (3, false));
    assert_eq!(client.drain("q"), ["b"]);
}

#[test]
fn the_window_is_as_large_as_it_is_told() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[("x-cache-size", 2.into())]);
    for key in ["a", "b", "c", "b", "c", "a", "b"] {
        publish(&mut client, X, key, key);
    }
    assert_eq!(client.drain("q"), ["a", "b", "c", "a", "b"]);
}

#[test]
fn keys_are_forgotten_in_time() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[("x-cache-ttl", 1.into())]);
    publish(&mut client, X, "a", "1");
    eventually("the key is forgotten", || {
        publish(&mut client, X, "a", "2");
        client.counts("q").0 > 1
    });
    // A message can say for itself.
    let headers = |ttl_ms: i32| {
        [
            ("x-deduplication-header", Value::from("b")),
            ("x-cache-ttl", ttl_ms.into()),
        ]
    };
    client.drain("q");
    publish_headers(&mut client, X, &headers(60_000), "long");
    publish_headers(&mut client, X, &headers(60_000), "long");
    assert_eq!(client.drain("q"), ["long"]);
}

#[test]
fn the_header_can_be_named() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[("x-deduplication-header", "id".into())]);
    for (id, other) in [(1, 1), (2, 1), (1, 2)] {
        let headers = [("id", id.into()), ("x-deduplication-header", other.into())];
        publish_headers(&mut client, X, &headers, &format!("{id}{other}"));
    }
    assert_eq!(client.drain("q"), ["11", "21"]);
}

#[test]
fn the_exchange_type_routes_like_a_fanout() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let kind = "x-message-deduplication";
    declare_exchange(&mut client, kind, &[("x-cache-size", "5".into())]);
    client.declare_queue("q");
    client.bind_queue("q", "x", "whatever");
    for key in [1, 2, 1] {
        publish(&mut client, X, key, key.to_string());
    }
    assert_eq!(client.drain("q"), ["1", "2"]);
}

#[test]
fn bad_arguments_of_exchanges_are_refused() {
    let broker = TestBroker::start();
    let size = "Invalid argument, 'x-cache-size' must be an integer greater than 0";
    let ttl = "Invalid argument, 'x-cache-ttl' must be an integer greater than 0";
    for (kind, arguments, text) in [
        ("x-message-deduplication", &[][..], size),
        ("topic", &[ASKED, ("x-cache-size", 0.into())], size),
        ("topic", &[ASKED, ("x-cache-ttl", "soon".into())], ttl),
    ] {
        let mut client = broker.connect();
        let arguments = table(arguments);
        let declare = exchange::Declare {
            exchange: b"x",
            kind: kind.as_bytes(),
            arguments: arguments.view(),
            ..Default::default()
        };
        client.expect_refusal(declare, 406, &format!("PRECONDITION_FAILED - {text}"));
    }
}

#[test]
fn an_exchange_behind_another_drops_its_own_share_only() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    client.declare_exchange("first", "fanout");
    client.bind_exchange("x", "first", "");
    client.declare_queue("all");
    client.bind_queue("all", "first", "");
    for key in ["a", "a", "b"] {
        publish(&mut client, ("first", "k"), key, key);
    }
    assert_eq!(client.drain("all"), ["a", "a", "b"]);
    assert_eq!(client.drain("q"), ["a", "b"]);
}

#[test]
fn dead_letters_pass() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    let retry = [
        ("x-message-ttl", 1.into()),
        ("x-dead-letter-exchange", "x".into()),
        ("x-dead-letter-routing-key", "again".into()),
    ];
    declare_queue(&mut client, "retry", &retry);
    client.bind_queue("retry", "x", "k");
    client.declare_queue("again");
    client.bind_queue("again", "x", "again");
    publish(&mut client, X, "a", "m");
    eventually("it comes round", || client.counts("again").0 > 0);
    publish(&mut client, ("x", "again"), "a", "duplicate");
    assert_eq!(client.drain("again"), ["m"]);
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn a_message_that_waits_is_known_already_and_comes_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[("x-delayed-exchange", true.into())]);
    for _ in 0..3 {
        let headers = [
            ("x-deduplication-header", Value::from("a")),
            ("x-delay", 20.into()),
        ];
        publish_headers(&mut client, X, &headers, "m");
    }
    eventually("it is late enough", || client.counts("q").0 > 0);
    publish(&mut client, X, "a", "late");
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn duplicates_within_a_transaction_are_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    exchange_and_queue(&mut client, &[]);
    client.transact();
    publish(&mut client, X, "a", "1");
    publish(&mut client, X, "a", "2");
    client.commit();
    assert_eq!(client.counts("q").0, 1);
}

#[test]
fn a_queue_takes_a_message_only_while_it_has_no_other_of_its_key() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_queue(&mut client, "q", &[ASKED]);
    client.confirm();
    for body in ["1", "2"] {
        publish(&mut client, Q, "a", body);
    }
    publish(&mut client, Q, "b", "3");
    client.expect_confirms_up_to(3);
    assert_eq!(client.counts("q").0, 2);
    // Unacked, it is still there; and so it is when it was given back.
    let held = client.get("q").unwrap();
    assert_eq!(held.text(), "1");
    publish(&mut client, Q, "a", "4");
    client.requeue(held.delivery_tag);
    publish(&mut client, Q, "a", "5");
    client.settle();
    assert_eq!(client.drain("q"), ["1", "3"]);
    publish(&mut client, Q, "a", "6");
    client.settle();
    assert_eq!(client.drain("q"), ["6"]);
}

#[test]
fn a_queue_forgets_a_key_with_the_ack() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_queue(&mut client, "q", &[ASKED]);
    client.consume("q", "c");
    publish(&mut client, Q, "a", "1");
    publish(&mut client, Q, "a", "2");
    let first = client.expect_delivery();
    assert_eq!(first.text(), "1");
    client.ack(first.delivery_tag);
    publish(&mut client, Q, "a", "3");
    assert_eq!(client.expect_delivery().text(), "3");
    client.expect_nothing();
}

#[test]
fn a_queue_whose_consumer_does_not_ack_remembers_nothing() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_queue(&mut client, "q", &[ASKED]);
    client.consume_no_ack("q", "c");
    publish(&mut client, Q, "a", "1");
    publish(&mut client, Q, "a", "2");
    assert_eq!(client.expect_bodies(2), ["1", "2"]);
}

#[test]
fn keys_go_with_messages_that_expire_are_dropped_or_purged() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_queue(&mut client, "q", &[ASKED, ("x-message-ttl", 1.into())]);
    publish(&mut client, Q, "a", "1");
    eventually("they expire", || client.counts("q").0 == 0);
    publish(&mut client, Q, "a", "2");
    publish(&mut client, Q, "b", "3");
    eventually("they expire", || client.counts("q").0 == 0);

    let arguments = [ASKED, ("x-max-length", 1.into())];
    declare_queue(&mut client, "short", &arguments);
    for key in ["a", "b", "a"] {
        publish(&mut client, ("", "short"), key, key);
    }
    assert_eq!(client.drain("short"), ["a"]);

    declare_queue(&mut client, "purged", &[ASKED]);
    let purged = ("", "purged");
    for key in ["a", "b"] {
        publish(&mut client, purged, key, key);
    }
    let held = client.get("purged").unwrap();
    let purge = queue::Purge {
        queue: b"purged",
        ..Default::default()
    };
    client.call(purge);
    for key in ["a", "b"] {
        publish(&mut client, purged, key, "new");
    }
    assert_eq!(client.counts("purged").0, 1);
    client.ack(held.delivery_tag);
    client.call(purge);
    for key in ["a", "b"] {
        publish(&mut client, purged, key, key);
    }
    assert_eq!(client.drain("purged"), ["a", "b"]);
}

#[test]
fn a_full_queue_confirms_what_it_has_already() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = [
        ASKED,
        ("x-max-length", 1.into()),
        ("x-overflow", "reject-publish".into()),
    ];
    declare_queue(&mut client, "q", &arguments);
    client.confirm();
    publish(&mut client, Q, "a", "1");
    publish(&mut client, Q, "a", "2");
    client.expect_confirms_up_to(2);
    assert_eq!(client.drain("q"), ["1"]);
}

#[test]
fn a_persistent_message_is_not_dropped_for_a_transient_one() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_queue(&mut client, "q", &[ASKED]);
    let headers = table(&[("x-deduplication-header", "a".into())]);
    let persistent = Properties {
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    publish(&mut client, Q, "a", "transient");
    client.publish_with("", "q", &persistent, "persistent");
    client.publish_with("", "q", &persistent, "duplicate");
    publish(&mut client, Q, "a", "duplicate");
    assert_eq!(client.drain("q"), ["transient", "persistent"]);
}

#[test]
fn bad_arguments_of_queues_are_refused() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = table(&[ASKED, ("x-cache-size", 0.into())]);
    let declare = queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..Default::default()
    };
    let text = "PRECONDITION_FAILED - invalid arg 'x-cache-size' for queue 'q' in vhost '/': \
                \"must be an integer greater than 0\"";
    client.expect_refusal(declare, 406, text);
}
