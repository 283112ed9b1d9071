//! Tells the service manager in good time that the loop still turns (systemd: `WatchdogSec=`).

use std::sync::Arc;

use super::clock::whole_ms;
use super::notify::Notifier;

/// Without a manager that waits for it, it is never due.
#[derive(Default)]
pub(super) struct Watchdog {
    notifier: Arc<Notifier>,
    /// Monotonic ms.
    due: Option<u64>,
}

impl Watchdog {
    pub fn new(notifier: Arc<Notifier>, now_ms: u64) -> Watchdog {
        Watchdog {
            due: notifier.interval().map(|_| now_ms),
            notifier,
        }
    }

    pub fn next_due(&self) -> Option<u64> {
        self.due
    }

    pub fn fire_due(&mut self, now_ms: u64) {
        if self.due.is_some_and(|due| due <= now_ms) {
            self.notifier.alive();
            let interval = self.notifier.interval();
            self.due = interval.map(|interval| now_ms + whole_ms(interval).max(1));
        }
    }
}
