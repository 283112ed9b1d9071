//! The headers of one message, as predicates ask for them.

use super::predicate::condition_hashes;
use crate::wire::amqp::{Table, Value};

/// A message's headers and the hashes of all conditions that they fulfil.
///
/// Of several headers with one name the first counts.
pub(super) struct MessageHeaders<'a> {
    table: Table<'a>,
    /// The entries by name if there are many of them, else empty: looking through a few is faster than
    /// sorting them, while a peer must not make us look through thousands for each condition.
    sorted: Vec<(&'a [u8], Value<'a>)>,
    /// Sorted, each once.
    fulfilled: &'a [u64],
}

impl<'a> MessageHeaders<'a> {
    /// `fulfilled` is scratch memory, to be lent until the message is routed.
    pub(super) fn new(table: Table<'a>, fulfilled: &'a mut Vec<u64>) -> Self {
        fulfilled.clear();
        for (name, value) in table.iter() {
            fulfilled.extend(condition_hashes(name, value));
        }
        let mut sorted = Vec::new();
        if fulfilled.len() > 2 * UNSORTED_COUNT_MAX {
            sorted = table.iter().collect();
            // Stable, so that the first of a name stays first.
            sorted.sort_by_key(|&(name, _)| name);
        }
        fulfilled.sort_unstable();
        fulfilled.dedup();
        MessageHeaders {
            table,
            sorted,
            fulfilled,
        }
    }

    pub(super) fn fulfilled(&self) -> &[u64] {
        self.fulfilled
    }

    /// Whether a condition with this hash may be fulfilled; false is certain.
    pub(super) fn may_fulfil(&self, condition: u64) -> bool {
        self.fulfilled.binary_search(&condition).is_ok()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Value<'a>> {
        if self.sorted.is_empty() {
            return self.table.get(name);
        }
        let place = self.sorted.partition_point(|&(other, _)| other < name);
        let &(found, value) = self.sorted.get(place)?;
        (found == name).then_some(value)
    }
}

/// Headers up to this count are looked through from the first for each condition.
const UNSORTED_COUNT_MAX: usize = 32;
