//! Queues that may hold only so much (RabbitMQ: queue length limit). Ready messages count; those that
//! consumers have do not.

use super::Core;
use super::dead_letter::Reason;
use super::queue::{Overflow, Queue, QueueKey};
use super::schedule::Task;

impl Queue {
    /// Whether a message with such a body is not let in.
    pub(super) fn refuses(&self, body_size: usize) -> bool {
        self.arguments.overflow != Overflow::DropHead && self.is_over_with(1, body_size as u64)
    }

    /// Whether the limits would be exceeded with this many messages and bytes more.
    fn is_over_with(&self, messages: u64, bytes: u64) -> bool {
        let (length, length_bytes) = (self.ready.len() as u64, self.ready.body_bytes);
        let arguments = &self.arguments;
        arguments
            .length_max
            .is_some_and(|max| length + messages > max)
            || arguments
                .length_bytes_max
                .is_some_and(|max| length_bytes + bytes > max)
    }
}

impl Core {
    /// Drops from the head until the queue is within its limits, or has nothing left; not in a queue
    /// that refuses new ones instead (RabbitMQ: what is requeued may exceed them there). If that takes
    /// long, because the limits were lowered, it goes on later.
    pub(super) fn drop_excess(&mut self, key: QueueKey) {
        for _ in 0..DROPS_PER_STEP {
            let queue = &mut self.traffic.queues[key];
            if queue.arguments.overflow != Overflow::DropHead || !queue.is_over_with(0, 0) {
                return;
            }
            let Some(entry) = queue.ready.pop_any() else {
                return;
            };
            self.uncount_body(key, entry.message());
            self.forget_message(key, entry.message());
            self.die(key, entry, Reason::MaxLength);
        }
        let queue = &mut self.traffic.queues[key];
        let place = &mut queue.excess_due;
        self.schedule
            .set(place, Task::Excess(key), Some(self.now_ms));
    }

    /// Goes on dropping.
    pub(super) fn drop_more_excess(&mut self, key: QueueKey) {
        if let Some(queue) = self.traffic.queues.get_mut(key) {
            queue.excess_due = None;
            self.drop_excess(key);
        }
    }
}

/// Messages dropped from one queue in one go.
const DROPS_PER_STEP: usize = 256;
