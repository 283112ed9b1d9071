//! Exchanges: declare, delete, auto-delete, alternate exchanges (AMQP 0-9-1 §1.6).

use leveret::wire::amqp::{Table, TableBuilder, Value, exchange, queue};

use crate::support::{RawClient, TestBroker};

fn direct(name: &str) -> exchange::Declare<'_> {
    exchange::Declare {
        exchange: name.as_bytes(),
        kind: b"direct",
        ..Default::default()
    }
}

fn passive(name: &str) -> exchange::Declare<'_> {
    exchange::Declare {
        exchange: name.as_bytes(),
        passive: true,
        ..Default::default()
    }
}

fn delete(name: &str) -> exchange::Delete<'_> {
    exchange::Delete {
        exchange: name.as_bytes(),
        ..Default::default()
    }
}

#[track_caller]
fn assert_gone(client: &mut RawClient, name: &str) {
    let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    client.expect_refusal(passive(name), 404, &text);
}

const DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

#[test]
fn predeclared_exchanges_are_there() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        client.call(passive(name));
        client.call(exchange::Declare {
            kind: kind.as_bytes(),
            durable: true,
            ..direct(name)
        });
    }
    client.call(exchange::Declare {
        kind: b"topic",
        durable: true,
        internal: true,
        ..direct("amq.rabbitmq.trace")
    });
}

#[test]
fn declaring_again_with_other_attributes_closes_channel_with_406() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(direct("x"));
    client.call(direct("x"));
    let same = direct("x");
    for (declare, what) in [
        (
            exchange::Declare {
                kind: b"fanout",
                durable: true,
                ..same
            },
            "'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        (
            exchange::Declare {
                durable: true,
                ..same
            },
            "'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            exchange::Declare {
                auto_delete: true,
                ..same
            },
            "'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            exchange::Declare {
                internal: true,
                ..same
            },
            "'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
    ] {
        let text = format!("PRECONDITION_FAILED - inequivalent arg {what}");
        client.expect_refusal(declare, 406, &text);
    }
}

#[test]
fn of_the_arguments_only_the_alternate_exchange_counts() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(direct("x"));
    let mut unknown = TableBuilder::new();
    unknown.put("x-foo", 1);
    client.call(exchange::Declare {
        arguments: unknown.view(),
        ..direct("x")
    });
    let mut alternate = TableBuilder::new();
    alternate.put("alternate-exchange", "amq.fanout");
    let declare = exchange::Declare {
        arguments: alternate.view(),
        ..direct("x")
    };
    client.expect_refusal(
        declare,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': \
         received the value 'amq.fanout' of type 'longstr' but current is none",
    );
    client.call(exchange::Declare {
        arguments: alternate.view(),
        ..direct("y")
    });
    let mut other = TableBuilder::new();
    other.put("alternate-exchange", "amq.topic");
    let declare = exchange::Declare {
        arguments: other.view(),
        ..direct("y")
    };
    client.expect_refusal(
        declare,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'y' in vhost '/': \
         received 'amq.topic' but current is 'amq.fanout'",
    );
}

#[test]
fn an_alternate_exchange_must_be_a_string() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = TableBuilder::new();
    arguments.put("alternate-exchange", 5);
    let declare = exchange::Declare {
        arguments: arguments.view(),
        ..direct("x")
    };
    client.expect_refusal(
        declare,
        406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange \
         'x' in vhost '/'",
    );
}

#[test]
fn a_passive_declare_only_looks_for_the_name() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(direct("x"));
    client.call(exchange::Declare {
        kind: b"nosuch",
        durable: true,
        ..passive("x")
    });
    assert_gone(&mut client, "none");
}

#[test]
fn an_unknown_type_closes_the_connection_with_503() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&exchange::Declare {
        kind: b"nosuch",
        ..direct("x")
    });
    let text = "COMMAND_INVALID - unknown exchange type 'nosuch'";
    assert_eq!(client.expect_connection_close(503, text), (40, 10));
}

#[test]
fn names_with_the_reserved_prefix_are_refused_unless_they_exist() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.expect_refusal(
        direct("amq.foo"),
        403,
        "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
    );
    assert_gone(&mut client, "amq.foo");
}

#[test]
fn the_default_exchange_is_not_to_be_touched() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_exchange("x", "fanout");
    client.expect_refusal(direct(""), 403, DEFAULT);
    client.expect_refusal(passive(""), 403, DEFAULT);
    client.expect_refusal(delete(""), 403, DEFAULT);
    let bind = queue::Bind {
        queue: b"q",
        ..Default::default()
    };
    client.expect_refusal(bind, 403, DEFAULT);
    let unbind = queue::Unbind {
        queue: b"q",
        ..Default::default()
    };
    client.expect_refusal(unbind, 403, DEFAULT);
    for (source, destination) in [(&b""[..], &b"x"[..]), (b"x", b"")] {
        let bind = exchange::Bind {
            source,
            destination,
            ..Default::default()
        };
        client.expect_refusal(bind, 403, DEFAULT);
    }
}

#[test]
fn line_ends_are_taken_out_of_names() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(direct("e\rx\n1\r\n"));
    client.call(passive("ex1"));
}

#[test]
fn names_may_have_255_bytes() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let name = "x".repeat(255);
    client.call(direct(&name));
    client.call(passive(&name));
}

#[test]
fn errors_of_methods_without_wait_are_told_all_the_same() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&exchange::Declare {
        no_wait: true,
        ..direct("x")
    });
    client.expect_nothing();
    let other = exchange::Declare {
        kind: b"fanout",
        no_wait: true,
        ..direct("x")
    };
    client.expect_refusal(
        other,
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received \
         'fanout' but current is 'direct'",
    );
    client.send(&exchange::Delete {
        no_wait: true,
        ..delete("x")
    });
    assert_gone(&mut client, "x");
}

#[test]
fn deleting_what_does_not_exist_is_fine() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(delete("none"));
    client.call(exchange::Delete {
        if_unused: true,
        ..delete("none")
    });
}

#[test]
fn system_exchanges_cannot_be_deleted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for name in ["amq.direct", "amq.foo", "amq.rabbitmq.trace"] {
        let text = format!(
            "ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed"
        );
        client.expect_refusal(delete(name), 403, &text);
    }
}

#[test]
fn if_unused_asks_for_bindings_from_the_exchange() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("source", "fanout");
    client.declare_exchange("destination", "fanout");
    client.bind_exchange("destination", "source", "");
    let if_unused = |name| exchange::Delete {
        if_unused: true,
        ..delete(name)
    };
    client.expect_refusal(
        if_unused("source"),
        406,
        "PRECONDITION_FAILED - exchange 'source' in vhost '/' in use",
    );
    client.call(if_unused("destination"));
    client.call(if_unused("source"));
}

#[test]
fn publishing_to_an_internal_exchange_closes_channel_with_403() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.call(exchange::Declare {
        internal: true,
        ..direct("inside")
    });
    for name in ["inside", "amq.rabbitmq.trace"] {
        client.publish(name, "k", "m");
        let text =
            format!("ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'");
        assert_eq!(client.expect_channel_close(403, &text), (60, 40));
        client.open_channel(1);
    }
    // Bindings lead there.
    client.declare_exchange("outside", "fanout");
    client.bind_exchange("inside", "outside", "");
    client.declare_queue("q");
    client.bind_queue("q", "inside", "k");
    client.publish("outside", "k", "m");
    assert_eq!(client.drain("q"), ["m"]);
}

fn declare_auto_delete(client: &mut RawClient, name: &str) {
    client.call(exchange::Declare {
        auto_delete: true,
        kind: b"fanout",
        ..direct(name)
    });
}

#[test]
fn an_auto_delete_exchange_goes_with_the_last_of_its_bindings() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q1");
    client.declare_queue("q2");
    declare_auto_delete(&mut client, "x");
    client.call(passive("x"));
    client.bind_queue("q1", "x", "");
    client.bind_queue("q2", "x", "");
    client.call(queue::Unbind {
        queue: b"q1",
        exchange: b"x",
        ..Default::default()
    });
    client.call(passive("x"));
    client.call(queue::Delete {
        queue: b"q2",
        ..Default::default()
    });
    assert_gone(&mut client, "x");
}

#[test]
fn auto_delete_goes_up_a_chain_of_exchanges() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare_auto_delete(&mut client, "top");
    declare_auto_delete(&mut client, "middle");
    client.bind_exchange("middle", "top", "");
    client.declare_queue("q");
    client.bind_queue("q", "middle", "");
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    assert_gone(&mut client, "middle");
    assert_gone(&mut client, "top");
}

#[test]
fn bindings_to_an_auto_delete_exchange_do_not_keep_it_nor_end_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_exchange("source", "fanout");
    declare_auto_delete(&mut client, "x");
    client.bind_exchange("x", "source", "");
    client.call(exchange::Unbind {
        source: b"source",
        destination: b"x",
        ..Default::default()
    });
    client.call(passive("x"));
}

fn declare_with_alternate(client: &mut RawClient, name: &str, alternate: &str) {
    let mut arguments = TableBuilder::new();
    arguments.put("alternate-exchange", alternate);
    client.call(exchange::Declare {
        arguments: arguments.view(),
        ..direct(name)
    });
}

#[test]
fn what_an_exchange_can_route_nowhere_goes_to_its_alternate() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("routed");
    client.declare_queue("rest");
    client.bind_queue("rest", "amq.fanout", "");
    declare_with_alternate(&mut client, "x", "amq.fanout");
    client.bind_queue("routed", "x", "known");
    client.publish_mandatory("x", "known", "1");
    client.publish_mandatory("x", "unknown", "2");
    client.expect_nothing();
    assert_eq!(client.drain("routed"), ["1"]);
    assert_eq!(client.drain("rest"), ["2"]);
}

#[test]
fn alternates_form_chains_and_may_be_missing_or_cyclic() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.fanout", "");
    declare_with_alternate(&mut client, "first", "second");
    client.publish_mandatory("first", "k", "lost");
    assert_eq!(client.expect_return().exchange, "first");
    declare_with_alternate(&mut client, "second", "amq.fanout");
    client.publish_mandatory("first", "k", "kept");
    client.expect_nothing();
    assert_eq!(client.drain("q"), ["kept"]);

    declare_with_alternate(&mut client, "yin", "yang");
    declare_with_alternate(&mut client, "yang", "yin");
    client.publish_mandatory("yin", "k", "round");
    assert_eq!(client.expect_return().exchange, "yin");
}

#[test]
fn an_alternate_is_asked_for_each_exchange_that_routes_nowhere() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("bound");
    client.declare_queue("rest");
    client.bind_queue("rest", "amq.fanout", "");
    client.declare_exchange("entry", "fanout");
    declare_with_alternate(&mut client, "inner", "amq.fanout");
    client.bind_exchange("inner", "entry", "");
    client.bind_queue("bound", "entry", "");
    client.publish("entry", "k", "m");
    assert_eq!(client.drain("bound"), ["m"]);
    assert_eq!(client.drain("rest"), ["m"]);
}

#[test]
fn arguments_of_any_type_are_accepted() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut inner = TableBuilder::new();
    inner.put("k", 1);
    let mut arguments = TableBuilder::new();
    arguments
        .put("x-void", Value::Void)
        .put("x-double", Value::double(1.5))
        .put_table("x-table", &inner);
    client.call(exchange::Declare {
        arguments: arguments.view(),
        ..direct("x")
    });
    client.call(exchange::Declare {
        arguments: Table::EMPTY,
        ..direct("x")
    });
}
