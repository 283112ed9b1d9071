//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz request`

#![no_main]

#[path = "../request_body.rs"]
mod request_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request_body::check(data));
