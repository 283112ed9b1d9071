//! What queues are told holds for messages that are on the disk as for those in memory: limits, times,
//! priorities, deaths. The broker may keep very little.

use std::time::Instant;

use leveret::wire::amqp::{Properties, basic};

use crate::bulk::{body_of, publish_many};
use crate::deep_queues::{Deep, MANY};
use crate::load::declare_queue;
use crate::support::{Delivery, RawClient, died, eventually, ms, to_queue};

/// Takes all messages of a queue, which must be these.
fn expect_all(
    client: &mut RawClient,
    queue: &str,
    numbers: impl Iterator<Item = u32>,
    check: impl Fn(&Delivery),
) {
    client.consume_no_ack(queue, queue);
    for n in numbers {
        let delivery = client.expect_delivery();
        let same = delivery.body == body_of(n, SIZE);
        assert!(same, "{n} was due, not {:?}", &delivery.body.get(..4));
        check(&delivery);
    }
    client.expect_nothing();
    client.cancel(queue);
}

const SIZE: usize = 100;

#[test]
fn a_limit_drops_the_oldest_wherever_they_are() {
    for persistent in [true, false] {
        let deep = Deep::start();
        let mut client = deep.connect();
        declare_queue(&mut client, "dead");
        let kept = MANY / 4;
        let mut arguments = to_queue("dead").to_vec();
        arguments.push(("x-max-length", (kept as i32).into()));
        client.declare_durable_with("q", &arguments);
        publish_many(&client.stream, "q", 0..MANY, SIZE, persistent);
        client.await_count("dead", MANY - kept);
        expect_all(&mut client, "q", MANY - kept..MANY, |delivery| {
            assert_eq!(delivery.deaths(), []);
        });
        expect_all(&mut client, "dead", 0..MANY - kept, |delivery| {
            assert_eq!(delivery.deaths(), [died("q", "maxlen", 1)]);
        });
        client.close();
        deep.expect_nothing_left(&["q", "dead"]);
    }
}

#[test]
fn a_limit_of_bytes_counts_what_is_on_the_disk() {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    let kept = MANY / 2;
    let arguments = [("x-max-length-bytes", ((kept as usize * SIZE) as i32).into())];
    client.declare_durable_with("q", &arguments);
    publish_many(&client.stream, "q", 0..kept, SIZE, true);
    client.await_count("q", kept);
    client.close();
    deep.restart();
    let mut client = deep.connect();
    publish_many(&client.stream, "q", kept..MANY, SIZE, true);
    client.settle();
    assert_eq!(client.counts("q"), (kept, 0));
    expect_all(&mut client, "q", MANY - kept..MANY, |_| ());
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn priorities_hold_over_what_is_on_the_disk() {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    client.declare_durable_with("q", &[("x-max-priority", 4.into())]);
    let priority = |n: u32| n * 7 % 5;
    for n in 0..MANY {
        let properties = Properties {
            delivery_mode: Some(1 + (n % 2) as u8),
            priority: Some(priority(n) as u8),
            ..Properties::default()
        };
        client.publish_with("", "q", &properties, body_of(n, SIZE));
    }
    client.await_count("q", MANY);
    let mut sorted: Vec<_> = (0..MANY).collect();
    sorted.sort_by_key(|n| std::cmp::Reverse(priority(*n)));
    // A part is taken now, and of the rest the persistent ones after a restart.
    let part = MANY as usize / 3;
    for n in &sorted[..part] {
        assert!(client.get_as("q", true).unwrap().body == body_of(*n, SIZE));
    }
    client.close();
    deep.restart();
    let mut client = deep.connect();
    let rest = sorted[part..].iter().copied().filter(|n| n % 2 == 1);
    expect_all(&mut client, "q", rest, |_| ());
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn messages_on_the_disk_expire_at_their_time() {
    for persistent in [true, false] {
        let deep = Deep::start();
        let mut client = deep.connect();
        declare_queue(&mut client, "dead");
        client.declare_durable_with("q", &to_queue("dead"));
        let goes = |n: &u32| n.is_multiple_of(2);
        let began = Instant::now();
        for n in 0..MANY {
            let expiration = if goes(&n) { "3000" } else { "1000000" };
            let properties = Properties {
                delivery_mode: Some(1 + u8::from(persistent)),
                expiration: Some(expiration.as_bytes()),
                ..Properties::default()
            };
            client.publish_with("", "q", &properties, body_of(n, SIZE));
        }
        client.settle();
        if began.elapsed() < ms(3000) {
            assert_eq!(client.counts("q"), (MANY, 0));
        }
        client.await_count("dead", MANY / 2);
        assert!(began.elapsed() >= ms(2999));
        assert_eq!(client.counts("q"), (MANY / 2, 0));
        expect_all(&mut client, "dead", (0..MANY).filter(goes), |delivery| {
            assert_eq!(delivery.deaths(), [died("q", "expired", 1)]);
        });
        let stays = (0..MANY).filter(|n| !goes(n));
        expect_all(&mut client, "q", stays, |_| ());
        client.close();
        deep.expect_nothing_left(&["q", "dead"]);
    }
}

#[test]
fn many_rejected_at_once_arrive_in_order() {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "dead");
    client.declare_durable_with("q", &to_queue("dead"));
    publish_many(&client.stream, "q", 0..MANY, SIZE, true);
    client.settle();
    client.consume("q", "c");
    for _ in 0..MANY {
        client.expect_delivery();
    }
    client.nack(0, true, false);
    client.await_count("dead", MANY);
    expect_all(&mut client, "dead", 0..MANY, |delivery| {
        assert_eq!(delivery.deaths(), [died("q", "rejected", 1)]);
    });
    client.close();
    deep.expect_nothing_left(&["q", "dead"]);
}

#[test]
fn failures_of_many_are_counted() {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "dead");
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-delivery-limit", 1.into()));
    client.declare_durable_with("q", &arguments);
    publish_many(&client.stream, "q", 0..MANY, SIZE, true);
    client.settle();
    for count in 0..=1 {
        client.consume("q", "c");
        for n in 0..MANY {
            let delivery = client.expect_delivery();
            assert!(delivery.body == body_of(n, SIZE));
            assert_eq!(delivery.delivery_count(), count);
        }
        client.cancel("c");
        client.close_channel();
        client.open_channel(1);
        if count == 0 {
            client.await_count("q", MANY);
            client.close();
            deep.restart();
            client = deep.connect();
        }
    }
    client.await_count("dead", MANY);
    expect_all(&mut client, "dead", 0..MANY, |delivery| {
        assert_eq!(delivery.deaths(), [died("q", "delivery_limit", 1)]);
    });
    client.close();
    deep.expect_nothing_left(&["q", "dead"]);
}

#[test]
fn dead_letters_go_through_several_deep_queues() {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "end");
    for (name, next) in [("second", "end"), ("first", "second")] {
        let mut arguments = to_queue(next).to_vec();
        arguments.push(("x-message-ttl", 1500.into()));
        client.declare_durable_with(name, &arguments);
    }
    publish_many(&client.stream, "first", 0..MANY, SIZE, true);
    client.settle();
    client.close();
    deep.restart();
    let mut client = deep.connect();
    client.await_count("end", MANY);
    expect_all(&mut client, "end", 0..MANY, |delivery| {
        let expected = ["second", "first"].map(|name| died(name, "expired", 1));
        assert_eq!(delivery.deaths(), expected);
    });
    client.close();
    deep.expect_nothing_left(&["first", "second", "end"]);
}

#[test]
fn what_waits_to_be_tried_again_may_be_on_the_disk() {
    let deep = Deep::start();
    let mut client = deep.connect();
    let arguments = [
        ("x-delayed-retry-type", "all".into()),
        ("x-delayed-retry-min", 500.into()),
    ];
    client.declare_durable_with("q", &arguments);
    publish_many(&client.stream, "q", 0..MANY, SIZE, true);
    client.settle();
    client.consume("q", "c");
    for _ in 0..MANY {
        client.expect_delivery();
    }
    client.cancel("c");
    client.send(&basic::Nack {
        delivery_tag: 0,
        multiple: true,
        requeue: true,
    });
    client.settle();
    // Others come in between and push them out of memory.
    publish_many(&client.stream, "q", MANY..MANY + 1000, SIZE, true);
    eventually("all are ready", || client.counts("q").0 == MANY + 1000);
    expect_all(&mut client, "q", 0..MANY + 1000, |_| ());
    client.close();
    deep.expect_nothing_left(&["q"]);
}
