//! When something is due for which message: expiry, a retry, a delayed delivery.
//!
//! Millions may wait, most of them for long, so what is due in the same second or so lies packed in one
//! bucket: a few bytes for a message, and next to nothing where a steady stream has the same delay. A
//! bucket is unpacked and put in order when its time comes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::entry::Entry;
use crate::broker::message::MessageId;
use crate::wire::number;

/// Messages in the order of their times.
#[derive(Default)]
pub struct Agenda {
    /// By the start of their time, in units of [`BUCKET_MS`].
    buckets: BTreeMap<u64, Bucket>,
    /// Runs of the buckets whose time came, by time.
    open: BinaryHeap<Reverse<Run>>,
    /// Buckets below this one were opened.
    opened_up_to: u64,
    len: usize,
    /// The bucket that was looked through last for what is not needed any more.
    pruned_up_to: u64,
}

/// Messages due at one time, at places with equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    at_ms: u64,
    /// [`Entry::to_place`].
    place: u64,
    stride: u64,
    count: u64,
}

/// Runs of one stretch of time, as differences to the one before.
#[derive(Default)]
struct Bucket {
    bytes: Vec<u8>,
    last: Option<Run>,
    /// The place before that of `last`, which is not in `bytes` yet.
    before: u64,
    len: usize,
}

impl Agenda {
    /// How many wait, with those that somebody should have pruned.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The message is due at this time (milliseconds since 1970).
    pub fn insert(&mut self, at_ms: u64, entry: Entry) {
        let run = Run {
            at_ms,
            place: entry.to_place(),
            stride: 1,
            count: 1,
        };
        self.len += 1;
        let bucket = at_ms / BUCKET_MS;
        if bucket < self.opened_up_to {
            self.open.push(Reverse(run));
        } else {
            self.buckets.entry(bucket).or_default().push(run);
        }
    }

    /// When to ask [`Agenda::pop_due`] next: nothing is due before.
    pub fn next_ms(&self) -> Option<u64> {
        let open = self.open.peek().map(|Reverse(run)| run.at_ms);
        let closed = self.buckets.keys().next().map(|start| start * BUCKET_MS);
        open.into_iter().chain(closed).min()
    }

    /// Takes the message that is due first, if it is by now.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Entry> {
        while let Some(first) = self.buckets.first_entry()
            && first.key() * BUCKET_MS <= now_ms
        {
            let (start, bucket) = first.remove_entry();
            self.opened_up_to = start + 1;
            self.open.extend(bucket.runs(start).map(Reverse));
        }
        let mut first = self.open.peek_mut()?;
        if first.0.at_ms > now_ms {
            return None;
        }
        let run = first.0;
        if run.count > 1 {
            first.0.place += run.stride;
            first.0.count -= 1;
        } else {
            std::collections::binary_heap::PeekMut::pop(first);
        }
        self.len -= 1;
        Some(Entry::from_place(run.place))
    }

    /// Looks through the next bucket for messages that nobody needs any more. Called now and then when
    /// there are many, it keeps them from piling up until their time.
    pub fn prune_some(&mut self, is_needed: impl Fn(Entry) -> bool) {
        let next = self.buckets.range(self.pruned_up_to + 1..).next();
        let Some(start) = next.or_else(|| self.buckets.iter().next()).map(|it| *it.0) else {
            return;
        };
        self.pruned_up_to = start;
        let Some(bucket) = self.buckets.get_mut(&start) else {
            return;
        };
        let mut kept = Bucket::default();
        for run in bucket.runs(start) {
            for place in run
                .places()
                .filter(|place| is_needed(Entry::from_place(*place)))
            {
                kept.push(Run {
                    place,
                    stride: 1,
                    count: 1,
                    ..run
                });
            }
        }
        kept.bytes.shrink_to_fit();
        self.len -= bucket.len - kept.len;
        if kept.len == 0 {
            self.buckets.remove(&start);
        } else {
            *bucket = kept;
        }
    }

    /// Up to `count_max` of those that wait, from this time on and at the same time from this message on, in order of
    /// time and message. Of those that are due in the same second, no more than [`LOOKED_AT_MAX`] are looked at.
    pub fn next_from(&self, at_ms: u64, entry: Entry, count_max: usize) -> Vec<(u64, Entry)> {
        let from = (at_ms, entry.message());
        let mut found = Vec::new();
        let open = self.open.iter().map(|Reverse(run)| *run);
        pick(open, from, count_max, &mut found);
        for (start, bucket) in self.buckets.range(at_ms / BUCKET_MS..) {
            if found.len() >= count_max {
                break;
            }
            pick(bucket.runs(*start), from, count_max, &mut found);
        }
        found
    }

    /// All that wait, bucket by bucket, in no order within one.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Entry)> {
        let open = self.open.iter().map(|Reverse(run)| *run);
        let closed = self.buckets.iter();
        let closed = closed.flat_map(|(start, bucket)| bucket.runs(*start));
        let runs = open.chain(closed);
        runs.flat_map(|run| {
            run.places()
                .map(move |place| (run.at_ms, Entry::from_place(place)))
        })
    }
}

/// Adds the first from a place on, in order, until there are so many.
fn pick(
    runs: impl Iterator<Item = Run>,
    from: (u64, MessageId),
    count_max: usize,
    found: &mut Vec<(u64, Entry)>,
) {
    let room = count_max.saturating_sub(found.len());
    let all = runs.flat_map(|run| {
        let at_ms = run.at_ms;
        run.places()
            .map(move |place| (at_ms, Entry::from_place(place)))
    });
    let key = |it: &(u64, Entry)| (it.0, it.1.message());
    let behind = all.take(LOOKED_AT_MAX).filter(|it| key(it) >= from);
    let mut behind: Vec<_> = behind.collect();
    if behind.len() > room {
        if room > 0 {
            behind.select_nth_unstable_by_key(room - 1, key);
        }
        behind.truncate(room);
    }
    behind.sort_unstable_by_key(key);
    found.append(&mut behind);
}

impl Run {
    fn places(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |nth| self.place + nth * self.stride)
    }

    /// Whether the place continues the run; makes it so.
    fn absorb(&mut self, next: &Run) -> bool {
        let distance = next.place.wrapping_sub(self.place);
        if next.at_ms != self.at_ms || next.place <= self.place {
            return false;
        }
        if self.count == 1 {
            self.stride = distance;
        } else if distance != self.count * self.stride {
            return false;
        }
        self.count += 1;
        true
    }
}

impl Bucket {
    /// Adds a run of one.
    fn push(&mut self, run: Run) {
        self.len += 1;
        if let Some(last) = &mut self.last {
            if last.absorb(&run) {
                return;
            }
            let last = *last;
            last.write(self.before, &mut self.bytes);
            self.before = last.place;
        }
        self.last = Some(run);
    }

    /// `start` is the key of the bucket.
    fn runs(&self, start: u64) -> impl Iterator<Item = Run> + '_ {
        let mut bytes = self.bytes.as_slice();
        let mut before = 0;
        let packed = std::iter::from_fn(move || {
            let run = Run::read(start, before, &mut bytes)?;
            before = run.place;
            Some(run)
        });
        packed.chain(self.last)
    }
}

impl Run {
    /// Difference of places; time within the bucket, doubled, with one added if stride and count follow.
    fn write(self, before: u64, bytes: &mut Vec<u8>) {
        number::write(bytes, zigzag(self.place.wrapping_sub(before)));
        let within = self.at_ms % BUCKET_MS;
        number::write(bytes, within << 1 | u64::from(self.count > 1));
        if self.count > 1 {
            number::write(bytes, self.stride);
            number::write(bytes, self.count);
        }
    }

    fn read(start: u64, before: u64, bytes: &mut &[u8]) -> Option<Run> {
        let place = before.wrapping_add(unzigzag(number::read(bytes)?));
        let within = number::read(bytes)?;
        let (stride, count) = match within & 1 {
            0 => (1, 1),
            _ => (number::read(bytes)?, number::read(bytes)?),
        };
        Some(Run {
            at_ms: start * BUCKET_MS + (within >> 1),
            place,
            stride,
            count,
        })
    }
}

/// A difference, small if it is near zero on either side.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

/// What is due within this time of each other lies together.
const BUCKET_MS: u64 = 1024;
/// Some hundred microseconds.
const LOOKED_AT_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::MessageId;
    use proptest::prelude::*;

    fn entry(id: u64, priority: u8) -> Entry {
        Entry::with_priority(MessageId::from_bits(id), priority)
    }

    proptest! {
        #[test]
        fn everything_is_due_once_at_its_time_and_in_order(
            steps in prop::collection::vec((0..20_000u64, 0..300u64, 0..3u8), 1..400),
        ) {
            let mut agenda = Agenda::default();
            let mut expected = Vec::new();
            let mut now = 1_000_000;
            let mut due = Vec::new();
            for (id, (delay, passed, priority)) in (1..).zip(steps) {
                agenda.insert(now + delay, entry(id, priority));
                expected.push((now + delay, entry(id, priority)));
                now += passed;
                while let Some(entry) = agenda.pop_due(now) {
                    due.push((now, entry));
                }
                prop_assert!(agenda.next_ms().is_none_or(|next| next > now || next % BUCKET_MS == 0));
                prop_assert_eq!(agenda.len(), expected.len() - due.len());
                prop_assert_eq!(agenda.iter().count(), agenda.len());
            }
            while let Some(next) = agenda.next_ms() {
                now = now.max(next);
                while let Some(entry) = agenda.pop_due(now) {
                    due.push((now, entry));
                }
            }
            prop_assert_eq!(due.len(), expected.len());
            let times: std::collections::HashMap<_, _> =
                expected.iter().map(|(at, entry)| (entry.to_place(), *at)).collect();
            for pair in due.windows(2) {
                prop_assert!(pair[0].0 <= pair[1].0);
            }
            for (popped, entry) in &due {
                prop_assert!(times[&entry.to_place()] <= *popped);
            }
        }

        #[test]
        fn pruning_takes_what_is_not_needed_and_nothing_else(
            delays in prop::collection::vec(0..10_000u64, 1..500),
        ) {
            let mut agenda = Agenda::default();
            for (id, delay) in (0..).zip(&delays) {
                agenda.insert(1_000_000 + delay, entry(id, 0));
            }
            let is_needed = |entry: Entry| entry.message().to_bits().is_multiple_of(3);
            for _ in 0..20 {
                agenda.prune_some(is_needed);
            }
            let mut left: Vec<_> = agenda.iter().map(|(_, entry)| entry.message().to_bits()).collect();
            left.sort_unstable();
            let expected: Vec<_> = (0..delays.len() as u64).step_by(3).collect();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn ten_million_with_one_delay_take_little_room() {
        let mut agenda = Agenda::default();
        for id in 0..10_000_000 {
            agenda.insert(60_000 + id / 1000, entry(id, 0));
        }
        let bytes: usize = agenda.buckets.values().map(|it| it.bytes.capacity()).sum();
        assert!(bytes < 200_000, "{bytes}");
    }

    #[test]
    fn a_million_with_any_delay_take_a_few_bytes_each() {
        let mut agenda = Agenda::default();
        for id in 0..1_000_000u64 {
            let delay = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 42;
            agenda.insert(delay, entry(id, 0));
        }
        let bytes: usize = agenda.buckets.values().map(|it| it.bytes.len()).sum();
        assert!(bytes < 5_000_000, "{bytes}");
    }
}
