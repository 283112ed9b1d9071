//! What is said about frames that make no sense or stand where they should not, in RabbitMQ's words:
//! its clients' logs show them, and people search for them.

use std::fmt::Write;

use crate::wire::Malformed;
use crate::wire::amqp::ReplyCode;
use crate::wire::amqp::frame::{Frame, HEADER, HEADER_SIZE, METHOD};
use crate::wire::amqp::method::Method;

use super::exception::{Exception, Result};

/// The bytes at the front of `input` are no frame.
pub fn not_a_frame(malformed: &Malformed, input: &[u8]) -> Exception {
    let kind = input.first().copied().unwrap_or_default();
    let text = match malformed {
        Malformed::FrameTooLarge { payload, max, .. } => {
            let described = describe(kind, &[]);
            format!("{described}: {{frame_too_large,{payload},{max}}}")
        }
        Malformed::BadFrameEnd(octet) => {
            let described = describe(kind, payload_of(input));
            format!("{described}: {{invalid_frame_end_marker,{octet}}}")
        }
        // Not waited for, and so not shown: what came of it depends on how the bytes were cut.
        Malformed::UnknownFrameType(_) => format!("{}: unknown_frame", describe(kind, &[])),
        other => other.to_string(),
    };
    Exception::new(ReplyCode::FrameError, text)
}

/// The frame is none that AMQP 0-9-1 knows, though its type is.
pub fn unknown_frame(kind: u8, payload: &[u8]) -> Exception {
    let text = format!("{}: unknown_frame", describe(kind, payload));
    Exception::new(ReplyCode::FrameError, text)
}

/// The frame may be good elsewhere, but not now or not on its channel.
pub fn unexpected_frame(frame: &Frame<'_>) -> Exception {
    let text = describe(frame.kind, frame.payload);
    Exception::new(ReplyCode::UnexpectedFrame, text)
}

/// Takes a method apart.
///
/// # Errors
/// 501 FRAME_ERROR with the ids of the method, whatever is wrong with it. RabbitMQ does not even
/// answer to unknown ids and malformed field tables: it drops the connection.
pub fn decode_method(payload: &[u8]) -> Result<Method<'_>> {
    Method::decode(payload).map_err(|_| {
        let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk::<4>() else {
            return unknown_frame(METHOD, payload);
        };
        let ids = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
        let text = format!("cannot decode {}", numbers(arguments));
        Exception::new(ReplyCode::FrameError, text).of(ids)
    })
}

/// A content header that is too short to be one.
pub fn short_header(payload: &[u8]) -> Exception {
    unknown_frame(HEADER, payload).of((0, 0))
}

/// What of the payload is there.
fn payload_of(input: &[u8]) -> &[u8] {
    let Some((&[_, _, _, s0, s1, s2, s3], payload)) = input.split_first_chunk::<HEADER_SIZE>()
    else {
        return &[];
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
    &payload[..payload.len().min(size)]
}

fn describe(kind: u8, payload: &[u8]) -> String {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let octets = match payload.iter().all(is_text) && !payload.is_empty() {
        true => format!("<<\"{}\">>", String::from_utf8_lossy(shown(payload))),
        false => numbers(payload),
    };
    format!("type {kind}, all octets = {octets}")
}

fn numbers(octets: &[u8]) -> String {
    let mut text = "<<".to_owned();
    for (index, octet) in shown(octets).iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{octet}");
    }
    text.push_str(">>");
    text
}

fn shown(octets: &[u8]) -> &[u8] {
    &octets[..octets.len().min(OCTETS_SHOWN)]
}

/// No more fit into a reply text, which is a short string.
const OCTETS_SHOWN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_described_as_rabbitmq_does() {
        let input = [4, 0, 1, 0, 0, 0, 3, 0, 50, 7, 0xCE, 1, 2];
        for end in [7, 9, input.len()] {
            let unknown = not_a_frame(&Malformed::UnknownFrameType(4), &input[..end]);
            assert_eq!(unknown.text, "type 4, all octets = <<>>: unknown_frame");
        }
        let bad_end = not_a_frame(&Malformed::BadFrameEnd(7), b"\x01\0\x01\0\0\0\x02hi\x07");
        assert_eq!(
            bad_end.text,
            "type 1, all octets = <<\"hi\">>: {invalid_frame_end_marker,7}"
        );
    }

    #[test]
    fn methods_that_cannot_be_decoded_are_named_by_their_ids() {
        let unknown = decode_method(&[0, 60, 0, 200]).unwrap_err();
        assert_eq!(unknown.method, Some((60, 200)));
        assert_eq!(unknown.text, "cannot decode <<>>");
        let cut = decode_method(&[0, 50, 0, 10, 0, 0, 2]).unwrap_err();
        assert_eq!(cut.method, Some((50, 10)));
        assert_eq!(cut.text, "cannot decode <<0,0,2>>");
        let short = decode_method(&[0, 50, 0]).unwrap_err();
        assert_eq!(short.text, "type 1, all octets = <<0,50,0>>: unknown_frame");
    }
}
