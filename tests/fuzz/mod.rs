//! What the fuzz targets `connection` and `session` share with their stable counterpart,
//! `tests/fuzz_connection.rs`.

#![allow(dead_code, reason = "each target uses a part")]

pub mod allocations;
pub mod connection_body;
pub mod session_body;
pub mod transcript;
pub mod world;
