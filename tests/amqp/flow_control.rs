//! Bounds on what waits for a socket: messages stay in their queues, and who does not read its answers
//! is not read.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use leveret::wire::amqp::{channel, frame};

use crate::support::{PATIENCE, RawClient, TestBroker, eventually};

fn small_receive_buffer(client: &RawClient) {
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_recv_buffer_size(20_000).unwrap();
}

#[test]
fn a_consumer_that_does_not_read_leaves_its_messages_to_others() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes_max = 50_000);
    let mut stuck = broker.connect();
    small_receive_buffer(&stuck);
    stuck.declare_queue("q");
    stuck.consume_no_ack("q", "stuck");
    let mut publisher = broker.connect();
    publisher.confirm();
    let mut body = vec![7; 20_000];
    for n in 0..1000u32 {
        body[..4].copy_from_slice(&n.to_be_bytes());
        publisher.publish("", "q", &body);
    }
    publisher.expect_confirms_up_to(1000);
    let (ready, _) = publisher.counts("q");
    assert!(ready > 400, "{ready} of 1000 are left");

    let mut other = broker.connect();
    other.consume_no_ack("q", "other");
    let mut numbers: Vec<u32> = (0..ready)
        .map(|_| number_of(&other.expect_delivery().body))
        .collect();
    assert!(numbers.is_sorted());
    // The stuck one finds what was sent to it, and goes on with what comes now.
    let mut of_stuck: Vec<u32> = (ready..1000)
        .map(|_| number_of(&stuck.expect_delivery().body))
        .collect();
    assert!(of_stuck.is_sorted());
    numbers.append(&mut of_stuck);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000), "each once");
    publisher.publish("", "q", "next");
    publisher.publish("", "q", "and next");
    assert_eq!(stuck.expect_bodies(1).len(), 1);
    assert_eq!(other.expect_bodies(1).len(), 1);
}

fn number_of(body: &[u8]) -> u32 {
    u32::from_be_bytes(*body.first_chunk().unwrap())
}

#[test]
fn a_deep_queue_flows_to_a_slow_reader_in_order() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes_max = 50_000);
    let mut publisher = broker.connect();
    publisher.declare_queue("q");
    let mut body = vec![7; 20_000];
    for n in 0..1000u32 {
        body[..4].copy_from_slice(&n.to_be_bytes());
        publisher.publish("", "q", &body);
    }
    let mut slow = broker.connect();
    small_receive_buffer(&slow);
    slow.consume_no_ack("q", "slow");
    publisher.expect_nothing();
    for n in 0..1000 {
        assert_eq!(number_of(&slow.expect_delivery().body), n);
    }
    assert_eq!(publisher.counts("q"), (0, 1));
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_and_goes_on_later() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes_max = 10_000);
    let mut client = broker.connect();
    small_receive_buffer(&client);
    let mut call = Vec::new();
    frame::encode_method(&mut call, 1, &channel::Flow { active: true });
    let calls = call.repeat(10_000);
    let patience = Duration::from_millis(500);
    client.stream.set_write_timeout(Some(patience)).unwrap();
    let mut sent = 0;
    loop {
        match client.stream.write(&calls[sent % calls.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 200 << 20, "the broker takes everything");
    }
    let mut other = broker.connect();
    other.declare_queue("served");

    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let whole = sent.div_ceil(call.len());
    for n in 0..whole {
        if n == whole / 2 {
            // There is room for the rest of the last call by now.
            client.send_bytes(&calls[sent % call.len()..][..whole * call.len() - sent]);
        }
        client.expect("channel.flow-ok");
    }
    client.expect_nothing();
}

#[test]
fn answers_to_a_requester_that_does_not_read_do_not_fill_the_memory() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes_max = 10_000);
    let mut server = broker.connect();
    server.declare_queue("q");
    let mut client = broker.connect();
    small_receive_buffer(&client);
    client.call(leveret::wire::amqp::basic::Consume {
        no_ack: true,
        ..crate::support::consume_from("amq.rabbitmq.reply-to", "r")
    });
    let properties = leveret::wire::amqp::Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Default::default()
    };
    client.publish_with("", "q", &properties, "ask");
    client.expect_nothing();
    let request = server.get_as("q", true).unwrap();
    let address = request.properties().reply_to.unwrap();
    let address = std::str::from_utf8(address).unwrap();
    server.confirm();
    for _ in 0..1000 {
        server.publish("", address, vec![7; 20_000]);
    }
    server.publish("", "q", "the end");
    server.expect_confirms_up_to(1001);
    let mut answers = 0;
    // Those beyond the bound are lost: no queue keeps them.
    eventually("the requester has read what there is", || {
        client.send(&channel::Flow { active: true });
        loop {
            let received = client.receive();
            if received.is(1, "channel.flow-ok") {
                return true;
            }
            assert_eq!(client.delivery_of(&received).body.len(), 20_000);
            answers += 1;
        }
    });
    assert!((1..900).contains(&answers), "{answers}");
}
