//! What tests over a real socket need: a broker that stops with the test, and a client that says what
//! it is told to and nothing else.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test target that includes this module uses its own part of it"
)]

mod broker;
mod calls;
mod client;
mod event_stream;
mod http;
mod message;
pub mod operations;
mod received;
mod told;

pub use broker::TestBroker;
pub use calls::{consume_from, publish_to};
pub use client::{Login, PATIENCE, RawClient, connect_to, eventually, raw_frame};
pub use event_stream::{EventStream, Told};
pub use http::{HttpClient, Reply};
pub use message::{Delivery, Returned};
pub use received::Received;
pub use told::{Arguments, Died, died, let_pass, ms, table, to_queue};
