//! The messages of a queue that nobody holds, in order of arrival.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::message::MessageId;

/// A message in a queue: which one, and whether it may have been delivered before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry(u64);

impl Entry {
    pub fn new(message: MessageId) -> Self {
        Entry(message.to_bits() << 1)
    }

    pub fn message(self) -> MessageId {
        MessageId::from_bits(self.0 >> 1)
    }

    pub fn redelivered(self) -> bool {
        self.0 & 1 == 1
    }

    pub fn as_redelivered(self) -> Self {
        Entry(self.0 | 1)
    }
}

/// Messages ready for delivery.
///
/// New messages go behind `arrived`; since ids grow it is sorted. What comes back goes to `returned`
/// and is merged on the way out: the next message is the smaller of both heads, which puts a requeued
/// message back in its place whatever was delivered meanwhile.
#[derive(Default)]
pub struct Ready {
    arrived: VecDeque<Entry>,
    returned: BTreeSet<Entry>,
}

impl Ready {
    pub fn len(&self) -> usize {
        self.arrived.len() + self.returned.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.returned.is_empty()
    }

    /// `message` arrived later than everything that was ever pushed here.
    #[inline]
    pub fn push(&mut self, message: MessageId) {
        let entry = Entry::new(message);
        debug_assert!(self.arrived.back().is_none_or(|last| *last < entry));
        self.arrived.push_back(entry);
    }

    /// Puts a message back to its place.
    pub fn put_back(&mut self, entry: Entry) {
        self.returned.insert(entry);
    }

    #[inline]
    pub fn peek(&self) -> Option<Entry> {
        let arrived = self.arrived.front();
        if self.returned.is_empty() {
            return arrived.copied();
        }
        let returned = self.returned.first();
        arrived.into_iter().chain(returned).min().copied()
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Entry> {
        if !self.returned.is_empty() {
            let first = self.peek();
            if first == self.returned.first().copied() {
                return self.returned.pop_first();
            }
        }
        let entry = self.arrived.pop_front();
        if self.arrived.is_empty() && self.arrived.capacity() > KEPT_CAPACITY {
            self.arrived = VecDeque::new();
        }
        entry
    }

    /// In order of delivery.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        let mut arrived = self.arrived.iter().copied().peekable();
        let mut returned = self.returned.iter().copied().peekable();
        std::iter::from_fn(move || match (arrived.peek(), returned.peek()) {
            (Some(new), Some(old)) if old < new => returned.next(),
            (None, _) => returned.next(),
            _ => arrived.next(),
        })
    }
}

/// An emptied queue keeps room for this many entries; more goes back.
const KEPT_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::from_bits(n)
    }

    fn order(ready: &Ready) -> Vec<u64> {
        ready
            .iter()
            .map(|entry| entry.message().to_bits())
            .collect()
    }

    #[test]
    fn what_comes_back_takes_its_old_place() {
        let mut ready = Ready::default();
        (1..=6).for_each(|n| ready.push(id(n)));
        let taken: Vec<_> = (0..4).map(|_| ready.pop().unwrap()).collect();
        ready.put_back(taken[2].as_redelivered());
        ready.put_back(taken[0].as_redelivered());
        ready.push(id(7));
        assert_eq!(order(&ready), [1, 3, 5, 6, 7]);
        assert_eq!(ready.len(), 5);
        let mut popped = Vec::new();
        while let Some(entry) = ready.pop() {
            popped.push((entry.message().to_bits(), entry.redelivered()));
        }
        assert_eq!(
            popped,
            [(1, true), (3, true), (5, false), (6, false), (7, false)]
        );
        assert!(ready.is_empty());
    }
}
