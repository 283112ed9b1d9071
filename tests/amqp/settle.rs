//! What clients say of the messages they hold: ack, nack, reject, recover (AMQP 0-9-1 §1.8.3.13).

use leveret::wire::amqp::{Method, basic};

use crate::support::{RawClient, TestBroker};

/// A client that holds the messages 1 to `count` of the queue `q`, by tags of the same numbers.
fn holding(broker: &TestBroker, count: u64) -> RawClient {
    let mut client = broker.connect();
    client.declare_queue("q");
    for n in 1..=count {
        client.publish("", "q", n.to_string());
        assert_eq!(client.get("q").unwrap().delivery_tag, n);
    }
    client
}

fn ack(delivery_tag: u64, multiple: bool) -> Method<'static> {
    basic::Ack {
        delivery_tag,
        multiple,
    }
    .into()
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Method<'static> {
    basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    }
    .into()
}

fn reject(delivery_tag: u64, requeue: bool) -> Method<'static> {
    basic::Reject {
        delivery_tag,
        requeue,
    }
    .into()
}

fn unknown(delivery_tag: u64) -> String {
    format!("PRECONDITION_FAILED - unknown delivery tag {delivery_tag}")
}

#[test]
fn an_acked_message_is_gone() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 1);
    client.ack(1);
    client.close_channel();
    client.open_channel(1);
    assert!(client.get("q").is_none());
}

#[test]
fn unknown_tags_close_channel_with_406() {
    let broker = TestBroker::start();
    for (method, tag) in [
        (ack(9, false), 9),
        (ack(9, true), 9),
        (nack(9, false, true), 9),
        (nack(9, true, true), 9),
        (reject(9, true), 9),
        (ack(0, false), 0),
        (nack(0, false, false), 0),
        (reject(0, false), 0),
        (ack(1 << 63, false), 1 << 63),
    ] {
        let mut client = holding(&broker, 3);
        client.expect_refusal(method, 406, &unknown(tag));
        // What the channel held is back.
        assert_eq!(client.drain("q"), ["1", "2", "3"]);
    }
}

#[test]
fn tag_0_with_multiple_means_all_there_are_even_if_there_are_none() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 3);
    client.send(&ack(0, true));
    client.send(&ack(0, true));
    client.send(&nack(0, true, true));
    client.expect_nothing();
    client.expect_refusal(ack(1, true), 406, &unknown(1));
    assert!(client.get("q").is_none());
}

#[test]
fn a_second_ack_of_the_same_tag_is_an_unknown_tag() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 3);
    client.ack(2);
    client.expect_refusal(ack(2, false), 406, &unknown(2));
    let mut client = holding(&broker, 0);
    assert_eq!(client.drain("q"), ["1", "3"]);
}

#[test]
fn multiple_takes_all_up_to_its_tag_over_holes() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 5);
    client.ack(2);
    client.send(&ack(4, true));
    client.expect_nothing();
    client.expect_refusal(ack(1, false), 406, &unknown(1));
    assert_eq!(client.drain("q"), ["5"]);
}

#[test]
fn multiple_with_a_tag_that_is_settled_is_refused() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 3);
    client.ack(2);
    client.expect_refusal(ack(2, true), 406, &unknown(2));
}

#[test]
fn requeued_messages_go_back_to_their_places() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 3);
    client.publish("", "q", "4");
    client.send(&nack(3, true, true));
    for body in ["1", "2", "3"] {
        let got = client.get("q").unwrap();
        assert_eq!((got.text(), got.redelivered), (body, true));
    }
    // In whatever order they are given back.
    client.requeue(5);
    client.requeue(6);
    client.requeue(4);
    assert_eq!(client.drain("q"), ["1", "2", "3", "4"]);
}

#[test]
fn refused_messages_without_requeue_are_dropped() {
    let broker = TestBroker::start();
    let mut client = holding(&broker, 4);
    client.send(&reject(1, false));
    client.send(&nack(2, false, false));
    client.send(&nack(4, true, false));
    assert!(client.get("q").is_none());
    client.close_channel();
    client.open_channel(1);
    assert!(client.get("q").is_none());
}

#[test]
fn a_rejected_message_comes_again_to_its_only_consumer() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.publish("", "q", "again and again");
    for n in 1..=3 {
        let delivery = client.expect_delivery();
        assert_eq!((delivery.delivery_tag, delivery.redelivered), (n, n > 1));
        client.requeue(n);
    }
}

#[test]
fn a_requeued_message_goes_to_who_can_take_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "a");
    client.publish("", "q", "m");
    assert_eq!(client.expect_delivery().consumer_tag, "a");
    client.consume("q", "b");
    client.cancel("a");
    client.requeue(1);
    let again = client.expect_delivery();
    assert_eq!(
        (again.consumer_tag.as_str(), again.redelivered),
        ("b", true)
    );
}

#[test]
fn recover_requeues_all_and_answers_first() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    client.expect_bodies(2);
    client.call(basic::Recover { requeue: true });
    for (tag, body) in [(3, "1"), (4, "2")] {
        let delivery = client.expect_delivery();
        assert_eq!((delivery.delivery_tag, delivery.text()), (tag, body));
        assert!(delivery.redelivered);
    }
    client.send(&basic::RecoverAsync { requeue: true });
    assert_eq!(client.expect_bodies(2), ["1", "2"]);
    client.expect_nothing();
}

#[test]
fn recover_without_requeue_is_not_implemented() {
    let broker = TestBroker::start();
    let methods: [Method<'_>; 2] = [
        basic::Recover { requeue: false }.into(),
        basic::RecoverAsync { requeue: false }.into(),
    ];
    for method in methods {
        let mut client = holding(&broker, 1);
        client.send(&method);
        let ids = client.expect_connection_close(540, "NOT_IMPLEMENTED - requeue=false");
        assert_eq!(ids, leveret::wire::amqp::EncodeMethod::ids(&method));
    }
}

#[test]
fn thousands_of_messages_can_be_settled_at_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    for n in 0..5000 {
        client.publish("", "q", n.to_string());
    }
    client.expect_bodies(5000);
    client.send(&nack(4000, true, true));
    let again = client.expect_bodies(4000);
    assert!(
        again
            .iter()
            .enumerate()
            .all(|(n, body)| *body == n.to_string())
    );
    client.send(&ack(0, true));
    client.close_channel();
    client.open_channel(1);
    assert!(client.get("q").is_none());
}
