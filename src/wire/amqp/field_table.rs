//! Field tables and arrays (AMQP 0-9-1 §4.2.5.5), with the type tags of RabbitMQ's errata.
//!
//! [`Table`] and [`Array`] are views over encoded bytes that were checked once, when they were
//! made; walking them afterwards cannot fail and allocates nothing. Every type tag has a variant
//! of its own in [`Value`], so that what is decoded is encoded again bit for bit.

use std::fmt;

use super::super::Malformed;
use super::super::reader::Reader;
use super::field_value::{Printable, read_value};

pub use super::field_value::Value;
pub use super::table_builder::{ArrayBuilder, OwnedTable, TableBuilder};

/// How deep tables and arrays may be nested, the outermost counted. The check recurses this far
/// at most; RabbitMQ has no limit, and no client comes near this one.
pub const DEPTH_MAX: usize = 64;

/// A field table: names and values in the order they were sent. A name may come twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Encoded entries without the size before them; checked.
    entries: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table without entries.
    pub const EMPTY: Table<'static> = Table { entries: &[] };

    /// A view over entries that are known to be well-formed.
    #[inline]
    pub(super) fn from_checked(entries: &'a [u8]) -> Table<'a> {
        Table { entries }
    }

    /// A view over encoded entries (without the size before them), if they are well-formed:
    /// every tag known, every value inside, nested at most [`DEPTH_MAX`] deep.
    pub fn from_encoded(entries: &'a [u8]) -> Result<Table<'a>, Malformed> {
        check_table(entries, DEPTH_MAX)?;
        Ok(Table { entries })
    }

    /// The encoded entries, without the size before them.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.entries
    }

    /// Whether the table has no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values, in the order they were sent.
    #[inline]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter {
            reader: Reader::new(self.entries),
        }
    }

    /// The value of the first entry with this name.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let key = key.as_ref();
        self.iter()
            .find(|&(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Whether two tables have the same names with the [same values](Value::same_value), in
    /// whatever order. Entries of one name are compared in their order.
    pub fn same_entries(&self, other: &Table<'_>) -> bool {
        let (ours, theirs) = (self.sorted(), other.sorted());
        ours.len() == theirs.len()
            && ours
                .iter()
                .zip(&theirs)
                .all(|(a, b)| a.0 == b.0 && a.1.same_value(&b.1))
    }

    /// Entries sorted by name. Sorting keeps the comparison of large tables out of quadratic time.
    fn sorted(&self) -> Vec<(&'a [u8], Value<'a>)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|&(name, _)| name);
        entries
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(name, value)| (Printable(name), value));
        f.debug_map().entries(entries).finish()
    }
}

/// The entries of a [`Table`].
#[derive(Clone, Debug)]
pub struct TableIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.remaining() == 0 {
            return None;
        }
        let entry = read_entry(&mut self.reader);
        debug_assert!(entry.is_ok(), "a table is checked when it is made");
        entry.ok()
    }
}

/// A field array: values in their order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Array<'a> {
    /// Encoded values without the size before them; checked.
    values: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array without values.
    pub const EMPTY: Array<'static> = Array { values: &[] };

    /// A view over values that are known to be well-formed.
    #[inline]
    pub(super) fn from_checked(values: &'a [u8]) -> Array<'a> {
        Array { values }
    }

    /// A view over encoded values (without the size before them), if they are well-formed, as
    /// for [`Table::from_encoded`].
    pub fn from_encoded(values: &'a [u8]) -> Result<Array<'a>, Malformed> {
        check_array(values, DEPTH_MAX)?;
        Ok(Array { values })
    }

    /// The encoded values, without the size before them.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.values
    }

    /// Whether the array has no values.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, in their order.
    #[inline]
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter {
            reader: Reader::new(self.values),
        }
    }

    /// Whether two arrays hold the [same values](Value::same_value) in the same order.
    pub fn same_values(&self, other: &Array<'_>) -> bool {
        let (mut ours, mut theirs) = (self.iter(), other.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.same_value(&b) => {}
                _ => return false,
            }
        }
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The values of an [`Array`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.reader.remaining() == 0 {
            return None;
        }
        let value = read_value(&mut self.reader);
        debug_assert!(value.is_ok(), "an array is checked when it is made");
        value.ok()
    }
}

/// Reads a name and a value; what is nested in the value is not looked into.
#[inline]
fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Value<'a>), Malformed> {
    Ok((reader.short_string()?, read_value(reader)?))
}

/// One linear walk over all entries and what is nested in them, at most `depth` levels.
fn check_table(entries: &[u8], depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TableTooDeep)?;
    let mut reader = Reader::new(entries);
    while reader.remaining() > 0 {
        let (_, value) = read_entry(&mut reader)?;
        check_nested(value, depth)?;
    }
    Ok(())
}

fn check_array(values: &[u8], depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TableTooDeep)?;
    let mut reader = Reader::new(values);
    while reader.remaining() > 0 {
        check_nested(read_value(&mut reader)?, depth)?;
    }
    Ok(())
}

#[inline]
fn check_nested(value: Value<'_>, depth: usize) -> Result<(), Malformed> {
    match value {
        Value::Table(table) => check_table(table.entries, depth),
        Value::Array(array) => check_array(array.values, depth),
        _ => Ok(()),
    }
}
