//! The real process, in a directory of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Login, RawClient};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of a broker that disturbs nobody.
pub const LOCAL: [&str; 4] = ["--bind", "127.0.0.1", "--port", "0"];

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    pub address: String,
    /// What it logs to standard error, as it comes.
    log: Option<JoinHandle<String>>,
    home: TempDir,
}

/// The first address of a ready line.
pub fn amqp_address(ready: &str) -> Option<&str> {
    let addresses = ready.strip_prefix("ready amqp=")?;
    addresses.split_whitespace().next()
}

impl Program {
    /// In a new directory.
    pub fn start(command: Command) -> Program {
        Program::start_in(tempfile::tempdir().unwrap(), command)
    }

    /// Where it runs, and makes its data directory.
    pub fn start_in(home: TempDir, mut command: Command) -> Program {
        let mut child = command
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        child.stdout = Some(stdout.into_inner());
        let Some(address) = amqp_address(&ready) else {
            let _ = child.wait();
            panic!(
                "no ready line but {ready:?}; it logged\n{}",
                log.join().unwrap()
            );
        };
        Program {
            child,
            address: address.to_owned(),
            log: Some(log),
            home,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client that has logged in.
    pub fn client(&self) -> RawClient {
        let address: SocketAddr = self.address.parse().unwrap();
        let mut client = RawClient::connect(address);
        client.open_connection(&Login::default());
        client
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Tells it to stop: what it logged.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, _, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// The exit, with the rest of standard output and all of standard error.
    pub fn wait(mut self) -> (ExitStatus, String, String) {
        let mut out = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        (self.child.wait().unwrap(), out, log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without what the environment of the tests may say about brokers.
pub fn leveret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(arguments);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let prefixes = ["RABBITMQ_", "LEVERET_", "NOTIFY_", "WATCHDOG_", "LISTEN_"];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    command
}

pub fn run(arguments: &[&str]) -> Output {
    leveret(arguments).output().unwrap()
}

/// A directory with these files in it.
pub fn home(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    home
}

/// What a file says; nothing if there is none yet.
pub fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
