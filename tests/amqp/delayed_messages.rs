//! Exchanges that hold messages back (RabbitMQ: the delayed message exchange, `x-delay`).

use std::time::Instant;

use leveret::wire::amqp::{Properties, TableBuilder, Value, basic, exchange};

use crate::support::{RawClient, TestBroker, ms, publish_to};

fn declare_delayed(client: &mut RawClient, name: &str, inner: &str) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-delayed-type", inner);
    client.call(exchange::Declare {
        exchange: name.as_bytes(),
        kind: b"x-delayed-message",
        arguments: arguments.view(),
        ..Default::default()
    });
}

fn publish_delayed(
    client: &mut RawClient,
    key: &str,
    delay: impl Into<Value<'static>>,
    body: &str,
) {
    let mut headers = TableBuilder::new();
    headers.put("x-delay", delay);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    client.publish_with("delayed", key, &properties, body);
}

/// An exchange `delayed` that is a direct one inside, with the queue `q` bound by `key`.
fn start() -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_delayed(&mut client, "delayed", "direct");
    client.declare_queue("q");
    client.bind_queue("q", "delayed", "key");
    (broker, client)
}

#[test]
fn messages_come_in_the_order_of_their_delays_and_not_before() {
    let (_broker, mut client) = start();
    client.consume_no_ack("q", "tag");
    let published = Instant::now();
    for delay in [300, 100, 200] {
        publish_delayed(&mut client, "key", delay, &delay.to_string());
    }
    publish_delayed(&mut client, "key", 0, "at once");
    assert_eq!(client.expect_delivery().text(), "at once");
    for delay in [100, 200, 300] {
        let delivery = client.expect_delivery();
        assert_eq!(delivery.text(), delay.to_string());
        // Time is told in whole milliseconds.
        assert!(published.elapsed() + ms(1) >= ms(delay));
        assert_eq!(delivery.exchange, "delayed");
        assert_eq!(delivery.routing_key, "key");
    }
}

#[test]
fn a_delayed_message_shows_its_delay_negated_and_all_else_as_it_was() {
    let (_broker, mut client) = start();
    let mut headers = TableBuilder::new();
    headers.put("x-delay", 20).put("a", "b");
    let properties = Properties {
        headers: Some(headers.view()),
        expiration: Some(b"60000"),
        priority: Some(3),
        message_id: Some(b"m"),
        ..Properties::default()
    };
    client.publish_with("delayed", "key", &properties, "body");
    let delivery = client.await_message("q");
    let shown = Properties::decode(&delivery.properties).unwrap();
    assert_eq!(delivery.header("x-delay"), Some(Value::SignedInt(-20)));
    assert_eq!(delivery.text_header("a"), Some("b"));
    assert_eq!(shown.headers.unwrap().iter().count(), 2);
    assert_eq!(shown.expiration, Some(&b"60000"[..]));
    assert_eq!(shown.priority, Some(3));
    assert_eq!(shown.message_id, Some(&b"m"[..]));
}

#[test]
fn bindings_count_when_the_delay_is_over() {
    let (_broker, mut client) = start();
    client.declare_queue("later");
    publish_delayed(&mut client, "other", 100, "m");
    client.bind_queue("later", "delayed", "other");
    assert_eq!(client.await_message("later").text(), "m");
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_delayed_message_is_confirmed_at_once_and_not_returned() {
    let (_broker, mut client) = start();
    client.confirm();
    let mut headers = TableBuilder::new();
    headers.put("x-delay", 600_000);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to("delayed", "nowhere")
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    client.publish_content(&publish, &block, b"m");
    assert_eq!(client.expect_confirm(), (1, false));
}

#[test]
fn what_waits_goes_with_its_exchange() {
    let (_broker, mut client) = start();
    publish_delayed(&mut client, "key", 100, "lost");
    client.call(exchange::Delete {
        exchange: b"delayed",
        ..Default::default()
    });
    declare_delayed(&mut client, "delayed", "direct");
    client.bind_queue("q", "delayed", "key");
    publish_delayed(&mut client, "key", 200, "kept");
    assert_eq!(client.await_message("q").text(), "kept");
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn clients_cannot_reach_the_queue_of_such_an_exchange() {
    let (_broker, mut client) = start();
    publish_delayed(&mut client, "key", 600_000, "m");
    client.send(&basic::Get {
        queue: b"amq.delayed.delayed",
        no_ack: true,
        ..Default::default()
    });
    client.expect_channel_close(
        404,
        "NOT_FOUND - no queue 'amq.delayed.delayed' in vhost '/'",
    );
}
