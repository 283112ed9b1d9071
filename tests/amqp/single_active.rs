//! RabbitMQ: single active consumer (`x-single-active-consumer`). One consumer gets everything, the
//! others wait for it to go.

use leveret::wire::amqp::{TableBuilder, basic, queue};

use crate::support::{RawClient, TestBroker, consume_from};

fn declare(client: &mut RawClient, auto_delete: bool) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-single-active-consumer", true);
    client.call(queue::Declare {
        queue: b"q",
        auto_delete,
        arguments: arguments.view(),
        ..Default::default()
    });
}

/// A connection with a consumer, whose tag is `c`.
fn consumer(broker: &TestBroker, priority: i32) -> RawClient {
    let mut client = broker.connect();
    consume_with_priority(&mut client, "c", priority);
    client
}

fn consume_with_priority(client: &mut RawClient, tag: &str, priority: i32) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-priority", priority);
    client.call(basic::Consume {
        arguments: arguments.view(),
        ..consume_from("q", tag)
    });
}

fn publish(client: &mut RawClient, bodies: &[&str]) {
    for body in bodies {
        client.publish("", "q", body);
    }
    client.expect_nothing();
}

#[test]
fn the_first_consumer_gets_everything() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = consumer(&broker, 0);
    let mut second = consumer(&broker, 0);
    publish(&mut publisher, &["1", "2", "3"]);
    assert_eq!(first.expect_bodies(3), ["1", "2", "3"]);
    second.expect_nothing();
    assert_eq!(publisher.counts("q"), (0, 2));
}

#[test]
fn an_active_consumer_without_credit_keeps_the_others_waiting() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = broker.connect();
    first.prefetch(1, false);
    first.consume("q", "c");
    let mut second = consumer(&broker, 0);
    publish(&mut publisher, &["1", "2"]);
    assert_eq!(first.expect_delivery().text(), "1");
    first.expect_nothing();
    second.expect_nothing();
    first.ack(1);
    assert_eq!(first.expect_delivery().text(), "2");
    second.expect_nothing();
}

#[test]
fn nobody_takes_over_from_a_consumer_that_stays_whatever_the_priority() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = consumer(&broker, 0);
    let mut important = consumer(&broker, 9);
    publish(&mut publisher, &["1"]);
    assert_eq!(first.expect_delivery().text(), "1");
    important.expect_nothing();
}

#[test]
fn the_next_is_the_one_of_the_highest_priority_that_came_first() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, false);
    for (tag, priority) in [("a", 0), ("b", 5), ("c", 9), ("d", 9), ("e", -1)] {
        consume_with_priority(&mut client, tag, priority);
    }
    let mut takers = Vec::new();
    for _ in 0..5 {
        client.publish("", "q", "m");
        let delivery = client.expect_delivery();
        client.cancel(&delivery.consumer_tag);
        takers.push(delivery.consumer_tag);
    }
    assert_eq!(takers, ["a", "c", "d", "b", "e"]);
}

/// RabbitMQ 3.10 delivers what waits only with the next message.
#[test]
fn what_waits_goes_to_the_next_as_soon_as_the_active_one_is_cancelled() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = broker.connect();
    first.prefetch(1, false);
    first.consume("q", "c");
    let mut second = consumer(&broker, 0);
    publish(&mut publisher, &["1", "2"]);
    first.expect_delivery();
    first.cancel("c");
    assert_eq!(second.expect_delivery().text(), "2");
    // It comes back as the last in line.
    first.consume("q", "again");
    publish(&mut publisher, &["3"]);
    assert_eq!(second.expect_delivery().text(), "3");
    first.requeue(1);
    let delivery = second.expect_delivery();
    assert_eq!((delivery.text(), delivery.redelivered), ("1", true));
}

#[test]
fn what_a_closed_channel_held_goes_first_and_in_order_to_the_next() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = broker.connect();
    first.prefetch(3, false);
    first.consume("q", "c");
    let mut second = consumer(&broker, 0);
    publish(&mut publisher, &["1", "2", "3", "4", "5"]);
    first.expect_bodies(3);
    first.ack(2);
    first.expect_delivery();
    first.close_channel();
    assert_eq!(second.expect_bodies(4), ["1", "3", "4", "5"]);
}

#[test]
fn what_a_lost_connection_held_goes_to_the_next_on_another() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, false);
    let mut first = consumer(&broker, 0);
    // Another of the same connection, which goes with it.
    first.open_channel(2);
    first.consume("q", "c");
    first.switch_to(1);
    let mut other = consumer(&broker, 0);
    publish(&mut publisher, &["1", "2"]);
    first.expect_bodies(2);
    drop(first);
    assert_eq!(other.expect_bodies(2), ["1", "2"]);
    publish(&mut publisher, &["3"]);
    let delivery = other.expect_delivery();
    assert_eq!((delivery.text(), delivery.redelivered), ("3", false));
}

#[test]
fn a_waiting_consumer_may_go() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, true);
    for tag in ["a", "b", "c"] {
        client.consume("q", tag);
    }
    client.cancel("b");
    client.publish("", "q", "1");
    assert_eq!(client.expect_delivery().consumer_tag, "a");
    client.cancel("a");
    client.publish("", "q", "2");
    assert_eq!(client.expect_delivery().consumer_tag, "c");
    // An auto-delete queue lives as long as anybody waits.
    client.cancel("c");
    let text = "NOT_FOUND - no queue 'q' in vhost '/'";
    client.expect_refusal(consume_from("q", "c"), 404, text);
}

#[test]
fn nobody_can_have_such_a_queue_for_himself() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, false);
    let exclusive = basic::Consume {
        exclusive: true,
        ..consume_from("q", "c")
    };
    let text = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    client.expect_refusal(exclusive, 403, text);
    client.consume("q", "c");
    client.open_channel(2);
    client.expect_refusal(exclusive, 403, text);
}

#[test]
fn all_consumers_hear_that_the_queue_is_gone() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, false);
    client.consume("q", "active");
    client.consume("q", "waiting");
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.expect("basic.cancel");
    client.expect("basic.cancel");
}
