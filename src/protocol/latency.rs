//! How long things take, counted where they happen.
//!
//! The clock is read twice a turn and never for a message, so that measuring costs nothing that could be
//! measured: a message that goes straight through is as late as its turn is long, one that waited in a
//! queue is late by the time since it arrived (to the millisecond), a confirm by the time that its batch
//! took to be stored.

use crate::broker::Histogram;

/// What is measured, since the start.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// From the turn in which a message was read to where it was written to its consumer, of those that
    /// go straight through; one for each turn. Those that waited in a queue are counted by the core.
    pub straight: Histogram,
    /// From the turn in which a message was read to where its batch is stored: what a confirm waits for.
    /// One for each batch of messages.
    pub publish_to_confirm: Histogram,
    /// How long a turn of the loop takes, without waiting for something to do.
    pub turn: Histogram,
    /// How long the disk takes for a sync.
    pub sync: Histogram,
}
