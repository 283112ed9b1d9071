//! Queues, consumers and channels: everything that a delivery touches except the message itself,
//! which may be borrowed meanwhile.

use crate::slots::Slots;

use super::Map;
use super::ack_clock::Timed;
use super::channel::{Channel, ChannelKey};
use super::consumer::{Consumer, ConsumerKey};
use super::message::Message;
use super::outlet::{Delivery, Effect, Outlet, SocketKey};
use super::queue::{Entry, Queue, QueueKey};
use super::unacked::Unacked;

#[derive(Default)]
pub(super) struct Traffic {
    pub queues: Slots<Queue>,
    pub consumers: Slots<Consumer>,
    pub channels: Slots<Channel>,
    /// Queues that may have both messages and takers since the last [`Traffic::take_fresh`].
    fresh: Vec<QueueKey>,
    /// What the last commands mean for others.
    pub effects: Vec<Effect>,
    /// Unacked deliveries that any channel may have.
    pub unacked_max: u32,
    /// The time as the turn began (monotonic ms).
    pub monotonic_ms: u64,
    /// When to look for overdue deliveries ([`super::Core::time_out`]).
    pub ack_deadlines: Map<SocketKey, u64>,
}

impl Traffic {
    pub fn new() -> Self {
        Traffic {
            unacked_max: u32::MAX,
            ..Traffic::default()
        }
    }

    /// The consumer whose turn it is, if any can take a message. Those found unable are suspended
    /// until [`Traffic::resume`].
    #[inline]
    pub fn next_taker(&mut self, queue: QueueKey, outlet: &mut impl Outlet) -> Option<ConsumerKey> {
        let queue = &mut self.queues[queue];
        loop {
            let key = queue.dispatch.next()?;
            let consumer = &mut self.consumers[key];
            if consumer.has_credit()
                && self.channels[consumer.channel].has_credit()
                && outlet.has_room(consumer.socket)
            {
                return Some(key);
            }
            consumer.suspended = true;
            queue.dispatch.suspend_next();
        }
    }

    /// Gives a message to the consumer that [`Traffic::next_taker`] named. `entry` is what the
    /// consumer will hold until its ack; none if it does not ack.
    #[inline]
    pub fn hand_over(
        &mut self,
        queue_key: QueueKey,
        consumer_key: ConsumerKey,
        message: &Message<'_>,
        redelivered: bool,
        entry: Option<Entry>,
        outlet: &mut impl Outlet,
    ) {
        let queue = &mut self.queues[queue_key];
        let consumer = &mut self.consumers[consumer_key];
        let mut hand = Hand {
            keys: (queue_key, consumer_key),
            channel: &mut self.channels[consumer.channel],
            queue,
            consumer,
        };
        let delivery_tag = hand.give(message, redelivered, entry, outlet);
        if consumer.watched {
            let is_unacked = entry.is_some();
            self.watch(consumer_key, delivery_tag, is_unacked, redelivered, message);
        }
    }

    /// [`Traffic::next_taker`] and [`Traffic::hand_over`] in one, for a new message that no queue has to
    /// keep. `hold` is asked for what the consumer will hold, if it acks. `None` if nobody takes it.
    #[inline(always)]
    pub fn pass_on(
        &mut self,
        queue_key: QueueKey,
        message: &Message<'_>,
        hold: impl FnOnce() -> Entry,
        outlet: &mut impl Outlet,
    ) -> Option<Option<Entry>> {
        let queue = &mut self.queues[queue_key];
        loop {
            let consumer_key = queue.dispatch.next()?;
            let consumer = &mut self.consumers[consumer_key];
            let channel = &mut self.channels[consumer.channel];
            if !consumer.has_credit() || !channel.has_credit() || !outlet.has_room(consumer.socket)
            {
                consumer.suspended = true;
                queue.dispatch.suspend_next();
                continue;
            }
            let entry = (!consumer.no_ack).then(hold);
            let mut hand = Hand {
                keys: (queue_key, consumer_key),
                queue,
                consumer,
                channel,
            };
            let delivery_tag = hand.give(message, false, entry, outlet);
            if consumer.watched {
                self.watch(consumer_key, delivery_tag, entry.is_some(), false, message);
            }
            return Some(entry);
        }
    }

    /// The rest of [`Traffic::hand_over`] for watched consumers.
    #[cold]
    fn watch(
        &mut self,
        key: ConsumerKey,
        delivery_tag: u64,
        is_unacked: bool,
        redelivered: bool,
        message: &Message<'_>,
    ) {
        let consumer = &self.consumers[key];
        let (channel, queue, traced) = (consumer.channel, consumer.queue, consumer.traced);
        if let Some(timeout_ms) = consumer.timeout_ms
            && is_unacked
        {
            self.start_clock(&Timed {
                channel,
                queue,
                consumer: key,
                delivery_tag,
                timeout_ms,
            });
        }
        if traced {
            self.note_traced(channel, queue, redelivered, message);
        }
    }

    /// A delivery left its consumer's hands: counts go down, and who waited for credit may go on.
    pub fn give_credit(&mut self, channel_key: ChannelKey, unacked: &Unacked, is_acked: bool) {
        if let Some(queue) = self.queues.get_mut(unacked.queue) {
            queue.unacked -= 1;
            queue.unacked_bytes -= u64::from(unacked.body_size);
        }
        let Some(channel) = self.channels.get_mut(channel_key) else {
            return;
        };
        channel.counters.acked += u64::from(is_acked);
        if let Some(clocks) = &mut channel.ack_clocks {
            clocks.stop(unacked);
        }
        if unacked.consumer == ConsumerKey::NONE {
            return;
        }
        let was_full = !channel.has_credit();
        channel.consumer_unacked -= 1;
        if let Some(consumer) = self.consumers.get_mut(unacked.consumer) {
            consumer.unacked -= 1;
        }
        if was_full {
            self.resume_channel(channel_key);
        } else {
            self.resume(unacked.consumer);
        }
    }

    /// Whatever kept the channel's consumers from taking messages may be over.
    pub fn resume_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        if !channel.has_credit() {
            return;
        }
        for &consumer in &channel.consumers {
            resume(
                consumer,
                &mut self.consumers,
                &mut self.queues,
                &mut self.fresh,
            );
        }
    }

    /// Puts a suspended consumer with credit back in its line.
    pub fn resume(&mut self, key: ConsumerKey) {
        resume(key, &mut self.consumers, &mut self.queues, &mut self.fresh);
    }

    /// Notes that the queue may have something to deliver.
    pub fn list(&mut self, key: QueueKey) {
        list(key, &mut self.queues, &mut self.fresh);
    }

    pub fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    pub fn next_fresh(&mut self) -> Option<QueueKey> {
        self.fresh.pop()
    }
}

/// Whom a message goes from, and to.
struct Hand<'a> {
    keys: (QueueKey, ConsumerKey),
    queue: &'a mut Queue,
    consumer: &'a mut Consumer,
    channel: &'a mut Channel,
}

impl Hand<'_> {
    /// Delivers; the delivery tag. `entry` is what the consumer holds until its ack.
    #[inline(always)]
    fn give(
        &mut self,
        message: &Message<'_>,
        redelivered: bool,
        entry: Option<Entry>,
        outlet: &mut impl Outlet,
    ) -> u64 {
        let delivery_tag = self.channel.next_delivery_tag();
        if let Some(entry) = entry {
            let size = message.body.len();
            let unacked = Unacked::new(delivery_tag, entry, self.keys, size as u32);
            self.channel.unacked.push(unacked);
            self.queue.unacked_bytes += size as u64;
            self.channel.consumer_unacked += 1;
            self.consumer.unacked += 1;
            self.queue.unacked += 1;
            self.queue.counters.delivered += 1;
            self.channel.counters.delivered += 1;
        } else {
            self.queue.counters.delivered_no_ack += 1;
            self.channel.counters.delivered_no_ack += 1;
        }
        if redelivered {
            self.queue.counters.redelivered += 1;
            self.channel.counters.redelivered += 1;
        }
        self.queue.dispatch.rotate();
        outlet.deliver(&Delivery {
            socket: self.consumer.socket,
            channel: self.consumer.channel_number,
            consumer_tag: &self.consumer.tag,
            delivery_tag,
            redelivered,
            message: *message,
        });
        delivery_tag
    }
}

/// [`Traffic::resume`], with the channels left to be walked over.
fn resume(
    key: ConsumerKey,
    consumers: &mut Slots<Consumer>,
    queues: &mut Slots<Queue>,
    fresh: &mut Vec<QueueKey>,
) {
    let Some(consumer) = consumers.get_mut(key) else {
        return;
    };
    if !consumer.suspended || !consumer.has_credit() {
        return;
    }
    consumer.suspended = false;
    let (queue, priority) = (consumer.queue, consumer.priority);
    queues[queue].dispatch.resume(key, priority);
    list(queue, queues, fresh);
}

fn list(key: QueueKey, queues: &mut Slots<Queue>, fresh: &mut Vec<QueueKey>) {
    if let Some(queue) = queues.get_mut(key)
        && !queue.listed
        && !queue.ready.is_empty()
        && queue.dispatch.next().is_some()
    {
        queue.listed = true;
        fresh.push(key);
    }
}
