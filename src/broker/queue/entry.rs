//! What a queue keeps of a message.

use crate::broker::message::MessageId;

/// A message in a queue: which one, its priority there, and whether it may have been delivered before.
/// Within one priority, entries are in order of arrival.
///
/// ```text
///   priority (8 bits) | id (55 bits) | redelivered (1 bit)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry(u64);

impl Entry {
    pub fn new(message: MessageId) -> Self {
        Entry(message.to_bits() << 1)
    }

    pub fn with_priority(message: MessageId, priority: u8) -> Self {
        Entry(u64::from(priority) << PRIORITY_SHIFT | message.to_bits() << 1)
    }

    #[inline]
    pub fn message(self) -> MessageId {
        MessageId::from_bits(self.0 >> 1 & MessageId::MAX)
    }

    /// RabbitMQ: `x-max-priority`; zero in a queue without priorities.
    #[inline]
    pub fn priority(self) -> u8 {
        (self.0 >> PRIORITY_SHIFT) as u8
    }

    pub fn redelivered(self) -> bool {
        self.0 & 1 == 1
    }

    pub fn as_redelivered(self) -> Self {
        Entry(self.0 | 1)
    }

    /// The same message at its place, delivered before or not.
    pub fn to_place(self) -> u64 {
        self.0 >> 1
    }

    /// Of two messages, the one with the lesser rank is delivered first.
    pub fn rank(self) -> u64 {
        self.to_place() ^ HIGHEST_FIRST
    }

    /// From [`Entry::rank`], as never delivered.
    pub fn from_rank(rank: u64) -> Self {
        Entry::from_place(rank ^ HIGHEST_FIRST)
    }

    /// From [`Entry::to_place`], as never delivered.
    pub fn from_place(place: u64) -> Self {
        Entry(place << 1)
    }
}

const PRIORITY_SHIFT: u32 = 56;
/// Turns the order of priorities in a place around.
const HIGHEST_FIRST: u64 = 0xff << (PRIORITY_SHIFT - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_entry_do_not_mix() {
        let last = MessageId::from_bits(MessageId::MAX);
        for (message, priority) in [(MessageId::from_bits(0), 255), (last, 0), (last, 255)] {
            let entry = Entry::with_priority(message, priority);
            assert_eq!((entry.message(), entry.priority()), (message, priority));
            assert!(!entry.redelivered() && entry.as_redelivered().redelivered());
            assert_eq!(entry.as_redelivered().message(), message);
            assert_eq!(entry.as_redelivered().priority(), priority);
            assert_eq!(Entry::from_place(entry.as_redelivered().to_place()), entry);
            assert_eq!(Entry::from_rank(entry.as_redelivered().rank()), entry);
        }
    }

    #[test]
    fn ranks_are_the_order_of_delivery() {
        let ranks = [(7, 255), (9, 255), (1, 1), (0, 0), (3, 0)]
            .map(|(id, priority)| Entry::with_priority(MessageId::from_bits(id), priority).rank());
        assert!(ranks.is_sorted());
    }
}
