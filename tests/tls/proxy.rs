//! Connections by way of a proxy (PROXY protocol 1 and 2).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::client;
use crate::support::{Login, RawClient, TestBroker, connect_to};

const LINE: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 52000 5672\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn start() -> TestBroker {
    TestBroker::with(|config| {
        config.proxy_protocol = true;
        config.limits.handshake_timeout_ms = 1_000;
        config.tls.handshake_timeout_ms = 1_000;
    })
}

fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(content.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &size, content].concat()
}

fn addresses(source: &str, destination: &str) -> Vec<u8> {
    let [source, destination] =
        [source, destination].map(|address| address.parse::<SocketAddr>().unwrap());
    let mut bytes = Vec::new();
    for address in [source, destination] {
        match address {
            SocketAddr::V4(address) => bytes.extend(address.ip().octets()),
            SocketAddr::V6(address) => bytes.extend(address.ip().octets()),
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

fn through(broker: &TestBroker, header: &[u8]) -> RawClient {
    let mut stream = connect_to(broker.address());
    stream.write_all(header).unwrap();
    RawClient::over(stream)
}

/// guest is for this machine alone, whoever the proxy is.
#[track_caller]
fn expect_login(mut client: RawClient, allowed: bool) {
    client.begin_login(&Login::default());
    if allowed {
        client.expect_on(0, "connection.tune");
        client.tune_and_open(&Login::default());
        client.expect_on(0, "connection.open-ok");
        client.close();
    } else {
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                    details see the broker logfile.";
        client.expect_connection_close(403, text);
    }
}

#[test]
fn the_announced_address_is_the_clients() {
    let broker = start();
    let six = |ip: &str| addresses(&format!("[{ip}]:1"), "[::1]:5672");
    for (header, allowed) in [
        (LINE.to_vec(), true),
        (
            b"PROXY TCP4 192.0.2.7 127.0.0.1 52000 5672\r\n".to_vec(),
            false,
        ),
        (b"PROXY TCP6 ::1 ::1 52000 5672\r\n".to_vec(), true),
        (
            b"PROXY TCP6 ::ffff:127.0.0.1 ::1 52000 5672\r\n".to_vec(),
            true,
        ),
        (b"PROXY TCP6 2001:db8::7 ::1 52000 5672\r\n".to_vec(), false),
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
        (
            binary(0x21, 0x11, &addresses("127.0.0.1:1", "127.0.0.1:2")),
            true,
        ),
        (
            binary(0x21, 0x11, &addresses("192.0.2.7:1", "127.0.0.1:2")),
            false,
        ),
        (binary(0x21, 0x21, &six("::1")), true),
        (binary(0x21, 0x21, &six("2001:db8::7")), false),
        // The proxy itself, from this machine.
        (binary(0x20, 0, &[]), true),
        (binary(0x21, 0, &[]), false),
    ] {
        expect_login(through(&broker, &header), allowed);
    }
}

#[test]
fn headers_may_come_byte_by_byte_and_with_more_behind_them() {
    let broker = start();
    let tlvs = [
        &addresses("127.0.0.1:1", "127.0.0.1:2")[..],
        &[4, 0, 2, 7, 7],
        &[0; 1000],
    ];
    for header in [LINE.to_vec(), binary(0x21, 0x11, &tlvs.concat())] {
        let mut stream = connect_to(broker.address());
        let (front, back) = header.split_at(30);
        for byte in front {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(&[back, b"AMQP\0\0\x09"].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"\x01").unwrap();
        RawClient::over(stream).expect_on(0, "connection.start");
    }
}

fn is_closed(mut stream: TcpStream) {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("the end was due, and what came was {other:?}"),
    }
}

#[test]
fn without_a_header_nobody_is_let_in() {
    let broker = start();
    for bad in [
        b"AMQP\x00\x00\x09\x01".to_vec(),
        b"PROXY TCP4 nobody 127.0.0.1 1 1\r\n".to_vec(),
        [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 5000]].concat(),
        binary(0x21, 0x11, &[0; 5000]),
        binary(0x41, 0x11, &[0; 12]),
    ] {
        let mut stream = connect_to(broker.address());
        let _ = stream.write_all(&bad);
        is_closed(stream);
    }
    for part in [&LINE[..20], &SIGNATURE[..5], b""] {
        let mut stream = connect_to(broker.address());
        stream.write_all(part).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let started = Instant::now();
        is_closed(stream);
        assert!(started.elapsed() < Duration::from_millis(900));
    }
    expect_login(through(&broker, LINE), true);
}

#[test]
fn who_dawdles_is_turned_away() {
    let broker = start();
    let started = Instant::now();
    let silent = connect_to(broker.address());
    let mut slow = connect_to(broker.address());
    slow.write_all(&LINE[..20]).unwrap();
    is_closed(silent);
    is_closed(slow);
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[test]
fn tls_comes_behind_the_header() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve(config);
        config.proxy_protocol = true;
    });
    let config = client::config(&authority, None);
    for (source, allowed) in [("127.0.0.1", true), ("192.0.2.7", false)] {
        let mut stream = connect_to(broker.tls_address());
        let line = format!("PROXY TCP4 {source} 127.0.0.1 52000 5671\r\n");
        stream.write_all(line.as_bytes()).unwrap();
        let mut client = RawClient::over(client::stream_over(stream, &config));
        client.begin_login(&Login::default());
        let received = client.receive();
        assert_eq!(received.is(0, "connection.tune"), allowed, "{received}");
    }
    let mut stream = connect_to(broker.tls_address());
    stream.write_all(b"\x16\x03\x01").unwrap();
    is_closed(stream);
}
