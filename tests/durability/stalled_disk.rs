//! A disk that does not answer for a while: only who needs it waits.

use std::ffi::c_int;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use leveret::wire::amqp::frame::HEARTBEAT;

use crate::bulk::{Confirmed, publish_many};
use crate::load::declare_queue;
use crate::program::{Home, Program};
use crate::support::{Login, RawClient, eventually};

#[test]
fn while_the_disk_stalls_what_has_no_room_in_memory_waits() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    client.declare_queue("flood");
    declare_queue(&mut client, "q");
    let mut publisher = Confirmed::start(program.connect(), "q", BODY_SIZE);
    let log = home.data().join("log");
    while spare(&log).is_none() {
        publisher.run_until_confirmed(publisher.confirmed() + 50);
    }
    let Some(lease) = Lease::take(&spare(&log).unwrap()) else {
        println!("left out: no leases of files here");
        return;
    };
    let count = publisher.confirmed() + SEGMENT_BYTES / BODY_SIZE as u32;
    let publishing = std::thread::spawn(move || publisher.run_until_confirmed(count));
    eventually("the disk thread waits", || lease.is_wanted());

    // Many times what may be in memory.
    let flooding = std::thread::spawn({
        let stream = program.connect().stream;
        move || publish_many(&stream, "flood", 0..FLOOD, BODY_SIZE, false)
    });
    let started = Instant::now();
    let mut most = 0;
    while started.elapsed() < STALL {
        most = most.max(program.resident_bytes());
        // Who does not publish goes on.
        let mut bystander = program.connect();
        bystander.declare_queue("other");
        bystander.close();
    }
    println!("{most} bytes resident at most");
    assert!(lease.is_wanted(), "the disk goes on");
    assert!(!flooding.is_finished(), "nobody holds the publisher");
    assert!(most < 110 << 20, "{most} bytes resident");

    drop(lease);
    flooding.join().unwrap();
    publishing.join().expect("confirms come when the disk does");
    eventually("all is there", || client.counts("flood").0 == FLOOD);
}

#[test]
fn while_the_disk_stalls_confirms_wait_and_all_else_goes_on() {
    let home = Home::new();
    let program = home.start();
    declare_queue(&mut program.connect(), "q");
    let mut alive = RawClient::connect(program.address);
    alive.open_connection(&Login {
        heartbeat: 1,
        ..Login::default()
    });
    let mut publisher = Confirmed::start(program.connect(), "q", BODY_SIZE);
    let log = home.data().join("log");
    while spare(&log).is_none() {
        publisher.run_until_confirmed(publisher.confirmed() + 50);
    }
    let Some(lease) = Lease::take(&spare(&log).unwrap()) else {
        println!("left out: no leases of files here");
        return;
    };
    // More than fits the segment that is written to.
    let count = publisher.confirmed() + SEGMENT_BYTES / BODY_SIZE as u32;
    let publishing = std::thread::spawn(move || publisher.run_until_confirmed(count));
    eventually("the disk thread waits", || lease.is_wanted());

    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut heartbeats = 0;
    while started.elapsed() < STALL {
        slowest = slowest.max(round_trip(&program));
        let received = alive.receive_any().expect("heartbeats go on");
        assert_eq!(received.kind, HEARTBEAT);
        alive.send_frame(HEARTBEAT, 0, b"");
        heartbeats += 1;
    }
    assert!(lease.is_wanted() && !publishing.is_finished());
    assert!(heartbeats >= 4, "{heartbeats} heartbeats");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");

    drop(lease);
    publishing.join().expect("confirms come when the disk does");
    program.stop_at_once();
    let program = home.start();
    assert!(program.connect().counts("q").0 >= count);
}

/// A new connection, and a transient message through a queue and a consumer of its own.
fn round_trip(program: &Program) -> Duration {
    let started = Instant::now();
    let mut client = program.connect();
    client.declare_queue("transient");
    client.consume_no_ack("transient", "tag");
    client.publish("", "transient", "hello");
    assert_eq!(client.expect_delivery().text(), "hello");
    client.close();
    started.elapsed()
}

/// The file that is to be the log's next.
fn spare(log: &Path) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(log).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("spare-")
    })
}

/// Whoever opens the file for writing waits until this is dropped.
struct Lease(File);

impl Lease {
    /// `None` where the file system has none. Waits while somebody has the file open.
    fn take(path: &Path) -> Option<Lease> {
        let file = File::open(path).unwrap();
        let mut taken = false;
        let mut possible = true;
        eventually("the spare file is ready", || {
            // That somebody waits is told by a signal, which is to be one that does nothing.
            taken = control(&file, F_SETSIG, SIGWINCH).is_ok()
                && match control(&file, F_SETLEASE, F_RDLCK) {
                    Ok(_) => true,
                    Err(error) => {
                        possible = error.kind() == std::io::ErrorKind::WouldBlock;
                        false
                    }
                };
            taken || !possible
        });
        taken.then_some(Lease(file))
    }

    fn is_wanted(&self) -> bool {
        control(&self.0, F_GETLEASE, 0).unwrap() != F_RDLCK
    }
}

fn control(file: &File, command: c_int, argument: c_int) -> std::io::Result<c_int> {
    // SAFETY: these commands take a number and touch no memory of ours.
    match unsafe { fcntl(file.as_raw_fd(), command, argument) } {
        -1 => Err(std::io::Error::last_os_error()),
        result => Ok(result),
    }
}

unsafe extern "C" {
    fn fcntl(descriptor: c_int, command: c_int, ...) -> c_int;
}

/// Linux: `fcntl.h`, `signal.h`.
const F_SETSIG: c_int = 10;
const F_SETLEASE: c_int = 1024;
const F_GETLEASE: c_int = 1025;
const F_RDLCK: c_int = 0;
const SIGWINCH: c_int = 28;

/// Some heartbeats, of one second each.
/// Four hundred megabytes.
const FLOOD: u32 = 20_000;
const STALL: Duration = Duration::from_secs(4);
const BODY_SIZE: usize = 20_000;
const SEGMENT_BYTES: u32 = 16 << 20;
