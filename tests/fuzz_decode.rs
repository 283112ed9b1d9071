//! The fuzz target's body on stable: random bytes, and valid frames with random damage.

use leveret::wire::amqp::frame::{
    HEADER_SIZE, encode_body, encode_content_header, encode_heartbeat, encode_method,
};
use leveret::wire::amqp::{
    ArrayBuilder, Properties, TableBuilder, Value, basic, connection, queue,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzz/decode_body.rs"]
mod decode_body;

/// Damage to a byte string: at an index (taken modulo the size), do this.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<usize>;
    // Octets that mean something somewhere: sizes, tags, frame types and the frame end.
    let octet = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\x00\x01\x02\x03\x08\x7f\x80\xce\xfftbBsuIilLfdDSxATFV".to_vec()),
    ];
    prop_oneof![
        (index(), octet).prop_map(|(at, octet)| Damage::Set(at, octet)),
        (index(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        index().prop_map(Damage::Cut),
        (index(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (index(), 1..9usize).prop_map(|(at, count)| Damage::Remove(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let size = bytes.len();
    if size == 0 {
        return;
    }
    match damage {
        Damage::Set(at, octet) => bytes[at % size] = *octet,
        Damage::Flip(at, bit) => bytes[at % size] ^= 1 << bit,
        Damage::Cut(at) => bytes.truncate(at % size),
        Damage::Insert(at, inserted) => {
            bytes.splice(at % size..at % size, inserted.iter().copied());
        }
        Damage::Remove(at, count) => {
            let start = at % size;
            bytes.drain(start..(start + count).min(size));
        }
    }
}

/// A conversation with a bit of everything in it.
fn conversation() -> Vec<u8> {
    let mut capabilities = TableBuilder::new();
    capabilities.put("basic.nack", true).put("n", 7i64);
    let mut list = ArrayBuilder::new();
    list.push("a").push_table(&capabilities).push(Value::Void);
    let mut arguments = TableBuilder::new();
    arguments
        .put("x-max-length", 10)
        .put("ratio", Value::double(0.5))
        .put(
            "price",
            Value::Decimal {
                scale: 2,
                value: 314,
            },
        )
        .put("raw", Value::Binary(b"\x00\x01"))
        .put("when", Value::Timestamp(1_700_000_000))
        .put_table("capabilities", &capabilities)
        .put_array("list", &list);
    let mut block = Vec::new();
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(arguments.view()),
        delivery_mode: Some(2),
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        timestamp: Some(7),
        cluster_id: Some(b""),
        ..Properties::default()
    };
    properties.encode(&mut block);

    let mut out = Vec::new();
    let start_ok = connection::StartOk {
        client_properties: arguments.view(),
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    };
    let declare = queue::Declare {
        queue: b"jobs",
        durable: true,
        arguments: arguments.view(),
        ..queue::Declare::default()
    };
    let publish = basic::Publish {
        exchange: b"amq.topic",
        routing_key: b"jobs.new",
        mandatory: true,
        ..basic::Publish::default()
    };
    encode_method(&mut out, 0, &start_ok);
    encode_heartbeat(&mut out);
    encode_method(&mut out, 1, &declare);
    encode_method(&mut out, 1, &publish);
    encode_content_header(&mut out, 1, 5, &block);
    encode_body(&mut out, 1, b"hello");
    let ack = basic::Ack {
        delivery_tag: 1,
        multiple: true,
    };
    encode_method(&mut out, 1, &ack);
    out
}

#[test]
fn an_undamaged_conversation_and_all_its_parts_hold() {
    let bytes = conversation();
    for start in 0..bytes.len() {
        decode_body::check(&bytes[start..]);
        decode_body::check(&bytes[..start]);
    }
}

#[test]
fn every_single_damaged_octet_holds() {
    let bytes = conversation();
    for at in 0..bytes.len() {
        for octet in [
            0,
            1,
            0x7f,
            0x80,
            0xce,
            0xff,
            bytes[at] ^ 1,
            bytes[at].wrapping_add(1),
        ] {
            let mut damaged = bytes.clone();
            damaged[at] = octet;
            decode_body::check(&damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn random_bytes_hold(bytes in vec(any::<u8>(), 0..300)) {
        decode_body::check(&bytes);
    }

    #[test]
    fn random_arguments_of_every_method_hold(
        index in any::<prop::sample::Index>(),
        arguments in vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..60),
    ) {
        let info = index.get(leveret::wire::amqp::METHODS);
        let ids = [info.class_id.to_be_bytes(), info.method_id.to_be_bytes()].concat();
        decode_body::check(&[ids, arguments].concat());
    }

    #[test]
    fn a_damaged_conversation_holds(damages in vec(damage(), 1..6)) {
        let mut bytes = conversation();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        decode_body::check(&bytes);
        decode_body::check(bytes.get(HEADER_SIZE..).unwrap_or_default());
    }
}
