//! What clients make the broker hold outside of queues, all of them together: unfinished input
//! ("incoming": half frames and messages, transactions) and what they have not read yet ("outgoing").
//!
//! Each client has bounds of its own, but a thousand clients at their bounds are too much for a small
//! broker. So there is a bound for all, one for each direction:
//!
//! ```text
//! incoming  near it   less is read at once
//!           over it   who has much of it is not read from, but for one at a time, which gets through
//!                     or is cut off when it does not go on
//! outgoing  over it   deliveries only to those for whom nothing waits, over twice of it to nobody;
//!                     who has not read for a while is cut off
//! ```

use super::outbox::{Outbox, Outboxes};
use crate::broker::SocketKey;

/// The sums, and who is dealt with.
pub(super) struct Holdings {
    pub incoming: usize,
    pub outgoing: usize,
    /// For each direction.
    pub bytes_max: usize,
    /// Somebody was refused because of all the others together.
    pub refuses: bool,
    /// Who may finish while others wait.
    pass: Option<Pass>,
    /// When those who do not read were last looked for (monotonic ms).
    looked_at: u64,
    /// Incoming went over its bound, and it was not reviewed since that it is under it.
    was_congested: bool,
    /// Somebody has left since the last review: the next one has the pass, or all may go on.
    is_stirred: bool,
}

struct Pass {
    socket: SocketKey,
    /// What had come from it when it was last looked at, and when that was.
    received: u64,
    looked_at: u64,
}

/// What one client holds.
#[derive(Default)]
pub(super) struct Share {
    /// Unfinished input in bytes.
    pub incoming: usize,
    /// It is not read from for a reason of ours.
    pub is_held: bool,
    /// What had been written to it when it was last looked at.
    written: u64,
    is_cut_off: bool,
}

impl Holdings {
    pub fn new() -> Self {
        Holdings {
            incoming: 0,
            outgoing: 0,
            bytes_max: usize::MAX / 2,
            refuses: false,
            pass: None,
            looked_at: 0,
            was_congested: false,
            is_stirred: false,
        }
    }

    #[inline]
    pub fn is_congested(&self) -> bool {
        self.incoming > self.bytes_max
    }

    /// Whether something may be delivered to somebody for whom so much waits.
    #[inline]
    pub fn has_room(&mut self, waiting: usize) -> bool {
        let has_room =
            self.outgoing < self.bytes_max || (waiting == 0 && self.outgoing / 2 < self.bytes_max);
        self.refuses |= !has_room;
        has_room
    }
}

impl Outboxes {
    /// Bytes that all clients together may have the broker hold, each way.
    pub fn set_bytes_for_all(&mut self, bytes: usize) {
        self.holdings.bytes_max = bytes;
    }

    /// Bytes of unfinished input, and of what waits to be read, of all clients.
    pub fn held_bytes(&self) -> (usize, usize) {
        (self.holdings.incoming, self.holdings.outgoing)
    }

    /// So much of the socket's input is unfinished. `is_held`: and it is no fault of the peer's.
    #[inline]
    pub fn set_incoming(&mut self, key: SocketKey, bytes: usize, is_held: bool) {
        let Some(outbox) = self.boxes.get_mut(key) else {
            return;
        };
        outbox.share.is_held = is_held;
        if bytes != outbox.share.incoming {
            self.holdings.incoming = self.holdings.incoming - outbox.share.incoming + bytes;
            outbox.share.incoming = bytes;
        }
    }

    /// Whether it is for a reason of ours that the socket is not read from.
    pub fn set_held(&mut self, key: SocketKey, is_held: bool) {
        if let Some(outbox) = self.boxes.get_mut(key) {
            outbox.share.is_held = is_held;
        }
    }

    /// Whether the socket may be read from, as far as all clients' input is concerned.
    #[inline]
    pub fn takes_input(&self, key: SocketKey) -> bool {
        !self.holdings.is_congested() || self.takes_input_yet(key)
    }

    #[cold]
    fn takes_input_yet(&self, key: SocketKey) -> bool {
        let has_pass = self.holdings.pass.as_ref().is_some_and(|p| p.socket == key);
        let share = self.boxes.get(key).map(|outbox| outbox.share.incoming);
        has_pass || share.is_none_or(|bytes| bytes <= LITTLE_BYTES)
    }

    /// How much to read from the socket at once, if it could be `bytes`: what is read may have to be kept.
    #[inline]
    pub fn read_bytes_max(&self, key: SocketKey, bytes: usize) -> usize {
        let Holdings {
            incoming,
            bytes_max,
            pass,
            ..
        } = &self.holdings;
        if *incoming <= bytes_max / 4 || pass.as_ref().is_some_and(|pass| pass.socket == key) {
            return bytes;
        }
        let few = match *incoming <= *bytes_max {
            true => LITTLE_BYTES,
            false => LITTLE_BYTES / 4,
        };
        few.min(bytes)
    }

    /// Whether the socket is to be closed at once, for the sake of all others.
    pub fn is_cut_off(&self, key: SocketKey) -> bool {
        self.boxes
            .get(key)
            .is_some_and(|outbox| outbox.share.is_cut_off)
    }

    /// The turn's review of both directions. Sockets that are to be looked at again go to `woken`.
    pub fn review_holdings(&mut self, now_ms: u64, woken: &mut Vec<SocketKey>) {
        self.holdings.is_stirred = false;
        if self.holdings.is_congested() {
            self.holdings.was_congested = true;
            self.review_pass(now_ms, woken);
        } else if self.holdings.was_congested {
            self.holdings.was_congested = false;
            self.holdings.pass = None;
            let waiting = self
                .boxes
                .iter()
                .filter(|(_, o)| o.share.incoming > LITTLE_BYTES);
            woken.extend(waiting.map(|(key, _)| key));
        }
        let Holdings {
            outgoing,
            bytes_max,
            refuses,
            looked_at,
            ..
        } = self.holdings;
        if outgoing >= bytes_max && now_ms >= looked_at + PATIENCE_MS {
            self.holdings.looked_at = now_ms;
            self.cut_off_the_silent(woken);
        } else if refuses && outgoing < bytes_max {
            self.holdings.refuses = false;
            let half = self.bytes_max / 2;
            for (key, outbox) in self.boxes.iter_mut() {
                if outbox.starved && outbox.len() <= half {
                    outbox.starved = false;
                    self.relieved.push(key);
                }
            }
        }
    }

    /// When [`Outboxes::review_holdings`] has something to do that no event will announce (monotonic ms).
    pub fn next_review(&self) -> Option<u64> {
        let Holdings {
            was_congested,
            is_stirred,
            refuses,
            outgoing,
            bytes_max,
            ..
        } = self.holdings;
        // What was given back after the last review, when outboxes were written or sockets closed.
        let is_over = was_congested && (is_stirred || !self.holdings.is_congested());
        if is_over || (refuses && outgoing < bytes_max) {
            return Some(0);
        }
        let pass = self.holdings.pass.as_ref();
        let of_pass = pass.map(|pass| pass.looked_at + PASS_MS);
        let is_full = self.holdings.outgoing >= self.holdings.bytes_max;
        let of_silent = is_full.then_some(self.holdings.looked_at + PATIENCE_MS);
        of_pass.into_iter().chain(of_silent).min()
    }

    /// Whoever has the pass goes on, or loses it and more.
    fn review_pass(&mut self, now_ms: u64, woken: &mut Vec<SocketKey>) {
        let bytes_max = self.holdings.bytes_max;
        if let Some(pass) = &mut self.holdings.pass
            && let Some(outbox) = self.boxes.get(pass.socket)
            && outbox.share.incoming > LITTLE_BYTES
            && !outbox.share.is_held
        {
            // More than any message: a transaction without an end.
            let is_too_much = outbox.share.incoming / 3 > bytes_max;
            if !is_too_much && now_ms < pass.looked_at + PASS_MS {
                return;
            }
            let (key, received) = (pass.socket, outbox.received);
            if !is_too_much && received >= pass.received + PROGRESS_BYTES {
                pass.received = received;
                pass.looked_at = now_ms;
                return;
            }
            self.holdings.pass = None;
            self.cut_off(key, woken);
            return;
        }
        let candidates = self
            .boxes
            .iter()
            .filter(|(_, o)| o.share.incoming > LITTLE_BYTES && !o.share.is_held);
        let most = candidates.max_by_key(|(_, outbox)| outbox.share.incoming);
        self.holdings.pass = most.map(|(socket, outbox)| Pass {
            socket,
            received: outbox.received,
            looked_at: now_ms,
        });
        woken.extend(self.holdings.pass.as_ref().map(|pass| pass.socket));
    }

    /// Those who have taken nothing since the last look, the largest first, until enough is free.
    fn cut_off_the_silent(&mut self, woken: &mut Vec<SocketKey>) {
        let mut silent = Vec::new();
        for (key, outbox) in self.boxes.iter_mut() {
            let (written, waiting) = (outbox.total - outbox.len() as u64, outbox.writable_len());
            let was = std::mem::replace(&mut outbox.share.written, written);
            if was == written && written > 0 && waiting > 0 {
                silent.push((outbox.len(), key));
            }
        }
        silent.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
        let mut left = self.holdings.outgoing;
        for (size, key) in silent {
            if left <= self.holdings.bytes_max / 2 {
                break;
            }
            left -= size;
            self.cut_off(key, woken);
        }
    }

    fn cut_off(&mut self, key: SocketKey, woken: &mut Vec<SocketKey>) {
        if let Some(outbox) = self.boxes.get_mut(key)
            && !std::mem::replace(&mut outbox.share.is_cut_off, true)
        {
            woken.push(key);
        }
    }

    /// The socket is closed.
    pub(super) fn forget_holdings(&mut self, outbox: &Outbox) {
        self.holdings.is_stirred = true;
        self.holdings.incoming -= outbox.share.incoming;
        self.holdings.outgoing -= outbox.len();
    }
}

/// Unfinished input that anybody may have at any time.
const LITTLE_BYTES: usize = 4096;
/// Who takes nothing for so long while memory is short is cut off. RabbitMQ's `send_timeout` is 15 seconds, whatever memory there is.
const PATIENCE_MS: u64 = 3_000;
/// For who has the pass it is less, since others wait for that one.
const PASS_MS: u64 = 500;
const PROGRESS_BYTES: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Outlet;

    const BYTES_FOR_ALL: usize = 100_000;

    fn outboxes(count: usize) -> (Outboxes, Vec<SocketKey>) {
        let mut outboxes = Outboxes::new(1 << 20);
        outboxes.set_bytes_for_all(BYTES_FOR_ALL);
        let keys = (0..count).map(|_| outboxes.open()).collect();
        (outboxes, keys)
    }

    fn reviewed(outboxes: &mut Outboxes, now_ms: u64) -> Vec<SocketKey> {
        let mut woken = Vec::new();
        outboxes.review_holdings(now_ms, &mut woken);
        woken
    }

    #[test]
    fn deliveries_stop_where_all_together_have_not_read_enough() {
        let (mut outboxes, keys) = outboxes(3);
        outboxes.send_raw(keys[0], &[0; BYTES_FOR_ALL]);
        assert!(!outboxes.has_room(keys[0]));
        // Nothing waits for this one.
        assert!(outboxes.has_room(keys[1]));
        outboxes.send_raw(keys[1], &[0; BYTES_FOR_ALL]);
        assert!(!outboxes.has_room(keys[2]), "not even for those who read");
        outboxes.advance(keys[0], BYTES_FOR_ALL);
        outboxes.advance(keys[1], BYTES_FOR_ALL);
        reviewed(&mut outboxes, 0);
        assert!(outboxes.take_relieved().contains(&keys[2]));
        assert_eq!(outboxes.held_bytes(), (0, 0));
    }

    #[test]
    fn who_has_read_nothing_for_long_is_cut_off_and_who_reads_is_not() {
        let (mut outboxes, keys) = outboxes(3);
        for key in &keys[..2] {
            outboxes.send_raw(*key, &[0; BYTES_FOR_ALL]);
            outboxes.advance(*key, 10);
        }
        assert_eq!(reviewed(&mut outboxes, PATIENCE_MS), []);
        outboxes.advance(keys[1], 1);
        assert_eq!(reviewed(&mut outboxes, 2 * PATIENCE_MS - 1), []);
        assert_eq!(reviewed(&mut outboxes, 2 * PATIENCE_MS), [keys[0]]);
        assert!(outboxes.is_cut_off(keys[0]) && !outboxes.is_cut_off(keys[1]));
        outboxes.close(keys[0]);
        assert_eq!(outboxes.held_bytes(), (0, BYTES_FOR_ALL - 11));
    }

    #[test]
    fn unfinished_input_waits_and_one_at_a_time_gets_through() {
        let (mut outboxes, keys) = outboxes(4);
        for (n, key) in keys[..3].iter().enumerate() {
            outboxes.set_incoming(*key, 50_000 + n, false);
        }
        assert!(!outboxes.takes_input(keys[0]));
        assert!(outboxes.takes_input(keys[3]), "it has nothing unfinished");
        assert_eq!(reviewed(&mut outboxes, 1000), [keys[2]]);
        assert!(outboxes.takes_input(keys[2]) && !outboxes.takes_input(keys[1]));
        assert_eq!(outboxes.read_bytes_max(keys[2], 100_000), 100_000);
        assert!(outboxes.read_bytes_max(keys[3], 100_000) < 5000);
        // It is done, and who comes next is not slower than need be.
        outboxes.set_incoming(keys[2], 0, false);
        assert_eq!(reviewed(&mut outboxes, 1001), [keys[1]]);
        outboxes.set_incoming(keys[1], 0, false);
        assert_eq!(reviewed(&mut outboxes, 1002), [keys[0]]);
        assert!(outboxes.takes_input(keys[0]));
    }

    #[test]
    fn who_holds_others_up_and_does_not_go_on_is_cut_off() {
        let (mut outboxes, keys) = outboxes(2);
        outboxes.set_incoming(keys[0], 60_000, false);
        outboxes.set_incoming(keys[1], 50_000, false);
        assert_eq!(reviewed(&mut outboxes, 0), [keys[0]]);
        outboxes.count_received(keys[0], PROGRESS_BYTES as usize, 1);
        assert_eq!(reviewed(&mut outboxes, PASS_MS), []);
        outboxes.count_received(keys[0], 10, 1);
        assert_eq!(reviewed(&mut outboxes, 2 * PASS_MS), [keys[0]]);
        assert!(outboxes.is_cut_off(keys[0]));
        // When it is gone, the next has its turn, whatever else happens or does not.
        assert_eq!(outboxes.next_review(), None);
        outboxes.close(keys[0]);
        assert_eq!(outboxes.next_review(), Some(0));
        assert_eq!(reviewed(&mut outboxes, 3 * PASS_MS), [keys[1]]);
        assert_eq!(outboxes.next_review(), None);
    }

    #[test]
    fn a_transaction_without_an_end_is_cut_off_at_once() {
        let (mut outboxes, keys) = outboxes(1);
        outboxes.set_incoming(keys[0], BYTES_FOR_ALL + 1, false);
        assert_eq!(reviewed(&mut outboxes, 0), [keys[0]]);
        outboxes.set_incoming(keys[0], 4 * BYTES_FOR_ALL, false);
        assert_eq!(reviewed(&mut outboxes, 1), [keys[0]]);
        assert!(outboxes.is_cut_off(keys[0]));
    }

    #[test]
    fn who_waits_for_us_is_not_cut_off() {
        let (mut outboxes, keys) = outboxes(1);
        outboxes.set_incoming(keys[0], BYTES_FOR_ALL + 1, true);
        for turn in 0..10 {
            assert_eq!(reviewed(&mut outboxes, turn * PATIENCE_MS), []);
        }
        outboxes.set_held(keys[0], false);
        assert_eq!(reviewed(&mut outboxes, 10 * PATIENCE_MS), [keys[0]]);
    }
}
