//! `basic.consume`, its fairness and its limits, and how consumers end (AMQP 0-9-1 §1.8.3.3).

use leveret::wire::amqp::{Method, TableBuilder, Value, basic, channel, queue};

use crate::support::{RawClient, TestBroker, consume_from};

const IN_USE: &str = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";

fn exclusive(queue: &'static str, tag: &'static str) -> basic::Consume<'static> {
    basic::Consume {
        exclusive: true,
        ..consume_from(queue, tag)
    }
}

fn consume_with_priority(client: &mut RawClient, tag: &str, priority: i32) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-priority", priority);
    client.call(basic::Consume {
        arguments: arguments.view(),
        ..consume_from("q", tag)
    });
}

fn delete(client: &mut RawClient, queue: &str) {
    client.send(&queue::Delete {
        queue: queue.as_bytes(),
        ..Default::default()
    });
}

/// The tags of the consumers that get the next `count` deliveries.
fn takers(client: &mut RawClient, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| client.expect_delivery().consumer_tag)
        .collect()
}

#[test]
fn a_delivery_says_whom_it_is_for_and_where_it_came_from() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.bind_queue("q", "amq.direct", "key");
    client.consume("q", "me");
    client.publish("amq.direct", "key", "body");
    let delivery = client.expect_delivery();
    assert_eq!(delivery.consumer_tag, "me");
    assert_eq!(delivery.delivery_tag, 1);
    assert_eq!(
        (&*delivery.exchange, &*delivery.routing_key),
        ("amq.direct", "key")
    );
    assert!(!delivery.redelivered);
    assert_eq!(delivery.text(), "body");
}

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    client.consume_no_ack("q", "c");
    assert_eq!(client.expect_bodies(2), ["1", "2"]);
}

#[test]
fn an_empty_tag_gets_one_that_nobody_else_has() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut tags = Vec::new();
    for _ in 0..2 {
        let received = client.call(consume_from("q", ""));
        let Method::BasicConsumeOk(ok) = received.method() else {
            unreachable!("call checked it");
        };
        tags.push(String::from_utf8(ok.consumer_tag.to_vec()).unwrap());
    }
    assert_ne!(tags[0], tags[1]);
    assert!(tags.iter().all(|tag| tag.starts_with("amq.ctag-")));
}

#[test]
fn a_tag_is_free_on_another_channel_and_taken_on_its_own() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.open_channel(2);
    client.consume("q", "c");
    client.send(&basic::Consume {
        no_wait: true,
        ..consume_from("q", "c")
    });
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 'c'";
    assert_eq!(client.expect_connection_close(530, text), (60, 20));
}

#[test]
fn consuming_from_a_missing_queue_closes_channel_with_404() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let text = "NOT_FOUND - no queue 'none' in vhost '/'";
    client.expect_refusal(consume_from("none", "c"), 404, text);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "first");
    let mut other = broker.connect();
    other.expect_refusal(exclusive("q", "c"), 403, IN_USE);
    client.cancel("first");
    client.call(exclusive("q", "alone"));
    other.expect_refusal(consume_from("q", "c"), 403, IN_USE);
    other.expect_refusal(exclusive("q", "c"), 403, IN_USE);
    // Getting by hand is no consuming.
    assert!(other.get("q").is_none());
    client.cancel("alone");
    other.call(exclusive("q", "c"));
}

#[test]
fn an_exclusive_consumer_lets_go_when_its_channel_closes() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.call(exclusive("q", "alone"));
    let mut other = broker.connect();
    other.expect_refusal(consume_from("q", "c"), 403, IN_USE);
    client.close_channel();
    other.consume("q", "c");
}

#[test]
fn two_workers_take_turns() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    let mut one = broker.connect();
    one.consume("q", "one");
    let mut two = broker.connect();
    two.consume("q", "two");
    for body in ["1", "2", "3", "4", "5"] {
        publisher.publish("", "q", body);
    }
    assert_eq!(one.expect_bodies(3), ["1", "3", "5"]);
    assert_eq!(two.expect_bodies(2), ["2", "4"]);
}

#[test]
fn consumers_of_one_channel_take_turns() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for tag in ["a", "b", "c"] {
        client.consume("q", tag);
    }
    for n in 0..7 {
        client.publish("", "q", n.to_string());
    }
    assert_eq!(takers(&mut client, 7), ["a", "b", "c", "a", "b", "c", "a"]);
}

#[test]
fn with_a_prefetch_of_one_work_goes_to_who_is_free() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    let mut busy = broker.connect();
    busy.prefetch(1, false);
    busy.consume("q", "busy");
    let mut free = broker.connect();
    free.prefetch(1, false);
    free.consume("q", "free");
    for n in 0..6 {
        publisher.publish("", "q", n.to_string());
    }
    assert_eq!(busy.expect_delivery().text(), "0");
    for n in 1..6 {
        let delivery = free.expect_delivery();
        assert_eq!(delivery.text(), n.to_string());
        free.ack(delivery.delivery_tag);
    }
    free.expect_nothing();
    busy.expect_nothing();
}

#[test]
fn without_global_a_prefetch_is_for_each_later_consumer() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for n in 0..8 {
        client.publish("", "q", n.to_string());
    }
    client.prefetch(2, false);
    client.consume("q", "two");
    assert_eq!(client.expect_bodies(2), ["0", "1"]);
    client.prefetch(1, false);
    client.consume("q", "one");
    assert_eq!(client.expect_bodies(1), ["2"]);
    client.send(&basic::Ack {
        delivery_tag: 2,
        multiple: true,
    });
    assert_eq!(takers(&mut client, 2), ["two", "two"]);
    client.ack(3);
    assert_eq!(takers(&mut client, 1), ["one"]);
    client.expect_nothing();
}

#[test]
fn with_global_a_prefetch_is_shared_by_the_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.declare_queue("other");
    client.prefetch(3, true);
    client.consume("q", "a");
    client.consume("other", "b");
    for n in 0..3 {
        client.publish("", "q", format!("q{n}"));
        client.publish("", "other", format!("other{n}"));
    }
    assert_eq!(client.expect_bodies(3), ["q0", "other0", "q1"]);
    client.expect_nothing();
    client.ack(1);
    assert_eq!(client.expect_bodies(1).len(), 1);
    client.expect_nothing();
    // Changed while consumers wait, it counts at once; 0 is no limit.
    client.prefetch(0, true);
    assert_eq!(client.expect_bodies(2).len(), 2);
}

#[test]
fn both_kinds_of_prefetch_hold_together() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for n in 0..8 {
        client.publish("", "q", n.to_string());
    }
    client.prefetch(3, true);
    client.prefetch(2, false);
    client.consume("q", "a");
    assert_eq!(takers(&mut client, 2), ["a", "a"]);
    client.consume("q", "b");
    assert_eq!(takers(&mut client, 1), ["b"]);
    client.expect_nothing();
    // Getting by hand is not limited.
    assert_eq!(client.get("q").unwrap().text(), "3");
    client.ack(1);
    assert_eq!(takers(&mut client, 1).len(), 1);
    client.expect_nothing();
}

#[test]
fn a_prefetch_does_not_hold_consumers_who_do_not_ack() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.prefetch(1, false);
    client.consume_no_ack("q", "c");
    for n in 0..5 {
        client.publish("", "q", n.to_string());
    }
    assert_eq!(client.expect_bodies(5).len(), 5);
}

#[test]
fn a_prefetch_in_bytes_is_not_implemented() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&basic::Qos {
        prefetch_size: 7,
        prefetch_count: 1,
        global: false,
    });
    let text = "NOT_IMPLEMENTED - prefetch_size!=0 (7)";
    assert_eq!(client.expect_connection_close(540, text), (60, 10));
}

#[test]
fn higher_priorities_are_served_first_and_equals_take_turns() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.prefetch(1, false);
    consume_with_priority(&mut client, "low", -5);
    consume_with_priority(&mut client, "high", 5);
    client.prefetch(2, false);
    client.consume("q", "middle1");
    client.consume("q", "middle2");
    for n in 0..6 {
        client.publish("", "q", n.to_string());
    }
    assert_eq!(
        takers(&mut client, 6),
        ["high", "middle1", "middle2", "middle1", "middle2", "low"]
    );
    client.publish("", "q", "next");
    client.expect_nothing();
    client.ack(1);
    assert_eq!(takers(&mut client, 1), ["high"]);
}

#[test]
fn a_priority_must_be_an_integer() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for (value, kind) in [
        (Value::string("high"), "longstr"),
        (Value::double(1.5), "double"),
    ] {
        let mut arguments = TableBuilder::new();
        arguments.put("x-priority", value);
        let consume = basic::Consume {
            arguments: arguments.view(),
            ..consume_from("q", "c")
        };
        let text = format!(
            "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected \
             integer, got {kind}\""
        );
        client.expect_refusal(consume, 406, &text);
    }
}

#[test]
fn an_offset_is_for_streams() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut arguments = TableBuilder::new();
    arguments.put("x-stream-offset", "first");
    let consume = basic::Consume {
        arguments: arguments.view(),
        ..consume_from("q", "c")
    };
    let text = "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q' in vhost '/' of \
                queue type rabbit_classic_queue";
    client.expect_refusal(consume, 406, text);
}

#[test]
fn unknown_arguments_and_no_local_are_ignored() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut arguments = TableBuilder::new();
    arguments
        .put("x-cancel-on-ha-failover", true)
        .put("x-foo", "bar");
    client.call(basic::Consume {
        no_local: true,
        arguments: arguments.view(),
        ..consume_from("q", "c")
    });
    client.publish("", "q", "own");
    assert_eq!(client.expect_delivery().text(), "own");
}

#[test]
fn what_was_published_before_a_cancel_is_delivered_before_cancel_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.publish("", "q", "last");
    client.send(&basic::Cancel {
        consumer_tag: b"c",
        no_wait: false,
    });
    assert_eq!(client.expect_delivery().text(), "last");
    client.expect("basic.cancel-ok");
    client.publish("", "q", "too late");
    client.expect_nothing();
    // What it held stays with the channel.
    client.ack(1);
    assert_eq!(client.drain("q"), ["too late"]);
}

#[test]
fn cancelling_an_unknown_tag_is_fine() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for consumer_tag in [&b"unknown"[..], b""] {
        let received = client.call(basic::Cancel {
            consumer_tag,
            no_wait: false,
        });
        assert_eq!(received.method(), basic::CancelOk { consumer_tag }.into());
    }
}

#[test]
fn a_consumer_whose_queue_is_deleted_is_told_after_delete_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    delete(&mut client, "q");
    client.expect("queue.delete-ok");
    let received = client.expect("basic.cancel");
    let expected = basic::Cancel {
        consumer_tag: b"c",
        no_wait: true,
    };
    assert_eq!(received.method(), expected.into());
    // The tag is free again.
    client.declare_queue("q");
    client.consume("q", "c");
}

#[test]
fn consumers_on_other_channels_and_connections_are_told_too() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "held");
    client.consume("q", "c");
    client.expect_delivery();
    client.open_channel(2);
    let mut other = broker.connect();
    other.consume("q", "o");
    delete(&mut client, "q");
    client.expect("queue.delete-ok");
    client.switch_to(1);
    client.expect("basic.cancel");
    other.expect("basic.cancel");
    client.ack(1);
    client.expect_nothing();
}

#[test]
fn a_client_that_did_not_announce_it_is_not_told() {
    let broker = TestBroker::start();
    let mut client = broker.connect_plain();
    client.declare_queue("q");
    client.consume("q", "c");
    delete(&mut client, "q");
    client.expect("queue.delete-ok");
    client.expect_nothing();
}

#[test]
fn a_dead_consumers_messages_go_to_the_next_at_once() {
    let broker = TestBroker::start();
    let mut dying = broker.connect();
    dying.declare_queue("q");
    dying.consume("q", "c");
    for body in ["1", "2", "3"] {
        dying.publish("", "q", body);
    }
    let first = dying.expect_delivery();
    dying.expect_bodies(2);
    dying.ack(first.delivery_tag);
    dying.expect_nothing();
    let mut heir = broker.connect();
    heir.consume("q", "heir");
    drop(dying);
    for body in ["2", "3"] {
        let delivery = heir.expect_delivery();
        assert_eq!((delivery.text(), delivery.redelivered), (body, true));
    }
}

#[test]
fn a_closed_channel_gives_its_messages_back_in_their_places() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["1", "2", "3", "4"] {
        client.publish("", "q", body);
    }
    client.open_channel(2);
    client.prefetch(2, false);
    client.consume("q", "c");
    client.expect_bodies(2);
    client.call(channel::Close::default());
    client.switch_to(1);
    assert_eq!(client.drain("q"), ["1", "2", "3", "4"]);
}

#[test]
fn a_deep_queue_goes_to_its_consumers_in_turn_and_in_order() {
    let broker = TestBroker::start();
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    for n in 0..3000 {
        publisher.publish("", "q", n.to_string());
    }
    publisher.expect_nothing();
    let mut client = broker.connect();
    client.prefetch(1000, false);
    client.consume("q", "a");
    let first = client.expect_bodies(1000);
    client.consume("q", "b");
    let second = client.expect_bodies(1000);
    client.send(&basic::Ack {
        delivery_tag: 2000,
        multiple: true,
    });
    let third = client.expect_bodies(1000);
    let all = [first, second, third].concat();
    assert!(
        all.iter()
            .enumerate()
            .all(|(n, body)| *body == n.to_string())
    );
}
