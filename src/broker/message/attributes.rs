//! What a broker must know of a message that it does not look at: for expiry, limits and priorities.

use crate::wire::amqp::properties::{PropertyBlock, parse_expiration};

use super::Message;

/// Of a message, whoever has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// When the broker got it, in Unix milliseconds.
    pub arrived_ms: u64,
    /// Bytes of its body.
    pub body_size: u32,
    /// Zero if it has none (AMQP 0-9-1 §1.8).
    pub priority: u8,
    /// RabbitMQ: per-message TTL, in milliseconds from its arrival.
    pub expiration_ms: Option<u64>,
}

impl Message<'_> {
    /// An expiration that is no number, which no publisher can have given, counts as none.
    #[inline]
    pub fn attributes(&self) -> Attributes {
        let (priority, expiration) = PropertyBlock::new(self.properties).priority_and_expiration();
        Attributes {
            arrived_ms: self.arrived_ms,
            body_size: self.body.len() as u32,
            priority,
            expiration_ms: expiration.and_then(|text| parse_expiration(text).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Body;
    use super::*;
    use crate::wire::amqp::properties::Properties;

    #[test]
    fn attributes_are_those_of_the_properties_and_the_body() {
        let mut properties = Vec::new();
        Properties {
            priority: Some(7),
            expiration: Some(b"60000"),
            ..Properties::default()
        }
        .encode(&mut properties);
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            properties: &properties,
            body: Body::Slice(b"body"),
            arrived_ms: 5,
        };
        let expected = Attributes {
            arrived_ms: 5,
            body_size: 4,
            priority: 7,
            expiration_ms: Some(60_000),
        };
        assert_eq!(message.attributes(), expected);
        let plain = Message {
            properties: &[0, 0],
            ..message
        };
        let expected = Attributes {
            priority: 0,
            expiration_ms: None,
            ..expected
        };
        assert_eq!(plain.attributes(), expected);
    }
}
