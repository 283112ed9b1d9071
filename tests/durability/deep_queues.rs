//! Queues deeper than memory, in a broker that is allowed very little: order and contents are exact, and
//! nothing is left behind.

use std::fs;
use std::path::Path;

use leveret::wire::amqp::{basic, queue};
use tempfile::TempDir;

use crate::bulk::{body_of, publish_many};
use crate::load::declare_queue;
use crate::program::SPAWNING;
use crate::random::Random;
use crate::support::{RawClient, TestBroker, consume_from, eventually};

/// A broker that pages out beyond a few hundred kilobytes, and its data directory.
pub struct Deep {
    broker: Option<TestBroker>,
    place: TempDir,
}

impl Deep {
    pub fn start() -> Deep {
        let place = tempfile::tempdir().unwrap();
        let broker = Some(start_in(place.path()));
        Deep { broker, place }
    }

    pub fn connect(&self) -> RawClient {
        self.broker.as_ref().unwrap().connect()
    }

    /// Stops it, gracefully, and starts another in the same directory.
    pub fn restart(&mut self) {
        self.broker.take().unwrap().stop();
        self.broker = Some(start_in(self.place.path()));
    }

    /// Nothing is left of what was paged out, and nothing comes back. All queues must be empty.
    #[track_caller]
    pub fn expect_nothing_left(mut self, queues: &[&str]) {
        let spill = self.place.path().join("spill");
        eventually("what was spilled is gone", || {
            fs::read_dir(&spill).unwrap().count() == 0
        });
        self.restart();
        let mut client = self.connect();
        for queue in queues {
            assert_eq!(client.counts(queue), (0, 0), "{queue}");
        }
        client.close();
    }
}

fn start_in(place: &Path) -> TestBroker {
    let _turn = SPAWNING.lock();
    TestBroker::with(|config| {
        config.data_dir = Some(place.to_owned());
        config.limits.messages_bytes_budget = BUDGET_BYTES;
    })
}

/// Takes the next deliveries, which must be these messages; acks them all at the end.
fn expect_messages(client: &mut RawClient, numbers: impl Iterator<Item = u32>, size: usize) {
    let mut last = 0;
    for n in numbers {
        let delivery = client.expect_delivery();
        let same = delivery.body == body_of(n, size);
        assert!(same, "{n} was due, not {:?}", &delivery.body.get(..4));
        last = delivery.delivery_tag;
    }
    client.send(&basic::Ack {
        delivery_tag: last,
        multiple: true,
    });
}

#[test]
fn persistent_messages_come_in_order() {
    fill_and_drain(100, MANY, |_| true);
}

#[test]
fn transient_messages_come_in_order() {
    fill_and_drain(100, MANY, |_| false);
}

#[test]
fn persistent_and_transient_messages_come_in_one_order() {
    fill_and_drain(100, MANY, |n| n % 3 > 0);
}

#[test]
fn large_messages_come_in_order() {
    fill_and_drain(100_000, 300, |n| n % 2 > 0);
}

#[test]
fn tiny_messages_come_in_order() {
    fill_and_drain(1, 2 * MANY, |n| n / 1000 % 2 > 0);
}

fn fill_and_drain(size: usize, count: u32, is_persistent: impl Fn(u32) -> bool) {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_mixed(&mut client, 0..count, size, is_persistent);
    client.settle();
    assert_eq!(client.counts("q").0, count);
    client.consume("q", "tag");
    expect_messages(&mut client, 0..count, size);
    client.expect_nothing();
    client.close();
    deep.expect_nothing_left(&["q"]);
}

fn publish_mixed(
    client: &mut RawClient,
    numbers: impl Iterator<Item = u32>,
    size: usize,
    is_persistent: impl Fn(u32) -> bool,
) {
    let numbers: Vec<_> = numbers.collect();
    for run in numbers.chunk_by(|a, b| is_persistent(*a) == is_persistent(*b)) {
        let persistent = is_persistent(run[0]);
        publish_many(&client.stream, "q", run.iter().copied(), size, persistent);
    }
}

#[test]
fn a_deep_queue_is_consumed_after_a_restart() {
    let mut deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_mixed(&mut client, 0..MANY, 100, |n| n % 2 == 0);
    client.close();
    deep.restart();
    let mut client = deep.connect();
    assert_eq!(client.counts("q").0, MANY / 2);
    client.consume("q", "tag");
    expect_messages(&mut client, (0..MANY).step_by(2), 100);
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn several_queues_take_turns_in_memory() {
    let deep = Deep::start();
    let mut client = deep.connect();
    let names = ["a", "b", "c", "d"];
    for name in names {
        declare_queue(&mut client, name);
    }
    for start in (0..MANY).step_by(1000) {
        for (at, name) in names.iter().enumerate() {
            let numbers = start + 250 * at as u32..start + 250 * (at as u32 + 1);
            publish_many(&client.stream, name, numbers, 100, at % 2 == 0);
        }
    }
    client.settle();
    // In turns again, but each at its own pace and from its own channel.
    for channel in 2..6 {
        client.open_channel(channel);
        client.prefetch(50 * channel, false);
    }
    for (channel, name) in (2..6).zip(names) {
        client.switch_to(channel);
        client.send(&basic::Consume {
            no_wait: true,
            ..consume_from(name, name)
        });
    }
    let mut next: Vec<_> = (0..4).map(numbers_of).collect();
    for _ in 0..MANY {
        let received = client.receive();
        client.switch_to(received.channel);
        let delivery = client.delivery_of(&received);
        let at = names.iter().position(|it| *it == delivery.consumer_tag);
        let n = next[at.unwrap()].next().unwrap();
        assert!(delivery.body == body_of(n, 100), "{n} was due");
        if delivery.delivery_tag.is_multiple_of(25) {
            client.send(&basic::Ack {
                delivery_tag: delivery.delivery_tag,
                multiple: true,
            });
        }
    }
    client.close();
    deep.expect_nothing_left(&names);
}

/// The messages of one of four queues that are filled in turns.
fn numbers_of(at: u32) -> impl Iterator<Item = u32> {
    (0..MANY).filter(move |n| n % 1000 / 250 == at)
}

#[test]
fn publishing_behind_while_consuming_in_front() {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_many(&client.stream, "q", 0..MANY, 100, true);
    client.settle();
    let publisher = deep.connect();
    let behind = std::thread::spawn(move || {
        for start in (MANY..3 * MANY).step_by(500) {
            let persistent = start % 1000 == 0;
            publish_many(&publisher.stream, "q", start..start + 500, 100, persistent);
        }
        publisher.close();
    });
    client.prefetch(300, false);
    client.consume("q", "tag");
    for start in (0..3 * MANY).step_by(100) {
        expect_messages(&mut client, start..start + 100, 100);
    }
    behind.join().unwrap();
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn consumers_that_do_not_ack_leave_nothing() {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_mixed(&mut client, 0..MANY, 100, |n| n % 2 == 0);
    client.consume_no_ack("q", "tag");
    for n in 0..MANY {
        assert!(client.expect_delivery().body == body_of(n, 100), "{n}");
    }
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn what_was_paged_out_goes_back_to_its_place() {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_mixed(&mut client, 0..MANY, 100, |n| n % 2 == 0);
    client.consume("q", "tag");
    let mut random = Random::new(7);
    let mut back = Vec::new();
    for n in 0..MANY {
        let delivery = client.expect_delivery();
        assert!(delivery.body == body_of(n, 100), "{n}");
        if random.percent(10) {
            back.push((n, delivery.delivery_tag));
        } else {
            client.ack(delivery.delivery_tag);
        }
    }
    client.cancel("tag");
    // Held all the while, also when everything around them was paged.
    publish_many(&client.stream, "q", MANY..2 * MANY, 100, false);
    let in_any_order = back.iter().rev();
    in_any_order.for_each(|(_, delivery_tag)| client.requeue(*delivery_tag));
    client.settle();
    client.consume("q", "tag");
    for (n, _) in back {
        let delivery = client.expect_delivery();
        assert!(delivery.redelivered && delivery.body == body_of(n, 100));
        client.ack(delivery.delivery_tag);
    }
    expect_messages(&mut client, MANY..2 * MANY, 100);
    client.close();
    deep.expect_nothing_left(&["q"]);
}

#[test]
fn a_connection_that_ends_gives_back_what_was_paged_out_since() {
    let deep = Deep::start();
    let mut client = deep.connect();
    declare_queue(&mut client, "q");
    publish_mixed(&mut client, 0..MANY, 100, |n| n % 2 == 0);
    client.consume("q", "tag");
    for n in 0..MANY {
        assert!(client.expect_delivery().body == body_of(n, 100), "{n}");
    }
    // With all of them unacked, what is not needed goes to the disk.
    let mut other = deep.connect();
    declare_queue(&mut other, "other");
    publish_many(&other.stream, "other", 0..MANY, 100, true);
    other.settle();
    drop(client);
    eventually("they are back", || other.counts("q") == (MANY, 0));
    other.consume("q", "tag");
    for n in 0..MANY {
        let delivery = other.expect_delivery();
        assert!(delivery.redelivered && delivery.body == body_of(n, 100));
        if n % 100 == 99 {
            other.send(&basic::Ack {
                delivery_tag: delivery.delivery_tag,
                multiple: true,
            });
        }
    }
    other.cancel("tag");
    other.consume("other", "tag");
    expect_messages(&mut other, 0..MANY, 100);
    other.close();
    deep.expect_nothing_left(&["q", "other"]);
}

#[test]
fn purged_and_deleted_while_paged_out_and_while_it_is_read_back() {
    for delete in [false, true] {
        let deep = Deep::start();
        let mut client = deep.connect();
        declare_queue(&mut client, "q");
        publish_mixed(&mut client, 0..MANY, 100, |n| n % 2 == 0);
        client.settle();
        let mut consumer = deep.connect();
        consumer.prefetch(10, false);
        consumer.consume("q", "tag");
        // It waits for a block from the disk, again and again.
        consumer.send(&basic::Ack {
            delivery_tag: 0,
            multiple: true,
        });
        let removed = if delete {
            client.call(queue::Delete {
                queue: b"q",
                ..Default::default()
            })
        } else {
            client.call(queue::Purge {
                queue: b"q",
                ..Default::default()
            })
        };
        drop(removed);
        drop(consumer);
        declare_queue(&mut client, "q");
        eventually("the consumer is gone", || client.counts("q").1 == 0);
        while client.get_as("q", true).is_some() {}
        publish_many(&client.stream, "q", 0..1000, 100, true);
        client.send(&consume_from("q", "again"));
        client.expect("basic.consume-ok");
        expect_messages(&mut client, 0..1000, 100);
        client.close();
        deep.expect_nothing_left(&["q"]);
    }
}

#[test]
fn one_message_in_many_deep_queues() {
    let deep = Deep::start();
    let mut client = deep.connect();
    client.declare_exchange("x", "fanout");
    let names: Vec<_> = (0..5).map(|n| format!("q{n}")).collect();
    for name in &names {
        declare_queue(&mut client, name);
        client.bind_queue(name, "x", "");
    }
    publish_fanout(&mut client);
    client.settle();
    for name in &names {
        client.consume(name, name);
        expect_messages(&mut client, 0..MANY, 100);
        client.cancel(name);
    }
    client.close();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    deep.expect_nothing_left(&names);
}

fn publish_fanout(client: &mut RawClient) {
    use leveret::wire::amqp::Properties;
    for n in 0..MANY {
        let properties = Properties {
            delivery_mode: Some(1 + (n % 2) as u8),
            ..Properties::default()
        };
        client.publish_with("x", "", &properties, body_of(n, 100));
    }
}

/// Enough that most of it has to leave memory.
pub const MANY: u32 = 20_000;
pub const BUDGET_BYTES: usize = 512 << 10;
