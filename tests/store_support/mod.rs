//! What the store's tests share, each some of it.

#![allow(dead_code, reason = "each test target uses its own part")]

pub mod random;
pub mod simulated_disk;
pub mod store_model;
