//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz tls`

#![no_main]

#[path = "../tls_body.rs"]
mod tls_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tls_body::check(data));
