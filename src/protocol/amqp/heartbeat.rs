//! Heartbeats (AMQP 0-9-1 §4.2.7): one is sent when nothing else was for half the interval, and a peer
//! that was silent for two intervals is given up (RabbitMQ: between two and three).

use crate::wire::amqp::frame::OVERHEAD;

/// The clockwork of one connection. Looks at the traffic only when its deadline comes, so that traffic
/// itself costs it nothing.
pub struct Heartbeat {
    interval_ms: u64,
    last_received_ms: u64,
    /// Bytes ever sent, as of the last look.
    sent: u64,
    /// Bytes that the peer ever took, as of the last look at a time when it was not listened to.
    taken: u64,
    deadline_ms: u64,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Send,
    /// The peer is gone.
    Dead,
}

impl Heartbeat {
    /// No heartbeats for an interval of 0.
    pub fn new(interval_seconds: u16, now_ms: u64) -> Option<Self> {
        let interval_ms = u64::from(interval_seconds) * 1000;
        (interval_ms > 0).then_some(Heartbeat {
            interval_ms,
            last_received_ms: now_ms,
            sent: 0,
            taken: 0,
            deadline_ms: now_ms + interval_ms / 2,
        })
    }

    pub fn interval_seconds(&self) -> u64 {
        self.interval_ms / 1000
    }

    #[inline]
    pub fn on_received(&mut self, now_ms: u64) {
        self.last_received_ms = now_ms;
    }

    /// The peer is not listened to until it reads, so it cannot be heard; that it reads, `taken` bytes
    /// so far, shows as well that it is there.
    pub fn on_unheard(&mut self, now_ms: u64, taken: u64) {
        if self.taken != taken {
            self.taken = taken;
            self.last_received_ms = now_ms;
        }
    }

    /// `sent` is how many bytes were ever sent.
    pub fn on_deadline(&mut self, now_ms: u64, sent: u64) -> Due {
        if now_ms < self.deadline_ms {
            return Due::Nothing;
        }
        self.deadline_ms = now_ms + self.interval_ms / 2;
        if now_ms - self.last_received_ms > 2 * self.interval_ms {
            return Due::Dead;
        }
        if self.sent != sent {
            self.sent = sent;
            return Due::Nothing;
        }
        self.sent += OVERHEAD as u64;
        Due::Send
    }

    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_kept_alive_and_a_dead_one_given_up() {
        let mut heartbeat = Heartbeat::new(10, 0).unwrap();
        assert_eq!(heartbeat.on_deadline(4_000, 0), Due::Nothing);
        assert_eq!(
            heartbeat.on_deadline(5_000, 100),
            Due::Nothing,
            "something was sent"
        );
        assert_eq!(heartbeat.on_deadline(10_000, 100), Due::Send);
        heartbeat.on_received(11_000);
        assert_eq!(
            heartbeat.on_deadline(15_000, 108),
            Due::Send,
            "a heartbeat is no traffic"
        );
        assert_eq!(heartbeat.on_deadline(30_000, 120), Due::Nothing);
        assert_eq!(heartbeat.on_deadline(35_000, 120), Due::Dead);
        assert!(Heartbeat::new(0, 0).is_none());
    }

    #[test]
    fn who_reads_is_not_dead_while_nobody_listens() {
        let mut heartbeat = Heartbeat::new(10, 0).unwrap();
        for look in 1..20 {
            heartbeat.on_unheard(look * 5000, look * 100);
            assert_ne!(heartbeat.on_deadline(look * 5000, 0), Due::Dead);
        }
        heartbeat.on_unheard(120_000, 1900);
        assert_eq!(heartbeat.on_deadline(120_000, 0), Due::Dead);
    }
}
