//! The keys that an exchange or a queue remembers, oldest first.
//!
//! Two trees, by key and by number, and not a hash table with a list through it: each key costs some
//! logarithmic steps, but no key ever waits for a table of millions to be copied into a larger one.

use std::collections::BTreeMap;

use super::key::DedupKey;
use super::settings::Settings;
use crate::broker::message::PERSISTENT;
use crate::wire::amqp::Properties;

/// At most [`Settings::size_max`] keys, each with a number; later keys have greater ones.
pub struct Window {
    settings: Settings,
    /// What its notes begin with, if it is an exchange's and they are kept. A queue's begin with its id.
    pub id: Option<u64>,
    numbers: BTreeMap<DedupKey, u64>,
    kept: BTreeMap<u64, Kept>,
    /// Messages that were dropped.
    pub duplicates: u64,
}

/// A key that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub key: DedupKey,
    /// In milliseconds since 1970; `u64::MAX` if there is no end.
    pub expires_ms: u64,
    /// So was the message that brought it.
    pub persistent: bool,
    /// There is a note of it.
    pub noted: bool,
}

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub key: DedupKey,
    /// How long it is to be remembered, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// It wants to survive, so it is no duplicate of one that does not: its confirm would be a lie.
    pub persistent: bool,
}

impl Window {
    pub fn new(settings: Settings) -> Self {
        Window {
            settings,
            id: None,
            numbers: BTreeMap::new(),
            kept: BTreeMap::new(),
            duplicates: 0,
        }
    }

    /// Whether there may be notes of its keys.
    pub fn may_survive(&self) -> bool {
        !self.settings.in_memory
    }

    /// What a message with these properties is known by, if by anything.
    pub fn mark_of(&self, properties: &Properties<'_>) -> Option<Mark> {
        let headers = properties.headers?;
        let key = DedupKey::of(&self.settings.key_value(headers)?)?;
        Some(Mark {
            key,
            ttl_ms: self.settings.ttl_of(headers),
            persistent: properties.delivery_mode == Some(PERSISTENT),
        })
    }

    /// Whether such a message is a duplicate, and of which number.
    pub fn find(&self, mark: Mark, now_ms: u64) -> Option<(u64, Kept)> {
        let number = *self.numbers.get(&mark.key)?;
        let kept = *self.kept.get(&number)?;
        let is_same = kept.expires_ms > now_ms && (kept.persistent || !mark.persistent);
        is_same.then_some((number, kept))
    }

    /// Greater than all numbers that are there.
    pub fn next_number(&self) -> u64 {
        self.kept.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// Takes out what is in the way of another key: itself, if it is there, and then the oldest while
    /// there are too many, or while it has expired. To be called until there is nothing left to take, or
    /// a few times if expired keys can wait.
    pub fn make_room(&mut self, key: DedupKey, now_ms: u64) -> Option<(u64, Kept)> {
        if let Some(number) = self.numbers.get(&key) {
            return self.remove_numbered(*number);
        }
        let (oldest, kept) = self.kept.first_key_value()?;
        let is_surplus = self.kept.len() >= self.settings.size_max || kept.expires_ms <= now_ms;
        is_surplus.then_some(*oldest)?;
        self.remove_numbered(*oldest)
    }

    /// Remembers a key that is not there, under a number that is not there.
    pub fn insert(&mut self, number: u64, kept: Kept) {
        self.numbers.insert(kept.key, number);
        self.kept.insert(number, kept);
    }

    pub fn remove(&mut self, number: u64) -> Option<Kept> {
        self.remove_numbered(number).map(|(_, kept)| kept)
    }

    fn remove_numbered(&mut self, number: u64) -> Option<(u64, Kept)> {
        let kept = self.kept.remove(&number)?;
        self.numbers.remove(&kept.key);
        Some((number, kept))
    }

    pub fn clear(&mut self) {
        self.numbers.clear();
        self.kept.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub fn len(&self) -> usize {
        debug_assert_eq!(self.kept.len(), self.numbers.len());
        self.kept.len()
    }
}

impl Mark {
    /// As it is remembered from now on.
    pub fn kept_from(self, now_ms: u64, noted: bool) -> Kept {
        Kept {
            key: self.key,
            expires_ms: self
                .ttl_ms
                .map_or(u64::MAX, |ttl| now_ms.saturating_add(ttl)),
            persistent: self.persistent,
            noted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::{TableBuilder, Value};

    fn window(size: i32) -> Window {
        let mut arguments = TableBuilder::new();
        arguments.put("x-cache-size", size);
        let settings = Settings::of_exchange(true, arguments.finish().view());
        Window::new(settings.unwrap().unwrap())
    }

    fn key(n: i64) -> DedupKey {
        DedupKey::of(&Value::Long(n)).unwrap()
    }

    /// Of a transient message.
    fn mark(n: i64) -> Mark {
        Mark {
            key: key(n),
            ttl_ms: None,
            persistent: false,
        }
    }

    /// Remembers a key as whoever owns a window does; the numbers that went for it.
    fn remember(window: &mut Window, n: i64, ttl_ms: Option<u64>, now_ms: u64) -> Vec<u64> {
        let mark = Mark { ttl_ms, ..mark(n) };
        let room = std::iter::from_fn(|| window.make_room(mark.key, now_ms));
        let gone = room.map(|(number, _)| number).collect();
        let number = window.next_number();
        window.insert(number, mark.kept_from(now_ms, false));
        gone
    }

    fn holds(window: &Window, n: i64, now_ms: u64) -> bool {
        window.find(mark(n), now_ms).is_some()
    }

    #[test]
    fn the_oldest_key_goes_when_there_are_too_many() {
        let mut window = window(3);
        for n in 0..3 {
            assert!(remember(&mut window, n, None, 0).is_empty());
        }
        assert_eq!(remember(&mut window, 3, None, 0), [0]);
        assert_eq!(window.len(), 3);
        let held: Vec<_> = (0..4).filter(|n| holds(&window, *n, 0)).collect();
        assert_eq!(held, [1, 2, 3]);
    }

    #[test]
    fn a_key_that_expired_makes_room_for_itself_and_stands_behind_the_others() {
        let mut window = window(3);
        remember(&mut window, 0, None, 0);
        remember(&mut window, 1, Some(10), 0);
        remember(&mut window, 2, None, 0);
        assert!(holds(&window, 1, 9) && !holds(&window, 1, 10));
        assert_eq!(remember(&mut window, 1, Some(10), 10), [1]);
        assert_eq!(window.len(), 3);
        assert_eq!(remember(&mut window, 3, None, 10), [0]);
        assert_eq!(remember(&mut window, 4, None, 10), [2]);
        assert!(holds(&window, 1, 19));
    }

    #[test]
    fn expired_keys_at_the_front_go_with_the_next() {
        let mut window = window(100);
        for n in 0..5 {
            remember(&mut window, n, Some(10), 0);
        }
        remember(&mut window, 5, None, 0);
        assert_eq!(remember(&mut window, 6, None, 10), [0, 1, 2, 3, 4]);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn what_wants_to_survive_is_no_duplicate_of_what_does_not() {
        let mut window = window(3);
        remember(&mut window, 7, None, 0);
        let persistent = Mark {
            persistent: true,
            ..mark(7)
        };
        assert_eq!(window.find(persistent, 0), None);
        assert!(window.make_room(persistent.key, 0).is_some());
        window.insert(1, persistent.kept_from(0, true));
        assert!(window.find(persistent, 0).is_some() && holds(&window, 7, 0));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn a_key_that_is_taken_out_is_new_again() {
        let mut window = window(3);
        remember(&mut window, 7, None, 0);
        assert_eq!(window.remove(0).map(|kept| kept.key), Some(key(7)));
        assert_eq!(window.remove(0), None);
        assert!(!holds(&window, 7, 0) && window.is_empty());
    }
}
