//! Publisher confirms (RabbitMQ: `confirm.select`).

use leveret::wire::amqp::{Properties, channel, confirm, tx};

use crate::support::TestBroker;

#[test]
fn every_message_is_confirmed_routed_or_not() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.confirm();
    client.publish("", "q", "m");
    assert_eq!(client.expect_confirm(), (1, false));
    client.publish("", "nowhere", "m");
    assert_eq!(client.expect_confirm(), (2, false));
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Default::default()
    };
    client.publish_with("", "q", &persistent, "m");
    assert_eq!(client.expect_confirm(), (3, false));
    client.expect_nothing();
}

#[test]
fn a_burst_is_confirmed_up_to_its_last_message() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.confirm();
    for _ in 0..1000 {
        client.publish("", "q", "m");
    }
    client.expect_confirms_up_to(1000);
    client.expect_nothing();
    assert_eq!(client.counts("q"), (1000, 0));
}

#[test]
fn numbers_begin_where_confirms_are_asked_for() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.publish("", "nowhere", "unconfirmed");
    client.confirm();
    client.confirm();
    client.send(&confirm::Select { no_wait: true });
    client.publish("", "nowhere", "m");
    assert_eq!(client.expect_confirm(), (1, false));
    client.close_channel();
    client.open_channel(1);
    client.publish("", "nowhere", "m");
    client.expect_nothing();
    client.confirm();
    client.publish("", "nowhere", "m");
    assert_eq!(client.expect_confirm(), (1, false));
}

#[test]
fn channels_count_for_themselves() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    client.open_channel(2);
    client.confirm();
    for channel in [1, 2, 1] {
        client.switch_to(channel);
        client.publish("", "nowhere", "m");
    }
    client.switch_to(2);
    client.publish("", "nowhere", "m");
    let mut last = [0; 3];
    while last != [0, 2, 2] {
        let received = client.receive();
        match received.method() {
            leveret::wire::amqp::Method::BasicAck(ack) => {
                last[usize::from(received.channel)] = ack.delivery_tag;
            }
            _ => panic!("{received}"),
        }
    }
}

#[test]
fn a_return_comes_before_its_confirm() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    client.publish_mandatory("", "nowhere", "m");
    assert_eq!(client.expect_return().code, 312);
    assert_eq!(client.expect_confirm(), (1, false));
}

#[test]
fn a_delivery_on_the_same_channel_comes_before_its_confirm() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.consume("q", "c");
    client.confirm();
    client.publish("", "q", "m");
    client.expect_delivery();
    client.expect_confirm();
}

#[test]
fn what_was_published_before_a_close_is_confirmed_before_close_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    client.publish("", "nowhere", "m");
    client.send(&channel::Close::default());
    assert_eq!(client.expect_confirm(), (1, false));
    client.expect("channel.close-ok");
}

#[test]
fn what_was_published_before_an_exception_is_confirmed_and_its_cause_is_not() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    client.publish("", "nowhere", "m");
    client.publish("none", "k", "m");
    assert_eq!(client.expect_confirm(), (1, false));
    client.expect_channel_close(404, "NOT_FOUND - no exchange 'none' in vhost '/'");
    client.expect_nothing();
}

#[test]
fn confirms_and_transactions_do_not_mix() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.confirm();
    client.expect_refusal(
        tx::Select {},
        406,
        "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
    );
    client.transact();
    client.expect_refusal(
        confirm::Select::default(),
        406,
        "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
    );
}
