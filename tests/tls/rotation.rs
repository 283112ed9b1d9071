//! SIGHUP: certificates are read again, and who is connected stays.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rcgen::KeyPair;
use rustix::process::Signal;

use crate::authority::Authority;
use crate::client;
use crate::process::{LOCAL, Program, home, leveret, text_of};
use crate::support::eventually;

/// The program with this configuration, and where it listens for TLS.
pub fn start_with(configuration: &str) -> (Program, SocketAddr) {
    let home = home(&[("a.conf", configuration)]);
    let log = home.path().join("l.log");
    let log = ["-c", "a.conf", "--log-file", log.to_str().unwrap()];
    let program = Program::start_in(home, leveret(&[&LOCAL[..], &log].concat()));
    let logged = text_of(&program.path("l.log"));
    let mut listening = logged
        .lines()
        .filter_map(|line| line.strip_suffix(" (TLS)"));
    let address = listening.find_map(|line| line.rsplit(' ').next());
    let address = address.unwrap().parse().unwrap();
    (program, address)
}

fn start(authority: &Authority) -> (Program, SocketAddr) {
    let configuration = format!(
        "listeners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = {0}/server.pem\n\
         ssl_options.keyfile = {0}/server.key\n",
        authority.folder.path().display()
    );
    start_with(&configuration)
}

fn reload(program: &Program, mention: &str) {
    let log = program.path("l.log");
    let before = text_of(&log).matches(mention).count();
    program.signal(Signal::HUP);
    eventually(mention, || text_of(&log).matches(mention).count() > before);
}

/// The serial number of the certificate that a new client is shown.
fn shown(address: SocketAddr, authority: &Authority) -> Vec<u8> {
    let config = client::config(authority, None);
    let client = client::open(address, &config);
    let certificates = client.stream.conn.peer_certificates().unwrap();
    let der = certificates[0].to_vec();
    client.close();
    der
}

#[test]
fn certificates_change_under_a_publisher_that_goes_on() {
    let authority = Authority::new();
    let (program, address) = start(&authority);
    let config = client::config(&authority, None);
    let mut publisher = client::open(address, &config);
    publisher.declare_queue("q");
    publisher.confirm();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let publishing = thread::spawn(move || {
        let mut count = 0;
        while !is_done.load(Ordering::Relaxed) {
            publisher.publish("", "q", "x");
            count += 1;
            publisher.expect_confirms_up_to(count);
        }
        let (ready, _) = publisher.counts("q");
        publisher.close();
        (count, ready)
    });
    let first = shown(address, &authority);
    for _ in 0..3 {
        let before = shown(address, &authority);
        authority.renew("localhost");
        reload(&program, "TLS certificates were read again");
        eventually("the new certificate", || {
            shown(address, &authority) != before
        });
    }
    assert_ne!(shown(address, &authority), first);
    done.store(true, Ordering::Relaxed);
    let (count, ready) = publishing.join().unwrap();
    assert_eq!(count, u64::from(ready));
}

#[test]
fn broken_files_leave_the_certificates_as_they_were() {
    let authority = Authority::new();
    let (program, address) = start(&authority);
    let before = shown(address, &authority);
    let stays = "TLS goes on with the certificates that it has";
    fs::write(authority.path("server.pem"), "no certificate").unwrap();
    reload(&program, stays);
    assert_eq!(shown(address, &authority), before);
    // Half a replacement: the certificate is there already, its key is not.
    let next = authority.server("localhost", KeyPair::generate().unwrap());
    authority.write("server.pem", &next.chain_pem);
    reload(&program, stays);
    assert_eq!(shown(address, &authority), before);
    authority.write("server.key", &next.key_pem);
    reload(&program, "TLS certificates were read again");
    eventually("the new certificate", || {
        shown(address, &authority) == *next.chain[0]
    });
    let log = text_of(&program.path("l.log"));
    assert!(
        log.contains("server.pem: there is no certificate in it; TLS goes on"),
        "{log}"
    );
    assert!(log.contains("KeyMismatch"), "{log}");
}
