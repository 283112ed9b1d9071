//! The event loop under the stand-in protocol, which echoes frames.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use leveret::server::Command;
use leveret::{Broker, Config};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(bind: &[&str]) -> Broker {
    let _ = env_logger::builder().is_test(true).try_init();
    Broker::start(Config {
        bind: bind.iter().map(|text| (*text).to_owned()).collect(),
        port: 0,
        ..Config::default()
    })
    .unwrap()
}

fn greet<S: Read + Write>(mut stream: S) -> S {
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    stream
}

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.amqp_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    greet(stream)
}

fn frame(kind: u8, size: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 1];
    bytes.extend_from_slice(&(size as u32).to_be_bytes());
    bytes.resize(bytes.len() + size, fill);
    bytes.push(0xce);
    bytes
}

fn assert_echo(stream: &mut (impl Read + Write), size: usize) {
    let frame = frame(3, size, 7);
    stream.write_all(&frame).unwrap();
    let mut answer = vec![0; frame.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == frame);
}

#[test]
fn frames_of_all_sizes_come_back() {
    let path = std::env::temp_dir().join(format!("leveret-echo-{}", std::process::id()));
    let broker = start(&["127.0.0.1", path.to_str().unwrap()]);
    let mut tcp = connect(&broker);
    let mut unix = greet(UnixStream::connect(&path).unwrap());
    for size in [0, 1, 100, 4000, 4096, 10_000, 131_064, 140_000] {
        assert_echo(&mut tcp, size);
        assert_echo(&mut unix, size);
    }
}

#[test]
fn frames_in_small_pieces_come_back() {
    let broker = start(&["127.0.0.1"]);
    let mut stream = connect(&broker);
    let mut bytes = Vec::new();
    for size in [3, 5000, 0, 20_000, 60_000] {
        bytes.extend(frame(3, size, size as u8));
    }
    for piece in bytes.chunks(97) {
        stream.write_all(piece).unwrap();
    }
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == bytes);
}

/// Writes until the broker reads no more, then reads everything back.
fn push_until_stuck_then_read(mut stream: impl Write + Read + Send + Clone2 + 'static) {
    let bytes = frame(3, 10_000, 9).repeat(2000);
    let total = bytes.len();
    let mut writer = stream.clone2();
    let (progress, progressed) = mpsc::channel();
    let writing = thread::spawn(move || {
        for piece in bytes.chunks(50_000) {
            writer.write_all(piece).unwrap();
            progress.send(piece.len()).unwrap();
        }
    });
    let mut written = 0;
    while let Ok(count) = progressed.recv_timeout(Duration::from_millis(500)) {
        written += count;
    }
    assert!(written < total, "the broker must not take it all");
    let expected = frame(3, 10_000, 9);
    let mut answer = vec![0; expected.len()];
    for _ in 0..2000 {
        stream.read_exact(&mut answer).unwrap();
        assert!(answer == expected);
    }
    writing.join().unwrap();
}

trait Clone2 {
    fn clone2(&self) -> Self;
}
impl Clone2 for TcpStream {
    fn clone2(&self) -> Self {
        self.try_clone().unwrap()
    }
}
impl Clone2 for UnixStream {
    fn clone2(&self) -> Self {
        self.try_clone().unwrap()
    }
}

#[test]
fn a_peer_that_never_reads_is_not_read_and_goes_on_later() {
    let path = std::env::temp_dir().join(format!("leveret-stuck-{}", std::process::id()));
    let broker = start(&["127.0.0.1", path.to_str().unwrap()]);
    let stuck = connect(&broker);
    socket2::SockRef::from(&stuck)
        .set_recv_buffer_size(100_000)
        .unwrap();
    push_until_stuck_then_read(stuck);
    push_until_stuck_then_read(greet(UnixStream::connect(&path).unwrap()));
}

#[test]
fn a_block_holds_all_input_and_loses_none() {
    let broker = start(&["127.0.0.1"]);
    let mut stream = connect(&broker);
    assert_echo(&mut stream, 10);
    assert!(broker.handle().send(Command::Block("low on memory".into())));
    let frame = frame(3, 100, 1);
    for _ in 0..100 {
        stream.write_all(&frame).unwrap();
    }
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut answer = vec![0; frame.len() * 100];
    assert!(stream.read(&mut answer).is_err());
    assert!(broker.handle().send(Command::Unblock));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == frame.repeat(100));
}

#[test]
fn a_flood_does_not_keep_others_waiting() {
    let broker = start(&["127.0.0.1"]);
    let floods: Vec<_> = (0..4).map(|_| connect(&broker)).collect();
    let mut threads = Vec::new();
    for stream in &floods {
        let mut reader = stream.try_clone().unwrap();
        let mut writer = stream.try_clone().unwrap();
        threads.push(thread::spawn(move || {
            let bytes = frame(3, 50, 1).repeat(1000);
            while writer.write_all(&bytes).is_ok() {}
        }));
        threads.push(thread::spawn(move || {
            let mut buffer = vec![0; 100_000];
            while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }));
    }
    let mut polite = connect(&broker);
    let started = Instant::now();
    for _ in 0..20 {
        assert_echo(&mut polite, 10);
    }
    let took = started.elapsed();
    for stream in &floods {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn hundreds_of_peers_come_and_go() {
    let broker = start(&["127.0.0.1"]);
    for _ in 0..3 {
        let mut streams: Vec<_> = (0..300).map(|_| connect(&broker)).collect();
        for stream in &mut streams {
            assert_echo(stream, 5);
        }
        for stream in streams.iter_mut().step_by(2) {
            stream.write_all(&frame(9, 0, 0)).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    }
    broker.stop().unwrap();
}

#[test]
fn what_was_sent_before_the_end_is_served() {
    let broker = start(&["127.0.0.1"]);
    let mut stream = connect(&broker);
    let bytes = frame(3, 1000, 4).repeat(50);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == bytes);
}
