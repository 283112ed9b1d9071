//! Handshakes cannot starve those who are in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rustls::ClientConfig;

use crate::authority::{Authority, rsa_key};
use crate::client;
use crate::support::{Login, TestBroker};

fn storm(address: SocketAddr, config: &Arc<ClientConfig>, count: usize) {
    let clients: Vec<_> = (0..count)
        .map(|_| client::connect(address, config))
        .collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                client.open_connection(&Login::default());
                client
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().close();
    }
}

#[test]
fn two_hundred_handshakes_at_once_leave_room_for_others() {
    let authority = Authority::new();
    // The dearest kind of signature.
    let key = KeyPair::from_pem(&rsa_key()).unwrap();
    authority.install(&authority.server("localhost", key));
    let broker = TestBroker::with(|config| authority.serve(config));
    let address = broker.tls_address();
    let config = client::config(&authority, None);
    let mut bystander = broker.connect();
    bystander.declare_queue("q");
    let shaking = thread::spawn(move || storm(address, &config, 200));
    let mut waits = Vec::new();
    while !shaking.is_finished() {
        let started = Instant::now();
        bystander.publish("", "q", "x");
        assert!(bystander.get_as("q", true).is_some());
        waits.push(started.elapsed());
    }
    shaking.join().unwrap();
    waits.sort_unstable();
    let median = waits[waits.len() / 2];
    println!(
        "{} round trips, median {median:?}, longest {:?}",
        waits.len(),
        waits.last()
    );
    // Two hundred clients compete with the broker for the machine here, so this is generous.
    assert!(median < Duration::from_millis(50), "{median:?}");
}
