//! Messages that say who sent them, and whose bytes follow from that.

use leveret::wire::amqp::Properties;
use leveret::wire::amqp::basic::Publish;
use leveret::wire::amqp::frame::{OVERHEAD, encode_body, encode_content_header, encode_method};

use crate::random::Random;

/// A message by its publisher and its place among that publisher's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub publisher: u32,
    pub number: u32,
    pub persistent: bool,
}

impl Stamp {
    /// The stamp, and behind it bytes that nobody could make up.
    pub fn body(&self) -> Vec<u8> {
        let mut random = Random::new(u64::from(self.publisher) << 32 | u64::from(self.number));
        let size = match random.below(100) {
            0 => random.between(4_000, 60_000),
            1..5 => random.between(1_000, 5_000),
            _ => random.below(200),
        };
        let mut body = Vec::with_capacity(STAMP_SIZE + size + 8);
        body.extend_from_slice(&self.publisher.to_le_bytes());
        body.extend_from_slice(&self.number.to_le_bytes());
        body.push(u8::from(self.persistent));
        while body.len() < STAMP_SIZE + size {
            body.extend_from_slice(&random.bits().to_le_bytes());
        }
        body.truncate(STAMP_SIZE + size);
        body
    }

    /// The message that came, if it is one as it was sent.
    pub fn read(body: &[u8], properties: &[u8]) -> Result<Stamp, String> {
        let number = |at: usize| {
            let bytes = body.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let stamp = number(0).zip(number(4)).zip(body.get(8));
        let Some(((publisher, number), persistent)) = stamp else {
            return Err(format!("a body of {} bytes has no stamp", body.len()));
        };
        let stamp = Stamp {
            publisher,
            number,
            persistent: *persistent == 1,
        };
        if body != stamp.body() {
            return Err(format!("{stamp:?} has another body than it was sent with"));
        }
        if properties != stamp.properties() {
            return Err(format!("{stamp:?} has other properties"));
        }
        Ok(stamp)
    }

    /// The publish as it goes over the wire.
    pub fn encode(&self, out: &mut Vec<u8>, exchange: &str, routing_key: &str) {
        encode_publish(out, exchange, routing_key, &self.properties(), &self.body());
    }

    fn properties(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let id = format!("{}-{}", self.publisher, self.number);
        let properties = Properties {
            delivery_mode: Some(if self.persistent { 2 } else { 1 }),
            message_id: Some(id.as_bytes()),
            ..Properties::default()
        };
        properties.encode(&mut block);
        block
    }
}

/// A whole publish on channel 1.
pub fn encode_publish(
    out: &mut Vec<u8>,
    exchange: &str,
    routing_key: &str,
    properties: &[u8],
    body: &[u8],
) {
    let publish = Publish {
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Publish::default()
    };
    encode_method(out, 1, &publish);
    encode_content_header(out, 1, body.len() as u64, properties);
    for piece in body.chunks(FRAME_MAX - OVERHEAD) {
        encode_body(out, 1, piece);
    }
}

const STAMP_SIZE: usize = 9;
const FRAME_MAX: usize = 131_072;
