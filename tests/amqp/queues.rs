//! Queues: declare, purge, delete, who may use them, and how they end (AMQP 0-9-1 §1.7).

use leveret::wire::amqp::{Method, Table, TableBuilder, Value, basic, queue};

use crate::support::{RawClient, TestBroker, consume_from, eventually};

fn declare(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

fn passive(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        passive: true,
        ..declare(name)
    }
}

fn exclusive(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        exclusive: true,
        ..declare(name)
    }
}

fn delete(name: &str) -> queue::Delete<'_> {
    queue::Delete {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

fn purge(name: &str) -> queue::Purge<'_> {
    queue::Purge {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

/// Declares and returns the name that the broker gave.
fn declare_unnamed(client: &mut RawClient) -> String {
    let received = client.call(exclusive(""));
    let Method::QueueDeclareOk(ok) = received.method() else {
        unreachable!("call checked it");
    };
    String::from_utf8(ok.queue.to_vec()).unwrap()
}

fn deleted(client: &mut RawClient, method: queue::Delete<'_>) -> u32 {
    match client.call(method).method() {
        Method::QueueDeleteOk(ok) => ok.message_count,
        _ => unreachable!("call checked it"),
    }
}

#[track_caller]
fn assert_gone(client: &mut RawClient, name: &str) {
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    client.expect_refusal(passive(name), 404, &text);
}

fn locked(name: &str) -> String {
    // Cut as a short string must be.
    let mut text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It \
         could be originally declared on another connection or the exclusive property value does \
         not match that of the original declaration."
    );
    if text.len() > 255 {
        text.truncate(252);
        text.push_str("...");
    }
    text
}

const NO_QUEUE_BEFORE: &str = "NOT_FOUND - no previously declared queue";

#[test]
fn a_transient_queue_for_everybody_is_accepted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let received = client.call(declare("hello"));
    let expected = queue::DeclareOk {
        queue: b"hello",
        message_count: 0,
        consumer_count: 0,
    };
    assert_eq!(received.method(), expected.into());
}

#[test]
fn declare_ok_counts_ready_messages_and_consumers() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    client.get("q").unwrap();
    assert_eq!(client.counts("q"), (2, 0));
    client.prefetch(1, false);
    client.consume("q", "c");
    client.expect_delivery();
    assert_eq!(client.counts("q"), (1, 1));
}

#[test]
fn declaring_again_with_other_attributes_closes_channel_with_406() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_queue("q");
    for (method, name) in [
        (
            queue::Declare {
                durable: true,
                ..declare("q")
            },
            "durable",
        ),
        (
            queue::Declare {
                auto_delete: true,
                ..declare("q")
            },
            "auto_delete",
        ),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'q' in vhost '/': received \
             'true' but current is 'false'"
        );
        client.expect_refusal(method, 406, &text);
    }
}

#[test]
fn arguments_that_the_broker_knows_must_be_the_same() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let ttl = |value: Value<'_>| {
        let mut arguments = TableBuilder::new();
        arguments.put("x-message-ttl", value);
        arguments
    };
    let original = ttl(Value::SignedInt(10));
    client.call(queue::Declare {
        arguments: original.view(),
        ..declare("q")
    });
    // As wide as it may be, 10 is 10 ...
    let long = ttl(Value::Long(10));
    client.call(queue::Declare {
        arguments: long.view(),
        ..declare("q")
    });
    // ... and 10.0 is not.
    for (arguments, received) in [
        (
            ttl(Value::SignedInt(20)),
            "received '20' but current is '10'",
        ),
        (
            ttl(Value::double(10.0)),
            "received '10.0' but current is '10'",
        ),
        (
            TableBuilder::new(),
            "received none but current is the value '10' of type 'signedint'",
        ),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
             {received}"
        );
        let method = queue::Declare {
            arguments: arguments.view(),
            ..declare("q")
        };
        client.expect_refusal(method, 406, &text);
    }
}

#[test]
fn unknown_arguments_make_no_difference() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut arguments = TableBuilder::new();
    arguments.put("x-foo", 1).put("x-bar", Value::Void);
    client.call(queue::Declare {
        arguments: arguments.view(),
        ..declare("q")
    });
}

#[test]
fn arguments_that_make_no_sense_close_channel_with_406() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, value, reason) in [
        (
            "x-message-ttl",
            Value::SignedInt(-1),
            ": {value_negative,-1}",
        ),
        (
            "x-message-ttl",
            Value::string("5"),
            ": \"expected integer, got longstr\"",
        ),
        ("x-expires", Value::SignedInt(0), ": {value_zero,0}"),
        (
            "x-max-priority",
            Value::SignedInt(256),
            ": {max_value_exceeded,256}",
        ),
        ("x-overflow", Value::string("x"), ": invalid_overflow"),
        (
            "x-dead-letter-routing-key",
            Value::string("k"),
            ": routing_key_but_no_dlx_defined",
        ),
        (
            "x-max-age",
            Value::string("1D"),
            " of queue type rabbit_classic_queue",
        ),
    ] {
        let mut arguments = TableBuilder::new();
        arguments.put(name, value);
        let method = queue::Declare {
            arguments: arguments.view(),
            ..declare("q")
        };
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/'{reason}"
        );
        client.expect_refusal(method, 406, &text);
    }
}

#[test]
fn an_existing_queue_is_compared_before_new_arguments_are_checked() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut arguments = TableBuilder::new();
    arguments.put("x-expires", 0);
    let method = queue::Declare {
        durable: true,
        arguments: arguments.view(),
        ..declare("q")
    };
    client.expect_refusal(
        method,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received \
         'true' but current is 'false'",
    );
}

#[test]
fn names_with_the_reserved_prefix_are_refused() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for name in ["amq.x", "amq.gen-x"] {
        let text = format!("ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'");
        client.expect_refusal(declare(name), 403, &text);
        assert_gone(&mut client, name);
    }
}

#[test]
fn names_may_have_255_bytes_and_line_ends_are_taken_out() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let name = "ü".repeat(127) + "x";
    client.declare_queue(&name);
    client.publish("", &name, "m");
    assert_eq!(client.drain(&name), ["m"]);
    client.declare_queue("p\rq\n");
    assert_eq!(client.counts("pq"), (0, 0));
}

#[test]
fn an_unnamed_queue_gets_a_name_that_nobody_can_guess() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let one = declare_unnamed(&mut client);
    let two = declare_unnamed(&mut client);
    assert_ne!(one, two);
    for name in [one, two] {
        assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
    }
}

#[test]
fn an_empty_name_means_the_channels_last_declared_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("older");
    let name = declare_unnamed(&mut client);
    client.publish("", &name, "1");
    client.publish("", &name, "2");
    client.call(queue::Bind {
        exchange: b"amq.fanout",
        ..Default::default()
    });
    client.publish("amq.fanout", "", "3");
    assert_eq!(client.get("").unwrap().text(), "1");
    assert_eq!(client.counts(&name), (2, 0));
    client.consume("", "c");
    assert_eq!(client.expect_bodies(2), ["2", "3"]);
    client.call(purge(""));
    client.call(delete(""));
    client.expect("basic.cancel");
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    client.expect_refusal(basic::Get::default(), 404, &text);
    // Each channel has its own.
    client.expect_refusal(basic::Get::default(), 404, NO_QUEUE_BEFORE);
}

#[test]
fn a_passive_declare_is_remembered_too_but_does_not_look_back() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_queue("other");
    client.publish("", "q", "m");
    client.call(passive("q"));
    assert_eq!(client.get("").unwrap().text(), "m");
    client.expect_refusal(passive(""), 404, "NOT_FOUND - no queue '' in vhost '/'");
}

#[test]
fn an_empty_name_means_nothing_on_a_new_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let methods: [Method<'_>; 6] = [
        queue::Bind {
            exchange: b"amq.fanout",
            ..Default::default()
        }
        .into(),
        queue::Unbind {
            exchange: b"amq.fanout",
            ..Default::default()
        }
        .into(),
        purge("").into(),
        delete("").into(),
        basic::Get::default().into(),
        basic::Consume::default().into(),
    ];
    for method in methods {
        client.expect_refusal(method, 404, NO_QUEUE_BEFORE);
    }
}

#[test]
fn errors_of_methods_without_wait_are_told_all_the_same() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue_nowait("q");
    client.expect_nothing();
    assert_eq!(client.counts("q"), (0, 0));
    let method = queue::Declare {
        no_wait: true,
        ..passive("none")
    };
    client.expect_refusal(method, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
}

#[test]
fn an_exclusive_queue_is_locked_for_other_connections() {
    let broker = TestBroker::start();
    let mut owner = broker.connect();
    owner.call(exclusive("q"));
    owner.call(exclusive("q"));
    let mut other = broker.connect();
    let bind = queue::Bind {
        queue: b"q",
        exchange: b"amq.fanout",
        ..Default::default()
    };
    owner.call(bind);
    let unbind = queue::Unbind {
        queue: b"q",
        exchange: b"amq.fanout",
        ..Default::default()
    };
    let get = basic::Get {
        queue: b"q",
        ..Default::default()
    };
    let methods: [Method<'_>; 9] = [
        exclusive("q").into(),
        declare("q").into(),
        passive("q").into(),
        bind.into(),
        unbind.into(),
        purge("q").into(),
        delete("q").into(),
        get.into(),
        consume_from("q", "c").into(),
    ];
    for method in methods {
        other.expect_refusal(method, 405, &locked("q"));
    }
    // Publishing to it is for everybody.
    other.publish_mandatory("", "q", "m");
    other.expect_nothing();
    assert_eq!(owner.drain("q"), ["m"]);
}

#[test]
fn exclusive_and_shared_do_not_mix() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("shared");
    client.call(exclusive("own"));
    client.expect_refusal(exclusive("shared"), 405, &locked("shared"));
    client.expect_refusal(declare("own"), 405, &locked("own"));
}

#[test]
fn an_exclusive_queue_is_gone_before_its_connection_is_closed() {
    let broker = TestBroker::start();
    for _ in 0..20 {
        let mut client = broker.connect();
        client.call(exclusive("mine"));
        client.close();
    }
    let mut other = broker.connect();
    assert_gone(&mut other, "mine");
}

#[test]
fn an_exclusive_queue_goes_when_its_connection_breaks() {
    let broker = TestBroker::start();
    let mut owner = broker.connect();
    owner.call(exclusive("q"));
    let mut other = broker.connect();
    drop(owner);
    eventually("the queue is gone", || {
        other.send(&passive("q"));
        let received = other.expect("channel.close");
        let gone = received.to_string().contains("404");
        other.send(&leveret::wire::amqp::channel::CloseOk {});
        other.open_channel(1);
        gone
    });
}

#[test]
fn an_exclusive_queue_is_never_durable() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(exclusive("q"));
    client.call(queue::Declare {
        durable: true,
        ..exclusive("q")
    });
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_and_not_before() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(queue::Declare {
        auto_delete: true,
        ..declare("q")
    });
    client.publish("", "q", "m");
    assert!(client.get("q").is_some());
    client.consume("q", "a");
    client.consume("q", "b");
    client.cancel("a");
    assert_eq!(client.counts("q"), (0, 1));
    client.cancel("b");
    assert_gone(&mut client, "q");
}

#[test]
fn an_auto_delete_queue_goes_with_the_channel_of_its_last_consumer() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(queue::Declare {
        auto_delete: true,
        ..declare("q")
    });
    client.open_channel(2);
    client.consume("q", "c");
    client.close_channel();
    client.switch_to(1);
    assert_gone(&mut client, "q");
}

#[test]
fn purge_drops_what_is_ready_and_leaves_what_is_unacked() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    let held = client.get("q").unwrap();
    let received = client.call(purge("q"));
    assert_eq!(
        received.method(),
        queue::PurgeOk { message_count: 2 }.into()
    );
    client.requeue(held.delivery_tag);
    assert_eq!(client.drain("q"), ["1"]);
    client.expect_refusal(
        purge("none"),
        404,
        "NOT_FOUND - no queue 'none' in vhost '/'",
    );
}

#[test]
fn delete_counts_what_was_ready_and_settling_the_rest_is_fine() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    client.get("q").unwrap();
    client.get("q").unwrap();
    assert_eq!(deleted(&mut client, delete("q")), 1);
    client.ack(1);
    client.requeue(2);
    client.expect_nothing();
    assert_gone(&mut client, "q");
}

#[test]
fn deleting_what_does_not_exist_is_fine() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    assert_eq!(deleted(&mut client, delete("none")), 0);
}

#[test]
fn delete_can_be_made_to_depend_on_use_and_emptiness() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.prefetch(1, false);
    client.consume("q", "c");
    client.publish("", "q", "held");
    client.publish("", "q", "ready");
    client.expect_delivery();
    let mut other = broker.connect();
    let if_unused = queue::Delete {
        if_unused: true,
        ..delete("q")
    };
    let if_empty = queue::Delete {
        if_empty: true,
        ..delete("q")
    };
    let both = queue::Delete {
        if_empty: true,
        ..if_unused
    };
    let in_use = "PRECONDITION_FAILED - queue 'q' in vhost '/' in use";
    let not_empty = "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty";
    other.expect_refusal(if_unused, 406, in_use);
    other.expect_refusal(if_empty, 406, not_empty);
    other.expect_refusal(both, 406, not_empty);
    // The held message makes it neither used nor full.
    client.cancel("c");
    client.call(purge("q"));
    assert_eq!(deleted(&mut other, both), 0);
}

#[test]
fn deleting_a_queue_takes_its_bindings_along() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.fanout", "");
    client.call(delete("q"));
    client.declare_queue("q");
    client.publish_mandatory("amq.fanout", "", "m");
    client.expect_return();
}

#[test]
fn arguments_of_any_type_are_accepted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = TableBuilder::new();
    for (name, value) in [
        ("x-b", Value::Byte(-1)),
        ("x-u", Value::UnsignedShort(9)),
        ("x-f", Value::Float(1.5f32.to_bits())),
        ("x-T", Value::Timestamp(1_700_000_000)),
        (
            "x-D",
            Value::Decimal {
                scale: 2,
                value: 314,
            },
        ),
        ("x-F", Value::Table(Table::EMPTY)),
        ("x-x", Value::Binary(b"\xff")),
    ] {
        arguments.put(name, value);
    }
    client.call(queue::Declare {
        arguments: arguments.view(),
        ..declare("q")
    });
}
