//! The topic exchange: patterns over the words of the routing key (AMQP 0-9-1 §3.1.3.3).
//!
//! Words are separated by dots; in a binding key `*` stands for exactly one word and `#` for zero or
//! more. The corners follow RabbitMQ: the empty key has no words, so that `#` matches it and `*` does
//! not; empty words are words, so that `kern.*` matches `kern.`; a word like `a*` is no wildcard.
//!
//! Patterns without wildcards, which are most of them in large tables, live in a direct table: there
//! equal words are equal bytes. Only the others make the trie.

mod trie;
mod words;

use super::direct::Direct;
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};
use trie::Trie;

/// The table of a topic exchange.
#[derive(Debug)]
pub struct Topic<D> {
    literals: Direct<D>,
    wildcards: Trie<D>,
}

impl<D: Copy + Ord> Topic<D> {
    /// An empty table.
    pub fn new() -> Self {
        Topic {
            literals: Direct::new(),
            wildcards: Trie::new(),
        }
    }

    /// Adds a binding.
    pub fn bind(&mut self, pattern: &[u8], destination: D) {
        if has_wildcard(pattern) {
            self.wildcards.bind(pattern, destination);
        } else {
            self.literals.bind(pattern, destination);
        }
    }

    /// Takes a binding away; one that is not there is no error.
    pub fn unbind(&mut self, pattern: &[u8], destination: D) {
        if has_wildcard(pattern) {
            self.wildcards.unbind(pattern, destination);
        } else {
            self.literals.unbind(pattern, destination);
        }
    }

    /// Appends the destinations of every matching pattern; several patterns may give the same one.
    ///
    /// Takes time by the words of the key and the patterns that match so far, not by the number of
    /// bindings. Mutable only for the memory that routes use again.
    pub fn route(&mut self, key: &[u8], out: &mut Vec<D>) {
        self.literals.route(key, out);
        if !self.wildcards.is_empty() {
            self.wildcards.route(key, out);
        }
    }
}

impl<D: Copy + Ord> ExchangeType<D> for Topic<D> {
    fn declare(_: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(Topic::new())
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bind(binding.key, binding.destination);
    }

    fn unbind(&mut self, key: &[u8], _: Table<'_>, destination: D) {
        self.unbind(key, destination);
    }

    fn route(&mut self, key: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        self.route(key, out);
    }

    fn reads_headers(&self) -> bool {
        false
    }

    fn wants_every_key(&self) -> bool {
        true
    }
}

impl<D: Copy + Ord> Default for Topic<D> {
    fn default() -> Self {
        Topic::new()
    }
}

fn has_wildcard(pattern: &[u8]) -> bool {
    words::split(pattern).any(|word| matches!(word, b"*" | b"#"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The patterns among `patterns` that match `key`.
    fn matching<'a>(patterns: &[&'a str], key: &str) -> Vec<&'a str> {
        let mut topic = Topic::new();
        for (index, pattern) in patterns.iter().enumerate() {
            topic.bind(pattern.as_bytes(), index);
        }
        let indices: BTreeSet<_> = routed(&mut topic, key).into_iter().collect();
        indices.into_iter().map(|index| patterns[index]).collect()
    }

    fn matches(pattern: &str, key: &str) -> bool {
        !matching(&[pattern], key).is_empty()
    }

    fn routed(topic: &mut Topic<usize>, key: &str) -> Vec<usize> {
        let mut out = Vec::new();
        topic.route(key.as_bytes(), &mut out);
        out
    }

    #[test]
    fn the_animals_of_the_tutorial_find_their_queues() {
        let mut topic = Topic::new();
        topic.bind(b"*.orange.*", 1);
        topic.bind(b"*.*.rabbit", 2);
        topic.bind(b"lazy.#", 2);
        let expected: [(&str, &[usize]); 10] = [
            ("quick.orange.rabbit", &[1, 2]),
            ("lazy.orange.elephant", &[1, 2]),
            ("quick.orange.fox", &[1]),
            ("lazy.brown.fox", &[2]),
            ("lazy.pink.rabbit", &[2]),
            ("quick.brown.fox", &[]),
            ("orange", &[]),
            ("quick.orange.male.rabbit", &[]),
            ("quick.orange.new.rabbit", &[]),
            ("lazy.orange.male.rabbit", &[2]),
        ];
        for (key, destinations) in expected {
            let found: BTreeSet<_> = routed(&mut topic, key).into_iter().collect();
            assert!(found.iter().eq(destinations), "{key}: {found:?}");
        }
    }

    #[test]
    fn the_examples_of_the_documentation_hold() {
        assert!(matches("#.log.#", "MQ.log.error"));
        assert!(matches("log.*", "log.warn"));
        assert!(!matches("log.*", "log.warn.timeout"));
        assert!(matches("log.#", "log.warn"));
        assert!(matches("log.#", "log.warn.timeout"));
        assert!(matches("audit.#", "audit.irs.corporate"));
        assert!(!matches("audit.*", "audit.irs.corporate"));
        assert!(matches("audit.*", "audit.irs"));
        assert!(!matches("#.ne", "china.weather"));
        assert!(matches("#.ne", "china.weather.ne"));
    }

    #[test]
    fn the_quiz_of_the_tutorial_is_answered_as_rabbitmq_does() {
        assert!(!matches("*", ""));
        assert!(matches("#", ""));
        assert!(matches("#.*", ".."));
        assert!(matches("#.*", "word"));
        assert!(!matches("#.*", ""));
        assert!(!matches("a.*.#", "a"));
        assert!(matches("a.*.#", "a.b"));
        assert!(matches("a.*.#", "a.b.c"));
        assert!(matches("a.#", "a"));
    }

    #[test]
    fn twelve_patterns_and_fourteen_keys_agree_with_rabbitmq() {
        let keys = [
            "kern.critical",
            "cron.critical",
            "kern.",
            ".critical",
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "quick.orange.fox",
            "lazy.brown.fox",
            "lazy.pink.rabbit",
            "lazy.orange.new.rabbit",
            "lazy",
            "rabbit",
            "",
            "a.b.c.d",
        ];
        let cases: [(&str, &[&str]); 12] = [
            ("#", &keys),
            ("kern.*", &["kern.critical", "kern."]),
            (
                "*.critical",
                &["kern.critical", "cron.critical", ".critical"],
            ),
            (
                "*.orange.*",
                &[
                    "quick.orange.rabbit",
                    "lazy.orange.elephant",
                    "quick.orange.fox",
                ],
            ),
            ("*.*.rabbit", &["quick.orange.rabbit", "lazy.pink.rabbit"]),
            (
                "lazy.#",
                &[
                    "lazy.orange.elephant",
                    "lazy.brown.fox",
                    "lazy.pink.rabbit",
                    "lazy.orange.new.rabbit",
                    "lazy",
                ],
            ),
            (
                "#.rabbit",
                &[
                    "quick.orange.rabbit",
                    "lazy.pink.rabbit",
                    "lazy.orange.new.rabbit",
                    "rabbit",
                ],
            ),
            ("", &[""]),
            ("*", &["lazy", "rabbit"]),
            ("#.#", &keys),
            (
                "lazy.#.rabbit",
                &["lazy.pink.rabbit", "lazy.orange.new.rabbit"],
            ),
            ("*.#", &[&keys[..12], &keys[13..]].concat()),
        ];
        let patterns: Vec<&str> = cases.iter().map(|(pattern, _)| *pattern).collect();
        for key in keys {
            let expected: Vec<&str> = cases
                .iter()
                .filter(|(_, wanted)| wanted.contains(&key))
                .map(|(pattern, _)| *pattern)
                .collect();
            assert_eq!(matching(&patterns, key), expected, "{key:?}");
        }
    }

    #[test]
    fn a_wildcard_inside_a_word_is_an_ordinary_character() {
        assert!(!matches("a*", "ab"));
        assert!(matches("a*", "a*"));
        assert!(!matches("##", "a"));
        assert!(matches("**.#", "**.x"));
    }

    #[test]
    fn wildcards_in_the_routing_key_are_ordinary_words() {
        assert!(matches("*", "#"));
        assert!(!matches("a", "*"));
        assert!(!matches("*.b", "#"));
    }

    #[test]
    fn a_destination_bound_twice_under_one_pattern_survives_one_unbind() {
        for pattern in ["a.b", "a.*", "#"] {
            let mut topic = Topic::new();
            topic.bind(pattern.as_bytes(), 1);
            topic.bind(pattern.as_bytes(), 1);
            topic.unbind(pattern.as_bytes(), 1);
            assert_eq!(routed(&mut topic, "a.b"), [1]);
            topic.unbind(pattern.as_bytes(), 1);
            assert!(routed(&mut topic, "a.b").is_empty());
        }
    }

    #[test]
    fn the_longest_key_has_two_hundred_and_fifty_six_words() {
        let dots = ".".repeat(255);
        assert!(matches("#", &dots));
        assert!(matches(&["*"; 128].join("."), &".".repeat(127)));
        assert!(!matches(&["*"; 128].join("."), &dots));
        assert!(matches(&(["*"; 127].join(".") + ".#"), &dots));
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Bind(String, usize),
        /// Undoes one of the bindings made so far, chosen by the number modulo their count.
        Unbind(usize),
        Route(String),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let pattern =
            prop::collection::vec(prop::sample::select(&["a", "b", "", "*", "#"][..]), 0..6);
        let key = prop::collection::vec(prop::sample::select(&["a", "b", "c", "", "*"][..]), 0..7);
        prop_oneof![
            3 => (pattern, 0..4usize).prop_map(|(words, to)| Operation::Bind(words.join("."), to)),
            2 => any::<usize>().prop_map(Operation::Unbind),
            3 => key.prop_map(|words| Operation::Route(words.join("."))),
        ]
    }

    /// The definition, word for word.
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => {
                naive(rest, key) || (!key.is_empty() && naive(pattern, &key[1..]))
            }
            (["*", rest @ ..], [_, tail @ ..]) => naive(rest, tail),
            ([word, rest @ ..], [first, tail @ ..]) => word == first && naive(rest, tail),
            _ => false,
        }
    }

    fn naive_words(key: &str) -> Vec<&str> {
        if key.is_empty() {
            Vec::new()
        } else {
            key.split('.').collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn routing_agrees_with_the_definition(operations in prop::collection::vec(operation(), 1..60)) {
            let mut topic = Topic::new();
            let mut bound: Vec<(String, usize)> = Vec::new();
            for operation in operations {
                match operation {
                    Operation::Bind(pattern, to) => {
                        topic.bind(pattern.as_bytes(), to);
                        bound.push((pattern, to));
                    }
                    Operation::Unbind(choice) => {
                        if !bound.is_empty() {
                            let (pattern, to) = bound.swap_remove(choice % bound.len());
                            topic.unbind(pattern.as_bytes(), to);
                        }
                    }
                    Operation::Route(key) => {
                        let found: BTreeSet<_> = routed(&mut topic, &key).into_iter().collect();
                        let expected: BTreeSet<_> = bound
                            .iter()
                            .filter(|(pattern, _)| naive(&naive_words(pattern), &naive_words(&key)))
                            .map(|(_, to)| *to)
                            .collect();
                        prop_assert_eq!(found, expected, "{}", key);
                    }
                }
            }
            for (pattern, to) in bound.drain(..) {
                topic.unbind(pattern.as_bytes(), to);
            }
            prop_assert!(topic.literals.is_empty() && topic.wildcards.is_empty());
        }
    }
}
