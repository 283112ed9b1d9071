//! The deduplicating exchange (RabbitMQ's plugin: `x-message-deduplication`): a fanout that drops messages
//! which it has seen before.
//!
//! The table only says that there is something to drop; `broker::deduplication` knows what, for exchanges
//! of the other types as well.

use super::fanout::Fanout;
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a deduplicating exchange.
#[derive(Debug)]
pub struct Deduplication<D> {
    bindings: Fanout<D>,
}

impl<D: Copy + Ord> ExchangeType<D> for Deduplication<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Deduplication {
            bindings: Fanout::new(),
        })
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bindings.bind(binding.destination);
    }

    fn unbind(&mut self, _: &[u8], _: Table<'_>, destination: D) {
        self.bindings.unbind(destination);
    }

    fn route(&mut self, _: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        self.bindings.route(out);
    }

    fn deduplicates(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bind, declared, routed, unbind};
    use super::*;

    #[test]
    fn it_routes_like_a_fanout_and_drops_duplicates() {
        let mut exchange: Deduplication<u32> = declared(Table::EMPTY);
        bind(&mut exchange, "a", 2);
        bind(&mut exchange, "b", 1);
        assert_eq!(routed(&mut exchange, "c"), [1, 2]);
        unbind(&mut exchange, "a", 2);
        assert_eq!(routed(&mut exchange, "c"), [1]);
        assert!(exchange.deduplicates());
    }
}
