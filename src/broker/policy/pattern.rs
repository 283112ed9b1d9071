//! Patterns of names: regular expressions, found anywhere in the name (RabbitMQ).
//!
//! RabbitMQ's are Perl's; ours take time linear in the name and have no look-around. Patterns that look
//! ahead from the start are common all the same (`^(?!amq\.).*` spares the broker's own exchanges), so
//! these are taken apart into conditions on the start of the name and an expression for the rest:
//! `^(?!A)(?=B)C` holds if `^A` does not and `^B` and `^C` do. The same goes for `^((?!A).)*$`, which is
//! how one says that a name does not contain A. Look-around elsewhere, and references back, are refused.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::Invalid;
use super::value::Shown;
use crate::wire::amqp::field_table::Value;

/// A compiled pattern with the text it came from.
pub struct Pattern {
    text: Box<str>,
    /// It matches where one of these does.
    branches: Box<[Branch]>,
}

/// What is wrong with an expression, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub place: usize,
}

/// All of these must hold.
struct Branch {
    regex: Regex,
    guards: Box<[Guard]>,
}

struct Guard {
    regex: Regex,
    /// Whether it must match or must not.
    must_match: bool,
}

impl Pattern {
    /// # Errors
    /// Not text, not a regular expression, one that cannot be matched in linear time, or one that is
    /// too large: in RabbitMQ's words, but for what exactly is wrong with it.
    pub fn parse(value: Value<'_>) -> Result<Pattern, Invalid> {
        let Some(text) = value.as_str() else {
            return Err(Invalid(format!(
                "pattern should be a binary but was {}",
                Shown(value)
            )));
        };
        Pattern::compile(text).map_err(|fault| Invalid(format!("pattern should be {fault}")))
    }

    /// # Errors
    /// As [`Pattern::parse`].
    pub fn compile(text: &str) -> Result<Pattern, Fault> {
        if text.len() > LENGTH_MAX {
            return Err(Fault {
                what: format!("longer than {LENGTH_MAX} bytes"),
                place: LENGTH_MAX,
            });
        }
        let branches = match text.contains("(?!") || text.contains("(?=") {
            true => alternatives(text).iter().map(|text| branch(text)).collect(),
            false => plain(text).map(|branch| vec![branch]),
        };
        let branches = branches.map_err(|error| describe(&error))?;
        Ok(Pattern {
            text: text.into(),
            branches: branches.into(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is found in the name.
    pub fn is_match(&self, name: &[u8]) -> bool {
        let mut branches = self.branches.iter();
        branches.any(|branch| {
            let mut guards = branch.guards.iter();
            guards.all(|guard| guard.regex.is_match(name) == guard.must_match)
                && branch.regex.is_match(name)
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { what, place } = self;
        write!(
            f,
            "regular expression but is invalid: {{\"{what}\",{place}}}"
        )
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

fn plain(text: &str) -> Result<Branch, regex::Error> {
    Ok(Branch {
        regex: compile(text)?,
        guards: Box::default(),
    })
}

/// One of the alternatives of a pattern that looks ahead somewhere.
fn branch(text: &str) -> Result<Branch, regex::Error> {
    let Some(rest) = text.strip_prefix('^').or_else(|| text.strip_prefix("\\A")) else {
        return plain(text);
    };
    if let Some(absent) = tempered_dot(rest) {
        return Ok(Branch {
            regex: compile("")?,
            guards: Box::new([Guard {
                regex: compile(absent)?,
                must_match: false,
            }]),
        });
    }
    let mut guards = Vec::new();
    let mut rest = rest;
    while let Some((condition, must_match, after)) = leading_look_ahead(rest) {
        guards.push(Guard {
            regex: compile(&format!("^(?:{condition})"))?,
            must_match,
        });
        rest = after;
    }
    Ok(Branch {
        regex: compile(&format!("^(?:{rest})"))?,
        guards: guards.into(),
    })
}

/// The A of `((?!A).)*$`.
fn tempered_dot(text: &str) -> Option<&str> {
    let inside = text
        .strip_prefix("(?:")
        .or_else(|| text.strip_prefix('('))?;
    let (condition, must_match, after) = leading_look_ahead(inside)?;
    (!must_match && after == ".)*$").then_some(condition)
}

/// Splits `(?!A)B` and `(?=A)B`: A, whether it must match, and B.
fn leading_look_ahead(text: &str) -> Option<(&str, bool, &str)> {
    let must_match = text.starts_with("(?=");
    if !must_match && !text.starts_with("(?!") {
        return None;
    }
    let end = Scan::new(text)
        .find(|(_, byte, depth)| *byte == b')' && *depth == 0)?
        .0;
    Some((&text[3..end], must_match, &text[end + 1..]))
}

/// Splits at each `|` that is in no group.
fn alternatives(text: &str) -> Vec<&str> {
    let mut start = 0;
    let mut found = Vec::new();
    for (at, byte, depth) in Scan::new(text) {
        if byte == b'|' && depth == 0 {
            found.push(&text[start..at]);
            start = at + 1;
        }
    }
    found.push(&text[start..]);
    found
}

/// The bytes of an expression that mean something by themselves, outside of classes and behind no
/// backslash: where, which, and in how many groups (a closing parenthesis is outside of its group).
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Scan {
            text: text.as_bytes(),
            at: 0,
            depth: 0,
        }
    }

    /// Steps over a class, of which the first `]` may be a member.
    fn skip_class(&mut self) {
        if self.text.get(self.at) == Some(&b'^') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
        }
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b']' => return,
                _ => {}
            }
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = (usize, u8, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let byte = *self.text.get(at)?;
            self.at += 1;
            match byte {
                b'\\' => {
                    self.at += 1;
                    continue;
                }
                b'[' => {
                    self.skip_class();
                    continue;
                }
                b'(' => {
                    self.depth += 1;
                    return Some((at, byte, self.depth));
                }
                b')' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return Some((at, byte, self.depth));
        }
    }
}

/// Names are bytes to RabbitMQ, so they are here; only a class of other than ASCII letters needs more.
fn compile(text: &str) -> Result<Regex, regex::Error> {
    let build = |unicode| {
        RegexBuilder::new(text)
            .unicode(unicode)
            .size_limit(COMPILED_SIZE_MAX)
            .dfa_size_limit(COMPILED_SIZE_MAX)
            .build()
    };
    match build(false) {
        Err(_) if !text.is_ascii() => build(true),
        built => built,
    }
}

/// The library draws the expression with a caret under the fault; RabbitMQ names fault and place.
fn describe(error: &regex::Error) -> Fault {
    let drawn = error.to_string();
    let lines: Vec<_> = drawn.lines().collect();
    let what = lines
        .last()
        .map_or("", |line| line.trim_start_matches("error: "));
    let caret = lines.iter().rev().nth(1).and_then(|line| line.find('^'));
    Fault {
        what: what.to_owned(),
        place: caret.map_or(0, |column| column.saturating_sub(INDENTATION)),
    }
}

/// Bytes of a pattern.
const LENGTH_MAX: usize = 1024;
/// Bytes of memory that one expression may take when it is compiled, and its cache of states.
const COMPILED_SIZE_MAX: usize = 1 << 20;
/// Of the library's drawings.
const INDENTATION: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern = Pattern::parse(Value::string(pattern)).unwrap_or_else(|e| panic!("{e}"));
        pattern.is_match(name.as_bytes())
    }

    fn refusal(value: Value<'_>) -> String {
        Pattern::parse(value).unwrap_err().to_string()
    }

    #[test]
    fn patterns_are_found_anywhere_in_the_name() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "any", true),
            (".*", "any", true),
            ("ord", "the-orders", true),
            ("^ord", "the-orders", false),
            ("^ord.*s$", "orders", true),
            ("^(a|b)\\.", "b.c", true),
            ("^a\\_b\\-c$", "a_b-c", true),
            ("(?i)^ORD", "orders", true),
            ("^\\d{3}$", "123", true),
            ("^ü$", "ü", true),
            ("^[üä]$", "ä", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} in {name}");
        }
        let any = Pattern::parse(Value::string("^.$")).unwrap();
        assert!(any.is_match(b"\xff"), "a byte that is no text");
    }

    #[test]
    fn look_ahead_from_the_start_is_taken_apart() {
        for (pattern, name, expected) in [
            ("^(?!amq\\.).*", "orders", true),
            ("^(?!amq\\.).*", "amq.topic", false),
            ("^(?!amq\\.)(?!test).+", "test-1", false),
            ("^(?!amq\\.)(?!test).+", "x", true),
            ("^(?=.*hot)o", "orders-hot", true),
            ("^(?=.*hot)o", "orders", false),
            ("\\A(?!a)", "b", true),
            ("^(?!(a|[)]|\\)).*x).*$", "ax", false),
            ("^(?!(a|[)]|\\)).*x).*$", ")x", false),
            ("^(?!(a|[)]|\\)).*x).*$", "bx", true),
            ("^a|^(?!a).*b|c[|(?!]", "ab", true),
            ("^q|^(?!a).*b", "ab", false),
            ("^q|^(?!a).*b", "cb", true),
            ("^((?!tmp).)*$", "orders", true),
            ("^(?:(?!tmp).)*$", "x-tmp-y", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} in {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(
            refusal(Value::Long(5)),
            "pattern should be a binary but was 5"
        );
        for (pattern, fault) in [
            ("(", "unclosed group"),
            ("a(?!b)c", "look-around"),
            ("(?<=a)b", "look-around"),
            ("^(?!a)(b(?!c))", "look-around"),
            ("(a)\\1", "backreferences are not supported"),
            ("((a{100}){100}){100}", "exceeds size limit"),
        ] {
            let text = refusal(Value::string(pattern));
            assert!(
                text.starts_with("pattern should be regular expression but is invalid: {\""),
                "{text}"
            );
            assert!(text.contains(fault), "{pattern}: {text}");
            assert!(!text.contains('\n'), "{text}");
        }
        assert!(
            refusal(Value::string(&"a".repeat(1025)))
                .ends_with("{\"longer than 1024 bytes\",1024}")
        );
    }
}
