//! Bytes to values and back, for every protocol. No state, no IO, no clock.
