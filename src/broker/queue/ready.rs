//! The messages of a queue that nobody holds, in order of arrival.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::message::MessageId;

use super::packed::PackedIds;

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
/// New messages go behind `back` and are taken from `front`; since ids grow, both and what lies between
/// them are sorted. The middle of a deep queue is packed to about a byte for each message or less.
/// What comes back goes to `returned` and is merged on the way out: the next message is the smaller of
/// both heads, which puts a requeued message back in its place whatever was delivered meanwhile.
#[derive(Default)]
pub struct Ready {
    front: VecDeque<Entry>,
    middle: PackedIds,
    /// Those in the middle that may have been delivered before the broker was stopped, and perhaps ids
    /// that are not in the queue.
    flagged: PackedIds,
    back: VecDeque<Entry>,
    returned: BTreeSet<Entry>,
    /// Messages up to this one may have been delivered by a broker that ended unexpectedly.
    redelivered_up_to: Option<MessageId>,
}

impl Ready {
    /// The messages that a queue had when the broker was stopped. Those up to `redelivered_up_to`, and
    /// those in `redelivered`, may have been delivered. There may be others in `redelivered`, transient
    /// ones for example: what did not survive is not in the queue, and its id may be given again.
    pub fn recovered(
        messages: PackedIds,
        redelivered: PackedIds,
        redelivered_up_to: Option<MessageId>,
    ) -> Self {
        Ready {
            middle: messages,
            flagged: redelivered,
            redelivered_up_to,
            ..Ready::default()
        }
    }

    pub fn len(&self) -> usize {
        self.front.len() + self.middle.len() + self.back.len() + self.returned.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `message` arrived later than everything that was ever pushed here.
    #[inline]
    pub fn push(&mut self, message: MessageId) {
        let entry = Entry::new(message);
        debug_assert!(self.back.back().is_none_or(|last| *last < entry));
        self.back.push_back(entry);
        if self.back.len() >= 2 * PACKED_AT_ONCE {
            let deep = self.back.drain(..PACKED_AT_ONCE);
            self.middle.extend(deep.map(Entry::message));
        }
    }

    /// Puts a message back to its place.
    pub fn put_back(&mut self, entry: Entry) {
        self.returned.insert(entry);
    }

    /// The next message. (`mut`, since it may have to be unpacked.)
    #[inline]
    pub fn peek(&mut self) -> Option<Entry> {
        if self.front.is_empty() {
            self.refill();
        }
        let arrived = self.front.front();
        if self.returned.is_empty() {
            return arrived.copied();
        }
        let returned = self.returned.first();
        arrived.into_iter().chain(returned).min().copied()
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Entry> {
        let next = self.peek()?;
        if self.front.front() == Some(&next) {
            self.front.pop_front();
        } else {
            self.returned.pop_first();
        }
        Some(next)
    }

    /// In order of delivery.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        let mut flagged = self.flagged.iter().peekable();
        let middle = self.middle.iter().map(move |message| {
            while flagged.next_if(|it| *it < message).is_some() {}
            self.entry(message, flagged.next_if_eq(&message).is_some())
        });
        let arrived = self.front.iter().copied().chain(middle);
        let mut arrived = arrived.chain(self.back.iter().copied()).peekable();
        let mut returned = self.returned.iter().copied().peekable();
        std::iter::from_fn(move || match (arrived.peek(), returned.peek()) {
            (Some(new), Some(old)) if old < new => returned.next(),
            (None, _) => returned.next(),
            _ => arrived.next(),
        })
    }

    /// Those that may have been delivered before.
    pub fn redelivered(&self) -> PackedIds {
        let entries = self.iter().filter(|entry| entry.redelivered());
        entries.map(Entry::message).collect()
    }

    fn refill(&mut self) {
        if self.middle.is_empty() {
            std::mem::swap(&mut self.front, &mut self.back);
            if self.back.capacity() > KEPT_CAPACITY {
                self.back = VecDeque::new();
            }
            return;
        }
        for _ in 0..PACKED_AT_ONCE {
            let Some(message) = self.middle.pop() else {
                break;
            };
            let is_flagged = self.take_flagged(message);
            let entry = self.entry(message, is_flagged);
            self.front.push_back(entry);
        }
    }

    /// Whether the next of the middle is flagged; also forgets flags before it.
    fn take_flagged(&mut self, message: MessageId) -> bool {
        while let Some(flagged) = self.flagged.first().filter(|first| *first <= message) {
            self.flagged.pop();
            if flagged == message {
                return true;
            }
        }
        false
    }

    fn entry(&self, message: MessageId, is_flagged: bool) -> Entry {
        let entry = Entry::new(message);
        if is_flagged || self.redelivered_up_to.is_some_and(|last| message <= last) {
            entry.as_redelivered()
        } else {
            entry
        }
    }
}

/// Entries packed or unpacked in one go.
const PACKED_AT_ONCE: usize = 512;
/// An emptied queue keeps room for this many entries; more goes back.
const KEPT_CAPACITY: usize = 64;

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
    fn a_deep_queue_is_in_order_and_small() {
        let mut ready = Ready::default();
        (0..100_000).for_each(|n| ready.push(id(n)));
        assert_eq!(ready.len(), 100_000);
        assert!(ready.front.len() + ready.back.len() < 2 * PACKED_AT_ONCE);
        assert!(ready.middle.size() < 300);
        assert!(order(&ready).into_iter().eq(0..100_000));
        for n in 0..50_000 {
            assert_eq!(ready.pop().map(|entry| entry.message()), Some(id(n)));
            ready.push(id(100_000 + n));
        }
        assert!(order(&ready).into_iter().eq(50_000..150_000));
    }

    #[test]
    fn a_recovered_queue_knows_what_may_have_been_delivered() {
        let messages: PackedIds = [1, 4, 5, 9].map(id).into_iter().collect();
        let flags = |ready: &Ready| -> Vec<_> {
            let entries = ready.iter();
            entries
                .map(|entry| (entry.message().to_bits(), entry.redelivered()))
                .collect()
        };
        let some: PackedIds = [4, 9].map(id).into_iter().collect();
        let mut clean = Ready::recovered(messages.clone(), some, None);
        assert_eq!(
            flags(&clean),
            [(1, false), (4, true), (5, false), (9, true)]
        );
        assert_eq!(clean.len(), 4);
        assert_eq!(clean.pop().map(|entry| entry.message()), Some(id(1)));
        assert_eq!(flags(&clean), [(4, true), (5, false), (9, true)]);
        let with_others: PackedIds = [0, 4, 6, 9, 12].map(id).into_iter().collect();
        let others = Ready::recovered(messages.clone(), with_others, None);
        assert_eq!(
            flags(&others),
            [(1, false), (4, true), (5, false), (9, true)]
        );
        let crashed = Ready::recovered(messages, PackedIds::default(), Some(id(5)));
        assert_eq!(
            flags(&crashed),
            [(1, true), (4, true), (5, true), (9, false)]
        );
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
