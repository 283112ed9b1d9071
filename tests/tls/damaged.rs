//! Peers that do not speak TLS, or not to the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::authority::Authority;
use crate::client;
use crate::support::{Login, TestBroker, connect_to};

fn start(authority: &Authority) -> TestBroker {
    TestBroker::with(|config| {
        authority.serve(config);
        config.tls.handshake_timeout_ms = 1_000;
    })
}

/// All that comes until the broker closes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("the broker does not close: {error}"),
        }
    }
}

fn still_works(broker: &TestBroker, authority: &Authority) {
    let config = client::config(authority, None);
    client::open(broker.tls_address(), &config).close();
}

#[test]
fn garbage_is_answered_with_an_alert() {
    let authority = Authority::new();
    let broker = start(&authority);
    for garbage in [
        &b"AMQP\x00\x00\x09\x01"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        &[0; 100_000],
    ] {
        let mut stream = connect_to(broker.tls_address());
        let _ = stream.write_all(garbage);
        let answer = rest(&mut stream);
        assert_eq!(answer.first(), Some(&0x15), "{garbage:?} {answer:?}");
    }
    still_works(&broker, &authority);
}

#[test]
fn silence_ends_with_the_handshake_timeout() {
    let authority = Authority::new();
    let broker = start(&authority);
    let started = Instant::now();
    let mut silent = connect_to(broker.tls_address());
    let mut slow = connect_to(broker.tls_address());
    slow.write_all(&hello(&authority)[..50]).unwrap();
    assert_eq!(rest(&mut silent), b"");
    assert_eq!(rest(&mut slow), b"");
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(900), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

/// The first bytes of a client.
fn hello(authority: &Authority) -> Vec<u8> {
    let config = client::config(authority, None);
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_client_may_leave_at_any_point_of_the_handshake() {
    let authority = Authority::new();
    let broker = start(&authority);
    let hello = hello(&authority);
    for end in (0..hello.len()).step_by(7) {
        let mut stream = connect_to(broker.tls_address());
        stream.write_all(&hello[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), b"");
    }
    still_works(&broker, &authority);
}

#[test]
fn a_handshake_message_that_never_ends_is_not_collected() {
    let authority = Authority::new();
    let broker = start(&authority);
    let mut stream = connect_to(broker.tls_address());
    // A ClientHello of 16 MiB, in records of 16 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    for _ in 0..1024 {
        if stream.write_all(&record).is_err() {
            break;
        }
        record[5..9].fill(0);
    }
    rest(&mut stream);
    still_works(&broker, &authority);
}

#[test]
fn a_damaged_record_ends_the_connection() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut client = client::open(broker.tls_address(), &config);
    client.declare_queue("q");
    client.stream.sock.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
    client.stream.sock.write_all(&[9; 32]).unwrap();
    let error = client.stream.read(&mut [0; 10]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    still_works(&broker, &authority);
}

#[test]
fn half_a_record_is_the_end_when_the_stream_ends() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut client = client::open(broker.tls_address(), &config);
    client.declare_queue("q");
    client.consume("q", "c");
    client
        .stream
        .sock
        .write_all(&[0x17, 3, 3, 1, 0, 1, 2, 3])
        .unwrap();
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    assert!(client.receive_any().is_none());
    let mut other = broker.connect();
    crate::support::eventually("the consumer is gone", || other.counts("q") == (0, 0));
}

#[test]
fn a_client_that_only_closes_tls_is_gone_too() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut client = client::connect(broker.tls_address(), &config);
    client.open_connection(&Login::default());
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    assert!(client.receive_any().is_none());
}

#[test]
fn tls_on_a_port_without_it_is_told_so() {
    let authority = Authority::new();
    let broker = start(&authority);
    let mut stream = connect_to(broker.address());
    stream.write_all(&hello(&authority)).unwrap();
    assert_eq!(rest(&mut stream), b"AMQP\x00\x00\x09\x01");
}
