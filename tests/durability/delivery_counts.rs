//! How often messages failed, how urgent they are and when they are to be tried again, over the end of
//! the process.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Properties, Value};

use crate::clean_stop::publish_persistent;
use crate::load::{MARKERS, declare_queue};
use crate::program::{Home, Program};
use crate::support::{Arguments, RawClient, died, eventually, to_queue};
use crate::verify::wait_until_stored;

const QUORUM: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"quorum"));

/// Far away: with it, the queue counts failures.
const LIMIT: (&str, Value<'_>) = ("x-delivery-limit", Value::SignedInt(1000));

/// A broker with the durable queue `q`.
fn start(home: &Home, arguments: &Arguments<'_>) -> (Program, RawClient) {
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, MARKERS);
    client.declare_durable_with("q", arguments);
    (program, client)
}

/// Ends it in one way or the other, and starts it again.
fn restart(home: &Home, program: Program, killed: bool) -> (Program, RawClient) {
    if killed {
        program.kill();
    } else {
        program.stop_at_once();
    }
    let program = home.start();
    let client = program.connect();
    (program, client)
}

/// Rejects the message of this body, which has failed so often.
#[track_caller]
fn fail(client: &mut RawClient, body: &str, count: i64) {
    let delivery = client.await_unacked("q");
    assert_eq!((delivery.text(), delivery.delivery_count()), (body, count));
    client.requeue(delivery.delivery_tag);
}

#[test]
fn failures_are_counted_on_after_the_end_of_the_process() {
    for killed in [false, true] {
        for arguments in [&[LIMIT][..], &[QUORUM]] {
            let home = Home::new();
            let (mut program, mut client) = start(&home, arguments);
            publish_persistent(&mut client, "", "q", "m");
            let mut count = 0;
            for _ in 0..3 {
                for _ in 0..2 {
                    fail(&mut client, "m", count);
                    count += 1;
                }
                wait_until_stored(&mut client);
                (program, client) = restart(&home, program, killed);
                declare_queue(&mut client, MARKERS);
            }
            let delivery = client.await_unacked("q");
            assert_eq!(delivery.delivery_count(), count);
            assert!(delivery.redelivered);
        }
    }
}

#[test]
fn a_limit_is_reached_over_several_lives() {
    let home = Home::new();
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-delivery-limit", 5.into()));
    let (mut program, mut client) = start(&home, &arguments);
    declare_queue(&mut client, "dead");
    publish_persistent(&mut client, "", "q", "m");
    for count in 0..=5 {
        fail(&mut client, "m", count);
        wait_until_stored(&mut client);
        (program, client) = restart(&home, program, count % 2 == 0);
        declare_queue(&mut client, MARKERS);
    }
    let delivery = client.await_message("dead");
    assert_eq!(delivery.deaths(), [died("q", "delivery_limit", 1)]);
    assert_eq!(client.counts("q"), (0, 0));
    drop(program);
}

#[test]
fn each_of_many_messages_keeps_its_count() {
    for killed in [false, true] {
        let home = Home::new();
        let (program, mut client) = start(&home, &[LIMIT]);
        for n in 0..300 {
            publish_persistent(&mut client, "", "q", &n.to_string());
        }
        // Message n fails n modulo 4 times.
        for round in 0..3 {
            let taken: Vec<_> = (0..300).map(|_| client.await_unacked("q")).collect();
            for delivery in taken {
                let n: u64 = delivery.text().parse().unwrap();
                if n % 4 > round {
                    client.requeue(delivery.delivery_tag);
                } else {
                    client.nack(delivery.delivery_tag, false, true);
                }
            }
            client.settle();
        }
        wait_until_stored(&mut client);
        let (_program, mut client) = restart(&home, program, killed);
        for n in 0..300 {
            let delivery = client.get_as("q", true).unwrap();
            assert_eq!(delivery.text(), n.to_string());
            assert_eq!(delivery.delivery_count(), n % 4);
            assert!(delivery.redelivered);
        }
    }
}

#[test]
fn priorities_survive() {
    for killed in [false, true] {
        let home = Home::new();
        let (program, mut client) = start(&home, &[("x-max-priority", 10.into())]);
        for n in 0..500_usize {
            let properties = Properties {
                delivery_mode: Some(2),
                priority: Some((n * 7 % 12) as u8),
                ..Properties::default()
            };
            client.publish_with("", "q", &properties, n.to_string());
        }
        wait_until_stored(&mut client);
        let (_program, mut client) = restart(&home, program, killed);
        assert_eq!(client.counts("q"), (500, 0));
        let mut expected: Vec<_> = (0..500_usize).collect();
        expected.sort_by_key(|n| std::cmp::Reverse((n * 7 % 12).min(10)));
        let expected: Vec<_> = expected.into_iter().map(|n| n.to_string()).collect();
        assert_eq!(client.drain("q"), expected);
    }
}

#[test]
fn what_waits_to_be_tried_again_waits_on() {
    for killed in [false, true] {
        let home = Home::new();
        let arguments = [
            ("x-delayed-retry-type", Value::string("all")),
            ("x-delayed-retry-min", 2000.into()),
        ];
        let (program, mut client) = start(&home, &arguments);
        publish_persistent(&mut client, "", "q", "waits");
        publish_persistent(&mut client, "", "q", "does not");
        let began = Instant::now();
        fail(&mut client, "waits", 0);
        wait_until_stored(&mut client);
        let (_program, mut client) = restart(&home, program, killed);
        assert_eq!(client.await_message("q").text(), "does not");
        let delivery = client.await_unacked("q");
        assert_eq!((delivery.text(), delivery.delivery_count()), ("waits", 1));
        let away = began.elapsed();
        assert!(away >= Duration::from_millis(1999), "{away:?}");
    }
}

#[test]
fn a_limit_of_length_holds_for_what_comes_after_a_restart() {
    let home = Home::new();
    let mut arguments = to_queue("dead").to_vec();
    arguments.extend([
        ("x-max-length", 20.into()),
        ("x-max-length-bytes", 1000.into()),
    ]);
    let (program, mut client) = start(&home, &arguments);
    declare_queue(&mut client, "dead");
    for n in 0..15 {
        publish_persistent(&mut client, "", "q", &format!("{n:050}"));
    }
    wait_until_stored(&mut client);
    let (_program, mut client) = restart(&home, program, true);
    // By bytes at first: as many as came go.
    for n in 15..25 {
        publish_persistent(&mut client, "", "q", &format!("{n:050}"));
    }
    eventually("some were dropped", || client.counts("dead").0 == 5);
    assert_eq!(client.counts("q"), (20, 0));
    for n in 0..5 {
        let delivery = client.await_message("dead");
        assert_eq!(delivery.text(), format!("{n:050}"));
        assert_eq!(delivery.deaths(), [died("q", "maxlen", 1)]);
    }
}
