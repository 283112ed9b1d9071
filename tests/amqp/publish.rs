//! `basic.publish`: what is refused, what comes back, and that nothing is changed on the way.

use leveret::wire::amqp::frame::{HEADER, encode_content_header};
use leveret::wire::amqp::properties::NO_PROPERTIES;
use leveret::wire::amqp::{ArrayBuilder, Properties, Table, TableBuilder, Value, basic, queue};

use crate::support::{RawClient, TestBroker, publish_to};

const PUBLISH: (u16, u16) = (60, 40);

/// Publishes to `q`, expects the channel to close, and opens it again.
#[track_caller]
fn assert_refused(client: &mut RawClient, properties: &Properties<'_>, text: &str) {
    client.publish_with("", "q", properties, "m");
    let text = format!("PRECONDITION_FAILED - {text}");
    assert_eq!(client.expect_channel_close(406, &text), PUBLISH);
    client.open_channel(1);
}

fn keys(names: &[&str]) -> ArrayBuilder {
    let mut array = ArrayBuilder::new();
    for name in names {
        array.push(*name);
    }
    array
}

#[test]
fn publish_to_missing_exchange_closes_channel_with_404() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.publish("none", "k", "m");
    let text = "NOT_FOUND - no exchange 'none' in vhost '/'";
    assert_eq!(client.expect_channel_close(404, text), PUBLISH);
    client.open_channel(1);
    client.declare_queue("q");
}

#[test]
fn a_refused_publish_is_refused_after_its_content() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&publish_to("none", "k"));
    client.expect_nothing();
    let mut header = Vec::new();
    encode_content_header(&mut header, 1, 0, &NO_PROPERTIES);
    client.send_bytes(&header);
    client.expect_channel_close(404, "NOT_FOUND - no exchange 'none' in vhost '/'");
}

#[test]
fn immediate_is_not_implemented() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let publish = basic::Publish {
        immediate: true,
        mandatory: true,
        ..publish_to("", "nowhere")
    };
    client.publish_content(&publish, &NO_PROPERTIES, "m");
    let ids = client.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true");
    assert_eq!(ids, PUBLISH);
}

#[test]
fn a_mandatory_message_without_a_queue_comes_back_whole() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut headers = TableBuilder::new();
    headers.put("a", 1);
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        ..Default::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to("amq.direct", "nokey")
    };
    for body in [&b""[..], b"body", &[7; 300_000]] {
        client.publish_content(&publish, &block, body);
        let returned = client.expect_return();
        assert_eq!((returned.code, returned.text.as_str()), (312, "NO_ROUTE"));
        assert_eq!(returned.exchange, "amq.direct");
        assert_eq!(returned.routing_key, "nokey");
        assert_eq!(returned.properties, block);
        assert!(returned.body == body);
    }
}

#[test]
fn other_messages_without_a_queue_are_dropped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.publish("", "nowhere", "m");
    client.publish("amq.fanout", "", "m");
    client.expect_nothing();
}

#[test]
fn bodies_of_all_sizes_arrive_unchanged() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for size in [0, 1, 4087, 4096, 131_064, 131_065, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        client.publish("", "q", &body);
        assert!(client.get_as("q", true).unwrap().body == body, "{size} got");
        client.publish("", "q", &body);
        client.consume_no_ack("q", "c");
        assert!(client.expect_delivery().body == body, "{size} delivered");
        client.publish("", "q", &body);
        assert!(client.expect_delivery().body == body, "{size} passed on");
        client.cancel("c");
    }
}

#[test]
fn all_properties_arrive_bit_by_bit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut inner = TableBuilder::new();
    inner
        .put("void", Value::Void)
        .put("long", Value::LongLong(1));
    let mut headers = TableBuilder::new();
    headers
        .put_table("table", &inner)
        .put("bool", Value::Bool(7))
        .put("bytes", Value::Binary(b"\xff"))
        .put("twice", 1)
        .put("twice", 2);
    let set = Properties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"gzip"),
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        priority: Some(200),
        correlation_id: Some(b"\xff not text"),
        reply_to: Some(b"there"),
        expiration: Some(b"60000"),
        message_id: Some(b"m1"),
        timestamp: Some(1_700_000_000),
        kind: Some(b"type"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"cluster"),
    };
    let empty = Properties {
        content_type: Some(b""),
        headers: Some(Table::EMPTY),
        delivery_mode: Some(0),
        correlation_id: Some(b""),
        ..Default::default()
    };
    for properties in [set, empty, Properties::default()] {
        let mut block = Vec::new();
        properties.encode(&mut block);
        // A second one takes the remembered route.
        for _ in 0..2 {
            client.publish_with("", "q", &properties, "m");
            assert_eq!(client.get_as("q", true).unwrap().properties, block);
        }
    }
}

#[test]
fn a_user_id_must_be_the_users_own() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let from = |user_id| Properties {
        user_id: Some(user_id),
        ..Default::default()
    };
    client.publish_with("", "q", &from(b"guest"), "m");
    for (user_id, shown) in [(&b"other"[..], "other"), (b"", "")] {
        let text = format!("user_id property set to '{shown}' but authenticated user was 'guest'");
        assert_refused(&mut client, &from(user_id), &text);
    }
    assert_eq!(client.counts("q"), (1, 0));
}

#[test]
fn an_expiration_must_be_milliseconds_in_digits() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let expiring = |expiration| Properties {
        expiration: Some(expiration),
        ..Default::default()
    };
    for good in [&b"60000"[..], b"315360000000", b"+500000"] {
        client.publish_with("", "q", &expiring(good), "m");
        assert!(client.get_as("q", true).is_some());
    }
    for (bad, reason) in [
        ("abc", "no_integer"),
        ("", "no_integer"),
        (" 5", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("5 ", "{leftover_string,\" \"}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        let text = format!("invalid expiration '{bad}': {reason}");
        assert_refused(&mut client, &expiring(bad.as_bytes()), &text);
    }
}

#[test]
fn a_message_over_the_size_limit_closes_channel_with_406() {
    let broker = TestBroker::with(|config| config.limits.message_size_max_bytes = 1000);
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", [7; 1000]);
    assert_eq!(client.get_as("q", true).unwrap().body, [7; 1000]);
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    client.publish("", "q", [7; 1001]);
    assert_eq!(client.expect_channel_close(406, text), PUBLISH);
    client.open_channel(1);
    assert_eq!(client.counts("q"), (0, 0));
}

/// RabbitMQ waits for the body first, however large.
#[test]
fn a_body_that_would_be_too_large_is_refused_before_it_comes() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&publish_to("", "q"));
    let mut header = Vec::new();
    encode_content_header(&mut header, 1, 1 << 63, &NO_PROPERTIES);
    client.send_bytes(&header);
    let text = "PRECONDITION_FAILED - message size 9223372036854775808 is larger than configured \
                max size 134217728";
    assert_eq!(client.expect_channel_close(406, text), PUBLISH);
}

#[test]
fn cc_and_bcc_route_further_and_bcc_is_taken_out() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for queue in ["to", "cc", "bcc"] {
        client.declare_queue(queue);
    }
    let mut headers = TableBuilder::new();
    headers
        .put_array("CC", &keys(&["cc", "to"]))
        .put_array("BCC", &keys(&["bcc", "nowhere"]))
        .put("k", 1);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    let mut expected = TableBuilder::new();
    expected.put_array("CC", &keys(&["cc", "to"])).put("k", 1);
    for _ in 0..2 {
        client.publish_with("", "to", &properties, "m");
        for queue in ["to", "cc", "bcc"] {
            let got = client.get_as(queue, true).unwrap();
            assert_eq!(got.properties().headers, Some(expected.view()));
            assert_eq!(got.routing_key, "to");
            assert!(client.get_as(queue, true).is_none(), "one copy in {queue}");
        }
    }
}

#[test]
fn a_message_that_only_bcc_routes_is_not_returned() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut headers = TableBuilder::new();
    headers.put_array("BCC", &keys(&["q"]));
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to("", "nokey")
    };
    client.publish_content(&publish, &block, "m");
    client.expect_nothing();
    let got = client.get("q").unwrap();
    assert_eq!(got.properties().headers, Some(Table::EMPTY));
}

#[test]
fn cc_and_bcc_must_be_arrays_whose_strings_count() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for (name, value, kind) in [
        ("CC", Value::SignedInt(5), "signedint"),
        ("CC", Value::string("a"), "longstr"),
        ("BCC", Value::Void, "void"),
    ] {
        let mut headers = TableBuilder::new();
        headers.put(name, value);
        let properties = Properties {
            headers: Some(headers.view()),
            ..Default::default()
        };
        let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
        assert_refused(&mut client, &properties, &text);
    }
    let mut mixed = keys(&["q"]);
    mixed.push(5);
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &mixed);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    client.publish_with("", "nokey", &properties, "m");
    assert_eq!(client.drain("q"), ["m"]);
}

#[test]
fn a_copy_goes_to_every_queue_and_each_lives_on_its_own() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for queue in ["q1", "q2", "q3"] {
        client.declare_queue(queue);
        client.bind_queue(queue, "amq.fanout", "");
    }
    let body = vec![9; 50_000];
    client.publish("amq.fanout", "", &body);
    let first = client.get("q1").unwrap();
    client.ack(first.delivery_tag);
    client.call(queue::Purge {
        queue: b"q2",
        ..Default::default()
    });
    assert!(client.get("q3").unwrap().body == body);
}

#[test]
fn messages_of_one_channel_keep_their_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let bodies: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    for body in &bodies {
        client.publish("", "q", body);
    }
    client.consume_no_ack("q", "c");
    assert_eq!(client.expect_bodies(2000), bodies);
}

#[test]
fn a_content_header_alone_is_no_message() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.send(&publish_to("", "q"));
    let mut header = vec![0, 60, 0, 0];
    header.extend(5u64.to_be_bytes());
    header.extend([0, 0]);
    client.send_frame(HEADER, 1, &header);
    client.open_channel(2);
    assert_eq!(client.counts("q"), (0, 0));
}
