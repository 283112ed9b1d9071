//! Consumers come and go: consume, cancel, qos, and RabbitMQ's direct reply-to.

use super::Core;
use super::ack_clock::ack_timeout;
use super::channel::{ChannelKey, ReplyConsumer};
use super::consumer::{ConsumeRequest, Consumer, ConsumerKey};
use super::error::{Error, Result, named};
use super::name::Name;
use super::queue::arguments::{QueueKind, consumer_timeout};
use super::topology::queue::refuse_stream_argument;
use crate::wire::amqp::Table;

/// The pseudo-queue of RabbitMQ's direct reply-to; what stands in requests begins with it.
pub const REPLY_TO: &[u8] = b"amq.rabbitmq.reply-to";

impl Core {
    /// Starts a consumer.
    ///
    /// # Errors
    /// The tag is taken (`NotAllowed`); the queue is missing, locked or in exclusive use; an argument
    /// makes no sense.
    pub fn consume(
        &mut self,
        channel_key: ChannelKey,
        queue: &[u8],
        request: ConsumeRequest<'_>,
    ) -> Result<()> {
        self.check_consumer_tag(channel_key, request.tag)?;
        let queue_key = self.accessible_queue(channel_key, queue)?;
        let queue = &mut self.traffic.queues[queue_key];
        let traced = self.virtual_hosts[queue.virtual_host].traced;
        let virtual_host = &self.virtual_hosts[queue.virtual_host].name;
        let described = || named("queue", &queue.name, virtual_host);
        let priority = consumer_priority(request.arguments.view(), described)?;
        if queue.arguments.kind == QueueKind::Classic {
            refuse_stream_argument("x-stream-offset", request.arguments.view(), described)?;
        }
        // Waiting for the active consumer to go and being alone exclude each other (RabbitMQ).
        let cannot_be_alone = queue.dispatch.is_single_active() || !queue.dispatch.is_empty();
        let own_timeout = consumer_timeout(request.arguments.view())
            .map_err(|bad| Error::PreconditionFailed(bad.describe(described())))?;
        let timeout_ms = ack_timeout(own_timeout, queue, self.consumer_timeout_ms);
        if queue.exclusively_consumed || (request.exclusive && cannot_be_alone) {
            let text = format!("{} in exclusive use", described());
            return Err(Error::AccessRefused(text));
        }
        queue.exclusively_consumed = request.exclusive;
        let channel = &mut self.traffic.channels[channel_key];
        let connection = channel.connection;
        let tag = Name::from(request.tag);
        let key = self.traffic.consumers.insert(Consumer {
            queue: queue_key,
            channel: channel_key,
            socket: channel.socket,
            channel_number: channel.number,
            tag: tag.clone(),
            no_ack: request.no_ack,
            exclusive: request.exclusive,
            priority,
            prefetch: channel.consumer_prefetch,
            unacked: 0,
            suspended: false,
            timeout_ms,
            traced,
            watched: traced || timeout_ms.is_some(),
            arguments: request.arguments,
        });
        channel.consumers.insert(key);
        channel.consumer_tags.insert(tag, key);
        queue.dispatch.add(key, priority);
        self.renew_lease(queue_key);
        self.traffic.list(queue_key);
        if self.tells_events() {
            self.act_for(connection);
            self.tell_consumer_came(key);
        }
        Ok(())
    }

    /// Ends the channel's consumer with that tag; none is no error (AMQP 0-9-1 §1.8.3.5). Its unacked
    /// deliveries stay with the channel.
    pub fn cancel(&mut self, channel_key: ChannelKey, tag: &[u8]) {
        let channel = &mut self.traffic.channels[channel_key];
        if channel
            .reply_consumer
            .as_ref()
            .is_some_and(|consumer| *consumer.tag == *tag)
        {
            self.remove_reply_consumer(channel_key);
            return;
        }
        if let Some(key) = channel.consumer_tags.remove(tag) {
            channel.consumers.remove(&key);
            let connection = channel.connection;
            self.act_for(connection);
            self.remove_consumer(key);
        }
    }

    /// Sets prefetch limits in RabbitMQ's reading of `basic.qos`: without `global` for the channel's
    /// later consumers, each by itself; with it for all of the channel's consumers together.
    pub fn set_prefetch(&mut self, channel_key: ChannelKey, count: u16, global: bool) {
        let channel = &mut self.traffic.channels[channel_key];
        if global {
            channel.prefetch = count;
            channel.review_limit(self.traffic.unacked_max);
            self.traffic.resume_channel(channel_key);
        } else {
            channel.consumer_prefetch = count;
        }
    }

    /// Nobody gets more than that without acking some of it, while memory is used up: what is unacked takes
    /// memory, and acks give it back. `u32::MAX` ends that.
    pub fn limit_unacked(&mut self, unacked_max: u32) {
        if std::mem::replace(&mut self.traffic.unacked_max, unacked_max) == unacked_max {
            return;
        }
        for key in self.traffic.channels.keys() {
            if let Some(channel) = self.traffic.channels.get_mut(key) {
                channel.review_limit(unacked_max);
            }
            self.traffic.resume_channel(key);
        }
    }

    /// Lets a channel get answers to its requests. `address` is what the requests will carry as
    /// `reply_to`: [`REPLY_TO`], a dot and something that nobody can guess.
    pub fn consume_replies(
        &mut self,
        channel_key: ChannelKey,
        tag: &[u8],
        address: Name,
    ) -> Result<()> {
        self.check_consumer_tag(channel_key, tag)?;
        let channel = &mut self.traffic.channels[channel_key];
        if channel.reply_consumer.is_some() {
            return Err(Error::PreconditionFailed(
                "reply consumer already set".to_owned(),
            ));
        }
        self.reply_addresses.insert(address.clone(), channel_key);
        channel.reply_consumer = Some(ReplyConsumer {
            tag: Name::from(tag),
            address,
        });
        self.generation += 1;
        Ok(())
    }

    /// The address that stands for [`REPLY_TO`] in the channel's requests.
    pub fn own_reply_address(&self, channel: ChannelKey) -> Result<Name> {
        let consumer = self.traffic.channels[channel].reply_consumer.as_ref();
        consumer
            .map(|consumer| consumer.address.clone())
            .ok_or_else(|| {
                Error::PreconditionFailed("fast reply consumer does not exist".to_owned())
            })
    }

    /// Who waits for answers at this address.
    pub fn reply_address(&self, address: &[u8]) -> Option<ChannelKey> {
        if !address.starts_with(REPLY_TO) {
            return None;
        }
        self.reply_addresses.get(address).copied()
    }

    /// Tags are unique in a channel (AMQP 0-9-1 `basic.consume`, `consumer-tag`).
    fn check_consumer_tag(&self, channel_key: ChannelKey, tag: &[u8]) -> Result<()> {
        let channel = &self.traffic.channels[channel_key];
        let reply_tag = channel.reply_consumer.as_ref().map(|reply| &*reply.tag);
        if reply_tag != Some(tag) && !channel.consumer_tags.contains_key(tag) {
            return Ok(());
        }
        Err(Error::NotAllowed(format!(
            "attempt to reuse consumer tag '{}'",
            String::from_utf8_lossy(tag)
        )))
    }

    /// Takes a consumer out of its queue, which goes with it if it was the last of an auto-delete one.
    pub(super) fn remove_consumer(&mut self, key: ConsumerKey) {
        if self.tells_events() {
            self.tell_consumer_goes(key);
        }
        let Some(consumer) = self.traffic.consumers.remove(key) else {
            return;
        };
        let Some(queue) = self.traffic.queues.get_mut(consumer.queue) else {
            return;
        };
        let has_successor = queue
            .dispatch
            .remove(key, consumer.priority, consumer.suspended);
        if consumer.exclusive {
            queue.exclusively_consumed = false;
        }
        if queue.auto_delete && queue.dispatch.is_empty() {
            self.remove_queue(consumer.queue);
        } else {
            self.renew_lease(consumer.queue);
            if has_successor {
                self.traffic.list(consumer.queue);
            }
        }
    }

    pub(super) fn remove_reply_consumer(&mut self, channel: ChannelKey) {
        if let Some(consumer) = self.traffic.channels[channel].reply_consumer.take() {
            self.reply_addresses.remove(&consumer.address);
            self.generation += 1;
        }
    }
}

/// RabbitMQ: consumer priorities.
fn consumer_priority(arguments: Table<'_>, described: impl Fn() -> String) -> Result<i64> {
    let Some(value) = arguments.get("x-priority") else {
        return Ok(0);
    };
    value.as_integer().ok_or_else(|| {
        Error::PreconditionFailed(format!(
            "invalid arg 'x-priority' for {}: \"expected integer, got {}\"",
            described(),
            value.type_name()
        ))
    })
}
