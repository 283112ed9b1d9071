//! A table with borders. Letters are counted, not their widths: East Asian names make it uneven.

use super::{Rows, table::cell};

pub fn pretty_table(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let header = rows.columns.iter().map(|column| column.name.to_owned());
    let mut lines: Vec<Vec<String>> = vec![header.collect()];
    for row in &rows.rows {
        let cells = rows.columns.iter().zip(row);
        lines.push(
            cells
                .map(|(column, value)| cell(value, column.shape))
                .collect(),
        );
    }
    let width = |index: usize| {
        let letters = lines.iter().map(|line| line[index].chars().count());
        letters.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows.columns.len()).map(width).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let parts: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(middle))
    };
    let mut text = rule("┌", "┬", "┐");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str(&rule("├", "┼", "┤"));
        }
        for (cell, width) in line.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            text.push_str(&format!("│ {cell}{} ", " ".repeat(padding)));
        }
        text.push_str("│\n");
    }
    text.push_str(&rule("└", "┴", "┘"));
    text
}
