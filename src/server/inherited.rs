//! Listening sockets that were opened for us (systemd: socket activation). While the broker restarts,
//! peers wait in them instead of being refused.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

/// Sockets that listen before the broker does.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) unix: Vec<UnixListener>,
}

impl Inherited {
    /// Those that the service manager passed to this process (`LISTEN_FDS`, `LISTEN_PID`). To be
    /// called once: they are taken.
    ///
    /// # Errors
    /// One that peers do not connect to, as a datagram socket.
    pub fn from_environment() -> io::Result<Inherited> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                inherited.tcp.push(listener);
            } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
                inherited.unix.push(listener);
            } else {
                let what = "the service manager passed a socket that nobody can connect to";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        }
        Ok(inherited)
    }
}
