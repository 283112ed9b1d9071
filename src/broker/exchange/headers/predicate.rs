//! What a binding demands of a message's headers.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;

use super::message::MessageHeaders;
use super::x_match::XMatch;
use crate::wire::amqp::{OwnedTable, Table, TableBuilder, Value};

/// How many of the conditions a message must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    All,
    Any,
}

/// The conditions of a binding, without those that do not count.
#[derive(Debug)]
pub(super) struct Predicate {
    kind: Kind,
    hash: u64,
    /// Their hashes, sorted; one may come twice.
    conditions: Box<[u64]>,
    /// Name and value of each; void means that the header's presence is enough.
    arguments: OwnedTable,
}

impl Predicate {
    /// Keeps of the arguments of a binding what counts: not `x-match`, and other names with `x-` only
    /// if `x-match` says so.
    pub(super) fn new(arguments: Table<'_>) -> Self {
        let x_match = XMatch::of(arguments).unwrap_or_default();
        let mut conditions = Vec::new();
        let mut counting = TableBuilder::new();
        for (name, value) in arguments.iter().filter(|(name, _)| x_match.counts(name)) {
            conditions.push(condition_hash(name, value));
            counting.put(name, value);
        }
        conditions.sort_unstable();
        Predicate {
            kind: x_match.kind,
            hash: FixedState::default().hash_one((x_match.kind, &conditions)),
            conditions: conditions.into(),
            arguments: counting.finish(),
        }
    }

    /// Whether every message matches, since it fulfils all of no conditions.
    pub(super) fn is_unconditional(&self) -> bool {
        self.kind == Kind::All && self.conditions.is_empty()
    }

    /// Whether no message matches, since none fulfils any of no conditions.
    pub(super) fn is_unfulfillable(&self) -> bool {
        self.kind == Kind::Any && self.conditions.is_empty()
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn conditions(&self) -> &[u64] {
        &self.conditions
    }

    pub(super) fn matches(&self, message: &MessageHeaders) -> bool {
        let mut hashes = self.conditions.iter();
        let mut arguments = self.arguments.view().iter();
        let fulfilled = |(name, wanted)| match (wanted, message.get(name)) {
            (_, None) => false,
            (Value::Void, Some(_)) => true,
            (wanted, Some(value)) => equal(&wanted, &value),
        };
        match self.kind {
            Kind::All => hashes.all(|&hash| message.may_fulfil(hash)) && arguments.all(fulfilled),
            Kind::Any => hashes.any(|&hash| message.may_fulfil(hash)) && arguments.any(fulfilled),
        }
    }

    /// Whether both match the same messages because they have the same conditions, in whatever order.
    pub(super) fn same(&self, other: &Predicate) -> bool {
        // The bytes first: what is not a number is not the same value as itself.
        self.kind == other.kind
            && self.conditions == other.conditions
            && (self.arguments == other.arguments
                || self.arguments.view().same_entries(&other.arguments.view()))
    }
}

/// The hashes of the conditions that a header fulfils: to have the value, and to be there.
pub(super) fn condition_hashes(name: &[u8], value: Value<'_>) -> [u64; 2] {
    [
        condition_hash(name, value),
        condition_hash(name, Value::Void),
    ]
}

/// Whether a header has the value that is wanted: as arguments are compared, but here 1 is 1.0
/// (RabbitMQ).
pub(super) fn equal(wanted: &Value<'_>, value: &Value<'_>) -> bool {
    wanted.same_value(value)
        || match (whole_number(wanted), whole_number(value)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
}

/// The number, of any type, if it has no fraction.
fn whole_number(value: &Value<'_>) -> Option<i64> {
    let float = match value.as_float() {
        None => return value.as_integer(),
        Some(float) => float,
    };
    // The upper end of the range is no i64 itself; what is not a number is in no range.
    let in_range = (i64::MIN as f64..-(i64::MIN as f64)).contains(&float);
    (in_range && float.fract() == 0.0).then_some(float as i64)
}

/// Equal for values that [`equal`] takes for the same.
fn condition_hash(name: &[u8], value: Value<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    name.hash(&mut hasher);
    if let Some(integer) = whole_number(&value) {
        ("integer", integer).hash(&mut hasher);
    } else if let Some(float) = value.as_float() {
        ("float", float.to_bits()).hash(&mut hasher);
    } else {
        match value {
            Value::Bool(octet) => ("bool", octet != 0).hash(&mut hasher),
            // Nested values are rare here: their type is enough to find candidates.
            Value::Table(_) | Value::Array(_) => value.type_name().hash(&mut hasher),
            value => value.hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_values_have_the_same_hash() {
        let same = [
            (Value::Byte(-3), Value::Long(-3)),
            (Value::UnsignedInt(7), Value::LongLong(7)),
            (Value::Float(1.5f32.to_bits()), Value::double(1.5)),
            (Value::double(0.0), Value::double(-0.0)),
            (Value::double(1.0), Value::Byte(1)),
            (
                Value::double(-9_223_372_036_854_775_808.0),
                Value::Long(i64::MIN),
            ),
            (Value::Bool(1), Value::Bool(2)),
        ];
        for (a, b) in same {
            assert!(equal(&a, &b));
            assert_eq!(condition_hash(b"h", a), condition_hash(b"h", b), "{a:?}");
        }
        let a = condition_hash(b"h", Value::Long(1));
        assert!(!equal(
            &Value::Long(i64::MAX),
            &Value::double(9.223_372_036_854_776e18)
        ));
        assert!(!equal(&Value::double(f64::NAN), &Value::Long(0)));
        assert_ne!(a, condition_hash(b"h", Value::double(1.5)));
        assert_ne!(a, condition_hash(b"g", Value::Long(1)));
        assert_ne!(a, condition_hash(b"h", Value::Timestamp(1)));
    }
}
