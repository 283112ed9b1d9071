//! AMQP 0-9-1 with RabbitMQ's extensions: one [`Connection`] per client.
//!
//! ```text
//!  bytes --> connection --(methods on channel 0)--> handshake, close, heartbeat
//!                 |
//!                 +--(frames on other channels)--> channel --> topology   exchange.*, queue.*
//!                                                    |   +---> consume    basic.consume, get, ack, qos ...
//!                                                    |   +---> publish <-- content (method, header, body)
//!                                                    |            +------> confirm, transaction
//!                                                    v
//!                                            Result<(), Exception>
//! ```
//!
//! Handlers return an [`exception::Exception`]; one place turns it into `channel.close` or
//! `connection.close`.

mod channel;
mod connection;
mod consume;
mod content;
mod exception;
mod frame_error;
mod guest;
mod handshake;
mod heartbeat;
mod publish;
mod repeat;
mod topology;
mod transaction;

#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use exception::Exception;
pub use guest::{Guest, GuestBinding, RedriveCounts};
