//! The `x-` arguments of a queue, parsed once at its declaration; no look-ups by name later.

use std::fmt;

use super::groups::GroupKey;
use crate::broker::deduplication;
use crate::broker::name::Name;
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};

/// What a queue was told by its arguments (RabbitMQ: optional queue arguments). Those that RabbitMQ
/// does not know are kept with the queue and mean nothing, as there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueArguments {
    pub kind: QueueKind,
    /// `x-message-ttl`, milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`, milliseconds.
    pub expires_ms: Option<u64>,
    pub dead_letter_exchange: Option<Name>,
    pub dead_letter_routing_key: Option<Name>,
    pub dead_letter_strategy: DeadLetterStrategy,
    /// `x-max-length`, messages.
    pub length_max: Option<u64>,
    /// `x-max-length-bytes`, bytes of bodies.
    pub length_bytes_max: Option<u64>,
    pub overflow: Overflow,
    /// `x-max-priority`.
    pub priority_max: Option<u8>,
    pub single_active_consumer: bool,
    /// `x-delivery-limit`; `None` is no limit.
    pub delivery_limit: Option<u64>,
    /// `x-consumer-timeout`, milliseconds; 0 is none, whatever the broker was told.
    pub consumer_timeout_ms: Option<u64>,
    pub delayed_retry_type: RetryType,
    /// `x-delayed-retry-min`, milliseconds.
    pub delayed_retry_min_ms: Option<u64>,
    /// `x-delayed-retry-max`, milliseconds.
    pub delayed_retry_max_ms: Option<u64>,
    /// `x-group-key`: a header, or `routing-key`. Not known to RabbitMQ.
    pub group_key: Option<GroupKey>,
    /// `x-message-deduplication` and what goes with it.
    pub deduplication: Option<deduplication::Settings>,
}

/// `x-queue-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    #[default]
    Classic,
    Quorum,
    Stream,
}

/// `x-overflow`: what happens to messages beyond the length limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

/// `x-dead-letter-strategy`: whether a message may be lost on its way to the dead letter exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    #[default]
    AtMostOnce,
    AtLeastOnce,
}

/// `x-delayed-retry-type`: which messages that come back wait before they are delivered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryType {
    #[default]
    Disabled,
    All,
    Failed,
    Returned,
}

/// Why an argument is refused, in RabbitMQ's words.
#[derive(Debug, PartialEq, Eq)]
pub enum BadArgument {
    /// `invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}`
    Invalid { name: &'static str, reason: String },
    /// `invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'`
    WrongType {
        name: &'static str,
        kind: &'static str,
    },
}

/// Arguments that must be the same when a queue is declared again; RabbitMQ compares no others.
/// `x-queue-type` is compared apart, since saying nothing means classic.
pub const COMPARED: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-queue-master-locator",
    "x-single-active-consumer",
    "x-delivery-limit",
    GROUP_KEY,
];

/// What else a declaration looks for.
const NOT_COMPARED: [&str; 11] = [
    QUEUE_TYPE,
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-max-age",
    "x-message-deduplication",
    "x-deduplication-header",
    "x-cache-size",
    "x-cache-ttl",
    "x-cache-persistence",
];

pub const QUEUE_TYPE: &str = "x-queue-type";
pub const GROUP_KEY: &str = "x-group-key";

/// Of a large table, what it says to a queue; `None` if the table is small. A declaration looks for all of
/// these names, each from the first entry on, and a table may have ten thousand.
pub fn known_arguments(table: Table<'_>) -> Option<OwnedTable> {
    if table.as_bytes().len() <= SMALL_TABLE_BYTES {
        return None;
    }
    let mut known = TableBuilder::new();
    let mut seen = [false; COMPARED.len() + NOT_COMPARED.len()];
    for (name, value) in table.iter().filter(|(name, _)| name.starts_with(b"x-")) {
        let mut names = COMPARED.iter().chain(&NOT_COMPARED);
        // Of several entries of one name the first is the one that counts.
        if let Some(at) = names.position(|known| known.as_bytes() == name)
            && !std::mem::replace(&mut seen[at], true)
        {
            known.put(name, value);
        }
    }
    Some(known.finish())
}

impl QueueArguments {
    pub fn from_table(table: Table<'_>) -> Result<Self, BadArgument> {
        check_unused(table)?;
        let kind = kind(table)?;
        Ok(QueueArguments {
            kind,
            message_ttl_ms: milliseconds(table, "x-message-ttl", 0)?,
            expires_ms: milliseconds(table, "x-expires", 1)?,
            dead_letter_exchange: dead_letter_exchange(table)?,
            dead_letter_routing_key: dead_letter_routing_key(table)?,
            length_max: count(table, "x-max-length")?,
            length_bytes_max: count(table, "x-max-length-bytes")?,
            overflow: overflow(table)?,
            priority_max: priority_max(table, kind)?,
            single_active_consumer: flag(table, "x-single-active-consumer")?,
            delivery_limit: delivery_limit(table, kind)?,
            consumer_timeout_ms: consumer_timeout(table)?,
            dead_letter_strategy: dead_letter_strategy(table, kind)?,
            delayed_retry_type: delayed_retry_type(table)?,
            delayed_retry_min_ms: milliseconds(table, "x-delayed-retry-min", 0)?,
            delayed_retry_max_ms: milliseconds(table, "x-delayed-retry-max", 0)?,
            group_key: group_key(table)?,
            deduplication: deduplication(table)?,
        })
    }
}

impl Overflow {
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"drop-head" => Overflow::DropHead,
            b"reject-publish" => Overflow::RejectPublish,
            b"reject-publish-dlx" => Overflow::RejectPublishDlx,
            _ => return None,
        })
    }
}

impl DeadLetterStrategy {
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"at-most-once" => DeadLetterStrategy::AtMostOnce,
            b"at-least-once" => DeadLetterStrategy::AtLeastOnce,
            _ => return None,
        })
    }
}

impl RetryType {
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"disabled" => RetryType::Disabled,
            b"all" => RetryType::All,
            b"failed" => RetryType::Failed,
            b"returned" => RetryType::Returned,
            _ => return None,
        })
    }
}

/// Arguments that make no difference here, and are refused if they make no sense.
fn check_unused(table: Table<'_>) -> Result<(), BadArgument> {
    let mode = "x-queue-mode";
    if let Some(text) = string(table, mode)?
        && !matches!(text, b"default" | b"lazy")
    {
        return Err(unsupported(mode, "mode", text));
    }
    let version = "x-queue-version";
    if let Some(number) = count(table, version)?
        && !matches!(number, 1 | 2)
    {
        return Err(unsupported(
            version,
            "version",
            number.to_string().as_bytes(),
        ));
    }
    count(table, "x-max-in-memory-length")?;
    count(table, "x-max-in-memory-bytes")?;
    Ok(())
}

fn kind(table: Table<'_>) -> Result<QueueKind, BadArgument> {
    match string(table, QUEUE_TYPE)? {
        None | Some(b"classic") => Ok(QueueKind::Classic),
        Some(b"quorum") => Ok(QueueKind::Quorum),
        Some(b"stream") => Ok(QueueKind::Stream),
        Some(other) => Err(unsupported(QUEUE_TYPE, "type", other)),
    }
}

fn overflow(table: Table<'_>) -> Result<Overflow, BadArgument> {
    let name = "x-overflow";
    let Some(text) = string(table, name)? else {
        return Ok(Overflow::default());
    };
    Overflow::by_name(text).ok_or_else(|| invalid(name, "invalid_overflow".to_owned()))
}

/// Of a quorum queue that does not say, at-least-once.
fn dead_letter_strategy(
    table: Table<'_>,
    kind: QueueKind,
) -> Result<DeadLetterStrategy, BadArgument> {
    let name = "x-dead-letter-strategy";
    let Some(text) = string(table, name)? else {
        return Ok(match kind {
            QueueKind::Quorum => DeadLetterStrategy::AtLeastOnce,
            QueueKind::Classic | QueueKind::Stream => DeadLetterStrategy::AtMostOnce,
        });
    };
    let strategy = DeadLetterStrategy::by_name(text);
    strategy.ok_or_else(|| invalid(name, "invalid_dlx_strategy".to_owned()))
}

fn delayed_retry_type(table: Table<'_>) -> Result<RetryType, BadArgument> {
    let name = "x-delayed-retry-type";
    let Some(text) = string(table, name)? else {
        return Ok(RetryType::default());
    };
    let retry_type = RetryType::by_name(text);
    retry_type.ok_or_else(|| invalid(name, "invalid_delayed_retry_type".to_owned()))
}

fn group_key(table: Table<'_>) -> Result<Option<GroupKey>, BadArgument> {
    let Some(text) = string(table, GROUP_KEY)? else {
        return Ok(None);
    };
    let key = GroupKey::by_name(text);
    key.map(Some)
        .ok_or_else(|| invalid(GROUP_KEY, "empty_group_key".to_owned()))
}

fn deduplication(table: Table<'_>) -> Result<Option<deduplication::Settings>, BadArgument> {
    deduplication::Settings::of_queue(table).map_err(|bad| {
        let reason = format!("\"must be {}\"", bad.wanted);
        invalid(bad.name, reason)
    })
}

fn dead_letter_exchange(table: Table<'_>) -> Result<Option<Name>, BadArgument> {
    let name = DEAD_LETTER_EXCHANGE;
    match table.get(name) {
        None => Ok(None),
        Some(Value::LongString(text)) => Ok(Some(Name::from(text))),
        Some(other) => Err(BadArgument::WrongType {
            name,
            kind: other.type_name(),
        }),
    }
}

fn dead_letter_routing_key(table: Table<'_>) -> Result<Option<Name>, BadArgument> {
    let name = "x-dead-letter-routing-key";
    let key = string(table, name)?;
    if key.is_some() && table.get(DEAD_LETTER_EXCHANGE).is_none() {
        return Err(invalid(name, "routing_key_but_no_dlx_defined".to_owned()));
    }
    Ok(key.map(Name::from))
}

/// Quorum queues have the 32 priorities of RabbitMQ 4.3 without being told.
fn priority_max(table: Table<'_>, kind: QueueKind) -> Result<Option<u8>, BadArgument> {
    let name = "x-max-priority";
    let Some(value) = count(table, name)? else {
        return Ok((kind == QueueKind::Quorum).then_some(QUORUM_PRIORITY_MAX));
    };
    let priority = u8::try_from(value);
    priority
        .map(Some)
        .map_err(|_| invalid(name, format!("{{max_value_exceeded,{value}}}")))
}

/// `x-consumer-timeout` in milliseconds, of a queue or a consumer.
pub fn consumer_timeout(table: Table<'_>) -> Result<Option<u64>, BadArgument> {
    milliseconds(table, "x-consumer-timeout", 0)
}

/// -1 is RabbitMQ's way to say that there is no limit, which a quorum queue has if it says nothing.
fn delivery_limit(table: Table<'_>, kind: QueueKind) -> Result<Option<u64>, BadArgument> {
    let name = "x-delivery-limit";
    let default = (kind == QueueKind::Quorum).then_some(QUORUM_DELIVERY_LIMIT);
    match integer(table, name)? {
        None => Ok(default),
        Some(limit) => Ok(u64::try_from(limit).ok()),
    }
}

fn flag(table: Table<'_>, name: &'static str) -> Result<bool, BadArgument> {
    match table.get(name) {
        None => Ok(false),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| unacceptable_type(name, &value)),
    }
}

fn milliseconds(
    table: Table<'_>,
    name: &'static str,
    least: u64,
) -> Result<Option<u64>, BadArgument> {
    let value = count(table, name)?;
    match value {
        Some(0) if least > 0 => Err(invalid(name, "{value_zero,0}".to_owned())),
        Some(large) if large > MILLISECONDS_MAX => {
            Err(invalid(name, format!("{{value_too_large,{large}}}")))
        }
        _ => Ok(value),
    }
}

fn count(table: Table<'_>, name: &'static str) -> Result<Option<u64>, BadArgument> {
    match integer(table, name)? {
        None => Ok(None),
        Some(value) => u64::try_from(value)
            .map(Some)
            .map_err(|_| invalid(name, format!("{{value_negative,{value}}}"))),
    }
}

fn integer(table: Table<'_>, name: &'static str) -> Result<Option<i64>, BadArgument> {
    let Some(value) = table.get(name) else {
        return Ok(None);
    };
    let integer = value.as_integer().ok_or_else(|| {
        let reason = format!("\"expected integer, got {}\"", value.type_name());
        invalid(name, reason)
    })?;
    Ok(Some(integer))
}

fn string<'a>(table: Table<'a>, name: &'static str) -> Result<Option<&'a [u8]>, BadArgument> {
    match table.get(name) {
        None => Ok(None),
        Some(Value::LongString(text)) => Ok(Some(text)),
        Some(other) => Err(unacceptable_type(name, &other)),
    }
}

fn unsupported(name: &'static str, what: &str, value: &[u8]) -> BadArgument {
    let value = String::from_utf8_lossy(value);
    invalid(name, format!("\"unsupported queue {what} '{value}'\""))
}

fn unacceptable_type(name: &'static str, value: &Value<'_>) -> BadArgument {
    invalid(name, format!("{{unacceptable_type,{}}}", value.type_name()))
}

fn invalid(name: &'static str, reason: String) -> BadArgument {
    BadArgument::Invalid { name, reason }
}

impl BadArgument {
    /// RabbitMQ's text about it, for the queue described so.
    pub fn describe(&self, queue: impl fmt::Display) -> String {
        match self {
            BadArgument::Invalid { name, reason } => {
                format!("invalid arg '{name}' for {queue}: {reason}")
            }
            BadArgument::WrongType { name, kind } => {
                format!("invalid type '{kind}' for arg '{name}' in {queue}")
            }
        }
    }
}

/// A walk over such a table costs less than copying what is in it.
const SMALL_TABLE_BYTES: usize = 1024;
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// Of quorum queues since RabbitMQ 4.0.
const QUORUM_DELIVERY_LIMIT: u64 = 20;
/// Of quorum queues in RabbitMQ 4.3.
const QUORUM_PRIORITY_MAX: u8 = 31;
/// Ten years of 365 days (RabbitMQ).
pub const MILLISECONDS_MAX: u64 = 315_360_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: Value<'_>) -> String {
        let mut table = TableBuilder::new();
        table.put(name, value);
        QueueArguments::from_table(table.finish().view())
            .unwrap_err()
            .describe("queue 'q' in vhost '/'")
    }

    #[test]
    fn of_a_large_table_the_first_entry_of_each_known_name_is_kept() {
        let mut table = TableBuilder::new();
        for n in 0..200 {
            table.put(format!("x-unknown-{n}"), "y");
            table.put("x-max-length", 5 + n);
        }
        table.put("x-cache-size", 7);
        let known = known_arguments(table.view()).unwrap();
        let entries: Vec<_> = known.view().iter().collect();
        assert_eq!(
            entries,
            [
                (&b"x-max-length"[..], Value::SignedInt(5)),
                (b"x-cache-size", Value::SignedInt(7))
            ]
        );
        assert!(known_arguments(known.view()).is_none());
    }

    /// A name that is looked for, and would not be found in a large table.
    #[test]
    fn every_name_that_a_declaration_looks_for_is_known() {
        let mut filler = TableBuilder::new();
        filler.put("filler", "y".repeat(SMALL_TABLE_BYTES).as_str());
        let files = [
            include_str!("arguments.rs"),
            include_str!("../deduplication/settings.rs"),
        ];
        // Without the tests, which make up names.
        let texts = files.map(|file| file.split("#[cfg(test)]").next().unwrap_or_default());
        let words = texts.iter().flat_map(|text| text.split('"'));
        let names: Vec<_> = words
            .filter(|word| {
                let is_name = |octet: u8| octet.is_ascii_lowercase() || octet == b'-';
                word.starts_with("x-") && word.len() > 2 && word.bytes().all(is_name)
            })
            .collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let mut table = filler.clone();
            table.put(name, 1);
            let known = known_arguments(table.view()).unwrap();
            assert_eq!(known.view().iter().count(), 1, "{name}");
        }
    }

    #[test]
    fn refusals_read_as_rabbitmqs() {
        let string = Value::string("s");
        for (name, value, text) in [
            (
                "x-message-ttl",
                Value::SignedInt(-1),
                ": {value_negative,-1}",
            ),
            (
                "x-message-ttl",
                Value::Long(315_360_000_001),
                ": {value_too_large,315360000001}",
            ),
            (
                "x-message-ttl",
                string,
                ": \"expected integer, got longstr\"",
            ),
            ("x-expires", Value::SignedInt(0), ": {value_zero,0}"),
            (
                "x-max-length",
                Value::bool(true),
                ": \"expected integer, got bool\"",
            ),
            (
                "x-max-priority",
                Value::SignedInt(256),
                ": {max_value_exceeded,256}",
            ),
            ("x-overflow", string, ": invalid_overflow"),
            (
                "x-overflow",
                Value::SignedInt(5),
                ": {unacceptable_type,signedint}",
            ),
            ("x-queue-mode", string, ": \"unsupported queue mode 's'\""),
            ("x-queue-type", string, ": \"unsupported queue type 's'\""),
            (
                "x-queue-version",
                Value::SignedInt(3),
                ": \"unsupported queue version '3'\"",
            ),
            (
                "x-single-active-consumer",
                string,
                ": {unacceptable_type,longstr}",
            ),
            (
                "x-dead-letter-routing-key",
                string,
                ": routing_key_but_no_dlx_defined",
            ),
            (
                "x-group-key",
                Value::SignedInt(1),
                ": {unacceptable_type,signedint}",
            ),
            ("x-group-key", Value::string(""), ": empty_group_key"),
        ] {
            let expected = format!("invalid arg '{name}' for queue 'q' in vhost '/'{text}");
            assert_eq!(refusal(name, value), expected);
        }
        assert_eq!(
            refusal("x-dead-letter-exchange", Value::Void),
            "invalid type 'void' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"
        );
    }

    #[test]
    fn arguments_are_parsed() {
        let mut table = TableBuilder::new();
        table.put("x-message-ttl", Value::Short(0));
        table.put("x-expires", Value::Long(1));
        table.put("x-overflow", Value::string("reject-publish"));
        table.put("x-queue-type", Value::string("quorum"));
        table.put("x-delivery-limit", Value::SignedInt(-1));
        table.put("x-group-key", Value::string("customer"));
        table.put("x-unknown", Value::Void);
        let arguments = QueueArguments::from_table(table.finish().view()).unwrap();
        let expected = QueueArguments {
            kind: QueueKind::Quorum,
            message_ttl_ms: Some(0),
            expires_ms: Some(1),
            overflow: Overflow::RejectPublish,
            priority_max: Some(QUORUM_PRIORITY_MAX),
            dead_letter_strategy: DeadLetterStrategy::AtLeastOnce,
            group_key: Some(GroupKey::Header(Name::from("customer"))),
            ..QueueArguments::default()
        };
        assert_eq!(arguments, expected);
    }
}
