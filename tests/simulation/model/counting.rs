//! What went through all channels since the broker started, counted once more.

use leveret::broker::ChannelCounters;

use super::*;
use crate::{Check, ensure};

impl Model {
    /// Nothing is left to do: the broker's counts are ours. How much came before its channel was put into
    /// confirm mode is not counted here.
    pub fn check_counts(&self, counted: &ChannelCounters) -> Check {
        let counted = ChannelCounters {
            published_unconfirmed: 0,
            ..*counted
        };
        ensure!(
            counted == self.counts,
            "{counted:?} are counted, it should be {:?}",
            self.counts
        );
        Ok(())
    }

    pub(super) fn count_delivery(&mut self, no_ack: bool, redelivered: bool) {
        match no_ack {
            true => self.counts.delivered_no_ack += 1,
            false => self.counts.delivered += 1,
        }
        self.counts.redelivered += u64::from(redelivered);
    }

    pub(super) fn count_get(&mut self, no_ack: bool, redelivered: bool) {
        match no_ack {
            true => self.counts.gotten_no_ack += 1,
            false => self.counts.gotten += 1,
        }
        self.counts.redelivered += u64::from(redelivered);
    }
}
