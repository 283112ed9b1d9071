//! How long a queue's messages waited for a consumer, roughly, and at no cost for those that did not wait.
//!
//! What is handed to a consumer in the turn of the loop in which it came is not counted here: those are the
//! deliveries of the queue that are not among these, and none took longer than a turn.

/// First deliveries of messages out of the queue, by the time since they arrived, and the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    counts: [u64; WAIT_BUCKETS],
    sum_ms: u64,
    /// Deliveries that were not the first.
    pub redelivered: u64,
}

impl Waits {
    #[inline]
    pub fn count(&mut self, waited_ms: u64) {
        let bucket = (u64::BITS - waited_ms.leading_zeros()) as usize;
        self.counts[bucket.min(WAIT_BUCKETS - 1)] += 1;
        self.sum_ms = self.sum_ms.saturating_add(waited_ms);
    }

    /// Puts in those that did not wait: what is delivered beside what is counted here.
    pub fn with_straight(mut self, delivered: u64) -> Waits {
        let known = self.total() + self.redelivered;
        self.counts[0] += delivered.saturating_sub(known);
        self
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// How many waited for less than each power of two, from 1 ms on; the last, which has no bound, is left
    /// out.
    pub fn below(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = &self.counts[..WAIT_BUCKETS - 1];
        counts.iter().enumerate().scan(0, |sum, (at, count)| {
            *sum += count;
            Some((1 << at, *sum))
        })
    }

    /// So many of a thousand waited for less than this, as far as buckets tell; `None` if nothing was
    /// delivered, or if it is beyond them all.
    pub fn per_mille(&self, of_thousand: u64) -> Option<u64> {
        let total = self.total();
        let rank = total.saturating_mul(of_thousand).div_ceil(1000).max(1);
        let reached = self.below().find(|(_, count)| *count >= rank);
        reached.map(|(bound_ms, _)| bound_ms)
    }
}

/// Up to 2^22 ms, more than an hour; the last has what is beyond.
const WAIT_BUCKETS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_below_the_power_of_two_that_follows() {
        let mut waits = Waits::default();
        for waited_ms in [0, 1, 2, 3, 4, 1000, u64::MAX] {
            waits.count(waited_ms);
        }
        let below: Vec<_> = waits.below().collect();
        assert_eq!(below[..4], [(1, 1), (2, 2), (4, 4), (8, 5)]);
        assert_eq!(below[10], (1024, 6));
        assert_eq!(below.last(), Some(&(1 << 22, 6)));
        assert_eq!(waits.total(), 7);
        assert_eq!(waits.per_mille(500), Some(4));
        assert_eq!(waits.per_mille(1000), None);
    }

    #[test]
    fn what_is_not_counted_did_not_wait() {
        let mut waits = Waits::default();
        waits.count(5);
        waits.redelivered = 2;
        let all = waits.with_straight(10);
        assert_eq!(all.total(), 8);
        assert_eq!(all.below().next(), Some((1, 7)));
        assert_eq!(all.sum_ms(), 5);
    }
}
