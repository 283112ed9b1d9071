//! Plain counts, kept beside what they count; rates are for whoever asks twice.
//!
//! What happens with every message is counted once, by the channel that it came or went by and by the
//! queue and exchange that it passed. The broker's own counts are the sums of its channels'
//! ([`Core::channel_totals`](super::Core::channel_totals)).

use std::cell::Cell;
use std::ops::AddAssign;

use super::dead_letter::Reason;

/// Of the whole broker, since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// With those of dead letters, delayed messages and traces.
    pub published: u64,
    pub queues_declared: u64,
    pub queues_created: u64,
    pub queues_deleted: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub channels_opened: u64,
    pub channels_closed: u64,
    /// Of channels that are closed.
    pub gone: ChannelCounters,
    /// Of what clients published.
    pub sizes: Sizes,
    /// Lines of the log that were not published, because there were too many.
    pub log_lines_lost: u64,
    /// Events that were told, since somebody listened.
    pub events: u64,
    /// Of those that somebody would have heard, the ones that were too many.
    pub events_lost: u64,
}

/// What went through one channel, since it was opened (RabbitMQ: `message_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    pub published: u64,
    /// Of those, before the channel was put into confirm mode.
    pub published_unconfirmed: u64,
    /// Confirms sent, positive and negative.
    pub confirmed: u64,
    /// No queue wanted it, and it was sent back (`mandatory`).
    pub returned: u64,
    /// No queue wanted it.
    pub dropped: u64,
    /// To consumers that ack.
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub gotten: u64,
    pub gotten_no_ack: u64,
    /// `basic.get` with nothing to get.
    pub get_empty: u64,
    pub redelivered: u64,
    pub acked: u64,
}

impl ChannelCounters {
    /// Deliveries of all kinds (RabbitMQ: `deliver_get`).
    pub fn delivered_in_all(&self) -> u64 {
        self.delivered + self.delivered_no_ack + self.gotten + self.gotten_no_ack
    }
}

impl AddAssign for ChannelCounters {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.published_unconfirmed += other.published_unconfirmed;
        self.confirmed += other.confirmed;
        self.returned += other.returned;
        self.dropped += other.dropped;
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.gotten += other.gotten;
        self.gotten_no_ack += other.gotten_no_ack;
        self.get_empty += other.get_empty;
        self.redelivered += other.redelivered;
        self.acked += other.acked;
    }
}

/// Of one queue, since it was declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueCounters {
    pub published: u64,
    /// To consumers that ack.
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub gotten: u64,
    pub gotten_no_ack: u64,
    /// `basic.get` with nothing to get.
    pub get_empty: u64,
    pub redelivered: u64,
    pub acked: u64,
    pub requeued: u64,
    /// Messages that left unconsumed, whether there was somewhere for them to go or not.
    pub rejected: u64,
    pub expired: u64,
    pub dropped: u64,
    pub failed_too_often: u64,
}

impl QueueCounters {
    pub fn count_death(&mut self, reason: Reason) {
        *match reason {
            Reason::Rejected => &mut self.rejected,
            Reason::Expired => &mut self.expired,
            Reason::MaxLength => &mut self.dropped,
            Reason::DeliveryLimit => &mut self.failed_too_often,
        } += 1;
    }

    /// Deliveries of all kinds (RabbitMQ: `deliver_get`).
    pub fn delivered_in_all(&self) -> u64 {
        self.delivered + self.delivered_no_ack + self.gotten + self.gotten_no_ack
    }

    /// Grows with each of them.
    pub fn sum(&self) -> u64 {
        let deaths = self.rejected + self.expired + self.dropped + self.failed_too_often;
        let back = self.redelivered + self.acked + self.requeued;
        self.published + self.delivered_in_all() + self.get_empty + back + deaths
    }
}

/// Of one exchange, since it was declared. Shared with the routes that begin there, so that a message on
/// a known route is counted without a look-up.
#[derive(Debug, Default)]
pub struct ExchangeCounters {
    /// Published there.
    pub published_in: Cell<u64>,
    /// Copies that queues on its routes got.
    pub published_out: Cell<u64>,
}

impl ExchangeCounters {
    #[inline]
    pub fn count(&self, queues: usize) {
        self.published_in.set(self.published_in.get() + 1);
        self.published_out
            .set(self.published_out.get() + queues as u64);
    }
}

/// How large message bodies are (RabbitMQ: `message_size_bytes`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Bodies up to each of [`SIZE_BOUNDS`] and beyond the one before; the last, beyond all.
    pub counts: [u64; SIZE_BOUNDS.len() + 1],
    pub sum_bytes: u64,
}

impl Sizes {
    #[inline]
    pub fn count(&mut self, bytes: usize) {
        self.sum_bytes += bytes as u64;
        let bucket = match bytes {
            0..=100 => 0,
            101..=1000 => 1,
            _ => SIZE_BOUNDS.partition_point(|bound| *bound < bytes),
        };
        self.counts[bucket] += 1;
    }
}

/// RabbitMQ's buckets.
pub const SIZE_BOUNDS: [usize; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_rabbitmqs_buckets() {
        let mut sizes = Sizes::default();
        for bytes in [0, 100, 101, 1000, 1001, 100_000_000, 100_000_001] {
            sizes.count(bytes);
        }
        assert_eq!(sizes.counts, [2, 2, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(sizes.sum_bytes, 200_003_103 - 900);
    }
}
