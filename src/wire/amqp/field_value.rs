//! Values of field tables and arrays, one variant per type tag.

use std::fmt;

use super::super::Malformed;
use super::super::reader::Reader;
use super::super::writer::Writer;
use super::field_table::{Array, Table};

/// A value with the type it was sent with. Tags are those that RabbitMQ uses, which differ from
/// the specification's; `l` and `L` mean the same, but stay apart so as to be sent on unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// Tag `t`; any octet but 0 is true. See [`Value::bool`].
    Bool(u8),
    /// Tag `b`.
    Byte(i8),
    /// Tag `B`.
    UnsignedByte(u8),
    /// Tag `s`.
    Short(i16),
    /// Tag `u`.
    UnsignedShort(u16),
    /// Tag `I`.
    SignedInt(i32),
    /// Tag `i`.
    UnsignedInt(u32),
    /// Tag `l`.
    Long(i64),
    /// Tag `L`.
    LongLong(i64),
    /// Tag `f`: the bits of an [`f32`]. See [`Value::as_float`].
    Float(u32),
    /// Tag `d`: the bits of an [`f64`]. See [`Value::as_float`].
    Double(u64),
    /// Tag `D`: `value` with `scale` digits after the decimal point.
    Decimal { scale: u8, value: u32 },
    /// Tag `S`.
    LongString(&'a [u8]),
    /// Tag `x`.
    Binary(&'a [u8]),
    /// Tag `A`.
    Array(Array<'a>),
    /// Tag `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// Tag `F`.
    Table(Table<'a>),
    /// Tag `V`.
    Void,
}

impl<'a> Value<'a> {
    /// A truth value.
    pub const fn bool(value: bool) -> Value<'static> {
        Value::Bool(value as u8)
    }

    /// A double-precision number.
    pub const fn double(value: f64) -> Value<'static> {
        Value::Double(value.to_bits())
    }

    /// A long string.
    pub const fn string(value: &'a str) -> Value<'a> {
        Value::LongString(value.as_bytes())
    }

    /// The type's name as RabbitMQ prints it in error texts.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::Byte(_) => "byte",
            Value::UnsignedByte(_) => "unsignedbyte",
            Value::Short(_) => "short",
            Value::UnsignedShort(_) => "unsignedshort",
            Value::SignedInt(_) => "signedint",
            Value::UnsignedInt(_) => "unsignedint",
            Value::Long(_) | Value::LongLong(_) => "long",
            Value::Float(_) => "float",
            Value::Double(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::LongString(_) => "longstr",
            Value::Binary(_) => "binary",
            Value::Array(_) => "array",
            Value::Timestamp(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Void => "void",
        }
    }

    /// The number, of any integer type; a timestamp is not one.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Value::Byte(value) => Some(value.into()),
            Value::UnsignedByte(value) => Some(value.into()),
            Value::Short(value) => Some(value.into()),
            Value::UnsignedShort(value) => Some(value.into()),
            Value::SignedInt(value) => Some(value.into()),
            Value::UnsignedInt(value) => Some(value.into()),
            Value::Long(value) | Value::LongLong(value) => Some(value),
            _ => None,
        }
    }

    /// The number, of either floating-point type.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Value::Float(bits) => Some(f32::from_bits(bits).into()),
            Value::Double(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(octet) => Some(octet != 0),
            _ => None,
        }
    }

    /// The bytes of a long string or a binary.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Value::LongString(bytes) | Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Value::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The nested table.
    pub fn as_table(&self) -> Option<Table<'a>> {
        match *self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The nested array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Whether two values count as the same argument, as RabbitMQ compares them on a second
    /// declaration: integers of any type by value, floats of any type by value, all else only
    /// within its type. So 10 is 10 whatever its width, but not 10.0. The order of a table's
    /// entries does not matter.
    pub fn same_value(&self, other: &Value<'_>) -> bool {
        if let (Some(a), Some(b)) = (self.as_integer(), other.as_integer()) {
            return a == b;
        }
        if let (Some(a), Some(b)) = (self.as_float(), other.as_float()) {
            return a == b;
        }
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => (*a != 0) == (*b != 0),
            (Value::Table(a), Value::Table(b)) => a.same_entries(b),
            (Value::Array(a), Value::Array(b)) => a.same_values(b),
            _ => self == other,
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Value::SignedInt(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Long(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::LongString(value.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::LongString(value)
    }
}

impl<'a> From<Table<'a>> for Value<'a> {
    fn from(value: Table<'a>) -> Self {
        Value::Table(value)
    }
}

impl<'a> From<Array<'a>> for Value<'a> {
    fn from(value: Array<'a>) -> Self {
        Value::Array(value)
    }
}

impl fmt::Debug for Value<'_> {
    /// A value as one would write it, with its type where that is not plain to see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.type_name();
        match *self {
            Value::Bool(octet) => write!(f, "{}", octet != 0),
            Value::Float(bits) => write!(f, "{name}({:?})", f32::from_bits(bits)),
            Value::Double(bits) => write!(f, "{name}({:?})", f64::from_bits(bits)),
            Value::Decimal { scale, value } => write!(f, "{name}({value}e-{scale})"),
            Value::LongString(bytes) => Printable(bytes).fmt(f),
            Value::Binary(bytes) => write!(f, "{name}({:?})", Printable(bytes)),
            Value::Array(array) => array.fmt(f),
            Value::Timestamp(seconds) => write!(f, "{name}({seconds})"),
            Value::Table(table) => table.fmt(f),
            Value::Void => f.write_str(name),
            _ => write!(f, "{name}({})", self.as_integer().unwrap_or_default()),
        }
    }
}

/// Bytes that are mostly text, for people to read.
pub(super) struct Printable<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Reads a tag and its value. A nested table or array is only cut out: who makes the outermost
/// view checks them all, so that iterating over it need not do so again.
#[inline]
pub(super) fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Malformed> {
    Ok(match reader.octet()? {
        b't' => Value::Bool(reader.octet()?),
        b'b' => Value::Byte(reader.array().map(i8::from_be_bytes)?),
        b'B' => Value::UnsignedByte(reader.octet()?),
        b's' => Value::Short(reader.array().map(i16::from_be_bytes)?),
        b'u' => Value::UnsignedShort(reader.short()?),
        b'I' => Value::SignedInt(reader.array().map(i32::from_be_bytes)?),
        b'i' => Value::UnsignedInt(reader.long()?),
        b'l' => Value::Long(reader.array().map(i64::from_be_bytes)?),
        b'L' => Value::LongLong(reader.array().map(i64::from_be_bytes)?),
        b'f' => Value::Float(reader.long()?),
        b'd' => Value::Double(reader.longlong()?),
        b'D' => Value::Decimal {
            scale: reader.octet()?,
            value: reader.long()?,
        },
        b'S' => Value::LongString(reader.long_string()?),
        b'x' => Value::Binary(reader.long_string()?),
        b'A' => Value::Array(Array::from_checked(reader.long_string()?)),
        b'T' => Value::Timestamp(reader.timestamp()?),
        b'F' => Value::Table(Table::from_checked(reader.long_string()?)),
        b'V' => Value::Void,
        other => return Err(Malformed::BadFieldType(other)),
    })
}

/// Writes a tag and its value.
pub(super) fn write_value(writer: &mut Writer<'_>, value: Value<'_>) {
    writer.octet(tag(&value));
    match value {
        Value::Bool(octet) | Value::UnsignedByte(octet) => writer.octet(octet),
        Value::Byte(value) => writer.raw(&value.to_be_bytes()),
        Value::Short(value) => writer.raw(&value.to_be_bytes()),
        Value::UnsignedShort(value) => writer.short(value),
        Value::SignedInt(value) => writer.raw(&value.to_be_bytes()),
        Value::UnsignedInt(value) | Value::Float(value) => writer.long(value),
        Value::Long(value) | Value::LongLong(value) => writer.raw(&value.to_be_bytes()),
        Value::Double(value) | Value::Timestamp(value) => writer.longlong(value),
        Value::Decimal { scale, value } => {
            writer.octet(scale);
            writer.long(value);
        }
        Value::LongString(bytes) | Value::Binary(bytes) => writer.long_string(bytes),
        Value::Array(array) => writer.field_array(array),
        Value::Table(table) => writer.table(table),
        Value::Void => {}
    }
}

const fn tag(value: &Value<'_>) -> u8 {
    match value {
        Value::Bool(_) => b't',
        Value::Byte(_) => b'b',
        Value::UnsignedByte(_) => b'B',
        Value::Short(_) => b's',
        Value::UnsignedShort(_) => b'u',
        Value::SignedInt(_) => b'I',
        Value::UnsignedInt(_) => b'i',
        Value::Long(_) => b'l',
        Value::LongLong(_) => b'L',
        Value::Float(_) => b'f',
        Value::Double(_) => b'd',
        Value::Decimal { .. } => b'D',
        Value::LongString(_) => b'S',
        Value::Binary(_) => b'x',
        Value::Array(_) => b'A',
        Value::Timestamp(_) => b'T',
        Value::Table(_) => b'F',
        Value::Void => b'V',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: Value<'_>, b: Value<'_>) -> bool {
        let forth = a.same_value(&b);
        assert_eq!(forth, b.same_value(&a), "{a:?} and {b:?}");
        forth
    }

    #[test]
    fn integers_of_all_widths_are_compared_by_value() {
        let tens = [
            Value::Byte(10),
            Value::UnsignedByte(10),
            Value::Short(10),
            Value::UnsignedShort(10),
            Value::SignedInt(10),
            Value::UnsignedInt(10),
            Value::Long(10),
            Value::LongLong(10),
        ];
        for a in tens {
            assert!(tens.iter().all(|&b| same(a, b)));
            assert!(!same(a, Value::Long(11)));
            assert!(!same(a, Value::double(10.0)));
            assert!(!same(a, Value::Timestamp(10)));
            assert!(!same(a, Value::string("10")));
        }
        assert!(!same(Value::UnsignedInt(u32::MAX), Value::SignedInt(-1)));
    }

    #[test]
    fn floats_of_both_widths_are_compared_by_value() {
        assert!(same(Value::Float(0.5f32.to_bits()), Value::double(0.5)));
        assert!(!same(Value::Float(0.1f32.to_bits()), Value::double(0.1)));
        assert!(same(Value::double(0.0), Value::double(-0.0)));
        assert!(!same(Value::double(f64::NAN), Value::double(f64::NAN)));
    }

    #[test]
    fn other_types_are_the_same_only_as_themselves() {
        assert!(same(Value::Bool(1), Value::Bool(255)));
        assert!(!same(Value::Bool(1), Value::Byte(1)));
        assert!(!same(Value::LongString(b"a"), Value::Binary(b"a")));
        assert!(same(Value::Void, Value::Void));
        assert!(!same(
            Value::Decimal { scale: 1, value: 1 },
            Value::Decimal { scale: 2, value: 1 }
        ));
    }

    #[test]
    fn values_print_as_one_would_write_them() {
        assert_eq!(format!("{:?}", Value::string("a\u{1}")), r#""a\x01""#);
        assert_eq!(format!("{:?}", Value::Bool(1)), "true");
        assert_eq!(format!("{:?}", Value::SignedInt(-3)), "signedint(-3)");
        assert_eq!(format!("{:?}", Value::double(1.0)), "double(1.0)");
        assert_eq!(format!("{:?}", Value::Void), "void");
    }
}
