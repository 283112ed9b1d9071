//! HTTP/1.1 (RFC 9112), as far as a server of small answers needs it: bytes in, requests out; responses
//! in, bytes out. No sockets, no clock.
//!
//! ```text
//! multipart  forms with files in them
//! reader    what comes from one client -> requests, within bounds
//! request   method, path, query, headers, body
//! response  status, headers, body -> bytes
//! percent   %2F and the like, both ways
//! ```

pub mod multipart;
pub mod percent;
mod reader;
mod request;
mod response;

pub use reader::{Reader, Step};
pub use request::{Caller, Door, Method, Request};
pub use response::{Body, Response, Stream};
