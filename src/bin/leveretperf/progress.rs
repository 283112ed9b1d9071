//! One line a second on standard error while a scenario runs.

use std::io::Write;
use std::time::{Duration, Instant};

/// What to call the things that are counted; silent without a name.
pub struct Progress {
    what: Option<&'static str>,
    started: Instant,
    due: Instant,
    last: (Instant, u64),
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Progress::of(Some(what))
    }

    pub fn silent() -> Self {
        Progress::of(None)
    }

    fn of(what: Option<&'static str>) -> Self {
        let now = Instant::now();
        Progress {
            what,
            started: now,
            due: now + PERIOD,
            last: (now, 0),
        }
    }

    /// Cheap to call often.
    pub fn tell(&mut self, now: Instant, count: u64) {
        if now < self.due {
            return;
        }
        self.due = now + PERIOD;
        let (before, counted) = std::mem::replace(&mut self.last, (now, count));
        let Some(what) = self.what else {
            return;
        };
        let rate = count.saturating_sub(counted) as f64 / (now - before).as_secs_f64();
        let seconds = (now - self.started).as_secs();
        // Nobody listening is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "{seconds:>4} s  {count:>12} {what}  {rate:>12.0} per second"
        );
    }
}

const PERIOD: Duration = Duration::from_secs(1);
