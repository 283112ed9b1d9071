//! Routing tables of the exchange types (AMQP 0-9-1 §3.1.3): which bindings match a message.
//!
//! A table maps keys and arguments to destinations and knows nothing else: neither what a destination
//! is nor what exchanges, queues and durability are. A new type is a file here that implements
//! [`ExchangeType`], and a line in the list below.
//!
//! Given the same calls, a table gives the same destinations in the same order; hashes decide nothing
//! that can be seen, except where a type is made of them.

mod consistent_hash;
mod deduplication;
mod delayed;
mod destinations;
mod direct;
pub(super) mod erlang_term;
mod fanout;
mod hash;
mod headers;
mod modulus_hash;
mod random;
mod recent_history;
mod router;
mod topic;

use crate::wire::amqp::{Properties, Table};
pub use consistent_hash::ConsistentHash;
pub use deduplication::Deduplication;
pub use delayed::{Delayed, delay_of};
pub use direct::Direct;
pub use fanout::Fanout;
pub use hash::Identity;
pub use headers::Headers;
pub use modulus_hash::ModulusHash;
pub use random::Random;
pub use recent_history::RecentHistory;
pub use topic::Topic;

router::exchange_types! {
    "direct" => Direct(Direct),
    "fanout" => Fanout(Fanout),
    "topic" => Topic(Topic),
    "headers" => Headers(Headers),
    "x-consistent-hash" => ConsistentHash(ConsistentHash),
    "x-delayed-message" => Delayed(Delayed),
    "x-local-random" => LocalRandom(Random),
    "x-message-deduplication" => Deduplication(Deduplication),
    "x-modulus-hash" => ModulusHash(ModulusHash),
    "x-random" => Random(Random),
    "x-recent-history" => RecentHistory(RecentHistory),
}

/// What a type of exchange does; all that the broker asks of one.
pub trait ExchangeType<D: Copy + Ord>: Sized {
    /// An empty table.
    fn declare(declaration: &Declaration<'_>) -> Result<Self, Refused>;

    /// The name of the type as this exchange was declared; `listed` is the one in the list of types.
    fn type_name(&self, listed: &'static str) -> &'static str {
        listed
    }

    /// Whether a binding may have this key and these arguments; if not, RabbitMQ's text for
    /// 406 PRECONDITION_FAILED.
    fn check_binding(&self, _key: &[u8], _arguments: Table<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Adds a binding that passed [`check_binding`](ExchangeType::check_binding). The caller makes
    /// sure that it is new: there is no other with the same key, arguments and destination.
    fn bind(&mut self, binding: &NewBinding<'_, D>);

    /// Takes away a binding that [`bind`](ExchangeType::bind) added, with the same key, arguments and
    /// destination.
    fn unbind(&mut self, key: &[u8], arguments: Table<'_>, destination: D);

    /// Appends the destinations of the bindings that match. One that several bindings lead to may come
    /// several times: a queue gets one copy, so the caller removes repeats (also of several keys).
    ///
    /// Mutable only for the memory that routes use again, and for the counters of random types.
    fn route(&mut self, key: &[u8], properties: &Properties<'_>, out: &mut Vec<D>);

    /// Whether each of a message's keys (its own, CC and BCC) may lead somewhere else; if not, only
    /// the first is routed.
    fn wants_every_key(&self) -> bool {
        false
    }

    /// Whether messages with the same key and the same headers go the same way until the bindings
    /// change, and nothing else is to be done with them: then their route can be remembered.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Whether the way of a message can depend on its headers, beyond CC and BCC. If not, those with
    /// other headers go the same way.
    fn reads_headers(&self) -> bool {
        true
    }

    /// How many of its last messages the exchange keeps for new bindings. If any, its routes are not
    /// repeatable.
    fn history_length(&self) -> usize {
        0
    }

    /// Whether a message is among those that are kept.
    fn keeps(&self, _properties: &Properties<'_>) -> bool {
        false
    }

    /// Whether messages with a delay ([`delay_of`]) wait before they are routed.
    fn delays(&self) -> bool {
        false
    }

    /// Whether messages that it has seen before are dropped, without an argument that says so.
    fn deduplicates(&self) -> bool {
        false
    }
}

/// What a type may make a table from.
#[derive(Clone, Copy)]
pub struct Declaration<'a> {
    pub arguments: Table<'a>,
    /// Different for each exchange, and the same again given the same commands.
    pub seed: u64,
}

/// A binding as it is added.
#[derive(Clone, Copy)]
pub struct NewBinding<'a, D> {
    pub key: &'a [u8],
    pub arguments: Table<'a>,
    pub destination: D,
    /// Of the destination.
    pub identity: Identity,
}

/// Why an exchange cannot be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such type: 503 COMMAND_INVALID, with RabbitMQ's text.
    UnknownType(String),
    /// RabbitMQ's text for 406 PRECONDITION_FAILED.
    BadArgument(String),
}

impl<D: Copy + Ord> Router<D> {
    /// An empty table of the type with this name, as `exchange.declare` gives it.
    pub fn declare(name: &[u8], arguments: Table<'_>, seed: u64) -> Result<Self, Refused> {
        let router = Router::of_type(name, &Declaration { arguments, seed })?;
        if delayed::is_delayed_by(arguments) && !router.delays() {
            return Ok(Router::Delayed(Delayed::by_argument(router)));
        }
        Ok(router)
    }
}

impl Refused {
    fn unknown_type(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        Refused::UnknownType(format!("unknown exchange type '{name}'"))
    }
}

/// For the tests of the types.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::wire::amqp::field_table::OwnedTable;
    use crate::wire::amqp::{TableBuilder, Value};

    pub fn table(entries: &[(&str, Value<'_>)]) -> OwnedTable {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, *value);
        }
        table.finish()
    }

    pub fn declared<T: ExchangeType<u32>>(arguments: Table<'_>) -> T {
        declared_with(arguments, 1)
    }

    pub fn declared_with<T: ExchangeType<u32>>(arguments: Table<'_>, seed: u64) -> T {
        T::declare(&Declaration { arguments, seed }).expect("arguments that fit")
    }

    /// The text with which these arguments are refused.
    pub fn refused<T: ExchangeType<u32>>(arguments: Table<'_>) -> String {
        match T::declare(&Declaration { arguments, seed: 1 }) {
            Ok(_) => panic!("it was taken"),
            Err(Refused::UnknownType(text) | Refused::BadArgument(text)) => text,
        }
    }

    pub fn bind(exchange: &mut impl ExchangeType<u32>, key: &str, destination: u32) {
        exchange.bind(&NewBinding {
            key: key.as_bytes(),
            arguments: Table::EMPTY,
            destination,
            identity: Identity::new("queue", &destination.to_be_bytes()),
        });
    }

    pub fn unbind(exchange: &mut impl ExchangeType<u32>, key: &str, destination: u32) {
        exchange.unbind(key.as_bytes(), Table::EMPTY, destination);
    }

    pub fn routed(exchange: &mut impl ExchangeType<u32>, key: &str) -> Vec<u32> {
        let mut out = Vec::new();
        exchange.route(key.as_bytes(), &Properties::default(), &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::testing::table;
    use super::*;

    fn router(name: &str) -> Router<u32> {
        let arguments = table(&[("x-delayed-type", "direct".into())]);
        Router::declare(name.as_bytes(), arguments.view(), 1).expect("a known type")
    }

    #[test]
    fn each_type_is_found_by_its_name() {
        for name in Router::<u32>::TYPE_NAMES {
            assert!(Router::<u32>::check_type_name(name.as_bytes()).is_ok());
            let router = router(name);
            assert_eq!(router.type_name(), *name);
            let keyed = ["direct", "topic", "x-delayed-message"].contains(name);
            assert_eq!(router.wants_every_key(), keyed);
            let single = ["x-random", "x-local-random", "x-recent-history"].contains(name);
            assert_eq!(router.is_repeatable(), !single);
            assert_eq!(router.history_length() > 0, *name == "x-recent-history");
            assert_eq!(router.delays(), *name == "x-delayed-message");
            let deduplicates = *name == "x-message-deduplication";
            assert_eq!(router.deduplicates(), deduplicates);
        }
        for name in ["", "Direct", "x-unknown"] {
            assert!(Router::<u32>::check_type_name(name.as_bytes()).is_err());
            let refused = Router::<u32>::declare(name.as_bytes(), Table::EMPTY, 1);
            let text = format!("unknown exchange type '{name}'");
            assert_eq!(refused.err(), Some(Refused::UnknownType(text)));
        }
    }

    #[test]
    fn each_type_matches_in_its_way_and_forgets_what_is_unbound() {
        let arguments = table(&[("format", "pdf".into())]);
        let properties = Properties {
            headers: Some(arguments.view()),
            ..Properties::default()
        };
        let bindings = [("a.b", 1), ("a.*", 2), ("7", 3)];
        let expected = |name: &str| match name {
            "direct" | "x-delayed-message" => &[1][..],
            "fanout" | "headers" | "x-message-deduplication" | "x-recent-history" => &[1, 2, 3],
            "topic" => &[1, 2],
            "x-consistent-hash" => &[3],
            _ => &[],
        };
        for name in Router::<u32>::TYPE_NAMES {
            let mut router = router(name);
            for (key, destination) in bindings {
                router.bind(&NewBinding {
                    key: key.as_bytes(),
                    arguments: arguments.view(),
                    destination,
                    identity: Identity::new("queue", key.as_bytes()),
                });
            }
            let mut out = Vec::new();
            router.route(b"a.b", &properties, &mut out);
            match expected(name) {
                [] => assert_eq!(out.len(), 1, "{name}: one of them"),
                expected => assert_eq!(out, expected, "{name}"),
            }
            for (key, destination) in bindings {
                router.unbind(key.as_bytes(), arguments.view(), destination);
            }
            out.clear();
            router.route(b"a.b", &properties, &mut out);
            assert!(out.is_empty(), "{name}");
        }
    }

    #[test]
    fn each_type_checks_bindings_in_its_way() {
        let arguments = table(&[("x-match", "some".into())]);
        for name in Router::<u32>::TYPE_NAMES {
            let router = router(name);
            let refuses = |key: &[u8], arguments| router.check_binding(key, arguments).is_err();
            assert_eq!(refuses(b"1", arguments.view()), *name == "headers");
            assert_eq!(refuses(b"a", Table::EMPTY), *name == "x-consistent-hash");
        }
    }
}
