//! Messages that wait before they are tried again (RabbitMQ 4.3: `x-delayed-retry-type`, `-min`, `-max`,
//! for quorum queues; here for all). The n-th failure delays by n times the least delay, up to the
//! longest; what was given back without having failed waits the least delay.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Value, queue};

use crate::support::{Arguments, RawClient, TestBroker, died, let_pass, ms, to_queue};

const QUORUM: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"quorum"));
const CLASSIC: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"classic"));

const LEAST: i32 = 80;

/// A broker, and a client of it that has declared the queue `q` so.
fn retrying(kind: &str, more: &Arguments<'_>) -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut arguments = vec![
        ("x-delayed-retry-type", Value::string(kind)),
        ("x-delayed-retry-min", LEAST.into()),
    ];
    arguments.extend_from_slice(more);
    client.declare_durable_with("q", &arguments);
    (broker, client)
}

/// Gives the message back in this way; how long it is away.
fn time_away(client: &mut RawClient, give_back: impl Fn(&mut RawClient, u64)) -> Duration {
    let tag = client.await_unacked("q").delivery_tag;
    let began = Instant::now();
    give_back(client, tag);
    client.await_count("q", 1);
    began.elapsed()
}

fn reject(client: &mut RawClient, tag: u64) {
    client.requeue(tag);
}

fn nack(client: &mut RawClient, tag: u64) {
    client.nack(tag, false, true);
}

fn break_off(client: &mut RawClient, _: u64) {
    client.close_channel();
    client.open_channel(1);
}

/// On a busy machine a message may come late, but not by so much.
const LATE: Duration = ms(60);

#[track_caller]
fn assert_delayed(away: Duration, expected: u64) {
    // Time is told in whole milliseconds.
    assert!(
        away + ms(1) >= ms(expected),
        "{away:?} instead of {expected} ms"
    );
    assert!(
        away < ms(expected) + LATE,
        "{away:?} instead of {expected} ms"
    );
}

#[test]
fn failures_wait_longer_each_time_up_to_the_longest() {
    for kind in [QUORUM, CLASSIC] {
        let longest = ("x-delayed-retry-max", Value::SignedInt(200));
        let (_broker, mut client) = retrying("all", &[kind, longest]);
        client.publish("", "q", "m");
        for delay in [80, 160, 200, 200] {
            assert_delayed(time_away(&mut client, reject), delay);
        }
        let delivery = client.await_unacked("q");
        assert!(delivery.redelivered);
        assert_eq!((delivery.text(), delivery.delivery_count()), ("m", 4));
    }
}

#[test]
fn without_a_longest_delay_they_grow_on() {
    let (_broker, mut client) = retrying("failed", &[]);
    client.publish("", "q", "m");
    for delay in [80, 160, 240, 320] {
        assert_delayed(time_away(&mut client, reject), delay);
    }
}

#[test]
fn what_was_given_back_waits_the_least_delay_each_time() {
    let (_broker, mut client) = retrying("all", &[]);
    client.publish("", "q", "m");
    for _ in 0..3 {
        assert_delayed(time_away(&mut client, nack), 80);
    }
}

#[test]
fn a_closed_channel_delays_as_a_failure() {
    let (_broker, mut client) = retrying("failed", &[]);
    client.publish("", "q", "m");
    for delay in [80, 160] {
        assert_delayed(time_away(&mut client, break_off), delay);
    }
}

#[test]
fn the_type_says_what_is_delayed() {
    for (kind, after_reject, after_nack) in [
        ("disabled", false, false),
        ("failed", true, false),
        ("returned", false, true),
        ("all", true, true),
    ] {
        let (_broker, mut client) = retrying(kind, &[]);
        client.publish("", "q", "m");
        for (give_back, is_delayed) in [
            (reject as fn(&mut RawClient, u64), after_reject),
            (nack, after_nack),
        ] {
            let away = time_away(&mut client, give_back);
            assert_eq!(
                away + ms(1) >= ms(LEAST as u64),
                is_delayed,
                "{kind}: {away:?}"
            );
        }
    }
}

#[test]
fn others_are_delivered_meanwhile() {
    let (broker, mut client) = retrying("all", &[]);
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    let mut consumer = broker.connect();
    consumer.prefetch(1, false);
    consumer.consume("q", "c");
    let first = consumer.expect_delivery();
    assert_eq!(first.text(), "1");
    consumer.requeue(first.delivery_tag);
    for body in ["2", "3", "1"] {
        let delivery = consumer.expect_delivery();
        assert_eq!(delivery.text(), body);
        consumer.ack(delivery.delivery_tag);
    }
}

#[test]
fn a_message_that_waits_cannot_be_had() {
    let (_broker, mut client) = retrying("all", &[]);
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    let began = Instant::now();
    client.requeue(tag);
    while client.get("q").is_none() {
        assert!(began.elapsed() < ms(20_000), "it does not come back");
    }
    assert_delayed(began.elapsed(), LEAST as u64);
}

#[test]
fn several_wait_each_for_itself() {
    let (_broker, mut client) = retrying("failed", &[]);
    client.publish("", "q", "often");
    for _ in 0..2 {
        time_away(&mut client, reject);
    }
    for n in 0..50 {
        client.publish("", "q", format!("once {n}"));
    }
    client.await_count("q", 51);
    let tags: Vec<_> = (0..51)
        .map(|_| client.await_unacked("q").delivery_tag)
        .collect();
    let began = Instant::now();
    for tag in tags {
        client.requeue(tag);
    }
    client.await_count("q", 50);
    assert!(began.elapsed() >= ms(79));
    client.await_count("q", 51);
    assert!(began.elapsed() >= ms(239));
}

#[test]
fn a_message_over_its_limit_does_not_wait() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("dead");
    let mut arguments = to_queue("dead").to_vec();
    arguments.extend([
        ("x-delayed-retry-type", Value::string("all")),
        ("x-delayed-retry-min", 10_000.into()),
        ("x-delivery-limit", 0.into()),
    ]);
    client.declare_durable_with("q", &arguments);
    client.publish("", "q", "m");
    let began = Instant::now();
    let tag = client.await_unacked("q").delivery_tag;
    client.requeue(tag);
    let delivery = client.await_message("dead");
    assert_eq!(delivery.deaths(), [died("q", "delivery_limit", 1)]);
    assert!(began.elapsed() < ms(5_000));
}

#[test]
fn a_message_without_requeue_does_not_wait() {
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-delayed-retry-max", 10_000.into()));
    let (_broker, mut client) = retrying("all", &arguments);
    client.declare_queue("dead");
    client.publish("", "q", "m");
    let began = Instant::now();
    client.reject_next("q");
    assert_eq!(
        client.await_message("dead").deaths(),
        [died("q", "rejected", 1)]
    );
    assert!(began.elapsed() < ms(5_000));
}

#[test]
fn a_message_may_expire_while_it_waits() {
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-message-ttl", 60.into()));
    let (_broker, mut client) = retrying("all", &arguments);
    client.declare_queue("dead");
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.requeue(tag);
    assert_eq!(
        client.await_message("dead").deaths(),
        [died("q", "expired", 1)]
    );
    let_pass(ms(LEAST as u64));
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_queue_is_deleted_with_what_waits_in_it() {
    let (_broker, mut client) = retrying("all", &[]);
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.requeue(tag);
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.declare_durable_with("q", &[]);
    let_pass(ms(2 * LEAST as u64));
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn a_waiting_consumer_gets_it_when_its_time_has_come() {
    let (broker, mut client) = retrying("all", &[]);
    let mut consumer = broker.connect();
    consumer.consume("q", "c");
    client.publish("", "q", "m");
    for count in 0..4 {
        let began = Instant::now();
        let delivery = consumer.expect_delivery();
        assert_eq!(delivery.delivery_count(), count);
        if count > 0 {
            assert_delayed(began.elapsed(), 80 * count as u64);
        }
        consumer.requeue(delivery.delivery_tag);
    }
}
