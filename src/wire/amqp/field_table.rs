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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::writer::Writer;
    use super::super::arbitrary;
    use super::*;

    /// One entry per tag, in the order of the tags' names in RabbitMQ's errata.
    const EVERY_TYPE: &[u8] = b"\
        \x01at\x02\
        \x01bb\xff\
        \x01cB\xff\
        \x01ds\xff\xfe\
        \x01eu\xff\xfe\
        \x01fI\xff\xff\xff\xfe\
        \x01gi\xff\xff\xff\xfe\
        \x01hl\xff\xff\xff\xff\xff\xff\xff\xfe\
        \x01iL\xff\xff\xff\xff\xff\xff\xff\xfd\
        \x01jf\x3f\x80\x00\x00\
        \x01kd\x3f\xf0\x00\x00\x00\x00\x00\x00\
        \x01lD\x02\x00\x00\x01\x3a\
        \x01mS\x00\x00\x00\x02hi\
        \x01nx\x00\x00\x00\x02\x00\xff\
        \x01oA\x00\x00\x00\x04t\x00b\x01\
        \x01pT\x00\x00\x00\x00\x00\x00\x00\x07\
        \x01qF\x00\x00\x00\x03\x01xV\
        \x01rV";

    fn every_value() -> [Value<'static>; 18] {
        [
            Value::Bool(2),
            Value::Byte(-1),
            Value::UnsignedByte(255),
            Value::Short(-2),
            Value::UnsignedShort(0xfffe),
            Value::SignedInt(-2),
            Value::UnsignedInt(0xffff_fffe),
            Value::Long(-2),
            Value::LongLong(-3),
            Value::Float(1f32.to_bits()),
            Value::double(1.0),
            Value::Decimal {
                scale: 2,
                value: 314,
            },
            Value::LongString(b"hi"),
            Value::Binary(b"\x00\xff"),
            Value::Array(Array::from_encoded(b"t\x00b\x01").unwrap()),
            Value::Timestamp(7),
            Value::Table(Table::from_encoded(b"\x01xV").unwrap()),
            Value::Void,
        ]
    }

    /// Builds the table anew, down to its innermost values.
    fn rebuilt(table: Table<'_>) -> TableBuilder {
        let mut builder = TableBuilder::new();
        for (name, value) in table {
            match value {
                Value::Table(table) => builder.put_table(name, &rebuilt(table)),
                Value::Array(array) => builder.put_array(name, &rebuilt_array(array)),
                other => builder.put(name, other),
            };
        }
        builder
    }

    fn rebuilt_array(array: Array<'_>) -> ArrayBuilder {
        let mut builder = ArrayBuilder::new();
        for value in array {
            match value {
                Value::Table(table) => builder.push_table(&rebuilt(table)),
                Value::Array(array) => builder.push_array(&rebuilt_array(array)),
                other => builder.push(other),
            };
        }
        builder
    }

    fn nested(levels: usize, tag: u8) -> Vec<u8> {
        (1..levels).fold(Vec::new(), |inner, _| {
            let mut outer = if tag == b'F' { vec![0] } else { vec![] };
            outer.push(tag);
            outer.extend_from_slice(&arbitrary::with_size(&inner));
            outer
        })
    }

    #[test]
    fn every_type_is_read_and_built_bit_for_bit() {
        let table = Table::from_encoded(EVERY_TYPE).unwrap();
        let values: Vec<_> = table.iter().map(|(_, value)| value).collect();
        assert_eq!(values, every_value());
        assert_eq!(rebuilt(table).view().as_bytes(), EVERY_TYPE);
        assert!(table.same_entries(&rebuilt(table).view()));
    }

    #[test]
    fn types_have_the_names_rabbitmq_prints() {
        let names = every_value().map(|value| value.type_name()).join(" ");
        assert_eq!(
            names,
            "bool byte unsignedbyte short unsignedshort signedint unsignedint long long float \
             double decimal longstr binary array timestamp table void"
        );
    }

    #[test]
    fn a_table_cut_anywhere_but_between_entries_is_an_error() {
        let table = Table::from_encoded(EVERY_TYPE).unwrap();
        let mut boundaries = vec![0];
        for (name, value) in table {
            let mut entry = TableBuilder::new();
            entry.put(name, value);
            boundaries.push(boundaries.last().unwrap() + entry.view().as_bytes().len());
        }
        for end in 0..=EVERY_TYPE.len() {
            let cut = Table::from_encoded(&EVERY_TYPE[..end]);
            assert_eq!(cut.is_ok(), boundaries.contains(&end), "cut at {end}");
        }
    }

    #[test]
    fn unknown_tags_are_refused_at_every_depth() {
        assert_eq!(
            Table::from_encoded(b"\x01a?"),
            Err(Malformed::BadFieldType(b'?'))
        );
        assert_eq!(
            Table::from_encoded(b"\x01aF\x00\x00\x00\x03\x01bZ"),
            Err(Malformed::BadFieldType(b'Z'))
        );
        assert_eq!(
            Table::from_encoded(b"\x01aA\x00\x00\x00\x01\x00"),
            Err(Malformed::BadFieldType(0))
        );
    }

    #[test]
    fn what_is_nested_must_end_with_what_encloses_it() {
        let inner_longer_than_outer = b"\x01aF\x00\x00\x00\x07\x01bS\x00\x00\x00\x09";
        assert_eq!(
            Table::from_encoded(inner_longer_than_outer),
            Err(Malformed::Truncated)
        );
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        for tag in [b'F', b'A'] {
            let check = |levels: usize| match tag {
                b'F' => Table::from_encoded(&nested(levels, tag)).map(|_| ()),
                _ => Array::from_encoded(&nested(levels, tag)).map(|_| ()),
            };
            assert_eq!(check(DEPTH_MAX), Ok(()));
            assert_eq!(check(DEPTH_MAX + 1), Err(Malformed::TableTooDeep));
            assert_eq!(check(10_000), Err(Malformed::TableTooDeep));
        }
    }

    #[test]
    fn the_first_of_equal_names_is_found() {
        let mut builder = TableBuilder::new();
        builder.put("a", 1).put("b", 2).put("a", 3);
        let table = builder.view();
        assert_eq!(table.get("a"), Some(Value::SignedInt(1)));
        assert_eq!(table.get(b"b"), Some(Value::SignedInt(2)));
        assert_eq!(table.get("c"), None);
        assert_eq!(table.iter().count(), 3);
        assert_eq!(Table::EMPTY.get("a"), None);
    }

    #[test]
    fn tables_are_compared_without_order_and_arrays_with_it() {
        let (mut left, mut right) = (TableBuilder::new(), TableBuilder::new());
        left.put("a", 1).put("b", "x");
        right.put("b", "x").put("a", 1i64);
        assert!(left.view().same_entries(&right.view()));
        right.put("c", Value::Void);
        assert!(!left.view().same_entries(&right.view()));

        let (mut ab, mut ba) = (ArrayBuilder::new(), ArrayBuilder::new());
        ab.push("a").push("b");
        ba.push("b").push("a");
        assert!(ab.view().same_values(&ab.view()));
        assert!(!ab.view().same_values(&ba.view()));
        ba = ab.clone();
        ba.push("c");
        assert!(!ab.view().same_values(&ba.view()));
    }

    proptest! {
        #[test]
        fn random_tables_are_rebuilt_bit_for_bit(entries in arbitrary::table()) {
            let table = Table::from_encoded(&entries).unwrap();
            let rebuilt = rebuilt(table);
            prop_assert_eq!(rebuilt.view().as_bytes(), &entries[..]);
            let mut out = Vec::new();
            Writer::new(&mut out).table(table);
            prop_assert_eq!(Reader::new(&out).table(), Ok(table));
            prop_assert_ne!(format!("{table:?}"), "");
        }

        #[test]
        fn random_bytes_are_refused_or_rebuilt(entries in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(table) = Table::from_encoded(&entries) {
                let rebuilt = rebuilt(table);
                prop_assert_eq!(rebuilt.view().as_bytes(), &entries[..]);
            }
        }
    }
}
