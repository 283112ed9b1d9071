//! Heartbeats (AMQP 0-9-1 §4.2.7) with an interval of one second.

use std::time::{Duration, Instant};

use leveret::wire::amqp::frame::HEARTBEAT;

use crate::support::{Login, RawClient, TestBroker};

fn connect(broker: &TestBroker) -> RawClient {
    broker.log_in(&Login {
        heartbeat: 1,
        ..Login::default()
    })
}

#[test]
fn a_quiet_broker_sends_heartbeats_and_a_silent_client_is_given_up() {
    let broker = TestBroker::start();
    let mut client = connect(&broker);
    let started = Instant::now();
    let mut heartbeats = 0;
    while let Some(received) = client.receive_any() {
        assert_eq!((received.kind, received.channel), (HEARTBEAT, 0));
        heartbeats += 1;
    }
    let took = started.elapsed();
    assert!(heartbeats >= 2);
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn heartbeats_keep_a_client_alive() {
    let broker = TestBroker::start();
    let mut client = connect(&broker);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3500) {
        let received = client.receive_any().expect("it is alive");
        assert_eq!(received.kind, HEARTBEAT);
        client.send_frame(HEARTBEAT, 0, b"");
    }
    client.expect_nothing();
}

#[test]
fn anything_else_keeps_a_client_alive_as_well() {
    let broker = TestBroker::start();
    let mut client = connect(&broker);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3500) {
        client.receive_any().expect("it is alive");
        client.publish("", "nowhere", "still here");
    }
    client.expect_nothing();
}

#[test]
fn a_blocked_client_is_not_given_up_for_its_silence() {
    let broker = TestBroker::start();
    let mut client = connect(&broker);
    broker.block("low on disk");
    client.expect_nothing();
    client.publish("", "nowhere", "m");
    client.expect_on(0, "connection.blocked");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3500) {
        let received = client.receive_any().expect("it is alive");
        assert_eq!(received.kind, HEARTBEAT);
    }
    broker.unblock();
    client.expect_on(0, "connection.unblocked");
    client.expect_nothing();
}

#[test]
fn what_a_given_up_client_held_goes_to_others() {
    let broker = TestBroker::start();
    let mut silent = connect(&broker);
    silent.declare_queue("q");
    silent.publish("", "q", "m");
    silent.consume("q", "silent");
    silent.expect_delivery();
    let mut other = broker.connect();
    other.consume("q", "other");
    let delivery = other.expect_delivery();
    assert_eq!((delivery.text(), delivery.redelivered), ("m", true));
}
