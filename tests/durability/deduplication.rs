//! What was confirmed is known after a stop or a crash, and not taken twice; what was not confirmed can be
//! published again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use leveret::wire::amqp::{Properties, TableBuilder, exchange, queue};

use crate::peer::Peer;
use crate::program::{Home, Program};
use crate::random::Random;
use crate::stamp::encode_publish;
use crate::support::{RawClient, publish_to};

fn declare(client: &mut RawClient) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-message-deduplication", true);
    client.call(exchange::Declare {
        exchange: b"x",
        kind: b"fanout",
        durable: true,
        arguments: arguments.view(),
        ..Default::default()
    });
    crate::load::declare_queue(client, "q");
    client.bind_queue("q", "x", "");
    client.call(queue::Declare {
        queue: b"once",
        durable: true,
        arguments: arguments.view(),
        ..Default::default()
    });
}

fn publish(client: &mut RawClient, exchange: &str, routing_key: &str, key: &str) {
    client.publish_content(&publish_to(exchange, routing_key), &properties(key), key);
}

/// Of a persistent message with this key.
fn properties(key: &str) -> Vec<u8> {
    let mut headers = TableBuilder::new();
    headers.put("x-deduplication-header", key);
    let properties = Properties {
        headers: Some(headers.view()),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    block
}

/// Publishes to the exchange and to the queue, and waits for the confirms.
fn publish_all(program: &Program, keys: &[&str]) {
    let mut client = program.connect();
    client.confirm();
    for key in keys {
        publish(&mut client, "x", "", key);
        publish(&mut client, "", "once", key);
    }
    client.expect_confirms_up_to(2 * keys.len() as u64);
}

fn end(program: Program, by_kill: bool) {
    match by_kill {
        true => program.kill(),
        false => program.stop_at_once(),
    }
}

#[test]
fn keys_survive_a_stop_and_a_kill() {
    for by_kill in [false, true] {
        let home = Home::new();
        let program = home.start();
        declare(&mut program.connect());
        publish_all(&program, &["a", "b"]);
        end(program, by_kill);
        let program = home.start();
        publish_all(&program, &["a", "b", "c"]);
        let mut client = program.connect();
        assert_eq!(client.drain("q"), ["a", "b", "c"]);
        assert_eq!(client.drain("once"), ["a", "b", "c"]);
        client.settle();
        // The exchange knows what was consumed, the queue only what it has.
        publish_all(&program, &["a"]);
        assert_eq!(client.counts("q").0, 0);
        assert_eq!(client.counts("once").0, 1);
        end(program, by_kill);
        let program = home.start();
        publish_all(&program, &["a", "b", "c", "d"]);
        let mut client = program.connect();
        assert_eq!(client.drain("q"), ["d"]);
        assert_eq!(client.drain("once"), ["a", "b", "c", "d"]);
    }
}

#[test]
fn an_exchange_that_is_declared_again_knows_nothing() {
    let home = Home::new();
    let program = home.start();
    declare(&mut program.connect());
    publish_all(&program, &["a"]);
    let mut client = program.connect();
    client.call(exchange::Delete {
        exchange: b"x",
        ..Default::default()
    });
    client.call(queue::Delete {
        queue: b"once",
        ..Default::default()
    });
    declare(&mut client);
    program.kill();
    let program = home.start();
    publish_all(&program, &["a"]);
    let mut client = program.connect();
    assert_eq!(client.drain("q"), ["a", "a"]);
    assert_eq!(client.drain("once"), ["a"]);
}

#[test]
fn transient_messages_take_their_keys_with_them() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    declare(&mut client);
    let mut headers = TableBuilder::new();
    headers.put("x-deduplication-header", "a");
    let transient = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    client.publish_with("x", "", &transient, "a");
    client.publish_with("", "once", &transient, "a");
    client.settle();
    program.stop_at_once();
    let program = home.start();
    publish_all(&program, &["a"]);
    let mut client = program.connect();
    assert_eq!(client.drain("q"), ["a"]);
    assert_eq!(client.drain("once"), ["a"]);
}

/// A publisher that, after a crash, publishes everything again, confirmed or not, as one does that cannot
/// know. Nothing is missing, and nothing is there twice.
#[test]
fn everything_published_again_after_a_kill_is_there_once() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let home = Home::new();
    let mut program = home.start();
    declare(&mut program.connect());
    let mut published = 0;
    for _ in 0..KILLS {
        let first = published;
        published += 50 + random.below(2000);
        let mut client = program.connect();
        client.confirm();
        let peer = Peer::new(client);
        let publisher = std::thread::spawn(move || publish_blindly(peer, first..published));
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
        program.kill();
        publisher.join().unwrap();
        while random.percent(30) {
            home.start_and_kill(Duration::from_micros(random.below(10_000) as u64));
        }
        program = home.start();
        publish_range(&program, first..published);
    }
    let mut client = program.connect();
    for queue in ["q", "once"] {
        let mut counts = BTreeMap::new();
        for body in client.drain(queue) {
            *counts.entry(body.parse::<usize>().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), published, "{queue}");
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{queue}: {twice:?}");
    }
}

/// Until the end, or the broker's.
fn publish_blindly(mut peer: Peer, numbers: Range<usize>) {
    for number in numbers {
        let key = number.to_string();
        let mut bytes = Vec::new();
        for (exchange, routing_key) in [("x", ""), ("", "once")] {
            encode_publish(
                &mut bytes,
                exchange,
                routing_key,
                &properties(&key),
                key.as_bytes(),
            );
        }
        if peer.send_bytes(&bytes).is_err() {
            return;
        }
    }
    // Confirms, until it is gone.
    while peer.receive().is_ok() {}
}

fn publish_range(program: &Program, numbers: Range<usize>) {
    let mut client = program.connect();
    client.confirm();
    let count = numbers.len() as u64;
    for number in numbers {
        publish(&mut client, "x", "", &number.to_string());
        publish(&mut client, "", "once", &number.to_string());
    }
    client.expect_confirms_up_to(2 * count);
}

const KILLS: usize = 20;
