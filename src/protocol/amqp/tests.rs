//! Whole machines over one hub, without sockets: what only shows between them.

use std::io::IoSlice;

use crate::broker::SocketKey;
use crate::config::Config;
use crate::protocol::{Hub, Machine, Now, Peer};
use crate::wire::amqp::frame::{self, Frame};
use crate::wire::amqp::properties::NO_PROPERTIES;
use crate::wire::amqp::{
    ArrayBuilder, EncodeMethod, Method, PROTOCOL_HEADER, Properties, TableBuilder, basic, channel,
    connection, queue,
};

struct Client {
    key: SocketKey,
    machine: Machine,
}

fn hub(change: impl FnOnce(&mut Config)) -> Hub {
    let mut config = Config::default();
    change(&mut config);
    let mut drawn = 0;
    Hub::new(
        config,
        Box::new(move || {
            drawn += 1;
            [drawn; 16]
        }),
    )
}

fn now(monotonic_ms: u64) -> Now {
    Now {
        monotonic_ms,
        unix_ms: 0,
    }
}

impl Client {
    /// With channel 1 open.
    fn connect(hub: &mut Hub) -> Self {
        let peer = Peer {
            address: "test".to_owned(),
            local: "test".to_owned(),
            loopback: true,
            tls: None,
        };
        let key = hub.outboxes.open();
        let machine = Machine::new(key, peer, hub, now(0));
        let mut client = Client { key, machine };
        client.machine.on_bytes(&PROTOCOL_HEADER, hub, now(0));
        let start_ok = connection::StartOk {
            mechanism: b"PLAIN",
            response: b"\0guest\0guest",
            ..Default::default()
        };
        client.send(hub, 0, &start_ok);
        let tune_ok = connection::TuneOk {
            channel_max: 10,
            frame_max: 131_072,
            heartbeat: 10,
        };
        client.send(hub, 0, &tune_ok);
        let open = connection::Open {
            virtual_host: b"/",
            ..Default::default()
        };
        client.send(hub, 0, &open);
        client.send(hub, 1, &channel::Open::default());
        client.read(hub);
        client
    }

    fn send(&mut self, hub: &mut Hub, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, channel, method);
        assert_eq!(self.machine.on_bytes(&bytes, hub, now(0)), bytes.len());
    }

    fn publish(&mut self, hub: &mut Hub, routing_key: &[u8], properties: &[u8], body: &[u8]) {
        let publish = basic::Publish {
            routing_key,
            mandatory: true,
            ..Default::default()
        };
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, 1, &publish);
        frame::encode_content_header(&mut bytes, 1, body.len() as u64, properties);
        frame::encode_body(&mut bytes, 1, body);
        assert_eq!(self.machine.on_bytes(&bytes, hub, now(0)), bytes.len());
    }

    /// Names of the methods that were sent to the client.
    fn read(&mut self, hub: &mut Hub) -> Vec<&'static str> {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = hub.outboxes.io_slices(self.key, &mut slices);
        let bytes: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        hub.outboxes.advance(self.key, bytes.len());
        let mut rest = bytes.as_slice();
        let mut names = Vec::new();
        while let Ok(Some((frame, used))) = Frame::decode(rest, 0) {
            rest = &rest[used..];
            if frame.kind == frame::METHOD {
                names.push(Method::decode(frame.payload).unwrap().name());
            }
        }
        names
    }

    fn declare(&mut self, hub: &mut Hub, queue: &[u8]) {
        let declare = queue::Declare {
            queue,
            ..Default::default()
        };
        self.send(hub, 1, &declare);
        assert_eq!(self.read(hub), ["queue.declare-ok"]);
    }
}

#[test]
fn a_message_over_the_limit_is_refused_also_when_it_comes_in_one_piece() {
    let mut hub = hub(|config| config.limits.message_size_max_bytes = 100);
    let mut client = Client::connect(&mut hub);
    client.declare(&mut hub, b"q");
    client.publish(&mut hub, b"q", &NO_PROPERTIES, &[0; 100]);
    assert!(client.read(&mut hub).is_empty());
    client.publish(&mut hub, b"q", &NO_PROPERTIES, &[0; 101]);
    assert_eq!(client.read(&mut hub), ["channel.close"]);
}

#[test]
fn a_publisher_is_woken_also_if_the_alarm_was_raised_again_before_its_turn() {
    let mut hub = hub(|_| {});
    let mut client = Client::connect(&mut hub);
    client.declare(&mut hub, b"q");
    hub.set_blocked(Some("first"));
    client.publish(&mut hub, b"q", &NO_PROPERTIES, b"message");
    assert!(!client.machine.wants_read(&hub));
    for _ in 0..2 {
        hub.set_blocked(None);
        hub.set_blocked(Some("again"));
        let mut woken = Vec::new();
        hub.take_woken(&mut woken);
        assert_eq!(woken, [client.key]);
        client.machine.on_woken(&mut hub, now(0));
        // Being woken for something else does not list it twice.
        client.machine.on_woken(&mut hub, now(0));
        assert!(!client.machine.wants_read(&hub));
    }
    hub.set_blocked(None);
    let mut woken = Vec::new();
    hub.take_woken(&mut woken);
    assert_eq!(woken, [client.key]);
    client.machine.on_woken(&mut hub, now(0));
    assert!(client.machine.wants_read(&hub));
}

#[test]
fn publishers_who_give_up_waiting_are_not_remembered() {
    let mut hub = hub(|_| {});
    hub.set_blocked(Some("for long"));
    for _ in 0..1000 {
        let mut client = Client::connect(&mut hub);
        client.publish(&mut hub, b"nowhere", &NO_PROPERTIES, b"message");
        client.machine.on_disconnect(&mut hub);
        hub.outboxes.close(client.key);
    }
    hub.set_blocked(None);
    let mut woken = Vec::new();
    hub.take_woken(&mut woken);
    assert!(woken.len() < 100);
}

#[test]
fn a_block_without_flags_is_not_taken_for_a_block_that_was_changed() {
    let mut hub = hub(|_| {});
    let mut client = Client::connect(&mut hub);
    client.declare(&mut hub, b"q");
    let mut headers = TableBuilder::new();
    headers.put_array("BCC", &ArrayBuilder::new());
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    client.publish(&mut hub, b"q", &block, b"message");
    client.publish(&mut hub, b"q", b"", b"message");
    assert_eq!(client.read(&mut hub), ["connection.close"]);
}

#[test]
fn a_requester_named_twice_gets_one_answer() {
    let mut hub = hub(|_| {});
    let mut client = Client::connect(&mut hub);
    let consume = basic::Consume {
        queue: b"amq.rabbitmq.reply-to",
        no_ack: true,
        ..Default::default()
    };
    client.send(&mut hub, 1, &consume);
    assert_eq!(client.read(&mut hub), ["basic.consume-ok"]);
    // What this hub drew third: behind the salt of a password and a consumer tag.
    let address = "amq.rabbitmq.reply-to.AwMDAwMDAwMDAwMDAwMDAw";
    let mut keys = ArrayBuilder::new();
    keys.push(address);
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &keys);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Default::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    client.publish(&mut hub, address.as_bytes(), &block, b"answer");
    assert_eq!(client.read(&mut hub), ["basic.deliver"]);
}
