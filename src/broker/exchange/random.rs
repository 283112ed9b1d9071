//! The random exchange (RabbitMQ: `x-random`, and `x-local-random`, which on one node is the same):
//! each message goes to one binding, whatever its key.
//!
//! The broker's core has no chance in it, so that it does the same things again given the same
//! commands. What looks like chance is a counter, scrambled (SplitMix64); it starts from the order in
//! which exchanges were created, so that no two go in step.

use super::hash::{GOLDEN_RATIO, scramble};
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a random exchange.
#[derive(Debug)]
pub struct Random<D> {
    /// One entry for each binding, sorted: a destination bound twice is twice as likely.
    bindings: Vec<D>,
    counter: u64,
}

impl<D: Copy + Ord> ExchangeType<D> for Random<D> {
    fn declare(declaration: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Random {
            bindings: Vec::new(),
            // Scrambled, since those of exchanges created one after the other differ by a little only.
            counter: scramble(declaration.seed),
        })
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        let place = self
            .bindings
            .partition_point(|other| *other < binding.destination);
        self.bindings.insert(place, binding.destination);
    }

    fn unbind(&mut self, _: &[u8], _: Table<'_>, destination: D) {
        if let Ok(place) = self.bindings.binary_search(&destination) {
            self.bindings.remove(place);
        }
    }

    fn route(&mut self, _: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        self.counter = self.counter.wrapping_add(GOLDEN_RATIO);
        // The upper half of the product is the fraction of the count: even for any count.
        let drawn = u128::from(scramble(self.counter)) * self.bindings.len() as u128;
        out.extend(self.bindings.get((drawn >> 64) as usize));
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bind, declared_with, routed, unbind};
    use super::*;

    fn random(seed: u64) -> Random<u32> {
        declared_with(Table::EMPTY, seed)
    }

    #[test]
    fn every_message_goes_to_one_and_all_get_their_part() {
        let mut exchange = random(1);
        assert!(routed(&mut exchange, "k").is_empty());
        for destination in [0, 1, 2, 2] {
            bind(&mut exchange, "", destination);
        }
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            let found = routed(&mut exchange, "k");
            assert_eq!(found.len(), 1);
            counts[found[0] as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([2500, 2500, 5000]) {
            assert!(count.abs_diff(expected) < 250, "{counts:?}");
        }
        assert!(!exchange.is_repeatable());
    }

    #[test]
    fn exchanges_do_not_go_in_step_and_the_same_commands_do_the_same() {
        let draws = |seed| {
            let mut exchange = random(seed);
            (0..8).for_each(|destination| bind(&mut exchange, "", destination));
            (0..1000)
                .flat_map(|_| routed(&mut exchange, "k"))
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(5), draws(5));
        for lag in 0..4 {
            let (one, other) = (draws(5), draws(6));
            let same = one[lag..].iter().zip(&other).filter(|(a, b)| a == b);
            assert!(same.count().abs_diff(125) < 50);
        }
    }

    #[test]
    fn what_is_unbound_is_not_drawn_any_more() {
        let mut exchange = random(1);
        for destination in [3, 3, 4] {
            bind(&mut exchange, "", destination);
        }
        unbind(&mut exchange, "", 3);
        unbind(&mut exchange, "", 3);
        unbind(&mut exchange, "", 3);
        assert!((0..100).all(|_| routed(&mut exchange, "k") == [4]));
        unbind(&mut exchange, "", 4);
        assert!(routed(&mut exchange, "k").is_empty());
    }
}
