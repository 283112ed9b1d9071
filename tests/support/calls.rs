//! What the client asks for in one line: a method, and the answer to it.

use std::io::{Read, Write};

use leveret::wire::amqp::{Method, basic, channel, confirm, connection, exchange, queue, tx};

use super::{Delivery, RawClient, Received};

impl<S: Read + Write> RawClient<S> {
    /// Sends the method and expects its `-ok`.
    pub fn call<'a>(&mut self, method: impl Into<Method<'a>>) -> Received {
        let method = method.into();
        self.send(&method);
        self.expect(&format!("{}-ok", method.name()))
    }

    /// Opens the channel and switches to it.
    pub fn open_channel(&mut self, number: u16) {
        self.channel = number;
        self.call(channel::Open::default());
    }

    pub fn close_channel(&mut self) {
        self.call(channel::Close::default());
    }

    pub fn switch_to(&mut self, channel: u16) {
        self.channel = channel;
    }

    pub fn declare_queue(&mut self, name: &str) {
        self.call(queue::Declare {
            queue: name.as_bytes(),
            ..Default::default()
        });
    }

    pub fn declare_queue_nowait(&mut self, name: &str) {
        self.send(&queue::Declare {
            queue: name.as_bytes(),
            no_wait: true,
            ..Default::default()
        });
    }

    pub fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.call(exchange::Declare {
            exchange: name.as_bytes(),
            kind: kind.as_bytes(),
            ..Default::default()
        });
    }

    pub fn bind_queue(&mut self, queue: &str, exchange: &str, routing_key: &str) {
        self.call(queue::Bind {
            queue: queue.as_bytes(),
            exchange: exchange.as_bytes(),
            routing_key: routing_key.as_bytes(),
            ..Default::default()
        });
    }

    pub fn bind_exchange(&mut self, destination: &str, source: &str, routing_key: &str) {
        self.call(exchange::Bind {
            destination: destination.as_bytes(),
            source: source.as_bytes(),
            routing_key: routing_key.as_bytes(),
            ..Default::default()
        });
    }

    /// Consumes with acks.
    pub fn consume(&mut self, queue: &str, tag: &str) {
        self.call(consume_from(queue, tag));
    }

    /// Consumes without acks.
    pub fn consume_no_ack(&mut self, queue: &str, tag: &str) {
        self.call(basic::Consume {
            no_ack: true,
            ..consume_from(queue, tag)
        });
    }

    pub fn cancel(&mut self, tag: &str) {
        self.call(basic::Cancel {
            consumer_tag: tag.as_bytes(),
            no_wait: false,
        });
    }

    pub fn prefetch(&mut self, count: u16, global: bool) {
        self.call(basic::Qos {
            prefetch_size: 0,
            prefetch_count: count,
            global,
        });
    }

    /// Publisher confirms from now on.
    pub fn confirm(&mut self) {
        self.call(confirm::Select::default());
    }

    pub fn transact(&mut self) {
        self.call(tx::Select {});
    }

    pub fn commit(&mut self) {
        self.call(tx::Commit {});
    }

    /// Gets with an ack to follow.
    pub fn get(&mut self, queue: &str) -> Option<Delivery> {
        self.get_as(queue, false)
    }

    /// Takes all ready messages out of a queue: their bodies.
    pub fn drain(&mut self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get_as(queue, true))
            .map(|delivery| delivery.text().to_owned())
            .collect()
    }

    pub fn get_as(&mut self, queue: &str, no_ack: bool) -> Option<Delivery> {
        self.send(&basic::Get {
            queue: queue.as_bytes(),
            no_ack,
            ..Default::default()
        });
        let received = self.receive();
        if received.is(self.channel, "basic.get-empty") {
            return None;
        }
        Some(self.delivery_of(&received))
    }

    /// Ready messages and consumers of a queue.
    pub fn counts(&mut self, queue: &str) -> (u32, u32) {
        let received = self.call(queue::Declare {
            queue: queue.as_bytes(),
            passive: true,
            ..Default::default()
        });
        match received.method() {
            Method::QueueDeclareOk(ok) => (ok.message_count, ok.consumer_count),
            _ => unreachable!("call checked it"),
        }
    }

    /// Everything said so far on this connection has been acted on, and every answer to it, confirms
    /// included, was received before this returns. What it was is in the result.
    pub fn settle(&mut self) -> Vec<Received> {
        let mut came = Vec::new();
        // Twice, since confirms follow the answers of the turn in which they fall due.
        for _ in 0..2 {
            self.send_on(0, &connection::UpdateSecret::default());
            loop {
                let received = self.receive();
                if received.is(0, "connection.update-secret-ok") {
                    break;
                }
                came.push(received);
            }
        }
        came
    }
}

pub fn publish_to<'a>(exchange: &'a str, routing_key: &'a str) -> basic::Publish<'a> {
    basic::Publish {
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    }
}

pub fn consume_from<'a>(queue: &'a str, tag: &'a str) -> basic::Consume<'a> {
    basic::Consume {
        queue: queue.as_bytes(),
        consumer_tag: tag.as_bytes(),
        ..Default::default()
    }
}
