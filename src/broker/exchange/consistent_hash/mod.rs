//! The consistent hash exchange (RabbitMQ and LavinMQ: `x-consistent-hash`): messages with the same
//! key, or header, or property go to the same destination; a binding's key is its weight.
//!
//! The choice is weighted rendezvous hashing. Each destination draws a waiting time that is random but
//! the same for a key, exponentially distributed and divided by the weight, and the shortest wins.
//! The time of a destination depends on itself and the key alone. So each gets its part by weight
//! exactly on average, whatever the weights are; a new binding only takes keys, and what is unbound
//! only gives its own away; and neither the order of binding nor a restart makes a difference.
//!
//! A route looks at each destination for some nanoseconds, less than it would take to give the message
//! to them all, which a fanout exchange does. For that there is no ring of points in memory that
//! grows with the weights, and no bound for these. `x-algorithm` (LavinMQ) is taken and makes no
//! difference: this keeps the promises of both, `ring` and `jump`.

mod hash_on;
mod logarithm;

use super::erlang_term::ErlangTerm;
use super::hash::Identity;
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table, Value};
use hash_on::HashOn;
use logarithm::waiting_time;

/// The table of a consistent hash exchange.
#[derive(Debug)]
pub struct ConsistentHash<D> {
    hash_on: HashOn,
    /// Sorted, so that even ties are decided the same way always. Each destination once.
    shares: Vec<Share<D>>,
}

#[derive(Debug)]
struct Share<D> {
    identity: Identity,
    destination: D,
    /// The sum of the weights of its bindings.
    weight: u64,
}

impl<D: Copy + Ord> ExchangeType<D> for ConsistentHash<D> {
    fn declare(declaration: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(ConsistentHash {
            hash_on: HashOn::of(declaration.arguments).map_err(Refused::BadArgument)?,
            shares: Vec::new(),
        })
    }

    fn check_binding(&self, key: &[u8], _: Table<'_>) -> Result<(), String> {
        weight(key).map(drop)
    }

    /// Two bindings of one destination add up. (RabbitMQ takes no notice of the second.)
    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        let Ok(weight) = weight(binding.key) else {
            return;
        };
        let place = (binding.identity, binding.destination);
        let found = self
            .shares
            .binary_search_by_key(&place, |share| (share.identity, share.destination));
        match found {
            Ok(found) => self.shares[found].weight += u64::from(weight),
            Err(place) => self.shares.insert(
                place,
                Share {
                    identity: binding.identity,
                    destination: binding.destination,
                    weight: weight.into(),
                },
            ),
        }
    }

    fn unbind(&mut self, key: &[u8], _: Table<'_>, destination: D) {
        let place = self
            .shares
            .iter()
            .position(|share| share.destination == destination);
        if let (Some(place), Ok(weight)) = (place, weight(key)) {
            let share = &mut self.shares[place];
            share.weight = share.weight.saturating_sub(weight.into());
            if share.weight == 0 {
                self.shares.remove(place);
            }
        }
    }

    fn route(&mut self, key: &[u8], properties: &Properties<'_>, out: &mut Vec<D>) {
        let key = self.hash_on.hash(key, properties);
        let contenders = self.shares.iter().map(|share| Contender {
            time: waiting_time(share.identity.meets(key)),
            weight: share.weight,
            destination: share.destination,
        });
        let winner = contenders.reduce(|best, next| if next.beats(&best) { next } else { best });
        out.extend(winner.map(|winner| winner.destination));
    }

    fn is_repeatable(&self) -> bool {
        !self.hash_on.is_property()
    }

    fn reads_headers(&self) -> bool {
        self.hash_on.is_header()
    }
}

struct Contender<D> {
    time: u64,
    weight: u64,
    destination: D,
}

impl<D> Contender<D> {
    /// Whether its time divided by its weight is the shorter.
    fn beats(&self, other: &Self) -> bool {
        u128::from(self.time) * u128::from(other.weight)
            < u128::from(other.time) * u128::from(self.weight)
    }
}

/// A binding key as the weight that it is: at least 1, and those beyond 32 bits count as that many.
/// The error is RabbitMQ's text for 406 PRECONDITION_FAILED.
fn weight(key: &[u8]) -> Result<u32, String> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(format!(
            "The binding key must be an integer: {}",
            ErlangTerm(Value::LongString(key))
        ));
    }
    let value = digits.iter().fold(0_u32, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    match value {
        0 => Err("The binding key must be greater than 0".to_owned()),
        _ if negative => Err("The binding key must be greater than 0".to_owned()),
        weight => Ok(weight),
    }
}

#[cfg(test)]
mod tests;
