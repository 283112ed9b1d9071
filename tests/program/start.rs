//! What it prints, and how it exits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use leveret::wire::amqp::frame::encode_method;
use leveret::wire::amqp::{Properties, Table, channel, confirm, connection, queue};
use rustix::process::Signal;

use crate::process::{LOCAL, PATIENCE, Program, leveret, run};

fn assert_served(stream: &mut TcpStream) {
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let mut frame_type = [0];
    stream.read_exact(&mut frame_type).unwrap();
    assert_eq!(frame_type, [1]);
}

#[test]
fn it_says_where_it_is_ready_and_nothing_else() {
    let program = Program::start(leveret(&LOCAL));
    assert!(program.address.starts_with("127.0.0.1:"));
    assert_served(&mut program.connect());
    program.signal(Signal::TERM);
    let (status, out, _) = program.wait();
    assert!(status.success());
    assert_eq!(out, "");
}

#[test]
fn all_addresses_are_in_the_ready_line() {
    let program = Program::start(leveret(&["-b", "127.0.0.1", "-b", "127.0.0.1", "-p", "0"]));
    assert_eq!(program.address.split(',').count(), 2);
}

#[test]
fn either_signal_stops_it_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(leveret(&LOCAL));
        program.signal(signal);
        let (status, _, log) = program.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.lines().last().unwrap().ends_with("stopped"), "{log}");
    }
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let program = Program::start(leveret(&LOCAL));
    let mut silent = program.connect();
    assert_served(&mut silent);
    let started = Instant::now();
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    let (status, _, _) = program.wait();
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn closed_standard_output_does_not_stop_it() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" \"$@\" >&-",
            env!("CARGO_BIN_EXE_leveret"),
        ])
        .args(["--bind", &address.to_string()])
        .current_dir(home.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::yield_now();
    };
    assert_served(&mut stream);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn usage_errors_are_one_line_and_exit_64() {
    for arguments in [&["--port", "amqp"][..], &["--frobnicate"], &["start"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64));
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with("leveret: ") && text.contains("--help"),
            "{text}"
        );
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (argument, mention) in [("--help", "--log-level"), ("-V", "leveret 0.")] {
        let output = run(&[argument]);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(mention), "{text}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn a_taken_port_is_said_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--bind", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = format!("could not bind {address}: Address already in use");
    assert!(text.trim_end().ends_with(&expected), "{text}");
}

#[test]
fn out_of_descriptors_new_peers_wait_and_old_ones_are_served() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 24; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_leveret"))
        .args(LOCAL);
    let program = Program::start(command);
    let mut streams: Vec<_> = (0..60).map(|_| program.connect()).collect();
    assert_served(&mut streams[0]);
    // Nobody is refused: as the first leave, the last come in.
    let mut last = streams.pop().unwrap();
    assert_served(&mut streams[1]);
    drop(streams);
    assert_served(&mut last);
    program.signal(Signal::TERM);
    let (status, _, log) = program.wait();
    assert!(status.success());
    assert_eq!(log.matches("accepting failed").count(), 1, "{log}");
}

#[test]
fn what_a_peer_says_of_itself_stays_in_its_line_of_the_log() {
    let program = Program::start(leveret(&LOCAL));
    let mut stream = program.connect();
    assert_served(&mut stream);
    let mut bytes = Vec::new();
    let start_ok = connection::StartOk {
        client_properties: Table::EMPTY,
        mechanism: b"PLAIN",
        response: b"\0nobody\nERROR the broker is on fire\x1b[2J\0secret",
        locale: b"en_US",
    };
    encode_method(&mut bytes, 0, &start_ok);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    program.signal(Signal::TERM);
    let (_, _, log) = program.wait();
    let line = log.lines().find(|line| line.contains("nobody")).unwrap();
    assert!(
        line.contains("nobody\\nERROR the broker is on fire\\u{1b}[2J'"),
        "{log}"
    );
}

#[test]
fn one_that_spins_confirms_what_is_stored_and_stops() {
    let program = Program::start(leveret(&[LOCAL.as_slice(), &["--spin", "50"]].concat()));
    let mut client = program.client();
    client.send(&channel::Open::default());
    client.expect("channel.open-ok");
    client.send(&queue::Declare {
        queue: b"q",
        durable: true,
        ..Default::default()
    });
    client.expect("queue.declare-ok");
    client.send(&confirm::Select::default());
    client.expect("confirm.select-ok");
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Default::default()
    };
    for number in 1..=3 {
        client.publish_with("", "q", &persistent, "a message");
        assert_eq!(client.expect_confirm(), (number, false));
    }
    assert!(program.stop().contains("stopped"));
}
