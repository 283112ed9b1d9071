//! What the codec costs: `cargo bench --bench codec`. Prints nanoseconds per operation, the best
//! of several rounds, since everything that disturbs a round makes it slower.

use std::hint::black_box;
use std::time::Instant;

use leveret::wire::amqp::frame::{Frame, encode_body, encode_content_header, encode_method};
use leveret::wire::amqp::properties::PropertyBlock;
use leveret::wire::amqp::{Method, Properties, TableBuilder, basic};
use leveret::wire::writer::Writer;

const ROUNDS: usize = 20;
const OPERATIONS: u32 = 100_000;
const BODY: [u8; 100] = [b'x'; 100];

fn main() {
    let full = full_properties();
    let plain = plain_properties();
    let triple = publish_triple(&plain);
    let publish_payload = payload(publish());
    let ack_payload = payload(basic::Ack {
        delivery_tag: 77,
        multiple: false,
    });
    let mut out = Vec::with_capacity(4096);

    measure("Frame::decode, publish triple of 100 bytes", || {
        let mut rest = black_box(&triple[..]);
        while let Ok(Some((frame, used))) = Frame::decode(rest, 131_072) {
            black_box(frame);
            rest = &rest[used..];
        }
    });
    measure("Method::decode, basic.publish", || {
        let _ = black_box(Method::decode(black_box(&publish_payload)));
    });
    measure("Method::decode, basic.ack", || {
        let _ = black_box(Method::decode(black_box(&ack_payload)));
    });
    measure("Properties::decode, none set", || {
        let _ = black_box(Properties::decode(black_box(&[0, 0])));
    });
    measure("Properties::decode, type and delivery mode", || {
        let _ = black_box(Properties::decode(black_box(&plain)));
    });
    measure("Properties::decode, ten with three headers", || {
        let _ = black_box(Properties::decode(black_box(&full)));
    });
    measure("PropertyBlock::delivery_mode, of the ten", || {
        let _ = black_box(PropertyBlock::new(black_box(&full)).delivery_mode());
    });
    measure("encode, deliver triple of 100 bytes", || {
        out.clear();
        let deliver = basic::Deliver {
            consumer_tag: black_box(b"ctag1.0"),
            delivery_tag: black_box(77),
            redelivered: false,
            exchange: b"",
            routing_key: b"jobs",
        };
        encode_method(&mut out, 1, &deliver);
        encode_content_header(&mut out, 1, 100, &plain);
        encode_body(&mut out, 1, black_box(&BODY));
        black_box(&out);
    });
}

/// Times `operation`; once only when the bench is run as a test, to see that it works.
fn measure(name: &str, mut operation: impl FnMut()) {
    if !std::env::args().any(|argument| argument == "--bench") {
        return operation();
    }
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..OPERATIONS {
                operation();
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    let nanoseconds = best.as_nanos() as f64 / f64::from(OPERATIONS);
    println!("{name:<45} {nanoseconds:>8.1} ns/op");
}

fn publish() -> basic::Publish<'static> {
    basic::Publish {
        exchange: b"",
        routing_key: b"jobs",
        ..Default::default()
    }
}

fn publish_triple(properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_method(&mut out, 1, &publish());
    encode_content_header(&mut out, 1, BODY.len() as u64, properties);
    encode_body(&mut out, 1, &BODY);
    out
}

fn payload<'a>(method: impl Into<Method<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    method.into().encode(&mut Writer::new(&mut out));
    out
}

fn plain_properties() -> Vec<u8> {
    block(&Properties {
        content_type: Some(b"application/json"),
        delivery_mode: Some(2),
        ..Default::default()
    })
}

fn full_properties() -> Vec<u8> {
    let mut headers = TableBuilder::new();
    headers
        .put("task", "proj.tasks.add")
        .put("retries", 0)
        .put("eta", "2024-01-01T00:00:00");
    block(&Properties {
        content_type: Some(b"application/json"),
        content_encoding: Some(b"utf-8"),
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        priority: Some(0),
        correlation_id: Some(b"3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        expiration: Some(b"60000"),
        message_id: Some(b"3f2504e0-4f89-11d3-9a0c-0305e82c3302"),
        timestamp: Some(1_700_000_000),
        ..Default::default()
    })
}

fn block(properties: &Properties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    properties.encode(&mut out);
    out
}
