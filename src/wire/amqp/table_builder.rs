//! Field tables that own their bytes, and what makes new ones.

use std::fmt;

use super::super::writer::Writer;
use super::field_table::{Array, Table};
use super::field_value::{Value, write_value};

/// A field table with its own copy of the bytes. Equality and hash are those of the bytes, so the
/// order of entries and the types of numbers matter; to compare arguments, see
/// [`Table::same_entries`].
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct OwnedTable(
    /// Encoded entries, well-formed since they come from a [`Table`] or a builder.
    Box<[u8]>,
);

impl OwnedTable {
    /// The table, to be looked into.
    #[inline]
    pub fn view(&self) -> Table<'_> {
        Table::from_checked(&self.0)
    }
}

impl From<Table<'_>> for OwnedTable {
    fn from(table: Table<'_>) -> Self {
        OwnedTable(table.as_bytes().into())
    }
}

impl fmt::Debug for OwnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Makes a field table, entry by entry. Names are not compared: a name put twice is there twice.
#[derive(Clone, Default)]
pub struct TableBuilder {
    entries: Vec<u8>,
}

impl TableBuilder {
    /// A builder of a table without entries.
    pub fn new() -> Self {
        TableBuilder::default()
    }

    /// A builder that starts with the entries of `table`.
    pub fn from_table(table: Table<'_>) -> Self {
        TableBuilder {
            entries: table.as_bytes().to_vec(),
        }
    }

    /// Appends an entry. A name has at most 255 bytes, as every short string.
    pub fn put<'v>(&mut self, key: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> &mut Self {
        let mut writer = Writer::new(&mut self.entries);
        writer.short_string(key.as_ref());
        write_value(&mut writer, value.into());
        self
    }

    /// Appends an entry whose value is a table.
    pub fn put_table(&mut self, key: impl AsRef<[u8]>, table: &TableBuilder) -> &mut Self {
        self.put(key, table.view())
    }

    /// Appends an entry whose value is an array.
    pub fn put_array(&mut self, key: impl AsRef<[u8]>, array: &ArrayBuilder) -> &mut Self {
        self.put(key, array.view())
    }

    /// The table so far.
    #[inline]
    pub fn view(&self) -> Table<'_> {
        Table::from_checked(&self.entries)
    }

    /// The table.
    pub fn finish(self) -> OwnedTable {
        OwnedTable(self.entries.into_boxed_slice())
    }
}

impl fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Makes a field array, value by value.
#[derive(Clone, Default)]
pub struct ArrayBuilder {
    values: Vec<u8>,
}

impl ArrayBuilder {
    /// A builder of an array without values.
    pub fn new() -> Self {
        ArrayBuilder::default()
    }

    /// Appends a value.
    pub fn push<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        write_value(&mut Writer::new(&mut self.values), value.into());
        self
    }

    /// Appends a table.
    pub fn push_table(&mut self, table: &TableBuilder) -> &mut Self {
        self.push(table.view())
    }

    /// Appends an array.
    pub fn push_array(&mut self, array: &ArrayBuilder) -> &mut Self {
        self.push(array.view())
    }

    /// The array so far.
    #[inline]
    pub fn view(&self) -> Array<'_> {
        Array::from_checked(&self.values)
    }
}

impl fmt::Debug for ArrayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_table_is_well_formed_and_says_what_was_put() {
        let mut inner = TableBuilder::new();
        inner.put("x", 1).put("y", true);
        let mut array = ArrayBuilder::new();
        array.push("first").push_table(&inner).push(Value::Void);
        let mut builder = TableBuilder::new();
        builder
            .put("name", "value")
            .put_table("inner", &inner)
            .put_array("array", &array);
        let table = builder.finish();

        let view = Table::from_encoded(table.view().as_bytes()).expect("well-formed");
        assert_eq!(view.get("name"), Some(Value::string("value")));
        let inner = view.get("inner").and_then(|value| value.as_table());
        assert_eq!(inner.and_then(|t| t.get("x")), Some(Value::SignedInt(1)));
        assert_eq!(
            format!("{table:?}"),
            r#"{"name": "value", "inner": {"x": signedint(1), "y": true}, "array": ["first", {"x": signedint(1), "y": true}, void]}"#
        );
    }

    #[test]
    fn an_owned_table_is_a_copy_of_the_bytes() {
        let mut builder = TableBuilder::new();
        builder.put("x-max-length", 10);
        let table = builder.clone().finish();
        assert_eq!(OwnedTable::from(table.view()), table);
        assert_eq!(TableBuilder::from_table(table.view()).finish(), table);
        assert_eq!(OwnedTable::default().view(), Table::EMPTY);
    }
}
