//! Where a run ends early: what follows depends on a choice that is the broker's, and is not told here.

use super::Model;

/// Why a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beyond {
    /// What a window knows after a crash.
    KeysAfterACrash,
    /// Dead letters of several queues, of which some must be read back.
    DeathsAroundABlock,
    /// More dead letters than are buried in one call.
    ManyDeaths,
    /// Copies from several sources in one call, where one is too many.
    LastOfSeveral,
    /// Whether what waits for its group was out of the way of a message that came in the same call, where
    /// one is too many.
    GroupsWithLimits,
    /// Several that may be the next one to be dropped.
    SeveralHeads,
    /// Dead letters are on their way when there is too much in their queue.
    DyingWithTooMuch,
    /// Some die and some come back in one call, where there is a limit.
    DyingWithReturning,
    /// A queue and its messages are overdue at the same time.
    LeaseWithMessages,
    /// A group's message that waits for another try when the broker starts.
    GroupsAfterAStart,
}

impl Model {
    /// The first reason counts.
    pub(super) fn end_if(&mut self, is_beyond: bool, why: Beyond) {
        if is_beyond && self.beyond.is_none() {
            self.beyond = Some(why);
        }
    }
}
