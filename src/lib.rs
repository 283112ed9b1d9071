//! leveret: a RabbitMQ-compatible message broker for one machine.
//!
//! A program may carry its broker with it, for its tests or for good:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! # fn main() -> std::io::Result<()> {
//! let config = leveret::Config {
//!     bind: vec!["127.0.0.1".to_owned()],
//!     port: 0, // any free one
//!     ..Default::default()
//! };
//! let broker = leveret::Broker::start(config)?;
//! let address = broker.amqp_address().expect("TCP was asked for");
//!
//! // Any AMQP 0-9-1 client would do. A conversation begins with the client's protocol header, and
//! // the broker answers with a method frame, connection.start.
//! let mut socket = TcpStream::connect(address)?;
//! socket.write_all(b"AMQP\x00\x00\x09\x01")?;
//! let mut frame_type = [0];
//! socket.read_exact(&mut frame_type)?;
//! assert_eq!(frame_type, [1]);
//!
//! drop(socket);
//! broker.stop()
//! # }
//! ```

pub mod broker;
pub mod config;
mod embedded;
pub mod log_tap;
pub mod management;
pub mod protocol;
pub mod server;
pub mod slots;
pub mod store;
pub mod wire;

pub use config::Config;
pub use embedded::Broker;
