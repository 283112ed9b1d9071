//! Routing tables of the exchange types (AMQP 0-9-1 §3.1.3): which bindings match a message.

mod destinations;
mod direct;
mod fanout;
mod topic;

pub use direct::Direct;
pub use fanout::Fanout;
pub use topic::Topic;
