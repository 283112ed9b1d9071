//! `-detached`.

use std::fs;
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{LOCAL, amqp_address, home, leveret, text_of};
use crate::support::eventually;

#[test]
fn a_detached_broker_goes_on_in_the_background() {
    let home = home(&[]);
    let output = leveret(&[&["-detached"], &LOCAL[..]].concat())
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let ready = String::from_utf8(output.stdout).unwrap();
    let address = amqp_address(&ready).unwrap();
    TcpStream::connect(address).unwrap();

    let data = home.path().join("leveret-data");
    let pid_file = data.join("leveret.pid");
    let pid: i32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    eventually("the end", || {
        text_of(&data.join("leveret.log")).contains("stopped")
    });
    eventually("the pid file removed", || !pid_file.exists());
}

#[test]
fn a_detached_broker_that_cannot_start_says_so() {
    let home = home(&[("a.conf", "heartbeat = x\n")]);
    for (arguments, code, mention) in [
        (["-c", "a.conf"], 78, "heartbeat = x cannot be"),
        (["-b", "192.0.2.1:1"], 1, "could not bind 192.0.2.1:1"),
    ] {
        let output = leveret(&[&["--detached"][..], &arguments].concat())
            .current_dir(home.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(mention), "{text}");
    }
}
