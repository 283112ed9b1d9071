//! Why a data directory cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::segment::VERSION;

#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    InUse {
        directory: PathBuf,
    },
    /// A file was written by a program with another version of the format; nothing was changed.
    Version {
        file: String,
        version: u32,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: impl AsRef<Path>, error: io::Error) -> Self {
        OpenError::Io {
            path: path.as_ref().to_owned(),
            error,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { directory } => write!(
                f,
                "data directory {} is in use by another process",
                directory.display()
            ),
            OpenError::Version { file, version } => write!(
                f,
                "{file} is of format version {version}, which another leveret wrote; this one has \
                 version {VERSION} and leaves it untouched"
            ),
            OpenError::Io { path, error } => {
                write!(f, "data directory: {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {}
