//! What clients say, out of small pools of names, so that they meet.

use leveret::wire::amqp::frame;
use leveret::wire::amqp::{
    ArrayBuilder, OwnedTable, Properties, TableBuilder, Value, basic, channel, confirm, connection,
    exchange, queue, tx,
};

use crate::client::{Channel, Client, Mode};
use crate::message;
use crate::random::Random;
use crate::wares::{Focus, TIMEOUTS};

/// How often a client does what, in the order of [`Client::command`].
pub const PUBLISHER: [usize; 16] = [3, 2, 3, 60, 2, 2, 2, 1, 4, 1, 1, 1, 1, 1, 1, 2];
pub const CONSUMER: [usize; 16] = [3, 1, 3, 6, 8, 6, 40, 3, 2, 1, 1, 1, 4, 1, 1, 1];
pub const ORGANIZER: [usize; 16] = [14, 10, 22, 8, 4, 2, 4, 1, 2, 4, 5, 5, 2, 3, 1, 2];
pub const EVERYTHING: [usize; 16] = [6, 4, 8, 30, 6, 5, 20, 2, 4, 2, 1, 1, 3, 2, 1, 2];

impl Client {
    pub fn command(&mut self) {
        let Some(number) = self.some_channel() else {
            return self.open_channel();
        };
        match self.random.weighted(&self.habits.weights) {
            0 => self.declare_queue(number),
            1 => self.declare_exchange(number),
            2 => self.bind(number),
            3 => self.publish(number, true),
            4 => self.consume(number),
            5 => self.get(number),
            6 => self.settle(number),
            7 => self.recover(number),
            8 => self.finish_transaction(number),
            9 => self.purge(number),
            10 => self.delete_queue(number),
            11 => self.delete_exchange(number),
            12 => self.cancel_or_limit(number),
            13 => self.change_channels(number),
            14 => self.make_a_mistake(number),
            _ => self.answer_a_request(number),
        }
    }

    /// An open one, or none.
    fn some_channel(&mut self) -> Option<u16> {
        let open: Vec<u16> = (self.channels.iter())
            .filter(|(_, channel)| !channel.closing)
            .map(|(number, _)| *number)
            .collect();
        (!open.is_empty()).then(|| *self.random.pick(&open))
    }

    fn channel(&mut self, number: u16) -> &mut Channel {
        self.channels
            .get_mut(&number)
            .expect("it was picked among them")
    }

    fn open_channel(&mut self) {
        let number = *self.random.pick(&[1, 2, 3, 7, 2047]);
        if self.channels.contains_key(&number) {
            return;
        }
        self.channels.insert(number, Channel::default());
        self.send(number, &channel::Open::default());
        match self.random.below(6) {
            0 | 1 => {
                self.channel(number).mode = Mode::Confirm;
                let no_wait = self.random.percent(20);
                self.send(number, &confirm::Select { no_wait });
            }
            2 => {
                self.channel(number).mode = Mode::Transaction;
                self.send(number, &tx::Select {});
            }
            _ => {}
        }
    }

    fn declare_queue(&mut self, number: u16) {
        let name = self.queue();
        let odd = self.random.percent(3);
        let passive = self.random.percent(12);
        let wares = self.habits.wares.clone();
        let declare = queue::Declare {
            queue: name.as_bytes(),
            passive,
            durable: (self.habits.is_durable || matches!(name, "q0" | "q1" | "q5")) != odd,
            exclusive: name.is_empty() || name == "x",
            auto_delete: matches!(name, "q3" | "q5"),
            no_wait: !name.is_empty() && self.random.percent(10),
            arguments: wares.arguments(name).view(),
            ..queue::Declare::default()
        };
        self.send(number, &declare);
    }

    fn declare_exchange(&mut self, number: u16) {
        let (name, kind, auto_delete, alternate) = *self.random.pick(&EXCHANGES);
        let kind = match self.random.below(40) {
            0 => "direct",
            1 if self.habits.reckless => "unheard-of",
            _ => kind,
        };
        let mut arguments = TableBuilder::new();
        if let Some(alternate) = alternate {
            arguments.put("alternate-exchange", alternate);
        }
        match name {
            "late" => drop(arguments.put("x-delayed-type", "topic")),
            "later" => drop(arguments.put("x-delayed-type", "fanout")),
            "once" => drop(
                arguments
                    .put("x-message-deduplication", true)
                    .put("x-cache-size", 3),
            ),
            _ => {}
        }
        if name == "colours" {
            arguments.put("hash-header", "colour");
        }
        let declare = exchange::Declare {
            exchange: name.as_bytes(),
            kind: kind.as_bytes(),
            passive: self.random.percent(10),
            durable: matches!(
                name,
                "direct" | "topic" | "hub" | "internal" | "late" | "once"
            ),
            auto_delete,
            internal: name == "internal",
            no_wait: self.random.percent(10),
            arguments: arguments.view(),
            ..exchange::Declare::default()
        };
        self.send(number, &declare);
    }

    /// Mostly something new; else another binding of what it bound before, or one less.
    fn bind(&mut self, number: u16) {
        let mut binding = Binding {
            source: self.exchange(),
            to_exchange: self.random.percent(35),
            destination: "",
            routing_key: self.random.pick::<&str>(&PATTERNS),
            arguments: self.binding_arguments().finish(),
        };
        binding.destination = match binding.to_exchange {
            true => self.exchange(),
            false => self.queue(),
        };
        let mut undo = self.random.percent(5);
        if !self.bound.is_empty() && self.random.percent(40) {
            let before = self.random.pick(&self.bound).clone();
            undo = self.random.percent(50);
            binding = match undo {
                true => before,
                false => Binding {
                    routing_key: binding.routing_key,
                    ..before
                },
            };
        }
        if ["hash", "colours"].contains(&binding.source) && !self.random.percent(2) {
            // The weight, and no second binding that would add to it.
            binding.routing_key = "1";
            binding.arguments = OwnedTable::default();
        }
        let no_wait = self.random.percent(10);
        match undo {
            true => binding.unbind(number, no_wait, &mut self.out),
            false => binding.bind(number, no_wait, &mut self.out),
        }
        self.bound.push(binding);
        if self.bound.len() > 8 {
            self.bound.remove(0);
        }
    }

    fn binding_arguments(&mut self) -> TableBuilder {
        let mut arguments = TableBuilder::new();
        if self.random.percent(60) {
            return arguments;
        }
        let kinds = ["all", "any", "all-with-x", "any-with-x", "most"];
        let kind = kinds[self.random.weighted(&[8, 8, 3, 3, 1])];
        arguments.put("x-match", kind);
        for (name, value) in some_headers(&mut self.random) {
            arguments.put(name, value);
        }
        arguments
    }

    /// Several messages the same way, or one with everything in it.
    fn publish(&mut self, number: u16, with_others: bool) {
        let (exchange, routing_key) = self.way();
        let flood = self.habits.flood;
        for _ in 0..*self.random.pick(&[1, 1, 1, 2, 3, flood]) {
            self.publish_one(number, exchange, routing_key, with_others);
        }
    }

    fn way(&mut self) -> (&'static str, &'static str) {
        if self.random.percent(self.habits.wares.delays / 2) {
            ("late", *self.random.pick(&KEYS))
        } else if self.habits.wares.focus == Some(Focus::Duplicates) && self.random.percent(40) {
            ("once", *self.random.pick(&KEYS))
        } else if self.random.percent(50) {
            ("", *self.random.pick(&QUEUES[..self.habits.wares.queues]))
        } else {
            (self.exchange(), *self.random.pick(&KEYS))
        }
    }

    fn publish_one(&mut self, number: u16, exchange: &str, routing_key: &str, with_others: bool) {
        let (message, size) = self.next_message();
        let habits = &self.habits;
        let (is_durable, persistent) = (habits.is_durable, habits.persistent);
        let waits_for_replies = self.channel(number).waits_for_replies;
        let plain = match waits_for_replies {
            true => 30,
            false if is_durable => 100 - persistent,
            false => 70,
        };
        let block = match self.random.percent(plain) {
            true => message::plain_properties(message, size),
            false => self.rich_properties(number, message),
        };
        let publish = basic::Publish {
            ticket: 0,
            exchange: exchange.as_bytes(),
            routing_key: routing_key.as_bytes(),
            mandatory: self.random.percent(25),
            immediate: self.habits.reckless && self.random.percent(1),
        };
        self.send(number, &publish);
        frame::encode_content_header(&mut self.out, number, size as u64, &block);
        if with_others && self.random.percent(5) {
            self.say_something_else(number);
        }
        let part = match self.random.percent(80) {
            true => self.frame_max - frame::OVERHEAD,
            false => self
                .random
                .between(self.frame_max / 16, self.frame_max - frame::OVERHEAD),
        };
        let body = message::body(message, size);
        for part in body.chunks(part) {
            frame::encode_body(&mut self.out, number, part);
        }
    }

    fn next_message(&mut self) -> (u64, usize) {
        self.next_message += 1;
        let small = self.random.between(8, 200);
        let most = self.habits.body_max;
        let size = match self.random.below(100) {
            0..70 => small,
            70..80 => self.random.below(8),
            80..93 => self.random.between(200, 5000.min(most)),
            93..98 => self.random.between(200, 20_000.min(most)),
            _ => self.random.between(200, most),
        };
        (self.next_message, size)
    }

    /// Between the frames of a content there may be others', if on another channel.
    fn say_something_else(&mut self, number: u16) {
        if let Some(other) = self.some_channel().filter(|other| *other != number) {
            match self.random.below(3) {
                0 => self.publish(other, false),
                1 => self.settle(other),
                _ => self.get(other),
            }
        }
    }

    fn rich_properties(&mut self, number: u16, message: u64) -> Vec<u8> {
        let mut headers = TableBuilder::new();
        for (name, value) in some_headers(&mut self.random) {
            headers.put(name, value);
        }
        if self.random.percent(self.habits.wares.delays) {
            headers.put("x-delay", *self.random.pick(&DELAYS));
        }
        if self.random.percent(self.habits.wares.repeats) {
            headers.put("x-deduplication-header", *self.random.pick(&KEYS));
        }
        for name in ["CC", "BCC"] {
            match self.random.below(60) {
                0..10 => {
                    let mut keys = ArrayBuilder::new();
                    for _ in 0..self.random.between(0, 3) {
                        let pool = if self.random.percent(50) {
                            &KEYS[..]
                        } else {
                            &QUEUES[..]
                        };
                        keys.push(*self.random.pick(pool));
                    }
                    // Several keys may lead to one requester.
                    for address in self.requesters.iter().rev().take(2) {
                        keys.push(address.as_str()).push(address.as_str());
                    }
                    headers.put_array(name, &keys);
                }
                10 => drop(headers.put(name, "no array")),
                _ => {}
            }
        }
        let asks = match self.channel(number).waits_for_replies {
            true => self.random.percent(80),
            false => self.random.percent(1),
        };
        let unsuitable = self.random.below(80);
        let (expirations, priorities) =
            (self.habits.wares.expirations, self.habits.wares.priorities);
        let expires = self.random.percent(expirations);
        let expiration = *self.random.pick(&["0", "1", "20", "50", "200", "1000"]);
        let is_urgent = self.random.percent(priorities);
        let priority = *self.random.pick(&[0, 1, 1, 3, 4, 5, 9, 255]);
        let survives = self.random.percent(self.habits.persistent);
        let message = message.to_string();
        let properties = Properties {
            content_type: self.random.percent(30).then_some(b"text/plain"),
            headers: self.random.percent(80).then_some(headers.view()),
            delivery_mode: survives.then_some(2),
            reply_to: asks.then_some(b"amq.rabbitmq.reply-to"),
            priority: is_urgent.then_some(priority),
            expiration: match unsuitable {
                0 => Some(b"tomorrow"),
                _ => expires.then_some(expiration.as_bytes()),
            },
            message_id: Some(message.as_bytes()),
            user_id: match unsuitable {
                1 => Some(b"somebody"),
                2..20 => Some(b"guest"),
                _ => None,
            },
            ..Properties::default()
        };
        let mut block = Vec::new();
        properties.encode(&mut block);
        block
    }

    fn consume(&mut self, number: u16) {
        if self.random.percent(15) {
            return self.consume_replies(number);
        }
        let queue = self.queue();
        let no_ack = self.random.percent(30);
        let tag = *self.random.pick(&["", "a", "b", "c", "d"]);
        let taken = self
            .channel(number)
            .consumers
            .iter()
            .any(|(known, _)| known == tag);
        if taken && !(self.habits.reckless && self.random.percent(10)) {
            return;
        }
        let mut arguments = TableBuilder::new();
        if self.random.percent(25) {
            arguments.put("x-priority", *self.random.pick(&[-1, 1, 5]));
        }
        if self.random.percent(self.habits.wares.timeouts) {
            arguments.put("x-consumer-timeout", *self.random.pick(&TIMEOUTS));
        }
        let no_wait = !tag.is_empty() && self.random.percent(10);
        match tag {
            "" => self.channel(number).nameless.push_back(!no_ack),
            tag => self
                .channel(number)
                .consumers
                .push((tag.to_owned(), !no_ack)),
        }
        let consume = basic::Consume {
            queue: queue.as_bytes(),
            consumer_tag: tag.as_bytes(),
            no_ack,
            exclusive: self.random.percent(4),
            no_wait,
            arguments: arguments.view(),
            ..basic::Consume::default()
        };
        self.send(number, &consume);
    }

    fn consume_replies(&mut self, number: u16) {
        if self.channel(number).waits_for_replies {
            return;
        }
        self.channel(number).waits_for_replies = true;
        self.channel(number).consumers.push(("r".to_owned(), false));
        let consume = basic::Consume {
            queue: b"amq.rabbitmq.reply-to",
            consumer_tag: b"r",
            no_ack: !self.random.percent(3),
            ..basic::Consume::default()
        };
        self.send(number, &consume);
    }

    fn answer_a_request(&mut self, number: u16) {
        if self.requesters.is_empty() {
            return;
        }
        let address = self.random.pick(&self.requesters).clone();
        self.publish_one(number, "", &address, false);
    }

    fn get(&mut self, number: u16) {
        let queue = self.queue();
        let no_ack = self.random.percent(40);
        self.channel(number).gets.push_back(!no_ack);
        let get = basic::Get {
            ticket: 0,
            queue: queue.as_bytes(),
            no_ack,
        };
        self.send(number, &get);
    }

    fn settle(&mut self, number: u16) {
        let mut random = Random::new(self.random.bits());
        let channel = self.channel(number);
        if channel.held.is_empty() || channel.recovering {
            return;
        }
        let multiple = random.percent(30);
        let place = match random.percent(60) {
            true => 0,
            false => random.below(channel.held.len()),
        };
        let all = multiple && random.percent(10);
        let delivery_tag = if all { 0 } else { channel.held[place] };
        let taken: Vec<u64> = match multiple {
            true if all => std::mem::take(&mut channel.held),
            true => channel.held.drain(..=place).collect(),
            false => vec![channel.held.remove(place)],
        };
        if channel.mode == Mode::Transaction {
            channel.settled.extend(taken);
        }
        let requeue = random.percent(60);
        match random.below(10) {
            0..7 => self.send(
                number,
                &basic::Ack {
                    delivery_tag,
                    multiple,
                },
            ),
            7 if !multiple => self.send(
                number,
                &basic::Reject {
                    delivery_tag,
                    requeue,
                },
            ),
            _ => self.send(
                number,
                &basic::Nack {
                    delivery_tag,
                    multiple,
                    requeue,
                },
            ),
        }
    }

    fn recover(&mut self, number: u16) {
        if self.random.percent(15) {
            // Without an answer the client cannot know which tags are void.
            return self.send(number, &basic::RecoverAsync { requeue: true });
        }
        self.channel(number).recovering = true;
        let requeue = !(self.habits.reckless && self.random.percent(3));
        self.send(number, &basic::Recover { requeue });
    }

    fn finish_transaction(&mut self, number: u16) {
        let is_transactional = self.channel(number).mode == Mode::Transaction;
        if !is_transactional && !self.random.percent(3) {
            return;
        }
        match self.random.percent(65) {
            true => self.send(number, &tx::Commit {}),
            false => self.send(number, &tx::Rollback {}),
        }
    }

    fn purge(&mut self, number: u16) {
        let queue = self.queue();
        let purge = queue::Purge {
            ticket: 0,
            queue: queue.as_bytes(),
            no_wait: self.random.percent(10),
        };
        self.send(number, &purge);
    }

    fn delete_queue(&mut self, number: u16) {
        let queue = self.queue();
        let delete = queue::Delete {
            ticket: 0,
            queue: queue.as_bytes(),
            if_unused: self.random.percent(20),
            if_empty: self.random.percent(20),
            no_wait: self.random.percent(10),
        };
        self.send(number, &delete);
    }

    fn delete_exchange(&mut self, number: u16) {
        let exchange = self.exchange();
        let delete = exchange::Delete {
            ticket: 0,
            exchange: exchange.as_bytes(),
            if_unused: self.random.percent(30),
            no_wait: self.random.percent(10),
        };
        self.send(number, &delete);
    }

    fn cancel_or_limit(&mut self, number: u16) {
        if self.random.percent(50) {
            let prefetch_count = *self.random.pick(&[0, 1, 1, 2, 3, 10]);
            let qos = basic::Qos {
                prefetch_size: u32::from(self.habits.reckless && self.random.percent(2)),
                prefetch_count,
                global: self.random.percent(40),
            };
            return self.send(number, &qos);
        }
        let consumers = &self.channels[&number].consumers;
        if consumers.is_empty() {
            return;
        }
        let (tag, _) = self.random.pick(consumers).clone();
        let no_wait = self.random.percent(10);
        let channel = self.channel(number);
        if no_wait {
            channel.consumers.retain(|(known, _)| *known != tag);
        }
        if tag == "r" {
            channel.waits_for_replies = false;
        }
        let cancel = basic::Cancel {
            consumer_tag: tag.as_bytes(),
            no_wait,
        };
        self.send(number, &cancel);
    }

    fn change_channels(&mut self, number: u16) {
        match self.random.below(8) {
            0 => {
                self.channel(number).closing = true;
                let close = channel::Close {
                    reply_code: 200,
                    ..channel::Close::default()
                };
                self.send(number, &close);
            }
            1 => self.send(number, &channel::Flow { active: true }),
            _ => self.open_channel(),
        }
    }

    fn make_a_mistake(&mut self, number: u16) {
        match self.random.below(if self.habits.reckless { 12 } else { 6 }) {
            at @ (0 | 1) => self.send(
                number,
                &basic::Ack {
                    delivery_tag: 1_000_000,
                    multiple: at == 0,
                },
            ),
            2 => self.send(
                number,
                &queue::Declare {
                    queue: b"amq.mine",
                    ..queue::Declare::default()
                },
            ),
            3 => self.send(
                number,
                &basic::Get {
                    queue: b"missing",
                    ..basic::Get::default()
                },
            ),
            4 => self.publish_one(number, "missing", "a", true),
            5 => self.send(number, &tx::Select {}),
            6 => self.send(99, &basic::Get::default()),
            7 => self.send(number, &channel::Open::default()),
            8 => {
                self.out
                    .extend_from_slice(b"\x01\x00\x00\x00\x00\x00\x01GARBAGE");
                self.fall_silent();
            }
            9 => self.say_goodbye(),
            10 => self.send(number, &channel::Flow { active: false }),
            _ => self.send(0, &connection::UpdateSecret::default()),
        }
    }

    /// Mostly a queue of the pool; no name means the one that was declared last.
    fn queue(&mut self) -> &'static str {
        let pool: &'static [&'static str] = match self.random.percent(12) {
            true => &[""],
            false => &QUEUES[..self.habits.wares.queues],
        };
        self.random.pick::<&str>(pool)
    }

    fn exchange(&mut self) -> &'static str {
        let pool: &'static [&'static str] = match self.random.below(120) {
            0..10 => &["amq.direct", "amq.fanout", "amq.topic", "amq.headers"],
            10 => &[""],
            _ => return self.random.pick(&EXCHANGES).0,
        };
        self.random.pick::<&str>(pool)
    }
}

/// A binding that a client asked for.
#[derive(Clone)]
pub struct Binding {
    source: &'static str,
    to_exchange: bool,
    destination: &'static str,
    routing_key: &'static str,
    arguments: OwnedTable,
}

impl Binding {
    fn bind(&self, number: u16, no_wait: bool, out: &mut Vec<u8>) {
        let (source, destination) = (self.source.as_bytes(), self.destination.as_bytes());
        let (routing_key, arguments) = (self.routing_key.as_bytes(), self.arguments.view());
        if self.to_exchange {
            let bind = exchange::Bind {
                ticket: 0,
                destination,
                source,
                routing_key,
                no_wait,
                arguments,
            };
            return frame::encode_method(out, number, &bind);
        }
        let bind = queue::Bind {
            ticket: 0,
            queue: destination,
            exchange: source,
            routing_key,
            no_wait,
            arguments,
        };
        frame::encode_method(out, number, &bind);
    }

    fn unbind(&self, number: u16, no_wait: bool, out: &mut Vec<u8>) {
        let (source, destination) = (self.source.as_bytes(), self.destination.as_bytes());
        let (routing_key, arguments) = (self.routing_key.as_bytes(), self.arguments.view());
        if self.to_exchange {
            let unbind = exchange::Unbind {
                ticket: 0,
                destination,
                source,
                routing_key,
                no_wait,
                arguments,
            };
            return frame::encode_method(out, number, &unbind);
        }
        let unbind = queue::Unbind {
            ticket: 0,
            queue: destination,
            exchange: source,
            routing_key,
            arguments,
        };
        frame::encode_method(out, number, &unbind);
    }
}

fn some_headers(random: &mut Random) -> Vec<(&'static str, Value<'static>)> {
    let mut headers = Vec::new();
    for name in ["colour", "size", "x-origin"] {
        if random.percent(50) {
            let values = [
                Value::string("red"),
                Value::string("blue"),
                Value::SignedInt(1),
                Value::Void,
            ];
            headers.push((name, values[random.below(4)]));
        }
    }
    headers
}

pub const QUEUES: [&str; 7] = ["q0", "q1", "q2", "q3", "q4", "q5", "x"];

/// Name, type, auto-delete, alternate exchange.
pub const EXCHANGES: [(&str, &str, bool, Option<&str>); 15] = [
    ("direct", "direct", false, None),
    ("fanout", "fanout", false, None),
    ("topic", "topic", false, None),
    ("headers", "headers", false, None),
    ("brief", "fanout", true, None),
    ("hub", "topic", true, Some("direct")),
    ("spare", "direct", false, Some("fanout")),
    ("internal", "topic", false, Some("nowhere")),
    ("loop", "headers", false, Some("loop")),
    ("hash", "x-consistent-hash", false, None),
    ("colours", "x-consistent-hash", false, Some("fanout")),
    ("modulus", "x-modulus-hash", true, None),
    ("once", "fanout", false, None),
    ("late", "x-delayed-message", false, None),
    ("later", "x-delayed-message", true, Some("fanout")),
];

/// No message expires after such a time.
const DELAYS: [i32; 8] = [-5, 0, 3, 15, 30, 250, 900, 2500];

const KEYS: [&str; 8] = ["a", "b", "a.b", "a.b.c", "b.c", "", "q0", ".a."];

const PATTERNS: [&str; 12] = [
    "a", "b", "a.b", "#", "*", "a.#", "*.b", "#.c", "a.*.c", "", "*.#.*", "q0",
];
