//! The destinations of one key or pattern.
//!
//! Most have exactly one, and a table may hold a million of them, so one destination needs no heap.
//! More are kept in their own order: binding and unbinding stay logarithmic behind a fan-out to a
//! hundred thousand queues, and the order of routing does not depend on the order of binding.

use std::collections::BTreeMap;

/// A set of destinations that is never empty, each counted: one destination may be bound several
/// times under one key, with different arguments, and must stay until the last of them is unbound.
#[derive(Debug)]
pub(super) enum Destinations<D> {
    /// One destination, bound once.
    One(D),
    /// Several, or one bound several times. The counts are at least 1.
    #[expect(
        clippy::box_collection,
        reason = "a map of three words would make each of a million single destinations larger"
    )]
    Many(Box<BTreeMap<D, u32>>),
}

impl<D: Copy + Ord> Destinations<D> {
    pub(super) fn insert(&mut self, destination: D) {
        match self {
            Destinations::One(first) => {
                let mut counts = BTreeMap::from([(*first, 1)]);
                *counts.entry(destination).or_insert(0) += 1;
                *self = Destinations::Many(Box::new(counts));
            }
            Destinations::Many(counts) => *counts.entry(destination).or_insert(0) += 1,
        }
    }

    /// Takes one binding of `destination` away and returns whether none at all is left; the set must
    /// then be dropped. A destination that is not there is no error: nothing changes.
    #[must_use]
    pub(super) fn remove(&mut self, destination: D) -> bool {
        match self {
            Destinations::One(only) => *only == destination,
            Destinations::Many(counts) => {
                decrement(counts, destination);
                if let Some((&only, &1)) = counts.first_key_value()
                    && counts.len() == 1
                {
                    *self = Destinations::One(only);
                }
                false
            }
        }
    }

    /// Appends each destination once, in their order.
    pub(super) fn append_to(&self, out: &mut Vec<D>) {
        match self {
            Destinations::One(only) => out.push(*only),
            Destinations::Many(counts) => out.extend(counts.keys().copied()),
        }
    }
}

/// Inserts into a set that may not exist yet.
pub(super) fn insert<D: Copy + Ord>(set: &mut Option<Destinations<D>>, destination: D) {
    match set {
        Some(set) => set.insert(destination),
        None => *set = Some(Destinations::One(destination)),
    }
}

/// Removes from a set that ends to exist with its last destination.
pub(super) fn remove<D: Copy + Ord>(set: &mut Option<Destinations<D>>, destination: D) {
    if let Some(destinations) = set
        && destinations.remove(destination)
    {
        *set = None;
    }
}

fn decrement<D: Ord>(counts: &mut BTreeMap<D, u32>, destination: D) {
    if let Some(count) = counts.get_mut(&destination) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(set: &Option<Destinations<u32>>) -> Vec<u32> {
        let mut out = Vec::new();
        if let Some(set) = set {
            set.append_to(&mut out);
        }
        out
    }

    #[test]
    fn a_destination_stays_until_its_last_binding_goes() {
        let mut set = None;
        insert(&mut set, 7);
        insert(&mut set, 7);
        assert_eq!(listed(&set), [7]);
        remove(&mut set, 7);
        assert_eq!(listed(&set), [7]);
        assert!(matches!(set, Some(Destinations::One(7))));
        remove(&mut set, 7);
        assert!(set.is_none());
    }

    #[test]
    fn destinations_come_in_their_own_order() {
        let mut set = None;
        for destination in [3, 1, 2, 1] {
            insert(&mut set, destination);
        }
        assert_eq!(listed(&set), [1, 2, 3]);
        remove(&mut set, 3);
        remove(&mut set, 1);
        assert_eq!(listed(&set), [1, 2]);
    }

    #[test]
    fn removing_a_stranger_changes_nothing() {
        let mut set = Some(Destinations::One(1));
        remove(&mut set, 2);
        assert_eq!(listed(&set), [1]);
        insert(&mut set, 3);
        remove(&mut set, 2);
        assert_eq!(listed(&set), [1, 3]);
    }

    #[test]
    fn one_destination_costs_no_more_than_the_box_of_many() {
        assert_eq!(size_of::<Option<Destinations<[u32; 2]>>>(), 16);
    }
}
