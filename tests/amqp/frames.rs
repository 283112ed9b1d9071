//! Frames, good and bad (AMQP 0-9-1 §4.2.3, §4.2.6).

use leveret::wire::amqp::frame::{self, BODY, HEADER, HEARTBEAT, METHOD};
use leveret::wire::amqp::{EncodeMethod, Method, basic, connection, queue};

use crate::support::{Login, RawClient, TestBroker, publish_to, raw_frame};

/// The payload of a method frame.
fn payload(method: &impl EncodeMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_method(&mut bytes, 1, method);
    bytes[frame::HEADER_SIZE..bytes.len() - 1].to_vec()
}

fn declare() -> queue::Declare<'static> {
    queue::Declare {
        queue: b"q",
        exclusive: true,
        ..Default::default()
    }
}

fn header(class: u16, weight: u16, size: u64) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(weight.to_be_bytes());
    payload.extend(size.to_be_bytes());
    payload.extend([0, 0]);
    payload
}

/// Begins a publish to a queue that is not there.
fn begin_publish(broker: &TestBroker) -> RawClient {
    let mut client = broker.connect();
    client.send(&publish_to("", "nowhere"));
    client
}

const NO_HEADER: &str = "UNEXPECTED_FRAME - expected content header for class 60, got non content \
                         header frame instead";
const NO_BODY: &str =
    "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
const NO_METHOD: &str = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
const PUBLISH: (u16, u16) = (60, 40);

#[test]
fn a_wrong_end_marker_is_a_frame_error() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut bytes = raw_frame(METHOD, 1, &payload(&declare()));
    *bytes.last_mut().unwrap() = 0;
    client.send_bytes(&bytes);
    client.expect_connection_close(
        501,
        "FRAME_ERROR - type 1, all octets = <<0,50,0,10,0,0,1,113,4,0,0,0,0>>: \
         {invalid_frame_end_marker,0}",
    );
}

#[test]
fn an_unknown_frame_type_is_a_frame_error() {
    let broker = TestBroker::start();
    for kind in [0, 4, 7, 9, 65, 255] {
        let mut client = broker.connect();
        client.send_frame(kind, 1, b"ab");
        let text = format!("FRAME_ERROR - type {kind}, all octets = <<>>: unknown_frame");
        client.expect_connection_close(501, &text);
    }
}

#[test]
fn a_frame_larger_than_negotiated_is_a_frame_error_as_soon_as_it_is_announced() {
    let broker = TestBroker::start();
    let login = Login {
        frame_max: 4096,
        ..Login::default()
    };
    for size in [4097, 200_000, u32::MAX] {
        let mut client = broker.log_in(&login);
        let [s0, s1, s2, s3] = size.to_be_bytes();
        client.send_bytes(&[BODY, 0, 1, s0, s1, s2, s3]);
        let text =
            format!("FRAME_ERROR - type 3, all octets = <<>>: {{frame_too_large,{size},4088}}");
        client.expect_connection_close(501, &text);
    }
    // Eight bytes are forgiven, to clients who took the limit for that of the payload.
    let mut client = broker.log_in(&login);
    client.declare_queue("q");
    client.send(&publish_to("", "q"));
    client.send_frame(HEADER, 1, &header(60, 0, 4096));
    client.send_frame(BODY, 1, &[7; 4096]);
    assert_eq!(client.get("q").unwrap().body, [7; 4096]);
}

#[test]
fn a_method_that_cannot_be_decoded_is_a_frame_error_with_its_ids() {
    let broker = TestBroker::start();
    let whole = payload(&declare());
    let mut longer = whole.clone();
    longer.extend(b"abc");
    let cases = [
        (&whole[..whole.len() - 1], "<<0,0,1,113,4,0,0,0>>", (50, 10)),
        (&whole[..6], "<<0,0>>", (50, 10)),
        (&whole[..4], "<<>>", (50, 10)),
        (&longer, "<<0,0,1,113,4,0,0,0,0,97,98,99>>", (50, 10)),
        // RabbitMQ drops the connection without a word for unknown classes.
        (&[0, 60, 0, 200], "<<>>", (60, 200)),
        (&[255, 255, 0, 1], "<<>>", (65535, 1)),
    ];
    for (bytes, octets, expected) in cases {
        for channel in [0, 1, 7] {
            let mut client = broker.connect();
            client.send_frame(METHOD, channel, bytes);
            let text = format!("FRAME_ERROR - cannot decode {octets}");
            assert_eq!(client.expect_connection_close(501, &text), expected);
        }
    }
    let mut client = broker.connect();
    client.send_frame(METHOD, 1, &whole[..3]);
    let text = "FRAME_ERROR - type 1, all octets = <<0,50,0>>: unknown_frame";
    assert_eq!(client.expect_connection_close(501, text), (0, 0));
}

#[test]
fn malformed_properties_are_a_frame_error() {
    let broker = TestBroker::start();
    for (flags_and_values, what) in [
        (&[0x80, 0][..], "a value is cut short"),
        (&[0x80, 0, 9, b'a'], "a value is cut short"),
        (&[0, 0, b'x'], "bytes left after the last value"),
        (&[0, 1, 0, 0], "unknown property flags"),
        (
            &[0x20, 0, 0, 0, 0, 3, 1, b'a', b'Z'],
            "unknown field table type 'Z'",
        ),
    ] {
        let mut client = begin_publish(&broker);
        let mut bytes = header(60, 0, 0);
        bytes.truncate(12);
        bytes.extend(flags_and_values);
        client.send_frame(HEADER, 1, &bytes);
        let text = format!("FRAME_ERROR - {what}");
        assert_eq!(client.expect_connection_close(501, &text), PUBLISH);
    }
}

#[test]
fn names_that_are_not_utf_8_are_a_frame_error() {
    let broker = TestBroker::start();
    let methods: [Method<'_>; 2] = [
        queue::Declare {
            queue: b"q\xff\xfe",
            ..Default::default()
        }
        .into(),
        basic::Consume {
            queue: b"q",
            consumer_tag: b"\xff",
            ..Default::default()
        }
        .into(),
    ];
    for method in methods {
        let mut client = broker.connect();
        client.send(&method);
        client.expect_connection_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr");
    }
}

#[test]
fn heartbeats_belong_on_channel_0_and_are_empty() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_frame(HEARTBEAT, 0, b"");
    client.expect_nothing();
    for channel in [1, 7] {
        let mut client = broker.connect();
        client.send_frame(HEARTBEAT, channel, b"");
        client.expect_connection_close(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>");
    }
    client.send_frame(HEARTBEAT, 0, b"xx");
    client.expect_connection_close(
        501,
        "FRAME_ERROR - type 8, all octets = <<\"xx\">>: unknown_frame",
    );
}

#[test]
fn content_frames_have_no_business_on_channel_0() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_frame(BODY, 0, b"x");
    client.expect_connection_close(505, "UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>");
}

#[test]
fn content_without_a_method_is_unexpected() {
    let broker = TestBroker::start();
    for channel in [1, 9] {
        for (kind, payload) in [(HEADER, header(60, 0, 0)), (BODY, b"x".to_vec())] {
            let mut client = broker.connect();
            client.send_frame(kind, channel, &payload);
            assert_eq!(client.expect_connection_close(505, NO_METHOD), (0, 0));
        }
    }
}

#[test]
fn only_its_header_may_follow_a_publish() {
    let broker = TestBroker::start();
    let qos = payload(&basic::Qos::default());
    let another = payload(&publish_to("", ""));
    for (kind, payload) in [
        (METHOD, &qos[..]),
        (METHOD, &another),
        (BODY, b"x"),
        (HEADER, &header(60, 1, 0)),
    ] {
        let mut client = begin_publish(&broker);
        client.send_frame(kind, 1, payload);
        assert_eq!(client.expect_connection_close(505, NO_HEADER), PUBLISH);
    }
    let mut client = begin_publish(&broker);
    client.send_frame(HEADER, 1, &header(50, 0, 0));
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 \
                instead";
    assert_eq!(client.expect_connection_close(505, text), PUBLISH);
}

#[test]
fn only_its_body_may_follow_a_header() {
    let broker = TestBroker::start();
    let qos = payload(&basic::Qos::default());
    for (kind, payload) in [
        (METHOD, &qos[..]),
        (HEADER, &header(60, 0, 5)),
        (BODY, b"longer"),
    ] {
        for begun in [&b""[..], b"ab"] {
            let mut client = begin_publish(&broker);
            client.send_frame(HEADER, 1, &header(60, 0, 5));
            client.send_frame(BODY, 1, begun);
            client.send_frame(kind, 1, payload);
            assert_eq!(client.expect_connection_close(505, NO_BODY), PUBLISH);
        }
    }
}

#[test]
fn a_complete_content_takes_no_further_body() {
    let broker = TestBroker::start();
    for size in [0, 2] {
        let mut client = begin_publish(&broker);
        client.send_frame(HEADER, 1, &header(60, 0, size));
        client.send_frame(BODY, 1, &b"ab"[..size as usize]);
        if size > 0 {
            client.send_frame(BODY, 1, b"c");
        }
        assert_eq!(client.expect_connection_close(505, NO_METHOD), (0, 0));
    }
}

#[test]
fn heartbeats_and_other_channels_may_come_between_the_frames_of_a_content() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.send(&publish_to("", "q"));
    client.send_frame(HEARTBEAT, 0, b"");
    client.send_frame(HEADER, 1, &header(60, 0, 4));
    client.open_channel(2);
    client.switch_to(1);
    client.send_frame(BODY, 1, b"");
    client.send_frame(BODY, 1, b"bo");
    client.switch_to(2);
    client.publish("", "q", "other");
    client.switch_to(1);
    client.send_frame(BODY, 1, b"dy");
    assert_eq!(client.drain("q"), ["other", "body"]);
}

#[test]
fn a_connection_may_be_closed_in_the_middle_of_a_content() {
    let broker = TestBroker::start();
    let mut client = begin_publish(&broker);
    client.send_frame(HEADER, 1, &header(60, 0, 5));
    client.send_on(0, &connection::Close::default());
    client.expect_on(0, "connection.close-ok");
    client.expect_end();
}

#[test]
fn frames_may_come_byte_by_byte() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut bytes = raw_frame(METHOD, 1, &payload(&declare()));
    bytes.extend(raw_frame(METHOD, 1, &payload(&publish_to("", "q"))));
    bytes.extend(raw_frame(HEADER, 1, &header(60, 0, 4)));
    bytes.extend(raw_frame(BODY, 1, b"body"));
    for byte in bytes {
        client.send_bytes(&[byte]);
    }
    client.expect("queue.declare-ok");
    assert_eq!(client.drain("q"), ["body"]);
}

#[test]
fn frames_may_come_in_any_pieces() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let sizes = [0, 3, 5000, 20_000, 131_064];
    let mut bytes = Vec::new();
    for size in sizes {
        bytes.extend(raw_frame(METHOD, 1, &payload(&publish_to("", "q"))));
        bytes.extend(raw_frame(HEADER, 1, &header(60, 0, size as u64)));
        if size > 0 {
            bytes.extend(raw_frame(BODY, 1, &vec![size as u8; size]));
        }
    }
    for piece in bytes.chunks(997) {
        client.send_bytes(piece);
    }
    for size in sizes {
        assert_eq!(client.get("q").unwrap().body, vec![size as u8; size]);
    }
}
