//! Ids in runs, and acks as lists of them.
//!
//! Acks of one batch are sorted by queue and packed: per queue its id, how many runs follow, and for
//! each run the distance from the last id before (from zero at the first), how many ids, and the
//! stride between them if there are several. A consumer that keeps up makes one run of a batch.

use crate::broker::journal::QueueId;
use crate::broker::message::MessageId;

use super::number;

/// Ids at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    pub stride: u64,
    /// Not zero.
    pub count: u64,
}

impl Run {
    pub fn last(&self) -> u64 {
        self.first + (self.count - 1) * self.stride
    }

    /// How many of its ids are at most `limit`.
    pub fn count_up_to(&self, limit: u64) -> u64 {
        match limit.checked_sub(self.first) {
            None => 0,
            Some(distance) => (distance / self.stride + 1).min(self.count),
        }
    }

    /// Those of its ids that are below `end`; `None` if there are none.
    pub fn before(self, end: u64) -> Option<Run> {
        let count = self.count_up_to(end.checked_sub(1)?);
        (count > 0).then_some(Run { count, ..self })
    }

    /// Without its first ids; `None` if nothing is left.
    pub fn skip(self, count: u64) -> Option<Run> {
        (count < self.count).then(|| Run {
            first: self.first + count * self.stride,
            stride: self.stride,
            count: self.count - count,
        })
    }

    pub fn ids(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |n| self.first + n * self.stride)
    }
}

/// Packs ascending ids.
#[derive(Default)]
pub(super) struct RunWriter {
    bytes: Vec<u8>,
    runs: u64,
    /// The last id of the runs in `bytes`.
    last: u64,
    open: Option<Run>,
}

impl RunWriter {
    #[inline]
    pub fn push(&mut self, id: u64) {
        match &mut self.open {
            Some(run) if run.count == 1 => {
                run.stride = id - run.first;
                run.count = 2;
            }
            Some(run) if id == run.last() + run.stride => run.count += 1,
            Some(run) if run.count == 2 && run.stride > 1 => {
                // Two ids are no run: the second may begin a better one.
                let (first, second) = (run.first, run.last());
                self.put(Run {
                    first,
                    stride: 1,
                    count: 1,
                });
                self.open = Some(Run {
                    first: second,
                    stride: id - second,
                    count: 2,
                });
            }
            _ => {
                if let Some(run) = self.open.take() {
                    self.put(run);
                }
                self.open = Some(Run {
                    first: id,
                    stride: 1,
                    count: 1,
                });
            }
        }
    }

    fn put(&mut self, run: Run) {
        number::write(&mut self.bytes, run.first - self.last);
        number::write(&mut self.bytes, run.count);
        if run.count > 1 {
            number::write(&mut self.bytes, run.stride);
        }
        self.last = run.last();
        self.runs += 1;
    }

    /// Writes the list for a queue and starts over.
    pub fn finish(&mut self, queue: QueueId, out: &mut Vec<u8>) {
        if let Some(run) = self.open.take() {
            self.put(run);
        }
        if self.runs > 0 {
            number::write(out, queue.0);
            number::write(out, self.runs);
            out.extend_from_slice(&self.bytes);
        }
        self.bytes.clear();
        self.runs = 0;
        self.last = 0;
    }
}

/// Packs acks, which it sorts.
pub(super) fn pack(acks: &mut [(QueueId, MessageId)], out: &mut Vec<u8>) {
    acks.sort_unstable();
    let mut writer = RunWriter::default();
    for of_queue in acks.chunk_by(|a, b| a.0 == b.0) {
        let mut last = None;
        for (_, id) in of_queue {
            if last != Some(*id) {
                writer.push(id.to_bits());
            }
            last = Some(*id);
        }
        writer.finish(of_queue[0].0, out);
    }
}

/// Packs the numbers of segments, ascending, behind a zero, which no segment has: an empty list differs
/// from none.
pub(super) fn pack_segments(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut writer = RunWriter::default();
    let mut out = Vec::new();
    writer.push(0);
    numbers.for_each(|number| writer.push(number));
    writer.finish(QueueId(0), &mut out);
    out
}

/// `None` if that is no list of segments.
pub(super) fn unpack_segments(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut runs = Runs::new(bytes);
    let mut numbers = runs.by_ref().flat_map(|(_, run)| run.ids());
    let marked = numbers.next() == Some(0);
    let listed: Vec<u64> = numbers.by_ref().take(SEGMENTS_MAX).collect();
    let is_whole = numbers.next().is_none();
    (marked && is_whole && !runs.malformed).then_some(listed)
}

/// A longer list is none that a disk has room for.
const SEGMENTS_MAX: usize = 1 << 24;

/// Runs of packed lists, one list after the other.
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    queue: QueueId,
    left: u64,
    last: u64,
    /// The bytes were not what [`pack`] writes.
    pub malformed: bool,
}

impl<'a> Runs<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Runs {
            bytes,
            queue: QueueId(0),
            left: 0,
            last: 0,
            malformed: false,
        }
    }

    fn read(&mut self) -> Option<(QueueId, Run)> {
        while self.left == 0 {
            self.queue = QueueId(number::read(&mut self.bytes)?);
            self.left = number::read(&mut self.bytes)?;
            self.last = 0;
        }
        let distance = number::read(&mut self.bytes)?;
        let count = number::read(&mut self.bytes)?;
        let stride = match count {
            0 | 1 => 1,
            _ => number::read(&mut self.bytes)?,
        };
        let first = self.last.checked_add(distance)?;
        let length = count.checked_sub(1)?.checked_mul(stride)?;
        let last = first.checked_add(length)?;
        if stride == 0 || last > MessageId::STORED_MAX {
            return None;
        }
        self.left -= 1;
        self.last = last;
        let run = Run {
            first,
            stride,
            count,
        };
        Some((self.queue, run))
    }
}

impl Iterator for Runs<'_> {
    type Item = (QueueId, Run);

    fn next(&mut self) -> Option<(QueueId, Run)> {
        if self.bytes.is_empty() && self.left == 0 {
            return None;
        }
        let read = self.read();
        if read.is_none() {
            self.malformed = true;
            self.bytes = &[];
            self.left = 0;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(bytes: &[u8]) -> Vec<(u64, u64)> {
        let mut runs = Runs::new(bytes);
        let ids = runs
            .by_ref()
            .flat_map(|(queue, run)| run.ids().map(move |id| (queue.0, id)))
            .collect();
        assert!(!runs.malformed);
        ids
    }

    #[test]
    fn a_steady_consumer_takes_a_few_bytes() {
        let mut acks: Vec<_> = (0..1000)
            .map(|n| (QueueId(3), MessageId::from_bits(1_000_000 + 7 * n)))
            .collect();
        let mut out = Vec::new();
        pack(&mut acks, &mut out);
        assert!(out.len() < 10, "{}", out.len());
    }

    #[test]
    fn a_list_of_more_segments_than_there_can_be_is_none() {
        let mut packed = Vec::new();
        for number in [0, 1, 0, 1 << 50, 1] {
            number::write(&mut packed, number);
        }
        assert_eq!(unpack_segments(&packed), None);
    }

    #[test]
    fn ids_before_an_end_are_those_below_it() {
        let run = Run {
            first: 5,
            stride: 3,
            count: 3,
        };
        for (end, count) in [
            (0, None),
            (5, None),
            (6, Some(1)),
            (11, Some(2)),
            (99, Some(3)),
        ] {
            assert_eq!(run.before(end).map(|run| run.count), count, "{end}");
        }
    }

    #[test]
    fn an_empty_list_of_segments_is_a_list() {
        for numbers in [vec![], vec![1], vec![1, 2, 3, 7, 9]] {
            let packed = pack_segments(numbers.iter().copied());
            assert_eq!(unpack_segments(&packed), Some(numbers));
        }
        assert_eq!(unpack_segments(b""), None);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(mut acks in prop::collection::vec((0..3u64, 0..300u64), 0..200)) {
            let mut given: Vec<_> = acks.iter().map(|(q, m)| (QueueId(*q), MessageId::from_bits(*m))).collect();
            let mut out = Vec::new();
            pack(&mut given, &mut out);
            acks.sort_unstable();
            acks.dedup();
            prop_assert_eq!(unpack(&out), acks);
        }

        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for (_, run) in Runs::new(&bytes).take(1000) {
                prop_assert!(run.last() >= run.first);
            }
        }
    }
}
