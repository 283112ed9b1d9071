//! RabbitMQ: firehose. What is published and delivered in a traced virtual host appears again at
//! `amq.rabbitmq.trace`.

use leveret::server::Command;
use leveret::wire::amqp::{ArrayBuilder, Properties, Table, TableBuilder, Value, basic, queue, tx};

use crate::support::{Delivery, RawClient, TestBroker, consume_from, publish_to};

const TRACE: &str = "amq.rabbitmq.trace";

/// A traced broker, and a client that listens to its traces.
fn traced() -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut listener = broker.connect();
    listener.declare_queue("traces");
    listener.bind_queue("traces", TRACE, "#");
    listener.consume_no_ack("traces", "t");
    trace(&broker, "/", true);
    listener.expect_nothing();
    (broker, listener)
}

fn trace(broker: &TestBroker, virtual_host: &str, on: bool) {
    broker.command(Command::Trace {
        virtual_host: virtual_host.to_owned(),
        on,
    });
}

/// `127.0.0.1:54321 -> 127.0.0.1:5672`
fn connection_name(client: &RawClient) -> String {
    let stream = &client.stream;
    let (own, other) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    format!("{own} -> {other}")
}

#[track_caller]
fn expect_trace(listener: &mut RawClient, routing_key: &str) -> Delivery {
    let trace = listener.expect_delivery();
    assert_eq!(
        (&*trace.exchange, &*trace.routing_key),
        (TRACE, routing_key)
    );
    assert!(!trace.redelivered);
    trace
}

/// All headers of a trace, in their order.
fn headers(trace: &Delivery) -> Vec<(&str, Value<'_>)> {
    let headers = trace.properties().headers.unwrap();
    headers
        .iter()
        .map(|(name, value)| (std::str::from_utf8(name).unwrap(), value))
        .collect()
}

fn strings(values: &[&str]) -> ArrayBuilder {
    let mut array = ArrayBuilder::new();
    for value in values {
        array.push(*value);
    }
    array
}

#[test]
fn a_publish_is_told_with_all_that_is_known_of_it() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    for queue in ["q", "q2"] {
        client.declare_queue(queue);
        client.bind_queue(queue, "amq.direct", "k");
    }
    client.open_channel(3);
    let mut own = TableBuilder::new();
    own.put("h", 1);
    own.put_array("CC", &strings(&["q", "cc"]));
    let mut sent = own.clone();
    sent.put_array("BCC", &strings(&["bcc"]));
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(sent.view()),
        delivery_mode: Some(2),
        priority: Some(3),
        reply_to: Some(b"r"),
        expiration: Some(b"100000"),
        timestamp: Some(1234),
        kind: Some(b"ty"),
        user_id: Some(b"guest"),
        ..Properties::default()
    };
    client.publish_with("amq.direct", "k", &properties, "body");

    let trace = expect_trace(&mut listener, "publish.amq.direct");
    assert_eq!(trace.text(), "body");
    let mut told = TableBuilder::new();
    told.put("user_id", "guest");
    told.put("type", "ty");
    told.put("timestamp", 1234);
    told.put("expiration", "100000");
    told.put("reply_to", "r");
    told.put("priority", 3);
    told.put("delivery_mode", 2);
    told.put_table("headers", &own);
    told.put("content_type", "text/plain");
    let (keys, queues) = (strings(&["k", "q", "cc", "bcc"]), strings(&["q", "q2"]));
    let name = connection_name(&client);
    assert_eq!(
        headers(&trace),
        [
            ("exchange_name", Value::string("amq.direct")),
            ("routing_keys", Value::Array(keys.view())),
            ("properties", Value::Table(told.view())),
            ("node", Value::string("rabbit@localhost")),
            ("vhost", Value::string("/")),
            ("connection", Value::string(&name)),
            ("channel", Value::SignedInt(3)),
            ("user", Value::string("guest")),
            ("routed_queues", Value::Array(queues.view())),
        ]
    );
    // It has no other properties: it is transient.
    let only_headers = Properties {
        headers: trace.properties().headers,
        ..Properties::default()
    };
    assert_eq!(trace.properties(), only_headers);
}

#[test]
fn a_delivery_is_told_with_its_receiver() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "body");
    expect_trace(&mut listener, "publish.");
    client.open_channel(5);
    client.consume("q", "c");
    client.expect_delivery();

    let trace = expect_trace(&mut listener, "deliver.q");
    assert_eq!(trace.text(), "body");
    let keys = strings(&["q"]);
    let name = connection_name(&client);
    assert_eq!(
        headers(&trace),
        [
            ("exchange_name", Value::string("")),
            ("routing_keys", Value::Array(keys.view())),
            ("properties", Value::Table(Table::EMPTY)),
            ("node", Value::string("rabbit@localhost")),
            ("redelivered", Value::SignedInt(0)),
            ("vhost", Value::string("/")),
            ("connection", Value::string(&name)),
            ("channel", Value::SignedInt(5)),
            ("user", Value::string("guest")),
        ]
    );
    client.requeue(1);
    assert!(client.expect_delivery().redelivered);
    let trace = expect_trace(&mut listener, "deliver.q");
    assert_eq!(trace.header("redelivered"), Some(Value::SignedInt(1)));
    listener.expect_nothing();
}

#[test]
fn a_message_that_goes_straight_through_is_told_twice() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume_no_ack("q", "c");
    let body = vec![7; 200_000];
    for _ in 0..3 {
        client.publish("", "q", &body);
        assert_eq!(client.expect_delivery().body, body);
        assert_eq!(expect_trace(&mut listener, "publish.").body, body);
        assert_eq!(expect_trace(&mut listener, "deliver.q").body, body);
    }
}

#[test]
fn what_is_got_by_hand_is_told() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    expect_trace(&mut listener, "publish.");
    expect_trace(&mut listener, "publish.");
    client.get("q").unwrap();
    assert_eq!(expect_trace(&mut listener, "deliver.q").text(), "1");
    client.get_as("q", true).unwrap();
    assert_eq!(expect_trace(&mut listener, "deliver.q").text(), "2");
    assert!(client.get("q").is_none());
    listener.expect_nothing();
}

#[test]
fn what_leads_nowhere_is_told_and_what_is_refused_is_not() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.publish_mandatory("amq.direct", "none", "m");
    client.expect_return();
    let trace = expect_trace(&mut listener, "publish.amq.direct");
    let none = ArrayBuilder::new();
    assert_eq!(
        trace.header("routed_queues"),
        Some(Value::Array(none.view()))
    );
    client.publish("nowhere", "k", "m");
    let text = "NOT_FOUND - no exchange 'nowhere' in vhost '/'";
    client.expect_channel_close(404, text);
    client.open_channel(1);
    client.publish(TRACE, "k", "m");
    let text =
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'";
    client.expect_channel_close(403, text);
    listener.expect_nothing();
}

#[test]
fn traces_are_not_traced_but_what_else_comes_to_their_queue_is() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.publish("", "traces", "m");
    expect_trace(&mut listener, "publish.");
    assert_eq!(listener.expect_delivery().text(), "m");
    expect_trace(&mut listener, "deliver.traces");
    listener.expect_nothing();
}

#[test]
fn a_publish_in_a_transaction_is_told_before_its_commit() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.transact();
    client.publish("", "q", "m");
    expect_trace(&mut listener, "publish.");
    client.commit();
    client.call(tx::Rollback {});
    listener.expect_nothing();
}

#[test]
fn a_direct_reply_is_told_when_it_is_published() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume_no_ack("amq.rabbitmq.reply-to", "r");
    let properties = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Properties::default()
    };
    client.publish_with("", "q", &properties, "ask");
    expect_trace(&mut listener, "publish.");
    let request = client.get_as("q", true).unwrap();
    expect_trace(&mut listener, "deliver.q");
    let address = String::from_utf8(request.properties().reply_to.unwrap().to_vec()).unwrap();
    client.publish("", &address, "answer");
    client.expect_delivery();
    let trace = expect_trace(&mut listener, "publish.");
    let none = ArrayBuilder::new();
    assert_eq!(
        trace.header("routed_queues"),
        Some(Value::Array(none.view()))
    );
    listener.expect_nothing();
}

#[test]
fn listeners_choose_by_routing_key() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    trace(&broker, "/", true);
    client.declare_queue("q");
    client.declare_queue("traces");
    client.bind_queue("traces", TRACE, "deliver.#");
    client.publish("", "q", "m");
    assert!(client.drain("traces").is_empty());
    client.get("q").unwrap();
    assert_eq!(client.drain("traces"), ["m"]);
}

#[test]
fn tracing_begins_and_ends_for_those_who_are_there_already() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_queue("traces");
    client.bind_queue("traces", TRACE, "#");
    client.consume_no_ack("q", "c");
    for (on, count) in [(false, 0), (true, 2), (true, 2), (false, 0), (true, 2)] {
        trace(&broker, "/", on);
        trace(&broker, "no such", on);
        client.expect_nothing();
        for _ in 0..3 {
            client.publish("", "q", "m");
            client.expect_delivery();
        }
        assert_eq!(client.drain("traces").len(), 3 * count);
    }
}

#[test]
fn a_backlog_is_told_to_the_last_message() {
    let (broker, mut listener) = traced();
    let mut client = broker.connect();
    client.declare_queue("q");
    for _ in 0..5_000 {
        client.publish_content(&publish_to("", "q"), &[0, 0], "m");
    }
    for _ in 0..5_000 {
        expect_trace(&mut listener, "publish.");
    }
    client.call(basic::Consume {
        no_ack: true,
        ..consume_from("q", "c")
    });
    client.expect_bodies(5_000);
    for _ in 0..5_000 {
        expect_trace(&mut listener, "deliver.q");
    }
    listener.expect_nothing();
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
}
