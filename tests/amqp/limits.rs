//! Queues that hold no more than they were told (RabbitMQ: `x-max-length`, `x-max-length-bytes`,
//! `x-overflow`). Only what is ready counts.

use leveret::wire::amqp::{Properties, TableBuilder, Value, basic, queue, tx};

use crate::support::{Arguments, RawClient, TestBroker, died, publish_to, to_queue};

const REJECT: (&str, Value<'_>) = ("x-overflow", Value::LongString(b"reject-publish"));
const REJECT_TO_DEAD: (&str, Value<'_>) = ("x-overflow", Value::LongString(b"reject-publish-dlx"));

/// A broker, and a client of it that has declared the queue `q` so and gets confirms.
fn limited(arguments: &Arguments<'_>) -> (TestBroker, RawClient) {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", arguments);
    client.confirm();
    (broker, client)
}

/// Publishes the bodies one after the other; which of them were acked.
fn publish_all(client: &mut RawClient, bodies: &[&str]) -> Vec<bool> {
    let publish = |body: &&str| client.publish_confirmed("q", body);
    bodies.iter().map(publish).collect()
}

#[test]
fn the_oldest_make_room_for_the_newest() {
    let (_broker, mut client) = limited(&[("x-max-length", 2.into())]);
    assert_eq!(publish_all(&mut client, &["0", "1", "2", "3"]), [true; 4]);
    assert_eq!(client.counts("q"), (2, 0));
    assert_eq!(client.drain("q"), ["2", "3"]);
}

#[test]
fn bytes_of_bodies_are_limited_too() {
    let (_broker, mut client) = limited(&[("x-max-length-bytes", 10.into())]);
    let bodies = ["aaaa", "bbbb", "cc", "d", "eeee", ""];
    assert_eq!(publish_all(&mut client, &bodies), [true; 6]);
    assert_eq!(client.drain("q"), ["cc", "d", "eeee", ""]);
    // One that is too large for an empty queue does not stay.
    let bodies = ["aaaa", "bbbbbbbbbbb"];
    assert_eq!(publish_all(&mut client, &bodies), [true; 2]);
    assert_eq!(client.drain("q"), [""; 0]);
}

#[test]
fn headers_do_not_count_as_bytes() {
    let (_broker, mut client) = limited(&[("x-max-length-bytes", 2.into())]);
    let mut headers = TableBuilder::new();
    headers.put("long", "a value that is longer than the limit");
    for body in ["a", "b"] {
        client.publish_headers("q", headers.view(), body);
        assert!(client.verdict());
    }
    assert_eq!(client.drain("q"), ["a", "b"]);
}

#[test]
fn of_two_limits_either_counts() {
    let (_broker, mut client) =
        limited(&[("x-max-length", 3.into()), ("x-max-length-bytes", 6.into())]);
    publish_all(&mut client, &["a", "b", "c", "d"]);
    assert_eq!(client.drain("q"), ["b", "c", "d"]);
    publish_all(&mut client, &["aaa", "bbb", "c"]);
    assert_eq!(client.drain("q"), ["bbb", "c"]);
}

#[test]
fn a_limit_of_0_is_for_waiting_consumers_only() {
    let (broker, mut client) = limited(&[("x-max-length", 0.into())]);
    assert_eq!(publish_all(&mut client, &["0", "1"]), [true; 2]);
    assert_eq!(client.drain("q"), [""; 0]);
    let mut consumer = broker.connect();
    consumer.prefetch(1, false);
    consumer.consume("q", "c");
    assert_eq!(publish_all(&mut client, &["2", "3"]), [true; 2]);
    assert_eq!(consumer.expect_delivery().text(), "2");
    consumer.ack(1);
    consumer.expect_nothing();
}

#[test]
fn what_is_dropped_goes_to_the_dead_letters_in_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-max-length", 2.into())]);
    for n in 0..10 {
        client.publish("", "q", n.to_string());
    }
    client.await_count("dead", 8);
    let first = client.await_message("dead");
    assert_eq!(first.text(), "0");
    assert_eq!(first.deaths(), [died("q", "maxlen", 1)]);
    assert_eq!(client.drain("dead"), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(client.drain("q"), ["8", "9"]);
}

#[test]
fn unacked_messages_do_not_count() {
    let (_broker, mut client) = limited(&[("x-max-length", 1.into())]);
    publish_all(&mut client, &["held"]);
    client.await_unacked("q");
    publish_all(&mut client, &["ready"]);
    assert_eq!(client.counts("q"), (1, 0));
    // It comes back in front of the other, and the front is what goes.
    client.requeue(1);
    assert_eq!(client.drain("q"), ["ready"]);
}

#[test]
fn requeued_messages_leave_a_full_queue_as_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-max-length", 2.into())]);
    for body in ["1", "2"] {
        client.publish("", "q", body);
        client.await_unacked("q");
    }
    for body in ["3", "4"] {
        client.publish("", "q", body);
    }
    client.nack(0, true, true);
    client.await_count("dead", 2);
    assert_eq!(client.drain("dead"), ["1", "2"]);
    assert_eq!(client.drain("q"), ["3", "4"]);
}

#[test]
fn many_more_than_a_queue_holds_pass_through_it() {
    let (_broker, mut client) = limited(&[("x-max-length", 10.into())]);
    for n in 0..20_000 {
        client.publish("", "q", n.to_string());
    }
    client.expect_confirms_up_to(20_000);
    let expected: Vec<_> = (19_990..20_000).map(|n| n.to_string()).collect();
    assert_eq!(client.drain("q"), expected);
}

#[test]
fn a_full_queue_may_reject_what_is_published() {
    let (_broker, mut client) = limited(&[("x-max-length", 2.into()), REJECT]);
    let bodies = ["0", "1", "2", "3"];
    assert_eq!(
        publish_all(&mut client, &bodies),
        [true, true, false, false]
    );
    assert_eq!(client.await_message("q").text(), "0");
    assert!(client.publish_confirmed("q", "4"));
    assert_eq!(client.drain("q"), ["1", "4"]);
}

#[test]
fn a_queue_full_by_bytes_may_reject_too() {
    let (_broker, mut client) = limited(&[("x-max-length-bytes", 3.into()), REJECT]);
    let bodies = ["0", "1", "2", "3"];
    assert_eq!(publish_all(&mut client, &bodies), [true, true, true, false]);
    assert_eq!(client.drain("q"), ["0", "1", "2"]);
}

#[test]
fn a_rejected_message_is_not_returned() {
    let (_broker, mut client) = limited(&[("x-max-length", 1.into()), REJECT]);
    for is_acked in [true, false] {
        client.publish_mandatory("", "q", "m");
        assert_eq!(client.verdict(), is_acked);
    }
    client.expect_nothing();
}

#[test]
fn without_confirms_a_rejected_message_is_just_gone() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-max-length", 1.into()), REJECT]);
    for body in ["kept", "gone"] {
        client.publish_mandatory("", "q", body);
    }
    client.expect_nothing();
    assert_eq!(client.drain("q"), ["kept"]);
}

#[test]
fn one_full_queue_of_several_is_enough_for_a_nack() {
    let (_broker, mut client) = limited(&[("x-max-length", 1.into()), REJECT]);
    client.declare_queue("free");
    for name in ["q", "free"] {
        client.bind_queue(name, "amq.fanout", "");
    }
    for is_acked in [true, false] {
        client.publish("amq.fanout", "", "m");
        assert_eq!(client.verdict(), is_acked);
    }
    assert_eq!(client.counts("q"), (1, 0));
    assert_eq!(client.counts("free"), (2, 0));
}

#[test]
fn acks_and_nacks_of_a_burst_tell_exactly_what_was_taken() {
    let (_broker, mut client) = limited(&[("x-max-length", 100.into()), REJECT]);
    client.declare_queue("free");
    for n in 0..400 {
        client.publish("", if n % 2 == 0 { "q" } else { "free" }, n.to_string());
    }
    let verdicts = verdicts(&mut client, 400);
    for (n, is_acked) in verdicts.into_iter().enumerate() {
        assert_eq!(is_acked, n % 2 == 1 || n < 200, "message {n}");
    }
    assert_eq!(client.counts("q"), (100, 0));
    assert_eq!(client.counts("free"), (200, 0));
}

/// Acks wait for the disk and nacks do not, and still no ack may take a nacked message along.
#[test]
fn acks_of_stored_messages_do_not_hide_nacks() {
    let place = tempfile::tempdir().unwrap();
    let broker = TestBroker::with(|config| config.data_dir = Some(place.path().to_owned()));
    let mut client = broker.connect();
    client.declare_durable_with("q", &[("x-max-length", 100.into()), REJECT]);
    client.declare_durable_with("free", &[]);
    client.confirm();
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    for n in 0..400 {
        let queue = if n % 2 == 0 { "q" } else { "free" };
        client.publish_with("", queue, &persistent, n.to_string());
    }
    for (n, is_acked) in verdicts(&mut client, 400).into_iter().enumerate() {
        assert_eq!(is_acked, n % 2 == 1 || n < 200, "message {n}");
    }
    assert_eq!(client.counts("q"), (100, 0));
    assert_eq!(client.counts("free"), (200, 0));
}

/// What is said of the next `count` messages, each exactly once.
fn verdicts(client: &mut RawClient, count: usize) -> Vec<bool> {
    use leveret::wire::amqp::Method;
    let mut said: Vec<Option<bool>> = vec![None; count];
    while said.contains(&None) {
        let received = client.receive();
        let (tag, multiple, is_acked) = match received.method() {
            Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple, true),
            Method::BasicNack(nack) => (nack.delivery_tag, nack.multiple, false),
            _ => panic!("a confirm was due, and what came was {received}"),
        };
        let last = tag as usize - 1;
        if !multiple {
            assert_eq!(said[last], None, "twice: {received}");
        }
        let first = if multiple { 0 } else { last };
        for of in &mut said[first..=last] {
            of.get_or_insert(is_acked);
        }
    }
    said.into_iter().flatten().collect()
}

#[test]
fn a_rejected_message_may_go_to_the_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let arguments = [("x-max-length", 2.into()), REJECT_TO_DEAD];
    client.declare_mortal("q", "dead", &arguments);
    client.confirm();
    let bodies = ["0", "1", "2", "3"];
    assert_eq!(
        publish_all(&mut client, &bodies),
        [true, true, false, false]
    );
    client.await_count("dead", 2);
    let delivery = client.await_message("dead");
    assert_eq!(delivery.text(), "2");
    assert_eq!(delivery.deaths(), [died("q", "maxlen", 1)]);
    assert_eq!(client.drain("dead"), ["3"]);
    assert_eq!(client.drain("q"), ["0", "1"]);
}

#[test]
fn plain_rejection_makes_no_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_mortal("q", "dead", &[("x-max-length", 1.into()), REJECT]);
    client.confirm();
    assert_eq!(publish_all(&mut client, &["0", "1"]), [true, false]);
    assert_eq!(client.counts("dead"), (0, 0));
}

#[test]
fn a_transaction_that_does_not_fit_ends_its_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-max-length", 1.into()), REJECT]);
    client.transact();
    client.publish("", "q", "fits");
    client.commit();
    client.publish("", "q", "does not fit");
    let text = "PRECONDITION_FAILED - partial tx completion";
    client.expect_refusal(tx::Commit {}, 406, text);
    assert_eq!(client.drain("q"), ["fits"]);
}

#[test]
fn of_a_transaction_that_does_not_fit_the_rest_is_taken() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("q", &[("x-max-length", 1.into()), REJECT]);
    client.declare_queue("free");
    client.transact();
    for body in ["1", "2"] {
        client.publish("", "q", body);
        client.publish("", "free", body);
    }
    let text = "PRECONDITION_FAILED - partial tx completion";
    client.expect_refusal(tx::Commit {}, 406, text);
    client.await_count("free", 2);
    assert_eq!(client.drain("q"), ["1"]);
}

#[test]
fn a_message_that_passes_through_a_full_queue_to_a_consumer_is_acked() {
    let (broker, mut client) = limited(&[("x-max-length", 1.into()), REJECT]);
    let mut consumer = broker.connect();
    consumer.consume_no_ack("q", "c");
    for n in 0..10 {
        assert!(client.publish_confirmed("q", n.to_string()));
        assert_eq!(consumer.expect_delivery().text(), n.to_string());
    }
}

#[test]
fn requeued_messages_are_never_rejected() {
    let (_broker, mut client) = limited(&[("x-max-length", 1.into()), REJECT]);
    publish_all(&mut client, &["held"]);
    client.await_unacked("q");
    publish_all(&mut client, &["ready"]);
    client.requeue(1);
    // One more than it takes from publishers.
    client.await_count("q", 2);
    assert!(!client.publish_confirmed("q", "no"));
    assert_eq!(client.drain("q"), ["held", "ready"]);
}

/// RabbitMQ looks at the head only.
#[test]
fn expired_messages_make_room() {
    let (_broker, mut client) = limited(&[("x-max-length", 2.into()), REJECT]);
    assert!(client.publish_confirmed("q", "stays"));
    client.publish_expiring("q", "40", "goes");
    assert!(client.verdict());
    client.await_count("q", 1);
    assert!(client.publish_confirmed("q", "fits"));
    assert_eq!(client.drain("q"), ["stays", "fits"]);
}

#[test]
fn large_bodies_count_in_full() {
    let (_broker, mut client) = limited(&[("x-max-length-bytes", 2_000_000.into())]);
    for letter in [b'a', b'b', b'c'] {
        client.publish("", "q", vec![letter; 900_000]);
        assert!(client.verdict());
    }
    for letter in [b'b', b'c'] {
        assert_eq!(client.await_message("q").body[0], letter);
    }
    assert!(client.get("q").is_none());
}

#[test]
fn purging_makes_room() {
    let (_broker, mut client) = limited(&[
        ("x-max-length", 2.into()),
        ("x-max-length-bytes", 2.into()),
        REJECT,
    ]);
    publish_all(&mut client, &["0", "1"]);
    client.call(queue::Purge {
        queue: b"q",
        ..Default::default()
    });
    let bodies = ["2", "3", "4"];
    assert_eq!(publish_all(&mut client, &bodies), [true, true, false]);
}

#[test]
fn dead_letters_are_dropped_by_a_full_queue_of_dead_letters() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_with("dead", &[("x-max-length", 2.into())]);
    let mut arguments = to_queue("dead").to_vec();
    arguments.push(("x-max-length", 1.into()));
    client.declare_with("q", &arguments);
    for n in 0..6 {
        client.publish("", "q", n.to_string());
    }
    client.settle();
    assert_eq!(client.drain("dead"), ["3", "4"]);
    assert_eq!(client.drain("q"), ["5"]);
}

#[test]
fn a_persistent_message_is_confirmed_though_it_was_dropped_for_the_next() {
    let (_broker, mut client) = limited(&[("x-max-length", 1.into())]);
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    for n in 0..100 {
        client.publish_with("", "q", &persistent, n.to_string());
    }
    client.expect_confirms_up_to(100);
    assert_eq!(client.drain("q"), ["99"]);
}

#[test]
fn an_unroutable_message_beside_a_full_queue_is_returned() {
    let (_broker, mut client) = limited(&[("x-max-length", 0.into()), REJECT]);
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to("", "nowhere")
    };
    client.publish_content(&publish, &[0, 0], "m");
    assert_eq!(client.expect_return().code, 312);
    assert!(client.verdict());
    assert!(!client.publish_confirmed("q", "m"));
}
