//! Transactions (AMQP 0-9-1 §1.9).

use leveret::wire::amqp::{Method, basic, channel, queue, tx};

use crate::support::TestBroker;

#[test]
fn a_plain_channel_has_nothing_to_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let methods: [Method<'_>; 2] = [tx::Commit {}.into(), tx::Rollback {}.into()];
    for method in methods {
        let text = "PRECONDITION_FAILED - channel is not transactional";
        client.expect_refusal(method, 406, text);
    }
}

#[test]
fn publishes_wait_for_the_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.transact();
    client.transact();
    client.publish("", "q", "1");
    client.publish("", "q", [7; 100_000]);
    assert_eq!(client.counts("q"), (0, 0));
    client.commit();
    assert_eq!(client.counts("q"), (2, 0));
    // The next transaction has begun.
    client.publish("", "q", "3");
    client.call(tx::Rollback {});
    client.commit();
    assert_eq!(client.counts("q"), (2, 0));
}

#[test]
fn acks_wait_for_the_commit_and_a_rollback_takes_them_back() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
        client.get("q").unwrap();
    }
    client.transact();
    client.ack(1);
    client.send(&basic::Nack {
        delivery_tag: 3,
        multiple: true,
        requeue: true,
    });
    assert!(client.get("q").is_none());
    client.call(tx::Rollback {});
    client.ack(1);
    client.send(&basic::Nack {
        delivery_tag: 3,
        multiple: true,
        requeue: true,
    });
    client.commit();
    for body in ["2", "3"] {
        let got = client.get("q").unwrap();
        assert_eq!((got.text(), got.redelivered), (body, true));
    }
    assert!(client.get("q").is_none());
}

#[test]
fn faults_are_found_before_the_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.transact();
    client.get("q").unwrap();
    client.ack(1);
    let again = basic::Ack {
        delivery_tag: 1,
        multiple: false,
    };
    let text = "PRECONDITION_FAILED - unknown delivery tag 1";
    client.expect_refusal(again, 406, text);
    // The ack was never committed.
    assert_eq!(client.drain("q"), ["m"]);
    client.transact();
    client.publish("none", "k", "m");
    client.expect_channel_close(404, "NOT_FOUND - no exchange 'none' in vhost '/'");
}

#[test]
fn mandatory_messages_come_back_before_commit_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.transact();
    client.publish_mandatory("", "nowhere", "m");
    client.expect_nothing();
    client.send(&tx::Commit {});
    assert_eq!(client.expect_return().code, 312);
    client.expect("tx.commit-ok");
}

#[test]
fn a_commit_to_a_queue_that_is_gone_is_a_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.transact();
    client.publish("", "q", "m");
    client.call(queue::Delete {
        queue: b"q",
        ..Default::default()
    });
    client.commit();
}

#[test]
fn what_is_uncommitted_when_the_channel_closes_never_happened() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "kept");
    client.transact();
    client.publish("", "q", "lost");
    client.get("q").unwrap();
    client.ack(1);
    client.call(channel::Close::default());
    client.open_channel(1);
    assert_eq!(client.drain("q"), ["kept"]);
}

#[test]
fn consumers_get_committed_messages_in_order() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let mut consumer = broker.connect();
    consumer.consume_no_ack("q", "c");
    client.transact();
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    client.settle();
    consumer.expect_nothing();
    client.commit();
    assert_eq!(consumer.expect_bodies(3), ["1", "2", "3"]);
}

#[test]
fn credit_is_given_at_the_commit() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "1");
    client.publish("", "q", "2");
    client.transact();
    client.prefetch(1, false);
    client.consume("q", "c");
    client.expect_delivery();
    client.ack(1);
    client.expect_nothing();
    client.send(&tx::Commit {});
    client.expect("tx.commit-ok");
    assert_eq!(client.expect_delivery().text(), "2");
}
