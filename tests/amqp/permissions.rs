//! Permissions (RabbitMQ: access control): what each operation needs, on what, and what is said to who
//! has it not. The texts name the right that is missing, as RabbitMQ 3.11 and later do.

use leveret::protocol::order::Order;
use leveret::wire::amqp::{Method, Properties, TableBuilder, exchange, queue};

use crate::support::operations::{
    bind_exchange, bind_queue, declare_exchange, declare_queue, for_each_operation,
    unbind_exchange, unbind_queue, with,
};
use crate::support::{RawClient, TestBroker};

/// A broker with a queue `pq`, an exchange `px` and a user `u` who may do everything to `l.` alone.
fn limited() -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut admin = broker.connect();
    for queue in ["pq", "l.q"] {
        admin.declare_queue(queue);
    }
    for exchange in ["px", "l.x"] {
        admin.declare_exchange(exchange, "direct");
    }
    broker.add_user("u");
    broker.permit("u", "/", ["^l\\."; 3]);
    let client = broker.connect_as("u", "/");
    (broker, client)
}

fn refusal(right: &str, what: &str) -> String {
    format!("ACCESS_REFUSED - {right} access to {what} in vhost '/' refused for user 'u'")
}

#[test]
fn every_operation_needs_its_rights() {
    let (_broker, mut client) = limited();
    for_each_operation(|operation| {
        let text = refusal(operation.right, operation.what);
        client.expect_refusal(operation.method, 403, &text);
    });
}

#[test]
fn publishing_needs_the_exchange_and_the_default_one_has_a_name_for_it() {
    let (broker, mut client) = limited();
    for (exchange, named) in [("px", "px"), ("none", "none"), ("", "amq.default")] {
        client.publish(exchange, "l.q", "m");
        let text = refusal("write", &format!("exchange '{named}'"));
        assert_eq!(client.expect_channel_close(403, &text), (60, 40));
        client.open_channel(1);
    }
    client.publish_mandatory("l.x", "k", "m");
    client.expect_return();
    broker.permit("u", "/", ["", "^amq\\.default$", ".*"]);
    client.publish("", "l.q", "m");
    assert_eq!(client.drain("l.q"), ["m"]);
}

#[test]
fn who_has_the_rights_is_let_through() {
    let (_broker, mut client) = limited();
    client.declare_queue("l.q");
    client.declare_exchange("l.x", "direct");
    let (mut dead, mut alternate) = (TableBuilder::new(), TableBuilder::new());
    client.call(queue::Declare {
        arguments: with(&mut dead, "x-dead-letter-exchange", "l.x"),
        ..declare_queue("l.q2")
    });
    client.call(exchange::Declare {
        arguments: with(&mut alternate, "alternate-exchange", "l.x"),
        ..declare_exchange("l.x2")
    });
    client.call(bind_queue("l.q", "l.x"));
    client.call(unbind_queue("l.q", "l.x"));
    client.call(bind_exchange("l.x2", "l.x"));
    client.call(unbind_exchange("l.x2", "l.x"));
    client.consume("l.q", "t");
    assert!(client.get("l.q2").is_none());
    // Passive declares need nothing.
    for name in ["pq", "l.q"] {
        client.counts(name);
    }
    client.call(exchange::Declare {
        passive: true,
        ..declare_exchange("px")
    });
}

#[test]
fn a_name_of_the_brokers_own_making_needs_rights_too() {
    let (broker, mut client) = limited();
    client.send(&declare_queue(""));
    let received = client.expect("channel.close");
    let Method::ChannelClose(close) = received.method() else {
        unreachable!("expect checked it");
    };
    let text = String::from_utf8_lossy(close.reply_text);
    assert!(
        text.starts_with("ACCESS_REFUSED - configure access to queue 'amq.gen-"),
        "{text}"
    );
    client.send(&leveret::wire::amqp::channel::CloseOk {});
    client.open_channel(1);
    broker.permit("u", "/", ["^amq\\.gen", "", ""]);
    client.call(declare_queue(""));
}

#[test]
fn what_is_there_is_declared_again_without_a_look_at_its_arguments() {
    let (broker, mut client) = limited();
    let mut admin = broker.connect();
    let (mut dead, mut alternate) = (TableBuilder::new(), TableBuilder::new());
    let mortal = queue::Declare {
        arguments: with(&mut dead, "x-dead-letter-exchange", "px"),
        ..declare_queue("l.q2")
    };
    let alternating = exchange::Declare {
        arguments: with(&mut alternate, "alternate-exchange", "px"),
        ..declare_exchange("l.x2")
    };
    admin.call(mortal);
    admin.call(alternating);
    client.call(mortal);
    client.call(alternating);
}

#[test]
fn dead_letters_and_alternates_need_the_object_to_be_readable() {
    let (broker, mut client) = limited();
    broker.permit("u", "/", [".*", ".*", ""]);
    let (mut dead, mut alternate) = (TableBuilder::new(), TableBuilder::new());
    let mortal = queue::Declare {
        arguments: with(&mut dead, "x-dead-letter-exchange", ""),
        ..declare_queue("l.q2")
    };
    let alternating = exchange::Declare {
        arguments: with(&mut alternate, "alternate-exchange", "px"),
        ..declare_exchange("l.x2")
    };
    client.expect_refusal(mortal, 403, &refusal("read", "queue 'l.q2'"));
    client.expect_refusal(alternating, 403, &refusal("read", "exchange 'l.x2'"));
    broker.permit("u", "/", [".*", "px", ".*"]);
    client.expect_refusal(mortal, 403, &refusal("write", "exchange 'amq.default'"));
}

#[test]
fn other_faults_come_in_rabbitmqs_order() {
    let (_broker, mut client) = limited();
    let own = "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'";
    client.expect_refusal(declare_queue("amq.x"), 403, own);
    let default = "ACCESS_REFUSED - operation not permitted on the default exchange";
    client.expect_refusal(declare_exchange(""), 403, default);
    client.expect_refusal(bind_queue("l.q", ""), 403, default);
    client.expect_refusal(bind_queue("pq", ""), 403, &refusal("write", "queue 'pq'"));
    client.send(&exchange::Declare {
        kind: b"nosuch",
        ..declare_exchange("px")
    });
    let text = "COMMAND_INVALID - unknown exchange type 'nosuch'";
    client.expect_connection_close(503, text);
}

#[test]
fn open_connections_feel_a_change_with_their_next_operation() {
    let (broker, mut client) = limited();
    let mut admin = broker.connect();
    broker.permit("u", "/", [".*"; 3]);
    client.declare_queue("pq");
    client.publish("", "pq", "1");
    client.publish("", "pq", "2");
    client.consume("pq", "t");
    client.expect_bodies(2);
    // A steady publisher has its route by heart.
    broker.permit("u", "/", ["", "", ""]);
    client.publish("", "pq", "3");
    client.expect_channel_close(403, &refusal("write", "exchange 'amq.default'"));
    client.open_channel(1);
    client.expect_refusal(
        declare_queue("pq"),
        403,
        &refusal("configure", "queue 'pq'"),
    );
    broker.obey(Order::ClearPermissions {
        user: "u".to_owned(),
        vhost: "/".to_owned(),
    });
    client.expect_refusal(
        declare_queue("pq"),
        403,
        &refusal("configure", "queue 'pq'"),
    );
    broker.expect_not_allowed("u", "/", "access to vhost '/' refused for user 'u'");
    admin.declare_queue("pq");
}

#[test]
fn topic_permissions_are_of_routing_keys_and_of_topic_exchanges() {
    let (broker, mut client) = limited();
    broker.permit("u", "/", [".*"; 3]);
    let set = |exchange: &str, write: &str, read: &str| {
        broker.obey(Order::SetTopicPermissions {
            user: "u".to_owned(),
            vhost: "/".to_owned(),
            exchange: exchange.to_owned(),
            write: write.to_owned(),
            read: read.to_owned(),
        });
    };
    set("amq.topic", "^{username}\\.", "^ok");
    set("amq.direct", "^$", "^$");
    client.publish("amq.topic", "u.x", "m");
    let topic =
        |right: &str, key: &str| refusal(right, &format!("topic '{key}' in exchange 'amq.topic'"));
    client.publish("amq.topic", "bad", "m");
    assert_eq!(
        client.expect_channel_close(403, &topic("write", "bad")),
        (60, 40)
    );
    client.open_channel(1);
    let bind = |routing_key| queue::Bind {
        routing_key,
        ..bind_queue("pq", "amq.topic")
    };
    client.expect_refusal(bind(b"bad"), 403, &topic("read", "bad"));
    client.expect_refusal(
        queue::Unbind {
            routing_key: b"bad",
            ..unbind_queue("pq", "amq.topic")
        },
        403,
        &topic("read", "bad"),
    );
    client.call(bind(b"ok.#"));
    client.bind_queue("pq", "amq.direct", "any");
    client.publish("amq.direct", "any", "m");
    assert_eq!(client.drain("pq"), ["m"]);
    set("amq.topic", ".*", ".*");
    client.call(bind(b"bad"));
}

#[test]
fn only_an_impersonator_publishes_as_another() {
    let (broker, mut client) = limited();
    broker.permit("u", "/", [".*"; 3]);
    let other = Properties {
        user_id: Some(b"other"),
        ..Properties::default()
    };
    client.publish_with("", "pq", &other, "m");
    let text =
        "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'u'";
    client.expect_channel_close(406, text);
    client.open_channel(1);
    broker.obey(Order::SetUserTags {
        name: "u".to_owned(),
        tags: vec!["impersonator".to_owned()],
    });
    client.publish_with("", "pq", &other, "m");
    assert_eq!(client.drain("pq"), ["m"]);
    broker.obey(Order::SetUserTags {
        name: "u".to_owned(),
        tags: Vec::new(),
    });
    client.publish_with("", "pq", &other, "m");
    client.expect_channel_close(406, text);
}
