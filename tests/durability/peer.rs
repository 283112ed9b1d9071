//! A client that lives through the death of its broker.

use std::io::Write;

use leveret::wire::amqp::{EncodeMethod, Method, frame};

use crate::support::{RawClient, Received};

/// The broker is not there any more.
#[derive(Debug)]
pub struct Gone;

pub type Outcome<T> = Result<T, Gone>;

/// A client whose broker may end at any time.
pub struct Peer {
    client: RawClient,
}

/// A message that came.
pub struct Came {
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Peer {
    /// On channel 1, which is open.
    pub fn new(client: RawClient) -> Peer {
        Peer { client }
    }

    pub fn send(&mut self, method: &impl EncodeMethod) -> Outcome<()> {
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, 1, method);
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.client.stream.write_all(bytes).map_err(|_| Gone)
    }

    /// The next frame. A broker that stops closes the connection first, which is the same to us.
    pub fn receive(&mut self) -> Outcome<Received> {
        let received = self.client.receive_any().ok_or(Gone)?;
        if received.kind != frame::METHOD {
            return Ok(received);
        }
        match received.method() {
            Method::ConnectionClose(close) if close.reply_code == 320 => Err(Gone),
            Method::ConnectionClose(_) | Method::ChannelClose(_) => {
                panic!("nobody did anything wrong, and what came was {received}")
            }
            _ => Ok(received),
        }
    }

    /// Whether it is that method; a message's content is taken by [`Peer::content`].
    pub fn expect(&mut self, name: &str) -> Outcome<Received> {
        let received = self.receive()?;
        assert!(received.is(1, name), "{name} was due, not {received}");
        Ok(received)
    }

    /// The message that `basic.deliver` or `basic.get-ok` announced.
    pub fn content(&mut self, announced: &Received) -> Outcome<Came> {
        let (delivery_tag, redelivered) = match announced.method() {
            Method::BasicDeliver(method) => (method.delivery_tag, method.redelivered),
            Method::BasicGetOk(method) => (method.delivery_tag, method.redelivered),
            _ => panic!("a message was due, not {announced}"),
        };
        let received = self.receive()?;
        let header = received.header();
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            body.extend_from_slice(&self.receive()?.payload);
        }
        Ok(Came {
            delivery_tag,
            redelivered,
            properties: header.properties.to_vec(),
            body,
        })
    }
}
