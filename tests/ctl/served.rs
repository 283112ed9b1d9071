//! The real broker, and command lines as they are typed in a shell.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Run;
use crate::process::{LOCAL, Program, home, leveret};
use crate::support::{Login, RawClient};

/// A broker with a data directory and ports of its own, and a folder where leveretctl is found under
/// RabbitMQ's name for it, too.
pub struct ServedBroker {
    program: Program,
    shell: Shell,
}

/// Where lines are typed: with leveretctl by all its names, and a data directory that it takes for that of
/// this machine's broker.
pub struct Shell {
    names: TempDir,
    data: TempDir,
}

impl ServedBroker {
    pub fn start() -> ServedBroker {
        let settings = "management.tcp.port = 0\nprometheus.tcp.port = none\n";
        let home = home(&[("leveret.conf", settings)]);
        let shell = Shell::new();
        let data = shell.data_directory();
        let own = [
            "--config",
            "leveret.conf",
            "--data-dir",
            data.to_str().unwrap(),
        ];
        let command = leveret(&[&LOCAL[..], &own].concat());
        ServedBroker {
            program: Program::start_in(home, command),
            shell,
        }
    }

    /// Stops it as an administrator does; what is left is its data directory.
    pub fn stop(self) -> Shell {
        self.program.stop();
        self.shell
    }

    /// The same without giving it time for anything.
    pub fn kill(self) -> Shell {
        self.program.signal(Signal::KILL);
        self.program.wait();
        self.shell
    }

    /// Runs a line with the shell.
    pub fn types(&self, line: &str) -> Run {
        self.shell.types(line)
    }

    /// A line that succeeds and says this, and nothing on standard error.
    #[track_caller]
    pub fn prints(&self, line: &str, out: &str) {
        let run = self.types(line);
        assert_eq!(
            (run.code, &*run.err, &*run.out),
            (0, "", out),
            "{line}: {run:?}"
        );
    }

    /// A line that succeeds.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        let run = self.types(line);
        assert_eq!((run.code, &*run.err), (0, ""), "{line}: {run:?}");
        run.out
    }

    #[track_caller]
    pub fn fails(&self, line: &str, code: i32, err: &str) {
        let run = self.types(line);
        assert_eq!((run.code, &*run.err), (code, err), "{line}: {run:?}");
    }

    /// Where it serves HTTP, as it says itself.
    pub fn http_port(&self) -> u64 {
        let status = self.does("leveretctl status --formatter json");
        let status: Value = serde_json::from_str(&status).unwrap();
        let listeners = status["listeners"].as_array().unwrap();
        let http = listeners.iter().find(|it| it["protocol"] == "http");
        http.and_then(|it| it["port"].as_u64())
            .expect("it serves HTTP")
    }

    /// A client that has logged in so, with channel 1.
    pub fn client(&self, user: &str, password: &str, vhost: &str) -> RawClient {
        let mut client = self.stranger();
        let response = format!("\0{user}\0{password}");
        client.open_connection(&Login {
            response: response.as_bytes(),
            virtual_host: vhost.as_bytes(),
            ..Login::default()
        });
        client.open_channel(1);
        client
    }

    pub fn guest(&self) -> RawClient {
        self.client("guest", "guest", "/")
    }

    pub fn stranger(&self) -> RawClient {
        let address: SocketAddr = self.program.address.parse().unwrap();
        RawClient::connect(address)
    }
}

impl Shell {
    pub fn new() -> Shell {
        let names = tempfile::tempdir().unwrap();
        for name in ["leveretctl", "rabbitmqctl", "rabbitmq-diagnostics"] {
            let link = names.path().join(name);
            symlink(env!("CARGO_BIN_EXE_leveretctl"), link).unwrap();
        }
        Shell {
            names,
            data: tempfile::tempdir().unwrap(),
        }
    }

    pub fn data_directory(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    /// Runs a line with the shell.
    pub fn types(&self, line: &str) -> Run {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", self.names.path().display()))
            .env_remove("LEVERET_CONFIG_FILE")
            .env_remove("LEVERET_PASSWORD")
            .env("LEVERET_DATA_DIR", self.data.path())
            .current_dir(self.names.path())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
