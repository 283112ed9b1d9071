//! Messages that can be told apart, wherever they turn up.

use leveret::wire::amqp::Properties;
use leveret::wire::amqp::properties::{self, NO_PROPERTIES};

/// A message's number: the first eight bytes of its body, or if that is shorter the property
/// `message-id`.
pub fn number(properties: &[u8], body: &[u8]) -> Option<u64> {
    if let Some(number) = body.first_chunk() {
        return Some(u64::from_le_bytes(*number));
    }
    let properties = Properties::decode(properties).ok()?;
    std::str::from_utf8(properties.message_id?)
        .ok()?
        .parse()
        .ok()
}

/// The body of the message with this number.
pub fn body(number: u64, size: usize) -> Vec<u8> {
    let mut body = vec![0; size];
    for (at, byte) in body.iter_mut().enumerate() {
        *byte = (number as usize + at + at / 251) as u8;
    }
    if let Some(start) = body.first_chunk_mut() {
        *start = number.to_le_bytes();
    }
    body
}

/// A block that says nothing but who it is, if the body cannot.
pub fn plain_properties(number: u64, size: usize) -> Vec<u8> {
    if size >= 8 {
        return NO_PROPERTIES.to_vec();
    }
    let text = number.to_string();
    let properties = Properties {
        message_id: Some(text.as_bytes()),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    debug_assert!(Properties::flags(&block) == properties::MESSAGE_ID);
    block
}
