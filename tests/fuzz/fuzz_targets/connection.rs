//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz connection target/fuzz_connection tests/fuzz/corpus/connection`
//!
//! New inputs go to the first directory, which must exist; what the second holds is replayed by
//! `tests/fuzz_connection.rs`.

#![no_main]

#[path = "../mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::connection_body::check(data));
