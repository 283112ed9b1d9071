//! What the doors of this room refuse, in RabbitMQ's words as far as it has some that can be read.

use std::fmt;

use crate::broker::policy::Fault;

/// Why a user, virtual host, permission or limit stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    UserExists(String),
    NoSuchUser(String),
    VirtualHostExists(String),
    NoSuchVirtualHost(String),
    /// It is protected (RabbitMQ: deletion protection).
    Protected(String),
    /// No hash of the kind that it is said to be.
    BadPasswordHash,
    /// A name that cannot be: empty, no text, or too long.
    BadName {
        /// Of what.
        what: &'static str,
        why: &'static str,
    },
    /// An expression that cannot be matched with.
    BadPattern {
        pattern: String,
        fault: Fault,
    },
}

impl Refused {
    pub(in crate::broker) fn no_user(name: &[u8]) -> Refused {
        Refused::NoSuchUser(shown(name))
    }

    pub(in crate::broker) fn no_virtual_host(name: &[u8]) -> Refused {
        Refused::NoSuchVirtualHost(shown(name))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::UserExists(name) => write!(f, "User \"{name}\" already exists"),
            Refused::NoSuchUser(name) => write!(f, "User \"{name}\" does not exist"),
            Refused::VirtualHostExists(name) => write!(f, "Virtual host '{name}' already exists"),
            Refused::NoSuchVirtualHost(name) => write!(f, "Virtual host '{name}' does not exist"),
            Refused::Protected(name) => write!(
                f,
                "Cannot delete virtual host '{name}': it is protected from deletion"
            ),
            Refused::BadPasswordHash => f.write_str("Invalid password hash"),
            Refused::BadName { what, why } => write!(f, "Invalid name of a {what}: {why}"),
            Refused::BadPattern { pattern, fault } => {
                write!(f, "Invalid regular expression '{pattern}': {}", fault.what)?;
                write!(f, " at {}", fault.place)
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Names of users and virtual hosts are shown to people and travel as JSON, so they are text, and keys
/// in the store, so they have an end.
pub(in crate::broker) fn check_name(what: &'static str, name: &[u8]) -> Result<(), Refused> {
    let why = match name {
        b"" => "it is empty",
        name if name.len() > 255 => "it has more than 255 bytes",
        name if std::str::from_utf8(name).is_err() => "it is not UTF-8",
        _ => return Ok(()),
    };
    Err(Refused::BadName { what, why })
}

pub(in crate::broker) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
