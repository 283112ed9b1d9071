//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz session target/fuzz_session tests/fuzz/corpus/session`
//!
//! New inputs go to the first directory, which must exist; what the second holds is replayed by
//! `tests/fuzz_connection.rs`.

#![no_main]

#[path = "../mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::session_body::check(data));
