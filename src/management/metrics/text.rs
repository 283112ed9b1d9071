//! Prometheus' exposition format, version 0.0.4.

use std::fmt::{Display, Write};

/// What is being written. Samples of one name stand together, under one head.
#[derive(Default)]
pub struct Text(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Text {
    /// Name, kind and meaning of the samples that follow.
    pub fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.put(format_args!("# TYPE {name} {kind}\n# HELP {name} {help}\n"));
    }

    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.put(format_args!("{before}{label}=\""));
            self.escape(text);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    /// One sample under a head of its own.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    fn escape(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                letter => self.0.push(letter),
            }
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.single("up", Kind::Gauge, "Up", 1);
        text.sample("queue", &[("vhost", "/"), ("queue", "a\"b\\c\nd")], 2.5);
        let expected = "# TYPE up gauge\n# HELP up Up\nup 1\n\
                        queue{vhost=\"/\",queue=\"a\\\"b\\\\c\\nd\"} 2.5\n";
        assert_eq!(text.into_bytes(), expected.as_bytes());
    }
}
