//! One hub and its clients, driven as the event loop drives them, with everything checked that must
//! hold whatever the clients send.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::rc::Rc;

use leveret::config::{Config, Limits};
use leveret::protocol::{Hub, IO_SLICES_MAX, Machine, Now, Peer, SocketKey};
use leveret::wire::amqp::frame::{encode_body, encode_content_header, encode_method};
use leveret::wire::amqp::{
    EncodeMethod, Frame, Method, PROTOCOL_HEADER, TableBuilder, basic, channel, connection,
    exchange, queue,
};

use super::allocations::live_bytes;
use super::transcript::Transcript;

pub struct World {
    pub hub: Hub,
    pub now: Now,
    pub clients: Vec<Client>,
    /// Names that were declared: what an operator would find and delete.
    queues: BTreeSet<Vec<u8>>,
    exchanges: BTreeSet<Vec<u8>>,
    /// How many names the broker has made.
    generated: Rc<Cell<u128>>,
    sent_bytes: usize,
    sent_frames: usize,
    /// Heap before there was a hub.
    baseline: isize,
}

pub struct Client {
    pub key: SocketKey,
    machine: Machine,
    /// Sent and not consumed.
    input: Vec<u8>,
    pub transcript: Transcript,
    /// Does not read what it is sent.
    pub stalled: bool,
    pub gone: bool,
    follower: Follower,
}

/// Reads along what a client sends.
#[derive(Default)]
struct Follower {
    rest: Vec<u8>,
    past_header: bool,
    lost: bool,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        let baseline = live_bytes();
        let config = Config {
            limits,
            ..Config::default()
        };
        let generated = Rc::new(Cell::new(0u128));
        let counter = Rc::clone(&generated);
        let entropy = move || {
            counter.set(counter.get() + 1);
            counter.get().to_be_bytes()
        };
        let hub = Hub::new(config, Box::new(entropy));
        // What was drawn for the first password is no name.
        generated.set(0);
        World {
            hub,
            now: Now {
                monotonic_ms: 1_000,
                unix_ms: 1_700_000_000_000,
            },
            clients: Vec::new(),
            queues: BTreeSet::new(),
            exchanges: BTreeSet::new(),
            generated,
            sent_bytes: 0,
            sent_frames: 0,
            baseline,
        }
    }

    /// A client that has not said anything yet.
    pub fn connect(&mut self) -> usize {
        let key = self.hub.outboxes.open();
        let peer = Peer {
            address: "127.0.0.1:54321".to_owned(),
            local: "127.0.0.1:5672".to_owned(),
            loopback: true,
            tls: None,
        };
        let machine = Machine::new(key, peer, &self.hub, self.now);
        self.clients.push(Client {
            key,
            machine,
            input: Vec::new(),
            transcript: Transcript::default(),
            stalled: false,
            gone: false,
            follower: Follower::default(),
        });
        self.sent_frames += 1;
        self.clients.len() - 1
    }

    /// A client with an open connection.
    pub fn open(&mut self, frame_max: u32) -> usize {
        let client = self.connect();
        let channel_max = self.hub.config.limits.channel_max;
        self.send(client, &handshake(channel_max, frame_max));
        self.clients[client].transcript.frame_max = frame_max;
        assert_eq!(
            self.clients[client].transcript.count("connection.open-ok"),
            1
        );
        client
    }

    /// Sends bytes, and takes a turn.
    pub fn send(&mut self, client: usize, bytes: &[u8]) {
        self.put(client, bytes);
        self.turn();
    }

    pub fn send_method(&mut self, client: usize, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, channel, method);
        self.send(client, &bytes);
    }

    /// The bytes reach the machine with the next turn.
    pub fn put(&mut self, client: usize, bytes: &[u8]) {
        let client = &mut self.clients[client];
        if client.gone {
            return;
        }
        client.input.extend_from_slice(bytes);
        self.sent_bytes += bytes.len();
        let (queues, exchanges) = (&mut self.queues, &mut self.exchanges);
        self.sent_frames += client.follower.follow(bytes, queues, exchanges);
    }

    /// One turn of the loop, with its stages in their order.
    pub fn turn(&mut self) {
        self.hub.begin_turn(self.now);
        for index in 0..self.clients.len() {
            self.read(index);
        }
        self.hub.settle();
        let mut woken = Vec::new();
        self.hub.take_woken(&mut woken);
        for key in woken {
            if let Some(client) = self.clients.iter_mut().find(|c| c.key == key && !c.gone) {
                client.machine.on_woken(&mut self.hub, self.now);
            }
        }
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            let due = client.machine.next_deadline(&self.hub);
            if due.is_some_and(|due| due <= self.now.monotonic_ms) {
                client.machine.on_timeout(&mut self.hub, self.now);
            }
        }
        for index in 0..self.clients.len() {
            self.write(index);
            self.reap(index);
        }
        self.check_memory();
    }

    /// Turns until there is nothing left to do.
    pub fn settle(&mut self) {
        let mut turns = 0;
        loop {
            let before = self.waiting_input();
            self.turn();
            if !self.hub.has_more_work() && self.waiting_input() == before {
                return;
            }
            turns += 1;
            assert!(turns < 100_000, "the hub never comes to rest");
        }
    }

    /// The socket is gone.
    pub fn disconnect(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !std::mem::replace(&mut client.gone, true) {
            client.machine.on_disconnect(&mut self.hub);
            self.hub.outboxes.close(client.key);
            client.input = Vec::new();
            client.follower = Follower::default();
        }
    }

    pub fn begin_shutdown(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !client.gone {
            let (hub, now) = (&mut self.hub, self.now);
            client.machine.begin_shutdown(hub, now, "shutdown");
        }
    }

    /// A message through a queue of its own on a connection that did no wrong.
    pub fn check_served(&mut self, client: usize) {
        const NAME: &[u8] = b"bystander's own queue";
        self.send_method(client, 9, &channel::Open::default());
        let declare = queue::Declare {
            queue: NAME,
            exclusive: true,
            ..queue::Declare::default()
        };
        self.send_method(client, 9, &declare);
        self.send(client, &publish(9, b"", NAME, &[0, 0], b"are you there?"));
        let get = basic::Get {
            queue: NAME,
            no_ack: true,
            ..basic::Get::default()
        };
        self.send_method(client, 9, &get);
        let delete = queue::Delete {
            queue: NAME,
            ..queue::Delete::default()
        };
        self.send_method(client, 9, &delete);
        self.send_method(client, 9, &channel::Close::default());
        let transcript = &self.clients[client].transcript;
        assert_eq!(
            transcript.got.last().map(Vec::as_slice),
            Some(&b"are you there?"[..]),
            "{:?}",
            transcript.methods
        );
        assert!(transcript.close.is_none());
    }

    /// All but `survivor` leave, an operator deletes what is not theirs alone, and nothing is left.
    pub fn check_nothing_is_left(&mut self, survivor: usize) {
        for index in (0..self.clients.len()).filter(|index| *index != survivor) {
            self.disconnect(index);
        }
        self.settle();
        self.send_method(survivor, 8, &channel::Open::default());
        let mut queues = std::mem::take(&mut self.queues);
        let generated = 1..=self.generated.get();
        queues.extend(generated.map(|number| generated_name("amq.gen-", number).into_bytes()));
        for name in queues {
            let delete = queue::Delete {
                queue: &name,
                no_wait: true,
                ..queue::Delete::default()
            };
            self.send_method(survivor, 8, &delete);
        }
        for name in std::mem::take(&mut self.exchanges) {
            let delete = exchange::Delete {
                exchange: &name,
                no_wait: true,
                ..exchange::Delete::default()
            };
            self.send_method(survivor, 8, &delete);
        }
        self.settle();
        self.check_served(survivor);
        self.disconnect(survivor);
        self.settle();
        let transcript = &self.clients[survivor].transcript;
        assert_eq!(transcript.count("channel.close"), 0);
        let counters = self.hub.core.counters;
        assert_eq!(counters.queues_created, counters.queues_deleted);
        assert_eq!(counters.channels_opened, counters.channels_closed);
        assert_eq!(counters.connections_opened, counters.connections_closed);
        let held = self.hub.core.message_bytes();
        assert!(held <= MESSAGES_FLOOR, "{held} bytes of messages are left");
        self.clients.clear();
        let left = live_bytes() - self.baseline;
        assert!(left <= HUB_FLOOR, "{left} bytes of heap are left");
    }

    /// The name that the broker generated as its `number`th, counted from one.
    pub fn generated_name(&self, prefix: &str, number: u128) -> String {
        assert!(number <= self.generated.get());
        generated_name(prefix, number)
    }

    /// What the hub and the machines hold, in bytes of heap.
    pub fn held(&self) -> isize {
        live_bytes() - self.baseline
    }

    fn waiting_input(&self) -> usize {
        self.clients.iter().map(|client| client.input.len()).sum()
    }

    fn read(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.gone || client.input.is_empty() || !client.machine.wants_read(&self.hub) {
            return;
        }
        let used = client
            .machine
            .on_bytes(&client.input, &mut self.hub, self.now);
        assert!(used <= client.input.len());
        client.input.drain(..used);
        if client.input.is_empty() {
            client.input = Vec::new();
        }
        if client.machine.wants_read(&self.hub) {
            let more = client
                .machine
                .on_bytes(&client.input, &mut self.hub, self.now);
            assert_eq!(more, 0, "stopped early: it wanted no more bytes");
            assert!(
                client.input.len() <= FRAME_BYTES_MAX,
                "a whole frame and no progress"
            );
        } else {
            let reason = client.machine.wants_close()
                || !self.hub.outboxes.is_empty(client.key)
                || self.hub.alarm().is_some();
            assert!(reason, "it does not read, and nothing would change that");
        }
        client.machine.on_turn_end(&mut self.hub);
    }

    fn write(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.gone || client.stalled {
            return;
        }
        let outboxes = &mut self.hub.outboxes;
        let mut bytes = Vec::with_capacity(outboxes.len(client.key));
        while !outboxes.is_empty(client.key) {
            let mut slices = [IoSlice::new(&[]); IO_SLICES_MAX];
            let count = outboxes.io_slices(client.key, &mut slices);
            let before = bytes.len();
            for slice in &slices[..count] {
                bytes.extend_from_slice(slice);
            }
            let written = bytes.len() - before;
            if written == 0 && self.hub.core.has_journal() {
                // What is left waits for a store, and there is none.
                break;
            }
            assert!(written > 0, "a full outbox and nothing to write");
            outboxes.advance(client.key, written);
        }
        client.transcript.take(&bytes);
    }

    fn reap(&mut self, index: usize) {
        if self.clients[index].machine.wants_close() && !self.clients[index].stalled {
            self.disconnect(index);
        }
    }

    fn check_memory(&self) {
        let held = self.held();
        let outboxes = self.clients.len() * 4 * self.hub.config.limits.outbox_bytes_max;
        let allowed = FIXED_BYTES
            + outboxes
            + BYTES_PER_BYTE * self.sent_bytes
            + BYTES_PER_FRAME * self.sent_frames;
        assert!(
            held <= allowed as isize,
            "{held} bytes held for {} bytes in {} frames",
            self.sent_bytes,
            self.sent_frames
        );
    }
}

impl Follower {
    /// How many frames there were.
    fn follow(
        &mut self,
        bytes: &[u8],
        queues: &mut BTreeSet<Vec<u8>>,
        exchanges: &mut BTreeSet<Vec<u8>>,
    ) -> usize {
        if self.lost {
            return 0;
        }
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        if !self.past_header {
            if self.rest.len() < PROTOCOL_HEADER.len() {
                return 0;
            }
            self.past_header = true;
            at = PROTOCOL_HEADER.len();
        }
        let mut frames = 0;
        loop {
            match Frame::decode(&self.rest[at..], 0) {
                Ok(Some((frame, used))) => {
                    match Method::decode(frame.payload) {
                        Ok(Method::QueueDeclare(declare)) => {
                            note(declare.queue, queues);
                        }
                        Ok(Method::ExchangeDeclare(declare)) => {
                            note(declare.exchange, exchanges);
                        }
                        _ => {}
                    }
                    at += used;
                    frames += 1;
                }
                Ok(None) => break,
                Err(_) => {
                    self.lost = true;
                    at = self.rest.len();
                    break;
                }
            }
        }
        self.rest.drain(..at);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        frames
    }
}

/// All that a client says until its connection is open.
pub fn handshake(channel_max: u16, frame_max: u32) -> Vec<u8> {
    let mut bytes = PROTOCOL_HEADER.to_vec();
    let mut capabilities = TableBuilder::new();
    for name in [
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ] {
        capabilities.put(name, true);
    }
    let mut properties = TableBuilder::new();
    properties.put_table("capabilities", &capabilities);
    let start_ok = connection::StartOk {
        client_properties: properties.view(),
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    };
    let tune_ok = connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat: 0,
    };
    let open = connection::Open {
        virtual_host: b"/",
        ..connection::Open::default()
    };
    encode_method(&mut bytes, 0, &start_ok);
    encode_method(&mut bytes, 0, &tune_ok);
    encode_method(&mut bytes, 0, &open);
    bytes
}

/// A publish with its content, the body in frames of at most 4,000 bytes.
pub fn publish(
    channel: u16,
    exchange: &[u8],
    routing_key: &[u8],
    properties: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let method = basic::Publish {
        exchange,
        routing_key,
        ..basic::Publish::default()
    };
    encode_method(&mut bytes, channel, &method);
    encode_content_header(&mut bytes, channel, body.len() as u64, properties);
    for part in body.chunks(4000) {
        encode_body(&mut bytes, channel, part);
    }
    bytes
}

/// Remembers a declared name, as the broker does: without line ends, and none of its own.
fn note(name: &[u8], names: &mut BTreeSet<Vec<u8>>) {
    let kept = name.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let name: Vec<u8> = kept.copied().collect();
    if !name.is_empty() && !name.starts_with(b"amq.") {
        names.insert(name);
    }
}

/// The name that the broker makes of the number that our entropy gives.
fn generated_name(prefix: &str, number: u128) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = (0..22).map(|group| match 122 - 6 * group {
        shift @ 0.. => number >> shift,
        shift => number << -shift,
    });
    let characters = sextets.map(|sextet| char::from(ALPHABET[sextet as usize % 64]));
    prefix.chars().chain(characters).collect()
}

/// What an empty hub, the outboxes' spare buffers and the harness take.
const FIXED_BYTES: usize = 2 << 20;
/// Copies and growth: what is sent may be held in an input buffer, the follower and a message.
const BYTES_PER_BYTE: usize = 8;
/// A short frame can make something that is larger than it: a channel, a queue, a consumer.
const BYTES_PER_FRAME: usize = 2048;
/// The largest frame that may be waited for, and a bit.
const FRAME_BYTES_MAX: usize = 131_072 + 16;
/// Room that the open block of messages keeps: 64 KiB, a record with long properties, and growth.
const MESSAGES_FLOOR: usize = 288 << 10;
/// Room that tables and spare buffers keep when everybody has left.
const HUB_FLOOR: isize = 2 << 20;
