//! Values as RabbitMQ's error texts show them, since clients match on those.

use std::fmt::{self, Display, Formatter, Write};

use crate::wire::amqp::Value;

/// Shows a value as Erlang's `~tp` would, on one line. Nesting is as deep as `wire` lets it be.
pub(in crate::broker) struct ErlangTerm<'a>(pub(in crate::broker) Value<'a>);

impl Display for ErlangTerm<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(octet) => write!(f, "{}", octet != 0),
            Value::Float(bits) => write!(f, "{:?}", f32::from_bits(bits)),
            Value::Double(bits) => write!(f, "{:?}", f64::from_bits(bits)),
            Value::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            Value::LongString(bytes) | Value::Binary(bytes) => write_binary(f, bytes),
            Value::Timestamp(seconds) => write!(f, "{seconds}"),
            Value::Void => f.write_str("undefined"),
            Value::Array(array) => write_list(f, array.iter(), |f, value| {
                write!(f, "{{{},{}}}", value.type_name(), ErlangTerm(value))
            }),
            Value::Table(table) => write_list(f, table.iter(), |f, (name, value)| {
                let name = ErlangTerm(Value::LongString(name));
                write!(f, "{{{name},{},{}}}", value.type_name(), ErlangTerm(value))
            }),
            integer => write!(f, "{}", integer.as_integer().unwrap_or_default()),
        }
    }
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    items: impl Iterator<Item = T>,
    write_item: impl Fn(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_char('[')?;
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        write_item(f, item)?;
    }
    f.write_char(']')
}

/// Text in quotes, anything else as numbers.
fn write_binary(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok("") => f.write_str("<<>>"),
        Ok(text) if !text.contains(char::is_control) => {
            let text_type = if text.is_ascii() { "" } else { "/utf8" };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "<<\"{text}\"{text_type}>>")
        }
        _ => {
            f.write_str("<<")?;
            for (index, byte) in bytes.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(f, "{comma}{byte}")?;
            }
            f.write_str(">>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::{ArrayBuilder, TableBuilder};

    fn shown<'a>(value: impl Into<Value<'a>>) -> String {
        ErlangTerm(value.into()).to_string()
    }

    #[test]
    fn simple_values_look_as_in_erlang() {
        assert_eq!(shown(-5), "-5");
        assert_eq!(shown(true), "true");
        assert_eq!(shown(Value::double(1.0)), "1.0");
        assert_eq!(shown(Value::Void), "undefined");
        assert_eq!(
            shown(Value::Decimal {
                scale: 2,
                value: 314
            }),
            "{2,314}"
        );
        assert_eq!(shown("a\"b"), r#"<<"a\"b">>"#);
        assert_eq!(shown("ü"), r#"<<"ü"/utf8>>"#);
        assert_eq!(shown(""), "<<>>");
        assert_eq!(shown(&b"\x00\xff"[..]), "<<0,255>>");
    }

    #[test]
    fn nested_values_name_their_types() {
        let mut array = ArrayBuilder::new();
        array.push(1).push("x");
        let mut table = TableBuilder::new();
        table.put_array("list", &array).put("flag", false);
        assert_eq!(
            shown(table.view()),
            r#"[{<<"list">>,array,[{signedint,1},{longstr,<<"x">>}]},{<<"flag">>,bool,false}]"#
        );
    }
}
