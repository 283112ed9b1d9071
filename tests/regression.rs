//! One test per bug that was found, by the fuzz targets or by reading.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use leveret::broker::DEFAULT_VIRTUAL_HOST;
use leveret::broker::journal::QueueId;
use leveret::broker::message::MessageId;
use leveret::broker::policy::PolicyKind;
use leveret::config::{Config, Limits};
use leveret::protocol::{Hub, Machine, Now, Peer, SocketKey};
use leveret::wire::amqp::frame::{self, encode_method};
use leveret::wire::amqp::{
    ArrayBuilder, Properties, TableBuilder, basic, channel, connection, exchange, queue,
};

#[path = "fuzz/mod.rs"]
mod fuzz;

use fuzz::world::{World, handshake, publish};

const FRAME_MAX: u32 = 131_072;

fn world() -> World {
    World::new(Limits::default())
}

/// A client with channel 1 open and a queue `q`.
fn client_with_queue(world: &mut World) -> usize {
    let client = world.open(FRAME_MAX);
    world.send_method(client, 1, &channel::Open::default());
    let declare = queue::Declare {
        queue: b"q",
        ..queue::Declare::default()
    };
    world.send_method(client, 1, &declare);
    client
}

#[test]
fn a_client_that_errs_again_while_it_is_closed_is_told_once() {
    for second in [&b"nonsense"[..], &[8, 0, 1, 0, 0, 0, 0, frame::END]] {
        let mut world = world();
        let client = world.open(FRAME_MAX);
        // No such channel, then something that is wrong on any channel.
        world.send_method(client, 7, &basic::QosOk {});
        world.send(client, second);
        let transcript = &world.clients[client].transcript;
        assert_eq!(transcript.count("connection.close"), 1);
        world.send_method(client, 0, &connection::CloseOk {});
        assert!(world.clients[client].gone);
    }
}

#[test]
fn a_close_ok_behind_garbage_is_seen_in_two_pieces() {
    let mut world = world();
    let client = world.open(FRAME_MAX);
    let mut bytes = b"garbage".to_vec();
    encode_method(&mut bytes, 0, &connection::CloseOk {});
    for byte in bytes {
        assert!(!world.clients[client].gone);
        world.send(client, &[byte]);
    }
    assert!(world.clients[client].gone);
}
#[test]
fn a_message_without_a_property_block_is_refused_behind_one_that_was_changed() {
    let mut world = world();
    let client = client_with_queue(&mut world);
    let mut keys = ArrayBuilder::new();
    keys.push("q");
    let mut headers = TableBuilder::new();
    headers.put_array("BCC", &keys);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    world.send(client, &publish(1, b"", b"q", &block, b"changed"));
    world.send(client, &publish(1, b"", b"q", b"", b"without flags"));
    let transcript = &world.clients[client].transcript;
    assert_eq!(transcript.count("connection.close"), 1);
}

#[test]
fn a_long_chain_of_auto_delete_exchanges_goes_with_its_last() {
    const LENGTH: usize = 20_000;
    let mut world = world();
    let client = world.open(FRAME_MAX);
    let name = |n: usize| format!("e{n}").into_bytes();
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 1, &channel::Open::default());
    for n in 0..LENGTH {
        let declare = exchange::Declare {
            exchange: &name(n),
            kind: b"fanout",
            auto_delete: true,
            no_wait: true,
            ..exchange::Declare::default()
        };
        encode_method(&mut bytes, 1, &declare);
        if n > 0 {
            let bind = exchange::Bind {
                source: &name(n - 1),
                destination: &name(n),
                no_wait: true,
                ..exchange::Bind::default()
            };
            encode_method(&mut bytes, 1, &bind);
        }
    }
    world.send(client, &bytes);
    let delete = exchange::Delete {
        exchange: &name(LENGTH - 1),
        ..exchange::Delete::default()
    };
    world.send_method(client, 1, &delete);
    let check = exchange::Declare {
        exchange: &name(0),
        passive: true,
        ..exchange::Declare::default()
    };
    world.send_method(client, 1, &check);
    let transcript = &world.clients[client].transcript;
    assert_eq!(transcript.count("channel.close"), 1, "the first is gone");
}
/// A property block whose CC header repeats `key`.
fn carbon_copies(key: &str, count: usize) -> Vec<u8> {
    let mut keys = ArrayBuilder::new();
    for _ in 0..count {
        keys.push(key);
    }
    let mut headers = TableBuilder::new();
    headers.put_array("CC", &keys);
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    block
}

#[test]
fn many_keys_times_many_queues_take_no_memory() {
    const COUNT: usize = 3_000;
    for exchange in [&b"amq.fanout"[..], b"amq.topic"] {
        let mut world = world();
        let client = world.open(FRAME_MAX);
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 1, &channel::Open::default());
        for n in 0..COUNT {
            let name = format!("q{n}").into_bytes();
            let declare = queue::Declare {
                queue: &name,
                no_wait: true,
                ..queue::Declare::default()
            };
            let bind = queue::Bind {
                queue: &name,
                exchange,
                routing_key: b"#",
                no_wait: true,
                ..queue::Bind::default()
            };
            encode_method(&mut bytes, 1, &declare);
            encode_method(&mut bytes, 1, &bind);
        }
        world.send(client, &bytes);
        let block = carbon_copies("", COUNT);
        let before = world.held();
        world.send(client, &publish(1, exchange, b"", &block, b"one"));
        let taken = world.held() - before;
        assert!(taken < 1 << 20, "{taken} bytes");
    }
}

#[test]
fn a_requester_gets_an_answer_once_however_often_it_is_addressed() {
    let mut world = world();
    let client = client_with_queue(&mut world);
    let consume = basic::Consume {
        queue: b"amq.rabbitmq.reply-to",
        no_ack: true,
        ..basic::Consume::default()
    };
    world.send_method(client, 1, &consume);
    let reply_to = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Properties::default()
    };
    let mut block = Vec::new();
    reply_to.encode(&mut block);
    world.send(client, &publish(1, b"", b"q", &block, b"question"));
    // The second name that the broker has made; the first is the consumer's tag.
    let address = world.generated_name("amq.rabbitmq.reply-to.", 2);
    let copies = carbon_copies(&address, 100);
    let answer = publish(1, b"", address.as_bytes(), &copies, b"answer");
    world.send(client, &answer);
    let transcript = &world.clients[client].transcript;
    assert_eq!(transcript.count("basic.deliver"), 1);
}
#[test]
fn an_announced_body_takes_no_room_before_it_comes() {
    for body_size in [100 << 20, 4 << 30, u64::MAX] {
        let limits = Limits {
            message_size_max_bytes: u64::MAX,
            ..Limits::default()
        };
        let mut world = World::new(limits);
        let client = world.open(FRAME_MAX);
        let mut bytes = Vec::new();
        for number in 1..=1000 {
            encode_method(&mut bytes, number, &channel::Open::default());
            let method = basic::Publish {
                routing_key: b"q",
                ..basic::Publish::default()
            };
            encode_method(&mut bytes, number, &method);
            frame::encode_content_header(&mut bytes, number, body_size, &[0, 0]);
            frame::encode_body(&mut bytes, number, b"x");
        }
        world.send(client, &bytes);
        let held = world.held();
        assert!(held < 4 << 20, "{held} bytes for 1,000 bodies of one byte");
        assert!(world.clients[client].transcript.close.is_none());
    }
}

#[test]
fn messages_in_many_queues_count_towards_the_memory_alarm() {
    let limits = Limits {
        messages_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let client = world.open(FRAME_MAX);
    world.send_method(client, 1, &channel::Open::default());
    for n in 0..1000 {
        let name = format!("q{n}").into_bytes();
        let declare = queue::Declare {
            queue: &name,
            ..queue::Declare::default()
        };
        let bind = queue::Bind {
            queue: &name,
            exchange: b"amq.fanout",
            ..queue::Bind::default()
        };
        world.send_method(client, 1, &declare);
        world.send_method(client, 1, &bind);
    }
    for _ in 0..100 {
        world.send(client, &publish(1, b"amq.fanout", b"", &[0, 0], b"x"));
    }
    assert!(world.hub.alarm().is_some());
    let published = world.hub.core.counters.published;
    assert!(published < 100, "{published} messages of 16 kB came in");
}
#[test]
fn thousands_of_consumers_of_one_queue_come_and_go_quickly() {
    const COUNT: usize = 30_000;
    let mut world = world();
    let client = client_with_queue(&mut world);
    let mut bytes = Vec::new();
    for n in 0..COUNT {
        let tag = format!("c{n}");
        let consume = basic::Consume {
            queue: b"q",
            consumer_tag: tag.as_bytes(),
            no_wait: true,
            ..basic::Consume::default()
        };
        encode_method(&mut bytes, 1, &consume);
    }
    let started = Instant::now();
    world.send(client, &bytes);
    world.send_method(client, 1, &channel::Close::default());
    // Walking over all of them for each took a minute in a debug build, and this takes half a second.
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    assert_eq!(
        world.clients[client].transcript.count("channel.close-ok"),
        1
    );
}

/// Declares a queue with this argument on channel 1, and binds it to `amq.fanout`.
fn declare_bound(world: &mut World, client: usize, name: &[u8], argument: (&str, i32)) {
    let mut arguments = TableBuilder::new();
    arguments.put(argument.0, argument.1);
    let declare = queue::Declare {
        queue: name,
        arguments: arguments.view(),
        ..queue::Declare::default()
    };
    world.send_method(client, 1, &declare);
    let bind = queue::Bind {
        queue: name,
        exchange: b"amq.fanout",
        ..queue::Bind::default()
    };
    world.send_method(client, 1, &bind);
}

#[test]
fn a_message_that_one_queue_drops_at_once_is_whole_in_the_next() {
    for argument in [("x-max-length", 0), ("x-message-ttl", 0)] {
        let mut world = world();
        let client = world.open(FRAME_MAX);
        world.send_method(client, 1, &channel::Open::default());
        declare_bound(&mut world, client, b"before", argument);
        declare_bound(&mut world, client, b"q", ("x-max-length", 10));
        declare_bound(&mut world, client, b"behind", argument);
        let block = leveret::wire::amqp::properties::NO_PROPERTIES;
        world.send(client, &publish(1, b"amq.fanout", b"", &block, b"whole"));
        let inventory = world.hub.core.inventory();
        assert_eq!((inventory.messages, inventory.messages_ready), (1, 1));
        let get = basic::Get {
            queue: b"q",
            no_ack: true,
            ..basic::Get::default()
        };
        world.send_method(client, 1, &get);
        let transcript = &world.clients[client].transcript;
        assert_eq!(transcript.count("basic.get-ok"), 1);
        assert_eq!(world.hub.core.inventory().messages, 0);
    }
}

#[test]
fn a_message_that_was_never_ready_expires_once_it_is_given_back() {
    let mut world = world();
    let client = world.open(FRAME_MAX);
    world.send_method(client, 1, &channel::Open::default());
    declare_bound(&mut world, client, b"q", ("x-message-ttl", 100));
    let consume = basic::Consume {
        queue: b"q",
        consumer_tag: b"c",
        ..basic::Consume::default()
    };
    world.send_method(client, 1, &consume);
    let block = leveret::wire::amqp::properties::NO_PROPERTIES;
    world.send(client, &publish(1, b"", b"q", &block, b"late"));
    let cancel = basic::Cancel {
        consumer_tag: b"c",
        no_wait: false,
    };
    world.send_method(client, 1, &cancel);
    world.send_method(client, 1, &basic::Recover { requeue: true });
    assert_eq!(world.hub.core.inventory().messages_ready, 1);
    let due_ms = world.now.unix_ms + 100;
    assert!(world.hub.next_deadline().is_some_and(|next| next <= due_ms));
    world.now.unix_ms = due_ms;
    world.turn();
    assert_eq!(world.hub.core.inventory().messages, 0);
}

/// A queue `q` whose messages all die at once, and whose dead letters nobody takes for now.
fn client_with_stuck_queue(world: &mut World) -> usize {
    let client = world.open(FRAME_MAX);
    world.send_method(client, 1, &channel::Open::default());
    let mut arguments = TableBuilder::new();
    arguments
        .put("x-max-length", 0)
        .put("x-dead-letter-exchange", "missing")
        .put("x-dead-letter-strategy", "at-least-once");
    let declare = queue::Declare {
        queue: b"q",
        arguments: arguments.view(),
        ..queue::Declare::default()
    };
    world.send_method(client, 1, &declare);
    client
}

#[test]
fn dead_letters_that_nobody_takes_are_tried_again_in_time_whatever_joins_them() {
    let mut world = world();
    let client = client_with_stuck_queue(&mut world);
    let block = leveret::wire::amqp::properties::NO_PROPERTIES;
    world.send(client, &publish(1, b"", b"q", &block, b"first"));
    world.turn();
    let due_ms = world.now.unix_ms + 1000;
    world.now.unix_ms += 600;
    world.turn();
    world.send(client, &publish(1, b"", b"q", &block, b"second"));
    world.turn();
    assert_eq!(world.hub.core.inventory().messages, 2);
    assert!(world.hub.next_deadline().is_some_and(|next| next <= due_ms));
}

#[test]
fn dead_letters_that_nobody_takes_end_with_their_queue() {
    let mut world = world();
    let client = client_with_stuck_queue(&mut world);
    let block = leveret::wire::amqp::properties::NO_PROPERTIES;
    world.send(client, &publish(1, b"", b"q", &block, b"stuck"));
    world.turn();
    let delete = queue::Delete {
        queue: b"q",
        ..queue::Delete::default()
    };
    world.send_method(client, 1, &delete);
    assert_eq!(world.hub.core.inventory().messages, 1);
    world.now.unix_ms += 1000;
    world.turn();
    assert_eq!(world.hub.core.inventory().messages, 0);
}

#[test]
fn a_message_that_expires_at_once_is_stored_while_its_dead_letter_waits() {
    let mut world = world();
    world.hub.core.begin_messages(MessageId::from_bits(0));
    world.hub.core.begin_journal(QueueId(1));
    let client = world.open(FRAME_MAX);
    world.send_method(client, 1, &channel::Open::default());
    let mut arguments = TableBuilder::new();
    arguments
        .put("x-message-ttl", 0)
        .put("x-dead-letter-exchange", "missing")
        .put("x-dead-letter-strategy", "at-least-once");
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        arguments: arguments.view(),
        ..queue::Declare::default()
    };
    world.send_method(client, 1, &declare);
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    world.send(client, &publish(1, b"", b"q", &block, b"kept"));
    let journal = world.hub.core.take_journal();
    assert!(!journal.messages.is_empty() && journal.acks.is_empty());
}

#[test]
fn messages_keep_the_time_to_live_that_they_came_with_whatever_a_policy_says_later() {
    let mut world = world();
    let client = client_with_queue(&mut world);
    let block = leveret::wire::amqp::properties::NO_PROPERTIES;
    world.send(client, &publish(1, b"", b"q", &block, b"old"));
    let mut definition = TableBuilder::new();
    definition.put("message-ttl", 100);
    let mut policy = TableBuilder::new();
    policy
        .put("pattern", "^q")
        .put_table("definition", &definition);
    let core = &mut world.hub.core;
    let host = core
        .virtual_host(DEFAULT_VIRTUAL_HOST.as_bytes())
        .expect("it is always there");
    core.set_policy(PolicyKind::User, host, b"ttl", policy.view())
        .expect("it is a policy");
    world.send(client, &publish(1, b"", b"q", &block, b"new"));
    world.now.unix_ms += 99;
    world.turn();
    assert_eq!(world.hub.core.inventory().messages, 2);
    let get = basic::Get {
        queue: b"q",
        ..basic::Get::default()
    };
    world.send_method(client, 1, &get);
    world.now.unix_ms += 1;
    world.turn();
    world.send_method(client, 1, &basic::Recover { requeue: true });
    world.turn();
    assert_eq!(
        world.hub.core.inventory().messages,
        1,
        "the old one stays, also after it was given back"
    );
    world.send_method(client, 1, &get);
    let transcript = &world.clients[client].transcript;
    assert_eq!(transcript.count("basic.get-ok"), 2);
}

/// Bytes that the client could be sent now.
fn sendable(hub: &Hub, client: SocketKey) -> usize {
    let mut slices = [IoSlice::new(&[]); 8];
    let count = hub.outboxes.io_slices(client, &mut slices);
    slices[..count].iter().map(|slice| slice.len()).sum()
}

#[test]
fn what_another_declared_is_confirmed_when_it_is_stored() {
    let now = Now {
        monotonic_ms: 1,
        unix_ms: 1_700_000_000_000,
    };
    let mut hub = Hub::new(Config::default(), Box::new(|| [0; 16]));
    hub.begin_turn(now);
    hub.core.begin_messages(MessageId::from_bits(0));
    hub.core.begin_journal(QueueId(1));
    let declare = queue::Declare {
        queue: b"q",
        durable: true,
        ..queue::Declare::default()
    };
    let mut number = 0;
    let clients = [0, 1].map(|_| {
        let peer = Peer {
            address: "client".to_owned(),
            local: "here".to_owned(),
            loopback: true,
            tls: None,
        };
        let client = hub.outboxes.open();
        let mut machine = Machine::new(client, peer, &hub, now);
        let mut bytes = handshake(10, FRAME_MAX);
        encode_method(&mut bytes, 1, &channel::Open::default());
        let taken = machine.on_bytes(&bytes, &mut hub, now);
        assert_eq!(taken, bytes.len());
        hub.outboxes.advance(client, sendable(&hub, client));
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 1, &declare);
        machine.on_bytes(&bytes, &mut hub, now);
        // The store has it, and has not done it.
        number = hub.take_store_work().map_or(number, |work| work.number);
        client
    });
    assert_eq!(clients.map(|client| sendable(&hub, client)), [0, 0]);
    hub.on_stored(number);
    assert!(clients.iter().all(|client| sendable(&hub, *client) > 0));
}

#[test]
fn the_queue_in_which_an_exchange_delays_counts_neither_when_it_comes_nor_when_it_goes() {
    let mut world = world();
    let client = client_with_queue(&mut world);
    let mut arguments = TableBuilder::new();
    arguments.put("x-delayed-type", "direct");
    let declare = exchange::Declare {
        exchange: b"later",
        kind: b"x-delayed-message",
        arguments: arguments.view(),
        ..exchange::Declare::default()
    };
    world.send_method(client, 1, &declare);
    let delete = exchange::Delete {
        exchange: b"later",
        ..exchange::Delete::default()
    };
    world.send_method(client, 1, &delete);
    let transcript = &world.clients[client].transcript;
    assert_eq!(transcript.count("exchange.delete-ok"), 1);
    let counters = world.hub.core.counters;
    assert_eq!((counters.queues_created, counters.queues_deleted), (1, 0));
}
