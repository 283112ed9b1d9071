//! Values of definitions and parameters: what JSON can say, kept as field table values.
//!
//! Doors that speak JSON turn numbers without fraction into longs, other numbers into doubles, text into
//! long strings, `null` into void, lists into arrays and objects into tables.

use std::fmt::{self, Display, Formatter, Write};

use crate::broker::exchange::erlang_term::ErlangTerm;
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};

/// A value that owns its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedValue(
    /// With the one entry that is the value.
    OwnedTable,
);

impl OwnedValue {
    pub fn view(&self) -> Value<'_> {
        let entry = self.0.view().iter().next();
        entry.map_or(Value::Void, |(_, value)| value)
    }

    /// As the store keeps it.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.view().as_bytes()
    }

    /// `None` if that is not what the bytes are.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<OwnedValue> {
        let table = Table::from_encoded(bytes).ok()?;
        let is_single = table.iter().count() == 1;
        is_single.then(|| OwnedValue(OwnedTable::from(table)))
    }
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        let mut table = TableBuilder::new();
        table.put("", value);
        OwnedValue(table.finish())
    }
}

impl fmt::Debug for OwnedValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Shows a value as RabbitMQ's texts do that come from its reading of JSON, on one line.
pub(super) struct Shown<'a>(pub Value<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Void => f.write_str("null"),
            Value::Array(array) => {
                f.write_char('[')?;
                for (index, value) in array.iter().enumerate() {
                    write!(f, "{}{}", comma(index), Shown(value))?;
                }
                f.write_char(']')
            }
            Value::Table(table) => {
                f.write_str("#{")?;
                for (index, (name, value)) in table.iter().enumerate() {
                    let name = ErlangTerm(Value::LongString(name));
                    write!(f, "{}{name} => {}", comma(index), Shown(value))?;
                }
                f.write_char('}')
            }
            other => ErlangTerm(other).fmt(f),
        }
    }
}

/// What stands before the item with this index.
pub(super) fn comma(index: usize) -> &'static str {
    if index > 0 { "," } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::field_table::ArrayBuilder;

    #[test]
    fn values_of_every_kind_are_kept_and_shown_as_rabbitmq_shows_json() {
        let mut inner = TableBuilder::new();
        inner.put("b", Value::Void);
        let mut array = ArrayBuilder::new();
        array.push(1i64).push_table(&inner);
        for (value, shown) in [
            (Value::Long(-1), "-1"),
            (Value::double(1.5), "1.5"),
            (Value::bool(true), "true"),
            (Value::Void, "null"),
            (Value::string("a"), r#"<<"a">>"#),
            (Value::Array(array.view()), r#"[1,#{<<"b">> => null}]"#),
            (Value::Table(Table::EMPTY), "#{}"),
        ] {
            let owned = OwnedValue::from(value);
            assert_eq!(owned.view(), value);
            assert_eq!(Shown(owned.view()).to_string(), shown);
            assert_eq!(OwnedValue::from_bytes(owned.as_bytes()), Some(owned));
        }
        assert_eq!(OwnedValue::from_bytes(b""), None);
        assert_eq!(OwnedValue::from_bytes(b"\0?"), None);
    }
}
