//! A message by itself.

use bytes::Bytes;

use super::{Body, Message};

/// A message taken out of the buffer or the table where it lay. A large body is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedMessage {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    properties: Box<[u8]>,
    body: OwnedBody,
    arrived_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnedBody {
    Slice(Box<[u8]>),
    Shared(Bytes),
}

impl OwnedMessage {
    pub fn of(message: &Message<'_>) -> Self {
        OwnedMessage {
            exchange: message.exchange.into(),
            routing_key: message.routing_key.into(),
            properties: message.properties.into(),
            body: match message.body {
                Body::Slice(slice) => OwnedBody::Slice(slice.into()),
                Body::Shared(bytes) => OwnedBody::Shared(bytes.clone()),
            },
            arrived_ms: message.arrived_ms,
        }
    }

    pub fn message(&self) -> Message<'_> {
        Message {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: &self.properties,
            body: match &self.body {
                OwnedBody::Slice(slice) => Body::Slice(slice),
                OwnedBody::Shared(bytes) => Body::Shared(bytes),
            },
            arrived_ms: self.arrived_ms,
        }
    }
}
