//! Reads what a broker sends, looking at frame headers and little else: the client must cost far less than the broker
//! it measures. Bodies are skipped, but for the sequence number and the stamp at their head.
//!
//! Deliveries of one queue mostly look alike, byte for byte, but for a few fields. So the shape of the last one
//! is kept, and where the next one has it, its fields are read from their places, without going from frame to frame.

use super::failure::{Failure, Result};
use super::message::{SEQUENCE_SIZE, STAMP_SIZE};
use super::wire::{self, BODY, FRAME_END, FRAME_HEAD, HEADER, METHOD};

/// What a scan comes across.
pub enum Event {
    /// A complete message, once its last byte is there.
    Delivery(Delivery),
    /// basic.ack from the broker (RabbitMQ: publisher confirms).
    Confirm {
        channel: u16,
        number: u64,
        multiple: bool,
    },
    /// The broker takes no messages for the time being, and says why; `None` when it does again.
    Blocked(Option<String>),
}

#[derive(Clone, Copy, Default)]
pub struct Delivery {
    /// From the consumer tag.
    pub queue: usize,
    pub redelivered: bool,
    pub sequence: u64,
    /// 0 where the body has no room for one.
    pub stamp: u64,
}

/// Where in the stream of frames the reader stands. Bytes may come in any pieces.
pub struct Scanner {
    frame_max: usize,
    /// Bytes of the current frame that are of no interest, its end marker included.
    skip: usize,
    /// Of the content being received: bytes of body that no frame header has announced yet.
    body_left: u64,
    /// The next body frame is the first of its content.
    begins: bool,
    /// The current body frame completes the content.
    completes: bool,
    delivery: Delivery,
    shape: Option<Shape>,
}

/// Three frames whose heads are known, one behind the other.
struct Shape {
    method: [u8; FRAME_HEAD + 4],
    header: [u8; FRAME_HEAD + CONTENT_HEAD],
    body: [u8; FRAME_HEAD],
    header_at: usize,
    body_at: usize,
    size: usize,
}

impl Scanner {
    /// For a connection that agreed on frames of this size.
    pub fn new(frame_max: u32) -> Self {
        Scanner {
            frame_max: frame_max as usize,
            skip: 0,
            body_left: 0,
            begins: false,
            completes: false,
            delivery: Delivery::default(),
            shape: None,
        }
    }

    /// Scans `bytes` and returns how many of them it is done with; the rest wants more behind it.
    pub fn scan(
        &mut self,
        bytes: &[u8],
        mut on_event: impl FnMut(Event) -> Result<()>,
    ) -> Result<usize> {
        let mut at = 0;
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - at);
                at += skipped;
                self.skip -= skipped;
                if self.skip > 0 {
                    return Ok(at);
                }
                if bytes[at - 1] != FRAME_END {
                    return Err(Failure::new("a frame has no end marker"));
                }
                if std::mem::take(&mut self.completes) {
                    on_event(Event::Delivery(self.delivery))?;
                }
            }
            if let Some(shape) = &self.shape {
                while let Some(delivery) = shape.read(&bytes[at..]) {
                    at += shape.size;
                    on_event(Event::Delivery(delivery))?;
                }
            }
            let rest = &bytes[at..];
            let (Some(&kind), Some(size)) = (rest.first(), wire::u32_at(rest, 3)) else {
                return Ok(at);
            };
            let size = size as usize;
            if size + FRAME_HEAD + 1 > self.frame_max {
                return Err(Failure::new(format!(
                    "a frame of {size} bytes, where {} were agreed on",
                    self.frame_max
                )));
            }
            let wanted = match kind {
                METHOD => size,
                HEADER => size.min(CONTENT_HEAD),
                BODY if self.begins => size.min(STAMP_SIZE),
                _ => 0,
            };
            let Some(payload) = rest.get(FRAME_HEAD..FRAME_HEAD + wanted) else {
                return Ok(at);
            };
            match kind {
                METHOD => {
                    let channel = wire::u16_at(rest, 1).unwrap_or_default();
                    self.on_method(channel, payload, &mut on_event)?;
                    self.shape = Shape::of(rest).or(self.shape.take());
                }
                HEADER => {
                    self.body_left = wire::u64_at(payload, 4)
                        .ok_or_else(|| Failure::new("a content header is too short"))?;
                    self.begins = true;
                }
                BODY => self.on_body(payload, size)?,
                HEARTBEAT => {}
                _ => return Err(Failure::new(format!("a frame of type {kind}"))),
            }
            at += FRAME_HEAD + wanted;
            self.skip = size - wanted + 1;
        }
    }

    fn on_method(
        &mut self,
        channel: u16,
        payload: &[u8],
        on_event: &mut impl FnMut(Event) -> Result<()>,
    ) -> Result<()> {
        match method_id(payload)? {
            wire::BASIC_DELIVER => {
                let (Some(queue), Some(redelivered)) =
                    (queue_of_tag(payload), payload.get(REDELIVERED_AT))
                else {
                    return Err(Failure::new("a delivery bears an unknown consumer tag"));
                };
                self.delivery.queue = queue;
                self.delivery.redelivered = redelivered & 1 == 1;
                Ok(())
            }
            wire::BASIC_ACK => {
                let (Some(number), Some(flags)) = (wire::u64_at(payload, 4), payload.get(12))
                else {
                    return Err(Failure::new("a basic.ack is too short"));
                };
                on_event(Event::Confirm {
                    channel,
                    number,
                    multiple: flags & 1 == 1,
                })
            }
            wire::CONNECTION_BLOCKED => on_event(Event::Blocked(Some(
                wire::short_at(payload, 4).unwrap_or_default(),
            ))),
            wire::CONNECTION_UNBLOCKED => on_event(Event::Blocked(None)),
            _ => Err(unexpected(payload)),
        }
    }

    fn on_body(&mut self, head: &[u8], size: usize) -> Result<()> {
        if std::mem::take(&mut self.begins) {
            let Some(sequence) = wire::u64_at(head, 0) else {
                return Err(Failure::promise(
                    "a body is shorter than what was published",
                ));
            };
            self.delivery.sequence = sequence;
            self.delivery.stamp = wire::u64_at(head, SEQUENCE_SIZE).unwrap_or_default();
        }
        self.body_left = self
            .body_left
            .checked_sub(size as u64)
            .ok_or_else(|| Failure::promise("a body is larger than its header announced"))?;
        self.completes = self.body_left == 0;
        Ok(())
    }
}

impl Shape {
    /// That of the delivery that `bytes` begin with, if all of it is there and its body has one frame.
    fn of(bytes: &[u8]) -> Option<Self> {
        let size_at = |at: usize| wire::u32_at(bytes, at + 3).map(|size| size as usize);
        let header_at = FRAME_HEAD + size_at(0)? + 1;
        let body_at = header_at + FRAME_HEAD + size_at(header_at)? + 1;
        let body_size = size_at(body_at)?;
        let shape = Shape {
            method: *bytes.first_chunk()?,
            header: *bytes.get(header_at..)?.first_chunk()?,
            body: *bytes.get(body_at..)?.first_chunk()?,
            header_at,
            body_at,
            size: body_at + FRAME_HEAD + body_size + 1,
        };
        let announced = wire::u64_at(&shape.header, FRAME_HEAD + 4)?;
        let is_delivery = method_id(&shape.method[FRAME_HEAD..]).ok()? == wire::BASIC_DELIVER
            && (shape.header[0], shape.body[0]) == (HEADER, BODY)
            && announced == body_size as u64;
        (is_delivery && shape.read(bytes).is_some()).then_some(shape)
    }

    /// The delivery that `bytes` begin with, if it has this shape and all of it is there.
    #[inline]
    fn read(&self, bytes: &[u8]) -> Option<Delivery> {
        let bytes = bytes.get(..self.size)?;
        let is_alike = bytes.first_chunk() == Some(&self.method)
            && bytes[self.header_at..].first_chunk() == Some(&self.header)
            && bytes[self.body_at..].first_chunk() == Some(&self.body)
            && bytes[self.header_at - 1] == FRAME_END
            && bytes[self.body_at - 1] == FRAME_END
            && bytes[self.size - 1] == FRAME_END;
        if !is_alike {
            return None;
        }
        let method = &bytes[FRAME_HEAD..self.header_at];
        // The end marker is behind the body, so that what follows is body, or not there.
        let body = &bytes[self.body_at + FRAME_HEAD..self.size - 1];
        Some(Delivery {
            queue: queue_of_tag(method)?,
            redelivered: method.get(REDELIVERED_AT)? & 1 == 1,
            sequence: wire::u64_at(body, 0)?,
            stamp: wire::u64_at(body, SEQUENCE_SIZE).unwrap_or_default(),
        })
    }
}

pub fn method_id(payload: &[u8]) -> Result<wire::Id> {
    match (wire::u16_at(payload, 0), wire::u16_at(payload, 2)) {
        (Some(class), Some(method)) => Ok((class, method)),
        _ => Err(Failure::new("a method frame is too short")),
    }
}

/// The failure that a method stands for which nobody waits for: mostly a close with its reason.
pub fn unexpected(payload: &[u8]) -> Failure {
    let id = match method_id(payload) {
        Ok(id) => id,
        Err(failure) => return failure,
    };
    let reason = || {
        let code = wire::u16_at(payload, 4).unwrap_or_default();
        let text = wire::short_at(payload, 6).unwrap_or_default();
        format!("{code} {text}")
    };
    match id {
        wire::CONNECTION_CLOSE => {
            Failure::new(format!("the broker closed the connection: {}", reason()))
        }
        wire::CHANNEL_CLOSE => Failure::new(format!("the broker closed the channel: {}", reason())),
        wire::BASIC_RETURN => Failure::promise(format!("a message came back: {}", reason())),
        wire::BASIC_NACK => Failure::promise("the broker refused a message (basic.nack)"),
        wire::BASIC_CANCEL => Failure::new("the broker cancelled a consumer"),
        _ => Failure::new(format!("unexpected method {}.{}", id.0, id.1)),
    }
}

fn queue_of_tag(deliver: &[u8]) -> Option<usize> {
    let [4, digits @ ..] = deliver.get(4..)?.first_chunk::<5>()? else {
        return None;
    };
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + usize::from(digit - b'0'))
    })
}

/// In the payload of basic.deliver, behind a consumer tag of four digits.
const REDELIVERED_AT: usize = 4 + 5 + 8;
/// Class, weight and body size of a content header; its properties are of no interest.
const CONTENT_HEAD: usize = 12;
const HEARTBEAT: u8 = 8;

#[cfg(test)]
mod tests {
    use super::super::message::Publish;
    use super::*;

    fn deliveries(body_size: usize, frame_max: u32) -> Vec<u8> {
        let publish = Publish {
            routing_key: "q",
            body_size,
            frame_max,
            ..Publish::default()
        };
        let mut message = publish.delivery();
        let mut bytes = Vec::new();
        for sequence in 0..5 {
            message.set_sequence(sequence);
            bytes.extend_from_slice(&message.bytes);
        }
        bytes
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        for (body_size, frame_max) in [(8, 131_072), (16, 131_072), (10_000, 4096)] {
            let bytes = deliveries(body_size, frame_max);
            for cut in [1, 7, 50, bytes.len()] {
                let mut scanner = Scanner::new(frame_max);
                let (mut seen, mut inbox) = (Vec::new(), Vec::new());
                for piece in bytes.chunks(cut) {
                    inbox.extend_from_slice(piece);
                    let done = scanner.scan(&inbox, |event| {
                        if let Event::Delivery(delivery) = event {
                            seen.push(delivery.sequence);
                        }
                        Ok(())
                    });
                    inbox.drain(..done.unwrap_or_else(|failure| panic!("{failure}")));
                }
                assert_eq!(seen, [0, 1, 2, 3, 4], "{body_size} bytes cut at {cut}");
            }
        }
    }

    #[test]
    fn a_broken_frame_is_found_in_messages_that_look_alike() {
        let mut bytes = deliveries(16, 4096);
        *bytes.last_mut().expect("not empty") = 0;
        let mut count = 0;
        let scanned = Scanner::new(4096).scan(&bytes, |_| {
            count += 1;
            Ok(())
        });
        assert!(scanned.is_err());
        assert_eq!(count, 4);
    }

    #[test]
    fn a_close_is_told_with_its_reason() {
        let close = wire::Method::new(wire::CHANNEL_CLOSE)
            .u16(404)
            .short("NOT_FOUND - no queue 'q'")
            .u32(0);
        let scanned = Scanner::new(4096).scan(&close.frame(1), |_| Ok(()));
        let text = scanned.err().map(|failure| failure.to_string());
        let expected = "the broker closed the channel: 404 NOT_FOUND - no queue 'q'";
        assert_eq!(text.as_deref(), Some(expected));
    }
}
