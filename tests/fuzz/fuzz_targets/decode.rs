//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz decode`

#![no_main]

#[path = "../decode_body.rs"]
mod decode_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decode_body::check(data));
