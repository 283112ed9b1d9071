//! The data directory as the store sees it: a few operations on named files, so that a test can put a
//! simulated disk in their place.
//!
//! Paths are relative, `folder/name` or `name`. A file's contents are stable after [`DiskFile::sync`],
//! its name after [`Disk::sync_folder`] of the folder it is in; nothing else is promised.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

/// A directory of the store's own.
pub trait Disk {
    type File: DiskFile;

    /// Names in a folder; none if it does not exist.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// For reading and writing.
    fn open(&self, path: &str) -> io::Result<Self::File>;
    /// A new file of this size, with the space allocated; whatever had the name is gone.
    fn create(&self, path: &str, size: u64) -> io::Result<Self::File>;
    /// Replaces `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder stable; `""` is the directory itself. After an error nothing is known
    /// about them: it is never one that [`is_full`].
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    fn create_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile {
    fn size(&self) -> io::Result<u64>;
    /// Shortens it, or makes it longer with allocated zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes contents and size stable. After an error nothing is known about either: it is never one
    /// that [`is_full`].
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system, locked for this process.
pub struct Directory {
    root: PathBuf,
    writable: bool,
    /// Released when dropped.
    lock: Option<File>,
}

impl Drop for Directory {
    /// Closing the descriptor would do, but for a child that another thread is just forking: it has the
    /// descriptor too, until it executes something.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock
            && let Err(error) = flock(lock, FlockOperation::Unlock)
        {
            ::log::warn!("could not unlock {}: {error}", self.root.display());
        }
    }
}

impl Directory {
    /// Creates it if need be (mode 0700) and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when another process has it.
    pub fn lock(root: &Path) -> io::Result<Directory> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Directory {
            root: root.to_owned(),
            writable: true,
            lock: Some(lock),
        })
    }

    /// For looking only: changes nothing, and is refused while a broker runs there.
    pub fn inspect(root: &Path) -> io::Result<Directory> {
        let lock = match File::open(root.join(LOCK)) {
            Ok(lock) => {
                flock(&lock, FlockOperation::NonBlockingLockShared)?;
                Some(lock)
            }
            // Never used, or on a medium where not even that can be made.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::read_dir(root)?;
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Directory {
            root: root.to_owned(),
            writable: false,
            lock,
        })
    }
}

impl Disk for Directory {
    type File = File;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not Unicode is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(self.root.join(path))
    }

    fn create(&self, path: &str, size: u64) -> io::Result<File> {
        let path = self.root.join(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        if let Err(error) = file.set_size(size) {
            // Its space may be what is missing elsewhere.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let folder = File::open(self.root.join(folder))?;
        folder.sync_all().map_err(final_error)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.root.join(folder))
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let before = self.size()?;
        if size <= before {
            return if size < before {
                self.set_len(size)
            } else {
                Ok(())
            };
        }
        match fallocate(self, FallocateFlags::empty(), before, size - before) {
            // Zeros take the space where it cannot be reserved.
            Err(rustix::io::Errno::OPNOTSUPP) => fill(self, before, size),
            result => Ok(result?),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data().map_err(final_error)
    }
}

/// A sync that fails for want of space may have lost what it should have stored, like any other.
fn final_error(error: io::Error) -> io::Error {
    if is_full(&error) {
        io::Error::other(format!("sync: {error}"))
    } else {
        error
    }
}

fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 16];
    let mut at = from;
    while at < to {
        let size = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..size as usize], at)?;
        at += size;
    }
    Ok(())
}

/// Whether an error means that space ran out, which is waited for, unlike anything else.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// Whether an error of reading says that the bytes are gone, unlike one that may not come again.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::NotFound)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

const LOCK: &str = "lock";
