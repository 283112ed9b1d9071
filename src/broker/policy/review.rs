//! Carrying a change of policies through: every exchange and queue is looked at again, some now and the
//! rest in the turns that follow.
//!
//! Two sweeps go over the slots of exchanges and queues, round and round. A change makes them go once
//! around from where they are; another change meanwhile makes them go around again from there, so that
//! even under a stream of changes each thing has its turn. What was looked at since the last change of
//! its virtual host is known by the revision it carries, and costs next to nothing.

use crate::broker::Core;
use crate::broker::queue::arguments::QueueKind;
use crate::broker::queue::{QueueArguments, QueueKey};
use crate::broker::topology::exchange::{ExchangeKey, declared_alternate};
use crate::broker::virtual_host::VirtualHostKey;

use super::matching::{Applied, Subject};

/// How far a change of policies is carried through.
#[derive(Default)]
pub(in crate::broker) struct Review {
    exchanges: Sweep,
    queues: Sweep,
}

/// Goes over the slots of a table, wherever it starts.
#[derive(Default)]
struct Sweep {
    next: usize,
    /// Slots to go.
    left: usize,
    /// Slots there were when last asked.
    count: usize,
}

impl Review {
    fn is_done(&self) -> bool {
        self.exchanges.left == 0 && self.queues.left == 0
    }
}

impl Sweep {
    fn begin(&mut self, count: usize) {
        self.left = count;
        self.count = count;
    }

    /// The next of `count` slots, if there are any to go. Slots that are added on the way are gone
    /// over as well, since they may lie between here and the end of the round.
    fn advance(&mut self, count: usize) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let added = count.saturating_sub(self.count);
        self.count = count;
        self.left = (self.left + added).min(count);
        self.left = self.left.checked_sub(1)?;
        let at = if self.next < count { self.next } else { 0 };
        self.next = at + 1;
        Some(at)
    }
}

impl Core {
    /// Whether a change of policies has not reached all exchanges and queues. A door that promises that
    /// it has waits for this to be false, turn by turn.
    pub fn is_applying_policies(&self) -> bool {
        !self.review.is_done()
    }

    /// Policies have changed. The first piece is done at once: in most brokers that is all.
    pub(super) fn begin_review(&mut self) {
        self.review.exchanges.begin(self.exchanges.slot_count());
        self.review.queues.begin(self.traffic.queues.slot_count());
        self.review_policies();
    }

    /// A bounded piece of what is left to look at.
    pub(in crate::broker) fn review_policies(&mut self) {
        let mut cost = 0;
        while cost < COST_PER_PIECE
            && let Some(at) = self.review.exchanges.advance(self.exchanges.slot_count())
        {
            let key = self.exchanges.key_at(at);
            cost += SLOT_COST + key.map_or(0, |key| self.review_exchange(key));
        }
        while cost < COST_PER_PIECE
            && let Some(at) = self.review.queues.advance(self.traffic.queues.slot_count())
        {
            let key = self.traffic.queues.key_at(at);
            cost += SLOT_COST + key.map_or(0, |key| self.review_queue(key));
        }
    }

    /// For an exchange that is being declared; with the revision of the policies.
    pub(in crate::broker) fn policies_for_exchange(
        &mut self,
        virtual_host: VirtualHostKey,
        name: &[u8],
    ) -> (Applied, u64) {
        let policies = &mut self.virtual_hosts[virtual_host].policies;
        let applied = policies.applied(Subject::Exchange(name), &mut 0);
        (applied, policies.revision)
    }

    /// For a queue that is being declared; with the revision of the policies.
    pub(in crate::broker) fn policies_for_queue(
        &mut self,
        virtual_host: VirtualHostKey,
        name: &[u8],
        kind: QueueKind,
    ) -> (Applied, u64) {
        let policies = &mut self.virtual_hosts[virtual_host].policies;
        let applied = policies.applied(Subject::Queue(name, kind), &mut 0);
        (applied, policies.revision)
    }

    /// What it cost.
    fn review_exchange(&mut self, key: ExchangeKey) -> usize {
        let exchange = &mut self.exchanges[key];
        let policies = &mut self.virtual_hosts[exchange.virtual_host].policies;
        if exchange.policy_revision == policies.revision {
            return 0;
        }
        exchange.policy_revision = policies.revision;
        let mut tried = 0;
        let applied = policies.applied(Subject::Exchange(&exchange.name), &mut tried);
        let cost = PATTERN_COST * tried;
        if applied.is_same(&exchange.policies) {
            return cost;
        }
        exchange.policies = applied;
        let declared = declared_alternate(exchange.arguments.view());
        let set = &exchange.policies.settings().alternate_exchange;
        let alternate = declared.or_else(|| set.clone());
        if exchange.alternate != alternate {
            exchange.alternate = alternate;
            self.generation += 1;
        }
        self.follow_delay(key);
        cost + CHANGE_COST
    }

    /// What it cost.
    fn review_queue(&mut self, key: QueueKey) -> usize {
        let queue = &mut self.traffic.queues[key];
        let policies = &mut self.virtual_hosts[queue.virtual_host].policies;
        if queue.policy_revision == policies.revision || queue.is_delay_queue() {
            return 0;
        }
        queue.policy_revision = policies.revision;
        let mut tried = 0;
        let subject = Subject::Queue(&queue.name, queue.arguments.kind);
        let applied = policies.applied(subject, &mut tried);
        let cost = PATTERN_COST * tried;
        if applied.is_same(&queue.policies) {
            return cost;
        }
        queue.policies = applied;
        let ready = queue.ready.len();
        let declared = queue.declared_arguments.view();
        match QueueArguments::effective(declared, queue.policies.settings()) {
            Ok(arguments) if arguments != *queue.arguments => {
                if arguments.message_ttl_ms != queue.arguments.message_ttl_ms {
                    let before = queue.arguments.message_ttl_ms;
                    queue.former_ttls.end(before, self.messages.end());
                }
                let arguments = self.share(arguments);
                self.traffic.queues[key].arguments = arguments;
                self.settings_changed(key);
            }
            unchanged => debug_assert!(unchanged.is_ok(), "it was declared with them"),
        }
        let dropped = ready.saturating_sub(self.traffic.queues[key].ready.len());
        cost + CHANGE_COST + DROP_COST * dropped
    }
}

/// Of one piece, in units of some 20 nanoseconds: about a millisecond.
const COST_PER_PIECE: usize = 50_000;
const SLOT_COST: usize = 1;
const PATTERN_COST: usize = 10;
const CHANGE_COST: usize = 60;
/// Of a message that a lower limit leaves no room for.
const DROP_COST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_goes_once_around_from_wherever_it_is() {
        let mut sweep = Sweep::default();
        assert_eq!(sweep.advance(3), None);
        sweep.begin(3);
        assert_eq!([(); 2].map(|()| sweep.advance(3)), [Some(0), Some(1)]);
        sweep.begin(3);
        let around = [(); 4].map(|()| sweep.advance(3));
        assert_eq!(around, [Some(2), Some(0), Some(1), None]);
    }

    #[test]
    fn a_sweep_over_a_table_that_shrank_stays_inside() {
        let mut sweep = Sweep::default();
        sweep.begin(10);
        sweep.next = 9;
        assert_eq!([(); 3].map(|()| sweep.advance(2)), [Some(0), Some(1), None]);
        sweep.begin(3);
        assert_eq!(sweep.advance(0), None);
        assert_eq!(sweep.advance(3), None, "whoever is there came since");
    }

    #[test]
    fn a_sweep_over_a_table_that_grew_comes_round_to_where_it_began() {
        let mut sweep = Sweep::default();
        sweep.begin(2);
        sweep.next = 1;
        let around = [(); 5].map(|()| sweep.advance(4));
        assert_eq!(around, [Some(1), Some(2), Some(3), Some(0), None]);
    }
}
