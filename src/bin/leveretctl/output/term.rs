//! Erlang terms: how RabbitMQ writes arguments in a cell, and everything with `--formatter erlang`.

use serde_json::Value;

use super::{Rows, Shape};

/// As in a cell: texts in quotes, tables as lists of pairs.
pub fn table(value: &Value) -> String {
    write(value, &|text| quoted(text), &|key| quoted(key))
}

/// As Erlang would read it: texts are binaries, keys are atoms.
pub fn term(value: &Value) -> String {
    write(value, &binary, &atom)
}

pub fn rows(rows: &Rows) -> String {
    let row = |row: &Vec<Value>| {
        let cells = rows.columns.iter().zip(row).map(|(column, value)| {
            let value = match (column.shape, value) {
                (Shape::Names, Value::Array(_)) => write(value, &atom, &atom),
                (Shape::Term, value) => write(value, &binary, &binary),
                (_, Value::Null) => "''".to_owned(),
                (_, value) => term(value),
            };
            format!("{{{},{value}}}", atom(column.name))
        });
        format!("[{}]", cells.collect::<Vec<_>>().join(","))
    };
    let rows: Vec<_> = rows.rows.iter().map(row).collect();
    format!("[{}]", rows.join(","))
}

fn write(value: &Value, text: &dyn Fn(&str) -> String, key: &dyn Fn(&str) -> String) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(string) => text(string),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|it| write(it, text, key)).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(name, value)| format!("{{{},{}}}", key(name), write(value, text, key)));
            format!("[{}]", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn binary(text: &str) -> String {
    match text.is_ascii() {
        true => format!("<<{}>>", quoted(text)),
        false => format!("<<{}/utf8>>", quoted(text)),
    }
}

fn atom(text: &str) -> String {
    let is_plain = text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '@');
    match is_plain {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}
