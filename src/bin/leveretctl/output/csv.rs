//! Comma-separated values (RFC 4180), everything in quotes.

use super::{Rows, table::cell};

pub fn csv(rows: &Rows, with_header: bool) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    if with_header {
        let names = rows.columns.iter().map(|column| column.name.to_owned());
        push_line(&mut text, names);
    }
    for row in &rows.rows {
        let cells = rows.columns.iter().zip(row);
        push_line(
            &mut text,
            cells.map(|(column, value)| cell(value, column.shape)),
        );
    }
    text
}

fn push_line(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells
        .map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")))
        .collect();
    text.push_str(&cells.join(","));
    text.push('\n');
}
