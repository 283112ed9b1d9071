//! The fuzz targets `connection` and `session` on stable: the corpus, then a fixed number of random
//! inputs. `LEVERET_FUZZ_CASES` runs as many of each instead; a failure names its input's seed.

use std::fs;

#[path = "fuzz/mod.rs"]
mod fuzz;

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

fn replay(target: &str, check: fn(&[u8])) {
    let directory = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let _trying = Trying(path.display().to_string());
        check(&fs::read(&path).unwrap());
    }
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
