//! `basic.get`: one message by hand.

use leveret::wire::amqp::basic;

use crate::support::TestBroker;

#[test]
fn an_empty_queue_says_so_and_a_missing_one_closes_channel_with_404() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    assert!(client.get("q").is_none());
    let get = basic::Get {
        queue: b"none",
        ..Default::default()
    };
    client.expect_refusal(get, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
}

#[test]
fn a_message_comes_with_the_count_of_those_behind_it() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    for body in ["0", "1", "2"] {
        client.publish("", "q", body);
    }
    let first = client.get("q").unwrap();
    assert_eq!((first.delivery_tag, first.message_count), (1, 2));
    assert_eq!((first.text(), first.redelivered), ("0", false));
    let second = client.get_as("q", true).unwrap();
    assert_eq!((second.delivery_tag, second.message_count), (2, 1));
    client.requeue(1);
    let again = client.get("q").unwrap();
    assert_eq!((again.delivery_tag, again.message_count), (3, 1));
    assert_eq!((again.text(), again.redelivered), ("0", true));
}

#[test]
fn without_ack_there_is_nothing_to_settle() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.get_as("q", true).unwrap();
    client.ack(1);
    client.expect_channel_close(406, "PRECONDITION_FAILED - unknown delivery tag 1");
}

#[test]
fn what_was_got_and_not_acked_goes_back_when_the_channel_closes() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.get("q").unwrap();
    assert!(client.get("q").is_none());
    client.close_channel();
    client.open_channel(1);
    assert!(client.get("q").unwrap().redelivered);
}

#[test]
fn getting_and_consuming_share_a_queue() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.prefetch(1, false);
    client.consume("q", "c");
    for body in ["1", "2", "3"] {
        client.publish("", "q", body);
    }
    assert_eq!(client.expect_delivery().text(), "1");
    assert_eq!(client.get("q").unwrap().text(), "2");
    client.ack(1);
    assert_eq!(client.expect_delivery().text(), "3");
}
