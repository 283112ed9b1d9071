//! Slots: a slab whose keys cannot be mistaken for those of an earlier tenant.
//!
//! Events, timers and completions arrive late, when their slot may already serve somebody else. A
//! [`Key`] therefore carries the generation of the slot: a stale key finds nothing, and that is no
//! error (the idea of h2's `store::Key`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use slab::Slab;

/// Names one `T` in a [`Slots<T>`] for as long as it lives, and nothing afterwards.
pub struct Key<T> {
    index: u32,
    generation: u32,
    marker: PhantomData<fn() -> T>,
}

/// A slab with generation keys. `N` is what the keys name: `T`, unless the table holds only one part
/// of something bigger (a socket's outbox, say).
///
/// Generations count up over the whole table, so two tenants of one slot meet the same generation
/// only after 2^32 insertions.
pub struct Slots<T, N = T> {
    slab: Slab<Slot<T>>,
    next_generation: u32,
    names: PhantomData<fn() -> N>,
}

struct Slot<T> {
    generation: u32,
    value: T,
}

impl<T, N> Slots<T, N> {
    pub fn new() -> Self {
        Slots {
            slab: Slab::new(),
            next_generation: 1,
            names: PhantomData,
        }
    }

    pub fn insert(&mut self, value: T) -> Key<N> {
        self.insert_with(|_| value)
    }

    /// Inserts what `make` builds from the key it will have.
    pub fn insert_with(&mut self, make: impl FnOnce(Key<N>) -> T) -> Key<N> {
        let entry = self.slab.vacant_entry();
        let index = u32::try_from(entry.key()).expect("memory ends long before 2^32 slots");
        let key = Key::new(index, self.next_generation);
        entry.insert(Slot {
            generation: key.generation,
            value: make(key),
        });
        // Zero is left out: it is the generation of `Key::NONE`.
        self.next_generation = self.next_generation.checked_add(1).unwrap_or(1);
        key
    }

    /// A table that was large once gives its memory back with its last tenant.
    pub fn remove(&mut self, key: Key<N>) -> Option<T> {
        if !self.contains(key) {
            return None;
        }
        let value = self.slab.remove(key.index as usize).value;
        if self.slab.is_empty() && self.slab.capacity() > KEPT_CAPACITY {
            self.slab = Slab::new();
        }
        Some(value)
    }

    pub fn contains(&self, key: Key<N>) -> bool {
        self.get(key).is_some()
    }

    #[inline]
    pub fn get(&self, key: Key<N>) -> Option<&T> {
        match self.slab.get(key.index as usize) {
            Some(slot) if slot.generation == key.generation => Some(&slot.value),
            _ => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key<N>) -> Option<&mut T> {
        match self.slab.get_mut(key.index as usize) {
            Some(slot) if slot.generation == key.generation => Some(&mut slot.value),
            _ => None,
        }
    }

    /// In the order of the slots, which is not the order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (Key<N>, &T)> {
        self.slab
            .iter()
            .map(|(index, slot)| (Key::new(index as u32, slot.generation), &slot.value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<N>, &mut T)> {
        self.slab
            .iter_mut()
            .map(|(index, slot)| (Key::new(index as u32, slot.generation), &mut slot.value))
    }

    /// Slots there are for tenants, who need not be there. Walking over them by [`Slots::key_at`] meets
    /// everybody who is there all the while.
    pub fn slot_count(&self) -> usize {
        self.slab.capacity()
    }

    /// Who lives in the slot with this number.
    pub fn key_at(&self, number: usize) -> Option<Key<N>> {
        let slot = self.slab.get(number)?;
        Some(Key::new(number as u32, slot.generation))
    }

    pub fn keys(&self) -> Vec<Key<N>> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

impl<T, N> Default for Slots<T, N> {
    fn default() -> Self {
        Slots::new()
    }
}

/// For keys that the caller knows to be alive: its own invariant, hence the panic.
impl<T, N> std::ops::Index<Key<N>> for Slots<T, N> {
    type Output = T;
    #[inline]
    fn index(&self, key: Key<N>) -> &T {
        self.get(key).expect("the key's holder keeps it alive")
    }
}

impl<T, N> std::ops::IndexMut<Key<N>> for Slots<T, N> {
    #[inline]
    fn index_mut(&mut self, key: Key<N>) -> &mut T {
        self.get_mut(key).expect("the key's holder keeps it alive")
    }
}

impl<T> Key<T> {
    /// Finds nothing in any table.
    pub const NONE: Key<T> = Key::new(u32::MAX, 0);

    const fn new(index: u32, generation: u32) -> Self {
        Key {
            index,
            generation,
            marker: PhantomData,
        }
    }

    /// The slot's place; unique among living keys only.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Both halves in one number, for an event token.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub fn from_bits(bits: u64) -> Self {
        Key::new(bits as u32, (bits >> 32) as u32)
    }
}

// By hand: derives would ask the same of `T`.
impl<T> Copy for Key<T> {}
impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}
impl<T> Eq for Key<T> {}
impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_bits().cmp(&other.to_bits())
    }
}
impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.to_bits());
    }
}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Slots that an empty table keeps.
const KEPT_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_table_keeps_little_and_knows_stale_keys_still() {
        let mut slots: Slots<u64> = Slots::new();
        let keys: Vec<_> = (0..10_000).map(|n| slots.insert(n)).collect();
        for key in &keys {
            assert!(slots.remove(*key).is_some());
        }
        assert!(slots.slab.capacity() <= KEPT_CAPACITY);
        slots.insert(7);
        assert!(keys.iter().all(|key| !slots.contains(*key)));
    }

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots: Slots<&str> = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index(), first.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.get(Key::NONE), None);
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }
}
