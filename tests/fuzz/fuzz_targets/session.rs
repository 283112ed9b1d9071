//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz session`

#![no_main]

#[path = "../mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::session_body::check(data));
