//! Hostile and unlucky peers over real sockets. In each test a bystander, who did no wrong, is served.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leveret::server::raise_file_limit;
use leveret::wire::amqp::{PROTOCOL_HEADER, basic, channel};
use leveret::{Broker, Config};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[path = "robustness/client.rs"]
mod client;
#[path = "robustness/memory.rs"]
mod memory;

use client::{Client, PATIENCE, handshake, publish};

fn broker(adjust: impl FnOnce(&mut Config)) -> (Broker, SocketAddr) {
    let mut config = Config {
        bind: vec!["127.0.0.1".to_owned()],
        port: 0,
        ..Config::default()
    };
    adjust(&mut config);
    let broker = Broker::start(config).unwrap();
    let address = broker.amqp_address().unwrap();
    (broker, address)
}

fn bystander(address: SocketAddr) -> Client {
    let mut client = Client::open(address);
    client.declare(BYSTANDERS);
    client
}

#[test]
fn a_storm_of_connections_leaves_room_for_others() {
    raise_file_limit();
    let (_broker, address) = broker(|_| {});
    let mut bystander = bystander(address);
    let storm = thread::spawn(move || {
        let mut clients: Vec<_> = (0..2_000)
            .map(|_| {
                let mut client = Client::connect(address);
                client.stream.write_all(&handshake()).unwrap();
                client
            })
            .collect();
        for client in &mut clients {
            client.wait_for("connection.open-ok");
        }
    });
    let mut slowest = Duration::ZERO;
    let mut count = 0;
    while !storm.is_finished() || count < 100 {
        let started = Instant::now();
        bystander.round_trip(BYSTANDERS);
        slowest = slowest.max(started.elapsed());
        count += 1;
    }
    storm.join().unwrap();
    println!("{count} round trips during the storm, the slowest in {slowest:?}");
    bystander.round_trip(BYSTANDERS);
}

#[test]
fn out_of_descriptors_the_old_are_served_and_the_new_come_in_as_others_leave() {
    let program = Program::start("ulimit -n 40; exec \"$0\" \"$@\"");
    let mut bystander = bystander(program.address);
    let waiting: Vec<_> = (0..80).map(|_| Client::connect(program.address)).collect();
    bystander.round_trip(BYSTANDERS);
    let mut last = Client::connect(program.address);
    last.stream.write_all(&handshake()).unwrap();
    bystander.round_trip(BYSTANDERS);
    drop(waiting);
    last.wait_for("connection.open-ok");
    bystander.round_trip(BYSTANDERS);
    let log = program.stop();
    assert_eq!(log.matches("accepting failed").count(), 1, "{log}");
}

#[test]
fn who_does_not_finish_the_handshake_is_dropped() {
    let (_broker, address) = broker(|config| config.limits.handshake_timeout_ms = 300);
    let mut bystander = bystander(address);
    let whole = handshake();
    let mut half_open: Vec<_> = [0, 3, 8, 20, whole.len() - 1]
        .into_iter()
        .map(|size| {
            let mut client = Client::connect(address);
            client.stream.write_all(&whole[..size]).unwrap();
            client
        })
        .collect();
    for client in &mut half_open {
        client.wait_for_end();
    }
    bystander.round_trip(BYSTANDERS);
}

#[test]
fn a_handshake_byte_by_byte_is_dropped_when_its_time_is_up() {
    let (_broker, address) = broker(|config| config.limits.handshake_timeout_ms = 1_000);
    let mut bystander = bystander(address);
    let mut loris = Client::connect(address);
    let started = Instant::now();
    let mut sent = 0;
    for byte in handshake() {
        if loris.stream.write_all(&[byte]).is_err() {
            break;
        }
        sent += 1;
        bystander.round_trip(BYSTANDERS);
        thread::sleep(Duration::from_millis(50));
    }
    assert!(sent < handshake().len(), "it was let in");
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[test]
fn a_peer_that_never_reads_gets_no_more_than_fits_and_later_the_rest() {
    const COUNT: u32 = 800;
    let (_broker, address) = broker(|_| {});
    let mut bystander = bystander(address);
    let mut consumer = Client::open(address);
    consumer.declare(b"flood");
    let consume = basic::Consume {
        queue: b"flood",
        no_ack: true,
        ..basic::Consume::default()
    };
    consumer.call(&consume, "basic.consume-ok");
    let body = vec![7; 64 << 10];
    for _ in 0..COUNT {
        bystander.publish(b"flood", &body);
    }
    bystander.round_trip(BYSTANDERS);
    // What the operating system's buffers and the outbox take is gone from the queue.
    let kept = bystander.count(b"flood");
    assert!(kept > COUNT / 2, "{kept} of {COUNT} messages were kept");
    for _ in 0..COUNT {
        consumer.wait_for("basic.deliver");
        assert_eq!(consumer.read_content().len(), body.len());
    }
    assert_eq!(bystander.count(b"flood"), 0);
}

#[test]
fn garbage_on_two_hundred_connections_harms_nobody() {
    let (_broker, address) = broker(|config| config.limits.closing_timeout_ms = 200);
    let mut bystander = bystander(address);
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut peers = Vec::new();
    for n in 0..200 {
        let mut peer = Client::connect(address);
        let mut bytes = match n % 4 {
            0 => Vec::new(),
            1 => PROTOCOL_HEADER.to_vec(),
            _ => handshake(),
        };
        bytes.extend((0..random() % 5_000).map(|_| random() as u8));
        if n % 4 == 3 {
            // A valid beginning of a frame that never ends.
            bytes.truncate(handshake().len());
            bytes.extend_from_slice(&[1, 0, 1, 0, 1, 0xff, 0]);
            bytes.resize(bytes.len() + 10_000, 0);
        }
        // The broker may hang up in the middle of it.
        let _ = peer.stream.write_all(&bytes);
        peers.push(peer);
        if n % 10 == 0 {
            bystander.round_trip(BYSTANDERS);
        }
    }
    for (n, peer) in peers.iter_mut().enumerate() {
        if n % 4 != 3 {
            let shut = peer.stream.shutdown(std::net::Shutdown::Write);
            shut.or_else(|error| match error.kind() {
                std::io::ErrorKind::NotConnected => Ok(()),
                _ => Err(error),
            })
            .unwrap();
            peer.wait_for_end();
        }
    }
    bystander.round_trip(BYSTANDERS);
}

#[test]
fn a_publish_cut_off_by_a_reset_never_happened() {
    let (_broker, address) = broker(|_| {});
    let mut bystander = bystander(address);
    bystander.declare(b"cut");
    let whole = publish(b"cut", &vec![1; 300_000]);
    for n in 0..50 {
        let mut client = Client::open(address);
        let size = whole.len() * (n + 1) / 51;
        client.stream.write_all(&whole[..size]).unwrap();
        client.reset();
    }
    bystander.round_trip(BYSTANDERS);
    assert_eq!(bystander.count(b"cut"), 0);
}

#[test]
fn a_large_message_passes_and_one_over_the_limit_costs_only_its_channel() {
    const LIMIT: usize = 64 << 20;
    let (_broker, address) = broker(|config| {
        config.limits.message_size_max_bytes = LIMIT as u64;
    });
    let mut bystander = bystander(address);
    let mut client = Client::open(address);
    client.declare(b"large");
    let body: Vec<u8> = (0..LIMIT as u32).map(|n| (n / 251) as u8).collect();
    client.publish(b"large", &body);
    assert!(client.get(b"large") == body);

    let mut too_large = body;
    too_large.push(0);
    client.publish(b"large", &too_large);
    client.publish(b"large", b"behind it");
    let payload = loop {
        let (_, payload) = client.read_frame().unwrap();
        if payload.starts_with(&[0, 20, 0, 40]) {
            break payload;
        }
    };
    let text = String::from_utf8_lossy(&payload);
    assert!(text.contains("PRECONDITION_FAILED - message size 67108865 is larger"));
    client.send(&channel::CloseOk {});
    client.open_channel();
    assert_eq!(client.count(b"large"), 0);
    client.round_trip(b"large");
    bystander.round_trip(BYSTANDERS);
}

#[test]
fn an_idle_connection_holds_little_memory() {
    const COUNT: usize = 2_000;
    raise_file_limit();
    let program = Program::start("exec \"$0\" \"$@\"");
    let mut bystander = bystander(program.address);
    // What grows once and stays: the scratch buffer, spare buffers, the allocator's own.
    let mut warm: Vec<_> = (0..64).map(|_| Client::open(program.address)).collect();
    warm.iter_mut()
        .for_each(|client| client.round_trip(BYSTANDERS));
    let before = program.resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..COUNT {
        let mut client = Client::open(program.address);
        // Used, so that its buffers have been there.
        client.round_trip(BYSTANDERS);
        idle.push(client);
    }
    bystander.round_trip(BYSTANDERS);
    let each = (program.resident_bytes() - before) / COUNT;
    println!("{each} bytes of resident memory per idle connection with one channel");
    assert!(each < 16 << 10, "{each} bytes per idle connection");
    drop(idle);
    bystander.round_trip(BYSTANDERS);
}

/// The broker as a process of its own; killed when dropped.
struct Program {
    child: Child,
    address: SocketAddr,
    /// Where it runs, and makes its data directory.
    _home: TempDir,
}

impl Program {
    /// Starts it by a line of shell, in which `"$0" "$@"` stands for it.
    fn start(line: &str) -> Program {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .current_dir(home.path())
            .args(["-c", line, env!("CARGO_BIN_EXE_leveret")])
            .args(["--bind", "127.0.0.1", "--port", "0", "--log-level", "error"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut ready).unwrap();
        let rest = ready.strip_prefix("ready amqp=").expect("a ready line");
        let address = rest.split_whitespace().next();
        let address = address.expect("a ready line").parse().unwrap();
        Program {
            child,
            address,
            _home: home,
        }
    }

    fn resident_bytes(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most that was ever resident.
    fn peak_bytes(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Stops it; what it logged.
    fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut log = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE);
            thread::yield_now();
        }
        log
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const BYSTANDERS: &[u8] = b"bystander";
