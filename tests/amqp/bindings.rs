//! Bindings of queues and exchanges: what leads where, and what unbinding takes away.

use leveret::wire::amqp::{TableBuilder, exchange, queue};

use crate::support::{RawClient, TestBroker};

fn unbind_queue(client: &mut RawClient, queue: &str, exchange: &str, routing_key: &str) {
    client.call(queue::Unbind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    });
}

fn unbind_exchange(client: &mut RawClient, destination: &str, source: &str, routing_key: &str) {
    client.call(exchange::Unbind {
        destination: destination.as_bytes(),
        source: source.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    });
}

#[test]
fn the_default_exchange_leads_to_each_queue_by_its_name() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("hello");
    client.publish("", "hello", "1");
    client.publish("", "nobody", "dropped");
    let got = client.get("hello").unwrap();
    assert_eq!(
        (got.exchange.as_str(), got.routing_key.as_str()),
        ("", "hello")
    );
    assert!(client.get("hello").is_none());
}

#[test]
fn a_direct_exchange_wants_the_very_key() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("both");
    client.declare_queue("one");
    client.bind_queue("both", "amq.direct", "error");
    client.bind_queue("both", "amq.direct", "info");
    client.bind_queue("one", "amq.direct", "error");
    for key in ["error", "info", "warning", "erro", ""] {
        client.publish("amq.direct", key, key);
    }
    assert_eq!(client.drain("both"), ["error", "info"]);
    assert_eq!(client.drain("one"), ["error"]);
}

#[test]
fn a_fanout_exchange_ignores_the_key() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for queue in ["q1", "q2"] {
        client.declare_queue(queue);
        client.bind_queue(queue, "amq.fanout", "whatever");
    }
    client.publish("amq.fanout", "anything", "1");
    assert_eq!(client.drain("q1"), ["1"]);
    assert_eq!(client.drain("q2"), ["1"]);
}

#[test]
fn a_queue_gets_one_copy_however_many_bindings_match() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for (exchange, key) in [
        ("amq.topic", "a.*"),
        ("amq.topic", "#"),
        ("amq.topic", "a.b"),
    ] {
        client.bind_queue("q", exchange, key);
    }
    client.publish("amq.topic", "a.b", "once");
    assert_eq!(client.drain("q"), ["once"]);
}

#[test]
fn binding_twice_is_binding_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.direct", "k");
    client.bind_queue("q", "amq.direct", "k");
    client.publish("amq.direct", "k", "1");
    unbind_queue(&mut client, "q", "amq.direct", "k");
    client.publish("amq.direct", "k", "2");
    assert_eq!(client.drain("q"), ["1"]);
}

#[test]
fn bindings_with_other_arguments_are_other_bindings() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.fanout", "k");
    let mut arguments = TableBuilder::new();
    arguments.put("a", 1);
    client.call(queue::Bind {
        queue: b"q",
        exchange: b"amq.fanout",
        routing_key: b"k",
        arguments: arguments.view(),
        ..Default::default()
    });
    unbind_queue(&mut client, "q", "amq.fanout", "k");
    client.publish("amq.fanout", "", "still bound");
    client.call(queue::Unbind {
        queue: b"q",
        exchange: b"amq.fanout",
        routing_key: b"k",
        arguments: arguments.view(),
        ..Default::default()
    });
    client.publish("amq.fanout", "", "no more");
    assert_eq!(client.drain("q"), ["still bound"]);
}

#[test]
fn an_empty_queue_and_key_bind_the_last_queue_under_its_own_name() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.call(queue::Bind {
        exchange: b"amq.direct",
        ..Default::default()
    });
    client.publish("amq.direct", "q", "1");
    client.publish("amq.direct", "", "2");
    assert_eq!(client.drain("q"), ["1"]);
    client.call(queue::Unbind {
        exchange: b"amq.direct",
        ..Default::default()
    });
    client.publish("amq.direct", "q", "3");
    assert_eq!(client.drain("q"), [""; 0]);
}

#[test]
fn both_ends_of_a_new_binding_must_exist() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let bind = queue::Bind {
        queue: b"q",
        exchange: b"amq.direct",
        ..Default::default()
    };
    let no_exchange = queue::Bind {
        exchange: b"none",
        ..bind
    };
    let no_queue = queue::Bind {
        queue: b"nobody",
        ..bind
    };
    let neither = queue::Bind {
        queue: b"nobody",
        ..no_exchange
    };
    let exchange_missing = "NOT_FOUND - no exchange 'none' in vhost '/'";
    client.expect_refusal(no_exchange, 404, exchange_missing);
    client.expect_refusal(no_queue, 404, "NOT_FOUND - no queue 'nobody' in vhost '/'");
    client.expect_refusal(neither, 404, exchange_missing);
    let bind = exchange::Bind {
        destination: b"amq.fanout",
        source: b"none",
        ..Default::default()
    };
    client.expect_refusal(bind, 404, exchange_missing);
    let bind = exchange::Bind {
        destination: b"none",
        source: b"amq.fanout",
        ..Default::default()
    };
    client.expect_refusal(bind, 404, exchange_missing);
}

#[test]
fn unbinding_what_does_not_exist_is_fine() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for (queue, exchange) in [
        ("q", "amq.direct"),
        ("nobody", "amq.direct"),
        ("q", "none"),
        ("nobody", "none"),
    ] {
        unbind_queue(&mut client, queue, exchange, "k");
        unbind_exchange(&mut client, queue, exchange, "k");
    }
}

#[test]
fn transient_and_durable_may_be_bound() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(queue::Declare {
        queue: b"durable",
        durable: true,
        ..Default::default()
    });
    client.declare_exchange("transient", "fanout");
    client.bind_queue("durable", "transient", "");
    client.publish("transient", "", "m");
    assert_eq!(client.drain("durable"), ["m"]);
}

#[test]
fn exchanges_bound_to_exchanges_pass_messages_on() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("source", "topic");
    client.declare_exchange("destination", "direct");
    client.bind_exchange("destination", "source", "a.#");
    client.declare_queue("q");
    client.bind_queue("q", "destination", "a.b");
    client.publish("source", "a.b", "1");
    client.publish("source", "a.c", "2");
    client.publish("source", "b", "3");
    let got = client.get("q").unwrap();
    assert_eq!((got.text(), got.exchange.as_str()), ("1", "source"));
    assert!(client.get("q").is_none());
    unbind_exchange(&mut client, "destination", "source", "a.#");
    client.publish("source", "a.b", "4");
    assert!(client.get("q").is_none());
}

#[test]
fn cycles_of_exchanges_deliver_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for name in ["a", "b", "c"] {
        client.declare_exchange(name, "fanout");
    }
    for (destination, source) in [("b", "a"), ("c", "b"), ("a", "c"), ("a", "a")] {
        client.bind_exchange(destination, source, "");
    }
    client.declare_queue("q");
    client.bind_queue("q", "a", "");
    client.bind_queue("q", "c", "");
    client.publish("b", "", "once");
    assert_eq!(client.drain("q"), ["once"]);
}

#[test]
fn deleting_an_exchange_takes_the_bindings_to_and_from_it_along() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("source", "fanout");
    client.declare_exchange("middle", "fanout");
    client.bind_exchange("middle", "source", "");
    client.declare_queue("q");
    client.bind_queue("q", "middle", "");
    client.call(exchange::Delete {
        exchange: b"middle",
        ..Default::default()
    });
    client.declare_exchange("middle", "fanout");
    client.publish_mandatory("source", "", "m");
    client.expect_return();
    client.publish_mandatory("middle", "", "m");
    client.expect_return();
}

#[test]
fn a_steady_publisher_follows_every_change_of_the_bindings() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    let mut admin = broker.connect();
    admin.declare_queue("q1");
    admin.declare_queue("q2");
    for round in 0..5 {
        admin.bind_queue("q1", "amq.direct", "k");
        publisher.publish("amq.direct", "k", format!("{round}a"));
        publisher.expect_nothing();
        unbind_queue(&mut admin, "q1", "amq.direct", "k");
        admin.bind_queue("q2", "amq.direct", "k");
        publisher.publish("amq.direct", "k", format!("{round}b"));
        publisher.expect_nothing();
        unbind_queue(&mut admin, "q2", "amq.direct", "k");
        publisher.publish_mandatory("amq.direct", "k", "c");
        publisher.expect_return();
    }
    assert_eq!(admin.drain("q1"), ["0a", "1a", "2a", "3a", "4a"]);
    assert_eq!(admin.drain("q2"), ["0b", "1b", "2b", "3b", "4b"]);
}
