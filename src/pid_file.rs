//! The file with the process id, for scripts that look for the broker.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Removed when dropped, if it is still ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    text: String,
}

impl PidFile {
    /// Writes it, over what a broker left that ended badly.
    ///
    /// # Errors
    /// With the path.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        let text = format!("{}\n", std::process::id());
        fs::write(path, &text).map_err(|error| {
            let text = format!("could not write the pid file {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(PidFile {
            path: path.to_owned(),
            text,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = fs::read_to_string(&self.path).is_ok_and(|text| text == self.text);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("could not remove {}: {error}", self.path.display());
        }
    }
}
