//! What the core knows of an AMQP channel: its delivery side.

use std::collections::{BTreeMap, BTreeSet};

use crate::slots::Key;

use super::ack_clock::AckClocks;
use super::connection::ConnectionKey;
use super::consumer::ConsumerKey;
use super::counters::ChannelCounters;
use super::name::Name;
use super::outlet::SocketKey;
use super::unacked::UnackedRing;

pub type ChannelKey = Key<Channel>;

/// Delivery tags, unacked deliveries, prefetch and consumers of one channel.
pub struct Channel {
    pub connection: ConnectionKey,
    pub socket: SocketKey,
    pub number: u16,
    /// The last delivery tag drawn; tags start at 1 (AMQP 0-9-1 §1.1, `delivery-tag`).
    pub last_delivery_tag: u64,
    pub unacked: UnackedRing,
    /// Limit for the consumers declared from now on (`basic.qos`, global=false in RabbitMQ's reading).
    pub consumer_prefetch: u16,
    /// Limit shared by all consumers of the channel (global=true); 0 is none.
    pub prefetch: u16,
    /// What that comes to, where memory is used up less.
    pub unacked_max: u32,
    /// Unacked deliveries to consumers, which count against `prefetch` (those of `basic.get` do not).
    pub consumer_unacked: u32,
    /// In order of arrival, since keys grow with time.
    pub consumers: BTreeSet<ConsumerKey>,
    /// The same by their tags, which are unique in a channel.
    pub consumer_tags: BTreeMap<Name, ConsumerKey>,
    /// RabbitMQ: consumer timeout. Only where there is one.
    pub ack_clocks: Option<Box<AckClocks>>,
    pub counters: ChannelCounters,
    pub mode: ChannelMode,
    /// Publishes and settlements that wait for `tx.commit`: only shown.
    pub uncommitted: (u32, u32),
    /// RabbitMQ: direct reply-to. Set by consuming from `amq.rabbitmq.reply-to`.
    pub reply_consumer: Option<ReplyConsumer>,
}

/// What the channel's publishers were promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelMode {
    #[default]
    Plain,
    /// RabbitMQ: publisher confirms.
    Confirm,
    /// AMQP 0-9-1 §1.9.
    Transaction,
}

/// The pseudo-consumer that gets the answers to a channel's requests.
pub struct ReplyConsumer {
    pub tag: Name,
    /// What stands in `reply_to` of its requests: `amq.rabbitmq.reply-to.` and something unguessable.
    pub address: Name,
}

impl Channel {
    #[inline]
    pub fn next_delivery_tag(&mut self) -> u64 {
        self.last_delivery_tag += 1;
        self.last_delivery_tag
    }

    /// Whether the limit shared by its consumers leaves room for a delivery.
    #[inline]
    pub fn has_credit(&self) -> bool {
        self.consumer_unacked < self.unacked_max
    }

    /// To be called when the limit has changed, or what there is for everybody.
    pub fn review_limit(&mut self, unacked_max: u32) {
        let own = match self.prefetch {
            0 => u32::MAX,
            count => u32::from(count),
        };
        self.unacked_max = own.min(unacked_max);
    }
}
