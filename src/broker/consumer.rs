//! Consumers: who takes messages from a queue, over which channel, and with how much credit.

use crate::slots::Key;
use crate::wire::amqp::field_table::OwnedTable;

use super::channel::ChannelKey;
use super::name::Name;
use super::outlet::SocketKey;
use super::queue::QueueKey;

pub type ConsumerKey = Key<Consumer>;

/// A subscription of a channel to a queue (AMQP 0-9-1 §1.8.3.3).
pub struct Consumer {
    pub queue: QueueKey,
    pub channel: ChannelKey,
    /// Where its deliveries go: copies of the channel's, so that a delivery finds them here.
    pub socket: SocketKey,
    pub channel_number: u16,
    pub tag: Name,
    pub no_ack: bool,
    pub exclusive: bool,
    /// RabbitMQ: consumer priorities (`x-priority`); higher is served first.
    pub priority: i64,
    /// Unacked deliveries it may have; 0 is no limit (RabbitMQ: `basic.qos` with global=false).
    pub prefetch: u16,
    pub unacked: u32,
    /// Not in its queue's line because it could not take a message.
    pub suspended: bool,
    /// How long it may hold a delivery (RabbitMQ: consumer timeout).
    pub timeout_ms: Option<u64>,
    /// Its virtual host is traced (RabbitMQ: firehose).
    pub traced: bool,
    /// Its deliveries are more than handed over: they are timed or traced.
    pub watched: bool,
    pub arguments: OwnedTable,
}

impl Consumer {
    /// Whether its own prefetch limit leaves room for a delivery.
    #[inline]
    pub fn has_credit(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < u32::from(self.prefetch)
    }

    pub fn set_traced(&mut self, traced: bool) {
        self.traced = traced;
        self.watched = self.traced || self.timeout_ms.is_some();
    }

    pub fn set_timeout(&mut self, timeout_ms: Option<u64>) {
        self.timeout_ms = timeout_ms;
        self.watched = self.traced || self.timeout_ms.is_some();
    }
}

/// What a client asks for with `basic.consume`.
pub struct ConsumeRequest<'a> {
    pub tag: &'a [u8],
    pub no_ack: bool,
    pub exclusive: bool,
    pub arguments: OwnedTable,
}
