//! What must hold for any bytes whatever; run by libFuzzer and, with bounds, by `fuzz_decode.rs`.

use leveret::wire::amqp::properties::PropertyBlock;
use leveret::wire::amqp::{
    Array, ArrayBuilder, ContentHeader, Frame, Method, Properties, Table, TableBuilder, Value,
    basic, frame,
};
use leveret::wire::writer::Writer;

const FRAME_MAX: u32 = 131_072;

/// Decodes `data` in every way there is. Nothing panics; what decodes is encoded again, to the
/// same bytes where there is but one encoding, and decodes to the same value.
pub fn check(data: &[u8]) {
    check_frames(data);
    check_method(data);
    check_content_header(data);
    check_properties(data);
    check_table(data);
    check_array(data);
}

fn check_frames(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((found, used))) = Frame::decode(rest, FRAME_MAX) {
        assert_eq!(used, found.payload.len() + frame::OVERHEAD);
        assert_eq!(Frame::decode(&rest[..used - 1], FRAME_MAX), Ok(None));
        match found.kind {
            frame::METHOD => check_method(found.payload),
            frame::HEADER => check_content_header(found.payload),
            frame::BODY => {
                let mut out = Vec::new();
                frame::encode_body(&mut out, found.channel, found.payload);
                assert_eq!(out, &rest[..used]);
            }
            _ => assert_eq!(found.kind, frame::HEARTBEAT),
        }
        rest = &rest[used..];
    }
}

fn check_method(payload: &[u8]) {
    let Ok(method) = Method::decode(payload) else {
        return;
    };
    let mut out = Vec::new();
    method.encode(&mut Writer::new(&mut out));
    // Bits that stand for no argument are not kept, so only the values must be the same.
    assert_eq!(out.len(), payload.len());
    assert_eq!(Method::decode(&out), Ok(method));

    let mut framed = Vec::new();
    frame::encode_method(&mut framed, 7, &method);
    let (found, used) = Frame::decode(&framed, 0).unwrap().unwrap();
    assert_eq!((found.channel, found.payload), (7, &out[..]));
    assert_eq!(used, framed.len());
    assert!(format!("{method:?}").len() > 2);
}

fn check_content_header(payload: &[u8]) {
    let Ok(header) = ContentHeader::decode(payload) else {
        return;
    };
    check_properties(header.properties);
    if (header.class, header.weight) == (basic::CLASS_ID, 0) {
        let mut out = Vec::new();
        frame::encode_content_header(&mut out, 1, header.body_size, header.properties);
        assert_eq!(&out[frame::HEADER_SIZE..out.len() - 1], payload);
    }
}

fn check_properties(block: &[u8]) {
    let delivery_mode = PropertyBlock::new(block).delivery_mode();
    let Ok(properties) = Properties::decode(block) else {
        return;
    };
    assert_eq!(delivery_mode, Ok(properties.delivery_mode));
    let mut out = Vec::new();
    properties.encode(&mut out);
    assert_eq!(out, block);
}

fn check_table(entries: &[u8]) {
    if let Ok(table) = Table::from_encoded(entries) {
        let rebuilt = rebuilt_table(table);
        assert_eq!(rebuilt.view().as_bytes(), entries);
        // Equal but for NaN, which is the same as nothing.
        let _ = table.same_entries(&rebuilt.view());
        for (name, _) in table {
            assert!(table.get(name).is_some());
        }
    }
}

fn check_array(values: &[u8]) {
    if let Ok(array) = Array::from_encoded(values) {
        let rebuilt = rebuilt_array(array);
        assert_eq!(rebuilt.view().as_bytes(), values);
        let _ = array.same_values(&rebuilt.view());
    }
}

/// Builds the table anew, down to its innermost values.
fn rebuilt_table(table: Table<'_>) -> TableBuilder {
    let mut builder = TableBuilder::new();
    for (name, value) in table {
        match value {
            Value::Table(table) => builder.put_table(name, &rebuilt_table(table)),
            Value::Array(array) => builder.put_array(name, &rebuilt_array(array)),
            other => builder.put(name, other),
        };
    }
    builder
}

fn rebuilt_array(array: Array<'_>) -> ArrayBuilder {
    let mut builder = ArrayBuilder::new();
    for value in array {
        match value {
            Value::Table(table) => builder.push_table(&rebuilt_table(table)),
            Value::Array(array) => builder.push_array(&rebuilt_array(array)),
            other => builder.push(other),
        };
    }
    builder
}
