//! The one clock. The floors below are handed the time and never ask for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::Now;

#[derive(Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    /// Milliseconds since 1970 at that moment. The time of day goes on from there by the steady clock:
    /// when somebody sets the host's, no message expires for that, and none lives longer. It is right
    /// again with the next start.
    started_unix_ms: u64,
}

impl Clock {
    pub fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            started: Instant::now(),
            // A clock set before 1970 is as good as none.
            started_unix_ms: since_1970.map_or(0, whole_ms),
        }
    }

    pub fn now(&self) -> Now {
        self.at(self.elapsed())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time so long after the start.
    pub fn at(&self, elapsed: Duration) -> Now {
        let monotonic_ms = whole_ms(elapsed);
        Now {
            monotonic_ms,
            unix_ms: self.started_unix_ms + monotonic_ms,
        }
    }

    /// Milliseconds since the start of the loop.
    pub fn monotonic_ms(&self) -> u64 {
        whole_ms(self.started.elapsed())
    }

    /// The same for a time of day.
    pub fn monotonic_at(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(self.started_unix_ms)
    }
}

pub(super) fn whole_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
