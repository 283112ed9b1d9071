//! The file of a listening Unix socket: taken over when its owner is dead, removed when we stop.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Removes the file when dropped, unless it has become somebody else's.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Binds `path`. A socket file that nobody answers on was left behind by a crash and is replaced;
    /// any other file is left alone, and the address is in use.
    pub fn bind(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
        let listener = match listen(path, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                log::info!("replacing the stale socket file {}", path.display());
                fs::remove_file(path)?;
                listen(path, backlog)?
            }
            other => other?,
        };
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(path),
        };
        Ok((listener, file))
    }

    /// Leaves it to its owner alone.
    pub fn make_private(&self) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_none() || identity(&self.path) != self.identity {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("could not remove {}: {error}", self.path.display());
        }
    }
}

fn listen(path: &Path, backlog: i32) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}

fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("leveret-unix-socket-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_stale_file_is_replaced_and_ours_removed() {
        let directory = Directory::new("stale");
        let path = directory.0.join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = SocketFile::bind(&path, 16).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_socket_and_an_ordinary_file_are_left_alone() {
        let directory = Directory::new("living");
        let path = directory.0.join("socket");
        let living = UnixListener::bind(&path).unwrap();
        let error = SocketFile::bind(&path, 16).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(living);

        let path = directory.0.join("file");
        fs::write(&path, "precious").unwrap();
        let error = SocketFile::bind(&path, 16).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_became_somebody_elses_stays() {
        let directory = Directory::new("changed");
        let path = directory.0.join("socket");
        let ours = SocketFile::bind(&path, 16).unwrap();
        fs::rename(&path, directory.0.join("aside")).unwrap();
        let _theirs = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }
}
