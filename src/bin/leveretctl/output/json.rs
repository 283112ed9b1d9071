//! Lists for programs: an object a line, as RabbitMQ streams them.

use serde_json::Value;

use super::Rows;

/// The keys stand in the order of the columns.
pub fn rows(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        let is_stream = rows.is_silent_when_empty;
        return if is_stream { "[\n]\n" } else { "[]\n" }.to_owned();
    }
    let mut text = String::from("[\n");
    for (index, row) in rows.rows.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let pairs = rows.columns.iter().zip(row).map(|(column, value)| {
            let name = Value::from(column.name);
            match value {
                // RabbitMQ has an empty text where there is nothing.
                Value::Null => format!("{name}:\"\""),
                value => format!("{name}:{value}"),
            }
        });
        let pairs: Vec<_> = pairs.collect();
        text.push_str(&format!("{{{}}}\n", pairs.join(",")));
    }
    text.push_str("]\n");
    text
}
