//! Frames (AMQP 0-9-1 §4.2.3):
//!
//! ```text
//! 0      1         3             7                  size+7      size+8
//! +------+---------+-------------+  +------------+  +-----------+
//! | type | channel |     size    |  |  payload   |  | frame-end |
//! +------+---------+-------------+  +------------+  +-----------+
//!  octet   short         long         size octets       octet
//! ```

use super::super::Malformed;
use super::super::reader::Reader;
use super::super::writer::{SHORT_STRING_BYTES_MAX, Writer};
use super::method::{EncodeMethod, basic};

/// What a client says first (AMQP 0-9-1 §4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Frame type: a method.
pub const METHOD: u8 = 1;
/// Frame type: a content header.
pub const HEADER: u8 = 2;
/// Frame type: a piece of a content body.
pub const BODY: u8 = 3;
/// Frame type: a heartbeat.
pub const HEARTBEAT: u8 = 8;
/// Last octet of every frame.
pub const END: u8 = 0xCE;
/// Bytes of a frame before its payload.
pub const HEADER_SIZE: usize = 7;
/// Bytes of a frame beside its payload: the header and the end marker.
pub const OVERHEAD: usize = HEADER_SIZE + 1;
/// Largest payload accepted in bytes when no `frame_max` says less, so that sizes can be added
/// without overflow and one peer cannot ask for 4 GiB.
pub const PAYLOAD_BYTES_MAX: u32 = 512 * 1024 * 1024;

/// One frame, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// One of [`METHOD`], [`HEADER`], [`BODY`] and [`HEARTBEAT`].
    pub kind: u8,
    pub channel: u16,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes` and how many bytes it took, or `None` when it is not
    /// complete yet. A frame that is too large is refused as soon as its header is there.
    ///
    /// `frame_max` counts the whole frame; 0 means no limit but [`PAYLOAD_BYTES_MAX`]. As
    /// RabbitMQ does, up to [`OVERHEAD`] bytes more are forgiven, for clients that took it for the
    /// limit of the payload.
    #[inline]
    pub fn decode(
        bytes: &'a [u8],
        frame_max: u32,
    ) -> Result<Option<(Frame<'a>, usize)>, Malformed> {
        let Some((&[kind, c0, c1, s0, s1, s2, s3], rest)) =
            bytes.split_first_chunk::<HEADER_SIZE>()
        else {
            return Ok(None);
        };
        let channel = u16::from_be_bytes([c0, c1]);
        let size = u32::from_be_bytes([s0, s1, s2, s3]);
        if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
            return Err(Malformed::UnknownFrameType(kind));
        }
        if size > payload_limit(frame_max) {
            return Err(too_large(kind, channel, size, frame_max));
        }
        let Some((payload, after)) = rest.split_at_checked(size as usize) else {
            return Ok(None);
        };
        match after.first() {
            None => Ok(None),
            Some(&END) => {
                let frame = Frame {
                    kind,
                    channel,
                    payload,
                };
                Ok(Some((frame, payload.len() + OVERHEAD)))
            }
            Some(&other) => Err(Malformed::BadFrameEnd(other)),
        }
    }
}

/// What announces a content: its size and its properties (AMQP 0-9-1 §4.2.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Class of the method that carries the content.
    pub class: u16,
    /// Unused, and zero from every peer that follows the specification.
    pub weight: u16,
    /// Bytes of body to follow, over any number of body frames.
    pub body_size: u64,
    /// Property flags and property list as they came; see
    /// [`Properties`](super::properties::Properties).
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Takes apart the payload of a [`HEADER`] frame. The properties are not looked into.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<ContentHeader<'a>, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(ContentHeader {
            class: reader.short()?,
            weight: reader.short()?,
            body_size: reader.longlong()?,
            properties: reader.rest(),
        })
    }
}

/// Appends a method frame.
#[inline]
pub fn encode_method<M: EncodeMethod>(out: &mut Vec<u8>, channel: u16, method: &M) {
    let start = begin_frame(out, METHOD, channel);
    let (class_id, method_id) = method.ids();
    let mut writer = Writer::new(out);
    writer.short(class_id);
    writer.short(method_id);
    method.encode_arguments(&mut writer);
    end_frame(out, start);
}

/// Appends the header frame of a `basic` content. `properties` are encoded flags and list, as
/// [`ContentHeader::properties`] holds them.
#[inline]
pub fn encode_content_header(out: &mut Vec<u8>, channel: u16, body_size: u64, properties: &[u8]) {
    let start = begin_frame(out, HEADER, channel);
    let mut writer = Writer::new(out);
    writer.short(basic::CLASS_ID);
    writer.short(0);
    writer.longlong(body_size);
    writer.raw(properties);
    end_frame(out, start);
}

/// Appends one body frame; the caller splits bodies larger than the peer's `frame_max` less
/// [`OVERHEAD`].
#[inline]
pub fn encode_body(out: &mut Vec<u8>, channel: u16, body: &[u8]) {
    let start = begin_frame(out, BODY, channel);
    out.extend_from_slice(body);
    end_frame(out, start);
}

/// Appends a delivery whose body fits one frame: `basic.deliver`, content header, and a body frame
/// unless it is empty, byte for byte as [`encode_method`], [`encode_content_header`] and [`encode_body`]
/// would. This is done for every message, so that what is of fixed size goes out in few pieces.
pub fn encode_delivery(
    out: &mut Vec<u8>,
    channel: u16,
    method: &basic::Deliver<'_>,
    properties: &[u8],
    body: &[u8],
) {
    let tag = cut_short(method.consumer_tag);
    let exchange = cut_short(method.exchange);
    let routing_key = cut_short(method.routing_key);
    let method_size = DELIVER_FIXED_SIZE + tag.len() + exchange.len() + routing_key.len();
    let header_size = CONTENT_HEADER_FIXED_SIZE + properties.len();
    out.reserve(method_size + header_size + body.len() + 3 * OVERHEAD);

    let mut ids = [0; HEADER_SIZE + 5];
    ids[..HEADER_SIZE].copy_from_slice(&frame_header(METHOD, channel, method_size));
    ids[7..9].copy_from_slice(&basic::Deliver::CLASS_ID.to_be_bytes());
    ids[9..11].copy_from_slice(&basic::Deliver::METHOD_ID.to_be_bytes());
    ids[11] = tag.len() as u8;
    out.extend_from_slice(&ids);
    out.extend_from_slice(tag);

    let mut numbers = [0; 10];
    numbers[..8].copy_from_slice(&method.delivery_tag.to_be_bytes());
    numbers[8] = u8::from(method.redelivered);
    numbers[9] = exchange.len() as u8;
    out.extend_from_slice(&numbers);
    out.extend_from_slice(exchange);
    out.push(routing_key.len() as u8);
    out.extend_from_slice(routing_key);

    let mut header = [END; 1 + HEADER_SIZE + CONTENT_HEADER_FIXED_SIZE];
    header[1..8].copy_from_slice(&frame_header(HEADER, channel, header_size));
    header[8..10].copy_from_slice(&basic::CLASS_ID.to_be_bytes());
    header[10..12].copy_from_slice(&[0; 2]);
    header[12..].copy_from_slice(&(body.len() as u64).to_be_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(properties);

    if !body.is_empty() {
        let mut start = [END; 1 + HEADER_SIZE];
        start[1..].copy_from_slice(&frame_header(BODY, channel, body.len()));
        out.extend_from_slice(&start);
        out.extend_from_slice(body);
    }
    out.push(END);
}

/// Appends the header of a body frame whose payload of `size` bytes and [`END`] the caller writes.
#[inline]
pub fn encode_body_start(out: &mut Vec<u8>, channel: u16, size: u32) {
    begin_frame(out, BODY, channel);
    let start = out.len();
    out[start - 4..].copy_from_slice(&size.to_be_bytes());
}

/// Appends a heartbeat, on channel 0 (AMQP 0-9-1 §4.2.7).
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    let start = begin_frame(out, HEARTBEAT, 0);
    end_frame(out, start);
}

/// A frame header with its size.
#[inline]
fn frame_header(kind: u8, channel: u16, payload_size: usize) -> [u8; HEADER_SIZE] {
    let [c0, c1] = channel.to_be_bytes();
    let size = u32::try_from(payload_size).expect("frames are smaller than 4 GiB");
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [kind, c0, c1, s0, s1, s2, s3]
}

/// What [`Writer::short_string`] would write of a string, and why.
#[inline]
fn cut_short(string: &[u8]) -> &[u8] {
    debug_assert!(string.len() <= SHORT_STRING_BYTES_MAX);
    &string[..string.len().min(SHORT_STRING_BYTES_MAX)]
}

/// Appends a frame header whose size is not known yet; returns where the payload starts.
#[inline]
fn begin_frame(out: &mut Vec<u8>, kind: u8, channel: u16) -> usize {
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[kind, c0, c1, 0, 0, 0, 0]);
    out.len()
}

/// Fills in the size of the frame whose payload starts at `start`, and ends it.
#[inline]
fn end_frame(out: &mut Vec<u8>, start: usize) {
    let size = u32::try_from(out.len() - start).expect("frames are smaller than 4 GiB");
    out[start - 4..start].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// Largest payload accepted under `frame_max`; the overhead is forgiven.
#[inline]
fn payload_limit(frame_max: u32) -> u32 {
    match frame_max {
        0 => PAYLOAD_BYTES_MAX,
        limit => limit.min(PAYLOAD_BYTES_MAX),
    }
}

#[cold]
fn too_large(kind: u8, channel: u16, payload: u32, frame_max: u32) -> Malformed {
    Malformed::FrameTooLarge {
        kind,
        channel,
        payload,
        max: payload_limit(frame_max).saturating_sub(OVERHEAD as u32),
    }
}

/// Payload of a `basic.deliver` beside its three strings.
const DELIVER_FIXED_SIZE: usize = 2 + 2 + 1 + 8 + 1 + 1 + 1;
/// Payload of a content header beside its properties.
const CONTENT_HEADER_FIXED_SIZE: usize = 2 + 2 + 8;

#[cfg(test)]
mod tests {
    use super::super::method::{Method, tx};
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&channel.to_be_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        out.extend_from_slice(payload);
        out.push(END);
        out
    }

    #[test]
    fn a_frame_is_decoded_when_its_last_byte_is_there_and_not_before() {
        for payload in [&b""[..], b"x", b"some payload"] {
            let mut bytes = frame(BODY, 0x0102, payload);
            for end in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..end], 4096), Ok(None));
            }
            let size = bytes.len();
            bytes.extend_from_slice(b"what follows");
            let (decoded, used) = Frame::decode(&bytes, 4096).unwrap().unwrap();
            assert_eq!(used, size);
            assert_eq!(
                decoded,
                Frame {
                    kind: BODY,
                    channel: 0x0102,
                    payload
                }
            );
        }
    }

    #[test]
    fn a_delivery_in_one_piece_is_what_its_frames_are_singly() {
        for (name, body) in [
            (&b""[..], &b""[..]),
            (b"some name", b"a body"),
            (&[b'x'; 255], b""),
        ] {
            for redelivered in [false, true] {
                let method = basic::Deliver {
                    consumer_tag: name,
                    delivery_tag: 0x0102_0304_0506_0708,
                    redelivered,
                    exchange: &name[..name.len() / 2],
                    routing_key: name,
                };
                let properties = &[0x10, 0, 2][..];
                let mut expected = b"before".to_vec();
                encode_method(&mut expected, 0x0908, &method);
                encode_content_header(&mut expected, 0x0908, body.len() as u64, properties);
                if !body.is_empty() {
                    encode_body(&mut expected, 0x0908, body);
                }
                let mut out = b"before".to_vec();
                encode_delivery(&mut out, 0x0908, &method, properties, body);
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn a_payload_as_large_as_frame_max_is_forgiven_and_one_byte_more_refused() {
        let header = |size: u32| {
            let [s0, s1, s2, s3] = size.to_be_bytes();
            [METHOD, 0, 9, s0, s1, s2, s3]
        };
        assert_eq!(Frame::decode(&header(4096), 4096), Ok(None));
        assert_eq!(
            Frame::decode(&header(4097), 4096),
            Err(Malformed::FrameTooLarge {
                kind: METHOD,
                channel: 9,
                payload: 4097,
                max: 4088
            })
        );
        let full = frame(BODY, 1, &[7; 4096]);
        assert!(Frame::decode(&full, 4096).unwrap().is_some());
    }

    #[test]
    fn without_a_limit_sizes_end_at_half_a_gibibyte() {
        let header = |size: u32| {
            let [s0, s1, s2, s3] = size.to_be_bytes();
            [BODY, 0, 1, s0, s1, s2, s3]
        };
        for frame_max in [0, u32::MAX] {
            assert_eq!(
                Frame::decode(&header(PAYLOAD_BYTES_MAX), frame_max),
                Ok(None)
            );
            for size in [PAYLOAD_BYTES_MAX + 1, u32::MAX] {
                assert!(matches!(
                    Frame::decode(&header(size), frame_max),
                    Err(Malformed::FrameTooLarge { payload, .. }) if payload == size
                ));
            }
        }
    }

    #[test]
    fn a_wrong_end_marker_is_refused() {
        let mut bytes = frame(METHOD, 0, b"abc");
        *bytes.last_mut().unwrap() = 0xCD;
        assert_eq!(
            Frame::decode(&bytes, 4096),
            Err(Malformed::BadFrameEnd(0xCD))
        );
    }

    #[test]
    fn only_the_four_frame_types_are_known() {
        for kind in 0..=u8::MAX {
            let known = matches!(kind, METHOD | HEADER | BODY | HEARTBEAT);
            let bytes = frame(kind, 0, b"");
            match Frame::decode(&bytes, 0) {
                Ok(Some((frame, OVERHEAD))) => assert!(known && frame.kind == kind),
                other => {
                    assert!(!known);
                    assert_eq!(other, Err(Malformed::UnknownFrameType(kind)));
                }
            }
        }
    }

    #[test]
    fn a_publish_is_encoded_as_three_frames() {
        let publish = basic::Publish {
            exchange: b"ex",
            routing_key: b"key",
            mandatory: true,
            ..Default::default()
        };
        let mut out = Vec::new();
        encode_method(&mut out, 1, &publish);
        encode_content_header(&mut out, 1, 5, &[0, 0]);
        encode_body(&mut out, 1, b"hello");
        encode_heartbeat(&mut out);
        let expected: &[u8] = b"\x01\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x28\x00\x00\x02ex\x03key\x01\xce\
            \x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\xce\
            \x03\x00\x01\x00\x00\x00\x05hello\xce\
            \x08\x00\x00\x00\x00\x00\x00\xce";
        assert_eq!(out, expected);

        let mut rest = &out[..];
        let mut kinds = Vec::new();
        while let Some((frame, used)) = Frame::decode(rest, 4096).unwrap() {
            kinds.push(frame.kind);
            if frame.kind == METHOD {
                assert_eq!(
                    Method::decode(frame.payload),
                    Ok(Method::BasicPublish(publish))
                );
            }
            rest = &rest[used..];
        }
        assert_eq!(kinds, [METHOD, HEADER, BODY, HEARTBEAT]);
        assert!(rest.is_empty());
    }

    #[test]
    fn method_structs_and_the_method_enum_are_encoded_alike() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        encode_method(&mut one, 3, &tx::SelectOk {});
        encode_method(&mut other, 3, &Method::TxSelectOk(tx::SelectOk {}));
        assert_eq!(one, other);
    }

    #[test]
    fn a_content_header_is_cut_up_and_a_shorter_one_refused() {
        let payload = b"\x00\x3c\x00\x01\x00\x00\x00\x00\x00\x00\x01\x00\x10\x00\x02";
        assert_eq!(
            ContentHeader::decode(payload),
            Ok(ContentHeader {
                class: 60,
                weight: 1,
                body_size: 256,
                properties: b"\x10\x00\x02"
            })
        );
        for end in 0..12 {
            assert_eq!(
                ContentHeader::decode(&payload[..end]),
                Err(Malformed::Truncated)
            );
        }
    }
}
