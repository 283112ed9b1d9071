//! What the core has to do at certain times: one ordered set, in which each queue stands at most once
//! for each kind of task, however many messages wait for it.

use std::collections::BTreeSet;

use super::queue::QueueKey;

/// Something to be done when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Messages of the queue expire.
    Expiry(QueueKey),
    /// Messages of the queue that were given back become ready again.
    Retry(QueueKey),
    /// The queue holds more than it may.
    Excess(QueueKey),
    /// The queue may have been unused for too long.
    Lease(QueueKey),
    /// Dead letters that nobody took are tried again.
    Stuck,
}

/// Tasks by time, in milliseconds since 1970.
#[derive(Default)]
pub(super) struct Schedule {
    due: BTreeSet<(u64, Task)>,
}

impl Schedule {
    /// Moves a task to another time, or off the schedule. `place` is where its owner notes the time.
    pub fn set(&mut self, place: &mut Option<u64>, task: Task, at_ms: Option<u64>) {
        if *place == at_ms {
            return;
        }
        if let Some(old) = *place {
            self.due.remove(&(old, task));
        }
        self.due.extend(at_ms.map(|at_ms| (at_ms, task)));
        *place = at_ms;
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the first task that is due; its owner's note is to be cleared.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Task> {
        let (at_ms, _) = self.due.first()?;
        if *at_ms > now_ms {
            return None;
        }
        self.due.pop_first().map(|(_, task)| task)
    }
}
