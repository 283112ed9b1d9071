//! A publish that is the one before with another body: recognized by its bytes, without being taken
//! apart. Most publishers send nothing else for a long time, and comparing some forty bytes costs a
//! fraction of decoding three frames and finding the way once more.

use std::ops::Range;

use crate::broker::message::Traits;
use crate::broker::{Body, Message};
use crate::wire::amqp::frame::{self, Frame, HEADER_SIZE};
use crate::wire::amqp::method::basic;

/// The publish to recognize; nothing until [`Repeat::learn`].
#[derive(Default)]
pub struct Repeat {
    /// The method's frame, and of the content header's frame all before the size of the body.
    before_size: Vec<u8>,
    /// The properties and the end of that frame.
    after_size: Vec<u8>,
    exchange: Range<usize>,
    routing_key: Range<usize>,
    mandatory: bool,
    traits: Traits,
}

/// A recognized publish.
pub struct Repeated<'a> {
    pub message: Message<'a>,
    pub mandatory: bool,
    pub traits: Traits,
    /// Bytes of the input that it took.
    pub used: usize,
}

impl Repeat {
    /// Remembers a publish that was decoded from `input`: the method takes the first `method_used`
    /// bytes, the content header the `header_used` after them.
    pub fn learn(
        &mut self,
        input: &[u8],
        (method_used, header_used): (usize, usize),
        method: &basic::Publish<'_>,
        traits: Traits,
    ) {
        let size_at = method_used + BODY_SIZE_AT;
        let rest = size_at + size_of::<u64>()..method_used + header_used;
        self.clear();
        self.before_size.extend_from_slice(&input[..size_at]);
        self.after_size.extend_from_slice(&input[rest]);
        self.exchange = EXCHANGE_AT..EXCHANGE_AT + method.exchange.len();
        let key_at = self.exchange.end + 1;
        self.routing_key = key_at..key_at + method.routing_key.len();
        self.mandatory = method.mandatory;
        self.traits = traits;
    }

    /// Recognizes nothing from now on.
    pub fn clear(&mut self) {
        self.before_size.clear();
        self.after_size.clear();
    }

    /// The publish at the front of `input`, if it is that and all there, with a body that fits one
    /// frame. `None` says nothing of what is there instead.
    #[inline]
    pub fn recognize<'a>(&self, input: &'a [u8], frame_max: u32) -> Option<Repeated<'a>> {
        let (before_size, rest) = input.split_at_checked(self.before_size.len())?;
        if self.before_size.is_empty() || !is_same(before_size, &self.before_size) {
            return None;
        }
        let (body_size, rest) = rest.split_first_chunk()?;
        let (after_size, rest) = rest.split_at_checked(self.after_size.len())?;
        if !is_same(after_size, &self.after_size) {
            return None;
        }
        let (body, body_used) = Frame::decode(rest, frame_max).ok()??;
        let is_whole = body.payload.len() as u64 == u64::from_be_bytes(*body_size);
        let is_body = body.kind == frame::BODY && body.channel == channel_of(before_size);
        if !is_body || !is_whole {
            return None;
        }
        let (properties, _end) = after_size.split_at(after_size.len() - 1);
        Some(Repeated {
            message: Message {
                exchange: &before_size[self.exchange.clone()],
                routing_key: &before_size[self.routing_key.clone()],
                properties,
                body: Body::Slice(body.payload),
                arrived_ms: 0,
            },
            mandatory: self.mandatory,
            traits: self.traits,
            used: input.len() - rest.len() + body_used,
        })
    }
}

/// Equality of what is short and compared for every message, in words: a call of `memcmp`, with its
/// masked vectors, was seen to take a sixth of all the time of a publish with its delivery.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((words, tail), (other_words, other_tail)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    words.iter().eq(other_words)
        && match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
            // With bytes of the word before, if need be.
            (Some(end), Some(other_end)) => end == other_end,
            _ => tail.iter().eq(other_tail),
        }
}

fn channel_of(frame: &[u8]) -> u16 {
    frame
        .get(1..3)
        .map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Where a publish has the bytes of the exchange's name: behind the frame's header, the method's ids, the
/// ticket and the length.
const EXCHANGE_AT: usize = HEADER_SIZE + 4 + 2 + 1;
/// Where a content header's frame has the size of the body: behind its own header, class and weight.
const BODY_SIZE_AT: usize = HEADER_SIZE + 2 + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::method::Method;

    const FRAME_MAX: u32 = 4096;

    fn publish(method: &basic::Publish<'_>, properties: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::encode_method(&mut out, 7, method);
        frame::encode_content_header(&mut out, 7, body.len() as u64, properties);
        frame::encode_body(&mut out, 7, body);
        out
    }

    fn method() -> basic::Publish<'static> {
        basic::Publish {
            exchange: b"some exchange",
            routing_key: b"some key",
            mandatory: true,
            ..Default::default()
        }
    }

    fn learned(input: &[u8]) -> Repeat {
        let (method_frame, method_used) = Frame::decode(input, FRAME_MAX).unwrap().unwrap();
        let (_, header_used) = Frame::decode(&input[method_used..], FRAME_MAX)
            .unwrap()
            .unwrap();
        let Ok(Method::BasicPublish(method)) = Method::decode(method_frame.payload) else {
            panic!("no publish");
        };
        let mut repeat = Repeat::default();
        repeat.learn(input, (method_used, header_used), &method, Traits::NONE);
        repeat
    }

    #[test]
    fn a_repeat_is_recognized_when_its_last_byte_is_there_and_not_before() {
        let properties = &[0x10, 0, 2][..];
        let repeat = learned(&publish(&method(), properties, b"a body"));
        let mut input = publish(&method(), properties, b"another one");
        let size = input.len();
        for end in 0..size {
            assert!(repeat.recognize(&input[..end], FRAME_MAX).is_none());
        }
        input.extend_from_slice(b"what follows");
        let found = repeat.recognize(&input, FRAME_MAX).unwrap();
        assert_eq!(found.used, size);
        assert_eq!(found.message.exchange, method().exchange);
        assert_eq!(found.message.routing_key, method().routing_key);
        assert_eq!(found.message.properties, properties);
        assert_eq!(found.message.body.as_slice(), b"another one");
        assert!(found.mandatory);
    }

    #[test]
    fn one_other_byte_before_the_body_is_no_repeat() {
        let first = publish(&method(), &[0, 0], b"a body");
        let repeat = learned(&first);
        let body_at = first.len() - b"a body".len() - 1;
        for at in (0..body_at).chain([first.len() - 1]) {
            let mut other = first.clone();
            other[at] ^= 1;
            assert!(repeat.recognize(&other, FRAME_MAX).is_none(), "byte {at}");
        }
        assert!(Repeat::default().recognize(&first, FRAME_MAX).is_none());
    }

    #[test]
    fn a_body_in_two_frames_or_none_goes_the_longer_way() {
        let repeat = learned(&publish(&method(), &[0, 0], b"a body"));
        let whole = publish(&method(), &[0, 0], b"a body");
        let mut split = whole[..whole.len() - 14].to_vec();
        frame::encode_body(&mut split, 7, b"a bo");
        frame::encode_body(&mut split, 7, b"dy");
        assert!(repeat.recognize(&split, FRAME_MAX).is_none());
        let mut empty = Vec::new();
        frame::encode_method(&mut empty, 7, &method());
        frame::encode_content_header(&mut empty, 7, 0, &[0, 0]);
        assert!(repeat.recognize(&empty, FRAME_MAX).is_none());
        empty.extend_from_slice(&whole);
        assert!(repeat.recognize(&empty, FRAME_MAX).is_none());
    }

    #[test]
    fn names_are_the_same_if_every_byte_is() {
        let name: Vec<u8> = (0..40).collect();
        for size in 0..=name.len() {
            let name = &name[..size];
            let elsewhere = name.to_vec();
            assert!(is_same(name, &elsewhere));
            assert!(!is_same(name, &[name, &[0]].concat()));
            for at in 0..size {
                let mut other = name.to_vec();
                other[at] ^= 1;
                assert!(!is_same(name, &other));
            }
        }
    }
}
