//! The broker inside a program: starting, stopping, and what peers see of both.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use leveret::server::Address;
use leveret::{Broker, Config};

const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
const PATIENCE: Duration = Duration::from_secs(10);

fn config(bind: &[&str]) -> Config {
    Config {
        bind: bind.iter().map(|text| (*text).to_owned()).collect(),
        port: 0,
        ..Config::default()
    }
}

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.amqp_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The broker answers a protocol header with a method frame.
fn assert_served(mut stream: impl Read + Write) {
    stream.write_all(HEADER).unwrap();
    let mut frame_type = [0];
    stream.read_exact(&mut frame_type).unwrap();
    assert_eq!(frame_type, [1]);
}

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("leveret-{}-{name}.sock", std::process::id()))
}

#[test]
fn a_broker_starts_on_a_free_port_and_stops() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let address = broker.amqp_address().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(broker.addresses(), [Address::Tcp(address)]);
    assert_served(connect(&broker));
    broker.stop().unwrap();
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn two_brokers_live_side_by_side() {
    let one = Broker::start(config(&["127.0.0.1"])).unwrap();
    let two = Broker::start(config(&["127.0.0.1"])).unwrap();
    assert_ne!(one.amqp_address(), two.amqp_address());
    assert_served(connect(&one));
    one.stop().unwrap();
    assert_served(connect(&two));
}

#[test]
fn without_an_address_every_one_is_served() {
    let broker = Broker::start(config(&[])).unwrap();
    let address = broker.amqp_address().unwrap();
    assert!(address.ip().is_unspecified());
    assert_served(TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap());
    if address.is_ipv6() {
        assert_served(TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap());
    }
}

#[test]
fn several_addresses_are_served_at_once() {
    let path = socket_path("several");
    let unix = format!("unix:{}", path.display());
    let broker = Broker::start(config(&["127.0.0.1", &unix, "localhost"])).unwrap();
    let addresses = broker.addresses();
    assert!(addresses.len() >= 3);
    assert_eq!(addresses[1].to_string(), unix);
    for address in addresses {
        match address {
            Address::Tcp(address) => assert_served(TcpStream::connect(address).unwrap()),
            Address::Unix(path) => assert_served(UnixStream::connect(path).unwrap()),
        }
    }
}

#[test]
fn both_families_may_be_bound_to_the_same_port() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = Config {
        port,
        ..config(&["0.0.0.0", "::"])
    };
    match Broker::start(config) {
        Ok(broker) => assert_eq!(broker.addresses().len(), 2),
        // A machine without IPv6.
        Err(error) => assert_ne!(error.kind(), ErrorKind::AddrInUse, "{error}"),
    }
}

#[test]
fn a_taken_port_is_named_in_the_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        port: address.port(),
        ..config(&["127.0.0.1"])
    };
    let error = Broker::start(config).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let expected = format!("could not bind {address}: Address already in use");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn nonsense_to_bind_is_an_error_and_not_a_lookup() {
    let error = Broker::start(config(&["127.0.0.1:99999"])).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_unix_socket_is_removed_at_stop_and_taken_over_when_stale() {
    let path = socket_path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let broker = Broker::start(config(&[path.to_str().unwrap()])).unwrap();
    assert_eq!(broker.amqp_address(), None);
    assert_served(UnixStream::connect(&path).unwrap());

    let second = Broker::start(config(&[path.to_str().unwrap()])).err();
    assert_eq!(second.unwrap().kind(), ErrorKind::AddrInUse);
    assert_served(UnixStream::connect(&path).unwrap());

    broker.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn dropping_a_broker_waits_for_nobody() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let silent = connect(&broker);
    assert_served(&silent);
    let started = Instant::now();
    drop(broker);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn stopping_waits_for_silent_peers_only_so_long() {
    let mut config = config(&["127.0.0.1"]);
    config.limits.stop_timeout_ms = 100;
    let broker = Broker::start(config).unwrap();
    let silent = connect(&broker);
    assert_served(&silent);
    let started = Instant::now();
    broker.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_wrong_header_is_answered_with_the_right_one_and_the_end() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let mut stream = connect(&broker);
    stream.write_all(b"GET / HT").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, HEADER);
}

#[test]
fn last_words_are_not_overtaken_by_a_reset() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let mut stream = connect(&broker);
    let mut request = b"GET / HTTP/1.1\r\n".to_vec();
    request.resize(8 << 20, b'x');
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, HEADER);
}

#[test]
fn a_peer_that_closes_its_side_is_closed() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let mut stream = connect(&broker);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn peers_that_vanish_cost_the_others_nothing() {
    let broker = Broker::start(config(&["127.0.0.1"])).unwrap();
    let steady = connect(&broker);
    for n in 0..100 {
        let mut stream = connect(&broker);
        if n % 2 == 0 {
            stream.write_all(&HEADER[..n % 8]).unwrap();
        }
        if n % 3 == 0 {
            // Closing with this sends a reset.
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    }
    assert_served(steady);
    assert_served(connect(&broker));
}
