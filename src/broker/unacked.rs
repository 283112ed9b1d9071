//! Deliveries that wait for their ack, one ring per channel.

use std::collections::VecDeque;

use super::consumer::ConsumerKey;
use super::queue::{Entry, QueueKey};

/// A message that a client holds.
#[derive(Clone, Copy, Debug)]
pub struct Unacked {
    pub delivery_tag: u64,
    pub entry: Entry,
    pub queue: QueueKey,
    /// Who got it; `Key::NONE` for `basic.get`.
    pub consumer: ConsumerKey,
    /// As the queue counts it among its unacked bytes.
    pub body_size: u32,
    /// It was settled, and only its place is left in the ring.
    hole: bool,
}

impl Unacked {
    #[inline(always)]
    pub fn new(
        delivery_tag: u64,
        entry: Entry,
        (queue, consumer): (QueueKey, ConsumerKey),
        body_size: u32,
    ) -> Self {
        Unacked {
            delivery_tag,
            entry,
            queue,
            consumer,
            body_size,
            hole: false,
        }
    }
}

/// Unacked deliveries by delivery tag, which only grows. Acks mostly come from the front; one from
/// the middle leaves a hole that goes when the front reaches it or when holes prevail.
#[derive(Default)]
pub struct UnackedRing {
    ring: VecDeque<Unacked>,
    holes: usize,
}

impl UnackedRing {
    /// Deliveries waiting.
    pub fn len(&self) -> usize {
        self.ring.len() - self.holes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Delivery tags must come in increasing order.
    #[inline]
    pub fn push(&mut self, unacked: Unacked) {
        debug_assert!(
            self.ring
                .back()
                .is_none_or(|last| last.delivery_tag < unacked.delivery_tag)
        );
        self.ring.push_back(unacked);
    }

    pub fn contains(&self, delivery_tag: u64) -> bool {
        self.position(delivery_tag).is_some()
    }

    /// Takes out the delivery with this tag.
    #[inline]
    pub fn take(&mut self, delivery_tag: u64) -> Option<Unacked> {
        let at = self.position(delivery_tag)?;
        let unacked = self.ring[at];
        if at == 0 {
            self.ring.pop_front();
            self.trim();
        } else {
            self.ring[at].hole = true;
            self.holes += 1;
            if self.holes > 32 && self.holes > self.ring.len() / 2 {
                self.ring.retain(|slot| !slot.hole);
                self.holes = 0;
            }
        }
        Some(unacked)
    }

    /// Takes out the oldest delivery if its tag is at most `delivery_tag`.
    #[inline]
    pub fn take_oldest(&mut self, delivery_tag: u64) -> Option<Unacked> {
        // Holes never stand at the front.
        if self.ring.front()?.delivery_tag > delivery_tag {
            return None;
        }
        let unacked = self.ring.pop_front();
        self.trim();
        unacked
    }

    /// Takes out all deliveries to the consumer, in their order.
    pub fn take_all_of(&mut self, consumer: ConsumerKey) -> Vec<Unacked> {
        let mut taken = Vec::new();
        self.ring.retain(|slot| {
            let is_wanted = !slot.hole && slot.consumer == consumer;
            if is_wanted {
                taken.push(*slot);
            }
            !slot.hole && !is_wanted
        });
        self.holes = 0;
        taken
    }

    /// Puts deliveries back that were taken out (a rolled back transaction's acks).
    pub fn restore(&mut self, taken: impl IntoIterator<Item = Unacked>) {
        self.ring.retain(|slot| !slot.hole);
        self.holes = 0;
        self.ring.extend(taken);
        self.ring
            .make_contiguous()
            .sort_by_key(|slot| slot.delivery_tag);
    }

    /// In order of delivery.
    pub fn iter(&self) -> impl Iterator<Item = &Unacked> {
        self.ring.iter().filter(|slot| !slot.hole)
    }

    /// From this delivery tag on, also those that are settled, as `None`.
    pub fn steps_from(&self, delivery_tag: u64) -> impl Iterator<Item = (u64, Option<&Unacked>)> {
        let start = self
            .ring
            .partition_point(|slot| slot.delivery_tag < delivery_tag);
        self.ring.range(start..).map(|slot| {
            let unacked = (!slot.hole).then_some(slot);
            (slot.delivery_tag, unacked)
        })
    }

    #[inline]
    fn position(&self, delivery_tag: u64) -> Option<usize> {
        if self.ring.front()?.delivery_tag == delivery_tag {
            return Some(0);
        }
        let at = self
            .ring
            .partition_point(|slot| slot.delivery_tag < delivery_tag);
        let slot = self.ring.get(at)?;
        (slot.delivery_tag == delivery_tag && !slot.hole).then_some(at)
    }

    #[inline]
    fn trim(&mut self) {
        while self.holes > 0 && self.ring.front().is_some_and(|slot| slot.hole) {
            self.ring.pop_front();
            self.holes -= 1;
        }
        if self.ring.is_empty() && self.ring.capacity() > KEPT_CAPACITY {
            self.ring = VecDeque::new();
        }
    }
}

/// An emptied ring keeps room for this many; more goes back.
const KEPT_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::MessageId;
    use crate::slots::Key;

    fn ring(tags: impl IntoIterator<Item = u64>) -> UnackedRing {
        let mut ring = UnackedRing::default();
        for tag in tags {
            let entry = Entry::new(MessageId::from_bits(tag));
            ring.push(Unacked::new(tag, entry, (Key::NONE, Key::NONE), 0));
        }
        ring
    }

    fn tags(ring: &UnackedRing) -> Vec<u64> {
        ring.iter().map(|unacked| unacked.delivery_tag).collect()
    }

    #[test]
    fn acks_out_of_order_leave_nothing_behind() {
        let mut ring = ring([1, 2, 4, 5, 9]);
        assert!(ring.take(4).is_some());
        assert!(ring.take(4).is_none(), "twice");
        assert!(ring.take(3).is_none(), "never sent");
        assert_eq!(tags(&ring), [1, 2, 5, 9]);
        let steps: Vec<_> = ring
            .steps_from(3)
            .map(|(tag, it)| (tag, it.is_some()))
            .collect();
        assert_eq!(steps, [(4, false), (5, true), (9, true)]);
        assert_eq!(ring.len(), 4);
        assert!(ring.take(1).is_some() && ring.take(2).is_some());
        assert_eq!(ring.take_oldest(4).map(|u| u.delivery_tag), None);
        assert_eq!(ring.take_oldest(5).map(|u| u.delivery_tag), Some(5));
        assert_eq!(tags(&ring), [9]);
    }

    #[test]
    fn holes_do_not_pile_up_behind_one_old_delivery() {
        let mut ring = ring(1..=10_000);
        for tag in 2..=10_000 {
            assert!(ring.take(tag).is_some());
        }
        assert_eq!(tags(&ring), [1]);
        assert!(ring.ring.len() < 100);
    }

    #[test]
    fn restored_deliveries_stand_in_order() {
        let mut ring = ring(1..=6);
        let taken = [ring.take(2).unwrap(), ring.take(5).unwrap()];
        ring.restore(taken);
        assert_eq!(tags(&ring), [1, 2, 3, 4, 5, 6]);
    }
}
