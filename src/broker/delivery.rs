//! Messages through the core: publish into queues, deliver to consumers, get one by hand.

use super::Core;
use super::channel::ChannelKey;
use super::error::Result;
use super::message::{Message, MessageId, Messages};
use super::outlet::{Delivery, Outlet};
use super::queue::{Entry, QueueKey};
use super::routing::Route;
use super::unacked::Unacked;
use super::{ConsumerKey, Name};

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Every queue on its route has it.
    Taken,
    /// The same, and the journal has it for those where it must survive.
    Journaled,
    /// No queue was on its route.
    Unroutable,
}

impl Core {
    /// Gives a message to every queue on its route. Where a queue is empty and a consumer waits it
    /// goes straight out, and if that consumer does not ack, it is never copied (cut-through).
    #[inline]
    pub fn publish(
        &mut self,
        route: &Route,
        message: &Message<'_>,
        persistent: bool,
        outlet: &mut impl Outlet,
    ) -> Published {
        self.counters.published += 1;
        if route.is_empty() {
            return Published::Unroutable;
        }
        let mut stored = Stored::default();
        for &queue in &route.queues {
            self.enqueue(queue, message, &mut stored, outlet);
        }
        for &channel in &route.replies {
            self.deliver_reply(channel, message, outlet);
        }
        if persistent && !self.holders.is_empty() {
            return self.journal(message, &stored);
        }
        self.holders.clear();
        Published::Taken
    }

    /// A persistent message in durable queues survives the broker (AMQP 0-9-1 §3.1.2.2).
    fn journal(&mut self, message: &Message<'_>, stored: &Stored) -> Published {
        if let (Some(journal), Some(id)) = (&mut self.journal, stored.0) {
            journal.append(id, &self.holders, message);
            self.messages.mark_stored(id);
        }
        self.holders.clear();
        Published::Journaled
    }

    #[inline]
    fn enqueue(
        &mut self,
        key: QueueKey,
        message: &Message<'_>,
        stored: &mut Stored,
        outlet: &mut impl Outlet,
    ) {
        // A transaction may commit to a queue that is gone by then: its messages go the same way.
        let Some(queue) = self.traffic.queues.get_mut(key) else {
            return;
        };
        queue.counters.published += 1;
        let id = queue.id;
        if queue.ready.is_empty()
            && let Some(consumer) = self.traffic.next_taker(key, outlet)
        {
            let entry = (!self.traffic.consumers[consumer].no_ack)
                .then(|| Entry::new(stored.hold(&mut self.messages, message)));
            if entry.is_some() {
                self.holders.extend(id);
            }
            self.traffic
                .hand_over(key, consumer, message, false, entry, outlet);
            return;
        }
        self.holders.extend(id);
        let message = stored.hold(&mut self.messages, message);
        self.traffic.queues[key].ready.push(Entry::new(message));
    }

    /// Delivers from queues that became deliverable by the last command; a few messages each, the
    /// rest when its turn comes ([`Core::deliver_backlogs`]).
    #[inline]
    pub fn deliver_fresh(&mut self, outlet: &mut impl Outlet) {
        while let Some(queue) = self.traffic.next_fresh() {
            self.drain(queue, outlet);
        }
    }

    /// The stage of the turn that empties deep queues, each a bounded part in turn.
    pub fn deliver_backlogs(&mut self, outlet: &mut impl Outlet) {
        for _ in 0..self.backlogs.len().min(BACKLOGS_PER_TURN) {
            if let Some(queue) = self.backlogs.pop_front() {
                self.drain(queue, outlet);
            }
        }
    }

    pub fn has_backlogs(&self) -> bool {
        !self.backlogs.is_empty()
    }

    /// Delivers up to [`DELIVERIES_PER_STEP`] messages; a queue that could go on waits for the next
    /// turn, so that no queue keeps the loop from the others.
    fn drain(&mut self, key: QueueKey, outlet: &mut impl Outlet) {
        for _ in 0..DELIVERIES_PER_STEP {
            if !self.deliver_next(key, outlet) {
                return;
            }
        }
        self.backlogs.push_back(key);
    }

    /// Whether there may be another after it.
    #[inline]
    fn deliver_next(&mut self, key: QueueKey, outlet: &mut impl Outlet) -> bool {
        let Some(queue) = self.traffic.queues.get_mut(key) else {
            return false;
        };
        let next = queue.ready.peek();
        let Some((entry, consumer)) = next.zip(self.traffic.next_taker(key, outlet)) else {
            self.traffic.queues[key].listed = false;
            return false;
        };
        let Some(message) = self.messages.get(entry.message()) else {
            return self.pass_absent(key, entry);
        };
        self.traffic.queues[key].ready.pop();
        let no_ack = self.traffic.consumers[consumer].no_ack;
        self.traffic.hand_over(
            key,
            consumer,
            &message,
            entry.redelivered(),
            (!no_ack).then_some(entry),
            outlet,
        );
        if no_ack {
            let id = self.traffic.queues[key].id;
            self.let_go(id, entry.message());
        }
        true
    }

    /// Takes one message by hand (AMQP 0-9-1 `basic.get`). `answer` gets it with its delivery tag,
    /// whether it was delivered before, and how many messages are left.
    pub fn get(
        &mut self,
        channel_key: ChannelKey,
        queue: &[u8],
        no_ack: bool,
        answer: impl FnOnce(Got<'_>),
    ) -> Result<Getting> {
        let key = self.accessible_queue(channel_key, queue)?;
        let entry = match self.next_present(key) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Getting::Empty),
            Err(block) => {
                let socket = self.traffic.channels[channel_key].socket;
                self.await_block(block, socket);
                return Ok(Getting::Later);
            }
        };
        let queue = &mut self.traffic.queues[key];
        queue.ready.pop();
        queue.counters.delivered += 1;
        let (id, left) = (queue.id, queue.ready.len());
        let channel = &mut self.traffic.channels[channel_key];
        let delivery_tag = channel.next_delivery_tag();
        if !no_ack {
            queue.unacked += 1;
            channel.unacked.push(Unacked {
                delivery_tag,
                entry,
                queue: key,
                consumer: ConsumerKey::NONE,
            });
        }
        if let Some(message) = self.messages.get(entry.message()) {
            answer(Got {
                delivery_tag,
                redelivered: entry.redelivered(),
                left,
                message,
            });
        }
        if no_ack {
            self.let_go(id, entry.message());
        }
        Ok(Getting::Got)
    }

    /// Hands an answer to the channel that asked (RabbitMQ: direct reply-to). Answers are delivered at
    /// most once: no queue keeps them, so a requester that does not read loses those beyond its outbox.
    fn deliver_reply(&mut self, key: ChannelKey, message: &Message<'_>, outlet: &mut impl Outlet) {
        let Some(channel) = self.traffic.channels.get_mut(key) else {
            return;
        };
        let Some(consumer) = &channel.reply_consumer else {
            return;
        };
        if outlet.is_flooded(channel.socket) {
            return;
        }
        let tag: Name = consumer.tag.clone();
        let delivery_tag = channel.next_delivery_tag();
        outlet.deliver(&Delivery {
            socket: channel.socket,
            channel: channel.number,
            consumer_tag: &tag,
            delivery_tag,
            redelivered: false,
            message: *message,
        });
    }
}

/// What `basic.get` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Getting {
    Got,
    Empty,
    /// The message must be read back first. The socket is among those that [`Core::page_in`] names, and
    /// is to ask again then.
    Later,
}

/// A message taken by `basic.get`.
pub struct Got<'a> {
    pub delivery_tag: u64,
    pub redelivered: bool,
    /// Messages ready in the queue after this one.
    pub left: usize,
    pub message: Message<'a>,
}

/// The copy of a message being published: made when the first queue or consumer must hold it, and
/// held once by each.
#[derive(Default)]
struct Stored(Option<MessageId>);

impl Stored {
    #[inline]
    fn hold(&mut self, messages: &mut Messages, message: &Message<'_>) -> MessageId {
        match self.0 {
            Some(id) => {
                messages.retain(id);
                id
            }
            None => *self.0.insert(messages.insert(message)),
        }
    }
}

/// Messages delivered from one queue before the next queue has its turn.
const DELIVERIES_PER_STEP: usize = 256;
/// Queues served in one turn of the loop: with the above, under a millisecond of small messages.
const BACKLOGS_PER_TURN: usize = 16;
