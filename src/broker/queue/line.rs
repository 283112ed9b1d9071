//! Messages of one priority in a queue, in order of arrival.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::message::MessageId;

use super::entry::Entry;
use super::id_set::IdSet;
use super::packed::PackedIds;

/// Messages that nobody holds.
///
/// New messages go behind `back` and are taken from `front`; since ids grow, both and what lies between
/// them are sorted. The middle of a deep queue is packed to about a byte for each message or less.
/// What comes back goes to `returned` and is merged on the way out: the next message is the smaller of
/// both heads, which puts a requeued message back in its place whatever was delivered meanwhile.
///
/// A message can be taken out anywhere (it expired). From the middle, which is not unpacked for that, it
/// goes by being noted as gone.
#[derive(Default)]
pub struct Line {
    priority: u8,
    front: VecDeque<Entry>,
    middle: PackedIds,
    /// Those in the middle that are not in the queue any more.
    gone: IdSet,
    /// Those in the middle that may have been delivered before the broker was stopped, and perhaps ids
    /// that are not in the queue.
    flagged: PackedIds,
    back: VecDeque<Entry>,
    returned: BTreeSet<Entry>,
    /// Messages up to this one may have been delivered by a broker that ended unexpectedly.
    redelivered_up_to: Option<MessageId>,
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub entry: Entry,
    /// It is not gone.
    pub is_here: bool,
}

impl Step {
    pub fn to(entry: &Entry) -> Step {
        Step {
            entry: *entry,
            is_here: true,
        }
    }
}

/// Both, which are ascending, in one order.
pub fn merged(
    one: impl Iterator<Item = Step>,
    other: impl Iterator<Item = Step>,
) -> impl Iterator<Item = Step> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if b.entry < a.entry => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

impl Line {
    pub fn new(priority: u8) -> Self {
        Line {
            priority,
            ..Line::default()
        }
    }

    /// The messages that a queue had when the broker was stopped. Those up to `redelivered_up_to`, and
    /// those in `redelivered`, may have been delivered. There may be others in `redelivered`, transient
    /// ones for example: what did not survive is not in the queue, and its id may be given again.
    pub fn recovered(
        priority: u8,
        messages: PackedIds,
        redelivered: PackedIds,
        redelivered_up_to: Option<MessageId>,
    ) -> Self {
        Line {
            priority,
            middle: messages,
            flagged: redelivered,
            redelivered_up_to,
            ..Line::default()
        }
    }

    pub fn len(&self) -> usize {
        self.front.len() + self.middle.len() - self.gone.len()
            + self.back.len()
            + self.returned.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message arrived later than everything that was ever pushed here.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
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

    /// Whether the message is here. It must have been pushed or put back here at some time.
    pub fn contains(&self, message: MessageId) -> bool {
        let arrived = |entries: &VecDeque<Entry>| {
            let place = entries.binary_search_by_key(&message, |entry| entry.message());
            place.is_ok()
        };
        arrived(&self.front)
            || arrived(&self.back)
            || self.has_in_middle(message)
            || self.returned_entry(message).is_some()
    }

    /// Takes the message out, wherever it stands; none if it is not here any more. It must have been
    /// pushed or put back here at some time.
    pub fn remove(&mut self, message: MessageId) -> Option<Entry> {
        // What expires is mostly the oldest.
        if self.peek().is_some_and(|next| next.message() == message) {
            return self.pop();
        }
        if let Some(entry) = self.returned_entry(message) {
            self.returned.remove(&entry);
            return Some(entry);
        }
        for entries in [&mut self.front, &mut self.back] {
            if let Ok(at) = entries.binary_search_by_key(&message, |entry| entry.message()) {
                return entries.remove(at);
            }
        }
        if !self.has_in_middle(message) {
            return None;
        }
        self.gone.insert(message);
        // Whether it was delivered is not looked up for one that nobody will get.
        Some(self.entry(message, false))
    }

    fn returned_entry(&self, message: MessageId) -> Option<Entry> {
        if self.returned.is_empty() {
            return None;
        }
        let entry = Entry::with_priority(message, self.priority);
        let both = [entry, entry.as_redelivered()];
        both.into_iter().find(|entry| self.returned.contains(entry))
    }

    /// All that lies between the ends of the middle is in it, of what was ever pushed.
    fn has_in_middle(&self, message: MessageId) -> bool {
        let (first, last) = (self.middle.first(), self.middle.last());
        first.is_some_and(|first| first <= message)
            && last.is_some_and(|last| message <= last)
            && !self.gone.contains(message)
    }

    /// In order of delivery.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        let steps = self.steps_from(MessageId::from_bits(0));
        steps.filter_map(|step| step.is_here.then_some(step.entry))
    }

    /// Those from this one on, in order of delivery, and places between them that are empty by now.
    pub fn steps_from(&self, first: MessageId) -> impl Iterator<Item = Step> {
        let start =
            |entries: &VecDeque<Entry>| entries.partition_point(|entry| entry.message() < first);
        let mut flagged = self.flagged.iter_from(first).peekable();
        let middle = self.middle.iter_from(first).map(move |message| {
            while flagged.next_if(|it| *it < message).is_some() {}
            Step {
                entry: self.entry(message, flagged.next_if_eq(&message).is_some()),
                is_here: !self.gone.contains(message),
            }
        });
        let front = self.front.range(start(&self.front)..).map(Step::to);
        let back = self.back.range(start(&self.back)..).map(Step::to);
        let arrived = front.chain(middle).chain(back);
        let first = Entry::with_priority(first, self.priority);
        merged(arrived, self.returned.range(first..).map(Step::to))
    }

    fn refill(&mut self) {
        if self.middle.len() == self.gone.len() {
            if !self.middle.is_empty() {
                self.middle = PackedIds::default();
                self.gone = IdSet::default();
                self.flagged = PackedIds::default();
            }
            std::mem::swap(&mut self.front, &mut self.back);
            if self.back.capacity() > KEPT_CAPACITY {
                self.back = VecDeque::new();
            }
            return;
        }
        while self.front.len() < PACKED_AT_ONCE {
            let Some(message) = self.middle.pop() else {
                break;
            };
            let is_flagged = self.take_flagged(message);
            if self.gone.remove(message) {
                continue;
            }
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
        let entry = Entry::with_priority(message, self.priority);
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

    fn order(line: &Line) -> Vec<u64> {
        line.iter().map(|entry| entry.message().to_bits()).collect()
    }

    #[test]
    fn a_deep_queue_is_in_order_and_small() {
        let mut line = Line::default();
        (0..100_000).for_each(|n| line.push(Entry::new(id(n))));
        assert_eq!(line.len(), 100_000);
        assert!(line.front.len() + line.back.len() < 2 * PACKED_AT_ONCE);
        assert!(line.middle.size() < 300);
        assert!(order(&line).into_iter().eq(0..100_000));
        for n in 0..50_000 {
            assert_eq!(line.pop().map(|entry| entry.message()), Some(id(n)));
            line.push(Entry::new(id(100_000 + n)));
        }
        assert!(order(&line).into_iter().eq(50_000..150_000));
    }

    #[test]
    fn a_line_can_be_read_from_any_place() {
        let mut line = Line::default();
        (0..20_000).for_each(|n| line.push(Entry::new(id(3 * n))));
        let taken: Vec<_> = (0..2_000).map(|_| line.pop().unwrap()).collect();
        taken[100..110].iter().for_each(|it| line.put_back(*it));
        for n in 9_000..9_500 {
            let _ = line.remove(id(3 * n));
        }
        let all = order(&line);
        assert_eq!(all.len(), line.len());
        for first in [0, 301, 5_999, 6_000, 27_001, 58_400, 59_997, 60_000] {
            let steps = line.steps_from(id(first)).filter(|step| step.is_here);
            let found = steps.map(|step| step.entry.message().to_bits());
            assert!(
                found.eq(all.iter().copied().filter(|n| *n >= first)),
                "{first}"
            );
        }
    }

    #[test]
    fn a_recovered_queue_knows_what_may_have_been_delivered() {
        let messages: PackedIds = [1, 4, 5, 9].map(id).into_iter().collect();
        let flags = |line: &Line| -> Vec<_> {
            let entries = line.iter();
            entries
                .map(|entry| (entry.message().to_bits(), entry.redelivered()))
                .collect()
        };
        let some: PackedIds = [4, 9].map(id).into_iter().collect();
        let mut clean = Line::recovered(0, messages.clone(), some, None);
        assert_eq!(
            flags(&clean),
            [(1, false), (4, true), (5, false), (9, true)]
        );
        assert_eq!(clean.len(), 4);
        assert_eq!(clean.pop().map(|entry| entry.message()), Some(id(1)));
        assert_eq!(flags(&clean), [(4, true), (5, false), (9, true)]);
        let with_others: PackedIds = [0, 4, 6, 9, 12].map(id).into_iter().collect();
        let others = Line::recovered(0, messages.clone(), with_others, None);
        assert_eq!(
            flags(&others),
            [(1, false), (4, true), (5, false), (9, true)]
        );
        let crashed = Line::recovered(0, messages, PackedIds::default(), Some(id(5)));
        assert_eq!(
            flags(&crashed),
            [(1, true), (4, true), (5, true), (9, false)]
        );
    }

    #[test]
    fn what_comes_back_takes_its_old_place() {
        let mut line = Line::default();
        (1..=6).for_each(|n| line.push(Entry::new(id(n))));
        let taken: Vec<_> = (0..4).map(|_| line.pop().unwrap()).collect();
        line.put_back(taken[2].as_redelivered());
        line.put_back(taken[0].as_redelivered());
        line.push(Entry::new(id(7)));
        assert_eq!(order(&line), [1, 3, 5, 6, 7]);
        assert_eq!(line.len(), 5);
        let mut popped = Vec::new();
        while let Some(entry) = line.pop() {
            popped.push((entry.message().to_bits(), entry.redelivered()));
        }
        assert_eq!(
            popped,
            [(1, true), (3, true), (5, false), (6, false), (7, false)]
        );
        assert!(line.is_empty());
    }
}
