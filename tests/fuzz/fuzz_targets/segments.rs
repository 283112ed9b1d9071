//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz segments`

#![no_main]
#![allow(dead_code, reason = "the store's tests use the rest")]

#[path = "../../store_support/memory_disk.rs"]
mod memory_disk;
#[path = "../segments_body.rs"]
mod segments_body;
#[path = "../../store_support/store_model.rs"]
mod store_model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| segments_body::check(data));
