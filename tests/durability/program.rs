//! The real process, with a data directory that outlives it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Login, PATIENCE, RawClient};

/// Held while a process is started, and while a broker of our own opens its directory: a process that is
/// being started has copies of our descriptors until it runs, and a directory's lock is one of them.
pub static SPAWNING: Mutex<()> = Mutex::new(());

/// A place for a data directory and for what the processes in it log.
pub struct Home {
    place: TempDir,
    data: PathBuf,
}

impl Home {
    pub fn new() -> Home {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let home = Home { place, data };
        // The disks of some tests are smaller than the default.
        home.configure("disk_free_limit.absolute = 1\n");
        home
    }

    /// With the data directory somewhere else.
    pub fn with_data(data: PathBuf) -> Home {
        let mut home = Home::new();
        home.data = data;
        home
    }

    /// What the configuration file says from now on.
    pub fn configure(&self, text: &str) {
        fs::write(self.place.path().join("conf"), text).unwrap();
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything that all processes here have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts a broker and waits until it is ready.
    #[track_caller]
    pub fn start(&self) -> Program {
        self.await_ready(self.spawn())
    }

    /// The same, with so many KiB of address space.
    #[track_caller]
    pub fn start_with_memory(&self, kib: u32) -> Program {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_leveret")]);
        self.await_ready(self.spawn_as(shell))
    }

    #[track_caller]
    fn await_ready(&self, mut child: Child) -> Program {
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        let word = |kind: &str| {
            let mut words = ready.split_whitespace();
            let addresses = words.find_map(|word| word.strip_prefix(kind))?;
            addresses.split(',').next()
        };
        match word("amqp=") {
            Some(address) => Program {
                child,
                address: address.parse().unwrap(),
                http: word("http=").map(|address| address.parse().unwrap()),
                log: self.log_path(),
            },
            None => panic!("it did not get ready: {}\n{}", wait(child), self.log()),
        }
    }

    /// Starts a broker that is not expected to get ready: its exit, and what it logged.
    pub fn start_in_vain(&self) -> (ExitStatus, String) {
        let before = self.log().len();
        let status = wait(self.spawn());
        (status, self.log()[before..].to_owned())
    }

    /// Starts a broker that is killed before long, wherever it got to.
    pub fn start_and_kill(&self, after: Duration) {
        let mut child = self.spawn();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What `--check` says of the data directory: its exit, its report and its complaints.
    pub fn check(&self) -> (ExitStatus, String, String) {
        let _turn = SPAWNING.lock();
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        let output = command.arg("--check").arg(&self.data).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status, text(output.stdout), text(output.stderr))
    }

    fn spawn(&self) -> Child {
        self.spawn_as(Command::new(env!("CARGO_BIN_EXE_leveret")))
    }

    fn spawn_as(&self, mut leveret: Command) -> Child {
        let _turn = SPAWNING.lock();
        leveret
            .args(["--bind", "127.0.0.1", "--port", "0", "--data-dir"])
            .arg(&self.data)
            .args(["--log-level", "warn", "--config"])
            .arg(self.place.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log_file())
            .spawn()
            .unwrap()
    }

    fn log_file(&self) -> File {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        options.open(self.log_path()).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.place.path().join("log")
    }
}

/// A running broker; killed when dropped.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    /// The management API.
    pub http: Option<SocketAddr>,
    log: PathBuf,
}

impl Program {
    /// An open connection with an open channel, number 1.
    pub fn connect(&self) -> RawClient {
        let mut client = RawClient::connect(self.address);
        client.open_connection(&Login::default());
        client.open_channel(1);
        client
    }

    /// As if the power went, but for what the operating system still has.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it as an administrator does, and expects success. Peers that are still there are waited for.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = exit_of(&mut self.child);
        assert!(status.success(), "{status}");
    }

    /// The same, without waiting for peers.
    #[track_caller]
    pub fn stop_at_once(self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }

    /// Tells it to stop; how it ended.
    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
        exit_of(&mut self.child)
    }

    /// Memory that it has to itself or shares, in bytes, files that it reads excepted.
    pub fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let status = self.child.try_wait();
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let from = log.len().saturating_sub(LOG_SHOWN);
            let tail = log.get(from..).unwrap_or(&log);
            println!("the broker ({status:?}) logged at last:\n{tail}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of a broker's log that a failed test shows.
const LOG_SHOWN: usize = 4000;

fn wait(mut child: Child) -> ExitStatus {
    exit_of(&mut child)
}

#[track_caller]
fn exit_of(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
