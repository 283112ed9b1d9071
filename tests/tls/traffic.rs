//! Messages over TLS.

use std::io::Write;
use std::time::Duration;

use leveret::config::TlsVersion;

use crate::authority::Authority;
use crate::client;
use crate::support::{Login, RawClient, TestBroker, connect_to};

fn start(authority: &Authority) -> TestBroker {
    TestBroker::with(|config| authority.serve(config))
}

#[test]
fn large_bodies_arrive_as_they_were_sent() {
    let authority = Authority::new();
    let broker = start(&authority);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let broker_of_version = TestBroker::with(|config| {
            authority.serve(config);
            config.tls.options.versions = vec![version];
        });
        let config = client::config(&authority, None);
        let mut client = client::open(broker_of_version.tls_address(), &config);
        client.declare_queue("q");
        for size in [0, 1, 16_383, 16_384, 16_385, 131_064, 1 << 20] {
            let body: Vec<u8> = (0..size).map(|n: usize| (n * 31 % 251) as u8).collect();
            client.publish("", "q", &body);
            let got = client.get_as("q", true).unwrap();
            assert!(got.body == body, "{size}");
        }
        client.close();
    }
    broker.stop();
}

#[test]
fn many_small_messages_keep_their_order_among_readers_and_writers() {
    const COUNT: usize = 50_000;
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut consumer = client::open(broker.tls_address(), &config);
    consumer.declare_queue("q");
    consumer.consume_no_ack("q", "c");
    let mut publisher = client::open(broker.tls_address(), &config);
    let publishing = std::thread::spawn(move || {
        for number in 0..COUNT {
            publisher.publish("", "q", number.to_string());
        }
        publisher.close();
    });
    for number in 0..COUNT {
        assert_eq!(consumer.expect_delivery().text(), number.to_string());
    }
    publishing.join().unwrap();
    consumer.close();
}

#[test]
fn a_slow_reader_gets_everything() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut consumer = client::open(broker.tls_address(), &config);
    consumer.declare_queue("q");
    consumer.consume_no_ack("q", "c");
    let mut publisher = broker.connect();
    publisher.confirm();
    let body = vec![7; 100_000];
    for _ in 0..200 {
        publisher.publish("", "q", &body);
    }
    publisher.expect_confirms_up_to(200);
    for _ in 0..200 {
        assert!(consumer.expect_delivery().body == body);
    }
    consumer.close();
}

#[test]
fn records_may_come_byte_by_byte() {
    struct Slow(std::net::TcpStream);
    impl std::io::Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let size = buffer.len().min(1);
            self.0.read(&mut buffer[..size])
        }
    }
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(1)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let stream = client::stream_over(connect_to(broker.tls_address()), &config);
    let stream = rustls::StreamOwned::new(stream.conn, Slow(stream.sock));
    let mut client = RawClient::over(stream);
    client.open_connection(&Login::default());
    client.open_channel(1);
    client.declare_queue("q");
    client.publish("", "q", vec![5; 3000]);
    assert_eq!(client.get("q").unwrap().body, vec![5; 3000]);
    client.close();
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    client::open(broker.tls_address(), &config).close();
    let mut again = client::open(broker.tls_address(), &config);
    assert_eq!(
        again.stream.conn.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    again.declare_queue("q");
    again.close();
}

#[test]
fn a_broker_that_stops_says_so_over_tls_and_waits_for_no_handshake() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut client = client::open(broker.tls_address(), &config);
    let _arriving = connect_to(broker.tls_address());
    let stopping = std::thread::spawn(move || {
        let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
        client.expect_connection_close(320, text);
    });
    let started = std::time::Instant::now();
    broker.stop();
    stopping.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn both_kinds_of_clients_meet() {
    let authority = Authority::new();
    let broker = start(&authority);
    let config = client::config(&authority, None);
    let mut safe = client::open(broker.tls_address(), &config);
    let mut plain = broker.connect();
    safe.declare_queue("q");
    plain.publish("", "q", "from afar");
    plain.settle();
    assert_eq!(safe.drain("q"), ["from afar"]);
}
