//! leveret: a RabbitMQ-compatible message broker for one machine.

pub mod broker;
pub mod config;
pub mod protocol;
pub mod slots;
pub mod wire;
