//! Durations, counted in buckets: percentiles for people, and what Prometheus wants to know.

/// Durations, each in a bucket at most an eighth wider than its lower bound.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    #[inline]
    pub fn count(&mut self, duration_us: u64) {
        self.counts[bucket(duration_us)] += 1;
        self.sum_us = self.sum_us.saturating_add(duration_us);
    }

    /// Both together.
    pub fn with(mut self, other: &Histogram) -> Histogram {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The duration that so many of a thousand did not exceed, as far as buckets tell; `None` if
    /// nothing was counted.
    pub fn per_mille(&self, of_thousand: u64) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = (total.saturating_mul(of_thousand)).div_ceil(1000).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Some(upper_us(reached.unwrap_or(BUCKETS - 1)))
    }

    /// How many were at most so long, as far as buckets tell.
    pub fn up_to(&self, duration_us: u64) -> u64 {
        let counts = self.counts.iter().enumerate();
        let within = counts.filter(|(at, _)| upper_us(*at) <= duration_us);
        within.map(|(_, count)| count).sum()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: [0; BUCKETS],
            sum_us: 0,
        }
    }
}

/// Eight buckets for every doubling.
fn bucket(duration_us: u64) -> usize {
    if duration_us < STEPS {
        return duration_us as usize;
    }
    let doublings = u64::from(duration_us.ilog2()) - STEPS.ilog2() as u64;
    let step = (duration_us >> doublings) - STEPS;
    usize::try_from(STEPS + doublings * STEPS + step).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

/// The longest duration in a bucket.
fn upper_us(at: usize) -> u64 {
    let at = at as u64;
    if at < STEPS {
        return at;
    }
    let doublings = (at - STEPS) / STEPS;
    let step = (at - STEPS) % STEPS;
    ((STEPS + step + 1) << doublings) - 1
}

const STEPS: u64 = 8;

/// Up to 2^36 us, which is nineteen hours.
const BUCKETS: usize = 8 * 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_is_not_much_wider() {
        for duration in (0..4000).chain((1..60).map(|bit| (1 << bit) + 12345)) {
            let upper = upper_us(bucket(duration));
            if bucket(duration) < BUCKETS - 1 {
                assert!(upper >= duration, "{duration} {upper}");
                assert!(upper <= duration + duration / 8, "{duration} {upper}");
            }
        }
    }

    #[test]
    fn percentiles_are_where_the_ranks_are() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.per_mille(500), None);
        for duration in 1..=1000 {
            histogram.count(duration);
        }
        assert!((500..=563).contains(&histogram.per_mille(500).unwrap()));
        assert!((990..=1100).contains(&histogram.per_mille(990).unwrap()));
        assert_eq!(histogram.total(), 1000);
        assert_eq!(histogram.sum_us(), 500_500);
        assert_eq!(histogram.up_to(7), 7);
        assert_eq!(histogram.up_to(u64::MAX), 1000);
    }
}
