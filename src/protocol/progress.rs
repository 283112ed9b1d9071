//! How far the store is, and what answers wait for: a batch that it has, or a purge that is done.
//!
//! The messages of a purge are freed bit by bit, so that a deep queue stalls nobody. Until the store has the
//! last of that a crash would bring some of them back, and so whoever purged is told only then.

use std::collections::VecDeque;

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The store has all batches up to this one.
    Batch(u64),
    /// It has that the messages of this purge are gone ([`Purged::number`](crate::broker::topology::queue::Purged)).
    Purge(u64),
}

/// What was reached of that.
#[derive(Debug, Default)]
pub struct Progress {
    pub stored_up_to: u64,
    /// All purges up to this one are done, and that is stored.
    purged_up_to: u64,
    /// The same, once the store has a batch: both ascend.
    purging: VecDeque<Purging>,
}

#[derive(Debug)]
struct Purging {
    up_to: u64,
    batch: u64,
}

impl Progress {
    /// Whether nobody has to wait for it any more.
    pub fn has(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Batch(number) => number <= self.stored_up_to,
            Awaited::Purge(number) => number <= self.purged_up_to,
        }
    }

    pub fn on_stored(&mut self, up_to: u64) {
        self.stored_up_to = up_to;
        while let Some(purging) = self.purging.front()
            && purging.batch <= up_to
        {
            self.purged_up_to = purging.up_to;
            self.purging.pop_front();
        }
    }

    /// Whether purges up to this one are done that were not when last said.
    pub fn has_purged(&self, up_to: u64) -> bool {
        let last = self.purging.back().map(|it| it.up_to);
        up_to > last.unwrap_or(self.purged_up_to)
    }

    /// Purges up to this one are done, and that is stored when this batch is.
    pub fn on_purged(&mut self, up_to: u64, batch: u64) {
        self.purging.push_back(Purging { up_to, batch });
        self.on_stored(self.stored_up_to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_waited_for_until_the_batch_is_stored_in_which_it_ended() {
        let mut progress = Progress::default();
        assert!(progress.has(Awaited::Batch(0)) && progress.has(Awaited::Purge(0)));
        progress.on_stored(4);
        assert!(progress.has(Awaited::Batch(4)) && !progress.has(Awaited::Batch(5)));
        assert!(progress.has_purged(2) && !progress.has(Awaited::Purge(2)));
        progress.on_purged(2, 6);
        progress.on_purged(3, 7);
        assert!(!progress.has_purged(3) && progress.has_purged(4));
        progress.on_stored(5);
        assert!(!progress.has(Awaited::Purge(1)));
        progress.on_stored(6);
        assert!(progress.has(Awaited::Purge(2)) && !progress.has(Awaited::Purge(3)));
        progress.on_stored(9);
        assert!(progress.has(Awaited::Purge(3)) && !progress.has_purged(3));
        // Nothing of it had to be stored.
        progress.on_purged(4, 9);
        assert!(progress.has(Awaited::Purge(4)));
    }
}
