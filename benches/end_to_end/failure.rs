//! What ends a scenario: a text for a person to read, nothing that the program branches on.

use std::fmt;
use std::io;

pub struct Failure(String);

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A blocking socket reports its read or write timeout in this way.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::new("stalled"),
            _ => Failure(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A peer that says nothing for this long, while it owes an answer, has stalled.
pub const STALL_SECONDS: u64 = 10;
