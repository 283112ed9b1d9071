//! The messages of a queue that nobody holds: highest priority first, and within one in order of arrival.

use crate::broker::message::MessageId;

use super::entry::Entry;
use super::groups::Group;
use super::line::{Line, Step, merged};
use super::packed::PackedIds;
use super::set_aside::SetAside;

/// Messages ready for delivery.
///
/// A [`Line`] for each priority; whatever the number of priorities, the next message is found by one
/// look at a bitmap of those that have any. A queue without priorities has but the one line. In a queue
/// with groups, messages of busy ones stand aside; they are ready all the same, but not the next.
#[derive(Default)]
pub struct Ready {
    plain: Line,
    rare: Option<Box<Rare>>,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// What few queues have.
#[derive(Default)]
struct Rare {
    urgent: Urgent,
    aside: SetAside,
}

/// Priorities above zero, as far as messages have come with them.
#[derive(Default)]
struct Urgent {
    /// From priority 1 on.
    lines: Vec<Line>,
    /// A bit for each line with messages.
    occupied: [u64; 4],
    len: usize,
}

impl Ready {
    /// The messages of one priority that a queue had when the broker was stopped. Those up to
    /// `redelivered_up_to`, and those in `redelivered`, may have been delivered. There may be others in
    /// `redelivered`, transient ones for example: what did not survive is not in the queue, and its id
    /// may be given again.
    pub fn recover(
        &mut self,
        priority: u8,
        messages: PackedIds,
        redelivered: PackedIds,
        redelivered_up_to: Option<MessageId>,
    ) {
        let recovered = Line::recovered(priority, messages, redelivered, redelivered_up_to);
        match priority {
            0 => self.plain = recovered,
            _ => {
                let any = Entry::with_priority(MessageId::from_bits(0), priority);
                self.rare().urgent.change(any, |line| *line = recovered);
            }
        }
    }

    pub fn len(&self) -> usize {
        let rare = self.rare.as_ref();
        self.plain.len() + rare.map_or(0, |rare| rare.urgent.len + rare.aside.len())
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message arrived later than everything that was ever pushed here.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        match entry.priority() {
            0 => self.plain.push(entry),
            _ => self.rare().urgent.push(entry),
        }
    }

    /// Puts a message back to its place.
    pub fn put_back(&mut self, entry: Entry) {
        match entry.priority() {
            0 => self.plain.put_back(entry),
            _ => (self.rare().urgent).change(entry, |line| line.put_back(entry)),
        }
    }

    /// The next message. (`mut`, since it may have to be unpacked.)
    #[inline]
    pub fn peek(&mut self) -> Option<Entry> {
        match &mut self.rare {
            None => self.plain.peek(),
            Some(rare) => {
                let arrived = rare.peek_line(&mut self.plain);
                first_of(arrived, rare.aside.next())
            }
        }
    }

    /// Whether there is a next one, or may be.
    pub fn has_next(&self) -> bool {
        !self.plain.is_empty()
            || self
                .rare
                .as_ref()
                .is_some_and(|rare| rare.urgent.len > 0 || rare.aside.has_next())
    }

    /// Takes [`Ready::peek`].
    #[inline]
    pub fn pop(&mut self) -> Option<Entry> {
        let Some(rare) = &mut self.rare else {
            return self.plain.pop();
        };
        let waiting = rare.aside.next();
        let next = first_of(rare.peek_line(&mut self.plain), waiting);
        match waiting {
            Some(_) if waiting == next => rare.aside.pop_next(),
            _ => rare.pop_line(&mut self.plain),
        }
    }

    /// Takes the first of all, also one that stands aside.
    pub fn pop_any(&mut self) -> Option<Entry> {
        let Some(rare) = &mut self.rare else {
            return self.plain.pop();
        };
        let waiting = rare.aside.first();
        let first = first_of(rare.peek_line(&mut self.plain), waiting);
        match waiting {
            Some(waiting) if Some(waiting) == first => rare.aside.remove(waiting),
            _ => rare.pop_line(&mut self.plain),
        }
    }

    /// The next message, which [`Ready::peek`] told, may not go before its group is free.
    pub fn set_aside(&mut self, group: Group) {
        let rare = self.rare.get_or_insert_default();
        if let Some(entry) = rare.pop_line(&mut self.plain) {
            rare.aside.push(entry, group);
        }
    }

    /// The group is busy from here on.
    pub fn hold(&mut self, group: Group) {
        if let Some(rare) = &mut self.rare {
            rare.aside.hold(group);
        }
    }

    /// The group is free: its messages may go.
    pub fn release(&mut self, group: Group) {
        if let Some(rare) = &mut self.rare {
            rare.aside.release(group);
        }
    }

    /// Nothing will be delivered from here: groups mean nothing any more.
    pub fn disband(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.aside.disband();
        }
    }

    /// Whether the message is here. It must have been pushed or put back here at some time.
    pub fn contains(&self, entry: Entry) -> bool {
        let line = self.line(entry.priority());
        let rare = self.rare.as_ref();
        line.is_some_and(|line| line.contains(entry.message()))
            || rare.is_some_and(|rare| rare.aside.contains(entry))
    }

    /// Takes the message out, wherever it stands; none if it is not here any more. It must have been
    /// pushed or put back here at some time. Whether it was delivered before may not be told.
    pub fn remove(&mut self, entry: Entry) -> Option<Entry> {
        if let Some(rare) = &mut self.rare
            && let Some(removed) = rare.aside.remove(entry)
        {
            return Some(removed);
        }
        match entry.priority() {
            0 => self.plain.remove(entry.message()),
            _ => (self.rare().urgent).change(entry, |line| line.remove(entry.message())),
        }
    }

    /// In order of delivery, after those that stand aside.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        let rare = || self.rare.iter();
        let aside = rare().flat_map(|rare| rare.aside.iter());
        let lines = rare().flat_map(|rare| rare.urgent.lines.iter().rev());
        aside.chain(lines.chain([&self.plain]).flat_map(Line::iter))
    }

    /// Those from this place on, in order of delivery but for what stands aside, which is at its place
    /// too; and places that are empty by now.
    pub fn steps_from(&self, first: Entry) -> impl Iterator<Item = Step> {
        (0..=first.priority()).rev().flat_map(move |priority| {
            let first = match priority == first.priority() {
                true => first,
                false => Entry::with_priority(MessageId::from_bits(0), priority),
            };
            let line = self.line(priority).into_iter();
            let line = line.flat_map(move |line| line.steps_from(first.message()));
            let aside = self.rare.iter();
            let aside = aside.flat_map(move |rare| rare.aside.iter_from(first));
            merged(line, aside.map(|entry| Step::to(&entry)))
        })
    }

    /// Those that may have been delivered before, ascending.
    pub fn redelivered(&self) -> PackedIds {
        let entries = self.iter().filter(|entry| entry.redelivered());
        if self.rare.is_none() {
            return entries.map(Entry::message).collect();
        }
        let mut ids: Vec<_> = entries.map(Entry::message).collect();
        ids.sort_unstable();
        ids.into_iter().collect()
    }

    fn line(&self, priority: u8) -> Option<&Line> {
        match priority {
            0 => Some(&self.plain),
            _ => {
                let lines = &self.rare.as_ref()?.urgent.lines;
                lines.get(usize::from(priority) - 1)
            }
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl Rare {
    /// The first that does not stand aside; `plain` has those of priority zero.
    fn peek_line(&mut self, plain: &mut Line) -> Option<Entry> {
        match self.urgent.len {
            0 => plain.peek(),
            _ => self.urgent.peek(),
        }
    }

    fn pop_line(&mut self, plain: &mut Line) -> Option<Entry> {
        if self.urgent.len == 0 {
            return plain.pop();
        }
        self.urgent.pop()
    }
}

/// Of two messages at most, the one to be delivered first.
fn first_of(one: Option<Entry>, other: Option<Entry>) -> Option<Entry> {
    one.into_iter().chain(other).min_by_key(|it| it.rank())
}

impl Urgent {
    fn peek(&mut self) -> Option<Entry> {
        let at = self.highest()?;
        self.lines[at].peek()
    }

    fn push(&mut self, entry: Entry) {
        let at = self.place(entry);
        self.lines[at].push(entry);
        self.len += 1;
        self.occupied[at / 64] |= 1 << (at % 64);
    }

    fn pop(&mut self) -> Option<Entry> {
        let at = self.highest()?;
        let line = &mut self.lines[at];
        let entry = line.pop()?;
        self.len -= 1;
        if line.is_empty() {
            self.occupied[at / 64] &= !(1 << (at % 64));
        }
        Some(entry)
    }

    /// The line of the highest priority with messages.
    #[inline]
    fn highest(&self) -> Option<usize> {
        let word = self.occupied.iter().rposition(|word| *word != 0)?;
        Some(64 * word + self.occupied[word].ilog2() as usize)
    }

    /// The line of the entry's priority.
    #[inline]
    fn place(&mut self, entry: Entry) -> usize {
        let at = usize::from(entry.priority()) - 1;
        for priority in self.lines.len()..=at {
            self.lines.push(Line::new(priority as u8 + 1));
        }
        at
    }

    /// Does something to the line of the entry's priority.
    fn change<T>(&mut self, entry: Entry, act: impl FnOnce(&mut Line) -> T) -> T {
        let at = self.place(entry);
        let line = &mut self.lines[at];
        self.len -= line.len();
        let result = act(line);
        self.len += line.len();
        let bit = 1 << (at % 64);
        if line.is_empty() {
            self.occupied[at / 64] &= !bit;
        } else {
            self.occupied[at / 64] |= bit;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, priority: u8) -> Entry {
        Entry::with_priority(MessageId::from_bits(id), priority)
    }

    fn drain(ready: &mut Ready) -> Vec<(u64, u8)> {
        let entries = std::iter::from_fn(|| ready.pop());
        entries
            .map(|entry| (entry.message().to_bits(), entry.priority()))
            .collect()
    }

    #[test]
    fn the_highest_priority_comes_first_and_the_oldest_within_it() {
        let mut ready = Ready::default();
        let priorities = [0, 255, 3, 0, 64, 3, 65, 255];
        for (id, priority) in (0..).zip(priorities) {
            ready.push(entry(id, priority));
        }
        assert_eq!(ready.len(), priorities.len());
        let order = [(1, 255), (7, 255), (6, 65), (4, 64)];
        let rest = [(2, 3), (5, 3), (0, 0), (3, 0)];
        let all = [order, rest].concat();
        let listed: Vec<_> = ready
            .iter()
            .map(|entry| (entry.message().to_bits(), entry.priority()))
            .collect();
        assert_eq!(listed, all);
        for (at, (id, priority)) in all.iter().copied().enumerate() {
            let steps = ready.steps_from(entry(id, priority));
            let found = steps.map(|step| (step.entry.message().to_bits(), step.entry.priority()));
            assert!(found.eq(all[at..].iter().copied()));
        }
        assert_eq!(drain(&mut ready), all);
        assert!(ready.is_empty());
    }

    #[test]
    fn a_requeued_message_goes_to_its_place_in_its_priority() {
        let mut ready = Ready::default();
        for id in 0..4 {
            ready.push(entry(id, (id % 2) as u8));
        }
        let taken = [ready.pop(), ready.pop(), ready.pop()].map(Option::unwrap);
        for entry in taken {
            ready.put_back(entry.as_redelivered());
        }
        assert_eq!(drain(&mut ready), [(1, 1), (3, 1), (0, 0), (2, 0)]);
    }

    #[test]
    fn a_message_can_be_taken_out_anywhere_and_once() {
        let mut ready = Ready::default();
        for id in 0..5_000 {
            ready.push(entry(id, 7 * (id % 2) as u8));
        }
        for id in (0..5_000).filter(|id| id % 10 < 4) {
            let entry = entry(id, 7 * (id % 2) as u8);
            assert!(ready.contains(entry));
            assert_eq!(ready.remove(entry), Some(entry));
            assert!(!ready.contains(entry));
            assert_eq!(ready.remove(entry), None, "twice");
        }
        assert_eq!(ready.len(), 3_000);
        let left = drain(&mut ready);
        assert_eq!(left.len(), 3_000);
        assert!(left.iter().all(|(id, _)| id % 10 >= 4));
    }
}
