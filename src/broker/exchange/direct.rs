//! The direct exchange: a message goes where its routing key is bound, byte for byte
//! (AMQP 0-9-1 §3.1.3.1).

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::destinations::Destinations;
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a direct exchange, also of the patterns without wildcards of a topic exchange.
///
/// The map is only ever asked for one key, so its order never shows.
#[derive(Debug)]
pub struct Direct<D> {
    by_key: HashMap<Box<[u8]>, Destinations<D>, FixedState>,
}

impl<D: Copy + Ord> Direct<D> {
    /// An empty table.
    pub fn new() -> Self {
        Direct {
            by_key: HashMap::default(),
        }
    }

    /// Adds a binding.
    pub fn bind(&mut self, key: &[u8], destination: D) {
        // Looked up first with the borrowed key: it is boxed only when it is new.
        match self.by_key.get_mut(key) {
            Some(destinations) => destinations.insert(destination),
            None => {
                self.by_key
                    .insert(key.into(), Destinations::One(destination));
            }
        }
    }

    /// Takes a binding away; one that is not there is no error.
    pub fn unbind(&mut self, key: &[u8], destination: D) {
        let Some(destinations) = self.by_key.get_mut(key) else {
            return;
        };
        if destinations.remove(destination) {
            self.by_key.remove(key);
            if self.by_key.is_empty() {
                // A table that was large once gives its memory back.
                self.by_key = HashMap::default();
            }
        }
    }

    /// Appends the destinations of the bindings that match, each once.
    pub fn route(&self, key: &[u8], out: &mut Vec<D>) {
        if let Some(destinations) = self.by_key.get(key) {
            destinations.append_to(out);
        }
    }

    /// Whether nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<D: Copy + Ord> ExchangeType<D> for Direct<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Direct::new())
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bind(binding.key, binding.destination);
    }

    fn unbind(&mut self, key: &[u8], _: Table<'_>, destination: D) {
        self.unbind(key, destination);
    }

    fn route(&mut self, key: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        Direct::route(self, key, out);
    }

    fn reads_headers(&self) -> bool {
        false
    }

    fn wants_every_key(&self) -> bool {
        true
    }
}

impl<D: Copy + Ord> Default for Direct<D> {
    fn default() -> Self {
        Direct::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(direct: &Direct<u32>, key: &[u8]) -> Vec<u32> {
        let mut out = Vec::new();
        direct.route(key, &mut out);
        out
    }

    #[test]
    fn only_the_same_bytes_match() {
        let mut direct = Direct::new();
        direct.bind(b"error", 1);
        direct.bind(b"*", 2);
        direct.bind(b"", 3);
        assert_eq!(routed(&direct, b"error"), [1]);
        assert!(routed(&direct, b"Error").is_empty());
        assert!(routed(&direct, b"error ").is_empty());
        assert_eq!(routed(&direct, b"*"), [2]);
        assert_eq!(routed(&direct, b""), [3]);
    }

    #[test]
    fn queues_share_a_key_and_a_queue_has_several_keys() {
        let mut direct = Direct::new();
        direct.bind(b"info", 2);
        direct.bind(b"error", 2);
        direct.bind(b"error", 1);
        assert_eq!(routed(&direct, b"error"), [1, 2]);
        assert_eq!(routed(&direct, b"info"), [2]);
        direct.unbind(b"error", 2);
        assert_eq!(routed(&direct, b"error"), [1]);
        assert_eq!(routed(&direct, b"info"), [2]);
    }

    #[test]
    fn of_two_bindings_with_different_arguments_one_stays() {
        let mut direct = Direct::new();
        direct.bind(b"k", 1);
        direct.bind(b"k", 1);
        assert_eq!(routed(&direct, b"k"), [1]);
        direct.unbind(b"k", 1);
        assert_eq!(routed(&direct, b"k"), [1]);
        direct.unbind(b"k", 1);
        assert!(routed(&direct, b"k").is_empty());
        assert!(direct.is_empty());
    }
}
