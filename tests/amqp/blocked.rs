//! Publishers under an alarm (RabbitMQ: `connection.blocked`): told why, and not read until it is over.

use leveret::wire::amqp::{Method, queue};

use crate::support::{RawClient, TestBroker, eventually};

/// Blocks publishers, and returns when the broker has heard of it.
fn block(broker: &TestBroker) {
    let mut witness = broker.connect();
    broker.block("low on memory");
    witness.expect_nothing();
}

fn expect_blocked(client: &mut RawClient) {
    let received = client.expect_on(0, "connection.blocked");
    let Method::ConnectionBlocked(blocked) = received.method() else {
        unreachable!("expect_on checked it");
    };
    assert_eq!(blocked.reason, b"low on memory");
}

#[test]
fn a_publisher_is_told_why_it_waits_and_when_it_goes_on() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    block(&broker);
    client.expect_nothing();
    client.publish("", "q", "m");
    expect_blocked(&mut client);
    broker.unblock();
    client.expect_on(0, "connection.unblocked");
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn a_block_holds_all_input_and_loses_none() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.confirm();
    block(&broker);
    client.publish("", "q", "first");
    expect_blocked(&mut client);
    client.expect_confirm();
    for _ in 0..100 {
        client.publish("", "q", "held");
    }
    client.declare_queue_nowait("held too");
    let mut other = broker.connect();
    assert_eq!(other.counts("q"), (1, 0));
    broker.unblock();
    client.expect_on(0, "connection.unblocked");
    client.expect_confirms_up_to(101);
    assert_eq!(other.counts("q"), (101, 0));
    client.expect_nothing();
    assert_eq!(other.counts("held too"), (0, 0));
}

#[test]
fn a_client_that_did_not_announce_it_waits_without_a_word() {
    let broker = TestBroker::start();
    let mut client = broker.connect_plain();
    client.declare_queue("q");
    block(&broker);
    client.publish("", "q", "1");
    let mut other = broker.connect();
    eventually("the first message is there", || other.counts("q").0 == 1);
    client.publish("", "q", "2");
    assert_eq!(other.counts("q"), (1, 0));
    broker.unblock();
    eventually("the second message is there", || other.counts("q").0 == 2);
    client.expect_nothing();
}

#[test]
fn who_does_not_publish_notices_nothing() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    for n in 0..10 {
        publisher.publish("", "q", n.to_string());
    }
    publisher.expect_nothing();
    block(&broker);
    let mut consumer = broker.connect();
    consumer.prefetch(1, false);
    consumer.consume("q", "c");
    for n in 0..10 {
        let delivery = consumer.expect_delivery();
        assert_eq!(delivery.text(), n.to_string());
        consumer.ack(delivery.delivery_tag);
    }
    consumer.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    publisher.expect_nothing();
}

#[test]
fn a_blocked_publisher_gets_its_deliveries_all_the_same() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_queue("news");
    client.consume_no_ack("news", "c");
    let mut other = broker.connect();
    block(&broker);
    client.publish("", "q", "m");
    expect_blocked(&mut client);
    other.publish("", "news", "still delivered");
    assert_eq!(client.expect_delivery().text(), "still delivered");
}

#[test]
fn messages_beyond_the_memory_limit_block_their_publishers_until_enough_are_gone() {
    let broker = TestBroker::with(|config| config.limits.messages_bytes_max = 1 << 20);
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    let mut sent = 0;
    publisher.confirm();
    loop {
        publisher.publish("", "q", vec![7; 50_000]);
        sent += 1;
        let received = publisher.receive();
        if received.is(0, "connection.blocked") {
            assert!(received.to_string().contains("Blocked"));
            break;
        }
        assert!(received.is(1, "basic.ack"), "{received}");
        assert!(sent < 100, "the limit is never reached");
    }
    let mut consumer = broker.connect();
    assert!(sent >= 20 && consumer.counts("q").0 == sent);
    for _ in 0..sent {
        assert!(consumer.get_as("q", true).is_some());
    }
    // Its last confirm came before or after it was blocked.
    while !publisher.receive().is(0, "connection.unblocked") {}
    publisher.publish("", "q", "on again");
    publisher.settle();
    assert_eq!(consumer.drain("q"), ["on again"]);
}
