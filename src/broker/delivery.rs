//! Messages through the core: publish into queues, deliver to consumers, get one by hand.

use super::Core;
use super::attempts::with_counts;
use super::channel::ChannelKey;
use super::dead_letter::Reason;
use super::deduplication::Seen;
use super::error::Result;
use super::message::{Message, MessageId, Messages, Traits};
use super::outlet::{Delivery, Outlet};
use super::queue::arguments::DeadLetterStrategy;
use super::queue::{Entry, Group, Overflow, Queue, QueueKey};
use super::routing::{Aside, Route};
use super::unacked::Unacked;
use super::{ConsumerKey, Name};

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Every queue on its route has it.
    Taken,
    /// The same, and the journal has it for those where it must survive.
    Journaled,
    /// Some queue on its route did not take it (RabbitMQ: `reject-publish`).
    Refused,
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
        traits: &Traits,
        outlet: &mut impl Outlet,
    ) -> Published {
        self.counters.published += 1;
        if let Some(source) = &route.source {
            source.count(route.queues.len());
        }
        self.refusals = 0;
        if route.is_empty() {
            return Published::Unroutable;
        }
        match route.asides.is_empty() {
            true => self.place(&route.queues, message, traits, outlet),
            false => self.publish_with_asides(route, message, traits, outlet),
        }
    }

    /// Gives a message to these queues.
    #[inline(always)]
    pub(super) fn place(
        &mut self,
        queues: &[QueueKey],
        message: &Message<'_>,
        traits: &Traits,
        outlet: &mut impl Outlet,
    ) -> Published {
        let mut stored = Stored::default();
        for &queue in queues {
            self.enqueue(queue, message, traits, &mut stored, outlet);
        }
        let mut published = Published::Taken;
        if traits.persistent {
            if std::mem::take(&mut self.is_repeat_noted) {
                published = Published::Journaled;
            }
            if !self.holders.is_empty() {
                published = self.journal(message, &stored);
            }
        }
        self.holders.clear();
        if self.morgue.is_publishing {
            self.end_publishing();
        }
        if self.refusals > 0 {
            return Published::Refused;
        }
        published
    }

    /// Gives the message to the queues, and to who gets it beside them.
    #[inline(never)]
    fn publish_with_asides(
        &mut self,
        route: &Route,
        message: &Message<'_>,
        traits: &Traits,
        outlet: &mut impl Outlet,
    ) -> Published {
        if let Some(Aside::Duplicate(exchange, mark)) = self.late_duplicate(route, message) {
            return match self.drop_at_exchange(exchange, mark) {
                true => Published::Journaled,
                false => Published::Taken,
            };
        }
        let mut published = self.place(&route.queues, message, traits, outlet);
        let mut is_routed = !route.queues.is_empty();
        for &aside in &route.asides {
            match aside {
                Aside::Reply(channel) => {
                    is_routed = true;
                    self.deliver_reply(channel, message, outlet);
                }
                Aside::History(exchange) => self.keep(exchange, message),
                Aside::Delay(exchange) => {
                    is_routed = true;
                    let delayed = self.delay(exchange, message, traits, outlet);
                    if published == Published::Taken {
                        published = delayed;
                    }
                }
                Aside::New(..) => {}
                Aside::Duplicate(exchange, mark) => {
                    is_routed = true;
                    let is_noted = self.drop_at_exchange(exchange, mark);
                    if is_noted && published == Published::Taken {
                        published = Published::Journaled;
                    }
                }
            }
        }
        if !is_routed {
            return Published::Unroutable;
        }
        self.remember(route, published);
        published
    }

    /// Exchanges on the route know the message from now on, unless its publisher is to try again.
    fn remember(&mut self, route: &Route, published: Published) {
        if published == Published::Refused {
            return;
        }
        let journaled = self.journaled.filter(|_| published == Published::Journaled);
        for &aside in &route.asides {
            if let Aside::New(exchange, mark) = aside {
                self.remember_at_exchange(exchange, mark, journaled);
            }
        }
    }

    /// A persistent message in durable queues survives the broker (AMQP 0-9-1 §3.1.2.2).
    #[inline(never)]
    fn journal(&mut self, message: &Message<'_>, stored: &Stored) -> Published {
        if let (Some(journal), Some(id)) = (&mut self.journal, stored.0) {
            journal.append(id, &self.holders, &stamped(message, self.now_ms));
            self.messages.mark_stored(id);
            self.journaled = Some(id);
        }
        Published::Journaled
    }

    #[inline(always)]
    fn enqueue(
        &mut self,
        key: QueueKey,
        message: &Message<'_>,
        traits: &Traits,
        stored: &mut Stored,
        outlet: &mut impl Outlet,
    ) {
        // A transaction may commit to a queue that is gone by then: its messages go the same way.
        let Some(queue) = self.traffic.queues.get_mut(key) else {
            return;
        };
        queue.counters.published += 1;
        if !queue.is_plain || traits.expiration_ms.is_some() {
            return self.enqueue_by_rules(key, message, traits, stored, outlet);
        }
        let id = queue.id;
        if queue.ready.is_empty() {
            let hold = || Entry::new(stored.hold(&mut self.messages, message, self.now_ms));
            if let Some(held) = self.traffic.pass_on(key, message, hold, outlet) {
                if held.is_some() {
                    self.holders.extend(id);
                }
                return;
            }
        }
        self.holders.extend(id);
        let id = stored.hold(&mut self.messages, message, self.now_ms);
        let ready = &mut self.traffic.queues[key].ready;
        ready.push(Entry::new(id));
        ready.body_bytes += message.body.len() as u64;
    }

    /// [`Core::enqueue`] where a limit, a time or a priority has to be looked at.
    #[inline(never)]
    fn enqueue_by_rules(
        &mut self,
        key: QueueKey,
        message: &Message<'_>,
        traits: &Traits,
        stored: &mut Stored,
        outlet: &mut impl Outlet,
    ) {
        let seen = self.look_up_in_queue(key, message);
        if let Seen::Duplicate(number, kept) = seen {
            self.is_repeat_noted |= self.drop_at_queue(key, (number, kept), traits.persistent);
            return;
        }
        self.morgue.is_publishing = true;
        let queue = &self.traffic.queues[key];
        if queue.refuses(message.body.len()) {
            self.refusals += 1;
            if queue.arguments.overflow == Overflow::RejectPublishDlx {
                let (id, strategy) = (queue.id, queue.arguments.dead_letter_strategy);
                let entry = Entry::new(stored.hold(&mut self.messages, message, self.now_ms));
                if strategy == DeadLetterStrategy::AtLeastOnce {
                    // Its dead letter may have to wait, and must not be lost meanwhile.
                    self.holders.extend(id);
                    return self.die(key, entry, Reason::MaxLength);
                }
                self.die_outside(key, entry, Reason::MaxLength);
            }
            return;
        }
        let (id, priority) = (queue.id, queue.priority_of(*traits));
        let expires_ms = queue.expiry(self.now_ms, traits.expiration_ms);
        let group = queue.group_of(message);
        if !queue.ready.has_next()
            && !queue.is_busy(group)
            && let Some(consumer) = self.traffic.next_taker(key, outlet)
        {
            let entry = (!self.traffic.consumers[consumer].no_ack).then(|| {
                let id = stored.hold(&mut self.messages, message, self.now_ms);
                Entry::with_priority(id, priority)
            });
            if let Some(entry) = entry {
                self.holders.extend(id);
                let queue = &mut self.traffic.queues[key];
                queue.lend(entry.message(), expires_ms, false);
                queue.occupy(group, entry.message());
                self.remember_in_queue(key, seen, entry.message());
            }
            self.traffic
                .hand_over(key, consumer, message, false, entry, outlet);
            return;
        }
        let entry = Entry::with_priority(
            stored.hold(&mut self.messages, message, self.now_ms),
            priority,
        );
        if expires_ms.is_some_and(|at| at <= self.now_ms) {
            if self.traffic.queues[key].arguments.dead_letter_strategy
                == DeadLetterStrategy::AtLeastOnce
            {
                // Its publisher is told that it is safe, and its dead letter may have to wait.
                self.holders.extend(id);
                return self.die(key, entry, Reason::Expired);
            }
            return self.die_outside(key, entry, Reason::Expired);
        }
        self.holders.extend(id);
        let ready = &mut self.traffic.queues[key].ready;
        ready.push(entry);
        ready.body_bytes += message.body.len() as u64;
        if let Some(expires_ms) = expires_ms {
            self.track_expiry(key, entry, expires_ms);
        }
        self.remember_in_queue(key, seen, entry.message());
        self.drop_excess(key);
        // Where all that is ready stands aside, consumers may wait.
        self.list_groups(key);
    }

    /// Delivers from queues that became deliverable by the last command; a few messages each, the
    /// rest when its turn comes ([`Core::deliver_backlogs`]).
    #[inline]
    pub fn deliver_fresh(&mut self, outlet: &mut impl Outlet) {
        if self.morgue.has_work() {
            self.bury(outlet);
        }
        while let Some(queue) = self.traffic.next_fresh() {
            self.drain(queue, outlet);
        }
    }

    /// The stage of the turn that empties deep queues, each a bounded part in turn.
    pub fn deliver_backlogs(&mut self, outlet: &mut impl Outlet) {
        self.replay(outlet);
        for _ in 0..self.backlogs.len().min(BACKLOGS_PER_TURN) {
            if let Some(queue) = self.backlogs.pop_front() {
                self.drain(queue, outlet);
            }
        }
    }

    pub fn has_backlogs(&self) -> bool {
        !self.backlogs.is_empty() || self.can_replay()
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
        let queue = &mut self.traffic.queues[key];
        let no_ack = self.traffic.consumers[consumer].no_ack;
        let (mut group, mut counted) = (None, None);
        if queue.has_memory {
            if queue.has_expired(entry.message(), &message, self.now_ms) {
                self.pass_expired(key, entry);
                return true;
            }
            group = queue.group_of(&message);
            if let Some(bar) = queue.bar(group, entry, self.now_ms) {
                self.stop_at(bar, key, entry);
                return true;
            }
            counted = queue.recall(entry, &message);
        }
        let waits = queue.waits.get_or_insert_default();
        if entry.redelivered() {
            waits.redelivered += 1;
        } else {
            let waited_ms = self.now_ms.saturating_sub(message.arrived_ms);
            self.waits.count(waited_ms.saturating_mul(1000));
            waits.count(waited_ms);
        }
        queue.ready.pop();
        let size = message.body.len() as u64;
        queue.ready.body_bytes = queue.ready.body_bytes.saturating_sub(size);
        let (id, has_memory) = (queue.id, queue.has_memory);
        if has_memory && !no_ack {
            queue.lend_ready(entry, &message, group);
        }
        let message = Message {
            properties: counted.as_deref().unwrap_or(message.properties),
            ..message
        };
        self.traffic.hand_over(
            key,
            consumer,
            &message,
            entry.redelivered(),
            (!no_ack).then_some(entry),
            outlet,
        );
        if no_ack {
            if has_memory {
                self.forget_message(key, entry.message());
            }
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
        self.renew_lease(key);
        let socket = self.traffic.channels[channel_key].socket;
        let entry = match self.next_unbarred(key, socket) {
            Ok(entry) => entry,
            Err(instead) => {
                if instead == Getting::Empty {
                    self.traffic.queues[key].counters.get_empty += 1;
                    self.traffic.channels[channel_key].counters.get_empty += 1;
                }
                return Ok(instead);
            }
        };
        self.uncount_body(key, entry.message());
        let queue = &mut self.traffic.queues[key];
        queue.ready.pop();
        let channel = &mut self.traffic.channels[channel_key];
        match no_ack {
            true => {
                queue.counters.gotten_no_ack += 1;
                channel.counters.gotten_no_ack += 1;
            }
            false => {
                queue.counters.gotten += 1;
                channel.counters.gotten += 1;
            }
        }
        if entry.redelivered() {
            queue.counters.redelivered += 1;
            channel.counters.redelivered += 1;
        }
        let (id, left) = (queue.id, queue.ready.len());
        let delivery_tag = channel.next_delivery_tag();
        if let Some(message) = self.messages.get(entry.message()) {
            if !no_ack {
                queue.lend_ready(entry, &message, queue.group_of(&message));
            }
            let counted = queue.recall(entry, &message);
            let message = Message {
                properties: counted.as_deref().unwrap_or(message.properties),
                ..message
            };
            answer(Got {
                delivery_tag,
                redelivered: entry.redelivered(),
                left,
                message,
            });
            if self.virtual_hosts[queue.virtual_host].traced {
                self.traffic
                    .note_traced(channel_key, key, entry.redelivered(), &message);
            }
        }
        if no_ack {
            self.forget_message(key, entry.message());
            self.let_go(id, entry.message());
        } else {
            self.hold_gotten(channel_key, delivery_tag, key, entry);
        }
        Ok(Getting::Got)
    }

    /// A message taken by hand waits for its ack.
    fn hold_gotten(
        &mut self,
        channel_key: ChannelKey,
        delivery_tag: u64,
        key: QueueKey,
        entry: Entry,
    ) {
        let size = self.messages.body_size(entry.message());
        let queue = &mut self.traffic.queues[key];
        queue.unacked += 1;
        queue.unacked_bytes += u64::from(size);
        let unacked = Unacked::new(delivery_tag, entry, (key, ConsumerKey::NONE), size);
        self.traffic.channels[channel_key].unacked.push(unacked);
        self.time_gotten(channel_key, key, delivery_tag);
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
        channel.counters.delivered_no_ack += 1;
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
    /// Many messages may not go before others are settled, and there are more to look at: the socket is to
    /// ask again in a later turn.
    Again,
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
    /// Apart from its callers, where it would have every message looked at that is never copied.
    #[inline(never)]
    fn hold(&mut self, messages: &mut Messages, message: &Message<'_>, now_ms: u64) -> MessageId {
        match self.0 {
            Some(id) => {
                messages.retain(id);
                id
            }
            None => {
                let id = messages.insert(&stamped(message, now_ms));
                *self.0.insert(id)
            }
        }
    }
}

/// The message with its time of arrival.
#[inline]
fn stamped<'a>(message: &Message<'a>, arrived_ms: u64) -> Message<'a> {
    Message {
        arrived_ms,
        ..*message
    }
}

impl Queue {
    /// The properties of a message that was given back before, in a queue that counts that.
    fn recall(&self, entry: Entry, message: &Message<'_>) -> Option<Vec<u8>> {
        if self.attempts.is_empty() {
            return None;
        }
        let attempts = self.attempts.get(&entry.message())?;
        Some(with_counts(message, *attempts))
    }

    /// Somebody gets a message that was taken from the ready ones, and is to settle it.
    fn lend_ready(&mut self, entry: Entry, message: &Message<'_>, group: Option<Group>) {
        if self.lifetimes.is_some() {
            let expires_ms = self.expiry_of(entry.message(), message);
            self.lend(entry.message(), expires_ms, true);
        }
        self.occupy(group, entry.message());
    }
}

/// Messages delivered from one queue before the next queue has its turn.
const DELIVERIES_PER_STEP: usize = 256;
/// Queues served in one turn of the loop: with the above, under a millisecond of small messages.
const BACKLOGS_PER_TURN: usize = 16;
