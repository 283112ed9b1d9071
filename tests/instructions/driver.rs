//! A hub with a publisher and a consumer, driven as the event loop drives them, along one path at a time.

use leveret::config::Config;
use leveret::protocol::{Hub, Machine, Now, Peer, SocketKey};
use leveret::wire::amqp::frame::{encode_body, encode_content_header, encode_method};
use leveret::wire::amqp::properties::NO_PROPERTIES;
use leveret::wire::amqp::{
    EncodeMethod, PROTOCOL_HEADER, Properties, TableBuilder, basic, channel, confirm, connection,
    queue,
};

/// What is counted; see the arms of [`run`].
pub const PATHS: [&str; 7] = [
    "no-ack",
    "own-properties",
    "confirm-and-ack",
    "fanout-10",
    "topic-1000-keys",
    "fill-and-drain",
    "declare-and-delete",
];

/// Messages (queues, in the last path) of a batch.
pub const BATCH: u64 = 100;

/// Runs so many batches along a path.
pub fn run(path: &str, batches: u64) {
    let mut world = World::new();
    let (publisher, consumer) = (world.open(), world.open());
    let publish = match path {
        "no-ack" => {
            world.declare(consumer, "q");
            world.consume(consumer, "q", true);
            publishes(|_| ("", "q".to_owned()))
        }
        "own-properties" => {
            world.declare(consumer, "q");
            world.consume(consumer, "q", true);
            publishes_with(|_| ("", "q".to_owned()), own_properties)
        }
        "confirm-and-ack" => {
            world.say(publisher, &confirm::Select::default());
            world.declare(consumer, "q");
            world.consume(consumer, "q", false);
            publishes(|_| ("", "q".to_owned()))
        }
        "fanout-10" => {
            for number in 0..10 {
                let name = format!("q{number}");
                world.declare(consumer, &name);
                world.bind(consumer, &name, "amq.fanout", "");
                world.consume(consumer, &name, true);
            }
            publishes(|_| ("amq.fanout", String::new()))
        }
        "topic-1000-keys" => {
            world.declare(consumer, "q");
            for number in 0..1000 {
                world.bind(consumer, "q", "amq.topic", &format!("a.*.k{number}.#"));
            }
            world.consume(consumer, "q", true);
            publishes(|number| ("amq.topic", format!("a.b.k{}.c", number * 7)))
        }
        "fill-and-drain" => {
            world.declare(consumer, "q");
            publishes(|_| ("", "q".to_owned()))
        }
        "declare-and-delete" => declarations(),
        other => panic!("no path {other}"),
    };
    for batch in 1..=batches {
        world.send(publisher, &publish);
        if path == "confirm-and-ack" {
            let ack = basic::Ack {
                delivery_tag: batch * BATCH,
                multiple: true,
            };
            world.say(consumer, &ack);
        }
    }
    if path == "fill-and-drain" {
        world.consume(consumer, "q", true);
    }
    world.settle();
    let copies = match path {
        "declare-and-delete" => 0,
        "fanout-10" => 10,
        _ => 1,
    };
    let bodies = batches * BATCH * copies * BODY.len() as u64;
    assert!(world.clients[consumer].written as u64 > bodies, "{path}");
}

struct World {
    hub: Hub,
    clients: Vec<Client>,
}

struct Client {
    key: SocketKey,
    machine: Machine,
    /// Bytes that its socket would have taken.
    written: usize,
}

impl World {
    fn new() -> Self {
        let mut drawn = 0u128;
        let entropy = move || {
            drawn += 1;
            drawn.to_be_bytes()
        };
        World {
            hub: Hub::new(Config::default(), Box::new(entropy)),
            clients: Vec::new(),
        }
    }

    /// A client with a connection and a channel.
    fn open(&mut self) -> usize {
        let key = self.hub.outboxes.open();
        let peer = Peer {
            address: "127.0.0.1:54321".to_owned(),
            local: "127.0.0.1:5672".to_owned(),
            loopback: true,
            tls: None,
        };
        self.clients.push(Client {
            key,
            machine: Machine::new(key, peer, &self.hub, NOW),
            written: 0,
        });
        let client = self.clients.len() - 1;
        self.send(client, &greeting());
        self.say(client, &channel::Open::default());
        client
    }

    fn declare(&mut self, client: usize, name: &str) {
        let declare = queue::Declare {
            queue: name.as_bytes(),
            ..queue::Declare::default()
        };
        self.say(client, &declare);
    }

    fn bind(&mut self, client: usize, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind {
            queue: queue.as_bytes(),
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..queue::Bind::default()
        };
        self.say(client, &bind);
    }

    fn consume(&mut self, client: usize, queue: &str, no_ack: bool) {
        let consume = basic::Consume {
            queue: queue.as_bytes(),
            no_ack,
            ..basic::Consume::default()
        };
        self.say(client, &consume);
    }

    fn say(&mut self, client: usize, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 1, method);
        self.send(client, &bytes);
    }

    /// The machine takes all of it, in as many turns as it wants.
    fn send(&mut self, client: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.hub.begin_turn(NOW);
            let machine = &mut self.clients[client].machine;
            assert!(machine.wants_read(&self.hub), "it is served at once");
            let used = machine.on_bytes(bytes, &mut self.hub, NOW);
            machine.on_turn_end(&mut self.hub);
            assert!(used > 0, "frames are whole");
            bytes = &bytes[used..];
            self.end_turn();
        }
    }

    /// Turns until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.hub.begin_turn(NOW);
            self.end_turn();
            if !self.hub.has_more_work() {
                return;
            }
        }
    }

    fn end_turn(&mut self) {
        self.hub.settle();
        let mut woken = Vec::new();
        self.hub.take_woken(&mut woken);
        for client in &mut self.clients {
            if woken.contains(&client.key) {
                client.machine.on_woken(&mut self.hub, NOW);
            }
            let size = self.hub.outboxes.len(client.key);
            if size > 0 {
                self.hub.outboxes.advance(client.key, size);
                client.written += size;
            }
        }
    }
}

/// A batch of publishes; `place` gives each its exchange and routing key.
fn publishes(place: impl Fn(u64) -> (&'static str, String)) -> Vec<u8> {
    publishes_with(place, |_| NO_PROPERTIES.to_vec())
}

/// And `properties` each its property block.
fn publishes_with(
    place: impl Fn(u64) -> (&'static str, String),
    properties: impl Fn(u64) -> Vec<u8>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..BATCH {
        let (exchange, key) = place(number);
        let publish = basic::Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..basic::Publish::default()
        };
        encode_method(&mut bytes, 1, &publish);
        encode_content_header(&mut bytes, 1, BODY.len() as u64, &properties(number));
        encode_body(&mut bytes, 1, &BODY);
    }
    bytes
}

/// What clients write on every message: an id of its own, and headers.
fn own_properties(number: u64) -> Vec<u8> {
    let mut headers = TableBuilder::new();
    headers.put("lang", "py");
    headers.put("task", "tasks.add");
    let id = format!("{number:08}");
    let properties = Properties {
        content_type: Some(b"application/json"),
        headers: Some(headers.view()),
        delivery_mode: Some(1),
        message_id: Some(id.as_bytes()),
        ..Properties::default()
    };
    let mut block = Vec::new();
    properties.encode(&mut block);
    block
}

/// Queues declared, then deleted.
fn declarations() -> Vec<u8> {
    let mut bytes = Vec::new();
    let names = (0..BATCH).map(|number| format!("queue-{number}"));
    for name in names.clone() {
        let declare = queue::Declare {
            queue: name.as_bytes(),
            ..queue::Declare::default()
        };
        encode_method(&mut bytes, 1, &declare);
    }
    for name in names {
        let delete = queue::Delete {
            queue: name.as_bytes(),
            ..queue::Delete::default()
        };
        encode_method(&mut bytes, 1, &delete);
    }
    bytes
}

/// All that a client says until its connection is open.
fn greeting() -> Vec<u8> {
    let properties = TableBuilder::new();
    let start_ok = connection::StartOk {
        client_properties: properties.view(),
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    };
    let tune_ok = connection::TuneOk {
        channel_max: 10,
        frame_max: 131_072,
        heartbeat: 0,
    };
    let open = connection::Open {
        virtual_host: b"/",
        ..connection::Open::default()
    };
    let mut bytes = PROTOCOL_HEADER.to_vec();
    encode_method(&mut bytes, 0, &start_ok);
    encode_method(&mut bytes, 0, &tune_ok);
    encode_method(&mut bytes, 0, &open);
    bytes
}

const BODY: [u8; 100] = [b'x'; 100];
const NOW: Now = Now {
    monotonic_ms: 1_000,
    unix_ms: 1_700_000_000_000,
};
