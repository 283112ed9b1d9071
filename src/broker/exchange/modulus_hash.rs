//! The modulus hash exchange (RabbitMQ: `x-modulus-hash`): the hash of the routing key, modulo the
//! number of bindings, picks one of them. Binding keys and arguments say nothing.
//!
//! The bindings stand in the order of their destinations' identities, so that equal bindings give
//! equal routes, also after a restart. Binding or unbinding moves most keys; where that matters, there
//! is the consistent hash exchange.

use super::hash::{Identity, hash};
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a modulus hash exchange.
#[derive(Debug)]
pub struct ModulusHash<D> {
    /// One entry for each binding, sorted: a destination bound twice gets twice as many keys.
    bindings: Vec<(Identity, D)>,
}

impl<D: Copy + Ord> ExchangeType<D> for ModulusHash<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(ModulusHash {
            bindings: Vec::new(),
        })
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        let entry = (binding.identity, binding.destination);
        let place = self.bindings.partition_point(|other| *other < entry);
        self.bindings.insert(place, entry);
    }

    fn unbind(&mut self, _: &[u8], _: Table<'_>, destination: D) {
        let place = self
            .bindings
            .iter()
            .position(|(_, other)| *other == destination);
        if let Some(place) = place {
            self.bindings.remove(place);
        }
    }

    fn route(&mut self, key: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        if !self.bindings.is_empty() {
            let place = hash(key) % self.bindings.len() as u64;
            out.push(self.bindings[place as usize].1);
        }
    }

    fn reads_headers(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bind, declared, routed, unbind};
    use super::*;

    fn modulus() -> ModulusHash<u32> {
        declared(Table::EMPTY)
    }

    #[test]
    fn each_key_has_one_destination_and_each_destination_its_part() {
        let mut exchange = modulus();
        assert!(routed(&mut exchange, "k").is_empty());
        for destination in 0..4 {
            bind(&mut exchange, "", destination);
        }
        let mut counts = [0_u32; 4];
        for key in 0..10_000 {
            let found = routed(&mut exchange, &key.to_string());
            assert_eq!(found, routed(&mut exchange, &key.to_string()));
            assert_eq!(found.len(), 1);
            counts[found[0] as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count.abs_diff(2500) < 250));
    }

    #[test]
    fn the_order_of_binding_makes_no_difference() {
        let (mut one, mut other) = (modulus(), modulus());
        for destination in 0..5 {
            bind(&mut one, "", destination);
            bind(&mut other, "", 4 - destination);
        }
        for key in 0..100 {
            let key = key.to_string();
            assert_eq!(routed(&mut one, &key), routed(&mut other, &key));
        }
    }

    #[test]
    fn two_bindings_count_twice_until_one_goes() {
        let mut exchange = modulus();
        bind(&mut exchange, "a", 1);
        bind(&mut exchange, "b", 1);
        bind(&mut exchange, "a", 2);
        let mut share = || {
            let keys = (0..3000).map(|key| key.to_string());
            keys.filter(|key| routed(&mut exchange, key) == [1]).count()
        };
        assert!(share().abs_diff(2000) < 150);
        unbind(&mut exchange, "b", 1);
        let keys = (0..3000).map(|key| key.to_string());
        let share = keys.filter(|key| routed(&mut exchange, key) == [1]).count();
        assert!(share.abs_diff(1500) < 150);
        unbind(&mut exchange, "a", 1);
        unbind(&mut exchange, "a", 1);
        assert_eq!(routed(&mut exchange, "k"), [2]);
    }
}
