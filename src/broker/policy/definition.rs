//! Definitions: which keys a policy may have, what they may say, and what that means.

use crate::broker::Name;
use crate::broker::queue::arguments::{
    DeadLetterStrategy, MILLISECONDS_MAX, Overflow, QueueKind, RetryType,
};
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};

use super::keys::{Check, KEYS, Key, Merge};
use super::value::{Shown, comma};
use super::{Invalid, PolicyKind};

/// A checked definition, as it is listed and as it is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Sorted by key, each once.
    table: OwnedTable,
    settings: Settings,
}

/// What a definition says about things that have an effect here; all else is only kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub alternate_exchange: Option<Name>,
    pub dead_letter_exchange: Option<Name>,
    pub dead_letter_routing_key: Option<Name>,
    pub dead_letter_strategy: Option<DeadLetterStrategy>,
    /// Milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds.
    pub expires_ms: Option<u64>,
    /// Messages.
    pub length_max: Option<u64>,
    /// Bytes of bodies.
    pub length_bytes_max: Option<u64>,
    pub overflow: Option<Overflow>,
    /// Negative is no limit, and not the same as saying nothing.
    pub delivery_limit: Option<i64>,
    /// Milliseconds.
    pub consumer_timeout_ms: Option<u64>,
    pub delayed_retry_type: Option<RetryType>,
    /// Milliseconds.
    pub delayed_retry_min_ms: Option<u64>,
    /// Milliseconds.
    pub delayed_retry_max_ms: Option<u64>,
    /// LavinMQ: the exchange takes the header `x-delay` for an order.
    pub delayed_message: Option<bool>,
}

impl Definition {
    /// # Errors
    /// Nothing in it; a value that its key cannot have; keys that nobody knows, or no operator may set.
    pub fn parse(kind: PolicyKind, value: Value<'_>) -> Result<Definition, Invalid> {
        let Value::Table(table) = value else {
            let shown = Shown(value);
            return Err(Invalid(format!("definition must be a dictionary: {shown}")));
        };
        let entries = sorted(table);
        if entries.is_empty() {
            return Err(Invalid("no policy provided".to_owned()));
        }
        check(kind, &entries)?;
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, value);
        }
        Ok(Definition::from_checked(table.finish()))
    }

    fn from_checked(table: OwnedTable) -> Definition {
        let settings = Settings::from_table(table.view());
        Definition { table, settings }
    }

    /// What both say together: of two limits the stricter, and otherwise the operator's word.
    pub fn merge(user: &Definition, operator: &Definition) -> Definition {
        let (user, operator) = (user.table(), operator.table());
        let mut merged: Vec<_> = user.iter().chain(operator.iter()).collect();
        merged.sort_by_key(|(name, _)| *name);
        merged.dedup_by(|second, first| {
            let is_same = second.0 == first.0;
            if is_same {
                first.1 = merge_values(first.0, first.1, second.1);
            }
            is_same
        });
        let mut table = TableBuilder::new();
        for (name, value) in merged {
            table.put(name, value);
        }
        Definition::from_checked(table.finish())
    }

    pub fn table(&self) -> Table<'_> {
        self.table.view()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether queues of this kind understand every key. RabbitMQ applies a policy as a whole or not
    /// at all.
    pub fn suits(&self, kind: QueueKind) -> bool {
        let mut names = self.table().iter().map(|(name, _)| name);
        names.all(|name| key(name).is_none_or(|key| !key.not_for.contains(&kind)))
    }
}

impl Settings {
    /// That of nobody.
    pub const NONE: &'static Settings = &Settings {
        alternate_exchange: None,
        dead_letter_exchange: None,
        dead_letter_routing_key: None,
        dead_letter_strategy: None,
        message_ttl_ms: None,
        expires_ms: None,
        length_max: None,
        length_bytes_max: None,
        overflow: None,
        delivery_limit: None,
        consumer_timeout_ms: None,
        delayed_retry_type: None,
        delayed_retry_min_ms: None,
        delayed_retry_max_ms: None,
        delayed_message: None,
    };

    fn from_table(table: Table<'_>) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in table {
            settings.set(name, value);
        }
        settings
    }

    fn set(&mut self, key: &[u8], value: Value<'_>) {
        let name = || value.as_bytes().map(Name::from);
        let number = || {
            value
                .as_integer()
                .and_then(|value| u64::try_from(value).ok())
        };
        // Ten years are for ever, and leave room to reckon with.
        let milliseconds = || number().map(|value| value.min(MILLISECONDS_MAX));
        let word = || value.as_bytes().unwrap_or_default();
        match key {
            b"alternate-exchange" => self.alternate_exchange = name(),
            b"dead-letter-exchange" => self.dead_letter_exchange = name(),
            b"dead-letter-routing-key" => self.dead_letter_routing_key = name(),
            b"dead-letter-strategy" => {
                self.dead_letter_strategy = DeadLetterStrategy::by_name(word());
            }
            b"message-ttl" => self.message_ttl_ms = milliseconds(),
            b"expires" => self.expires_ms = milliseconds(),
            b"max-length" => self.length_max = number(),
            b"max-length-bytes" => self.length_bytes_max = number(),
            b"overflow" => self.overflow = Overflow::by_name(word()),
            b"delivery-limit" => self.delivery_limit = value.as_integer(),
            b"consumer-timeout" => self.consumer_timeout_ms = milliseconds(),
            b"delayed-retry-type" => self.delayed_retry_type = RetryType::by_name(word()),
            b"delayed-retry-min" => self.delayed_retry_min_ms = milliseconds(),
            b"delayed-retry-max" => self.delayed_retry_max_ms = milliseconds(),
            b"delayed-message" => self.delayed_message = value.as_bool(),
            _ => {}
        }
    }
}

/// By key. What comes twice counts as it came last, as in JSON.
fn sorted(table: Table<'_>) -> Vec<(&[u8], Value<'_>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.reverse();
    entries.sort_by_key(|(name, _)| *name);
    entries.dedup_by_key(|(name, _)| *name);
    entries
}

fn check(kind: PolicyKind, entries: &[(&[u8], Value<'_>)]) -> Result<(), Invalid> {
    let mut unknown = Vec::new();
    for &(name, value) in entries {
        match key(name).filter(|key| kind == PolicyKind::User || key.for_operators()) {
            None => unknown.push((name, value)),
            Some(key) => key.check(value)?,
        }
    }
    if !unknown.is_empty() {
        return Err(unrecognised(&unknown));
    }
    check_together(entries)
}

/// What keys say about each other.
fn check_together(entries: &[(&[u8], Value<'_>)]) -> Result<(), Invalid> {
    let has = |name: &str| entries.iter().any(|(key, _)| *key == name.as_bytes());
    let has_any = |prefix: &str| {
        let mut names = entries.iter().map(|(key, _)| key);
        names.any(|key| key.starts_with(prefix.as_bytes()))
    };
    if has_any("ha-") && !has("ha-mode") {
        return Err(Invalid(
            "ha-mode must be specified to specify ha-params, ha-sync-mode or \
             ha-promote-on-shutdown"
                .to_owned(),
        ));
    }
    let upstreams = [
        "federation-upstream",
        "federation-upstream-set",
        "federation-upstream-pattern",
    ];
    if upstreams.iter().filter(|name| has(name)).count() > 1 {
        return Err(Invalid(
            "cannot specify federation-upstream, federation-upstream-set or \
             federation-upstream-pattern together"
                .to_owned(),
        ));
    }
    Ok(())
}

fn unrecognised(entries: &[(&[u8], Value<'_>)]) -> Invalid {
    let mut list = String::new();
    for (index, (name, value)) in entries.iter().enumerate() {
        let (name, value) = (Shown(Value::LongString(name)), Shown(*value));
        list.push_str(&format!("{}{{{name},{value}}}", comma(index)));
    }
    Invalid(format!("[{list}] are not recognised policy settings"))
}

fn merge_values<'a>(name: &[u8], user: Value<'a>, operator: Value<'a>) -> Value<'a> {
    let merge = key(name).map_or(Merge::Operator, |key| key.merge);
    let (Some(ours), Some(theirs)) = (user.as_integer(), operator.as_integer()) else {
        return operator;
    };
    let merged = match merge {
        Merge::Operator => theirs,
        Merge::Least => ours.min(theirs),
        Merge::StricterLimit => stricter_limit(ours, theirs),
    };
    Value::Long(merged)
}

/// Of two limits of deliveries, where a negative one is none.
pub(super) fn stricter_limit(one: i64, other: i64) -> i64 {
    match one < 0 || other < 0 {
        true => one.max(other),
        false => one.min(other),
    }
}

fn key(name: &[u8]) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name.as_bytes() == name)
}

impl Key {
    fn check(&self, value: Value<'_>) -> Result<(), Invalid> {
        let is_valid = match self.check {
            Check::Any => true,
            Check::Name => value.as_bytes().is_some_and(|name| name.len() <= 255),
            Check::Flag => value.as_bool().is_some(),
            Check::Number { least } => value.as_integer().is_some_and(|number| number >= least),
            Check::NumberOf(numbers) => {
                let number = value.as_integer();
                number.is_some_and(|number| numbers.contains(&number))
            }
            Check::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Check::Age => value.as_str().is_some_and(is_age),
        };
        match is_valid {
            true => Ok(()),
            false => Err(Invalid(format!("{} {}", Shown(value), self.fault))),
        }
    }
}

/// A number and its unit, as `7D` (RabbitMQ: `max-age` of streams).
fn is_age(text: &str) -> bool {
    let number = text.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']);
    number.is_some_and(|number| {
        let mut digits = number.bytes();
        !number.is_empty() && digits.all(|digit| digit.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(entries: &[(&str, Value<'_>)]) -> TableBuilder {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, *value);
        }
        table
    }

    fn parse(kind: PolicyKind, entries: &[(&str, Value<'_>)]) -> Result<Definition, String> {
        let table = definition(entries);
        Definition::parse(kind, Value::Table(table.view())).map_err(|invalid| invalid.to_string())
    }

    fn user(entries: &[(&str, Value<'_>)]) -> Definition {
        parse(PolicyKind::User, entries).unwrap()
    }

    const TEXT: Value<'static> = Value::string("x");
    const FIVE: Value<'static> = Value::Long(5);

    #[test]
    fn refusals_read_as_rabbitmqs() {
        for (key, value, text) in [
            (
                "alternate-exchange",
                FIVE,
                "5 is not a valid alternate exchange name",
            ),
            (
                "dead-letter-exchange",
                FIVE,
                "5 is not a valid dead letter exchange name",
            ),
            (
                "dead-letter-routing-key",
                FIVE,
                "5 is not a valid dead letter routing key",
            ),
            (
                "dead-letter-strategy",
                TEXT,
                "<<\"x\">> is not a valid dead letter strategy",
            ),
            (
                "message-ttl",
                Value::double(1.5),
                "1.5 is not a valid message TTL",
            ),
            ("expires", Value::Long(0), "0 is not a valid queue expiry"),
            (
                "max-length",
                Value::bool(true),
                "true is not a valid maximum length",
            ),
            (
                "max-length-bytes",
                TEXT,
                "<<\"x\">> is not a valid maximum length in bytes",
            ),
            (
                "max-in-memory-length",
                TEXT,
                "<<\"x\">> is not a valid maximum memory in bytes",
            ),
            ("queue-mode", FIVE, "5 is not a valid queue-mode value"),
            (
                "queue-version",
                FIVE,
                "5 is not a valid queue-version value",
            ),
            ("overflow", TEXT, "<<\"x\">> is not a valid overflow value"),
            (
                "delivery-limit",
                TEXT,
                "<<\"x\">> is not a valid delivery limit",
            ),
            (
                "max-age",
                Value::string("5D4h"),
                "<<\"5D4h\">> is not a valid max age",
            ),
            (
                "stream-max-segment-size-bytes",
                Value::Long(-4),
                "-4 is not a valid segment size",
            ),
            (
                "queue-leader-locator",
                TEXT,
                "<<\"x\">> is not a valid queue leader locator value",
            ),
            (
                "queue-master-locator",
                TEXT,
                "<<\"x\">> invalid queue-master-locator value",
            ),
            (
                "initial-cluster-size",
                TEXT,
                "<<\"x\">> is not a valid cluster size",
            ),
            ("ha-mode", TEXT, "<<\"x\">> is not a valid ha-mode value"),
            (
                "max-length",
                Value::Void,
                "null is not a valid maximum length",
            ),
            (
                "max-priority",
                FIVE,
                "[{<<\"max-priority\">>,5}] are not recognised policy settings",
            ),
            (
                "single-active-consumer",
                Value::bool(true),
                "[{<<\"single-active-consumer\">>,true}] are not recognised policy settings",
            ),
        ] {
            assert_eq!(
                parse(PolicyKind::User, &[(key, value)]),
                Err(text.to_owned())
            );
        }
        let both = parse(PolicyKind::User, &[("x", TEXT), ("f", Value::double(1.5))]);
        let text = "[{<<\"f\">>,1.5},{<<\"x\">>,<<\"x\">>}] are not recognised policy settings";
        assert_eq!(both, Err(text.to_owned()));
        assert_eq!(
            parse(PolicyKind::User, &[]),
            Err("no policy provided".to_owned())
        );
        let list = Definition::parse(PolicyKind::User, TEXT).unwrap_err();
        assert_eq!(
            list.to_string(),
            "definition must be a dictionary: <<\"x\">>"
        );
        assert!(parse(PolicyKind::User, &[("ha-params", FIVE)]).is_err());
        assert!(
            parse(
                PolicyKind::User,
                &[
                    ("federation-upstream", TEXT),
                    ("federation-upstream-set", TEXT)
                ]
            )
            .is_err()
        );
    }

    #[test]
    fn operators_may_only_limit() {
        for key in [
            "message-ttl",
            "expires",
            "max-length",
            "max-length-bytes",
            "delivery-limit",
        ] {
            assert!(parse(PolicyKind::Operator, &[(key, FIVE)]).is_ok(), "{key}");
        }
        let text = "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings";
        assert_eq!(
            parse(PolicyKind::Operator, &[("dead-letter-exchange", TEXT)]),
            Err(text.to_owned())
        );
    }

    #[test]
    fn every_key_is_accepted_with_a_value_of_its_own() {
        for key in KEYS {
            let value = match key.check {
                Check::Any | Check::Name => TEXT,
                Check::Flag => Value::bool(true),
                Check::Number { least } => Value::Long(least),
                Check::NumberOf(numbers) => Value::Long(numbers[0]),
                Check::OneOf(words) => Value::string(words[0]),
                Check::Age => Value::string("7D"),
            };
            let entries = match key.name.strip_prefix("ha-") {
                None | Some("mode") => vec![(key.name, value)],
                Some(_) => vec![("ha-mode", Value::string("all")), (key.name, value)],
            };
            assert_eq!(
                parse(PolicyKind::User, &entries).map(drop),
                Ok(()),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn definitions_are_understood_and_kept_sorted() {
        let parsed = user(&[
            ("overflow", Value::string("reject-publish")),
            ("max-length", Value::Long(1)),
            ("dead-letter-exchange", Value::string("")),
            ("message-ttl", Value::Long(i64::MAX)),
            ("delivery-limit", Value::Long(-1)),
            ("max-length", Value::Long(7)),
        ]);
        let expected = Settings {
            overflow: Some(Overflow::RejectPublish),
            length_max: Some(7),
            dead_letter_exchange: Some(Name::from("")),
            message_ttl_ms: Some(MILLISECONDS_MAX),
            delivery_limit: Some(-1),
            ..Settings::default()
        };
        assert_eq!(parsed.settings(), &expected);
        let names: Vec<_> = parsed.table().iter().map(|(name, _)| name).collect();
        assert!(names.is_sorted() && names.len() == 5, "{names:?}");
    }

    #[test]
    fn an_operators_limit_counts_where_it_is_stricter() {
        let merged = Definition::merge(
            &user(&[
                ("max-length", Value::Long(9)),
                ("message-ttl", Value::Long(5)),
                ("delivery-limit", Value::Long(-1)),
                ("overflow", Value::string("drop-head")),
                ("dead-letter-exchange", TEXT),
            ]),
            &parse(
                PolicyKind::Operator,
                &[
                    ("max-length", Value::Long(8)),
                    ("message-ttl", Value::Long(6)),
                    ("delivery-limit", Value::Long(3)),
                    ("overflow", Value::string("reject-publish")),
                    ("expires", Value::Long(1000)),
                ],
            )
            .unwrap(),
        );
        let expected = user(&[
            ("dead-letter-exchange", TEXT),
            ("delivery-limit", Value::Long(3)),
            ("expires", Value::Long(1000)),
            ("max-length", Value::Long(8)),
            ("message-ttl", Value::Long(5)),
            ("overflow", Value::string("reject-publish")),
        ]);
        assert_eq!(merged, expected);
    }

    #[test]
    fn a_policy_suits_a_kind_of_queue_as_a_whole_or_not_at_all() {
        let age = user(&[("max-length", FIVE), ("max-age", Value::string("1h"))]);
        let lazy = user(&[("queue-mode", Value::string("lazy"))]);
        let limit = user(&[("delivery-limit", FIVE)]);
        let kinds = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];
        let suited = |definition: &Definition| kinds.map(|kind| definition.suits(kind));
        assert_eq!(suited(&age), [false, false, false]);
        assert_eq!(suited(&lazy), [true, false, false]);
        assert_eq!(suited(&limit), [true, true, false]);
    }
}
