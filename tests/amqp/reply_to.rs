//! Direct reply-to (RabbitMQ): answers without a queue.

use leveret::wire::amqp::{Method, Properties, basic, queue};

use crate::support::{RawClient, TestBroker, consume_from};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn listen(tag: &str) -> basic::Consume<'_> {
    basic::Consume {
        no_ack: true,
        ..consume_from(REPLY_TO, tag)
    }
}

fn declare(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

fn ask(client: &mut RawClient, body: &str) {
    let properties = Properties {
        reply_to: Some(REPLY_TO.as_bytes()),
        correlation_id: Some(b"7"),
        ..Default::default()
    };
    client.publish_with("", "requests", &properties, body);
}

/// The request's body and where its answer goes.
fn next_request(server: &mut RawClient) -> (String, String) {
    let request = server.get_as("requests", true).unwrap();
    let reply_to = request.properties().reply_to.unwrap();
    let reply_to = String::from_utf8(reply_to.to_vec()).unwrap();
    (request.text().to_owned(), reply_to)
}

fn gone(name: &str) -> String {
    format!("NOT_FOUND - no queue '{name}' in vhost '/'")
}

/// A client that listens for answers, and a server with the client's address.
fn acquainted(broker: &TestBroker) -> (RawClient, RawClient, String) {
    let mut server = broker.connect();
    server.declare_queue("requests");
    let mut client = broker.connect();
    client.call(listen("r"));
    ask(&mut client, "hello?");
    client.expect_nothing();
    let (_, address) = next_request(&mut server);
    (client, server, address)
}

#[test]
fn a_request_is_answered_straight_to_its_channel() {
    let broker = TestBroker::start();
    let (mut client, mut server, address) = acquainted(&broker);
    assert!(address.starts_with("amq.rabbitmq.reply-to."));
    let properties = Properties {
        correlation_id: Some(b"7"),
        ..Default::default()
    };
    for body in ["first", "second"] {
        server.publish_with("", &address, &properties, body);
        let answer = client.expect_delivery();
        assert_eq!((answer.text(), answer.consumer_tag.as_str()), (body, "r"));
        assert_eq!((&*answer.exchange, &*answer.routing_key), ("", &*address));
        assert_eq!(answer.properties().correlation_id, Some(&b"7"[..]));
    }
    assert!(!address.is_empty());
}

#[test]
fn every_requester_has_an_address_of_its_own() {
    let broker = TestBroker::start();
    let (mut one, mut server, address_of_one) = acquainted(&broker);
    let mut two = broker.connect();
    two.call(listen("r"));
    ask(&mut two, "me too");
    two.expect_nothing();
    let (_, address_of_two) = next_request(&mut server);
    assert_ne!(address_of_one, address_of_two);
    server.publish("", &address_of_two, "for two");
    server.publish("", &address_of_one, "for one");
    assert_eq!(one.expect_delivery().text(), "for one");
    assert_eq!(two.expect_delivery().text(), "for two");
}

#[test]
fn an_answer_that_is_taken_does_not_come_back() {
    let broker = TestBroker::start();
    let (mut client, mut server, address) = acquainted(&broker);
    server.publish_mandatory("", &address, "answer");
    server.expect_nothing();
    client.expect_delivery();
}

#[test]
fn an_answer_to_nobody_comes_back() {
    let broker = TestBroker::start();
    let (mut client, mut server, address) = acquainted(&broker);
    client.cancel("r");
    for key in [&*address, REPLY_TO, "amq.rabbitmq.reply-to.bogus"] {
        server.publish_mandatory("", key, "answer");
        assert_eq!(server.expect_return().routing_key, key);
    }
    server.publish_mandatory("amq.direct", &address, "answer");
    server.expect_return();
}

#[test]
fn a_declare_asks_whether_the_requester_is_still_there() {
    let broker = TestBroker::start();
    let (mut client, mut server, address) = acquainted(&broker);
    for passive in [true, false] {
        for name in [&*address, REPLY_TO] {
            let received = server.call(queue::Declare {
                passive,
                ..declare(name)
            });
            let Method::QueueDeclareOk(ok) = received.method() else {
                unreachable!("call checked it");
            };
            assert_eq!(ok.queue, name.as_bytes());
            assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
        }
    }
    client.close_channel();
    for name in [
        &*address,
        "amq.rabbitmq.reply-to.bogus",
        "amq.rabbitmq.reply-to.",
    ] {
        server.expect_refusal(declare(name), 404, &gone(name));
    }
}

#[test]
fn answers_are_never_acked() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let with_ack = basic::Consume {
        no_ack: false,
        ..listen("r")
    };
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    client.expect_refusal(with_ack, 406, text);
}

#[test]
fn a_channel_listens_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(listen("a"));
    let text = "PRECONDITION_FAILED - reply consumer already set";
    client.expect_refusal(listen("b"), 406, text);
    client.call(listen("a"));
    client.cancel("a");
    client.call(listen("b"));
}

#[test]
fn only_a_listening_channel_may_ask() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("requests");
    client.call(listen("r"));
    client.open_channel(2);
    ask(&mut client, "from another channel");
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    assert_eq!(client.expect_channel_close(406, text), (60, 40));
}

#[test]
fn the_name_is_no_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let name = REPLY_TO.as_bytes();
    let methods: [Method<'_>; 3] = [
        basic::Get {
            queue: name,
            ..Default::default()
        }
        .into(),
        queue::Bind {
            queue: name,
            exchange: b"amq.direct",
            ..Default::default()
        }
        .into(),
        queue::Purge {
            queue: name,
            ..Default::default()
        }
        .into(),
    ];
    for method in methods {
        client.expect_refusal(method, 404, &gone(REPLY_TO));
    }
    client.call(queue::Unbind {
        queue: name,
        exchange: b"amq.direct",
        ..Default::default()
    });
    client.call(queue::Delete {
        queue: name,
        ..Default::default()
    });
}

#[test]
fn the_address_changes_with_the_requester_even_for_steady_publishers() {
    let broker = TestBroker::start();
    let (mut client, mut server, address) = acquainted(&broker);
    server.publish("", &address, "heard");
    assert_eq!(client.expect_delivery().text(), "heard");
    client.cancel("r");
    server.publish("", &address, "lost");
    client.call(listen("r"));
    server.publish("", &address, "lost too");
    client.expect_nothing();
    ask(&mut client, "again");
    client.expect_nothing();
    let (_, new_address) = next_request(&mut server);
    assert_ne!(address, new_address);
    server.publish("", &new_address, "heard again");
    assert_eq!(client.expect_delivery().text(), "heard again");
}
