//! Ordered message groups (`x-group-key`): the messages of a queue with the same key are consumed strictly
//! one after the other, by any number of consumers. No other broker has this in one queue; they have a
//! queue and a consumer for each shard of the keys instead.
//!
//! The argument names a header, or is the word `routing-key`. Messages with the same value of it are a
//! group. While a consumer has a message of a group, no other of the group is delivered to anybody; when
//! it is settled, the next one may go, to whoever's turn it is:
//!
//! - acked, rejected or dead-lettered: the next of the group is the one behind it;
//! - requeued, also because its channel, connection or time ended: the next is the same one again, so that
//!   its order holds whatever happens to consumers;
//! - requeued and waiting for its next try (RabbitMQ: delayed retry): the whole group waits with it;
//! - settled in a transaction: at its commit.
//!
//! Groups do not wait for each other. Consumers take turns as in every queue, so a slow message holds up
//! its group and the consumer that has it, and with a prefetch of more than one nothing else. A message
//! without the header, or with an empty one (`None`), belongs to no group and waits for nobody. What a
//! consumer gets without having to ack counts as settled at once. With priorities, the order within a
//! group is that of the queue: the higher priority first. `basic.get` takes the first message whose group
//! is free, and finds the queue empty if there is none. Messages that wait for their group are ready:
//! they are counted, expire, and make room for newer ones as if they stood in line, and a restart leaves
//! every message in its place and every group free.
//!
//! ```text
//!   head of the queue ---> group free? ---> delivered, the group is busy ---> settled, the group is free
//!                             | no                                                |
//!                             v                                                   v
//!                         set aside (queue/set_aside.rs) ---> first of its group: among the next again
//! ```
//!
//! Each message is set aside at most once for each message of higher priority that overtakes it, mostly
//! once, so a message costs O(log n) whatever stands aside. A queue whose head is a long row of messages
//! of busy groups passes over a bounded number of them in one turn.

use super::Core;
use super::delivery::Getting;
use super::message::{Message, MessageId};
use super::outlet::SocketKey;
use super::queue::{Entry, Group, Queue, QueueKey};

/// Why a message at the head of its queue may not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// Another of its group is not settled.
    Busy(Group),
    /// It waits for another try, as it did before the broker was stopped, and its group with it.
    PutOff(Option<Group>, u64),
}

impl Queue {
    /// The message's group here; none if it has none, or the queue has no groups.
    #[inline]
    pub(super) fn group_of(&self, message: &Message<'_>) -> Option<Group> {
        let groups = self.groups.as_ref()?;
        groups.key.group_of(message)
    }

    pub(super) fn is_busy(&self, group: Option<Group>) -> bool {
        let groups = self.groups.as_ref().zip(group);
        groups.is_some_and(|(groups, group)| groups.is_busy(group))
    }

    /// What keeps the message at the head of the queue from being delivered.
    pub(super) fn bar(&self, group: Option<Group>, entry: Entry, now_ms: u64) -> Option<Bar> {
        let groups = self.groups.as_ref()?;
        if let Some(group) = group
            && groups.is_busy(group)
        {
            return Some(Bar::Busy(group));
        }
        let until_ms = groups.is_put_off(entry.message(), now_ms)?;
        Some(Bar::PutOff(group, until_ms))
    }

    /// The message was taken from the ready ones, and its group waits for it.
    pub(super) fn occupy(&mut self, group: Option<Group>, message: MessageId) {
        if let Some((groups, group)) = self.groups.as_mut().zip(group) {
            groups.occupy(group, message);
            self.ready.hold(group);
        }
    }
}

impl Core {
    /// The message at the head of the queue goes out of the way of those behind it.
    pub(super) fn stop_at(&mut self, bar: Bar, key: QueueKey, entry: Entry) {
        let queue = &mut self.traffic.queues[key];
        match bar {
            Bar::Busy(group) => queue.ready.set_aside(group),
            Bar::PutOff(group, until_ms) => {
                queue.ready.pop();
                if let Some(groups) = &mut queue.groups {
                    groups.forget_put_off(entry.message());
                }
                queue.occupy(group, entry.message());
                // If its time passes meanwhile, that is seen when it comes back.
                let message = self.messages.get(entry.message());
                let expires_ms = message.and_then(|it| queue.expiry_of(entry.message(), &it));
                queue.lend(entry.message(), expires_ms, true);
                self.uncount_body(key, entry.message());
                self.wait_until(key, entry, until_ms);
            }
        }
    }

    /// The next message that may be taken by hand, or what is to be answered instead.
    pub(super) fn next_unbarred(
        &mut self,
        key: QueueKey,
        socket: SocketKey,
    ) -> Result<Entry, Getting> {
        for _ in 0..LOOKS_PER_GET {
            let entry = match self.next_present(key) {
                Ok(entry) => entry.ok_or(Getting::Empty)?,
                Err(block) => {
                    self.await_block(block, socket);
                    return Err(Getting::Later);
                }
            };
            let queue = &self.traffic.queues[key];
            let message = self.messages.get(entry.message());
            let group = message.and_then(|message| queue.group_of(&message));
            match queue.bar(group, entry, self.now_ms) {
                None => return Ok(entry),
                Some(bar) => self.stop_at(bar, key, entry),
            }
        }
        Err(Getting::Again)
    }

    /// The message was settled, or never comes back: the next of its group may go.
    pub(super) fn free_group(&mut self, key: QueueKey, message: MessageId) {
        let queue = &mut self.traffic.queues[key];
        let Some(groups) = &mut queue.groups else {
            return;
        };
        groups.forget_put_off(message);
        if let Some(group) = groups.vacate(message) {
            queue.ready.release(group);
            self.traffic.list(key);
        }
    }

    /// Looks at a queue with groups, which may have got something to deliver.
    pub(super) fn list_groups(&mut self, key: QueueKey) {
        if self.traffic.queues[key].groups.is_some() {
            self.traffic.list(key);
        }
    }
}

/// Messages that one `basic.get` passes over in a turn.
const LOOKS_PER_GET: usize = 512;

#[cfg(test)]
mod tests;
