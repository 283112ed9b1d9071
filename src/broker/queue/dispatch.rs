//! Whose turn it is: strict round-robin among the consumers of the highest priority that can take a
//! message (RabbitMQ: consumer priorities, fair dispatch).
//!
//! Only consumers believed able to take a message stand in a line; who was found unable (no credit,
//! outbox full) is suspended and comes back to the end of its line when that changes. So a message
//! never costs a walk over consumers that cannot have it.
//!
//! Consumers may come by the hundred thousand and leave at once, so nothing here walks over all of
//! them for one: who leaves from the middle of a line stays in it as a gap that is passed over.
//!
//! With a single active consumer (RabbitMQ: `x-single-active-consumer`) only that one ever stands in a
//! line, so that a message costs no more there; the others wait aside until it goes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use crate::broker::consumer::ConsumerKey;

#[derive(Default)]
pub struct Dispatch {
    /// Highest priority first; a level stays while its consumers do.
    levels: Vec<Level>,
    /// No level before this one has anybody in its line.
    serving: usize,
    /// Every consumer; in order of arrival, since keys grow with time.
    all: BTreeSet<ConsumerKey>,
    /// `None` where all consumers get messages.
    single: Option<SingleActive>,
}

/// Who gets all messages, and who would be next. Somebody waits only while somebody is active.
#[derive(Default)]
struct SingleActive {
    active: Option<ConsumerKey>,
    /// Highest priority first, then in order of arrival.
    waiting: BTreeSet<(Reverse<i64>, ConsumerKey)>,
}

struct Level {
    priority: i64,
    members: usize,
    /// Consumers and gaps: keys that are not in [`Dispatch::all`] any more. Never a gap at the front.
    line: VecDeque<ConsumerKey>,
    gaps: usize,
}

impl Dispatch {
    /// One consumer gets all messages, the first that comes; after it the one of the highest priority
    /// that waits. Nobody takes over while it stays, whatever their priority, and nobody stands in for
    /// it while it can take none.
    pub fn with_single_active() -> Self {
        Dispatch {
            single: Some(SingleActive::default()),
            ..Dispatch::default()
        }
    }

    /// Whether only one of the consumers gets messages.
    pub fn is_single_active(&self) -> bool {
        self.single.is_some()
    }

    /// The single active consumer; `None` where there is none, or where all are active.
    pub fn active(&self) -> Option<ConsumerKey> {
        self.single.as_ref()?.active
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In order of arrival.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerKey> {
        self.all.iter().copied()
    }

    /// Puts a new consumer at the end of its line, or among those who wait for the active one to go.
    pub fn add(&mut self, consumer: ConsumerKey, priority: i64) {
        self.all.insert(consumer);
        if let Some(single) = &mut self.single {
            if single.active.is_some() {
                single.waiting.insert((Reverse(priority), consumer));
                return;
            }
            single.active = Some(consumer);
        }
        self.line_up(consumer, priority);
    }

    /// Takes a consumer out, wherever it stands. Whether another became active in its place.
    pub fn remove(&mut self, consumer: ConsumerKey, priority: i64, suspended: bool) -> bool {
        self.all.remove(&consumer);
        if let Some(single) = &mut self.single
            && single.waiting.remove(&(Reverse(priority), consumer))
        {
            return false;
        }
        self.leave_line(priority, suspended);
        self.find_serving();
        self.promote()
    }

    /// The active consumer is gone: the next one takes over.
    fn promote(&mut self) -> bool {
        let Some(single) = &mut self.single else {
            return false;
        };
        let next = single.waiting.pop_first();
        single.active = next.map(|(_, consumer)| consumer);
        if let Some((Reverse(priority), consumer)) = next {
            self.line_up(consumer, priority);
        }
        next.is_some()
    }

    fn line_up(&mut self, consumer: ConsumerKey, priority: i64) {
        let at = match self.level(priority) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, Level::new(priority));
                at
            }
        };
        let level = &mut self.levels[at];
        level.members += 1;
        level.line.push_back(consumer);
        self.serving = self.serving.min(at);
    }

    fn leave_line(&mut self, priority: i64, suspended: bool) {
        let Ok(at) = self.level(priority) else {
            return;
        };
        let level = &mut self.levels[at];
        level.members -= 1;
        if level.members == 0 {
            self.levels.remove(at);
            self.serving = self.serving.min(at);
        } else if !suspended {
            level.gaps += 1;
            level.close_gaps(&self.all);
        }
    }

    /// Who is next.
    #[inline]
    pub fn next(&self) -> Option<ConsumerKey> {
        self.levels.get(self.serving)?.line.front().copied()
    }

    /// The next consumer got a message: it goes to the end of its line.
    #[inline]
    pub fn rotate(&mut self) {
        if let Some(level) = self.levels.get_mut(self.serving)
            && level.line.len() > 1
        {
            level.line.rotate_left(1);
            level.trim(&self.all);
        }
    }

    /// The next consumer can take none: it leaves its line until [`Dispatch::resume`].
    pub fn suspend_next(&mut self) {
        if let Some(level) = self.levels.get_mut(self.serving) {
            level.line.pop_front();
            level.trim(&self.all);
            self.find_serving();
        }
    }

    /// The suspended consumer can take messages again.
    pub fn resume(&mut self, consumer: ConsumerKey, priority: i64) {
        if let Ok(at) = self.level(priority) {
            debug_assert!(!self.levels[at].line.contains(&consumer));
            self.levels[at].line.push_back(consumer);
            self.serving = self.serving.min(at);
        }
    }

    /// Goes on to the first level with somebody in its line.
    fn find_serving(&mut self) {
        while let Some(level) = self.levels.get(self.serving)
            && level.line.is_empty()
        {
            self.serving += 1;
        }
    }

    /// Where the level is, or where it would be.
    fn level(&self, priority: i64) -> Result<usize, usize> {
        let order = |level: &Level| priority.cmp(&level.priority);
        self.levels.binary_search_by(order)
    }
}

impl Level {
    fn new(priority: i64) -> Self {
        Level {
            priority,
            members: 0,
            line: VecDeque::new(),
            gaps: 0,
        }
    }

    /// Takes gaps away from the front.
    #[inline]
    fn trim(&mut self, all: &BTreeSet<ConsumerKey>) {
        while self.gaps > 0
            && let Some(first) = self.line.front()
            && !all.contains(first)
        {
            self.line.pop_front();
            self.gaps -= 1;
        }
    }

    /// Takes gaps away from the front, and all of them when they prevail.
    fn close_gaps(&mut self, all: &BTreeSet<ConsumerKey>) {
        self.trim(all);
        if self.gaps > GAPS_MAX && self.gaps > self.line.len() / 2 {
            self.line.retain(|consumer| all.contains(consumer));
            self.gaps = 0;
        }
    }
}

/// A line with no more gaps than this is left alone.
const GAPS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [ConsumerKey; 4] {
        [1, 2, 3, 4].map(|n| ConsumerKey::from_bits(1 << 32 | n))
    }

    fn serve(dispatch: &mut Dispatch, times: usize) -> Vec<ConsumerKey> {
        (0..times)
            .map(|_| {
                let next = dispatch.next().unwrap();
                dispatch.rotate();
                next
            })
            .collect()
    }

    #[test]
    fn equals_take_turns() {
        let [a, b, c, _] = keys();
        let mut dispatch = Dispatch::default();
        for key in [a, b, c] {
            dispatch.add(key, 0);
        }
        assert_eq!(serve(&mut dispatch, 5), [a, b, c, a, b]);
        dispatch.remove(a, 0, false);
        assert_eq!(serve(&mut dispatch, 3), [c, b, c]);
    }

    #[test]
    fn lower_priorities_wait_until_the_higher_are_suspended() {
        let [a, b, c, d] = keys();
        let mut dispatch = Dispatch::default();
        dispatch.add(a, -1);
        dispatch.add(b, 7);
        dispatch.add(c, 7);
        dispatch.add(d, 0);
        assert_eq!(serve(&mut dispatch, 3), [b, c, b]);
        dispatch.suspend_next();
        dispatch.suspend_next();
        assert_eq!(serve(&mut dispatch, 2), [d, d]);
        dispatch.suspend_next();
        assert_eq!(serve(&mut dispatch, 1), [a]);
        dispatch.resume(c, 7);
        assert_eq!(serve(&mut dispatch, 2), [c, c]);
        assert!(dispatch.consumers().eq([a, b, c, d]));
    }

    #[test]
    fn who_leaves_from_the_middle_is_passed_over() {
        let [a, b, c, d] = keys();
        let mut dispatch = Dispatch::default();
        for key in [a, b, c, d] {
            dispatch.add(key, 0);
        }
        dispatch.remove(b, 0, false);
        dispatch.remove(c, 0, false);
        assert_eq!(serve(&mut dispatch, 3), [a, d, a]);
        dispatch.suspend_next();
        dispatch.remove(d, 0, true);
        assert_eq!(serve(&mut dispatch, 2), [a, a]);
        dispatch.remove(a, 0, false);
        assert!(dispatch.next().is_none() && dispatch.is_empty());
        dispatch.add(b, -3);
        assert_eq!(serve(&mut dispatch, 1), [b]);
    }

    #[test]
    fn gaps_do_not_pile_up() {
        let mut dispatch = Dispatch::default();
        let key = |n: u64| ConsumerKey::from_bits(1 << 32 | n);
        dispatch.add(key(0), 0);
        for n in 1..10_000 {
            dispatch.add(key(n), 0);
            dispatch.remove(key(n), 0, false);
        }
        assert!(dispatch.levels[0].line.len() < 4 * GAPS_MAX);
        assert_eq!(serve(&mut dispatch, 2), [key(0), key(0)]);
    }

    #[test]
    fn a_single_active_consumer_stays_until_it_goes() {
        let [a, b, c, d] = keys();
        let mut dispatch = Dispatch::with_single_active();
        assert_eq!(dispatch.active(), None);
        dispatch.add(a, 0);
        dispatch.add(b, -1);
        dispatch.add(c, 7);
        dispatch.add(d, 7);
        assert_eq!(serve(&mut dispatch, 2), [a, a]);
        assert!(dispatch.consumers().eq([a, b, c, d]));
        assert!(!dispatch.remove(c, 7, false), "it only waited");
        assert!(dispatch.remove(a, 0, false));
        assert_eq!(dispatch.active(), Some(d));
        assert!(dispatch.remove(d, 7, false));
        assert_eq!(serve(&mut dispatch, 1), [b]);
        assert!(!dispatch.remove(b, -1, false), "nobody is left");
        assert!(dispatch.active().is_none() && dispatch.next().is_none() && dispatch.is_empty());
        dispatch.add(c, 7);
        assert_eq!(serve(&mut dispatch, 1), [c]);
    }

    #[test]
    fn nobody_stands_in_for_a_suspended_single_active_consumer() {
        let [a, b, c, _] = keys();
        let mut dispatch = Dispatch::with_single_active();
        dispatch.add(a, 0);
        dispatch.add(b, 7);
        dispatch.suspend_next();
        assert!(dispatch.next().is_none());
        dispatch.add(c, 9);
        assert!(dispatch.next().is_none());
        assert_eq!(dispatch.active(), Some(a));
        dispatch.resume(a, 0);
        assert_eq!(dispatch.next(), Some(a));
        dispatch.suspend_next();
        assert!(dispatch.remove(a, 0, true));
        assert_eq!(serve(&mut dispatch, 2), [c, c]);
    }
}
