//! The core and the time: messages expire (RabbitMQ: TTL), come back after a delay, and queues that
//! nobody uses go (RabbitMQ: queue TTL).
//!
//! Every message leaves at its own millisecond, wherever it stands in its queue.

use super::Core;
use super::dead_letter::Reason;
use super::message::MessageId;
use super::queue::{Entry, QueueKey};
use super::schedule::Task;

impl Core {
    /// Tells the time, in milliseconds since 1970; it never goes back.
    pub fn set_time(&mut self, unix_ms: u64) {
        self.now_ms = self.now_ms.max(unix_ms);
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// When [`Core::fire_due`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        self.schedule.next_ms()
    }

    /// Does what is due, a bounded part of it at a time; the rest is due still.
    pub fn fire_due(&mut self) {
        for _ in 0..TASKS_PER_TURN {
            match self.schedule.pop_due(self.now_ms) {
                None => return,
                Some(Task::Expiry(queue)) => self.expire_due(queue),
                Some(Task::Retry(queue)) => self.retry_due(queue),
                Some(Task::Excess(queue)) => self.drop_more_excess(queue),
                Some(Task::Lease(queue)) => self.end_lease(queue),
                Some(Task::Stuck) => self.retry_stuck(),
            }
        }
    }

    /// A message that became ready expires at this time.
    pub(super) fn track_expiry(&mut self, key: QueueKey, entry: Entry, expires_ms: u64) {
        let queue = &mut self.traffic.queues[key];
        queue.has_memory = true;
        let lifetimes = queue.lifetimes.get_or_insert_default();
        lifetimes.track(expires_ms, entry, &queue.ready);
        self.schedule_expiry(key);
    }

    /// Somebody uses the queue: it may stay for another while.
    pub(super) fn renew_lease(&mut self, key: QueueKey) {
        let now_ms = self.now_ms;
        let Some(queue) = self.traffic.queues.get_mut(key) else {
            return;
        };
        let Some(expires_ms) = queue.arguments.expires_ms else {
            return self
                .schedule
                .set(&mut queue.lease_due, Task::Lease(key), None);
        };
        queue.used_ms = now_ms;
        let due_ms = now_ms.saturating_add(expires_ms);
        // One that comes earlier finds that it is too early; a policy may have made the lease shorter.
        let is_late = queue.lease_due.is_none_or(|at_ms| at_ms > due_ms);
        if is_late && queue.dispatch.is_empty() {
            self.schedule
                .set(&mut queue.lease_due, Task::Lease(key), Some(due_ms));
        }
    }

    pub(super) fn schedule_expiry(&mut self, key: QueueKey) {
        let Some(lifetimes) = &mut self.traffic.queues[key].lifetimes else {
            return;
        };
        let next = lifetimes.next_ms();
        self.schedule
            .set(&mut lifetimes.scheduled_ms, Task::Expiry(key), next);
    }

    fn expire_due(&mut self, key: QueueKey) {
        let now_ms = self.now_ms;
        let is_crowded = self.morgue.is_crowded();
        if let Some(queue) = self.traffic.queues.get_mut(key)
            && let Some(lifetimes) = &mut queue.lifetimes
        {
            lifetimes.scheduled_ms = None;
            if is_crowded {
                // Those that wait to be buried take memory: the others may as well wait where they are.
                let place = &mut lifetimes.scheduled_ms;
                return self
                    .schedule
                    .set(place, Task::Expiry(key), Some(now_ms + 1));
            }
        }
        for _ in 0..EXPIRIES_PER_TASK {
            let Some(queue) = self.traffic.queues.get_mut(key) else {
                return;
            };
            let Some(lifetimes) = &mut queue.lifetimes else {
                return;
            };
            let Some(entry) = lifetimes.pop_due(now_ms, &mut queue.ready) else {
                break;
            };
            self.uncount_body(key, entry.message());
            self.forget_message(key, entry.message());
            self.die(key, entry, Reason::Expired);
        }
        self.schedule_expiry(key);
    }

    /// A ready message left its queue without having been looked at.
    pub(super) fn uncount_body(&mut self, key: QueueKey, message: MessageId) {
        let size = u64::from(self.messages.body_size(message));
        let ready = &mut self.traffic.queues[key].ready;
        ready.body_bytes = ready.body_bytes.saturating_sub(size);
    }

    /// The queue goes if it has no consumers and was not used for its time.
    fn end_lease(&mut self, key: QueueKey) {
        let now_ms = self.now_ms;
        let Some(queue) = self.traffic.queues.get_mut(key) else {
            return;
        };
        queue.lease_due = None;
        let Some(expires_ms) = queue.arguments.expires_ms else {
            return;
        };
        // One with consumers gets a new lease when the last of them leaves.
        if !queue.dispatch.is_empty() {
            return;
        }
        let ends_ms = queue.used_ms.saturating_add(expires_ms);
        if ends_ms > now_ms {
            let due = Some(ends_ms);
            return self
                .schedule
                .set(&mut queue.lease_due, Task::Lease(key), due);
        }
        log::debug!(
            "queue '{}' was not used for {expires_ms} ms: deleted",
            queue.name
        );
        self.remove_queue(key);
    }

    /// The queue is gone, and with it all that it had to do at certain times.
    pub(super) fn unschedule(&mut self, key: QueueKey, queue: &mut super::queue::Queue) {
        self.schedule
            .set(&mut queue.lease_due, Task::Lease(key), None);
        self.schedule
            .set(&mut queue.excess_due, Task::Excess(key), None);
        if let Some(lifetimes) = &mut queue.lifetimes {
            let place = &mut lifetimes.scheduled_ms;
            self.schedule.set(place, Task::Expiry(key), None);
        }
        if let Some(retries) = &mut queue.retries {
            let place = &mut retries.scheduled_ms;
            self.schedule.set(place, Task::Retry(key), None);
        }
    }
}

/// Tasks in one turn of the loop.
const TASKS_PER_TURN: usize = 64;
/// Messages of one queue that expire in one go: with the above, well under a millisecond mostly, since
/// few queues have so many at once.
const EXPIRIES_PER_TASK: usize = 256;
