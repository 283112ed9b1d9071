//! A broker that says what it is told to, over a Unix socket in a data directory of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

pub struct ScriptedBroker {
    directory: TempDir,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    /// By method and path: status and body. What is not here is 404.
    answers: HashMap<String, (u16, String)>,
    asked: Vec<(String, Value)>,
}

/// How a run of leveretctl ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl ScriptedBroker {
    pub fn start() -> ScriptedBroker {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("leveret.sock")).unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &shared);
            }
        });
        let broker = ScriptedBroker { directory, script };
        broker.answers("GET /api/leveret/status", 200, STATUS);
        broker
    }

    /// Lets a request, like `GET /api/users`, be answered so.
    pub fn answers(&self, request: &str, status: u16, body: &str) {
        let answer = (status, body.to_owned());
        let mut script = self.script.lock().unwrap();
        script.answers.insert(request.to_owned(), answer);
    }

    /// What was asked with more than GET, with the bodies.
    pub fn asked(&self) -> Vec<(String, Value)> {
        let asked = std::mem::take(&mut self.script.lock().unwrap().asked);
        let changes = asked.into_iter();
        changes
            .filter(|(request, _)| !request.starts_with("GET"))
            .collect()
    }

    /// Runs leveretctl with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        run(self.directory.path(), arguments, input)
    }

    /// A run that succeeds and says nothing on standard error.
    #[track_caller]
    pub fn prints(&self, arguments: &[&str], out: &str) {
        let run = self.run(arguments);
        assert_eq!((run.code, &*run.err), (0, ""), "{arguments:?}");
        assert_eq!(run.out, out, "{arguments:?}");
    }

    /// A run that fails so.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32, err: &str) {
        let run = self.run(arguments);
        assert_eq!((run.code, &*run.err), (code, err), "{arguments:?}");
    }

    /// A run that asks for exactly these changes.
    #[track_caller]
    pub fn asks(&self, arguments: &[&str], changes: &[(&str, Value)]) {
        let run = self.run(arguments);
        assert_eq!((run.code, &*run.err), (0, ""), "{arguments:?}");
        let asked = self.asked();
        let asked: Vec<_> = asked.iter().map(|(a, b)| (a.as_str(), b.clone())).collect();
        assert_eq!(asked, changes, "{arguments:?}");
    }
}

pub fn run(directory: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_leveretctl"))
        .args(arguments)
        .env_remove("LEVERET_CONFIG_FILE")
        .env("LEVERET_DATA_DIR", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Answers one request after the other until the peer has enough.
fn serve(stream: UnixStream, script: &Mutex<Script>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if request.is_empty() {
                request = line.trim_end_matches(" HTTP/1.1").to_owned();
            } else if let Some(number) = line.strip_prefix("Content-Length: ") {
                length = number.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = {
            let mut script = script.lock().unwrap();
            script.asked.push((request.clone(), body));
            let found = script.answers.get(&request).cloned();
            found.unwrap_or_else(|| {
                (
                    404,
                    r#"{"error":"Object Not Found","reason":"Not Found"}"#.to_owned(),
                )
            })
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        let written = stream
            .get_mut()
            .write_all(format!("{head}{answer}").as_bytes());
        if written.is_err() {
            return;
        }
    }
}

const STATUS: &str = r#"{
    "node": "leveret@host", "pid": 7, "version": "0.1.0", "os": "Linux", "uptime_ms": 61500,
    "data_directory": "/data", "config_files": ["/etc/leveret/leveret.conf"], "log_files": ["<stderr>"],
    "listeners": [
        {"interface": "[::]", "port": 5672, "protocol": "amqp", "purpose": "AMQP 0-9-1"},
        {"interface": "[::]", "port": 15672, "protocol": "http", "purpose": "HTTP API"}
    ],
    "alarms": [], "memory": {"resident": 10000000, "limit": 4000000000, "messages": 2500000},
    "disk": {"free": 58359554048, "limit": 50000000}, "file_descriptors": {"used": 28, "limit": 1024},
    "totals": {"connections": 3, "channels": 3, "queues": 4, "exchanges": 8, "consumers": 1, "messages": 9},
    "vhosts": 2, "is_under_maintenance": false
}"#;
