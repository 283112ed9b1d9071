//! Messages that overtake others (RabbitMQ: `x-max-priority`).

use leveret::wire::amqp::{basic, queue};

use crate::support::{RawClient, TestBroker, died, ms};

/// A broker, and a client of it that has declared the queue `q` with this highest priority.
fn with_priorities(max: i32) -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-max-priority", max.into())]);
    (broker, client)
}

/// Publishes a message for each priority, which is also its body.
fn publish_each(client: &mut RawClient, priorities: &[u8]) {
    for &priority in priorities {
        client.publish_priority("q", priority, priority.to_string());
    }
}

#[test]
fn higher_priorities_are_delivered_first() {
    let (_broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[1, 5, 3, 0, 4, 2]);
    client.consume_no_ack("q", "c");
    assert_eq!(client.expect_bodies(6), ["5", "4", "3", "2", "1", "0"]);
}

#[test]
fn no_priority_is_the_lowest_and_what_is_above_the_highest_is_the_highest() {
    let (_broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[1, 5]);
    client.publish("", "q", "none");
    publish_each(&mut client, &[3, 9, 0]);
    client.await_count("q", 6);
    assert_eq!(client.drain("q"), ["5", "9", "3", "1", "none", "0"]);
}

#[test]
fn messages_of_one_priority_keep_their_order() {
    let (_broker, mut client) = with_priorities(10);
    for n in 0..1000 {
        client.publish_priority("q", (n * 7 % 12) as u8, n.to_string());
    }
    client.await_count("q", 1000);
    let mut expected: Vec<_> = (0..1000).collect();
    expected.sort_by_key(|n| std::cmp::Reverse((n * 7 % 12).min(10)));
    let expected: Vec<_> = expected.into_iter().map(|n| n.to_string()).collect();
    assert_eq!(client.drain("q"), expected);
}

#[test]
fn there_may_be_255_priorities() {
    let (_broker, mut client) = with_priorities(255);
    let all: Vec<u8> = (0..=255).collect();
    publish_each(&mut client, &all);
    client.await_count("q", 256);
    let expected: Vec<_> = (0..=255).rev().map(|n| n.to_string()).collect();
    assert_eq!(client.drain("q"), expected);
}

#[test]
fn a_queue_without_priorities_does_not_look_at_them() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    publish_each(&mut client, &[1, 5, 3]);
    assert_eq!(client.drain("q"), ["1", "5", "3"]);
}

#[test]
fn the_priority_is_passed_on_as_it_was_sent() {
    let (_broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[200]);
    assert_eq!(client.await_message("q").properties().priority, Some(200));
}

#[test]
fn getting_counts_all_priorities() {
    let (_broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[1, 2, 3]);
    client.await_count("q", 3);
    let got = client.get("q").unwrap();
    assert_eq!((got.text(), got.message_count), ("3", 2));
    assert_eq!(client.counts("q"), (2, 0));
}

#[test]
fn a_consumer_at_its_limit_gets_the_highest_next() {
    let (broker, mut client) = with_priorities(5);
    let mut consumer = broker.connect();
    consumer.prefetch(1, false);
    consumer.consume("q", "c");
    publish_each(&mut client, &[0]);
    assert_eq!(consumer.expect_delivery().text(), "0");
    publish_each(&mut client, &[1, 2, 5, 3]);
    client.await_count("q", 4);
    for (tag, body) in [(2, "5"), (3, "3"), (4, "2"), (5, "1")] {
        consumer.ack(tag - 1);
        let delivery = consumer.expect_delivery();
        assert_eq!((delivery.delivery_tag, delivery.text()), (tag, body));
    }
}

#[test]
fn a_requeued_message_goes_back_to_its_place_among_its_priority() {
    let (_broker, mut client) = with_priorities(5);
    for (priority, body) in [(1, "1a"), (5, "5a"), (5, "5b"), (1, "1b")] {
        client.publish_priority("q", priority, body);
    }
    for body in ["5a", "5b", "1a"] {
        assert_eq!(client.await_unacked("q").text(), body);
    }
    client.publish_priority("q", 5, "5c");
    client.publish_priority("q", 3, "3a");
    client.nack(0, true, true);
    client.await_count("q", 6);
    assert_eq!(client.drain("q"), ["5a", "5b", "5c", "3a", "1a", "1b"]);
}

#[test]
fn what_a_closed_channel_held_goes_back_to_its_place() {
    let (broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[2, 4, 1, 3]);
    client.await_count("q", 4);
    let mut consumer = broker.connect();
    consumer.consume("q", "c");
    assert_eq!(consumer.expect_bodies(4), ["4", "3", "2", "1"]);
    publish_each(&mut client, &[5]);
    assert_eq!(consumer.expect_delivery().text(), "5");
    consumer.close_channel();
    client.await_count("q", 5);
    assert_eq!(client.drain("q"), ["5", "4", "3", "2", "1"]);
}

#[test]
fn messages_expire_whatever_their_priority() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal(
        "q",
        "dead",
        &[("x-max-priority", 5.into()), ("x-message-ttl", 100.into())],
    );
    let began = std::time::Instant::now();
    publish_each(&mut client, &[1, 5, 3]);
    client.await_count("dead", 3);
    assert!(began.elapsed() >= ms(99));
    assert_eq!(client.counts("q"), (0, 0));
    let mut bodies = client.drain("dead");
    bodies.sort();
    assert_eq!(bodies, ["1", "3", "5"]);
}

/// RabbitMQ looks at the head of each priority only.
#[test]
fn messages_expire_behind_others_of_their_priority() {
    use leveret::wire::amqp::Properties;
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-max-priority", 5.into())]);
    for priority in [1, 5] {
        client.publish_priority("q", priority, format!("{priority} stays"));
        let properties = Properties {
            priority: Some(priority),
            expiration: Some(b"40"),
            ..Properties::default()
        };
        client.publish_with("", "q", &properties, format!("{priority} goes"));
    }
    client.await_count("dead", 2);
    assert_eq!(client.drain("q"), ["5 stays", "1 stays"]);
}

/// As in RabbitMQ: the limit takes from the head, and the head is the highest priority.
#[test]
fn a_limit_drops_what_would_be_delivered_next() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal(
        "q",
        "dead",
        &[("x-max-priority", 5.into()), ("x-max-length", 2.into())],
    );
    publish_each(&mut client, &[5, 1, 3]);
    let delivery = client.await_message("dead");
    assert_eq!(delivery.text(), "5");
    assert_eq!(delivery.deaths(), [died("q", "maxlen", 1)]);
    assert_eq!(client.drain("q"), ["3", "1"]);
}

#[test]
fn bytes_are_limited_over_all_priorities() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with(
        "q",
        &[
            ("x-max-priority", 5.into()),
            ("x-max-length-bytes", 6.into()),
            ("x-overflow", "reject-publish".into()),
        ],
    );
    client.confirm();
    for (priority, body, is_acked) in [(1, "aaa", true), (4, "bbb", true), (5, "c", false)] {
        client.publish_priority("q", priority, body);
        assert_eq!(client.verdict(), is_acked);
    }
    assert_eq!(client.drain("q"), ["bbb", "aaa"]);
}

#[test]
fn dead_letters_keep_their_priority() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("dead", &[("x-max-priority", 5.into())]);
    client.declare_with("q", &crate::support::to_queue("dead"));
    publish_each(&mut client, &[1, 5, 3]);
    for _ in 0..3 {
        client.reject_next("q");
    }
    client.await_count("dead", 3);
    assert_eq!(client.drain("dead"), ["5", "3", "1"]);
}

#[test]
fn purge_and_delete_count_all_priorities() {
    let (_broker, mut client) = with_priorities(5);
    let count = |received: crate::support::Received| {
        use leveret::wire::amqp::Method;
        match received.method() {
            Method::QueuePurgeOk(ok) => ok.message_count,
            Method::QueueDeleteOk(ok) => ok.message_count,
            _ => unreachable!("call checked it"),
        }
    };
    publish_each(&mut client, &[1, 5, 3]);
    let purged = client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    assert_eq!(count(purged), 3);
    publish_each(&mut client, &[2, 4]);
    let deleted = client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    assert_eq!(count(deleted), 2);
}

#[test]
fn a_waiting_consumer_gets_whatever_comes() {
    let (broker, mut client) = with_priorities(5);
    let mut consumer = broker.connect();
    consumer.consume_no_ack("q", "c");
    for priority in [3, 0, 5, 1] {
        publish_each(&mut client, &[priority]);
        assert_eq!(consumer.expect_delivery().text(), priority.to_string());
    }
}

#[test]
fn recovering_gives_the_highest_first() {
    let (_broker, mut client) = with_priorities(5);
    publish_each(&mut client, &[1, 3]);
    client.await_count("q", 2);
    client.consume("q", "c");
    assert_eq!(client.expect_bodies(2), ["3", "1"]);
    client.call(basic::Recover { requeue: true });
    assert_eq!(client.expect_bodies(2), ["3", "1"]);
}
