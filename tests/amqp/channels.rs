//! Channels: open, close, limits, and what is said on them while they end (AMQP 0-9-1 §2.2.5).

use leveret::wire::amqp::{Method, access, basic, channel, connection, queue};

use crate::support::{Login, TestBroker};

fn passive(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..Default::default()
    }
}

const NO_QUEUE: &str = "NOT_FOUND - no queue 'none' in vhost '/'";

#[test]
fn a_second_open_is_a_channel_error() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&channel::Open::default());
    let ids = client.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen");
    assert_eq!(ids, (20, 10));
}

#[test]
fn a_channel_must_be_opened_first() {
    let broker = TestBroker::start();
    let methods: [Method<'_>; 5] = [
        queue::Declare::default().into(),
        basic::Publish::default().into(),
        channel::Close::default().into(),
        channel::CloseOk {}.into(),
        connection::Close::default().into(),
    ];
    for method in methods {
        let mut client = broker.connect();
        client.send_on(9, &method);
        let ids = client.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'");
        assert_eq!(ids, leveret::wire::amqp::EncodeMethod::ids(&method));
    }
}

#[test]
fn channels_are_limited_in_number() {
    let broker = TestBroker::start();
    let mut client = broker.log_in(&Login {
        channel_max: 3,
        ..Login::default()
    });
    client.open_channel(2);
    // Any numbers may be used: it is how many they are that counts.
    client.open_channel(65_535);
    client.send_on(4, &channel::Open::default());
    client.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)",
    );
}

#[test]
fn a_closed_channel_makes_room_for_another() {
    let broker = TestBroker::start();
    let mut client = broker.log_in(&Login {
        channel_max: 1,
        ..Login::default()
    });
    for number in [2, 3, 1] {
        client.close_channel();
        client.open_channel(number);
    }
    client.declare_queue("q");
}

#[test]
fn a_channel_exception_spares_the_connection_and_its_other_channels() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.open_channel(2);
    client.declare_queue("q");
    client.consume("q", "c");
    client.switch_to(1);
    client.send(&passive("none"));
    assert_eq!(client.expect_channel_close(404, NO_QUEUE), (50, 10));
    client.switch_to(2);
    client.publish("", "q", "still here");
    assert_eq!(client.expect_delivery().text(), "still here");
}

#[test]
fn a_closing_channel_reads_over_everything_until_close_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.send(&passive("none"));
    // Sent before the client could know.
    client.declare_queue_nowait("lost");
    client.publish("", "q", "lost");
    client.ack(7);
    client.expect_channel_close(404, NO_QUEUE);
    client.open_channel(1);
    assert_eq!(client.counts("q"), (0, 0));
    let lost = "NOT_FOUND - no queue 'lost' in vhost '/'";
    client.expect_refusal(passive("lost"), 404, lost);
}

#[test]
fn two_errors_at_once_close_the_channel_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&passive("none"));
    client.send(&passive("none either"));
    client.expect_channel_close(404, NO_QUEUE);
    client.expect_nothing();
}

#[test]
fn when_both_sides_close_a_channel_each_gets_its_answer() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&passive("none"));
    client.send(&channel::Close::default());
    client.expect_channel_close(404, NO_QUEUE);
    client.expect("channel.close-ok");
    client.open_channel(1);
}

#[test]
fn a_channel_cannot_be_opened_again_before_close_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&passive("none"));
    client.expect("channel.close");
    client.send(&channel::Open::default());
    client.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen");
}

#[test]
fn close_ok_unasked_is_no_method_for_the_broker() {
    let broker = TestBroker::start();
    let methods: [Method<'_>; 6] = [
        channel::CloseOk {}.into(),
        channel::FlowOk { active: true }.into(),
        basic::CancelOk::default().into(),
        queue::DeclareOk::default().into(),
        basic::Deliver::default().into(),
        connection::Close::default().into(),
    ];
    for method in methods {
        let mut client = broker.connect();
        client.send(&method);
        let ids = client.expect_connection_close(503, "COMMAND_INVALID - unimplemented method");
        assert_eq!(ids, leveret::wire::amqp::EncodeMethod::ids(&method));
    }
}

#[test]
fn a_connection_can_be_closed_while_a_channel_waits_for_close_ok() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send(&passive("none"));
    client.expect("channel.close");
    client.close();
}

#[test]
fn after_a_connection_exception_only_the_end_is_heard() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_on(0, &queue::Declare::default());
    client.declare_queue_nowait("lost");
    client.expect_on(0, "connection.close");
    client.send_on(0, &connection::Close::default());
    client.expect_on(0, "connection.close-ok");
    client.expect_end();
    let mut other = broker.connect();
    let lost = "NOT_FOUND - no queue 'lost' in vhost '/'";
    other.expect_refusal(passive("lost"), 404, lost);
}

#[test]
fn delivery_tags_begin_again_on_a_new_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    assert_eq!(client.get("q").unwrap().delivery_tag, 1);
    client.close_channel();
    client.open_channel(1);
    let again = client.get("q").unwrap();
    assert_eq!((again.delivery_tag, again.redelivered), (1, true));
}

#[test]
fn deliveries_are_settled_on_their_own_channel() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    client.publish("", "q", "m");
    client.get("q").unwrap();
    client.open_channel(2);
    client.ack(1);
    client.expect_channel_close(406, "PRECONDITION_FAILED - unknown delivery tag 1");
}

#[test]
fn flow_can_be_affirmed_and_not_stopped() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let flow_ok = client.call(channel::Flow { active: true });
    assert_eq!(flow_ok.method(), channel::FlowOk { active: true }.into());
    client.send(&channel::Flow { active: false });
    let ids = client.expect_connection_close(540, "NOT_IMPLEMENTED - active=false");
    assert_eq!(ids, (20, 20));
}

#[test]
fn access_tickets_are_handed_out_for_nothing() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let ok = client.call(access::Request {
        realm: b"/data",
        active: true,
        ..Default::default()
    });
    assert_eq!(ok.method(), access::RequestOk { ticket: 1 }.into());
}
