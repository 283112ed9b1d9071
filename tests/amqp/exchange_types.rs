//! The exchange types that come with plugins elsewhere. What hashes and chance decide is not RabbitMQ's
//! to the queue, but follows the same rules.

use leveret::wire::amqp::{ArrayBuilder, Properties, Table, TableBuilder, Value, exchange, queue};

use crate::support::{RawClient, TestBroker};

fn declare<'a>(name: &'a str, kind: &'a str, arguments: Table<'a>) -> exchange::Declare<'a> {
    exchange::Declare {
        exchange: name.as_bytes(),
        kind: kind.as_bytes(),
        arguments,
        ..Default::default()
    }
}

fn bind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> queue::Bind<'a> {
    queue::Bind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    }
}

fn with(entries: &[(&str, Value<'_>)]) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.put(name, *value);
    }
    table
}

/// Declares queues and binds each under the key.
fn bind_queues(client: &mut RawClient, exchange: &str, queues: &[&str], key: &str) {
    for queue in queues {
        client.declare_queue(queue);
        client.bind_queue(queue, exchange, key);
    }
}

/// What the queues get of so many messages, the body of each being its key.
fn spread(client: &mut RawClient, exchange: &str, queues: &[&str], count: u32) -> Vec<Vec<String>> {
    for key in 0..count {
        let key = format!("key.{key}");
        client.publish(exchange, &key, &key);
    }
    drained(client, queues)
}

fn drained(client: &mut RawClient, queues: &[&str]) -> Vec<Vec<String>> {
    queues.iter().map(|queue| client.drain(queue)).collect()
}

fn sizes(spread: &[Vec<String>]) -> Vec<usize> {
    spread.iter().map(Vec::len).collect()
}

#[test]
fn consistent_hash_sends_each_key_one_way_by_weight() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-consistent-hash");
    bind_queues(&mut client, "x", &["a", "b"], "1");
    bind_queues(&mut client, "x", &["c"], "2");
    let first = spread(&mut client, "x", &["a", "b", "c"], 1000);
    assert_eq!(sizes(&first).iter().sum::<usize>(), 1000);
    for (size, expected) in sizes(&first).into_iter().zip([250, 250, 500]) {
        assert!(size.abs_diff(expected) < 80, "{:?}", sizes(&first));
    }
    let second = spread(&mut client, "x", &["a", "b", "c"], 1000);
    assert_eq!(first, second);
}

#[test]
fn consistent_hash_moves_only_the_share_of_a_binding_that_comes_or_goes() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-consistent-hash");
    bind_queues(&mut client, "x", &["a", "b"], "1");
    let queues = ["a", "b", "new"];
    client.declare_queue("new");
    let before = spread(&mut client, "x", &queues, 300);
    client.bind_queue("new", "x", "1");
    let during = spread(&mut client, "x", &queues, 300);
    for (before, during) in before.iter().zip(&during).take(2) {
        assert!(during.iter().all(|key| before.contains(key)));
    }
    assert!(during[2].len().abs_diff(100) < 40);
    // Gone with its queue, for an exchange as for a policy that changes meanwhile.
    client.call(queue::Delete {
        queue: b"new",
        ..Default::default()
    });
    assert_eq!(spread(&mut client, "x", &queues[..2], 300), before[..2]);
    client.call(queue::Delete {
        queue: b"a",
        ..Default::default()
    });
    let alone = spread(&mut client, "x", &["b"], 300);
    assert_eq!(alone[0].len(), 300);
}

#[test]
fn consistent_hash_takes_weights_only() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-consistent-hash");
    client.declare_queue("q");
    for (key, text) in [
        ("abc", "The binding key must be an integer: <<\"abc\">>"),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
    ] {
        let text = format!("PRECONDITION_FAILED - {text}");
        client.expect_refusal(bind("q", "x", key), 406, &text);
    }
    for key in ["1000000000", "+3", "007"] {
        client.call(bind("q", "x", key));
    }
}

#[test]
fn consistent_hash_looks_at_a_header_with_the_arguments_of_either_broker() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let queues = ["a", "b", "c", "d"];
    for (name, argument) in [("x", "hash-header"), ("y", "x-hash-on")] {
        let arguments = with(&[
            (argument, "customer".into()),
            ("x-algorithm", "jump".into()),
        ]);
        client.call(declare(name, "x-consistent-hash", arguments.view()));
        bind_queues(&mut client, name, &queues, "1");
        let mut places = Vec::new();
        for customer in 0..40 {
            let customer = customer.to_string();
            let headers = with(&[("customer", customer.as_str().into())]);
            for key in ["k", "k", "other"] {
                let properties = Properties {
                    headers: Some(headers.view()),
                    ..Properties::default()
                };
                client.publish_with(name, key, &properties, "m");
            }
            let sizes = sizes(&drained(&mut client, &queues));
            places.push(
                sizes
                    .iter()
                    .position(|&size| size == 3)
                    .expect("all in one"),
            );
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, [0, 1, 2, 3]);
        for key in ["k", "l", "m"] {
            client.publish(name, key, "without the header");
        }
        assert!(sizes(&drained(&mut client, &queues)).contains(&3));
    }
}

#[test]
fn consistent_hash_looks_at_a_property_of_every_single_message() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let queues = ["a", "b", "c", "d"];
    for property in ["message_id", "correlation_id", "timestamp"] {
        let arguments = with(&[("hash-property", property.into())]);
        client.call(declare(property, "x-consistent-hash", arguments.view()));
        bind_queues(&mut client, property, &queues, "1");
        let send = |client: &mut RawClient| {
            for number in 0..40_u64 {
                let text = number.to_string();
                let properties = Properties {
                    message_id: Some(text.as_bytes()).filter(|_| property == "message_id"),
                    correlation_id: Some(text.as_bytes()).filter(|_| property == "correlation_id"),
                    timestamp: Some(number).filter(|_| property == "timestamp"),
                    ..Properties::default()
                };
                client.publish_with(property, "same", &properties, &text);
                client.publish(property, "same", "without");
            }
            drained(client, &queues)
        };
        let first = send(&mut client);
        assert_eq!(first, send(&mut client));
        let with_property = first.iter().map(|bodies| {
            let bodies = bodies.iter().filter(|body| *body != "without");
            bodies.count()
        });
        assert!(
            with_property
                .into_iter()
                .all(|count| (1..30).contains(&count))
        );
        let without = first
            .iter()
            .filter(|bodies| bodies.contains(&"without".to_owned()));
        assert_eq!(without.count(), 1);
    }
}

#[test]
fn consistent_hash_refuses_arguments_that_make_no_sense() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (entries, text) in [
        (
            &[
                ("hash-header", Value::string("h")),
                ("hash-property", "message_id".into()),
            ][..],
            "hash-header and hash-property are mutually exclusive",
        ),
        (
            &[("hash-property", "nosuch".into())],
            "Unsupported property: nosuch",
        ),
        (
            &[("hash-header", 5.into())],
            "Invalid argument 5, 'hash-header' must be a string",
        ),
    ] {
        let arguments = with(entries);
        let text = format!("PRECONDITION_FAILED - {text}");
        let declare = declare("x", "x-consistent-hash", arguments.view());
        client.expect_refusal(declare, 406, &text);
    }
}

/// RabbitMQ hashes all keys together, so there too a message goes one way.
#[test]
fn types_that_pick_one_pick_one_for_all_keys_of_a_message() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut keys = ArrayBuilder::new();
    for key in 0..20 {
        keys.push(key.to_string().as_str());
    }
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &keys);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    for kind in [
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
        "x-local-random",
    ] {
        client.declare_exchange(kind, kind);
        bind_queues(&mut client, kind, &["a", "b", "c"], "1");
        client.publish_with(kind, "k", &properties, "m");
        let sizes = sizes(&drained(&mut client, &["a", "b", "c"]));
        assert_eq!(sizes.iter().sum::<usize>(), 1, "{kind}");
    }
}

#[test]
fn modulus_hash_sends_each_key_one_way_and_ignores_binding_keys() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-modulus-hash");
    let queues = ["a", "b", "c", "d"];
    bind_queues(&mut client, "x", &queues, "whatever");
    let first = spread(&mut client, "x", &queues, 1000);
    assert!(sizes(&first).iter().all(|size| size.abs_diff(250) < 80));
    assert_eq!(spread(&mut client, "x", &queues, 1000), first);
    client.call(queue::Unbind {
        queue: b"a",
        exchange: b"x",
        routing_key: b"whatever",
        ..Default::default()
    });
    let rest = spread(&mut client, "x", &queues, 1000);
    assert_eq!(rest[0].len(), 0);
    assert_eq!(sizes(&rest).iter().sum::<usize>(), 1000);
}

#[test]
fn random_sends_equal_messages_all_ways() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for kind in ["x-random", "x-local-random"] {
        client.declare_exchange(kind, kind);
        let queues = ["a", "b", "c"];
        bind_queues(&mut client, kind, &queues, "");
        for _ in 0..600 {
            client.publish(kind, "the same key", "m");
        }
        let sizes = sizes(&drained(&mut client, &queues));
        assert_eq!(sizes.iter().sum::<usize>(), 600);
        assert!(
            sizes.iter().all(|size| size.abs_diff(200) < 60),
            "{sizes:?}"
        );
    }
}

#[test]
fn recent_history_gives_a_new_binding_the_last_messages_as_they_were_published() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let length = with(&[("x-recent-history-length", 3.into())]);
    client.call(declare("x", "x-recent-history", length.view()));
    for number in 0..5 {
        client.publish("x", &format!("key.{number}"), number.to_string());
    }
    for value in [Value::from(true), "true".into()] {
        let headers = with(&[("x-recent-history-no-store", value)]);
        let properties = Properties {
            headers: Some(headers.view()),
            ..Properties::default()
        };
        client.publish_with("x", "k", &properties, "only a boolean counts");
    }
    client.declare_queue("q");
    client.bind_queue("q", "x", "ignored");
    let first = client.get_as("q", true).expect("history");
    assert_eq!(
        (&first.exchange[..], &first.routing_key[..], first.text()),
        ("x", "key.3", "3")
    );
    assert!(!first.redelivered);
    assert_eq!(client.drain("q"), ["4", "only a boolean counts"]);
    client.bind_queue("q", "x", "ignored");
    assert_eq!(client.counts("q"), (0, 0), "it was bound already");
    client.publish("x", "k", "new");
    assert_eq!(client.drain("q"), ["new"]);
    client.bind_queue("q", "x", "another binding");
    assert_eq!(client.drain("q"), ["4", "only a boolean counts", "new"]);
}

#[test]
fn recent_history_is_twenty_messages_if_nothing_is_said() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-recent-history");
    for number in 0..30 {
        client.publish("x", "k", number.to_string());
    }
    client.declare_queue("q");
    client.consume_no_ack("q", "tag");
    client.send(&bind("q", "x", ""));
    client.expect("queue.bind-ok");
    let expected: Vec<_> = (10..30).map(|number| number.to_string()).collect();
    assert_eq!(client.expect_bodies(20), expected);
    client.publish("x", "k", "new");
    assert_eq!(client.expect_delivery().text(), "new");
}

/// RabbitMQ's plugin gives them to an exchange in the opposite order, and fails if one finds no queue.
#[test]
fn recent_history_goes_through_a_newly_bound_exchange() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-recent-history");
    client.declare_exchange("y", "direct");
    client.declare_queue("q");
    client.bind_queue("q", "y", "wanted");
    for (key, body) in [("wanted", "1"), ("unwanted", "2"), ("wanted", "3")] {
        client.publish("x", key, body);
    }
    let mut copies = ArrayBuilder::new();
    copies.push("wanted");
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &copies);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    client.publish_with("x", "other", &properties, "4");
    client.bind_exchange("y", "x", "");
    assert_eq!(client.drain("q"), ["1", "3", "4"]);
}

#[test]
fn recent_history_remembers_what_nobody_got_and_returns_it_if_mandatory() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("x", "x-recent-history");
    client.publish_mandatory("x", "k", "m");
    assert_eq!(client.expect_return().routing_key, "k");
    client.transact();
    client.publish("x", "k", "in a transaction");
    client.declare_queue("q");
    client.bind_queue("q", "x", "");
    assert_eq!(client.drain("q"), ["m"]);
    client.commit();
    // Its route is of before the binding, as in every transaction.
    assert_eq!(client.drain("q"), [""; 0]);
    client.bind_queue("q", "x", "again");
    assert_eq!(client.drain("q"), ["m", "in a transaction"]);
}

#[test]
fn recent_history_of_many_messages_arrives_in_parts_and_in_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let length = with(&[("x-recent-history-length", 2000.into())]);
    client.call(declare("x", "x-recent-history", length.view()));
    for number in 0..3000 {
        client.publish("x", "k", number.to_string());
    }
    client.declare_queue("q");
    client.bind_queue("q", "x", "");
    client.consume_no_ack("q", "tag");
    let expected: Vec<_> = (1000..3000).map(|number| number.to_string()).collect();
    assert_eq!(client.expect_bodies(2000), expected);
    client.call(exchange::Delete {
        exchange: b"x",
        ..Default::default()
    });
    client.settle();
}

#[test]
fn recent_history_needs_a_positive_length() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (value, shown) in [
        (Value::from(0), "0"),
        ((-1).into(), "-1"),
        ("5".into(), "<<\"5\">>"),
        (true.into(), "true"),
        (Value::Void, "undefined"),
    ] {
        let length = with(&[("x-recent-history-length", value)]);
        let text = format!(
            "PRECONDITION_FAILED - Invalid argument {shown}, 'x-recent-history-length' must be a \
             positive integer"
        );
        let declare = declare("x", "x-recent-history", length.view());
        client.expect_refusal(declare, 406, &text);
    }
    // RabbitMQ looks at them only if the exchange is new.
    client.declare_exchange("x", "x-recent-history");
    let length = with(&[("x-recent-history-length", 0.into())]);
    client.call(declare("x", "x-recent-history", length.view()));
}

#[test]
fn delayed_message_needs_another_type_that_exists() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (entries, text) in [
        (
            &[][..],
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        ),
        (
            &[("x-delayed-type", Value::string("x-delayed-message"))],
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        ),
    ] {
        let arguments = with(entries);
        let declare = declare("x", "x-delayed-message", arguments.view());
        client.expect_refusal(declare, 406, &format!("PRECONDITION_FAILED - {text}"));
    }
    let arguments = with(&[("x-delayed-type", "nosuch".into())]);
    client.send(&declare("x", "x-delayed-message", arguments.view()));
    let text = "COMMAND_INVALID - unknown exchange type 'nosuch'";
    client.expect_connection_close(503, text);
}

#[test]
fn delayed_message_routes_like_the_type_inside() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = with(&[("x-delayed-type", "topic".into())]);
    client.call(declare("x", "x-delayed-message", arguments.view()));
    let arguments = with(&[("x-delayed-exchange", true.into())]);
    client.call(declare("y", "topic", arguments.view()));
    client.declare_queue("q");
    for exchange in ["x", "y"] {
        client.bind_queue("q", exchange, "a.*");
        client.publish(exchange, "a.b", "m");
        client.publish(exchange, "b.b", "nowhere");
        assert_eq!(client.drain("q"), ["m"]);
    }
    client.call(declare("y", "topic", Table::EMPTY));
    let text = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': \
                received 'topic' but current is 'x-delayed-message'";
    client.expect_refusal(declare("x", "topic", Table::EMPTY), 406, text);
}

#[test]
fn every_type_has_alternates_and_can_be_bound_to_and_from() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("rest");
    client.bind_queue("rest", "amq.fanout", "");
    client.declare_exchange("entry", "fanout");
    for kind in [
        "x-consistent-hash",
        "x-delayed-message",
        "x-local-random",
        "x-modulus-hash",
        "x-random",
        "x-recent-history",
    ] {
        let arguments = with(&[
            ("alternate-exchange", "amq.fanout".into()),
            ("x-delayed-type", "fanout".into()),
        ]);
        client.call(declare(kind, kind, arguments.view()));
        client.publish(kind, "k", "to the alternate");
        assert_eq!(client.drain("rest"), ["to the alternate"], "{kind}");
        client.declare_queue(kind);
        client.declare_exchange("exit", "fanout");
        client.bind_exchange(kind, "entry", "");
        client.bind_exchange("exit", kind, "1");
        client.bind_queue(kind, "exit", "");
        client.drain(kind);
        client.publish("entry", "k", "through");
        assert_eq!(client.drain(kind), ["through"], "{kind}");
        client.call(exchange::Delete {
            exchange: kind.as_bytes(),
            ..Default::default()
        });
        client.call(exchange::Delete {
            exchange: b"exit",
            ..Default::default()
        });
        client.call(queue::Delete {
            queue: kind.as_bytes(),
            ..Default::default()
        });
    }
}
