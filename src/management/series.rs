//! What counts were, every few seconds for up to an hour: packed, as differences to the sample before. A sample of
//! a dozen counts of which few move takes some twenty bytes.

use crate::wire::number;

/// Samples by time, the newest last. All have as many counts as the first.
#[derive(Default)]
pub struct Series {
    /// `None` if there are none.
    oldest: Option<Sample>,
    newest: Option<Sample>,
    /// Those behind the oldest, from `head` on.
    bytes: Vec<u8>,
    head: usize,
}

/// What counts are at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub values: Box<[u64]>,
}

impl Series {
    /// When the last sample was taken.
    pub fn last_ms(&self) -> Option<u64> {
        self.newest.as_ref().map(|it| it.at_ms)
    }

    /// Bytes that it takes up, about.
    pub fn size(&self) -> usize {
        let ends = [&self.oldest, &self.newest].into_iter().flatten();
        self.bytes.capacity() + ends.map(|it| 8 * it.values.len()).sum::<usize>()
    }

    /// Adds a sample. Where it cannot stand behind the last, as the clock was set back, or as something else
    /// is counted, it is the first.
    pub fn push(&mut self, at_ms: u64, values: &[u64]) {
        let sample = Sample {
            at_ms,
            values: values.into(),
        };
        match &self.newest {
            Some(last) if last.at_ms <= at_ms && last.values.len() == values.len() => {
                number::write(&mut self.bytes, at_ms - last.at_ms);
                for (before, after) in last.values.iter().zip(values) {
                    number::write(&mut self.bytes, zigzag(after.wrapping_sub(*before)));
                }
            }
            _ => {
                *self = Series::default();
                self.oldest = Some(sample.clone());
            }
        }
        self.newest = Some(sample);
    }

    /// Forgets what is older than this.
    pub fn forget_before(&mut self, at_ms: u64) {
        while let Some(oldest) = self.oldest.as_ref().filter(|it| it.at_ms < at_ms) {
            let mut rest = &self.bytes[self.head..];
            let next = oldest.next(&mut rest);
            self.head = self.bytes.len() - rest.len();
            if next.is_none() {
                *self = Series::default();
                return;
            }
            self.oldest = next;
        }
        if self.head > KEPT_BYTES && self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.bytes.shrink_to(self.bytes.len() + KEPT_BYTES);
            self.head = 0;
        }
    }

    /// All of them, the newest last.
    pub fn samples(&self) -> Vec<Sample> {
        let mut rest = &self.bytes[self.head..];
        let first = self.oldest.clone();
        std::iter::successors(first, |last| last.next(&mut rest)).collect()
    }
}

impl Sample {
    pub fn value(&self, at: usize) -> u64 {
        self.values.get(at).copied().unwrap_or(0)
    }

    /// The one whose differences to this one follow.
    fn next(&self, rest: &mut &[u8]) -> Option<Sample> {
        let at_ms = self.at_ms + number::read(rest)?;
        let values = self.values.iter().map(|before| {
            let difference = unzigzag(number::read(rest)?);
            Some(before.wrapping_add(difference))
        });
        Some(Sample {
            at_ms,
            values: values.collect::<Option<_>>()?,
        })
    }
}

/// A difference, small if it is near zero on either side.
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1 ^ signed >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

/// Too little to be moved about.
const KEPT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u64) -> Series {
        let mut series = Series::default();
        for number in 0..count {
            series.push(1000 + 5000 * number, &[number * 300, 1000 - number, 7]);
        }
        series
    }

    #[test]
    fn samples_are_read_as_they_were_taken() {
        let series = filled(1000);
        let samples = series.samples();
        assert_eq!(samples.len(), 1000);
        for (number, sample) in (0..).zip(&samples) {
            assert_eq!(sample.at_ms, 1000 + 5000 * number);
            assert_eq!(*sample.values, [number * 300, 1000 - number, 7]);
        }
        assert!(series.size() < 16 * 1000, "{}", series.size());
    }

    #[test]
    fn what_is_old_is_forgotten_and_its_room_given_back() {
        let mut series = filled(1000);
        let size = series.size();
        series.forget_before(1000 + 5000 * 900);
        let samples = series.samples();
        assert_eq!((samples.len(), samples[0].value(0)), (100, 900 * 300));
        assert!(series.size() < size / 4);
        series.forget_before(u64::MAX);
        assert!(series.samples().is_empty());
        assert_eq!(series.last_ms(), None);
    }

    #[test]
    fn what_cannot_follow_begins_anew() {
        let mut series = filled(3);
        series.push(500, &[1, 2, 3]);
        assert_eq!(series.samples().len(), 1);
        series.push(600, &[1]);
        assert_eq!(*series.samples()[0].values, [1]);
        series.push(700, &[u64::MAX]);
        series.push(800, &[0]);
        assert_eq!(series.samples()[1].value(0), u64::MAX);
        assert_eq!(series.samples()[2].value(0), 0);
    }
}
