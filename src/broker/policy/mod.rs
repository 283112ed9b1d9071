//! Policies, operator policies, and parameters (RabbitMQ: runtime parameters).
//!
//! A policy gives settings to the exchanges and queues of a virtual host whose names match its pattern.
//! Of all that match, one policy and one operator policy are in force: those with the highest priority.
//! They may come and go at any time, so what a queue was declared with stays apart from what holds for
//! it now:
//!
//! ```text
//!   declared arguments --+
//!   policy --------------+--> Queue::arguments --> settings_changed
//!   operator policy -----+
//! ```
//!
//! A change is carried through at once, but never for more than about a millisecond a turn: where there
//! are many exchanges and queues the rest have what they had until their turn comes
//! ([`Core::is_applying_policies`] says whether that is so).
//!
//! All of it survives the broker, as notes of the store: doors answer when [`Core::take_redefined`] does
//! not say that there is something to wait for.

mod definition;
mod effective;
mod keys;
mod matching;
mod note;
mod parameters;
mod pattern;
mod review;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::rc::Rc;

use super::Core;
use super::queue::QueueKey;
use super::topology::exchange::ExchangeKey;
use super::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::Table;

pub use definition::{Definition, Settings};
pub use matching::{Applied, ApplyTo, Policy};
pub use parameters::Parameter;
pub use pattern::{Fault, Pattern};
pub use value::OwnedValue;

pub(super) use matching::Policies;
pub(super) use note::decode_key;
pub(super) use parameters::{GlobalParameters, Parameters};
pub(super) use review::Review;

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// RabbitMQ: policies.
    User,
    /// RabbitMQ: operator policies. They can only limit, and policies and arguments cannot undo that.
    Operator,
}

/// Why a policy or a parameter is refused, in RabbitMQ's words. Its doors put `Validation failed` and
/// an empty line before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid(pub(super) String);

impl Core {
    /// Adds a policy, or replaces the one of that name. `settings` is what RabbitMQ's doors take:
    /// `pattern`, `definition`, `priority` and `apply-to` ([`Policy::from_table`]).
    ///
    /// # Errors
    /// It makes no sense; then all is as before.
    pub fn set_policy(
        &mut self,
        kind: PolicyKind,
        virtual_host: VirtualHostKey,
        name: &[u8],
        settings: Table<'_>,
    ) -> Result<(), Invalid> {
        let policy = Policy::from_table(kind, name, settings)?;
        self.note_policy(kind, virtual_host, name, Some(&policy));
        if self.tells_events() {
            self.tell_policy(virtual_host, name, Some(policy.to_table().view()));
        }
        self.virtual_hosts[virtual_host].policies.set(kind, policy);
        self.begin_review();
        Ok(())
    }

    /// Takes a policy away; whether there was one.
    pub fn clear_policy(
        &mut self,
        kind: PolicyKind,
        virtual_host: VirtualHostKey,
        name: &[u8],
    ) -> bool {
        let policies = &mut self.virtual_hosts[virtual_host].policies;
        let existed = policies.clear(kind, name);
        if existed {
            self.note_policy(kind, virtual_host, name, None);
            if self.tells_events() {
                self.tell_policy(virtual_host, name, None);
            }
            self.begin_review();
        }
        existed
    }

    /// The policies of a virtual host in the order in which they are tried: that of their priorities,
    /// then of their names.
    pub fn policies(&self, kind: PolicyKind, virtual_host: VirtualHostKey) -> &[Rc<Policy>] {
        self.virtual_hosts[virtual_host].policies.list(kind)
    }

    pub fn policy(
        &self,
        kind: PolicyKind,
        virtual_host: VirtualHostKey,
        name: &[u8],
    ) -> Option<&Rc<Policy>> {
        self.virtual_hosts[virtual_host].policies.get(kind, name)
    }

    /// The policies that are in force for a queue.
    pub fn queue_policies(&self, key: QueueKey) -> Option<&Applied> {
        self.traffic.queues.get(key).map(|queue| &queue.policies)
    }

    /// The policies that are in force for an exchange.
    pub fn exchange_policies(&self, key: ExchangeKey) -> Option<&Applied> {
        self.exchanges.get(key).map(|exchange| &exchange.policies)
    }

    /// Takes away all policies and parameters of a virtual host. What they applied to is the caller's
    /// to take away: this comes with the deletion of the virtual host.
    pub fn clear_virtual_host_settings(&mut self, virtual_host: VirtualHostKey) {
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            for policy in self.policies(kind, virtual_host).to_vec() {
                self.clear_policy(kind, virtual_host, &policy.name);
            }
        }
        for parameter in self.parameters(virtual_host) {
            self.clear_parameter(virtual_host, &parameter.component, &parameter.name);
        }
    }
}

impl Invalid {
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}
