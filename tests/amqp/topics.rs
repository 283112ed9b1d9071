//! Topic exchanges: words, `*` and `#` (AMQP 0-9-1 §3.1.3.3). The tables are those of the tutorials and
//! of RabbitMQ's behaviour at the edges.

use crate::support::{RawClient, TestBroker};

/// The keys of `keys` that a queue bound with these patterns gets.
fn matching<'k>(client: &mut RawClient, patterns: &[&str], keys: &[&'k str]) -> Vec<&'k str> {
    client.declare_exchange("topics", "topic");
    client.declare_queue("q");
    for pattern in patterns {
        client.bind_queue("q", "topics", pattern);
    }
    for (index, key) in keys.iter().enumerate() {
        client.publish("topics", key, index.to_string());
    }
    let matching = client.drain("q");
    client.call(leveret::wire::amqp::queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    let indices = matching.iter().map(|index| index.parse::<usize>().unwrap());
    indices.map(|index| keys[index]).collect()
}

#[test]
fn the_tutorials_rabbits_go_where_they_should() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let keys = [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "quick.orange.fox",
        "lazy.brown.fox",
        "lazy.pink.rabbit",
        "quick.brown.fox",
        "orange",
        "quick.orange.male.rabbit",
        "lazy.orange.male.rabbit",
    ];
    assert_eq!(
        matching(&mut client, &["*.orange.*"], &keys),
        [
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "quick.orange.fox"
        ]
    );
    // Two of the patterns match lazy.pink.rabbit, and it comes once.
    assert_eq!(
        matching(&mut client, &["*.*.rabbit", "lazy.#"], &keys),
        [
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "lazy.brown.fox",
            "lazy.pink.rabbit",
            "lazy.orange.male.rabbit"
        ]
    );
}

#[test]
fn a_star_is_one_word_and_a_hash_any_number_of_them() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let keys = ["", "a", "a.b", "a.b.c", "..", "a.", ".a", "b", "ab", "b.a"];
    for (pattern, expected) in [
        ("#", &keys[..]),
        ("*", &["a", "b", "ab"]),
        (
            "#.*",
            &["a", "a.b", "a.b.c", "..", "a.", ".a", "b", "ab", "b.a"],
        ),
        (
            "*.#",
            &["a", "a.b", "a.b.c", "..", "a.", ".a", "b", "ab", "b.a"],
        ),
        ("a.#", &["a", "a.b", "a.b.c", "a."]),
        ("a.*.#", &["a.b", "a.b.c", "a."]),
        ("a.*", &["a.b", "a."]),
        ("*.a", &[".a", "b.a"]),
        ("#.a", &["a", ".a", "b.a"]),
        ("*.*", &["a.b", "a.", ".a", "b.a"]),
        ("#.#", &keys),
        ("", &[""]),
        ("a", &["a"]),
        ("a.b", &["a.b"]),
        ("a.#.c", &["a.b.c"]),
        ("#.b.#", &["a.b", "a.b.c", "b", "b.a"]),
    ] {
        assert_eq!(
            matching(&mut client, &[pattern], &keys),
            expected,
            "{pattern}"
        );
    }
}

#[test]
fn words_match_whole_or_not_at_all() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let keys = [
        "china.weather",
        "usa.ne",
        "MQ.log.error",
        "log.warn",
        "log.warn.timeout",
        "kern.",
    ];
    for (pattern, expected) in [
        ("#.ne", &["usa.ne"][..]),
        ("#.log.#", &["MQ.log.error", "log.warn", "log.warn.timeout"]),
        ("log.*", &["log.warn"]),
        ("log.#", &["log.warn", "log.warn.timeout"]),
        ("kern.*", &["kern."]),
        // Wildcards stand for words, not for parts of them.
        ("log.w*", &[]),
        ("usa.#ne", &[]),
    ] {
        assert_eq!(
            matching(&mut client, &[pattern], &keys),
            expected,
            "{pattern}"
        );
    }
}

#[test]
fn keys_may_be_as_long_as_a_short_string() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let words = "a.".repeat(127) + "a";
    let dots = ".".repeat(255);
    let keys = [words.as_str(), &dots];
    assert_eq!(matching(&mut client, &["#.a"], &keys), [&words]);
    assert_eq!(matching(&mut client, &["*.*.#"], &keys), keys);
    assert_eq!(matching(&mut client, &[&words], &keys), [&words]);
}
