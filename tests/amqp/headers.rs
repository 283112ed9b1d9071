//! Headers exchanges (AMQP 0-9-1 §3.1.3.5; RabbitMQ: `all-with-x`, `any-with-x`).

use leveret::wire::amqp::{Properties, TableBuilder, Value, queue};

use crate::support::{RawClient, TestBroker};

type Entry = (&'static str, Value<'static>);

fn table(entries: &[Entry]) -> TableBuilder {
    let mut builder = TableBuilder::new();
    for &(name, value) in entries {
        builder.put(name, value);
    }
    builder
}

/// Whether a queue bound with these arguments gets a message with these headers.
fn matches(client: &mut RawClient, arguments: &[Entry], headers: &[Entry]) -> bool {
    client.declare_queue("q");
    let arguments = table(arguments);
    client.call(queue::Bind {
        queue: b"q",
        exchange: b"amq.headers",
        arguments: arguments.view(),
        ..Default::default()
    });
    let headers = table(headers);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    client.publish_with("amq.headers", "ignored", &properties, "m");
    let got = !client.drain("q").is_empty();
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    got
}

const PDF: Entry = ("format", Value::string("pdf"));
const REPORT: Entry = ("type", Value::string("report"));
const LOG: Entry = ("type", Value::string("log"));

fn x_match(how: &'static str) -> Entry {
    ("x-match", Value::string(how))
}

#[test]
fn all_is_the_default_and_wants_every_header() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for arguments in [&[PDF, REPORT][..], &[x_match("all"), PDF, REPORT]] {
        assert!(matches(&mut client, arguments, &[REPORT, PDF]));
        assert!(!matches(&mut client, arguments, &[PDF, LOG]));
        assert!(!matches(&mut client, arguments, &[PDF]));
    }
    assert!(matches(&mut client, &[], &[]));
}

#[test]
fn any_wants_one_header() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = [x_match("any"), PDF, REPORT];
    assert!(matches(&mut client, &arguments, &[PDF, LOG]));
    assert!(matches(&mut client, &arguments, &[REPORT]));
    assert!(!matches(&mut client, &arguments, &[LOG]));
    assert!(!matches(&mut client, &[x_match("any")], &[PDF]));
}

#[test]
fn headers_beginning_with_x_count_only_when_asked_for() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let hop: Entry = ("x-hop", Value::SignedInt(1));
    assert!(matches(&mut client, &[PDF, hop], &[PDF]));
    assert!(!matches(&mut client, &[x_match("any"), hop], &[hop]));
    assert!(!matches(
        &mut client,
        &[x_match("all-with-x"), PDF, hop],
        &[PDF]
    ));
    assert!(matches(
        &mut client,
        &[x_match("all-with-x"), PDF, hop],
        &[PDF, hop]
    ));
    assert!(matches(
        &mut client,
        &[x_match("any-with-x"), PDF, hop],
        &[hop]
    ));
}

#[test]
fn values_may_be_of_any_type_and_numbers_are_compared_by_value() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let one: Entry = ("n", Value::SignedInt(1));
    for value in [
        Value::SignedInt(1),
        Value::Long(1),
        Value::Byte(1),
        Value::double(1.0),
    ] {
        assert!(matches(&mut client, &[one], &[("n", value)]), "{value:?}");
    }
    for value in [
        Value::SignedInt(2),
        Value::string("1"),
        Value::bool(true),
        Value::Void,
    ] {
        assert!(!matches(&mut client, &[one], &[("n", value)]), "{value:?}");
    }
    // A binding without a value wants the header to be there.
    let present: Entry = ("n", Value::Void);
    assert!(matches(
        &mut client,
        &[present],
        &[("n", Value::string("any"))]
    ));
    assert!(!matches(&mut client, &[present], &[PDF]));
}

#[test]
fn a_message_without_headers_matches_what_wants_none() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.headers", "");
    client.publish("amq.headers", "", "m");
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn an_x_match_that_makes_no_sense_closes_channel_with_406() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let cases = [
        (
            x_match("some"),
            "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            ("x-match", Value::SignedInt(5)),
            "Invalid x-match field type signedint (value 5); expected longstr",
        ),
    ];
    for (entry, what) in cases {
        let arguments = table(&[entry]);
        let bind = queue::Bind {
            queue: b"q",
            exchange: b"amq.headers",
            arguments: arguments.view(),
            ..Default::default()
        };
        let text = format!("PRECONDITION_FAILED - {what}");
        client.expect_refusal(bind, 406, &text);
    }
}

#[test]
fn a_steady_publisher_whose_headers_change_is_routed_anew() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("pdf");
    client.declare_queue("log");
    for (queue, entry) in [("pdf", PDF), ("log", LOG)] {
        let arguments = table(&[entry]);
        client.call(queue::Bind {
            queue: queue.as_bytes(),
            exchange: b"amq.headers",
            arguments: arguments.view(),
            ..Default::default()
        });
    }
    for (body, entries) in [
        ("1", &[PDF][..]),
        ("2", &[LOG]),
        ("3", &[PDF]),
        ("4", &[PDF, LOG]),
    ] {
        let headers = table(entries);
        let properties = Properties {
            headers: Some(headers.view()),
            ..Default::default()
        };
        client.publish_with("amq.headers", "", &properties, body);
    }
    client.publish("amq.headers", "", "5");
    assert_eq!(client.drain("pdf"), ["1", "3", "4"]);
    assert_eq!(client.drain("log"), ["2", "4"]);
}
