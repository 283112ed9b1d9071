//! RabbitMQ: consumer timeout (`x-consumer-timeout`, `consumer_timeout`). Off unless asked for.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Method, TableBuilder, Value, basic, queue};

use crate::support::{Delivery, RawClient, TestBroker, consume_from, eventually};

const TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS as u64);
const TIMEOUT_MS: i32 = 300;

/// A queue on which nobody may hold a delivery for longer.
fn declare(client: &mut RawClient, name: &str, timeout_ms: i32) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-consumer-timeout", timeout_ms);
    client.call(queue::Declare {
        queue: name.as_bytes(),
        arguments: arguments.view(),
        ..Default::default()
    });
}

fn consume_within(client: &mut RawClient, queue: &str, tag: &str, timeout_ms: i32) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-consumer-timeout", timeout_ms);
    client.call(basic::Consume {
        arguments: arguments.view(),
        ..consume_from(queue, tag)
    });
}

fn expect_cancel(client: &mut RawClient, tag: &str) {
    let received = client.expect("basic.cancel");
    let Method::BasicCancel(cancel) = received.method() else {
        unreachable!("expect checked it");
    };
    assert_eq!(cancel.consumer_tag, tag.as_bytes());
}

fn timed_out(channel: u16, timeout_ms: i32) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel {channel} timed out. Timeout value \
         used: {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to \
         learn more"
    )
}

fn assert_took_about(started: Instant, timeout: Duration) {
    let took = started.elapsed();
    // Times are those of turns, whole milliseconds: a delivery may be older than its turn's by two.
    let early = timeout - Duration::from_millis(2);
    assert!(
        took >= early && took < timeout + Duration::from_secs(1),
        "{took:?}"
    );
}

fn shown(delivery: &Delivery) -> (&str, bool) {
    (delivery.text(), delivery.redelivered)
}

#[test]
fn who_holds_a_delivery_for_too_long_is_cancelled_and_others_get_it() {
    let broker = TestBroker::start();
    let mut slow = broker.connect();
    declare(&mut slow, "q", TIMEOUT_MS);
    slow.consume("q", "slow");
    let started = Instant::now();
    for body in ["1", "2", "3"] {
        slow.publish("", "q", body);
    }
    assert_eq!(slow.expect_bodies(3), ["1", "2", "3"]);
    slow.ack(2);
    let mut other = broker.connect();
    consume_within(&mut other, "q", "other", 0);
    expect_cancel(&mut slow, "slow");
    assert_took_about(started, TIMEOUT);
    // In their old order, and before what comes later.
    slow.publish("", "q", "4");
    assert_eq!(shown(&other.expect_delivery()), ("1", true));
    assert_eq!(shown(&other.expect_delivery()), ("3", true));
    assert_eq!(shown(&other.expect_delivery()), ("4", false));
    assert_eq!(slow.counts("q"), (0, 1));
    slow.expect_nothing();
}

#[test]
fn acks_that_come_later_than_the_cancel_mean_nothing() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.declare_queue("untimed");
    client.consume("q", "slow");
    client.consume("untimed", "patient");
    for (queue, body) in [("q", "1"), ("untimed", "2"), ("q", "3"), ("q", "4")] {
        client.publish("", queue, body);
    }
    client.expect_bodies(4);
    expect_cancel(&mut client, "slow");
    client.ack(1);
    client.send(&basic::Nack {
        delivery_tag: 4,
        multiple: false,
        requeue: true,
    });
    // Up to a delivery that was taken back, one that was not.
    client.send(&basic::Ack {
        delivery_tag: 3,
        multiple: true,
    });
    client.expect_nothing();
    assert_eq!(client.drain("q"), ["1", "3", "4"]);
    client.close_channel();
    client.open_channel(1);
    assert_eq!(client.counts("untimed"), (0, 0));
    // Tags that never were are as wrong as ever.
    client.expect_refusal(
        basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
        406,
        "PRECONDITION_FAILED - unknown delivery tag 1",
    );
}

#[test]
fn the_tag_of_a_cancelled_consumer_is_free_again() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.publish("", "q", "m");
    for attempt in 0..3 {
        client.consume("q", "c");
        assert_eq!(shown(&client.expect_delivery()), ("m", attempt > 0));
        expect_cancel(&mut client, "c");
    }
}

#[test]
fn acks_in_time_keep_a_consumer_alive() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.consume("q", "c");
    client.publish("", "q", "0");
    let started = Instant::now();
    let mut rounds: u64 = 0;
    // There is always one unacked, never for long.
    while started.elapsed() < 3 * TIMEOUT {
        rounds += 1;
        let delivery = client.expect_delivery();
        client.publish("", "q", rounds.to_string());
        std::thread::sleep(TIMEOUT / 10);
        client.ack(delivery.delivery_tag);
    }
    let delivery = client.expect_delivery();
    client.ack(delivery.delivery_tag);
    client.expect_nothing();
    assert_eq!(client.counts("q"), (0, 1));
}

#[test]
fn a_client_that_knows_no_cancel_loses_its_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect_plain();
    declare(&mut client, "q", TIMEOUT_MS);
    client.open_channel(7);
    client.consume("q", "c");
    let started = Instant::now();
    client.publish("", "q", "m");
    client.expect_delivery();
    let ids = client.expect_channel_close(406, &timed_out(7, TIMEOUT_MS));
    assert_eq!(ids, (0, 0));
    assert_took_about(started, TIMEOUT);
    client.open_channel(7);
    let delivery = client.get_as("q", true).expect("it was requeued");
    assert_eq!(shown(&delivery), ("m", true));
}

#[test]
fn what_was_got_by_hand_is_timed_as_well() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    let started = Instant::now();
    client.get("q").expect("there are two");
    client.get_as("q", true).expect("there is one more");
    client.expect_channel_close(406, &timed_out(1, TIMEOUT_MS));
    assert_took_about(started, TIMEOUT);
    client.open_channel(1);
    assert_eq!(client.drain("q"), ["1"]);
}

#[test]
fn a_consumer_may_bring_its_own_timeout() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("plain");
    declare(&mut client, "strict", 1);
    consume_within(&mut client, "plain", "strict one", TIMEOUT_MS);
    consume_within(&mut client, "strict", "free one", 0);
    client.publish("", "strict", "1");
    client.publish("", "plain", "2");
    client.expect_bodies(2);
    expect_cancel(&mut client, "strict one");
    client.ack(1);
    client.expect_nothing();
}

#[test]
fn the_broker_may_have_one_for_all() {
    let broker =
        TestBroker::with(|config| config.limits.consumer_timeout_ms = Some(TIMEOUT_MS as u64));
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.publish("", "q", "m");
    client.expect_delivery();
    expect_cancel(&mut client, "c");
}

#[test]
fn deliveries_without_ack_are_not_timed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", 50);
    declare(&mut client, "witness", TIMEOUT_MS);
    client.consume_no_ack("q", "c");
    client.consume("witness", "w");
    client.publish("", "q", "m");
    client.publish("", "witness", "m");
    client.expect_bodies(2);
    expect_cancel(&mut client, "w");
    client.expect_nothing();
}

#[test]
fn what_a_cancelled_consumer_still_holds_costs_its_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.consume("q", "c");
    client.publish("", "q", "m");
    client.expect_delivery();
    client.cancel("c");
    client.expect_channel_close(406, &timed_out(1, TIMEOUT_MS));
}

#[test]
fn nobody_waits_for_the_messages_of_a_deleted_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect_plain();
    declare(&mut client, "q", 50);
    client.consume("q", "c");
    client.publish("", "q", "m");
    client.expect_delivery();
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.open_channel(2);
    declare(&mut client, "witness", TIMEOUT_MS);
    client.consume("witness", "w");
    client.publish("", "witness", "m");
    client.expect_delivery();
    client.expect_channel_close(406, &timed_out(2, TIMEOUT_MS));
    client.switch_to(1);
    client.ack(1);
    client.expect_nothing();
}

#[test]
fn the_next_single_active_consumer_takes_over() {
    let broker = TestBroker::start();
    let mut slow = broker.connect();
    let mut arguments = TableBuilder::new();
    arguments.put("x-consumer-timeout", TIMEOUT_MS);
    arguments.put("x-single-active-consumer", true);
    slow.call(queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..Default::default()
    });
    slow.consume("q", "slow");
    let mut next = broker.connect();
    next.consume("q", "next");
    slow.publish("", "q", "m");
    slow.expect_delivery();
    assert_eq!(shown(&next.expect_delivery()), ("m", true));
    next.ack(1);
    expect_cancel(&mut slow, "slow");
}

#[test]
fn a_delivery_that_times_out_counts_as_failed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = TableBuilder::new();
    arguments.put("x-consumer-timeout", TIMEOUT_MS);
    arguments.put("x-delivery-limit", 1);
    client.call(queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..Default::default()
    });
    client.publish("", "q", "m");
    for count in [None, Some(1)] {
        client.consume("q", "c");
        let delivery = client.expect_delivery();
        let header = delivery.header("x-delivery-count");
        assert_eq!(header.and_then(|value| value.as_integer()), count);
        expect_cancel(&mut client, "c");
    }
    client.expect_nothing();
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_transaction_that_commits_too_late_commits_nothing_that_was_taken_back() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    client.transact();
    client.consume("q", "c");
    client.expect_bodies(2);
    expect_cancel(&mut client, "c");
    client.ack(1);
    client.commit();
    client.close_channel();
    client.open_channel(1);
    assert_eq!(client.drain("q"), ["1", "2"]);
}

#[test]
fn a_timeout_that_makes_no_sense_is_refused() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for (value, reason) in [
        (Value::SignedInt(-1), "{value_negative,-1}"),
        (Value::string("soon"), "\"expected integer, got longstr\""),
    ] {
        let mut arguments = TableBuilder::new();
        arguments.put("x-consumer-timeout", value);
        let consume = basic::Consume {
            arguments: arguments.view(),
            ..consume_from("q", "c")
        };
        let text = format!(
            "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {reason}"
        );
        client.expect_refusal(consume, 406, &text);
    }
}

#[test]
fn acks_that_a_blocked_connection_sent_in_time_are_in_time() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", TIMEOUT_MS);
    client.consume("q", "c");
    client.publish("", "q", "m");
    client.expect_delivery();
    let mut witness = broker.connect();
    declare(&mut witness, "other", 2 * TIMEOUT_MS);
    witness.consume("other", "w");
    witness.publish("", "other", "m");
    witness.expect_delivery();
    broker.block("low on memory");
    client.expect_nothing();
    client.publish("", "nowhere", "m");
    client.expect_on(0, "connection.blocked");
    client.ack(1);
    expect_cancel(&mut witness, "w");
    broker.unblock();
    client.expect_on(0, "connection.unblocked");
    client.expect_nothing();
    assert_eq!(client.counts("q"), (0, 1));
}

#[test]
fn a_lost_connection_leaves_nothing_to_time() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "q", 50);
    client.consume("q", "c");
    client.publish("", "q", "m");
    client.expect_delivery();
    drop(client);
    let mut other = broker.connect();
    eventually("it is requeued", || other.counts("q") == (1, 0));
}
