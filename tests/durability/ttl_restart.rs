//! Time that goes on while the process does not.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Properties, Value};

use crate::clean_stop::publish_persistent;
use crate::load::{MARKERS, declare_queue};
use crate::program::{Home, Program};
use crate::support::{Arguments, RawClient, died, eventually, let_pass, ms, to_queue};
use crate::verify::wait_until_stored;

/// A broker with the durable queues `q`, whose dead letters go to `dead`, and `dead`.
fn start(home: &Home, arguments: &Arguments<'_>) -> (Program, RawClient) {
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, MARKERS);
    declare_queue(&mut client, "dead");
    let mut all = to_queue("dead").to_vec();
    all.extend_from_slice(arguments);
    client.declare_durable_with("q", &all);
    (program, client)
}

fn end(program: Program, killed: bool) {
    if killed {
        program.kill();
    } else {
        program.stop_at_once();
    }
}

fn publish_expiring(client: &mut RawClient, expiration: &str, body: &str) {
    let properties = Properties {
        delivery_mode: Some(2),
        expiration: Some(expiration.as_bytes()),
        ..Properties::default()
    };
    client.publish_with("", "q", &properties, body);
}

#[test]
fn messages_expire_at_the_time_they_were_given_before() {
    for killed in [false, true] {
        for by_queue in [false, true] {
            let home = Home::new();
            let arguments: &Arguments<'_> = match by_queue {
                true => &[("x-message-ttl", Value::SignedInt(2000))],
                false => &[],
            };
            let (program, mut client) = start(&home, arguments);
            let published = Instant::now();
            if by_queue {
                publish_persistent(&mut client, "", "q", "m");
            } else {
                publish_expiring(&mut client, "2000", "m");
            }
            wait_until_stored(&mut client);
            let_pass(ms(1500));
            end(program, killed);
            let program = home.start();
            let mut client = program.connect();
            if published.elapsed() < ms(1900) {
                assert_eq!(client.counts("q"), (1, 0));
            }
            let delivery = client.await_message("dead");
            let lived = published.elapsed();
            assert_eq!(delivery.deaths(), [died("q", "expired", 1)]);
            // A timestamp of whole milliseconds may be one short.
            assert!(lived >= ms(1999), "{lived:?}");
            // A new life of two seconds would have begun a second and a half later.
            assert!(lived < ms(3450), "{lived:?}");
        }
    }
}

#[test]
fn what_expired_meanwhile_is_not_delivered() {
    for killed in [false, true] {
        let home = Home::new();
        let (program, mut client) = start(&home, &[]);
        for n in 0..100 {
            let expiration = if n % 2 == 0 { "300" } else { "100000" };
            publish_expiring(&mut client, expiration, &n.to_string());
        }
        wait_until_stored(&mut client);
        end(program, killed);
        let_pass(ms(350));
        let program = home.start();
        let mut client = program.connect();
        // The very first question is answered rightly.
        let numbers = |rest| {
            (0..100)
                .filter(move |n| n % 2 == rest)
                .map(|n| n.to_string())
        };
        assert_eq!(client.drain("q"), numbers(1).collect::<Vec<_>>());
        eventually("the others are dead letters", || {
            client.counts("dead").0 == 50
        });
        assert_eq!(client.drain("dead"), numbers(0).collect::<Vec<_>>());
    }
}

/// More than the broker expires in one go.
#[test]
fn of_many_that_expired_meanwhile_none_is_delivered() {
    const COUNT: usize = 60_000;
    let home = Home::new();
    let (program, mut client) = start(&home, &[("x-message-ttl", 4000.into())]);
    client.confirm();
    for n in 0..COUNT {
        publish_persistent(&mut client, "", "q", &n.to_string());
    }
    client.expect_confirms_up_to(COUNT as u64);
    let published = Instant::now();
    program.kill();
    let_pass(ms(4001).saturating_sub(published.elapsed()));
    let program = home.start();
    let mut client = program.connect();
    client.consume_no_ack("q", "c");
    client.expect_nothing();
    client.cancel("c");
    assert!(client.get("q").is_none());
    eventually("all are dead letters", || {
        client.counts("dead").0 == COUNT as u32
    });
}

#[test]
fn what_was_out_when_the_process_died_expires_too() {
    let home = Home::new();
    let (program, mut client) = start(&home, &[("x-message-ttl", 300.into())]);
    publish_persistent(&mut client, "", "q", "out");
    publish_persistent(&mut client, "", "q", "in");
    wait_until_stored(&mut client);
    assert_eq!(client.await_unacked("q").text(), "out");
    program.kill();
    let_pass(ms(350));
    let program = home.start();
    let mut client = program.connect();
    assert!(client.get("q").is_none());
    eventually("both are dead letters", || client.counts("dead").0 == 2);
    assert_eq!(client.drain("dead"), ["out", "in"]);
}

#[test]
fn what_expired_is_not_there_again_after_the_end_of_the_process() {
    for killed in [false, true] {
        let home = Home::new();
        let (program, mut client) = start(&home, &[]);
        for n in 0..200 {
            publish_expiring(&mut client, &(n % 100).to_string(), &n.to_string());
        }
        publish_persistent(&mut client, "", "q", "stays");
        eventually("all but one are dead", || client.counts("dead").0 == 200);
        assert_eq!(client.drain("dead").len(), 200);
        wait_until_stored(&mut client);
        // What nobody waits for is stored soon all the same.
        let_pass(ms(500));
        end(program, killed);
        let program = home.start();
        let mut client = program.connect();
        assert_eq!(client.counts("q"), (1, 0));
        assert_eq!(client.drain("q"), ["stays"]);
        assert_eq!(client.drain("dead"), [""; 0]);
    }
}

/// More than stays in memory.
#[test]
fn messages_expire_wherever_they_are_kept() {
    const COUNT: usize = 12_000;
    let home = Home::new();
    let (program, mut client) = start(&home, &[]);
    client.confirm();
    let body = "x".repeat(4000);
    for n in 0..COUNT {
        let expiration = if n % 3 == 0 { "15000" } else { "1000000" };
        publish_expiring(&mut client, expiration, &format!("{n:05}{body}"));
    }
    client.expect_confirms_up_to(COUNT as u64);
    assert_eq!(client.counts("q"), (COUNT as u32, 0));
    program.kill();
    let program = home.start();
    let mut client = program.connect();
    let dead = COUNT as u32 / 3;
    let began = Instant::now();
    while client.counts("dead").0 < dead {
        assert!(began.elapsed() < Duration::from_secs(60), "they do not die");
        let_pass(ms(20));
    }
    assert_eq!(client.counts("q"), (COUNT as u32 - dead, 0));
    let check = |client: &mut RawClient, queue: &str, wanted: &dyn Fn(usize) -> bool| {
        for n in (0..COUNT).filter(|n| wanted(*n)) {
            let delivery = client.await_message(queue);
            assert!(delivery.text().starts_with(&format!("{n:05}x")), "{n}");
        }
        assert!(client.get(queue).is_none());
    };
    check(&mut client, "dead", &|n| n % 3 == 0);
    check(&mut client, "q", &|n| n % 3 != 0);
}

#[test]
fn a_queue_has_a_new_lease_after_a_restart_and_then_expires() {
    for killed in [false, true] {
        let home = Home::new();
        let (program, mut client) = start(&home, &[("x-expires", 1000.into())]);
        publish_persistent(&mut client, "", "q", "m");
        wait_until_stored(&mut client);
        end(program, killed);
        let_pass(ms(1100));
        // It was not unused while nobody could use it (RabbitMQ).
        let began = Instant::now();
        let program = home.start();
        let mut client = program.connect();
        assert!(client.has_queue("q") || began.elapsed() > ms(1000));
        client.await_gone("q");
        assert!(began.elapsed() >= ms(999), "{:?}", began.elapsed());
        // Nobody waits for it, but it is stored soon.
        let_pass(ms(500));
        end(program, killed);
        let program = home.start();
        assert!(!program.connect().has_queue("q"));
    }
}

#[test]
fn several_restarts_neither_lengthen_nor_shorten_a_life() {
    let home = Home::new();
    let (mut program, mut client) = start(&home, &[("x-message-ttl", 3000.into())]);
    let published = Instant::now();
    for n in 0..50 {
        publish_persistent(&mut client, "", "q", &n.to_string());
    }
    wait_until_stored(&mut client);
    for n in 0..4 {
        end(program, n % 2 == 0);
        program = home.start();
    }
    let mut client = program.connect();
    eventually("all are dead letters", || client.counts("dead").0 == 50);
    assert!(published.elapsed() >= ms(2990));
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(client.drain("dead"), expected);
}
