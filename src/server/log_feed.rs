//! From the log to the exchange `amq.rabbitmq.log`: the loop takes the lines of all threads from the tap
//! and publishes them. What publishing them logs is not published, and no more than so many a second
//! are, so that no line can lead to lines for ever.

use super::control::Handle;
use crate::log_tap::{LogLine, LogTap, Subscription, quietly};
use crate::protocol::{Hub, Now};

pub(super) struct LogFeed {
    tap: LogTap,
    handle: Handle,
    /// While the configuration wants it.
    subscription: Option<Subscription>,
    /// What the subscription had lost when it was last looked at.
    lost: u64,
    /// The second that is counted in (monotonic), and the lines in it.
    second: u64,
    lines: u32,
}

impl LogFeed {
    pub fn new(tap: LogTap, handle: Handle) -> LogFeed {
        LogFeed {
            tap,
            handle,
            subscription: None,
            lost: 0,
            second: 0,
            lines: 0,
        }
    }

    /// Once a turn: publishes what has come. Whether there is more.
    pub fn serve(&mut self, hub: &mut Hub, now: Now) -> bool {
        if self.subscription.is_some() != hub.config.log.exchange {
            self.turn(hub);
        }
        let Some(subscription) = &self.subscription else {
            return false;
        };
        for _ in 0..LINES_PER_TURN {
            let Some(line) = subscription.next() else {
                hub.core.counters.log_lines_lost += subscription.lost() - self.lost;
                self.lost = subscription.lost();
                return false;
            };
            if !is_wanted(&line, hub) {
                continue;
            }
            let second = now.monotonic_ms / 1000;
            if second != self.second {
                (self.second, self.lines) = (second, 0);
            }
            if self.lines < LINES_PER_SECOND {
                self.lines += 1;
                quietly(|| hub.publish_log_line(&line));
            } else {
                hub.core.counters.log_lines_lost += 1;
            }
        }
        true
    }

    /// On or off, as the configuration says.
    fn turn(&mut self, hub: &mut Hub) {
        self.subscription = hub.config.log.exchange.then(|| {
            hub.declare_log_exchange();
            let handle = self.handle.clone();
            let (_, subscription) = self.tap.subscribe(Some(Box::new(move || handle.wake())));
            subscription
        });
        self.lost = 0;
    }
}

fn is_wanted(line: &LogLine, hub: &Hub) -> bool {
    let log = &hub.config.log;
    line.level <= log.level(line.category, log.exchange_level)
}

/// Each is a message, at some microseconds; more come with the next turn.
const LINES_PER_TURN: usize = 64;
/// More than a broker has to say that is well.
const LINES_PER_SECOND: u32 = 1000;
