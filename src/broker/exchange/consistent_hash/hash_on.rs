//! What of a message a consistent hash exchange looks at.

use std::borrow::Cow;

use crate::broker::exchange::erlang_term::ErlangTerm;
use crate::broker::exchange::hash::hash;
use crate::wire::amqp::{Properties, Table, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HashOn {
    RoutingKey,
    Header(Box<[u8]>),
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashOn {
    /// From the arguments of the exchange: `hash-header` or `hash-property` (RabbitMQ), or else
    /// `x-hash-on` (LavinMQ). `Err` says what is wrong with them, in RabbitMQ's words where it has
    /// some.
    pub(super) fn of(arguments: Table<'_>) -> Result<Self, String> {
        check_algorithm(arguments)?;
        let header = name(arguments, "hash-header")?;
        let property = name(arguments, "hash-property")?;
        let lavinmq_header = name(arguments, "x-hash-on")?;
        match (header, property) {
            (Some(_), Some(_)) => {
                Err("hash-header and hash-property are mutually exclusive".to_owned())
            }
            (None, Some(b"message_id")) => Ok(HashOn::MessageId),
            (None, Some(b"correlation_id")) => Ok(HashOn::CorrelationId),
            (None, Some(b"timestamp")) => Ok(HashOn::Timestamp),
            (None, Some(other)) => Err(format!(
                "Unsupported property: {}",
                String::from_utf8_lossy(other)
            )),
            (header, None) => Ok(match header.or(lavinmq_header) {
                Some(header) => HashOn::Header(header.into()),
                None => HashOn::RoutingKey,
            }),
        }
    }

    /// What a message lacks hashes as nothing: all those without the header go one way.
    pub(super) fn hash(&self, routing_key: &[u8], properties: &Properties<'_>) -> u64 {
        match self {
            HashOn::RoutingKey => hash(routing_key),
            HashOn::Header(name) => {
                let headers = properties.headers.unwrap_or_default();
                headers.get(name).map_or(0, hash_value)
            }
            HashOn::MessageId => properties.message_id.map_or(0, hash),
            HashOn::CorrelationId => properties.correlation_id.map_or(0, hash),
            HashOn::Timestamp => properties
                .timestamp
                .map_or(0, |seconds| hash(&seconds.to_be_bytes())),
        }
    }

    pub(super) fn is_header(&self) -> bool {
        matches!(self, HashOn::Header(_))
    }

    /// Whether it is a property other than the headers.
    pub(super) fn is_property(&self) -> bool {
        !matches!(self, HashOn::RoutingKey | HashOn::Header(_))
    }
}

/// Text hashes as a routing key does, so that a header can take its place. Integers of all widths are
/// the same.
fn hash_value(value: Value<'_>) -> u64 {
    let encoded = match value.as_bytes() {
        Some(bytes) => Cow::Borrowed(bytes),
        None => Cow::Owned(format!("{}\0", ErlangTerm(value)).into_bytes()),
    };
    hash(&encoded)
}

fn name<'a>(arguments: Table<'a>, argument: &str) -> Result<Option<&'a [u8]>, String> {
    match arguments.get(argument) {
        None => Ok(None),
        Some(Value::LongString(name)) => Ok(Some(name)),
        Some(other) => Err(format!(
            "Invalid argument {}, '{argument}' must be a string",
            ErlangTerm(other)
        )),
    }
}

fn check_algorithm(arguments: Table<'_>) -> Result<(), String> {
    match name(arguments, "x-algorithm")? {
        None => Ok(()),
        Some(name) if name.eq_ignore_ascii_case(b"ring") => Ok(()),
        Some(name) if name.eq_ignore_ascii_case(b"jump") => Ok(()),
        Some(other) => Err(format!(
            "Invalid argument {}, 'x-algorithm' must be ring or jump",
            ErlangTerm(Value::LongString(other))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::testing::table;

    fn of<'a>(entries: &[(&str, Value<'a>)]) -> Result<HashOn, String> {
        HashOn::of(table(entries).view())
    }

    #[test]
    fn both_families_of_arguments_are_understood() {
        assert_eq!(of(&[]), Ok(HashOn::RoutingKey));
        let header = Ok(HashOn::Header((*b"h").into()));
        assert_eq!(of(&[("hash-header", "h".into())]), header);
        assert_eq!(of(&[("x-hash-on", "h".into())]), header);
        let property = |name: &'static str| of(&[("hash-property", name.into())]);
        assert_eq!(property("message_id"), Ok(HashOn::MessageId));
        assert_eq!(property("correlation_id"), Ok(HashOn::CorrelationId));
        assert_eq!(property("timestamp"), Ok(HashOn::Timestamp));
        for algorithm in ["ring", "jump", "Jump"] {
            assert_eq!(
                of(&[("x-algorithm", algorithm.into())]),
                Ok(HashOn::RoutingKey)
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(
            of(&[
                ("hash-header", "h".into()),
                ("hash-property", "message_id".into())
            ])
            .unwrap_err(),
            "hash-header and hash-property are mutually exclusive"
        );
        assert_eq!(
            of(&[("hash-property", "nosuch".into())]).unwrap_err(),
            "Unsupported property: nosuch"
        );
        assert_eq!(
            of(&[("hash-header", 5.into())]).unwrap_err(),
            "Invalid argument 5, 'hash-header' must be a string"
        );
        assert_eq!(
            of(&[("x-algorithm", "dice".into())]).unwrap_err(),
            "Invalid argument <<\"dice\">>, 'x-algorithm' must be ring or jump"
        );
    }

    #[test]
    fn the_hash_is_of_what_was_asked_for_and_of_nothing_else() {
        let headers = table(&[("h", "value".into())]);
        let mut properties = Properties {
            headers: Some(headers.view()),
            message_id: Some(b"m"),
            correlation_id: Some(b"c"),
            timestamp: Some(7),
            ..Properties::default()
        };
        let all = [
            HashOn::RoutingKey,
            HashOn::Header((*b"h").into()),
            HashOn::MessageId,
            HashOn::CorrelationId,
            HashOn::Timestamp,
        ];
        let hashes = |properties: &Properties<'_>| all.clone().map(|on| on.hash(b"k", properties));
        let before = hashes(&properties);
        assert_eq!(before[..2], [hash(b"k"), hash(b"value")]);
        properties.timestamp = None;
        properties.message_id = None;
        let after = hashes(&properties);
        let changed: Vec<_> = (0..5).filter(|&at| before[at] != after[at]).collect();
        assert_eq!(changed, [2, 4]);
        assert_eq!(HashOn::Header((*b"x").into()).hash(b"k", &properties), 0);
    }

    #[test]
    fn headers_are_told_apart_by_their_values() {
        assert_eq!(hash_value(Value::Byte(5)), hash_value(Value::Long(5)));
        assert_ne!(hash_value(Value::Long(5)), hash_value("5".into()));
        assert_ne!(hash_value(true.into()), hash_value("true".into()));
        assert_ne!(hash_value(true.into()), hash_value(false.into()));
    }
}
