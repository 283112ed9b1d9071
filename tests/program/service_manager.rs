//! Run by a service manager, as systemd: it is told what happens, and may open the sockets.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use crate::process::{LOCAL, PATIENCE, Program, home, leveret};

/// What the manager hears next.
fn hear(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 1000];
    let size = manager.recv(&mut buffer).expect("a notification in time");
    String::from_utf8(buffer[..size].to_vec()).unwrap()
}

#[test]
fn the_manager_is_told_of_start_life_reload_and_stop() {
    let home = home(&[]);
    let socket = home.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = leveret(&LOCAL);
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000");
    let program = Program::start_in(home, command);
    assert!(hear(&manager).starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(hear(&manager), "WATCHDOG=1");
    }
    program.signal(Signal::HUP);
    let next = || loop {
        let heard = hear(&manager);
        if heard != "WATCHDOG=1" {
            return heard;
        }
    };
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next().starts_with("READY=1\n"));
    program.signal(Signal::TERM);
    assert!(next().starts_with("STOPPING=1\n"));
    let (status, _, log) = program.wait();
    assert!(status.success(), "{log}");
}

#[test]
fn a_socket_that_was_opened_before_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Somebody waits already.
    let mut early = std::net::TcpStream::connect(address).unwrap();
    early.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    fcntl_setfd(&listener, FdFlags::empty()).unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&$1; shift; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"",
        ])
        .arg(env!("CARGO_BIN_EXE_leveret"))
        .arg(listener.as_raw_fd().to_string())
        .args(["--log-level", "debug"]);
    let program = Program::start(command);
    drop(listener);
    assert_eq!(program.address, address.to_string());
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frame_type = [0];
    std::io::Read::read_exact(&mut early, &mut frame_type).unwrap();
    assert_eq!(frame_type, [1]);
    drop(early);
    program.client().close();
    program.stop();
}
