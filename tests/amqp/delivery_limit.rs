//! Messages that fail again and again (RabbitMQ: `x-delivery-limit`, `x-delivery-count`). RabbitMQ has this
//! for quorum queues only, here every queue has it. What counts is what failed (RabbitMQ 4.3): a message
//! that was rejected or whose channel ended, not one that a consumer gave back with `basic.nack`.

use leveret::wire::amqp::{ArrayBuilder, Properties, TableBuilder, Value, basic};

use crate::support::{RawClient, TestBroker, died, to_queue};

const CLASSIC: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"classic"));
const QUORUM: (&str, Value<'_>) = ("x-queue-type", Value::LongString(b"quorum"));

fn limit(count: i32) -> (&'static str, Value<'static>) {
    ("x-delivery-limit", Value::SignedInt(count))
}

/// Declares the durable queue `q` of this kind, with dead letters to `dead`.
fn declare(client: &mut RawClient, kind: (&str, Value<'_>), limit: Option<(&str, Value<'_>)>) {
    client.declare_queue("dead");
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(kind);
    arguments.extend(limit);
    client.declare_durable_with("q", &arguments);
}

/// Rejects the message in `q` until it is not there any more; how often it had been delivered before,
/// by what it said, each time.
fn counts_until_death(client: &mut RawClient) -> Vec<i64> {
    let mut counts = Vec::new();
    client.await_count("q", 1);
    while let Some(delivery) = client.get("q") {
        assert_eq!(delivery.redelivered, !counts.is_empty());
        counts.push(delivery.delivery_count());
        client.requeue(delivery.delivery_tag);
        client.settle();
        if client.counts("dead").0 > 0 {
            break;
        }
        assert!(counts.len() < 100, "it does not die");
    }
    counts
}

#[test]
fn a_message_that_fails_too_often_is_a_dead_letter() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(2)));
        client.publish("", "q", "m");
        assert_eq!(counts_until_death(&mut client), [0, 1, 2]);
        let delivery = client.await_message("dead");
        assert_eq!(delivery.deaths(), [died("q", "delivery_limit", 1)]);
        assert_eq!(delivery.header("x-delivery-count"), None);
        assert!(!delivery.redelivered);
        assert_eq!(client.counts("q"), (0, 0));
    }
}

#[test]
fn a_consumer_sees_the_count_too() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(2)));
        client.consume("q", "c");
        client.publish("", "q", "m");
        for count in 0..=2 {
            let delivery = client.expect_delivery();
            assert_eq!(delivery.delivery_count(), count);
            assert_eq!(delivery.redelivered, count > 0);
            client.requeue(delivery.delivery_tag);
        }
        assert_eq!(client.await_message("dead").text(), "m");
    }
}

#[test]
fn a_queue_that_has_to_do_with_failures_counts_them() {
    let retries = [
        ("x-delayed-retry-type", Value::string("returned")),
        ("x-delayed-retry-min", 1.into()),
    ];
    for arguments in [&[QUORUM][..], &[CLASSIC, limit(100)], &retries] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        client.declare_durable_with("q", arguments);
        client.publish("", "q", "m");
        for count in 0..10 {
            let delivery = client.await_unacked("q");
            assert_eq!(delivery.delivery_count(), count);
            client.requeue(delivery.delivery_tag);
        }
    }
}

#[test]
fn a_closed_channel_counts_as_a_failure() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(2)));
        client.publish("", "q", "m");
        for count in 0..=2 {
            assert_eq!(client.await_unacked("q").delivery_count(), count);
            client.close_channel();
            client.open_channel(1);
        }
        let delivery = client.await_message("dead");
        assert_eq!(delivery.deaths(), [died("q", "delivery_limit", 1)]);
    }
}

#[test]
fn a_lost_connection_counts_as_a_failure_of_all_it_held() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(1)));
        for body in ["1", "2", "3"] {
            client.publish("", "q", body);
        }
        for count in 0..=1 {
            let mut consumer = broker.connect();
            consumer.consume("q", "c");
            for body in ["1", "2", "3"] {
                let delivery = consumer.expect_delivery();
                assert_eq!((delivery.text(), delivery.delivery_count()), (body, count));
            }
            drop(consumer);
        }
        client.await_count("dead", 3);
        assert_eq!(client.drain("dead"), ["1", "2", "3"]);
    }
}

/// RabbitMQ before 4.3 counts these.
#[test]
fn what_a_consumer_gives_back_with_nack_has_not_failed() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(1)));
        client.publish("", "q", "m");
        for _ in 0..10 {
            let delivery = client.await_unacked("q");
            assert_eq!(delivery.delivery_count(), 0);
            client.nack(delivery.delivery_tag, false, true);
        }
        assert_eq!(client.await_unacked("q").delivery_count(), 0);
        assert_eq!(client.counts("dead"), (0, 0));
    }
}

#[test]
fn with_a_limit_of_0_there_is_no_second_delivery() {
    for kind in [QUORUM, CLASSIC] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, Some(limit(0)));
        client.publish("", "q", "m");
        assert_eq!(counts_until_death(&mut client), [0]);
    }
}

/// RabbitMQ since 4.0.
#[test]
fn a_quorum_queue_has_a_limit_of_20_unless_it_says_otherwise() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, QUORUM, None);
    client.publish("", "q", "m");
    let expected: Vec<_> = (0..=20).collect();
    assert_eq!(counts_until_death(&mut client), expected);
}

#[test]
fn minus_1_is_no_limit_and_a_classic_queue_has_none() {
    for (kind, limit) in [(QUORUM, Some(limit(-1))), (CLASSIC, None)] {
        let broker = TestBroker::start();
        let mut client = broker.connect();
        declare(&mut client, kind, limit);
        client.publish("", "q", "m");
        for count in 0..40 {
            let delivery = client.await_unacked("q");
            assert_eq!(delivery.redelivered, count > 0);
            client.requeue(delivery.delivery_tag);
        }
        assert_eq!(client.counts("dead"), (0, 0));
    }
}

#[test]
fn without_dead_letters_a_message_that_fails_too_often_is_gone() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with("q", &[QUORUM, limit(1)]);
    client.publish("", "q", "m");
    client.publish("", "q", "next");
    for _ in 0..2 {
        let delivery = client.await_unacked("q");
        assert_eq!(delivery.text(), "m");
        client.requeue(delivery.delivery_tag);
    }
    let next = client.await_unacked("q");
    assert_eq!((next.text(), next.delivery_count()), ("next", 0));
}

#[test]
fn each_queue_counts_for_itself() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for name in ["a", "b"] {
        client.declare_durable_with(name, &[QUORUM]);
        client.bind_queue(name, "amq.fanout", "");
    }
    client.publish("amq.fanout", "", "m");
    for count in 0..3 {
        let delivery = client.await_unacked("a");
        assert_eq!(delivery.delivery_count(), count);
        client.requeue(delivery.delivery_tag);
    }
    assert_eq!(client.await_unacked("b").delivery_count(), 0);
}

#[test]
fn the_count_takes_the_place_of_what_a_client_wrote_there() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with("q", &[QUORUM]);
    let mut values = ArrayBuilder::new();
    values.push(1).push("two");
    let mut headers = TableBuilder::new();
    headers
        .put("before", "b")
        .put("x-delivery-count", 7)
        .put_array("after", &values);
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(headers.view()),
        priority: Some(1),
        timestamp: Some(9),
        ..Properties::default()
    };
    client.publish_with("", "q", &properties, "m");
    let delivery = client.await_unacked("q");
    client.requeue(delivery.delivery_tag);
    let delivery = client.await_unacked("q");
    assert_eq!(delivery.delivery_count(), 1);
    assert_eq!(delivery.header("before"), Some(Value::string("b")));
    let after = delivery.header("after");
    assert_eq!(after, Some(Value::Array(values.view())));
    let got = delivery.properties();
    assert_eq!(
        Properties {
            headers: properties.headers,
            ..got
        },
        properties
    );
    let counts = got.headers.unwrap().iter();
    let counts = counts.filter(|(name, _)| *name == b"x-delivery-count");
    assert_eq!(counts.count(), 1);
}

#[test]
fn a_large_message_is_counted_as_a_small_one() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, CLASSIC, Some(limit(1)));
    let body = vec![b'x'; 500_000];
    client.publish("", "q", &body);
    for count in 0..=1 {
        let delivery = client.await_unacked("q");
        assert!(delivery.body == body);
        assert_eq!(delivery.delivery_count(), count);
        client.requeue(delivery.delivery_tag);
    }
    assert!(client.await_message("dead").body == body);
}

#[test]
fn failing_messages_keep_their_place() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, CLASSIC, Some(limit(3)));
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    for count in 0..3 {
        let delivery = client.await_unacked("q");
        assert_eq!((delivery.text(), delivery.delivery_count()), ("1", count));
        client.requeue(delivery.delivery_tag);
    }
    assert_eq!(client.drain("q"), ["1", "2", "3"]);
}

#[test]
fn recovering_is_no_failure() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, CLASSIC, Some(limit(0)));
    client.publish("", "q", "m");
    client.await_unacked("q");
    client.call(basic::Recover { requeue: true });
    assert_eq!(client.await_unacked("q").delivery_count(), 0);
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_rejection_in_a_transaction_counts_when_it_is_committed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    declare(&mut client, CLASSIC, Some(limit(1)));
    client.publish("", "q", "m");
    let tag = client.await_unacked("q").delivery_tag;
    client.transact();
    client.requeue(tag);
    client.call(leveret::wire::amqp::tx::Rollback {});
    client.requeue(tag);
    client.commit();
    assert_eq!(client.await_unacked("q").delivery_count(), 1);
}

#[test]
fn a_dead_letter_starts_to_count_anew() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_durable_with("dead", &[QUORUM]);
    let mut arguments = to_queue("dead").to_vec();
    arguments.extend([QUORUM, limit(1)]);
    client.declare_durable_with("q", &arguments);
    client.publish("", "q", "m");
    for _ in 0..2 {
        let delivery = client.await_unacked("q");
        client.requeue(delivery.delivery_tag);
    }
    let delivery = client.await_unacked("dead");
    assert_eq!(delivery.delivery_count(), 0);
    client.requeue(delivery.delivery_tag);
    assert_eq!(client.await_unacked("dead").delivery_count(), 1);
}
