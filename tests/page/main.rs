//! The management page, driven in headless Chromium by `click_path.mjs`, over the real program. Left out where
//! there is no Chromium or no node; where `CI` is set, that is a failure.
//!
//! `LEVERET_CHROMIUM` and `LEVERET_NODE` name other programs than those on the path.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

#[test]
fn the_page_works_from_log_in_to_log_out() {
    let node = program("LEVERET_NODE", &["node", "nodejs"]);
    let browser = program("LEVERET_CHROMIUM", &BROWSERS);
    let (Some(node), Some(browser)) = (&node, &browser) else {
        let missing = if node.is_none() { "node" } else { "Chromium" };
        assert!(env::var_os("CI").is_none(), "there is no {missing}");
        println!("skipped: there is no {missing} to drive the page with");
        return;
    };
    let broker = Running::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/click_path.mjs");
    let output = Command::new(node)
        .arg(script)
        .arg(format!("http://{}/", broker.http))
        .arg(browser)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The program, with a directory and ports of its own; killed when dropped.
struct Running {
    child: Child,
    /// Where the page is: `127.0.0.1:15672`.
    http: String,
    _home: tempfile::TempDir,
}

impl Running {
    fn start() -> Running {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--bind", "127.0.0.1", "--port", "0", "--http-port", "0"])
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
        stdout.read_line(&mut ready).unwrap();
        let http = ready.split_whitespace().find_map(|word| {
            let addresses = word.strip_prefix("http=")?;
            addresses.split(',').next()
        });
        Running {
            http: http.expect("it says where the page is").to_owned(),
            child,
            _home: home,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that a variable names, else the first that is on the path.
fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(named) = env::var_os(variable) {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}
