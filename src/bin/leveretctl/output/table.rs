//! Lines of cells with tabs between them: RabbitMQ's ordinary form.

use serde_json::Value;

use super::{Rows, Shape, term};

pub fn table(rows: &Rows, with_header: bool) -> String {
    if rows.rows.is_empty() {
        let is_silent = rows.is_silent_when_empty;
        return if is_silent { "" } else { "\n" }.to_owned();
    }
    let mut text = String::new();
    if with_header && rows.has_header {
        let names: Vec<_> = rows.columns.iter().map(|column| column.name).collect();
        text.push_str(&names.join("\t"));
        text.push('\n');
    }
    for row in &rows.rows {
        for (index, (column, value)) in rows.columns.iter().zip(row).enumerate() {
            if index > 0 {
                text.push('\t');
            }
            text.push_str(&cell(value, column.shape));
        }
        text.push('\n');
    }
    text
}

/// A value for people. Control characters, which names may have, are written as escapes: a cell stays in
/// its line, and a name cannot command the terminal.
pub fn cell(value: &Value, shape: Shape) -> String {
    match (shape, value) {
        (_, Value::Null) => String::new(),
        (Shape::Protocol, Value::String(text)) => match text.strip_prefix("AMQP ") {
            Some(numbers) => format!("{{{}}}", numbers.replace('-', ",")),
            None => harmless(text),
        },
        (Shape::Names, Value::Array(names)) => {
            let names: Vec<_> = names.iter().map(|name| cell(name, Shape::Plain)).collect();
            format!("[{}]", names.join(", "))
        }
        (Shape::Names, Value::String(names)) if names.is_empty() => "[]".to_owned(),
        (_, Value::String(text)) => harmless(text),
        (_, Value::Array(_) | Value::Object(_)) => harmless(&term::table(value)),
        (_, Value::Bool(_) | Value::Number(_)) => value.to_string(),
    }
}

fn harmless(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escape = |letter: char| match letter {
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_terms() {
        let arguments = json!({"a": 1, "b": "te\"xt", "c": true, "d": [1, "x"], "e": {"k": 2}});
        assert_eq!(
            cell(&arguments, Shape::Term),
            r#"[{"a",1},{"b","te\"xt"},{"c",true},{"d",[1,"x"]},{"e",[{"k",2}]}]"#
        );
        assert_eq!(cell(&json!({}), Shape::Term), "[]");
    }

    #[test]
    fn protocols_are_tuples() {
        assert_eq!(cell(&json!("AMQP 0-9-1"), Shape::Protocol), "{0,9,1}");
        assert_eq!(cell(&json!("MQTT 3.1.1"), Shape::Protocol), "MQTT 3.1.1");
    }

    #[test]
    fn names_cannot_leave_their_cell() {
        assert_eq!(
            cell(&json!("a\tb\n\u{1b}[31m"), Shape::Plain),
            "a\\tb\\n\\u{1b}[31m"
        );
        assert_eq!(cell(&json!("grün"), Shape::Plain), "grün");
    }

    #[test]
    fn nothing_is_empty() {
        assert_eq!(cell(&Value::Null, Shape::Plain), "");
        assert_eq!(cell(&json!(0.5), Shape::Plain), "0.5");
        assert_eq!(cell(&json!(false), Shape::Plain), "false");
    }
}
