//! Deadlines of sockets: at most one each, O(log n) to arm and to cancel.
//!
//! Deadlines are coarse: they are rounded up to multiples of a quantum, a second for far ones and less
//! for near ones, so that the heartbeats of ten thousand idle connections fall together and wake the
//! loop about once a second. A deadline is up to a quarter of its distance late, never early, and
//! never more than about a second.
//!
//! They are lazy, too: a deadline that moves back (every frame from a peer moves its heartbeat's) costs
//! nothing. The old one fires, its owner finds that it is not due, and arms the new one.

use std::collections::BTreeSet;

use crate::protocol::SocketKey;

#[derive(Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, SocketKey)>,
    /// By the key's index: what `due` holds for that slot.
    armed: Vec<Option<Armed>>,
}

#[derive(Clone, Copy)]
struct Armed {
    key: SocketKey,
    /// What was asked for.
    deadline: u64,
    /// What it was rounded up to: the entry in `due`.
    due: u64,
}

impl Timers {
    /// Sees to it that `key` fires at `deadline` (monotonic ms) or earlier; the owner looks again
    /// when it does.
    pub fn arm(&mut self, key: SocketKey, deadline: u64, now: u64) {
        let index = key.index();
        if index >= self.armed.len() {
            self.armed.resize(index + 1, None);
        }
        if let Some(armed) = self.armed[index] {
            if armed.key == key && armed.deadline <= deadline {
                return;
            }
            self.due.remove(&(armed.due, armed.key));
        }
        let due = rounded_up(deadline, now);
        self.due.insert((due, key));
        self.armed[index] = Some(Armed { key, deadline, due });
    }

    pub fn cancel(&mut self, key: SocketKey) {
        if let Some(slot) = self.armed.get_mut(key.index())
            && let Some(armed) = slot.take_if(|armed| armed.key == key)
        {
            self.due.remove(&(armed.due, key));
        }
    }

    /// Takes one deadline that has come, the earliest first.
    pub fn pop_due(&mut self, now: u64) -> Option<SocketKey> {
        let &(due, key) = self.due.first()?;
        if due > now {
            return None;
        }
        self.cancel(key);
        Some(key)
    }

    /// When the next one is due, in monotonic ms.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|&(due, _)| due)
    }
}

/// `deadline` on the grid that suits its distance; always after `now`, so that an owner who asks for
/// the past again and again cannot hold the loop in one stage.
fn rounded_up(deadline: u64, now: u64) -> u64 {
    let deadline = deadline.max(now + 1);
    let quarter = (deadline - now) / 4;
    let quantum = match quarter.checked_ilog2() {
        Some(power) => 1 << power.min(QUANTUM_MAX_LOG2),
        None => 1,
    };
    deadline
        .checked_next_multiple_of(quantum)
        .unwrap_or(u64::MAX)
}

/// 1024 ms.
const QUANTUM_MAX_LOG2: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Socket;
    use crate::slots::Slots;

    fn keys<const N: usize>() -> [SocketKey; N] {
        let mut slots: Slots<(), Socket> = Slots::new();
        std::array::from_fn(|_| slots.insert(()))
    }

    #[test]
    fn deadlines_fire_in_order_and_never_early() {
        let [a, b, c] = keys();
        let mut timers = Timers::default();
        timers.arm(a, 30_000, 0);
        timers.arm(b, 500, 0);
        timers.arm(c, 7, 0);
        assert_eq!(timers.pop_due(6), None);
        assert_eq!(timers.pop_due(10), Some(c));
        assert_eq!(timers.pop_due(499), None);
        assert_eq!(timers.pop_due(625), Some(b));
        assert_eq!(timers.pop_due(29_999), None);
        assert_eq!(timers.pop_due(31_024), Some(a));
        assert_eq!(timers.next_due(), None);
    }

    #[test]
    fn lateness_is_at_most_a_quarter_and_about_a_second() {
        for distance in (1..20_000).chain([1 << 20, 1 << 40]) {
            for now in [0, 1, 12_345] {
                let late = rounded_up(now + distance, now) - (now + distance);
                assert!(late <= distance / 4 && late < 1024, "{distance} from {now}");
            }
        }
        assert_eq!(rounded_up(u64::MAX, 0), u64::MAX);
    }

    #[test]
    fn a_later_deadline_costs_nothing_and_an_earlier_one_replaces() {
        let [a] = keys();
        let mut timers = Timers::default();
        timers.arm(a, 10_000, 0);
        timers.arm(a, 60_000, 0);
        assert_eq!(timers.due.len(), 1);
        assert!(timers.next_due() < Some(12_000));
        timers.arm(a, 100, 0);
        assert_eq!(timers.due.len(), 1);
        assert!(timers.next_due() < Some(130));
    }

    #[test]
    fn a_cancelled_or_inherited_slot_fires_for_nobody_else() {
        let mut slots: Slots<(), Socket> = Slots::new();
        let mut key = || SocketKey::from_bits(slots.insert(()).to_bits());
        let (a, b) = (key(), key());
        let mut timers = Timers::default();
        timers.arm(a, 10, 0);
        timers.arm(b, 20, 0);
        timers.cancel(a);
        timers.cancel(a);
        assert_eq!(timers.pop_due(1000), Some(b));
        assert_eq!(timers.pop_due(1000), None);
        // The same index with another generation.
        let heir = SocketKey::from_bits(a.to_bits() + (1 << 32));
        timers.arm(a, 10, 0);
        timers.arm(heir, 50, 0);
        timers.cancel(a);
        assert_eq!(timers.pop_due(1000), Some(heir));
        assert_eq!(timers.pop_due(1000), None);
    }

    #[test]
    fn a_deadline_in_the_past_waits_for_the_next_millisecond() {
        let [a] = keys();
        let mut timers = Timers::default();
        timers.arm(a, 5, 100);
        assert_eq!(timers.pop_due(100), None);
        assert_eq!(timers.pop_due(101), Some(a));
    }

    #[test]
    fn idle_connections_share_their_wakings() {
        let mut slots: Slots<(), Socket> = Slots::new();
        let mut timers = Timers::default();
        for n in 0..10_000u64 {
            let key = SocketKey::from_bits(slots.insert(()).to_bits());
            // Opened over five seconds, each with a heartbeat half a minute away.
            timers.arm(key, n / 2 + 30_000, n / 2);
        }
        let wakings: BTreeSet<u64> = timers.due.iter().map(|&(due, _)| due).collect();
        assert!(wakings.len() <= 7, "{wakings:?}");
    }
}
