//! The one clock. The floors below are handed the time and never ask for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::Now;

pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Clock {
            started: Instant::now(),
        }
    }

    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            monotonic_ms: self.monotonic_ms(),
            // A clock set before 1970 is as good as none.
            unix_ms: since_1970.map_or(0, whole_ms),
        }
    }

    /// Milliseconds since the start of the loop.
    pub fn monotonic_ms(&self) -> u64 {
        whole_ms(self.started.elapsed())
    }
}

pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
