//! What several tests share, each some of it.

#![allow(dead_code)]

pub mod random;
pub mod simulated_disk;
pub mod store_model;
