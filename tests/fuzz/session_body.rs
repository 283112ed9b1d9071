//! Several clients on one hub, who mostly keep to the rules: bytes are read as a list of their acts.

use leveret::config::Limits;
use leveret::wire::amqp::frame::{encode_heartbeat, encode_method};
use leveret::wire::amqp::{
    ArrayBuilder, EncodeMethod, Properties, TableBuilder, basic, channel, confirm, connection,
    exchange, queue, tx,
};

use super::world::{World, publish};

/// Reads `data` as acts until it ends; then everybody leaves.
pub fn check(data: &[u8]) {
    let limits = Limits {
        outbox_bytes_max: 16 << 10,
        messages_bytes_max: 256 << 10,
        message_size_max_bytes: 100_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let bystander = world.open(131_072);
    let mut session = Session {
        world,
        seats: [bystander; SEATS],
        damage: None,
        withheld: None,
        together: Vec::new(),
    };
    for seat in 0..SEATS {
        session.seats[seat] = session.world.open(FRAME_MAX);
    }
    let mut script = Script(data);
    while !script.0.is_empty() {
        session.act(&mut script);
    }
    let mut world = session.world;
    for client in &mut world.clients {
        client.stalled = false;
    }
    world.hub.set_blocked(None);
    world.settle();
    world.check_nothing_is_left(bystander);
}

struct Session {
    world: World,
    /// The client that sits there now; who is closed is followed by a new one.
    seats: [usize; SEATS],
    /// To be done to the next bytes sent.
    damage: Option<Damage>,
    /// How many of the next bytes come a turn later.
    withheld: Option<usize>,
    /// Bytes kept back to be sent in one piece.
    together: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Copy)]
enum Damage {
    Set { at: usize, octet: u8 },
    Cut(usize),
    Repeat(usize),
}

/// The bytes of the fuzzer; zeros behind their end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn coin(&mut self) -> bool {
        self.byte() & 1 == 0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    fn queue(&mut self) -> &'static [u8] {
        QUEUES[usize::from(self.byte()) % QUEUES.len()]
    }

    fn exchange(&mut self) -> &'static [u8] {
        EXCHANGES[usize::from(self.byte()) % EXCHANGES.len()]
    }

    fn key(&mut self) -> &'static [u8] {
        KEYS[usize::from(self.byte()) % KEYS.len()]
    }

    fn arguments(&mut self) -> TableBuilder {
        let mut table = TableBuilder::new();
        match self.byte() % 16 {
            0 => table.put("x-match", "any").put("a", 1),
            1 => table.put("x-match", "all-with-x").put("x-b", "two"),
            2 => table.put("a", 1).put("b", "two"),
            3 => table.put("x-message-ttl", i32::from(self.byte())),
            4 => table.put("x-max-length", i32::from(self.byte())),
            5 => table.put("alternate-exchange", "e1"),
            6 => table.put("alternate-exchange", "e2"),
            7 => table.put("x-priority", i32::from(self.byte()) % 4),
            8 => table.put("x-queue-type", "quorum"),
            9 => table.put("hash-header", "a"),
            10 => table.put("x-recent-history-length", i32::from(self.byte()) % 4),
            11 => table.put("x-delayed-type", "x-recent-history"),
            _ => &mut table,
        };
        table
    }

    fn properties(&mut self) -> Vec<u8> {
        let mut headers = TableBuilder::new();
        let mut properties = Properties::default();
        match self.byte() % 12 {
            0 => {
                headers.put("a", 1).put("b", "two");
            }
            1 | 2 => {
                let mut keys = ArrayBuilder::new();
                for _ in 0..self.byte() % 8 {
                    keys.push(self.key());
                }
                let name = if self.coin() { "CC" } else { "BCC" };
                headers.put_array(name, &keys).put("a", 1);
            }
            3 => properties.reply_to = Some(b"amq.rabbitmq.reply-to"),
            4 => properties.expiration = Some(b"1000"),
            5 => properties.delivery_mode = Some(2),
            6 => properties.priority = Some(self.byte()),
            7 => {
                let count = usize::from(self.byte()) % 8;
                return self.bytes(count);
            }
            _ => return vec![0, 0],
        }
        if !headers.view().is_empty() {
            properties.headers = Some(headers.view());
        }
        let mut block = Vec::new();
        properties.encode(&mut block);
        block
    }
}

impl Session {
    fn act(&mut self, script: &mut Script<'_>) {
        let who = script.byte();
        let seat = usize::from(who) % SEATS;
        let channel = u16::from(who / SEATS as u8 % 3) + 1;
        match script.byte() % 32 {
            0 | 1 => self.method(seat, channel, &channel::Open::default()),
            2 | 3 => self.declare_queue(seat, channel, script),
            4 => self.declare_exchange(seat, channel, script),
            5 | 6 => self.bind_queue(seat, channel, script),
            7 => self.bind_exchange(seat, channel, script),
            8..=11 => self.publish(seat, channel, script),
            12 | 13 => self.consume(seat, channel, script),
            14 | 15 => self.get(seat, channel, script),
            16..=18 => self.settle(seat, channel, script),
            19 => {
                let qos = basic::Qos {
                    prefetch_size: 0,
                    prefetch_count: u16::from(script.byte()) % 5,
                    global: script.coin(),
                };
                self.method(seat, channel, &qos);
            }
            20 => self.mode(seat, channel, script),
            21 => self.delete(seat, channel, script),
            22 => self.unbind(seat, channel, script),
            23 => {
                let cancel = basic::Cancel {
                    consumer_tag: TAGS[usize::from(script.byte()) % TAGS.len()],
                    no_wait: script.coin(),
                };
                self.method(seat, channel, &cancel);
            }
            24 => match script.byte() % 4 {
                0 => self.method(seat, channel, &channel::Close::default()),
                1 => self.method(seat, channel, &channel::CloseOk {}),
                2 => self.method(seat, channel, &channel::Flow { active: true }),
                _ => self.method(seat, channel, &basic::CancelOk::default()),
            },
            25 => self.leave(seat, script),
            26 => {
                let count = usize::from(script.byte()) % 32;
                let bytes = script.bytes(count);
                self.send(seat, &bytes);
            }
            27 => {
                let at = usize::from(script.byte());
                self.damage = Some(match script.byte() % 4 {
                    0 => Damage::Cut(at),
                    1 => Damage::Repeat(at),
                    _ => Damage::Set {
                        at,
                        octet: script.byte(),
                    },
                });
            }
            28 => {
                let client = &mut self.world.clients[self.seats[seat]];
                client.stalled = !client.stalled;
            }
            29 => self.pass_time(script),
            30 => self.withheld = Some(usize::from(script.byte())),
            _ => match script.byte() % 4 {
                0 => {
                    let mut bytes = Vec::new();
                    encode_heartbeat(&mut bytes);
                    self.send(seat, &bytes);
                }
                1 => {
                    let reason = script.coin().then_some("low on disk");
                    self.world.hub.set_blocked(reason);
                    self.world.turn();
                }
                _ => self.world.turn(),
            },
        }
    }

    fn declare_queue(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        let arguments = script.arguments();
        let declare = queue::Declare {
            queue: script.queue(),
            passive: flags % 16 == 15,
            durable: flags & 16 != 0,
            exclusive: flags & 32 != 0,
            auto_delete: flags & 64 != 0,
            no_wait: flags & 128 != 0,
            arguments: arguments.view(),
            ..queue::Declare::default()
        };
        self.method(seat, channel, &declare);
    }

    fn declare_exchange(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        let arguments = script.arguments();
        let declare = exchange::Declare {
            exchange: script.exchange(),
            kind: EXCHANGE_TYPES[usize::from(flags & 15) % EXCHANGE_TYPES.len()],
            durable: flags & 16 != 0,
            internal: flags & 32 != 0,
            auto_delete: flags & 64 != 0,
            no_wait: flags & 128 != 0,
            arguments: arguments.view(),
            ..exchange::Declare::default()
        };
        self.method(seat, channel, &declare);
    }

    fn bind_queue(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let arguments = script.arguments();
        let bind = queue::Bind {
            queue: script.queue(),
            exchange: script.exchange(),
            routing_key: script.key(),
            arguments: arguments.view(),
            ..queue::Bind::default()
        };
        self.method(seat, channel, &bind);
    }

    fn bind_exchange(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let arguments = script.arguments();
        let bind = exchange::Bind {
            destination: script.exchange(),
            source: script.exchange(),
            routing_key: script.key(),
            arguments: arguments.view(),
            ..exchange::Bind::default()
        };
        self.method(seat, channel, &bind);
    }

    fn unbind(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let arguments = script.arguments();
        if script.coin() {
            let unbind = queue::Unbind {
                queue: script.queue(),
                exchange: script.exchange(),
                routing_key: script.key(),
                arguments: arguments.view(),
                ..queue::Unbind::default()
            };
            self.method(seat, channel, &unbind);
        } else {
            let unbind = exchange::Unbind {
                destination: script.exchange(),
                source: script.exchange(),
                routing_key: script.key(),
                arguments: arguments.view(),
                ..exchange::Unbind::default()
            };
            self.method(seat, channel, &unbind);
        }
    }

    fn publish(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        let exchange = script.exchange();
        let key = script.key();
        let properties = script.properties();
        let size = [0, 1, 100, 4096, 4097, 20_000, 70_000, 100_001][usize::from(flags) % 8];
        let body = vec![flags; size];
        let mut bytes = publish(channel, exchange, key, &properties, &body);
        if flags & 16 != 0 {
            // The bits of the method stand last in its frame, mandatory the lowest.
            let bits = 7 + 4 + 2 + 1 + exchange.len() + 1 + key.len();
            bytes[bits] |= 1;
        }
        self.send(seat, &bytes);
    }

    fn consume(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        let arguments = script.arguments();
        let consume = basic::Consume {
            queue: match flags % 8 {
                7 => b"amq.rabbitmq.reply-to",
                _ => script.queue(),
            },
            consumer_tag: TAGS[usize::from(script.byte()) % TAGS.len()],
            no_ack: flags & 16 != 0,
            exclusive: flags & 32 != 0,
            no_wait: flags & 64 != 0,
            arguments: arguments.view(),
            ..basic::Consume::default()
        };
        self.method(seat, channel, &consume);
    }

    fn get(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let get = basic::Get {
            queue: script.queue(),
            no_ack: script.byte() & 3 == 0,
            ..basic::Get::default()
        };
        self.method(seat, channel, &get);
    }

    /// Mostly a tag that is outstanding.
    fn settle(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        let chosen = usize::from(script.byte());
        let tags = &mut self.world.clients[self.seats[seat]]
            .transcript
            .delivery_tags;
        let known = match tags.len() {
            0 => None,
            count => Some(tags.swap_remove(chosen % count)),
        };
        let (channel, delivery_tag) = match known {
            Some(known) if flags & 7 > 0 => known,
            _ => (channel, (chosen % 4) as u64),
        };
        let (multiple, requeue) = (flags & 16 != 0, flags & 32 != 0);
        match flags / 64 {
            0 | 1 => self.method(
                seat,
                channel,
                &basic::Ack {
                    delivery_tag,
                    multiple,
                },
            ),
            2 => self.method(
                seat,
                channel,
                &basic::Nack {
                    delivery_tag,
                    multiple,
                    requeue,
                },
            ),
            _ => self.method(
                seat,
                channel,
                &basic::Reject {
                    delivery_tag,
                    requeue,
                },
            ),
        }
    }

    fn mode(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 | 1 => self.method(seat, channel, &tx::Select {}),
            2 | 3 => self.method(seat, channel, &tx::Commit {}),
            4 => self.method(seat, channel, &tx::Rollback {}),
            5 | 6 => self.method(seat, channel, &confirm::Select { no_wait: false }),
            _ => self.method(seat, channel, &basic::Recover { requeue: true }),
        }
    }

    fn delete(&mut self, seat: usize, channel: u16, script: &mut Script<'_>) {
        let flags = script.byte();
        match flags % 4 {
            0 | 1 => {
                let delete = queue::Delete {
                    queue: script.queue(),
                    if_unused: flags & 16 != 0,
                    if_empty: flags & 32 != 0,
                    ..queue::Delete::default()
                };
                self.method(seat, channel, &delete);
            }
            2 => {
                let purge = queue::Purge {
                    queue: script.queue(),
                    ..queue::Purge::default()
                };
                self.method(seat, channel, &purge);
            }
            _ => {
                let delete = exchange::Delete {
                    exchange: script.exchange(),
                    if_unused: flags & 16 != 0,
                    ..exchange::Delete::default()
                };
                self.method(seat, channel, &delete);
            }
        }
    }

    /// Somebody else takes the seat, at once or when the goodbyes are said.
    fn leave(&mut self, seat: usize, script: &mut Script<'_>) {
        let client = self.seats[seat];
        match script.byte() % 4 {
            0 => self.world.disconnect(client),
            1 => self.method(seat, 0, &connection::Close::default()),
            2 => self.method(seat, 0, &connection::CloseOk {}),
            _ => self.world.begin_shutdown(client),
        }
        self.world.turn();
        self.take_seat(seat);
    }

    fn pass_time(&mut self, script: &mut Script<'_>) {
        self.world.now.monotonic_ms += u64::from(script.byte()) * 200;
        self.world.turn();
    }

    fn method(&mut self, seat: usize, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, channel, method);
        self.send(seat, &bytes);
    }

    fn send(&mut self, seat: usize, bytes: &[u8]) {
        self.take_seat(seat);
        let client = self.seats[seat];
        let mut bytes = bytes.to_vec();
        if let Some(damage) = self.damage.take() {
            damage.apply(&mut bytes);
        }
        let mut whole = Vec::new();
        self.together.retain_mut(|(other, earlier)| {
            let same = *other == client;
            if same {
                whole.append(earlier);
            }
            !same
        });
        whole.append(&mut bytes);
        if let Some(count) = self.withheld.take() {
            let later = whole.split_off(whole.len().saturating_sub(count));
            self.together.push((client, later));
        }
        self.world.send(client, &whole);
    }

    /// A seat does not stay empty.
    fn take_seat(&mut self, seat: usize) {
        if self.world.clients[self.seats[seat]].gone && self.world.clients.len() < CLIENTS_MAX {
            self.seats[seat] = self.world.open(FRAME_MAX);
        }
    }
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let size = bytes.len().max(1);
        match self {
            Damage::Set { at, octet } => {
                if let Some(byte) = bytes.get_mut(at % size) {
                    *byte = octet;
                }
            }
            Damage::Cut(at) => bytes.truncate(at % size),
            Damage::Repeat(at) => bytes.extend_from_within(at % size..),
        }
    }
}

/// Clients at a time.
const SEATS: usize = 3;
const CLIENTS_MAX: usize = 40;
/// The smallest, so that bodies take several frames.
const FRAME_MAX: u32 = 4096;

const QUEUES: [&[u8]; 6] = [b"q1", b"q2", b"q3", b"q4", b"", b"line\r\nend"];
const EXCHANGES: [&[u8]; 8] = [
    b"",
    b"amq.direct",
    b"amq.fanout",
    b"amq.topic",
    b"amq.headers",
    b"e1",
    b"e2",
    b"e3",
];
const EXCHANGE_TYPES: [&[u8]; 10] = [
    b"direct",
    b"fanout",
    b"topic",
    b"headers",
    b"x-consistent-hash",
    b"x-delayed-message",
    b"x-local-random",
    b"x-modulus-hash",
    b"x-random",
    b"x-recent-history",
];
const KEYS: [&[u8]; 11] = [
    b"q1",
    b"q2",
    b"q3",
    b"q4",
    b"",
    b"#",
    b"*.q",
    b"#.a.#",
    b"b.a.q",
    b"amq.rabbitmq.reply-to.AAAAAAAAAAAAAAAAAAAAAQ",
    b"3",
];
const TAGS: [&[u8]; 4] = [b"", b"one", b"two", &[b't'; 255]];
