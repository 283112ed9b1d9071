//! Permissions (RabbitMQ: access control): what each operation needs, on what, and what is said to who
//! has it not. The texts name the right that is missing, as RabbitMQ 3.11 and later do.

use leveret::protocol::order::Order;
use leveret::wire::amqp::{Method, Properties, Table, TableBuilder, Value, basic, exchange, queue};

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

fn with<'a>(arguments: &'a mut TableBuilder, name: &str, target: &'static str) -> Table<'a> {
    arguments.put(name, Value::string(target));
    arguments.view()
}

fn declare_queue<'a>(name: &'a str) -> queue::Declare<'a> {
    queue::Declare {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

fn declare_exchange<'a>(name: &'a str) -> exchange::Declare<'a> {
    exchange::Declare {
        exchange: name.as_bytes(),
        kind: b"direct",
        ..Default::default()
    }
}

fn bind_queue<'a>(queue: &'a str, exchange: &'a str) -> queue::Bind<'a> {
    queue::Bind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        ..Default::default()
    }
}

fn unbind_queue<'a>(queue: &'a str, exchange: &'a str) -> queue::Unbind<'a> {
    queue::Unbind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        ..Default::default()
    }
}

fn bind_exchange<'a>(destination: &'a str, source: &'a str) -> exchange::Bind<'a> {
    exchange::Bind {
        destination: destination.as_bytes(),
        source: source.as_bytes(),
        ..Default::default()
    }
}

fn unbind_exchange<'a>(destination: &'a str, source: &'a str) -> exchange::Unbind<'a> {
    exchange::Unbind {
        destination: destination.as_bytes(),
        source: source.as_bytes(),
        ..Default::default()
    }
}

#[test]
fn every_operation_needs_its_rights() {
    let (_broker, mut client) = limited();
    let (mut dead, mut alternate) = (TableBuilder::new(), TableBuilder::new());
    let mortal = queue::Declare {
        arguments: with(&mut dead, "x-dead-letter-exchange", "px"),
        ..declare_queue("l.q2")
    };
    let alternating = exchange::Declare {
        arguments: with(&mut alternate, "alternate-exchange", "px"),
        ..declare_exchange("l.x2")
    };
    let (queue, exchange) = ("queue 'pq'", "exchange 'px'");
    let cases: [(Method<'_>, &str, &str); 19] = [
        (declare_queue("pq").into(), "configure", queue),
        (mortal.into(), "write", exchange),
        (declare_exchange("px").into(), "configure", exchange),
        (alternating.into(), "write", exchange),
        (
            queue::Delete {
                queue: b"pq",
                ..Default::default()
            }
            .into(),
            "configure",
            queue,
        ),
        (
            queue::Delete {
                queue: b"none",
                ..Default::default()
            }
            .into(),
            "configure",
            "queue 'none'",
        ),
        (
            exchange::Delete {
                exchange: b"px",
                ..Default::default()
            }
            .into(),
            "configure",
            exchange,
        ),
        (
            queue::Purge {
                queue: b"pq",
                ..Default::default()
            }
            .into(),
            "read",
            queue,
        ),
        (
            basic::Get {
                queue: b"pq",
                ..Default::default()
            }
            .into(),
            "read",
            queue,
        ),
        (
            basic::Consume {
                queue: b"pq",
                ..Default::default()
            }
            .into(),
            "read",
            queue,
        ),
        (bind_queue("pq", "l.x").into(), "write", queue),
        (bind_queue("l.q", "px").into(), "read", exchange),
        (bind_queue("l.q", "none").into(), "read", "exchange 'none'"),
        (unbind_queue("pq", "l.x").into(), "write", queue),
        (unbind_queue("l.q", "px").into(), "read", exchange),
        (bind_exchange("px", "l.x").into(), "write", exchange),
        (bind_exchange("l.x", "px").into(), "read", exchange),
        (unbind_exchange("px", "l.x").into(), "write", exchange),
        (unbind_exchange("l.x", "px").into(), "read", exchange),
    ];
    for (method, right, what) in cases {
        client.expect_refusal(method, 403, &refusal(right, what));
    }
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
