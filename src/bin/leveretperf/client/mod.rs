//! A client of AMQP 0-9-1 that costs far less than the broker it talks to: frames that were made in advance go out in
//! large writes, and what comes in is skipped over but for the bytes that are checked.
//!
//! It shares no code with leveret on purpose: a codec used by both could hide a fault from both, and would tie the
//! figures to its speed. Nothing here is tied to one broker, either: the frame size is the one agreed on, what a broker
//! says out of turn (`connection.blocked`, a closed channel, a cancelled consumer) is told in its words, and heartbeats
//! are declined, as every client may (§4.2.7), and passed over where they come all the same.
//!
//! Reading order: `wire`, `scanner`, `publisher`, `consumer`, `ledger`.

pub mod confirms;
pub mod connection;
pub mod consumer;
pub mod failure;
pub mod inbox;
pub mod ledger;
pub mod message;
pub mod publisher;
pub mod scanner;
pub mod wire;
