//! Whose turn it is: strict round-robin among the consumers of the highest priority that can take a
//! message (RabbitMQ: consumer priorities, fair dispatch).
//!
//! Only consumers believed able to take a message stand in a line; who was found unable (no credit,
//! outbox full) is suspended and comes back to the end of its line when that changes. So a message
//! never costs a walk over consumers that cannot have it.

use std::collections::VecDeque;

use crate::broker::consumer::ConsumerKey;

#[derive(Default)]
pub struct Dispatch {
    /// Highest priority first; a level stays while its consumers do.
    levels: Vec<Level>,
    /// Every consumer, in order of arrival.
    all: Vec<ConsumerKey>,
}

struct Level {
    priority: i64,
    members: usize,
    line: VecDeque<ConsumerKey>,
}

impl Dispatch {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In order of arrival.
    pub fn consumers(&self) -> &[ConsumerKey] {
        &self.all
    }

    pub fn add(&mut self, consumer: ConsumerKey, priority: i64) {
        self.all.push(consumer);
        let at = self
            .levels
            .partition_point(|level| level.priority > priority);
        if self
            .levels
            .get(at)
            .is_none_or(|level| level.priority != priority)
        {
            self.levels.insert(
                at,
                Level {
                    priority,
                    members: 0,
                    line: VecDeque::new(),
                },
            );
        }
        let level = &mut self.levels[at];
        level.members += 1;
        level.line.push_back(consumer);
    }

    pub fn remove(&mut self, consumer: ConsumerKey, priority: i64) {
        self.all.retain(|other| *other != consumer);
        let Some(at) = self.level(priority) else {
            return;
        };
        let level = &mut self.levels[at];
        level.line.retain(|other| *other != consumer);
        level.members -= 1;
        if level.members == 0 {
            self.levels.remove(at);
        }
    }

    /// Who is next.
    #[inline]
    pub fn next(&self) -> Option<ConsumerKey> {
        self.levels
            .iter()
            .find_map(|level| level.line.front().copied())
    }

    /// The next consumer got a message: it goes to the end of its line.
    #[inline]
    pub fn rotate(&mut self) {
        if let Some(line) = self.serving()
            && line.len() > 1
        {
            line.rotate_left(1);
        }
    }

    /// The next consumer can take none: it leaves its line until [`Dispatch::resume`].
    pub fn suspend_next(&mut self) {
        if let Some(line) = self.serving() {
            line.pop_front();
        }
    }

    /// The suspended consumer can take messages again.
    pub fn resume(&mut self, consumer: ConsumerKey, priority: i64) {
        if let Some(at) = self.level(priority) {
            debug_assert!(!self.levels[at].line.contains(&consumer));
            self.levels[at].line.push_back(consumer);
        }
    }

    fn serving(&mut self) -> Option<&mut VecDeque<ConsumerKey>> {
        self.levels
            .iter_mut()
            .map(|level| &mut level.line)
            .find(|line| !line.is_empty())
    }

    fn level(&self, priority: i64) -> Option<usize> {
        self.levels
            .iter()
            .position(|level| level.priority == priority)
    }
}

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
        dispatch.remove(a, 0);
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
        assert_eq!(dispatch.consumers(), [a, b, c, d]);
    }
}
