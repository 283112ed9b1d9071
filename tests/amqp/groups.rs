//! Ordered message groups (`x-group-key`), which RabbitMQ does not have: the messages of a group are
//! consumed strictly one after the other, over any number of consumers.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Method, Properties, TableBuilder, Value, basic, queue};

use crate::support::{RawClient, TestBroker};

fn declare(client: &mut RawClient, key: &str, more: &[(&str, Value<'_>)]) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-group-key", key);
    for (name, value) in more {
        arguments.put(name, *value);
    }
    client.call(queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..Default::default()
    });
}

fn publish(client: &mut RawClient, customer: &str, body: &str) {
    let mut headers = TableBuilder::new();
    headers.put("customer", customer);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    client.publish_with("", "q", &properties, body);
}

/// Bodies such as `a1`: the first letter is the customer.
fn publish_all(client: &mut RawClient, bodies: &[&str]) {
    for body in bodies {
        publish(client, &body[..1], body);
    }
    client.settle();
}

fn consumer(broker: &TestBroker, prefetch: u16) -> RawClient {
    let mut client = broker.connect();
    client.prefetch(prefetch, false);
    client.consume("q", "c");
    client
}

#[test]
fn the_next_of_a_group_is_delivered_when_the_one_before_is_acked() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "customer", &[]);
    let mut first = consumer(&broker, 0);
    let mut second = consumer(&broker, 0);
    publish_all(&mut publisher, &["a1", "a2", "b1", "a3", "b2"]);
    assert_eq!(first.expect_bodies(1), ["a1"]);
    assert_eq!(second.expect_bodies(1), ["b1"]);
    first.expect_nothing();
    second.expect_nothing();
    assert_eq!(publisher.counts("q"), (3, 2), "those that wait are ready");
    first.ack(1);
    assert_eq!(first.expect_bodies(1), ["a2"], "whoever's turn it is");
    second.ack(1);
    assert_eq!(second.expect_bodies(1), ["b2"]);
    first.ack(2);
    assert_eq!(first.expect_bodies(1), ["a3"]);
}

#[test]
fn a_requeued_message_is_the_next_of_its_group_again() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "customer", &[]);
    publish_all(&mut publisher, &["a1", "a2", "a3"]);
    let mut dying = consumer(&broker, 10);
    assert_eq!(dying.expect_bodies(1), ["a1"]);
    dying.requeue(1);
    let again = dying.expect_delivery();
    assert_eq!((again.text(), again.redelivered), ("a1", true));
    let mut other = consumer(&broker, 10);
    other.expect_nothing();
    drop(dying);
    let again = other.expect_delivery();
    assert_eq!((again.text(), again.redelivered), ("a1", true));
    other.expect_nothing();
    other.ack(again.delivery_tag);
    assert_eq!(other.expect_bodies(1), ["a2"]);
}

#[test]
fn messages_of_no_group_wait_for_nobody() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "customer", &[]);
    let mut client = consumer(&broker, 0);
    publisher.publish("", "q", "x");
    publisher.publish("", "q", "y");
    publish_all(&mut publisher, &["a1", "a2"]);
    publisher.publish("", "q", "z");
    assert_eq!(client.expect_bodies(4), ["x", "y", "a1", "z"]);
    client.expect_nothing();
}

#[test]
fn the_routing_key_can_tell_groups_apart() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "routing-key", &[]);
    publisher.declare_exchange("orders", "fanout");
    publisher.bind_queue("q", "orders", "");
    let mut client = consumer(&broker, 0);
    for (key, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("", "1"), ("", "2")] {
        publisher.publish("orders", key, body);
    }
    assert_eq!(client.expect_bodies(3), ["a1", "b1", "1"]);
    client.expect_nothing();
    client.ack(3);
    assert_eq!(client.expect_bodies(1), ["2"]);
}

#[test]
fn consumers_without_acks_get_everything_in_order() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "customer", &[]);
    let mut client = broker.connect();
    client.consume_no_ack("q", "c");
    publish_all(&mut publisher, &["a1", "a2", "b1", "a3"]);
    assert_eq!(client.expect_bodies(4), ["a1", "a2", "b1", "a3"]);
}

#[test]
fn get_takes_the_first_message_whose_group_is_free() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "customer", &[]);
    let many: Vec<_> = (1..2_000).map(|n| format!("a{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    publish_all(&mut client, &many);
    publish_all(&mut client, &["b1", "b2"]);
    assert_eq!(client.get("q").unwrap().text(), "a1");
    let b1 = client.get("q").unwrap();
    assert_eq!((b1.text(), b1.message_count), ("b1", 1_999));
    assert!(client.get("q").is_none(), "all groups are busy");
    assert_eq!(client.counts("q").0, 1_999);
    client.ack(1);
    assert_eq!(client.get("q").unwrap().text(), "a2");
    client.ack(b1.delivery_tag);
    assert_eq!(client.get_as("q", true).unwrap().text(), "b2");
}

#[test]
fn a_group_waits_until_a_transaction_is_committed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, "customer", &[]);
    publish_all(&mut client, &["a1", "a2"]);
    let mut other = broker.connect();
    client.transact();
    client.get("q").unwrap();
    client.ack(1);
    client.settle();
    assert!(other.get("q").is_none());
    client.commit();
    assert_eq!(other.get("q").unwrap().text(), "a2");
}

#[test]
fn rejected_and_purged_messages_free_their_group() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("dead");
    let dead_letters = [
        ("x-dead-letter-exchange", Value::string("")),
        ("x-dead-letter-routing-key", Value::string("dead")),
        ("x-max-length", Value::Long(3)),
    ];
    declare(&mut client, "customer", &dead_letters);
    publish_all(&mut client, &["a1", "a2", "a3"]);
    client.get("q").unwrap();
    assert!(client.get("q").is_none());
    client.send(&basic::Reject {
        delivery_tag: 1,
        requeue: false,
    });
    let a2 = client.get("q").unwrap();
    assert_eq!(a2.text(), "a2");
    // Three more than there is room for: the oldest goes, though it stands aside.
    assert!(client.get("q").is_none());
    publish_all(&mut client, &["a4", "a5", "a6"]);
    assert_eq!(client.drain("dead"), ["a1", "a3"]);
    client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    publish_all(&mut client, &["a7"]);
    assert!(client.get("q").is_none(), "a2 is not settled");
    client.ack(a2.delivery_tag);
    assert_eq!(client.get("q").unwrap().text(), "a7");
}

#[test]
fn messages_expire_while_they_wait_for_their_group() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(
        &mut client,
        "customer",
        &[("x-message-ttl", Value::Long(50))],
    );
    publish_all(&mut client, &["a1", "a2"]);
    client.get("q").unwrap();
    assert!(client.get("q").is_none());
    let started = Instant::now();
    while client.counts("q").0 > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "it expires");
    }
    client.ack(1);
    publish_all(&mut client, &["a3"]);
    assert_eq!(client.get("q").unwrap().text(), "a3");
}

fn declaration(arguments: &TableBuilder) -> queue::Declare<'_> {
    queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..Default::default()
    }
}

#[test]
fn the_argument_is_checked_and_compared() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let mut number = TableBuilder::new();
    number.put("x-group-key", 5);
    let text = "PRECONDITION_FAILED - invalid arg 'x-group-key' for queue 'q' in vhost '/': \
                {unacceptable_type,signedint}";
    client.expect_refusal(declaration(&number), 406, text);
    declare(&mut client, "customer", &[]);
    declare(&mut client, "customer", &[]);
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-group-key' for queue 'q' in vhost '/': \
                received none but current is the value 'customer' of type 'longstr'";
    client.expect_refusal(declaration(&TableBuilder::new()), 406, text);
}

/// What a consumer has not settled: delivery tag, group, number in it.
type Held = Vec<(u64, usize, usize)>;

/// Deliveries that came so far. They are the next of their groups, and alone.
fn take_deliveries(client: &mut RawClient, held: &mut Held, next: &mut [(usize, bool)]) {
    for frames in client.settle().chunks(3) {
        let Method::BasicDeliver(delivery) = frames[0].method() else {
            panic!("only deliveries are due, and what came was {}", frames[0]);
        };
        let body = std::str::from_utf8(&frames[2].payload).unwrap();
        let (group, number) = body.split_once(' ').unwrap();
        let group: usize = group.parse().unwrap();
        let number = number.parse().unwrap();
        assert_eq!(
            next[group],
            (number, false),
            "the next of {group}, and nobody has it"
        );
        next[group].1 = true;
        held.push((delivery.delivery_tag, group, number));
    }
}

/// Consumers ack some of what they have, requeue some, and die now and then; one of them keeps the first
/// message of one group until all others are done.
#[test]
fn a_hundred_groups_over_four_consumers_keep_their_order_and_do_not_wait_for_a_slow_one() {
    const GROUPS: usize = 100;
    const EACH: usize = 20;
    const SLOW: usize = 7;
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    declare(&mut publisher, "customer", &[]);
    let mut consumers: Vec<_> = (0..4)
        .map(|_| (consumer(&broker, 30), Held::new()))
        .collect();
    for number in 0..EACH {
        for group in 0..GROUPS {
            publish(
                &mut publisher,
                &group.to_string(),
                &format!("{group} {number}"),
            );
        }
    }
    publisher.settle();
    // Of each group, who is next and whether somebody has it.
    let mut next = vec![(0, false); GROUPS];
    let is_done = |next: &[(usize, bool)]| {
        let mut others = next.iter().enumerate().filter(|(group, _)| *group != SLOW);
        others.all(|(_, (number, _))| *number == EACH)
    };
    let mut random = 1u64;
    let mut dice = |sides: u64| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (random >> 33) % sides
    };
    let mut rounds = 0;
    while !is_done(&next) {
        rounds += 1;
        assert!(rounds < 5_000, "something starves: {next:?}");
        let (client, held) = &mut consumers[rounds % 4];
        take_deliveries(client, held, &mut next);
        let has_slow = held.iter().any(|(_, group, _)| *group == SLOW);
        if dice(40) == 0 && !has_slow {
            held.drain(..)
                .for_each(|(_, group, _)| next[group].1 = false);
            *client = consumer(&broker, 30);
            continue;
        }
        held.retain(|&(tag, group, number)| {
            let is_kept = group == SLOW || dice(3) == 0;
            if !is_kept {
                let is_requeued = dice(10) == 0;
                next[group] = (number + usize::from(!is_requeued), false);
                match is_requeued {
                    true => client.requeue(tag),
                    false => client.ack(tag),
                }
            }
            is_kept
        });
    }
    assert_eq!(next[SLOW], (0, true), "one of four was slow");
    assert_eq!(publisher.counts("q").0 as usize, EACH - 1);
}
