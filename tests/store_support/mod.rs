//! What several tests share.

pub mod random;
pub mod simulated_disk;
pub mod store_model;
