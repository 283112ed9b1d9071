//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz definitions`

#![no_main]
#![allow(dead_code, reason = "each target uses a part")]

#[path = "../text_bodies.rs"]
mod text_bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| text_bodies::check_definitions(data));
