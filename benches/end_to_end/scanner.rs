//! Reads what a broker sends, looking at frame headers and little else: the client must cost far
//! less than the broker it measures. Bodies are skipped, but for the sequence number and the stamp
//! at their head.

use crate::failure::{Failure, Result};
use crate::wire::{self, BODY, FRAME_END, FRAME_HEAD, HEADER, METHOD};

/// What a scan comes across.
pub enum Event {
    /// A complete message, once its last byte is there.
    Delivery {
        queue: usize,
        sequence: u64,
        stamp: u64,
    },
    /// basic.ack from the broker (RabbitMQ: publisher confirms).
    Confirm {
        channel: u16,
        number: u64,
        multiple: bool,
    },
}

/// Where in the stream of frames the reader stands. Bytes may come in any pieces.
#[derive(Default)]
pub struct Scanner {
    /// Bytes of the current frame that are of no interest, its end marker included.
    skip: usize,
    /// Of the content being received: bytes of body that no frame header has announced yet.
    body_left: u64,
    /// The current body frame completes the content.
    completes: bool,
    queue: usize,
    sequence: u64,
    stamp: u64,
}

impl Scanner {
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
                    on_event(Event::Delivery {
                        queue: self.queue,
                        sequence: self.sequence,
                        stamp: self.stamp,
                    })?;
                }
            }
            let rest = &bytes[at..];
            let (Some(&kind), Some(size)) = (rest.first(), wire::u32_at(rest, 3)) else {
                return Ok(at);
            };
            let size = size as usize;
            let wanted = match kind {
                METHOD => size,
                HEADER => size.min(CONTENT_HEAD),
                BODY => size.min(wire::STAMP_SIZE),
                _ => 0,
            };
            if size > wire::FRAME_MAX as usize {
                return Err(Failure::new(format!("a frame of {size} bytes")));
            }
            let Some(payload) = rest.get(FRAME_HEAD..FRAME_HEAD + wanted) else {
                return Ok(at);
            };
            match kind {
                METHOD => {
                    let channel = wire::u16_at(rest, 1).unwrap_or_default();
                    self.on_method(channel, payload, &mut on_event)?;
                }
                HEADER => {
                    self.body_left = wire::u64_at(payload, 4)
                        .ok_or_else(|| Failure::new("a content header is too short"))?;
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
                self.queue = queue_of_tag(payload)
                    .ok_or_else(|| Failure::new("a delivery bears an unknown consumer tag"))?;
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
            _ => Err(unexpected(payload)),
        }
    }

    fn on_body(&mut self, head: &[u8], size: usize) -> Result<()> {
        // A message has one body frame here: no body is larger than a frame may be.
        let (Some(sequence), Some(stamp)) = (wire::u64_at(head, 0), wire::u64_at(head, 8)) else {
            return Err(Failure::new("a body is shorter than what was published"));
        };
        if self.body_left != size as u64 {
            return Err(Failure::new(
                "a body is not of the size its header announced",
            ));
        }
        self.body_left = 0;
        self.sequence = sequence;
        self.stamp = stamp;
        self.completes = true;
        Ok(())
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
    match id {
        wire::CONNECTION_CLOSE | wire::CHANNEL_CLOSE | wire::BASIC_RETURN => {
            let code = wire::u16_at(payload, 4).unwrap_or_default();
            let text = wire::short_at(payload, 6).unwrap_or_default();
            Failure::new(format!("method {}.{}: {code} {text}", id.0, id.1))
        }
        wire::BASIC_NACK => Failure::new("the broker refused a message (basic.nack)"),
        wire::BASIC_CANCEL => Failure::new("the broker cancelled a consumer"),
        _ => Failure::new(format!("unexpected method {}.{}", id.0, id.1)),
    }
}

fn queue_of_tag(deliver: &[u8]) -> Option<usize> {
    let tag = deliver.get(4..9)?;
    if tag[0] != 4 {
        return None;
    }
    tag[1..].iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + usize::from(digit - b'0'))
    })
}

/// Class, weight and body size of a content header; its properties are of no interest.
const CONTENT_HEAD: usize = 12;
const HEARTBEAT: u8 = 8;
