//! How the API names a binding among those with the same ends (RabbitMQ: `properties_key`): `~` for one
//! without routing key and arguments, the quoted key for one without arguments, and else that and a hash
//! of the arguments.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::erlang_hash::phash2;
use crate::wire::amqp::field_table::{Table, TableBuilder};

/// The order of the arguments makes no difference. Numbers of one value and different types do: who sets
/// a binding by JSON has longs, and an AMQP client what it likes (RabbitMQ).
pub fn properties_key(routing_key: &[u8], arguments: Table<'_>) -> String {
    if arguments.is_empty() {
        return match routing_key {
            b"" => "~".to_owned(),
            key => quote(key),
        };
    }
    let mut entries: Vec<_> = arguments.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    let mut sorted = TableBuilder::new();
    for (name, value) in entries {
        sorted.put(name, value);
    }
    let hash = phash2(sorted.view());
    format!(
        "{}~{}",
        quote(routing_key),
        BASE64.encode(hash.to_be_bytes())
    )
}

/// For a query: spaces become `+`; and no `~`, which stands before the hash.
pub fn quote(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                quoted.push(char::from(byte));
            }
            b' ' => quoted.push('+'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_bindings_apart_and_do_not_depend_on_order() {
        assert_eq!(properties_key(b"", Table::EMPTY), "~");
        let mut flag = TableBuilder::new();
        flag.put("foo", true);
        assert_eq!(properties_key(b"", flag.view()), "~0PLoLg");
        let quoted = properties_key("ä~b /c".as_bytes(), Table::EMPTY);
        assert_eq!(quoted, "%C3%A4%7Eb+%2Fc");
        let (mut one, mut other) = (TableBuilder::new(), TableBuilder::new());
        one.put("a", 1).put("b", 2);
        other.put("b", 2).put("a", 1);
        let key = properties_key(b"k", one.view());
        assert_eq!(key, properties_key(b"k", other.view()));
        assert!(key.starts_with("k~") && key.len() == 8, "{key}");
        other.put("c", 3);
        assert_ne!(key, properties_key(b"k", other.view()));
    }
}
