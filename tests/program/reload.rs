//! SIGHUP: what changes while the broker runs, and what does not.

use std::fs;

use leveret::wire::amqp::Method;
use rustix::process::Signal;

use crate::process::{LOCAL, Program, home, leveret, text_of};
use crate::support::{Login, RawClient, eventually};

/// Logs to `l.log` beside its configuration `a.conf`.
fn start(configuration: &str) -> Program {
    let home = home(&[("a.conf", configuration)]);
    let path = home.path().join("l.log");
    let log = ["-c", "a.conf", "--log-file", path.to_str().unwrap()];
    Program::start_in(home, leveret(&[&LOCAL[..], &log].concat()))
}

/// Reloads, and waits until the log says so.
fn reload(program: &Program, configuration: &str, mention: &str) {
    fs::write(program.path("a.conf"), configuration).unwrap();
    program.signal(Signal::HUP);
    eventually(mention, || {
        text_of(&program.path("l.log")).contains(mention)
    });
}

fn proposed_heartbeat(program: &Program) -> u16 {
    let mut client = RawClient::connect(program.address.parse().unwrap());
    client.begin_login(&Login::default());
    match client.receive().method() {
        Method::ConnectionTune(tune) => tune.heartbeat,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_heartbeat_of_new_connections_changes() {
    let program = start("heartbeat = 30\n");
    assert_eq!(proposed_heartbeat(&program), 30);
    let mut before = program.client();
    reload(
        &program,
        "heartbeat = 20\n",
        "configuration: heartbeat was 30, is 20 now",
    );
    eventually("a new proposal", || proposed_heartbeat(&program) == 20);
    before.open_channel(1);
    before.close();
}

#[test]
fn levels_of_the_log_change() {
    let program = start("log.connection.level = none\n");
    program.client().close();
    reload(
        &program,
        "log.connection.level = debug\n",
        "log.connection.level was none, is debug now",
    );
    program.client().close();
    let path = program.path("l.log");
    eventually("a line about the connection", || {
        text_of(&path).contains("user 'guest' authenticated")
    });
    let text = text_of(&path);
    let (before, _) = text.split_once("is debug now").unwrap();
    assert!(!before.contains("authenticated"), "{text}");
}

#[test]
fn a_bad_file_changes_nothing() {
    let program = start("heartbeat = 30\n");
    reload(
        &program,
        "heartbeat = x\nlog.file.level = none\n",
        "the configuration stays as it was",
    );
    let log = text_of(&program.path("l.log"));
    assert!(
        log.contains("ERROR reload: a.conf:1: heartbeat = x cannot be"),
        "{log}"
    );
    assert_eq!(proposed_heartbeat(&program), 30);
    fs::remove_file(program.path("a.conf")).unwrap();
    program.signal(Signal::HUP);
    eventually("a second refusal", || {
        text_of(&program.path("l.log")).contains("a.conf: cannot be read")
    });
    assert_eq!(proposed_heartbeat(&program), 30);
}

#[test]
fn what_needs_a_restart_is_named() {
    let program = start("sync_interval = 50\n");
    reload(
        &program,
        "sync_interval = 60\n",
        "WARN  reload: configuration: sync_interval stays 50, 60 needs a restart",
    );
    reload(
        &program,
        "sync_interval = 50\n",
        "configuration read again: nothing has changed",
    );
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew() {
    let program = start("");
    let (path, moved) = (program.path("l.log"), program.path("l.log.1"));
    fs::rename(&path, &moved).unwrap();
    program.client().close();
    eventually("the line in the old file", || {
        text_of(&moved).contains("authenticated")
    });
    program.signal(Signal::HUP);
    eventually("a new file", || {
        text_of(&path).contains("nothing has changed")
    });
    let before = text_of(&moved);
    program.client().close();
    eventually("the line in the new file", || {
        text_of(&path).contains("authenticated")
    });
    assert_eq!(text_of(&moved), before);
}

#[test]
fn a_log_file_that_cannot_be_opened_leaves_the_log_as_it_was() {
    let home = home(&[("a.conf", "log.dir = .\nlog.file = l.log\n")]);
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &["-c", "a.conf"]].concat()));
    reload(
        &program,
        "log.file = /dev/null/x\nheartbeat = 5\n",
        "could not open the log file /dev/null/x",
    );
    eventually("a new proposal", || proposed_heartbeat(&program) == 5);
}
