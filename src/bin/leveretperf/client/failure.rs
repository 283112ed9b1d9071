//! What ends a scenario: a text for a person to read, and whether a promise was broken.

use std::fmt;
use std::io;

pub struct Failure {
    text: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message was lost, came twice or out of order.
    Promise,
    /// The broker could not be reached, refused something, or fell silent.
    Connection,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Failure {
            text: text.into(),
            kind: Kind::Connection,
        }
    }

    /// What the broker owed it did not do.
    pub fn promise(text: impl Into<String>) -> Self {
        Failure {
            text: text.into(),
            kind: Kind::Promise,
        }
    }

    /// The same, told in other words.
    pub fn with_text(self, text: String) -> Self {
        Failure { text, ..self }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A blocking socket reports its read or write timeout in this way.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Failure::new(format!("stalled for {STALL_SECONDS} s"))
            }
            _ => Failure::new(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A peer that says nothing for this long, while it owes an answer, has stalled.
pub const STALL_SECONDS: u64 = 30;
