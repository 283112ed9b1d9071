//! What is measured: a broker that runs, or the relay, started here.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::client::connection::Endpoint;
use crate::client::failure::{Failure, Result};

pub struct Target {
    pub name: String,
    pub endpoint: Endpoint,
    /// Whose CPU and memory to read; without it those figures are missing.
    pub pid: Option<u32>,
    pub kind: Kind,
    /// Present if it was started here; it ends with the target.
    _process: Option<Process>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Broker,
    Relay,
}

/// Ends when it is dropped.
pub struct Process {
    child: Child,
    /// Kept open: a line that nobody reads should not be the end of the process that prints it.
    stdout: BufReader<ChildStdout>,
}

impl Target {
    pub fn broker(name: &str, endpoint: Endpoint, pid: Option<u32>) -> Self {
        Target {
            name: name.to_owned(),
            endpoint,
            pid,
            kind: Kind::Broker,
            _process: None,
        }
    }

    /// A broker that lets guest in, given as `NAME=HOST:PORT[:PID]`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Failure::new(format!("not NAME=HOST:PORT[:PID]: {text}"));
        let (name, place) = text.split_once('=').ok_or_else(bad)?;
        let harmless = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
        if name.is_empty() || !name.chars().all(harmless) {
            return Err(bad());
        }
        let address = place.to_socket_addrs().ok().and_then(|mut all| all.next());
        let (address, pid) = match (address, place.rsplit_once(':')) {
            (Some(address), _) => (address, None),
            (None, Some((place, pid))) => {
                let pid: u32 = pid.parse().map_err(|_| bad())?;
                (resolve(place)?, Some(pid))
            }
            _ => return Err(bad()),
        };
        Ok(Target::broker(name, guest(address), pid))
    }

    /// Starts this program a second time, as the relay: its CPU is then its own.
    pub fn start_relay() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay");
        let (process, address) = Process::start(command, crate::relay::READY)?;
        Ok(Target {
            name: "relay".to_owned(),
            endpoint: guest(address),
            pid: Some(process.id()),
            kind: Kind::Relay,
            _process: Some(process),
        })
    }
}

impl Process {
    /// Starts a program that prints `ready` and its address, and waits for that.
    pub fn start(mut command: Command, ready: &str) -> Result<(Self, SocketAddr)> {
        // Its standard input ends when we do, however that happens; the relay takes notice.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let cannot = |error| Failure::new(format!("cannot start {name}: {error}"));
        let mut child = command.spawn().map_err(cannot)?;
        let stdout = child.stdout.take().expect("it was piped above");
        let mut process = Process {
            child,
            stdout: BufReader::new(stdout),
        };
        loop {
            let mut line = String::new();
            if process.stdout.read_line(&mut line)? == 0 {
                return Err(Failure::new(format!("{name} ended before it was ready")));
            }
            if let Some(rest) = line.strip_prefix(ready) {
                let address = rest.split_whitespace().next().unwrap_or_default();
                return Ok((process, resolve(address)?));
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address of `HOST:PORT`.
pub fn resolve(place: &str) -> Result<SocketAddr> {
    let addresses = place.to_socket_addrs().ok();
    addresses
        .and_then(|mut all| all.next())
        .ok_or_else(|| Failure::new(format!("no such address: {place}")))
}

/// An address that lets guest in.
pub fn guest(address: SocketAddr) -> Endpoint {
    Endpoint {
        address,
        user: "guest".to_owned(),
        password: "guest".to_owned(),
        virtual_host: "/".to_owned(),
    }
}
