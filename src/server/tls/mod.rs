//! TLS between a stream and whoever speaks over it. Nothing above notices.
//!
//! ```text
//! context          files and options -> Context: certificates, keys, whom to believe. Slow, off the loop
//! acceptor         a Context and the buffers that all connections share; stream in, TlsStream out
//! stream           TlsStream: handshake, read, write, goodbye; buffers of its own only while it must
//! client_chain     how long a client's chain of certificates may be
//! expiry           until when certificates are valid
//! login_name       the user that a client's certificate stands for
//! ```
//!
//! Only here is rustls known. Nothing here knows the event loop: what a stream is made of is whatever
//! reads and writes without waiting.

mod acceptor;
mod client_chain;
mod context;
pub mod expiry;
mod login_name;
mod stream;

pub use acceptor::Acceptor;
pub use context::Context;
pub use login_name::client_certificate;
pub use stream::TlsStream;
