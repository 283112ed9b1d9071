//! A disk that is full: publishers wait, nothing confirmed is lost, and it goes on when there is space.

use leveret::wire::amqp::basic;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

use crate::bulk::{Confirmed, body_of};
use crate::load::declare_queue;
use crate::program::{Home, Program, SPAWNING};
use crate::support::eventually;

/// A small disk of its own, unmounted when dropped.
pub struct Tmpfs {
    place: TempDir,
}

impl Tmpfs {
    /// `None`, and a line that says so, where the tests may not mount anything.
    pub fn mount(size: &str) -> Option<Tmpfs> {
        let _turn = SPAWNING.lock();
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        match mount.arg(place.path()).output() {
            Ok(output) if output.status.success() => Some(Tmpfs { place }),
            _ => {
                println!("left out: no tmpfs can be mounted here");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn remount_read_only(&self) {
        self.remount("remount,ro");
    }

    pub fn remount_writable(&self) {
        self.remount("remount,rw");
    }

    fn remount(&self, options: &str) {
        let _turn = SPAWNING.lock();
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", options]).arg(self.path()).status();
        assert!(status.unwrap().success());
    }

    /// Takes all space there is, but for so many bytes; given back when the file is removed.
    fn fill_up(&self, but: usize) {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let mut file = options.open(self.ballast()).unwrap();
        let zeros = vec![0; 1 << 16];
        loop {
            match file.write_all(&zeros) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(but as u64)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _turn = SPAWNING.lock();
        // Lazily, since a broker may still be ending.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

#[test]
fn publishers_wait_while_the_disk_is_full_and_go_on_afterwards() {
    for killed in [false, true] {
        let Some(disk) = Tmpfs::mount("48m") else {
            return;
        };
        let home = Home::with_data(disk.path().join("data"));
        let mut program = home.start();
        declare_queue(&mut program.connect(), "q");
        disk.fill_up(1 << 20);
        let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
        let blocked = publisher.run_until_blocked();
        assert_eq!(blocked.as_deref(), Some("low on disk"));
        // Those who do not publish are served.
        let mut other = program.connect();
        other.declare_queue("transient");
        let first = other.get("q").unwrap();
        assert!(first.body == body_of(0, 20_000));
        other.close();
        let before = publisher.confirmed();
        if killed {
            program.kill();
            disk.free();
            program = home.start();
            let count = program.connect().counts("q").0;
            assert!(count >= before, "{count} of {before} confirmed");
        } else {
            disk.free();
            publisher.run_until_unblocked();
            publisher.run_until_confirmed(before + 200);
        }
        let confirmed = publisher.confirmed();
        drop(publisher);
        let mut client = program.connect();
        let (count, _) = client.counts("q");
        assert!(count >= confirmed);
        for n in 0..confirmed {
            let delivery = client.get_as("q", true).unwrap();
            assert!(delivery.body == body_of(n, 20_000), "{n} is another");
        }
    }
}

#[test]
fn consumers_make_space_on_a_full_disk() {
    let Some(disk) = Tmpfs::mount("48m") else {
        return;
    };
    let home = Home::with_data(disk.path().join("data"));
    let program = home.start();
    declare_queue(&mut program.connect(), "q");
    let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
    let blocked = publisher.run_until_blocked();
    assert_eq!(blocked.as_deref(), Some("low on disk"));
    let confirmed = publisher.confirmed();
    let mut client = program.connect();
    client.prefetch(100, false);
    client.consume("q", "tag");
    for n in 0..confirmed {
        let delivery = client.expect_delivery();
        assert!(delivery.body == body_of(n, 20_000), "{n} is another");
        if n % 50 == 49 {
            client.send(&basic::Ack {
                delivery_tag: delivery.delivery_tag,
                multiple: true,
            });
        }
    }
    drop(client);
    publisher.run_until_unblocked();
    publisher.run_until_confirmed(confirmed + 100);
    program.stop_at_once();
}

#[test]
fn what_was_paged_out_is_read_back_from_a_full_disk() {
    let Some(disk) = Tmpfs::mount("160m") else {
        return;
    };
    let home = Home::with_data(disk.path().join("data"));
    let program = home.start();
    declare_queue(&mut program.connect(), "q");
    let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
    let blocked = publisher.run_until_blocked();
    assert_eq!(blocked.as_deref(), Some("low on disk"));
    // More than memory holds, and all of it is there, also what was not confirmed.
    let mut client = program.connect();
    let (count, _) = client.counts("q");
    assert!(count as usize * 20_000 > 64 << 20, "{count} messages");
    for n in 0..count {
        let delivery = client.get_as("q", true).unwrap();
        assert!(delivery.body == body_of(n, 20_000), "{n} is another");
    }
    client.close();
    publisher.run_until_unblocked();
    publisher.run_until_confirmed(count);
    program.stop_at_once();
}

#[test]
fn a_broker_on_a_full_disk_stops_when_it_is_told_to() {
    let Some(disk) = Tmpfs::mount("48m") else {
        return;
    };
    let home = Home::with_data(disk.path().join("data"));
    let program = home.start();
    declare_queue(&mut program.connect(), "q");
    disk.fill_up(1 << 20);
    let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
    publisher.run_until_blocked();
    let confirmed = publisher.confirmed();
    // What was not confirmed may be left behind, and then it says so.
    let status = program.end();
    println!("{status}: {}", home.log());
    disk.free();
    let program = home.start();
    let mut client = program.connect();
    assert!(client.counts("q").0 >= confirmed);
    for n in 0..confirmed {
        let delivery = client.get_as("q", true).unwrap();
        assert!(delivery.body == body_of(n, 20_000), "{n} is another");
    }
}

#[test]
fn a_broker_starts_on_a_full_disk_serves_consumers_and_confirms_when_there_is_space() {
    for killed in [false, true] {
        let Some(disk) = Tmpfs::mount("64m") else {
            return;
        };
        let home = Home::with_data(disk.path().join("data"));
        let program = home.start();
        declare_queue(&mut program.connect(), "q");
        let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
        publisher.run_until_confirmed(300);
        drop(publisher);
        let end = |program: Program| match killed {
            true => program.kill(),
            false => program.stop_at_once(),
        };
        end(program);
        disk.fill_up(0);

        let program = home.start();
        let mut client = program.connect();
        let (count, _) = client.counts("q");
        assert!(count >= 300);
        // Whoever publishes once the alarm is raised is told, and not who had done so before.
        let mut early = Confirmed::start(program.connect(), "q", 20_000);
        early.fill_window();
        eventually("the alarm is raised", || home.log().contains("alarm set"));
        let mut publisher = Confirmed::start(program.connect(), "q", 20_000);
        let blocked = publisher.run_until_blocked();
        assert_eq!(blocked.as_deref(), Some("low on disk"));
        // One by one, and so each ack in a turn of its own.
        for n in 0..count {
            let delivery = client.get("q").unwrap();
            assert!(delivery.body == body_of(n, 20_000), "{n} is another");
            client.ack(delivery.delivery_tag);
        }
        // They find room, however many there are, and so their messages' segment goes.
        let log = home.data().join("log");
        let is_segment = |path: &Path| path.extension().is_some_and(|it| it == "seg");
        eventually("what was acked goes", || {
            let files = fs::read_dir(&log).unwrap();
            let segments = files.filter(|file| is_segment(&file.as_ref().unwrap().path()));
            segments.count() == 1
        });
        drop(client);
        disk.free();
        publisher.run_until_unblocked();
        publisher.run_until_confirmed(100);
        end(program);
        let program = home.start();
        let left = program.connect().counts("q").0;
        assert!((100..300).contains(&left), "{left} are left");
    }
}

#[test]
fn a_new_broker_does_not_start_on_a_full_disk_and_says_why() {
    let Some(disk) = Tmpfs::mount("1m") else {
        return;
    };
    disk.fill_up(0);
    let home = Home::with_data(disk.path().join("data"));
    let (status, log) = home.start_in_vain();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("No space left on device"), "{log}");
}
