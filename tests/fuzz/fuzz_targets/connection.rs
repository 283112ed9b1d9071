//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz connection`

#![no_main]

#[path = "../mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::connection_body::check(data));
