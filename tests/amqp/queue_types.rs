//! Queues by the name of their type (RabbitMQ: `x-queue-type`): what each takes and refuses.

use leveret::wire::amqp::{Method, Value, queue};

use crate::support::{Arguments, RawClient, TestBroker, table};

const QUORUM: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"quorum"));
const CLASSIC: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"classic"));

fn durable(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        durable: true,
        ..Default::default()
    }
}

#[track_caller]
fn expect_refused(client: &mut RawClient, arguments: &Arguments<'_>, text: &str) {
    let arguments = table(arguments);
    let declare = queue::Declare {
        arguments: arguments.view(),
        ..durable("q")
    };
    client.expect_refusal(declare, 406, &format!("PRECONDITION_FAILED - {text}"));
}

#[test]
fn classic_and_quorum_are_accepted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, kind) in [("classic", CLASSIC), ("quorum", QUORUM)] {
        client.declare_durable_with(name, &[kind]);
        client.publish("", name, "m");
        client.await_count(name, 1);
        assert_eq!(client.drain(name), ["m"]);
    }
}

#[test]
fn other_types_are_refused() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (value, text) in [
        (Value::string("odd"), "\"unsupported queue type 'odd'\""),
        (Value::SignedInt(5), "{unacceptable_type,signedint}"),
    ] {
        let text = format!("invalid arg 'x-queue-type' for queue 'q' in vhost '/': {text}");
        expect_refused(&mut client, &[("x-queue-type", value)], &text);
    }
}

#[test]
fn a_quorum_queue_is_durable_and_shared() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = table(&[QUORUM]);
    let declare = queue::Declare {
        arguments: arguments.view(),
        ..durable("q")
    };
    for (declare, property) in [
        (
            queue::Declare {
                durable: false,
                ..declare
            },
            "non-durable",
        ),
        (
            queue::Declare {
                exclusive: true,
                ..declare
            },
            "exclusive-owner",
        ),
        (
            queue::Declare {
                auto_delete: true,
                ..declare
            },
            "auto-delete",
        ),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - invalid property '{property}' for queue 'q' in vhost '/'"
        );
        client.expect_refusal(declare, 406, &text);
    }
    let unnamed = queue::Declare {
        queue: b"",
        ..declare
    };
    client.expect_refusal(
        unnamed,
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
}

#[test]
fn a_quorum_queue_refuses_what_only_classic_queues_have() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, value) in [
        ("x-max-priority", Value::SignedInt(5)),
        ("x-queue-mode", Value::string("lazy")),
        ("x-queue-version", Value::SignedInt(2)),
        ("x-max-age", Value::string("1h")),
        ("x-queue-master-locator", Value::string("min-masters")),
    ] {
        let text = format!(
            "invalid arg '{name}' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
        );
        expect_refused(&mut client, &[QUORUM, (name, value)], &text);
    }
    let strategy = ("x-dead-letter-strategy", Value::string("odd"));
    expect_refused(
        &mut client,
        &[QUORUM, strategy],
        "invalid arg 'x-dead-letter-strategy' for queue 'q' in vhost '/': invalid_dlx_strategy",
    );
}

#[test]
fn a_quorum_queue_accepts_what_a_cluster_would_need() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (n, more) in [
        ("x-single-active-consumer", Value::bool(true)),
        ("x-expires", 100_000.into()),
        ("x-message-ttl", 100_000.into()),
        ("x-max-length", 5.into()),
        ("x-max-length-bytes", 5000.into()),
        ("x-overflow", "reject-publish".into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
        ("x-dead-letter-strategy", "at-most-once".into()),
        ("x-queue-leader-locator", "client-local".into()),
        ("x-queue-leader-locator", "balanced".into()),
        ("x-quorum-initial-group-size", 3.into()),
        ("x-max-in-memory-length", 3.into()),
        ("x-max-in-memory-bytes", 3.into()),
        ("x-delivery-limit", (-1).into()),
        ("x-delivery-limit", 0.into()),
        ("x-unknown", 1.into()),
    ]
    .into_iter()
    .enumerate()
    {
        client.declare_durable_with(&format!("q{n}"), &[QUORUM, more]);
    }
}

/// RabbitMQ has these for quorum queues only.
#[test]
fn a_classic_queue_accepts_what_else_only_quorum_queues_have() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (n, more) in [
        ("x-delivery-limit", Value::SignedInt(5)),
        ("x-queue-leader-locator", "client-local".into()),
        ("x-quorum-initial-group-size", 3.into()),
        ("x-max-in-memory-length", 3.into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
    ]
    .into_iter()
    .enumerate()
    {
        client.declare_durable_with(&format!("q{n}"), &[CLASSIC, more]);
        client.declare_durable_with(&format!("r{n}"), &[more]);
    }
}

#[test]
fn a_classic_queue_accepts_its_modes_and_versions() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (n, more) in [
        ("x-queue-mode", Value::string("lazy")),
        ("x-queue-mode", "default".into()),
        ("x-queue-version", 1.into()),
        ("x-queue-version", 2.into()),
        ("x-queue-master-locator", "min-masters".into()),
    ]
    .into_iter()
    .enumerate()
    {
        client.declare_durable_with(&format!("q{n}"), &[CLASSIC, more]);
    }
}

#[test]
fn a_queue_of_one_type_cannot_be_declared_as_another() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with("q", &[QUORUM]);
    client.declare_durable_with("q", &[QUORUM]);
    let text = "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received";
    let current = "current is the value 'quorum' of type 'longstr'";
    expect_refused(&mut client, &[], &format!("{text} none but {current}"));
    let other = format!("{text} 'classic' but current is 'quorum'");
    expect_refused(&mut client, &[CLASSIC], &other);
    expect_refused(
        &mut client,
        &[QUORUM, ("x-delivery-limit", 3.into())],
        "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '3' of \
         type 'signedint' but current is none",
    );
}

#[test]
fn no_type_is_classic() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with("q", &[]);
    client.declare_durable_with("q", &[CLASSIC]);
    client.declare_durable_with("r", &[CLASSIC]);
    client.declare_durable_with("r", &[]);
    let text = "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received";
    let other = format!("{text} the value 'quorum' of type 'longstr' but current is none");
    expect_refused(&mut client, &[QUORUM], &other);
}

#[test]
fn other_delivery_limits_make_another_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let limit = |count: i32| ("x-delivery-limit", Value::SignedInt(count));
    client.declare_durable_with("q", &[QUORUM, limit(5)]);
    client.declare_durable_with("q", &[QUORUM, limit(5)]);
    let text = "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received";
    let other = format!("{text} '6' but current is '5'");
    expect_refused(&mut client, &[QUORUM, limit(6)], &other);
    let none = format!("{text} none but current is the value '5' of type 'signedint'");
    expect_refused(&mut client, &[QUORUM], &none);
}

#[test]
fn a_stream_is_not_implemented() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = table(&[("x-queue-type", Value::string("stream"))]);
    client.send(&queue::Declare {
        arguments: arguments.view(),
        ..durable("q")
    });
    let received = client.receive();
    let Method::ConnectionClose(close) = received.method() else {
        panic!("connection.close was due, and what came was {received}");
    };
    let text = String::from_utf8_lossy(close.reply_text);
    assert_eq!(close.reply_code, 540);
    assert!(text.starts_with("NOT_IMPLEMENTED - "), "{text}");
    assert!(text.contains("stream"), "{text}");
}
