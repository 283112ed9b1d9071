//! The management API over TLS (RabbitMQ: `management.ssl`).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;

use rcgen::{KeyPair, SanType};
use rustix::process::Signal;

use crate::authority::Authority;
use crate::client::{config, stream_over};
use crate::process::{Program, text_of};
use crate::rotation::start_with;
use crate::support::{connect_to, eventually};

fn start(authority: &Authority) -> (Program, SocketAddr) {
    let configuration = format!(
        "management.tcp.port = none\nmanagement.ssl.port = 0\nmanagement.ssl.ip = 127.0.0.1\n\
         management.ssl.certfile = {0}/server.pem\nmanagement.ssl.keyfile = {0}/server.key\n\
         prometheus.tcp.port = none\n",
        authority.folder.path().display()
    );
    start_with(&configuration)
}

/// What `GET /api` and the path are answered, and the certificate that came before.
fn get(address: SocketAddr, authority: &Authority, path: &str) -> (String, Vec<u8>) {
    let mut stream = stream_over(connect_to(address), &config(authority, None));
    // guest:guest
    let request = format!(
        "GET /api{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // Whether the end is announced is not at stake here.
    let _ = stream.read_to_end(&mut answer);
    let certificates = stream.conn.peer_certificates().unwrap();
    let shown = certificates[0].to_vec();
    (String::from_utf8(answer).unwrap(), shown)
}

#[test]
fn the_management_api_is_served_over_tls() {
    let authority = Authority::new();
    let (program, address) = start(&authority);
    let (answer, _) = get(address, &authority, "/whoami");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"name\":\"guest\""), "{answer}");
    let (answer, _) = get(
        address,
        &authority,
        "/health/checks/protocol-listener/https",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    program.stop();
}

#[test]
fn certificates_that_end_soon_are_told() {
    let authority = Authority::new();
    let identity = authority.identity(KeyPair::generate().unwrap(), |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2090, 1, 2);
        let name = SanType::DnsName("localhost".try_into().unwrap());
        parameters.subject_alt_names = vec![name];
    });
    authority.write("server.pem", &identity.chain_pem);
    authority.write("server.key", &identity.key_pem);
    let (program, address) = start(&authority);
    let check = |within: &str| {
        let path = format!("/health/checks/certificate-expiration/{within}");
        get(address, &authority, &path).0
    };
    let well = check("2/weeks");
    assert!(well.starts_with("HTTP/1.1 200 OK\r\n"), "{well}");
    let soon = check("100/years");
    assert!(soon.starts_with("HTTP/1.1 503 "), "{soon}");
    for part in [
        "\"reason\":\"Certificates expiring\"",
        "\"certfile_expires_on\":[\"2090-01-02 00:00:00\"]",
        "\"protocol\":\"https\"",
        "/server.pem\"",
    ] {
        assert!(soon.contains(part), "{part} in {soon}");
    }
    program.stop();
}

#[test]
fn its_certificates_are_renewed_and_those_who_listen_stay() {
    let authority = Authority::new();
    let (program, address) = start(&authority);
    let (_, before) = get(address, &authority, "/whoami");
    let mut listener = stream_over(connect_to(address), &config(&authority, None));
    let request = "GET /api/leveret/events?kinds=log HTTP/1.1\r\nhost: localhost\r\n\
                   authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";
    listener.write_all(request.as_bytes()).unwrap();
    let mut told = String::new();
    let mut read_up_to = |mention: &str| {
        let mut part = [0; 4096];
        while !told.contains(mention) {
            let count = listener.read(&mut part).unwrap();
            assert_ne!(count, 0, "{told}");
            told += std::str::from_utf8(&part[..count]).unwrap();
        }
    };
    read_up_to(": heartbeat");
    authority.renew("localhost");
    program.signal(Signal::HUP);
    // Over the stream that was there before.
    read_up_to("HTTPS certificates were read again");
    eventually("the new certificate", || {
        get(address, &authority, "/whoami").1 != before
    });
    let log = text_of(&program.path("l.log"));
    assert!(log.contains("HTTPS certificates were read again"), "{log}");
    program.stop();
}

/// Runs leveretctl against a broker at an address: exit status, standard output, standard error.
fn ctl(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_leveretctl"))
        .args(arguments)
        .env_remove("LEVERET_PASSWORD")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn leveretctl_speaks_with_it_and_believes_only_whom_it_is_told_to() {
    let authority = Authority::new();
    let (program, address) = start(&authority);
    let host = format!("https://localhost:{}", address.port());
    let (host, port) = (host.as_str(), address.port().to_string());
    let ca = authority.path("ca.pem");
    let ca = ca.to_str().unwrap();
    let list = ["-q", "list_users"];
    let listed = (
        Some(0),
        "user\ttags\nguest\t[administrator]\n".to_owned(),
        String::new(),
    );
    assert_eq!(
        ctl(&[&["--host", host, "--ca", ca], &list[..]].concat()),
        listed
    );
    let options = ["--host", "localhost", "--port", &port, "--tls", "--ca", ca];
    assert_eq!(ctl(&[&options, &list[..]].concat()), listed);
    let stranger = Authority::named("another");
    let stranger = stranger.path("ca.pem");
    for (options, why) in [
        (["--ca", stranger.to_str().unwrap()], "UnknownIssuer"),
        (
            ["--ca", "/nonexistent.pem"],
            "/nonexistent.pem: No such file",
        ),
    ] {
        let (code, _, err) = ctl(&[&["--host", host], &options[..], &list].concat());
        assert_eq!(code, Some(69), "{err}");
        assert!(err.contains(why) && err.contains("--ca"), "{err}");
    }
    // Without TLS it is told nothing, and the log says what was wrong.
    let (code, _, _) = ctl(&["--host", "localhost", "--port", &port, "list_users"]);
    assert_eq!(code, Some(69));
    let log = text_of(&program.path("l.log"));
    let line = "TLS handshake failed: the client speaks HTTP without TLS, on a port for TLS";
    assert!(log.contains(line), "{log}");
    program.stop();
}

#[test]
fn tls_on_a_port_without_it_is_in_the_log() {
    let authority = Authority::new();
    let configuration = format!(
        "management.tcp.port = 0\nmanagement.tcp.ip = 127.0.0.1\nprometheus.tcp.port = none\n\
         listeners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = {0}/server.pem\n\
         ssl_options.keyfile = {0}/server.key\n",
        authority.folder.path().display()
    );
    let (program, tls_address) = start_with(&configuration);
    let log = || text_of(&program.path("l.log"));
    let logged = log();
    let listening = logged
        .lines()
        .filter_map(|line| line.split_once("listening on "));
    let mut plain = listening.filter_map(|(_, address)| address.parse::<SocketAddr>().ok());
    let http = plain.find(|address| address.to_string() != program.address);
    let http = http.expect(&logged);
    let amqp: SocketAddr = program.address.parse().unwrap();
    for address in [http, amqp] {
        let mut stream = stream_over(connect_to(address), &config(&authority, None));
        assert!(stream.conn.complete_io(&mut stream.sock).is_err());
    }
    let mut plain = connect_to(tls_address);
    plain.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let _ = plain.read_to_end(&mut Vec::new());
    let log = log();
    for line in [
        "HTTP: looks like TLS on a port without it",
        "TLS handshake failed: the client speaks AMQP without TLS, on a port for TLS",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(
        log.matches("looks like TLS on a port without it").count(),
        2,
        "{log}"
    );
    program.stop();
}
