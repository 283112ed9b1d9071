//! `rabbitmq.conf`: one `key = value` a line, as sysctl.conf has it.
//!
//! ```text
//! # a comment
//! heartbeat = 30             # ends at the comment
//! default_pass = 'it''s #1'  # quoted: taken as it stands, two quotes for one
//! include conf.d/*.conf      # other files, in the order of their names
//! ```
//! Spaces around keys and values do not count. A dot inside a part of a key is written `\.`. Double
//! quotes are ordinary characters, as they are to RabbitMQ.

use std::fmt;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Setting {
        /// Without the backslashes of `\.`.
        key: String,
        value: String,
    },
    /// A file, or files by a pattern.
    Include(String),
}

/// A line that says nothing we understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelt {
    pub line: usize,
    pub why: &'static str,
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

/// The lines that say something, in their order.
///
/// # Errors
/// All lines that are misspelt.
pub fn parse(text: &str) -> Result<Vec<Line>, Vec<Misspelt>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut lines, mut mistakes) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        match parse_line(line.trim_matches(BLANKS)) {
            Ok(None) => {}
            Ok(Some(content)) => lines.push(Line { number, content }),
            Err(why) => mistakes.push(Misspelt { line: number, why }),
        }
    }
    if mistakes.is_empty() {
        Ok(lines)
    } else {
        Err(mistakes)
    }
}

/// As [`parse`] reads it back.
pub fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty()
        && !value.starts_with('\'')
        && !value.contains('#')
        && value.trim_matches(BLANKS) == value;
    if is_plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

fn parse_line(line: &str) -> Result<Option<Content>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if let Some(pattern) = line.strip_prefix("include")
        && pattern.starts_with(BLANKS)
    {
        let pattern = before_comment(pattern);
        if !pattern.starts_with('=') {
            return Ok(Some(Content::Include(pattern.to_owned())));
        }
    }
    let (key, value) = line.split_once('=').ok_or("no 'key = value'")?;
    Ok(Some(Content::Setting {
        key: parse_key(key.trim_matches(BLANKS))?,
        value: parse_value(value.trim_matches(BLANKS))?,
    }))
}

/// Dot-separated parts, none of them empty.
fn parse_key(text: &str) -> Result<String, &'static str> {
    if text.contains(BLANKS) || text.contains('#') {
        return Err("the key has a blank or a '#' in it");
    }
    let is_whole = !text.is_empty()
        && text
            .replace("\\.", "_")
            .split('.')
            .all(|part| !part.is_empty());
    if !is_whole {
        return Err("the key has an empty part");
    }
    Ok(text.replace("\\.", "."))
}

fn parse_value(text: &str) -> Result<String, &'static str> {
    let Some(inside) = text.strip_prefix('\'') else {
        let value = before_comment(text);
        return match value {
            "" => Err("no value; an empty one is written ''"),
            value => Ok(value.to_owned()),
        };
    };
    let mut value = String::new();
    let mut rest = inside;
    loop {
        let (before, behind) = rest.split_once('\'').ok_or("the quote is not closed")?;
        value.push_str(before);
        match behind.strip_prefix('\'') {
            Some(behind) => {
                value.push('\'');
                rest = behind;
            }
            None => {
                let is_end = before_comment(behind).is_empty();
                return is_end
                    .then_some(value)
                    .ok_or("text behind the closing quote");
            }
        }
    }
}

fn before_comment(text: &str) -> &str {
    let end = text.find('#').unwrap_or(text.len());
    text[..end].trim_matches(BLANKS)
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn setting(line: &str) -> (String, String) {
        match &parse(line).unwrap()[..] {
            [
                Line {
                    content: Content::Setting { key, value },
                    ..
                },
            ] => (key.clone(), value.clone()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn settings_are_read_in_all_their_forms() {
        for (line, key, value) in [
            ("heartbeat = 60", "heartbeat", "60"),
            ("  heartbeat=60\t\r", "heartbeat", "60"),
            ("a.b-c.1 = x y  # why", "a.b-c.1", "x y"),
            ("a\\.b.c = d", "a.b.c", "d"),
            ("pass = a#b", "pass", "a"),
            ("pass = 'a#b' # why", "pass", "a#b"),
            ("pass = ' it''s '", "pass", " it's "),
            ("pass = ''", "pass", ""),
            ("pass = \"a\"", "pass", "\"a\""),
            ("pass = a = b", "pass", "a = b"),
            ("\u{feff}include = x", "include", "x"),
            ("included = x", "included", "x"),
        ] {
            assert_eq!(setting(line), (key.to_owned(), value.to_owned()), "{line}");
        }
    }

    #[test]
    fn comments_and_empty_lines_count_but_say_nothing() {
        let lines =
            parse("# one\n\n  \t\n  # four\r\na = 1\r\ninclude conf.d/*.conf # all\n").unwrap();
        assert_eq!(lines[0].number, 5);
        assert_eq!(lines[1].number, 6);
        assert_eq!(
            lines[1].content,
            Content::Include("conf.d/*.conf".to_owned())
        );
    }

    #[test]
    fn misspelt_lines_are_all_named() {
        let text = "a = 1\nheartbeat 60\n= 5\na..b = 1\na b = 1\na =\na = 'b\na = 'b' c\n";
        let mistakes = parse(text).unwrap_err();
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8]);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), lines in "([a-z#'=. \\\\\t]{0,12}\r?\n){0,8}") {
            let _ = parse(&text);
            let _ = parse(&lines);
        }

        #[test]
        fn values_come_back(value in "[^\r\n]*", ) {
            let line = format!("key = {}", quoted(&value));
            prop_assert_eq!(setting(&line).1, value);
        }
    }
}
