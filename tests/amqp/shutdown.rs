//! A broker that stops says goodbye.

use std::thread;

use leveret::wire::amqp::{Method, connection};

use crate::support::TestBroker;

const FORCED: &str = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

#[test]
fn stopping_closes_every_connection_with_320() {
    let broker = TestBroker::start();
    let mut consumer = broker.connect();
    consumer.declare_queue("q");
    consumer.consume("q", "c");
    let mut idle = broker.connect();
    let stopping = thread::spawn(move || broker.stop());
    assert_eq!(consumer.expect_connection_close(320, FORCED), (0, 0));
    assert_eq!(idle.expect_connection_close(320, FORCED), (0, 0));
    stopping.join().unwrap();
}

#[test]
fn what_came_before_the_goodbye_is_answered_before_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    let mut sent = 0;
    for _ in 0..100 {
        client.publish("", "nowhere", "m");
        sent += 1;
    }
    client.expect_confirms_up_to(sent);
    let stopping = thread::spawn(move || broker.stop());
    client.expect_connection_close(320, FORCED);
    stopping.join().unwrap();
}

#[test]
fn who_is_not_yet_open_is_just_closed() {
    let broker = TestBroker::start();
    let mut silent = broker.connect_raw();
    let mut greeted = broker.connect_raw();
    greeted.send_bytes(b"AMQP\x00\x00\x09\x01");
    greeted.expect_on(0, "connection.start");
    broker.stop();
    greeted.expect_end();
    silent.expect_end();
}

#[test]
fn a_client_may_close_while_the_broker_does() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let stopping = thread::spawn(move || broker.stop());
    let received = client.receive();
    assert!(
        matches!(received.method(), Method::ConnectionClose(_)),
        "{received}"
    );
    client.send_on(0, &connection::Close::default());
    client.expect_on(0, "connection.close-ok");
    client.expect_end();
    stopping.join().unwrap();
}

#[test]
fn a_client_that_does_not_answer_is_waited_for_only_so_long() {
    let broker = TestBroker::with(|config| config.limits.stop_timeout_ms = 200);
    let mut client = broker.connect();
    broker.stop();
    client.expect_on(0, "connection.close");
    client.expect_end();
}

#[test]
fn after_a_connection_exception_the_answer_is_waited_for_only_so_long() {
    let broker = TestBroker::with(|config| config.limits.closing_timeout_ms = 200);
    let mut client = broker.connect();
    client.send_on(0, &connection::Open::default());
    client.expect_on(0, "connection.close");
    client.expect_end();
}
