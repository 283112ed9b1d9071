//! The broker: the AMQ model (AMQP 0-9-1 §3.1). Commands in, effects out; no IO, clock or randomness.

pub mod exchange;
