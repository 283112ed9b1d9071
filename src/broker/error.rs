//! What the broker refuses, in RabbitMQ's words: clients match on these texts.

use std::fmt;

/// A refused command. The variant decides the reply code (in one `match` per protocol), the text is
/// shown to the client behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NotFound(String),
    AccessRefused(String),
    PreconditionFailed(String),
    ResourceLocked(String),
    NotAllowed(String),
    CommandInvalid(String),
    NotImplemented(String),
    /// The connection is to end, whatever it was about to do.
    ConnectionForced(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn text(&self) -> &str {
        match self {
            Error::NotFound(text)
            | Error::AccessRefused(text)
            | Error::PreconditionFailed(text)
            | Error::ResourceLocked(text)
            | Error::NotAllowed(text)
            | Error::CommandInvalid(text)
            | Error::NotImplemented(text)
            | Error::ConnectionForced(text) => text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

/// `queue 'hello' in vhost '/'`: how RabbitMQ names a thing in its texts.
pub(super) fn named(kind: &str, name: &[u8], virtual_host: &[u8]) -> String {
    format!(
        "{kind} '{}' in vhost '{}'",
        String::from_utf8_lossy(name),
        String::from_utf8_lossy(virtual_host)
    )
}
