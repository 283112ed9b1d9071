//! Figures of several rounds and targets, as one table for people and one JSON object for programs.

use std::fmt::Write;

use crate::outcome::Figure;

/// Everything measured so far.
pub struct Report {
    targets: Vec<String>,
    rows: Vec<Row>,
}

/// The figures of one run, for people.
pub fn lines_of(figures: &[Figure]) -> String {
    let lines = figures.iter().map(|figure| {
        let value = figure.value.map_or("-".to_owned(), number);
        format!("{:<24}{value:>16}\n", figure.name)
    });
    lines.collect()
}

/// The same for programs.
pub fn json_of(figures: &[Figure]) -> String {
    let members = figures.iter().map(|figure| {
        let value = figure.value.filter(|value| value.is_finite());
        let value = value.map_or("null".to_owned(), |value| value.to_string());
        format!("\"{}\":{value}", figure.name)
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// One figure of one scenario: per target, a value for each round that gave one.
pub struct Row {
    pub scenario: &'static str,
    pub figure: &'static str,
    pub values: Vec<Vec<f64>>,
}

impl Report {
    pub fn new(targets: Vec<String>) -> Self {
        Report {
            targets,
            rows: Vec::new(),
        }
    }

    /// Takes what one run of `scenario` against target number `target` gave.
    pub fn add(&mut self, scenario: &'static str, target: usize, figures: &[Figure]) {
        for figure in figures {
            let found = self
                .rows
                .iter()
                .position(|row| row.scenario == scenario && row.figure == figure.name);
            let index = found.unwrap_or_else(|| {
                self.rows.push(Row {
                    scenario,
                    figure: figure.name,
                    values: vec![Vec::new(); self.targets.len()],
                });
                self.rows.len() - 1
            });
            self.rows[index].values[target].extend(figure.value);
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The median of a figure on one target.
    pub fn median(&self, scenario: &str, figure: &str, target: usize) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.scenario == scenario && row.figure == figure)?;
        median(&row.values[target])
    }

    /// Medians with half their range in percent, and the first target's share of each other's.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = String>| {
            let text: String = cells.collect();
            out.push_str(text.trim_end());
            out.push('\n');
        };
        let ratios = self.targets[1..].iter().map(|other| format!("/ {other}"));
        let head = self.targets.iter().map(|name| format!("{name:>20}"));
        let ratio_head = ratios.map(|name| format!("{name:>20}"));
        let left = format!("{:<20}{:<20}", "scenario", "figure");
        line(&mut std::iter::once(left).chain(head).chain(ratio_head));
        let mut scenario = "";
        for row in &self.rows {
            let shown = if row.scenario == scenario {
                ""
            } else {
                row.scenario
            };
            scenario = row.scenario;
            let left = format!("{shown:<20}{:<20}", row.figure);
            let cells = row
                .values
                .iter()
                .map(|values| format!("{:>20}", cell(values)));
            let ratios = row.values[1..].iter().map(|other| {
                let other = median(other).filter(|&other| other != 0.0);
                let ratio = median(&row.values[0]).zip(other);
                let text = ratio.map_or("-".to_owned(), |(a, b)| format!("{:.2}", a / b));
                format!("{text:>20}")
            });
            line(&mut std::iter::once(left).chain(cells).chain(ratios));
        }
        out
    }

    /// One object per figure and target, with all rounds.
    pub fn json(&self) -> String {
        let mut out = String::from("[");
        for row in &self.rows {
            for (target, values) in self.targets.iter().zip(&row.values) {
                let Some(median) = median(values) else {
                    continue;
                };
                let comma = if out.len() > 1 { "," } else { "" };
                // Names hold letters, digits and marks that JSON leaves alone.
                let _ = write!(
                    out,
                    "{comma}\n{{\"scenario\":\"{}\",\"figure\":\"{}\",\"target\":\"{target}\",\
                     \"median\":{median},\"rounds\":{values:?}}}",
                    row.scenario, row.figure
                );
            }
        }
        out.push_str("\n]");
        out
    }
}

/// The median with half the range in percent.
pub fn cell(values: &[f64]) -> String {
    let Some(median) = median(values) else {
        return "-".to_owned();
    };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() == 1 || median == 0.0 {
        return number(median);
    }
    let spread = (most - least) / 2.0 / median.abs() * 100.0;
    format!("{} ±{spread:.0}%", number(median))
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Three or four digits that matter; thousands set apart.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{:.0}", value);
            let mut out = String::new();
            for (index, digit) in digits.chars().enumerate() {
                let left = digits.len() - index;
                if index > 0 && left % 3 == 0 && !out.ends_with('-') {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
