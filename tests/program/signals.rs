//! What signals and their logs do.

use std::time::Instant;

use rustix::process::Signal;

use crate::process::{LOCAL, Program, home, leveret, text_of};
use crate::support::eventually;

const FORCED: &str = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

#[test]
fn sigterm_closes_connections_with_320_and_ends_in_time_whoever_is_silent() {
    let program = Program::start(leveret(&LOCAL));
    let mut polite = program.client();
    let silent = program.client();
    let started = Instant::now();
    program.signal(Signal::TERM);
    polite.expect_connection_close(320, FORCED);
    let (status, _, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        started.elapsed().as_secs_f32() < 5.0,
        "{:?}",
        started.elapsed()
    );
    drop(silent);
}

#[test]
fn sigusr1_logs_the_state() {
    let home = home(&[]);
    let path = home.path().join("l.log");
    let arguments = ["--log-file", path.to_str().unwrap()];
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &arguments].concat()));
    let mut client = program.client();
    client.open_channel(1);
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.declare_queue("other");
    program.signal(Signal::USR1);
    eventually("the state", || {
        text_of(&path).contains("publishers are not blocked")
    });
    let log = text_of(&path);
    for line in [
        "state: 1 connections, 1 channels, 0 consumers",
        "state: 2 queues, ",
        "state: 1 messages ready, 0 unacked; 1 held in memory",
        "is stored",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[test]
fn lines_of_the_log_may_be_json() {
    let home = home(&[("a.conf", "log.console.formatter = json\n")]);
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &["-c", "a.conf"]].concat()));
    program.client().close();
    let log = program.stop();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let login = lines
        .iter()
        .find(|line| line["msg"].as_str().unwrap().contains("authenticated"))
        .unwrap();
    assert_eq!(login["level"], "info");
    assert_eq!(login["domain"], "connection");
    assert!(login["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn the_process_id_is_in_its_file_while_it_runs() {
    let program = Program::start(leveret(&[&LOCAL[..], &["--pid-file", "l.pid"]].concat()));
    let path = program.path("l.pid");
    assert_eq!(text_of(&path), format!("{}\n", program.id()));
    program.signal(Signal::TERM);
    eventually("the file removed", || !path.exists());
}
