//! The fanout exchange: every bound destination gets every message, whatever its routing key
//! (AMQP 0-9-1 §3.1.3.2).

use super::destinations::{self, Destinations};
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a fanout exchange. A destination bound under several keys is counted, not repeated.
#[derive(Debug)]
pub struct Fanout<D> {
    destinations: Option<Destinations<D>>,
}

impl<D: Copy + Ord> Fanout<D> {
    /// An empty table.
    pub fn new() -> Self {
        Fanout { destinations: None }
    }

    /// Adds a binding.
    pub fn bind(&mut self, destination: D) {
        destinations::insert(&mut self.destinations, destination);
    }

    /// Takes a binding away; one that is not there is no error.
    pub fn unbind(&mut self, destination: D) {
        destinations::remove(&mut self.destinations, destination);
    }

    /// Appends the destinations of the bindings that match, each once.
    pub fn route(&self, out: &mut Vec<D>) {
        if let Some(destinations) = &self.destinations {
            destinations.append_to(out);
        }
    }
}

impl<D: Copy + Ord> ExchangeType<D> for Fanout<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Fanout::new())
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bind(binding.destination);
    }

    fn unbind(&mut self, _: &[u8], _: Table<'_>, destination: D) {
        self.unbind(destination);
    }

    fn route(&mut self, _: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        Fanout::route(self, out);
    }

    fn reads_headers(&self) -> bool {
        false
    }
}

impl<D: Copy + Ord> Default for Fanout<D> {
    fn default() -> Self {
        Fanout::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(fanout: &Fanout<u32>) -> Vec<u32> {
        let mut out = Vec::new();
        fanout.route(&mut out);
        out
    }

    #[test]
    fn every_destination_gets_one_copy() {
        let mut fanout = Fanout::new();
        assert!(routed(&fanout).is_empty());
        for destination in [2, 1, 3, 2] {
            fanout.bind(destination);
        }
        assert_eq!(routed(&fanout), [1, 2, 3]);
    }

    #[test]
    fn a_destination_bound_under_two_keys_stays_until_both_are_gone() {
        let mut fanout = Fanout::new();
        fanout.bind(1);
        fanout.bind(1);
        fanout.bind(2);
        fanout.unbind(1);
        assert_eq!(routed(&fanout), [1, 2]);
        fanout.unbind(1);
        assert_eq!(routed(&fanout), [2]);
        fanout.unbind(2);
        assert!(routed(&fanout).is_empty());
    }
}
