//! The headers exchange: bindings name header values, and `x-match` says how many of them a message
//! must have (AMQP 0-9-1 §3.1.3.5; RabbitMQ: `all-with-x`, `any-with-x`).
//!
//! A binding is a [`Predicate`], a list of conditions: header `format` is `pdf`, or header `format` is
//! there. Conditions are found by hash. A binding that wants `all` is filed under one of its
//! conditions, that which fewest others are filed under; one that wants `any` is filed under each. A
//! message then looks at what is filed under the conditions that its headers fulfil and at no other
//! binding. Hashes only find candidates: every match is confirmed on the values.

mod message;
mod predicate;
mod x_match;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use slab::Slab;

use super::destinations::{self, Destinations};
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};
use message::MessageHeaders;
use predicate::{Kind, Predicate};

/// The table of a headers exchange.
///
/// The map is only asked for single hashes. Destinations are appended in the order of `bindings`, in
/// which no hash shows.
#[derive(Debug)]
pub struct Headers<D> {
    /// Destinations of bindings that want `all` of nothing, which every message has.
    unconditional: Option<Destinations<D>>,
    bindings: Slab<Binding<D>>,
    /// Hash of a condition -> bindings filed under it. No list is empty.
    filed: HashMap<u64, Vec<Filed>, FixedState>,
    scan: Scan,
}

/// All bindings that match the same messages.
#[derive(Debug)]
struct Binding<D> {
    predicate: Predicate,
    destinations: Destinations<D>,
}

#[derive(Debug, Clone, Copy)]
struct Filed {
    /// Of the predicate: tells most bindings apart without looking at them.
    hash: u64,
    /// Index in `Headers::bindings`.
    binding: u32,
    kind: Kind,
}

/// What one route keeps, empty between routes; here so that its memory is used again.
#[derive(Debug, Default)]
struct Scan {
    /// Hashes of the conditions that the message fulfils.
    fulfilled: Vec<u64>,
    /// Indices of bindings that match, or may match if they want `any`.
    candidates: Vec<u32>,
}

impl<D: Copy + Ord> Headers<D> {
    /// An empty table.
    pub fn new() -> Self {
        Headers {
            unconditional: None,
            bindings: Slab::new(),
            filed: HashMap::default(),
            scan: Scan::default(),
        }
    }

    /// Arguments that [`check_arguments`] refuses count as `all`, as in RabbitMQ.
    pub fn bind(&mut self, arguments: Table<'_>, destination: D) {
        let predicate = Predicate::new(arguments);
        if predicate.is_unconditional() {
            return destinations::insert(&mut self.unconditional, destination);
        }
        if predicate.is_unfulfillable() {
            return;
        }
        match self.find(&predicate) {
            Some(binding) => self.bindings[binding as usize]
                .destinations
                .insert(destination),
            None => self.add(predicate, destination),
        }
    }

    /// Takes a binding away; one that is not there is no error.
    pub fn unbind(&mut self, arguments: Table<'_>, destination: D) {
        let predicate = Predicate::new(arguments);
        if predicate.is_unconditional() {
            return destinations::remove(&mut self.unconditional, destination);
        }
        if predicate.is_unfulfillable() {
            return;
        }
        if let Some(binding) = self.find(&predicate)
            && self.bindings[binding as usize]
                .destinations
                .remove(destination)
        {
            self.remove(binding);
        }
    }

    /// Appends the destinations of every matching binding. Mutable only for the memory that routes
    /// use again. A message without headers is one with an empty table.
    pub fn route(&mut self, headers: Option<Table<'_>>, out: &mut Vec<D>) {
        if let Some(destinations) = &self.unconditional {
            destinations.append_to(out);
        }
        if self.filed.is_empty() {
            return;
        }
        let mut scan = std::mem::take(&mut self.scan);
        let message = MessageHeaders::new(headers.unwrap_or_default(), &mut scan.fulfilled);
        self.collect_candidates(&message, &mut scan.candidates);
        // A binding for `any` comes once for each of its conditions that is fulfilled.
        scan.candidates.sort_unstable();
        scan.candidates.dedup();
        for &binding in &scan.candidates {
            let binding = &self.bindings[binding as usize];
            if binding.predicate.kind() == Kind::All || binding.predicate.matches(&message) {
                binding.destinations.append_to(out);
            }
        }
        scan.clear();
        self.scan = scan;
    }

    fn collect_candidates(&self, message: &MessageHeaders, candidates: &mut Vec<u32>) {
        for hash in message.fulfilled() {
            let filed = self.filed.get(hash).map(Vec::as_slice).unwrap_or_default();
            candidates.extend(
                filed
                    .iter()
                    .filter(|filed| {
                        // Those for `any` come several times, so they are looked at afterwards.
                        filed.kind == Kind::Any
                            || self.bindings[filed.binding as usize]
                                .predicate
                                .matches(message)
                    })
                    .map(|filed| filed.binding),
            );
        }
    }

    /// The binding with this predicate.
    fn find(&self, predicate: &Predicate) -> Option<u32> {
        let rarest = self.rarest(predicate.conditions());
        let places = match predicate.kind() {
            Kind::All => predicate.conditions(),
            Kind::Any => rarest.as_slice(),
        };
        places
            .iter()
            .filter_map(|condition| self.filed.get(condition))
            .flatten()
            .filter(|filed| filed.hash == predicate.hash())
            .map(|filed| filed.binding)
            .find(|&binding| self.bindings[binding as usize].predicate.same(predicate))
    }

    fn add(&mut self, predicate: Predicate, destination: D) {
        let binding = self.bindings.vacant_key();
        let filed = Filed {
            hash: predicate.hash(),
            binding: u32::try_from(binding).expect("memory ends before 2^32 bindings"),
            kind: predicate.kind(),
        };
        match predicate.kind() {
            Kind::All => {
                if let Some(condition) = self.rarest(predicate.conditions()) {
                    self.file(condition, filed);
                }
            }
            Kind::Any => {
                for &condition in predicate.conditions() {
                    self.file(condition, filed);
                }
            }
        }
        self.bindings.insert(Binding {
            predicate,
            destinations: Destinations::One(destination),
        });
    }

    /// The condition that fewest bindings are filed under: the customer's number rather than the
    /// format that all customers want.
    fn rarest(&self, conditions: &[u64]) -> Option<u64> {
        let count = |condition: &u64| self.filed.get(condition).map_or(0, Vec::len);
        conditions.iter().copied().min_by_key(|c| count(c))
    }

    fn file(&mut self, condition: u64, filed: Filed) {
        match self.filed.get_mut(&condition) {
            Some(list) => list.push(filed),
            None => {
                // Most lists stay at one, and a growing `Vec` would begin with room for four.
                self.filed.insert(condition, vec![filed]);
            }
        }
    }

    fn remove(&mut self, binding: u32) {
        let removed = self.bindings.remove(binding as usize);
        for condition in removed.predicate.conditions() {
            if let Some(list) = self.filed.get_mut(condition) {
                if let Some(place) = list.iter().position(|filed| filed.binding == binding) {
                    list.swap_remove(place);
                }
                if list.is_empty() {
                    self.filed.remove(condition);
                }
            }
        }
        if self.bindings.is_empty() {
            // A table that was large once gives its memory back.
            self.bindings = Slab::new();
            self.filed = HashMap::default();
        }
    }
}

impl<D: Copy + Ord> ExchangeType<D> for Headers<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Headers::new())
    }

    fn check_binding(&self, _: &[u8], arguments: Table<'_>) -> Result<(), String> {
        x_match::check_arguments(arguments)
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bind(binding.arguments, binding.destination);
    }

    fn unbind(&mut self, _: &[u8], arguments: Table<'_>, destination: D) {
        self.unbind(arguments, destination);
    }

    fn route(&mut self, _: &[u8], properties: &Properties<'_>, out: &mut Vec<D>) {
        self.route(properties.headers, out);
    }
}

impl<D: Copy + Ord> Default for Headers<D> {
    fn default() -> Self {
        Headers::new()
    }
}

impl Scan {
    /// Empties the lists; what one extreme message made large does not stay.
    fn clear(&mut self) {
        self.fulfilled.clear();
        self.fulfilled.shrink_to(SCAN_CAPACITY_MAX);
        self.candidates.clear();
        self.candidates.shrink_to(SCAN_CAPACITY_MAX);
    }
}

/// Entries that an idle table keeps room for.
const SCAN_CAPACITY_MAX: usize = 4096;

#[cfg(test)]
mod tests;
