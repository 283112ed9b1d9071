//! What is measured: leveret, started here, and brokers that already run.

use std::io::{BufRead, BufReader};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::connection::Endpoint;
use crate::client::failure::{Failure, Result};

pub struct Target {
    pub name: String,
    pub endpoint: Endpoint,
    /// Whose CPU and memory to read; without it those figures are missing.
    pub pid: Option<u32>,
    /// Present if the benchmark started it; it ends with the target.
    process: Option<Process>,
}

struct Process {
    child: Child,
    /// Kept open: a line that nobody reads should not be the end of the process that prints it.
    stdout: BufReader<ChildStdout>,
}

impl Target {
    /// A broker that runs already, given as `[NAME=]HOST:PORT[:PID]`.
    pub fn running(text: &str, pid: Option<u32>) -> Result<Self> {
        let (name, endpoint) = text.split_once('=').unwrap_or(("broker", text));
        let (host_port, own_pid) = match endpoint.split(':').count() {
            3.. => endpoint.rsplit_once(':').unwrap_or((endpoint, "")),
            _ => (endpoint, ""),
        };
        let bad = || Failure::new(format!("not [NAME=]HOST:PORT[:PID]: {text}"));
        let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(harmless) {
            return Err(bad());
        }
        let own_pid = match own_pid {
            "" => None,
            digits => Some(digits.parse().map_err(|_| bad())?),
        };
        Ok(Target {
            name: name.to_owned(),
            endpoint: resolve(host_port).ok_or_else(bad)?,
            pid: pid.or(own_pid),
            process: None,
        })
    }

    /// Starts the leveret that was built along with this benchmark.
    pub fn start_leveret(data_dir: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["--port", "0", "--bind", "127.0.0.1", "--log-level", "warn"]);
        command.arg("--data-dir").arg(data_dir);
        Target::start("leveret", command, "ready amqp=")
    }

    /// Whether it lives and dies with the benchmark.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Sends a signal to a target that was started, and waits for its end. Returns how long that took.
    pub fn end(mut self, signal: Signal) -> Result<Duration> {
        let Some(process) = &mut self.process else {
            return Err(Failure::new("only what was started can be ended"));
        };
        let start = Instant::now();
        kill_process(Pid::from_child(&process.child), signal).map_err(std::io::Error::from)?;
        let status = process.child.wait()?;
        if signal != Signal::KILL && !status.success() {
            return Err(Failure::new(format!("{} ended with {status}", self.name)));
        }
        Ok(start.elapsed())
    }

    fn start(name: &str, mut command: Command, ready: &str) -> Result<Self> {
        // Its standard input ends when we do, however that happens; the relay takes notice.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let cannot = |error| Failure::new(format!("cannot start {name}: {error}"));
        let mut child = command.spawn().map_err(cannot)?;
        let stdout = child.stdout.take().expect("it was piped above");
        let mut process = Process {
            child,
            stdout: BufReader::new(stdout),
        };
        let address = loop {
            let mut line = String::new();
            if process.stdout.read_line(&mut line)? == 0 {
                return Err(Failure::new(format!("{name} ended before it was ready")));
            }
            if let Some(rest) = line.strip_prefix(ready) {
                break resolve(rest.split_whitespace().next().unwrap_or_default());
            }
        };
        let address = address.ok_or_else(|| Failure::new(format!("{name} gave no address")))?;
        Ok(Target {
            name: name.to_owned(),
            endpoint: address,
            pid: Some(process.child.id()),
            process: Some(process),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The broker there lets guest in.
fn resolve(host_port: &str) -> Option<Endpoint> {
    Some(Endpoint {
        address: host_port.to_socket_addrs().ok()?.next()?,
        user: "guest".to_owned(),
        password: "guest".to_owned(),
        virtual_host: "/".to_owned(),
    })
}
