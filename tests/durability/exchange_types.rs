//! Exchanges of all types over a restart: they are there, of the same type, and lead the same ways.

use leveret::wire::amqp::{TableBuilder, Value, exchange, queue};

use crate::load::declare_queue;
use crate::program::Home;
use crate::support::RawClient;

const QUEUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

type Argument = Option<(&'static str, &'static str)>;

/// Name, type, argument.
const EXCHANGES: [(&str, &str, Argument); 7] = [
    ("hash", "x-consistent-hash", Some(("hash-header", "h"))),
    ("ring", "x-consistent-hash", Some(("x-algorithm", "ring"))),
    ("modulus", "x-modulus-hash", None),
    ("random", "x-random", None),
    ("local", "x-local-random", None),
    ("history", "x-recent-history", None),
    (
        "delayed",
        "x-delayed-message",
        Some(("x-delayed-type", "x-modulus-hash")),
    ),
];

fn declare(client: &mut RawClient, name: &str, kind: &str, argument: Argument) {
    let mut arguments = TableBuilder::new();
    if let Some((name, value)) = argument {
        arguments.put(name, Value::string(value));
    }
    client.call(exchange::Declare {
        exchange: name.as_bytes(),
        kind: kind.as_bytes(),
        durable: true,
        arguments: arguments.view(),
        ..Default::default()
    });
}

/// What each queue gets of a hundred messages with keys of their own.
fn spread(client: &mut RawClient, exchange: &str) -> Vec<Vec<String>> {
    for key in 0..100 {
        let key = key.to_string();
        client.publish(exchange, &key, &key);
    }
    QUEUES.iter().map(|queue| client.drain(queue)).collect()
}

#[test]
fn keys_keep_their_queues_over_a_restart() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    // Some that go again, so that places in tables and the order of bindings are not what they were.
    for name in ["gone 1", "gone 2", "gone 3"] {
        declare_queue(&mut client, name);
    }
    for queue in QUEUES {
        declare_queue(&mut client, queue);
    }
    for (name, kind, argument) in EXCHANGES {
        declare(&mut client, name, kind, argument);
        for (queue, weight) in QUEUES.iter().rev().zip(["1", "2", "3", "1", "2", "3"]) {
            client.bind_queue(queue, name, weight);
        }
    }
    for name in ["gone 1", "gone 3"] {
        client.call(queue::Delete {
            queue: name.as_bytes(),
            ..Default::default()
        });
    }
    let before = EXCHANGES.map(|(name, ..)| spread(&mut client, name));
    // Once killed, once stopped.
    program.kill();
    let program = home.start();
    check(&mut program.connect(), &before);
    program.stop();
    let program = home.start();
    check(&mut program.connect(), &before);
}

fn check(client: &mut RawClient, before: &[Vec<Vec<String>>]) {
    for ((name, kind, argument), before) in EXCHANGES.into_iter().zip(before) {
        declare(client, name, kind, argument);
        let after = spread(client, name);
        match kind {
            "x-random" | "x-local-random" => {
                assert_eq!(after.iter().map(Vec::len).sum::<usize>(), 100, "{name}");
            }
            _ => assert_eq!(&after, before, "{name}"),
        }
    }
}
