//! The fuzz targets on stable (`decode` has a test of its own): the corpus, then a fixed number of random
//! inputs. `LEVERET_FUZZ_CASES` runs as many of each instead; a failure names its input's seed.

use std::fs;

use leveret::config::Limits;
use leveret::wire::amqp::frame::encode_method;
use leveret::wire::amqp::{basic, channel, queue};

#[path = "fuzz/mod.rs"]
mod fuzz;
#[path = "store_support/memory_disk.rs"]
#[allow(dead_code, reason = "the store's tests use the rest")]
mod memory_disk;
#[path = "fuzz/request_body.rs"]
mod request_body;
#[path = "fuzz/segments_body.rs"]
mod segments_body;
#[path = "store_support/store_model.rs"]
#[allow(dead_code, reason = "the store's tests use the rest")]
mod store_model;
#[path = "fuzz/text_bodies.rs"]
mod text_bodies;
#[path = "fuzz/tls_body.rs"]
mod tls_body;

use fuzz::world::{World, publish};
use fuzz::{connection_body, session_body};

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Says what was being tried when the test panicked.
struct Trying(String);

impl Drop for Trying {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {}", self.0);
        }
    }
}

fn for_each_seed(cases: u64, mut check: impl FnMut(&mut Random)) {
    let wanted = std::env::var("LEVERET_FUZZ_CASES").ok();
    let cases = wanted.and_then(|text| text.parse().ok()).unwrap_or(cases);
    for seed in 0..cases {
        let _trying = Trying(format!("seed {seed}"));
        check(&mut Random::new(seed));
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

fn replay(target: &str, check: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        let _trying = Trying(path);
        check(&bytes);
    }
}

/// One to four damages to `bytes`, or to several inputs one behind the other.
fn damaged(corpus: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].1.clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1)).min(bytes.len());
        match random.below(6) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 => {
                let count = random.below(8);
                let inserted = random.bytes(count);
                bytes.splice(at..at, inserted);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())].1;
                bytes.extend_from_slice(other.get(2..).unwrap_or_default());
            }
        }
    }
    bytes
}

#[test]
fn the_corpus_of_connections_holds() {
    replay("connection", connection_body::check);
}

#[test]
fn the_corpus_of_sessions_holds() {
    replay("session", session_body::check);
}

#[test]
fn random_sessions_hold() {
    for_each_seed(400, |random| {
        let size = random.below(1200);
        session_body::check(&random.bytes(size));
    });
}

#[test]
fn damaged_sessions_hold() {
    let corpus = corpus("session");
    for_each_seed(400, |random| session_body::check(&damaged(&corpus, random)));
}

#[test]
fn damaged_connections_hold() {
    let corpus = corpus("connection");
    for_each_seed(1500, |random| {
        connection_body::check(&damaged(&corpus, random));
    });
}

#[test]
fn random_connections_hold() {
    for_each_seed(500, |random| {
        let size = random.below(500);
        connection_body::check(&random.bytes(size));
    });
}

#[test]
fn damaged_requests_hold() {
    replay("request", request_body::check);
    let corpus = corpus("request");
    for_each_seed(300, |random| request_body::check(&damaged(&corpus, random)));
}

#[test]
fn damaged_tls_streams_hold() {
    replay("tls", tls_body::check);
    let corpus = corpus("tls");
    for_each_seed(150, |random| tls_body::check(&damaged(&corpus, random)));
}

#[test]
fn damaged_data_directories_hold() {
    replay("segments", segments_body::check);
    let corpus = corpus("segments");
    for_each_seed(60, |random| segments_body::check(&damaged(&corpus, random)));
}

#[test]
fn damaged_configurations_hold() {
    replay("configuration", text_bodies::check_configuration);
    let corpus = corpus("configuration");
    for_each_seed(500, |random| {
        text_bodies::check_configuration(&damaged(&corpus, random))
    });
}

#[test]
fn damaged_definitions_hold() {
    replay("definitions", text_bodies::check_definitions);
    let corpus = corpus("definitions");
    for_each_seed(150, |random| {
        text_bodies::check_definitions(&damaged(&corpus, random))
    });
}

#[test]
fn damaged_proxies_headers_hold() {
    replay("proxy", text_bodies::check_proxy);
    let corpus = corpus("proxy");
    for_each_seed(2000, |random| {
        text_bodies::check_proxy(&damaged(&corpus, random))
    });
}

#[test]
fn damaged_certificates_hold() {
    replay("certificate", text_bodies::check_certificate);
    let corpus = corpus("certificate");
    for_each_seed(2000, |random| {
        text_bodies::check_certificate(&damaged(&corpus, random))
    });
}

/// A client with channel 1 open, on a hub with as many channels as there can be.
fn world_with_client() -> (World, usize) {
    let limits = Limits {
        channel_max: u16::MAX,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let client = world.open(131_072);
    world.send_method(client, 1, &channel::Open::default());
    (world, client)
}

#[test]
fn all_channels_there_can_be_take_their_room_and_no_more() {
    let (mut world, client) = world_with_client();
    let bystander = world.open(131_072);
    let before = world.held();
    let mut bytes = Vec::new();
    for number in 2..=u16::MAX {
        encode_method(&mut bytes, number, &channel::Open::default());
    }
    world.send(client, &bytes);
    world.settle();
    drop(bytes);
    let each = (world.held() - before) / 65_534;
    println!("{each} bytes per channel");
    assert!(each < 1024, "{each} bytes per channel");
    world.check_nothing_is_left(bystander);
}

#[test]
fn the_longest_names_cost_a_few_times_their_length() {
    let (mut world, client) = world_with_client();
    let bystander = world.open(131_072);
    let before = world.held();
    let mut bytes = Vec::new();
    for n in 0..1000 {
        let name = format!("{n:0>255}");
        let declare = queue::Declare {
            queue: name.as_bytes(),
            ..queue::Declare::default()
        };
        let consume = basic::Consume {
            queue: name.as_bytes(),
            consumer_tag: name.as_bytes(),
            ..basic::Consume::default()
        };
        encode_method(&mut bytes, 1, &declare);
        encode_method(&mut bytes, 1, &consume);
    }
    world.send(client, &bytes);
    world.settle();
    drop(bytes);
    let each = (world.held() - before) / 1000;
    println!("{each} bytes per queue with a consumer");
    assert!(each < 4096, "{each} bytes per queue with a consumer");
    world.check_nothing_is_left(bystander);
}

#[test]
fn nested_tables_are_refused_beyond_their_depth_and_hold_nothing() {
    for depth in [60, 70, 20_000] {
        let (mut world, client) = world_with_client();
        let bystander = world.open(131_072);
        // From the inside out: an array in an array ... in a table.
        let mut nested = Vec::new();
        for _ in 0..depth {
            let size = nested.len() as u32;
            nested.splice(0..0, [&b"A"[..], &size.to_be_bytes()].concat());
        }
        let mut arguments = b"\x01x".to_vec();
        arguments.append(&mut nested);
        let mut block = vec![0x20, 0];
        block.extend_from_slice(&(arguments.len() as u32).to_be_bytes());
        block.append(&mut arguments);
        world.send(client, &publish(1, b"", b"nowhere", &block, b"deep"));
        let closed = world.clients[client].transcript.close.is_some();
        assert_eq!(closed, depth > 64);
        world.check_nothing_is_left(bystander);
    }
}
