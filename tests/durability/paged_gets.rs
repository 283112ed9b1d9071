//! `basic.get` of messages that have to be read back first.

use std::io::Write;

use leveret::wire::amqp::frame::encode_method;
use leveret::wire::amqp::{basic, queue};

use crate::bulk::{body_of, publish_many};
use crate::deep_queues::{Deep, MANY};
use crate::load::declare_queue;
use crate::support::{RawClient, eventually};

fn get(queue: &str, no_ack: bool) -> basic::Get<'_> {
    basic::Get {
        queue: queue.as_bytes(),
        no_ack,
        ..Default::default()
    }
}

/// A broker with a deep queue `q`, whose messages are on the disk, but for the youngest.
fn deep_queue() -> (Deep, RawClient) {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_many(&client.stream, "q", 0..MANY, 100, true);
    client.close();
    deep.restart();
    let client = deep.connect();
    (deep, client)
}

#[test]
fn one_after_the_other() {
    let (deep, mut client) = deep_queue();
    for n in 0..MANY {
        let delivery = client.get_as("q", true).unwrap();
        assert!(delivery.body == body_of(n, 100), "{n}");
        assert_eq!(delivery.message_count, MANY - n - 1);
    }
    assert!(client.get("q").is_none());
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn pipelined_ones_are_answered_in_order_with_all_that_is_between_them() {
    let (deep, mut client) = deep_queue();
    declare_queue(&mut client, "empty");
    let rounds = MANY / 4;
    let mut sender = client.stream.try_clone().unwrap();
    let asking = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 1, &get("q", true));
        encode_method(&mut bytes, 1, &get("empty", true));
        encode_method(&mut bytes, 1, &get("q", false));
        let passive = queue::Declare {
            queue: b"q",
            passive: true,
            ..Default::default()
        };
        encode_method(&mut bytes, 1, &passive);
        for _ in 0..rounds {
            sender.write_all(&bytes).unwrap();
        }
        sender
    });
    let mut tag = 0;
    for round in 0..rounds {
        for (n, left) in [(2 * round, MANY - 2 * round - 1), (2 * round + 1, 0)] {
            let received = client.expect("basic.get-ok");
            let delivery = client.delivery_of(&received);
            assert!(delivery.body == body_of(n, 100), "{n}");
            if left > 0 {
                assert_eq!(delivery.message_count, left);
                client.expect("basic.get-empty");
            } else {
                tag = delivery.delivery_tag;
            }
        }
        client.expect("queue.declare-ok");
    }
    asking.join().unwrap();
    client.send(&basic::Ack {
        delivery_tag: tag,
        multiple: true,
    });
    assert_eq!(client.counts("q").0, MANY / 2);
    client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn several_connections_share_a_queue_and_get_each_message_once() {
    let (deep, client) = deep_queue();
    let getters: Vec<_> = (0..4)
        .map(|_| {
            let mut client = deep.connect();
            std::thread::spawn(move || {
                let taken = std::iter::from_fn(|| client.get_as("q", true));
                let numbers: Vec<u32> = taken.map(|delivery| number(&delivery.body)).collect();
                assert!(numbers.is_sorted());
                client.close();
                numbers
            })
        })
        .collect();
    let mut all: Vec<_> = getters
        .into_iter()
        .flat_map(|getter| getter.join().unwrap())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..MANY));
    client.close();
    deep.expect_nothing_left(&["q"]);
}

fn number(body: &[u8]) -> u32 {
    u32::from_le_bytes(body[..4].try_into().unwrap())
}

#[test]
fn a_connection_that_ends_while_a_get_waits_takes_nothing_with_it() {
    let (deep, mut client) = deep_queue();
    for n in 0..20 {
        let mut other = deep.connect();
        for _ in 0..n {
            other.send(&get("q", false));
        }
        // Not one answer is read; the socket is closed, with or without a word.
        if n % 2 == 0 {
            drop(other);
        } else {
            other.shut_down_writing();
            while other.receive_any().is_some() {}
        }
    }
    eventually("all is back", || client.counts("q").0 == MANY);
    for n in 0..MANY {
        let delivery = client.get_as("q", true).unwrap();
        assert!(delivery.body == body_of(n, 100), "{n}");
    }
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn a_queue_that_is_deleted_while_a_get_waits_is_a_404_for_it() {
    let (deep, mut client) = deep_queue();
    let mut other = deep.connect();
    // Whichever comes first: the message, or the end of the queue.
    other.send(&get("q", true));
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    let received = other.receive();
    if received.is(1, "basic.get-ok") {
        other.delivery_of(&received);
        other.send(&get("q", true));
        other.expect_channel_close(404, "NOT_FOUND - no queue 'q' in vhost '/'");
    } else {
        assert!(received.is(1, "channel.close"), "{received}");
    }
    drop(other);
    declare_queue(&mut client, "q");
    assert_eq!(client.counts("q"), (0, 0));
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn a_deep_queue_is_consumed_and_asked_at_once() {
    let (deep, mut client) = deep_queue();
    let mut consumer = deep.connect();
    consumer.prefetch(7, false);
    consumer.consume("q", "tag");
    let mut seen = vec![0; MANY as usize];
    let mut note = |body: &[u8]| {
        let n = number(body);
        assert!(body == body_of(n, 100), "{n}");
        seen[n as usize] += 1;
    };
    for _ in 0..MANY / 4 {
        let delivery = consumer.expect_delivery();
        note(&delivery.body);
        consumer.ack(delivery.delivery_tag);
        note(&client.get_as("q", true).unwrap().body);
    }
    // What is on its way to the consumer comes back.
    drop(consumer);
    eventually("the consumer is gone", || client.counts("q").1 == 0);
    while let Some(delivery) = client.get_as("q", true) {
        note(&delivery.body);
    }
    assert!(seen.iter().all(|count| *count == 1));
    client.close();
    deep.expect_nothing_left(&["q"]);
}
