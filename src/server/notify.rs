//! Word to the service manager: ready, stopping, alive (systemd: sd_notify, `Type=notify`).
//!
//! The protocol is a datagram of `KEY=VALUE` lines to a Unix socket. Our own few lines, since the loop
//! must never wait for it, and tells it every few seconds that it is alive without opening a socket.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A connection to the service manager, or to nobody.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// The manager gives us up when it has not heard from us for so long.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that started this process, if it wants to be told (`NOTIFY_SOCKET`,
    /// `WATCHDOG_USEC`).
    pub fn from_environment() -> Notifier {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else {
            return Notifier::default();
        };
        let socket = path.to_str().ok_or(io::ErrorKind::InvalidInput.into());
        match socket.and_then(connect) {
            Ok(socket) => Notifier {
                socket: Some(socket),
                watchdog: watchdog(),
            },
            Err(error) => {
                log::warn!("the service manager cannot be told of anything: {error}");
                Notifier::default()
            }
        }
    }

    /// How often [`Notifier::alive`] is expected: twice in the time that the manager waits.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Clients are served.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving clients");
    }

    /// The configuration is being read; [`Notifier::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// Clients are said goodbye to, and what they sent is stored.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping");
    }

    /// The loop turns.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send(state.as_bytes()) {
            log::warn!("the service manager was not told '{state}': {error}");
        }
    }
}

/// A path, or a name in the abstract namespace with an `@` before it.
fn connect(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Only if it is this process that is watched.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = match env::var_os("WATCHDOG_PID") {
        Some(_) => number("WATCHDOG_PID") == Some(std::process::id().into()),
        None => true,
    };
    let limit = number("WATCHDOG_USEC").filter(|limit| *limit > 0 && is_ours);
    limit.map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_in_the_abstract_namespace_hears_it() {
        let name = format!("leveret-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier {
            socket: Some(connect(&format!("@{name}")).unwrap()),
            watchdog: Some(Duration::from_secs(3)),
        };
        notifier.alive();
        notifier.reloading();
        let mut buffer = [0; 100];
        let size = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"WATCHDOG=1");
        let size = manager.recv(&mut buffer).unwrap();
        assert!(buffer[..size].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(notifier.interval(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn nobody_is_told_without_a_manager() {
        Notifier::default().ready();
        assert!(connect("").is_err());
    }
}
