//! What time does: messages expire, come back after a delay, and unused queues go.

use super::*;
use crate::{Check, ensure};

impl Model {
    /// The broker was given the chance to do what is due.
    pub fn pass_time(&mut self) {
        self.retry_stuck();
        let names: Vec<String> = self.queues.keys().cloned().collect();
        for name in names {
            let ends_ms = self.lease_end(&self.queues[&name]);
            if ends_ms.is_some_and(|at| at <= self.now_ms) {
                self.end_lease(&name, ends_ms.expect("it was looked at"));
            } else {
                self.age(&name, self.now_ms);
                // What consumers had when the broker ended can be too much.
                let queue = &self.queues[&name];
                let is_sure = self.dying.iter().all(|corpse| !corpse.is_of(queue.number));
                let drops = queue.rules.overflow == "drop-head" && queue.is_over_with(0, 0);
                self.end_if(drops && !is_sure, Beyond::DyingWithTooMuch);
                self.drop_excess(&name, 997);
            }
        }
    }

    /// Whether dead letters wait for somebody to take them, or to be read back.
    pub fn has_dead_letters(&self) -> bool {
        !self.stuck.is_empty() || !self.dying.is_empty()
    }

    /// Everything in the queue that is due up to this time.
    fn age(&mut self, name: &str, up_to_ms: u64) {
        let queue = self.queues.get_mut(name).expect("the caller found it");
        let number = queue.number;
        let is_due = |entry: &Entry| entry.expires_ms.is_some_and(|at| at <= up_to_ms);
        let (mut dead, ready): (Vec<_>, Vec<_>) = std::mem::take(&mut queue.ready)
            .into_iter()
            .partition(is_due);
        queue.ready = ready;
        let (mut back, delayed): (Vec<_>, Vec<_>) = std::mem::take(&mut queue.delayed)
            .into_iter()
            .partition(|(due_ms, _)| *due_ms <= up_to_ms);
        queue.delayed = delayed;
        // Who comes first decides who is one too many.
        let is_vague = !dead.is_empty() && !back.is_empty() && queue.rules.is_limited();
        self.end_if(is_vague, Beyond::DyingWithReturning);
        dead.sort_by_key(|entry| (entry.expires_ms, entry.place));
        for entry in dead {
            self.die(number, entry, "expired", 998);
        }
        back.sort_by_key(|(due_ms, entry)| (*due_ms, entry.place));
        for (_, entry) in back {
            self.put_back(name, entry, 999);
        }
    }

    fn end_lease(&mut self, name: &str, ends_ms: u64) {
        let queue = &self.queues[name];
        let (number, now_ms) = (queue.number, self.now_ms);
        let expiries = queue.ready.iter().filter_map(|entry| entry.expires_ms);
        let times = expiries.chain(queue.delayed.iter().map(|(due_ms, _)| *due_ms));
        let is_between = |at: u64| at > ends_ms && at <= now_ms;
        // Both are overdue: that the queue was gone before its messages died is not promised.
        let is_vague = times.into_iter().any(is_between);
        self.end_if(is_vague, Beyond::LeaseWithMessages);
        self.age(name, ends_ms);
        // Nobody waits for the dead letters of a queue that is gone, if they were still to be read back.
        let is_dying = self.dying.iter().any(|corpse| corpse.is_of(number));
        let drops = self.queues[name].is_over_with(0, 0);
        let is_vague = (is_dying || drops) && !self.stored.paged.is_empty();
        self.end_if(is_vague, Beyond::LeaseWithMessages);
        self.remove_queue(name);
    }

    /// When the queue goes if nobody uses it.
    fn lease_end(&self, queue: &Queue) -> Option<u64> {
        let is_used = !queue.consumers.is_empty();
        let lease_ms = queue.rules.lease_ms.filter(|_| !is_used)?;
        Some(queue.used_ms + lease_ms)
    }

    /// Somebody uses the queue.
    pub(super) fn renew_lease(&mut self, name: &str) {
        let now_ms = self.now_ms;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.used_ms = now_ms;
        }
    }

    /// A `basic.get` was heard that cannot be answered yet.
    pub fn note_get(&mut self, at: At, queue: &[u8]) {
        if let Ok(name) = self.queue_name(at, queue) {
            self.renew_lease(&name);
        }
    }

    /// The broker must wake up in time.
    pub fn check_deadline(&self, next_ms: Option<u64>) -> Check {
        let of_queue = |queue: &Queue| {
            let expiries = queue.ready.iter().filter_map(|entry| entry.expires_ms);
            let delayed = queue.delayed.iter().map(|(due_ms, _)| *due_ms);
            let all = expiries.chain(delayed).chain(self.lease_end(queue));
            all.min()
        };
        let queues = self.queues.values().filter_map(of_queue);
        let Some(due_ms) = queues.chain(self.stuck_ms).min() else {
            return Ok(());
        };
        ensure!(
            next_ms.is_some_and(|next_ms| next_ms <= due_ms),
            "something is due at {due_ms}, and the broker sleeps until {next_ms:?}"
        );
        Ok(())
    }
}
