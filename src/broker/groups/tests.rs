//! A queue with groups under random consumers, against a list of what is where.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::broker::message::{Body, Traits};
use crate::broker::outlet::{Delivery, Outlet};
use crate::broker::topology::queue::QueueDeclaration;
use crate::broker::{
    ChannelKey, ConnectionKey, ConsumeRequest, Name, Published, Route, Settlement,
};
use crate::wire::amqp::field_table::Value;
use crate::wire::amqp::properties::Properties;
use crate::wire::amqp::{OwnedTable, TableBuilder};

/// Notes what is delivered: the socket, the tag, the number of the message, and whether it is again.
#[derive(Default)]
struct Noted(Vec<(SocketKey, u64, u64, bool)>);

impl Outlet for Noted {
    fn has_room(&mut self, _: SocketKey) -> bool {
        true
    }

    fn is_flooded(&self, _: SocketKey) -> bool {
        false
    }

    fn deliver(&mut self, delivery: &Delivery<'_>) {
        let number = number_of(&delivery.message);
        let Delivery {
            socket,
            delivery_tag,
            redelivered,
            ..
        } = *delivery;
        self.0.push((socket, delivery_tag, number, redelivered));
    }
}

fn number_of(message: &Message<'_>) -> u64 {
    let bytes = message.body.as_slice().try_into();
    u64::from_le_bytes(bytes.expect("every body here is a number"))
}

/// What a queue is declared with, and what the messages are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Priorities,
    Bounded,
    BoundedPriorities,
    Expiring,
    Retrying,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Of no group, if that is zero.
    Publish {
        group: u8,
        priority: u8,
        ttl_ms: u64,
    },
    Settle {
        nth: usize,
        how: Settlement,
    },
    SettleUpTo {
        nth: usize,
        how: Settlement,
    },
    Join {
        prefetch: u16,
        no_ack: bool,
    },
    Leave {
        nth: usize,
    },
    Get {
        no_ack: bool,
    },
    Wait {
        ms: u64,
    },
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// The client, and its delivery tag.
    Held(usize, u64),
    /// Until then.
    Waiting(u64),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    group: u8,
    priority: u8,
    expires_ms: Option<u64>,
    state: State,
    failed: u64,
    acquired: u64,
}

struct Client {
    socket: SocketKey,
    connection: ConnectionKey,
    channel: ChannelKey,
    prefetch: u16,
    no_ack: bool,
    is_gone: bool,
}

struct World {
    core: Core,
    kind: Kind,
    queue: QueueKey,
    clients: Vec<Client>,
    /// Those that are in the queue, with a client, or wait for another try.
    known: BTreeMap<u64, Known>,
    next_number: u64,
    now_ms: u64,
}

impl World {
    fn new(kind: Kind) -> World {
        let mut core = Core::new();
        let virtual_host = core.virtual_host(b"/").unwrap();
        let mut arguments = TableBuilder::new();
        arguments.put("x-group-key", "group");
        match kind {
            Kind::Plain | Kind::Expiring => {}
            Kind::Priorities => drop(arguments.put("x-max-priority", 9)),
            Kind::Bounded => drop(arguments.put("x-max-length", BOUND as i32)),
            Kind::BoundedPriorities => {
                arguments.put("x-max-length", BOUND as i32);
                arguments.put("x-max-priority", 9);
            }
            Kind::Retrying => {
                arguments.put("x-delayed-retry-type", "all");
                arguments.put("x-delayed-retry-min", RETRY_MS as i32);
            }
        }
        let declaration = QueueDeclaration {
            virtual_host,
            connection: ConnectionKey::NONE,
            name: b"q",
            generated: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.view(),
        };
        core.declare_queue(&declaration).unwrap();
        let queue = core.queue_for(virtual_host, ConnectionKey::NONE, b"q");
        let queue = queue.unwrap();
        core.set_time(NOON_MS);
        let mut world = World {
            core,
            kind,
            queue,
            clients: Vec::new(),
            known: BTreeMap::new(),
            next_number: 1,
            now_ms: NOON_MS,
        };
        // The first one does not consume, but gets.
        world.connect(0, false);
        world
    }

    fn connect(&mut self, prefetch: u16, no_ack: bool) {
        let virtual_host = self.core.virtual_host(b"/").unwrap();
        let socket = SocketKey::from_bits(1 + self.clients.len() as u64);
        let name = Name::from("guest");
        let connection = self
            .core
            .open_connection(socket, virtual_host, name.clone(), name, true);
        let channel = self.core.open_channel(connection, 1);
        self.clients.push(Client {
            socket,
            connection,
            channel,
            prefetch,
            no_ack,
            is_gone: false,
        });
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish {
                group,
                priority,
                ttl_ms,
            } => self.publish(group, priority, ttl_ms),
            Step::Settle { nth, how } => {
                let held = self.held();
                if let Some(&(number, client, tag)) = held.get(nth) {
                    let channel = self.clients[client].channel;
                    self.core.settle(channel, tag, false, how).unwrap();
                    self.settled(number, how);
                }
            }
            Step::SettleUpTo { nth, how } => {
                let held = self.held();
                if let Some(&(_, client, last)) = held.get(nth) {
                    let channel = self.clients[client].channel;
                    self.core.settle(channel, last, true, how).unwrap();
                    let mut all: Vec<_> = held
                        .iter()
                        .filter(|(_, holder, tag)| *holder == client && *tag <= last)
                        .collect();
                    all.sort_by_key(|(_, _, tag)| *tag);
                    all.into_iter()
                        .for_each(|(number, ..)| self.settled(*number, how));
                }
            }
            Step::Join { prefetch, no_ack } => {
                self.connect(prefetch, no_ack);
                let channel = self.clients.last().unwrap().channel;
                self.core.set_prefetch(channel, prefetch, false);
                let request = ConsumeRequest {
                    tag: b"c",
                    no_ack,
                    exclusive: false,
                    arguments: OwnedTable::default(),
                };
                self.core.consume(channel, b"q", request).unwrap();
            }
            Step::Leave { nth } => self.leave(nth),
            Step::Get { no_ack } => self.get(no_ack),
            Step::Wait { ms } => self.wait(ms),
            Step::Purge => {
                let virtual_host = self.core.virtual_host(b"/").unwrap();
                let purged = self
                    .core
                    .purge_queue(virtual_host, ConnectionKey::NONE, b"q");
                let before = self.known.len();
                self.known.retain(|_, known| known.state != State::Ready);
                assert_eq!(purged.unwrap().count, before - self.known.len());
                while self.core.has_more_work() {
                    self.core.fire_due();
                    self.core.tidy();
                }
            }
        }
        self.deliver();
        self.check();
    }

    fn publish(&mut self, group: u8, priority: u8, ttl_ms: u64) {
        let number = self.next_number;
        self.next_number += 1;
        let mut headers = TableBuilder::new();
        if group > 0 {
            headers.put("group", Value::UnsignedByte(group));
        }
        let expiration = (self.kind == Kind::Expiring).then(|| ttl_ms.to_string());
        let mut block = Vec::new();
        Properties {
            headers: Some(headers.view()),
            priority: Some(priority),
            expiration: expiration.as_ref().map(|text| text.as_bytes()),
            ..Properties::default()
        }
        .encode(&mut block);
        let body = number.to_le_bytes();
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            properties: &block,
            body: Body::Slice(&body),
            arrived_ms: 0,
        };
        let route = Route {
            queues: vec![self.queue],
            ..Route::default()
        };
        let has_priorities = matches!(self.kind, Kind::Priorities | Kind::BoundedPriorities);
        self.known.insert(
            number,
            Known {
                group,
                priority: if has_priorities { priority.min(9) } else { 0 },
                expires_ms: expiration.is_some().then(|| self.now_ms + ttl_ms),
                state: State::Ready,
                failed: 0,
                acquired: 0,
            },
        );
        let mut noted = Noted::default();
        let traits = Traits::of(&message);
        let published = self.core.publish(&route, &message, &traits, &mut noted);
        assert_eq!(published, Published::Taken);
        self.note(noted);
        self.drop_expired();
        self.drop_excess();
    }

    fn deliver(&mut self) {
        let mut noted = Noted::default();
        loop {
            self.core.deliver_fresh(&mut noted);
            self.core.deliver_backlogs(&mut noted);
            if self.core.is_settled() && !self.core.has_backlogs() {
                break;
            }
        }
        self.note(noted);
    }

    fn note(&mut self, noted: Noted) {
        for (socket, tag, number, redelivered) in noted.0 {
            let mut clients = self.clients.iter();
            let client = clients.position(|client| client.socket == socket).unwrap();
            let no_ack = self.clients[client].no_ack;
            self.delivered(number, client, tag, redelivered, no_ack);
        }
    }

    /// The promise: nobody else has one of its group, and it is the first of its group.
    fn delivered(&mut self, number: u64, client: usize, tag: u64, redelivered: bool, no_ack: bool) {
        let known = self.known[&number];
        assert_eq!(known.state, State::Ready, "{number} is delivered twice");
        assert_eq!(redelivered, known.acquired > 0);
        for (other, it) in &self.known {
            if *other != number && it.group == known.group && known.group > 0 {
                assert_eq!(it.state, State::Ready, "{other} keeps {number} from going");
                assert!(
                    rank(*other, it) > rank(number, &known),
                    "{other} is before {number}"
                );
            }
        }
        if no_ack {
            self.known.remove(&number);
        } else if let Some(known) = self.known.get_mut(&number) {
            known.state = State::Held(client, tag);
        }
    }

    /// Who holds what: number, client, tag.
    fn held(&self) -> Vec<(u64, usize, u64)> {
        let held = self
            .known
            .iter()
            .filter_map(|(number, known)| match known.state {
                State::Held(client, tag) => Some((*number, client, tag)),
                _ => None,
            });
        held.collect()
    }

    fn settled(&mut self, number: u64, how: Settlement) {
        let known = self.known.get_mut(&number).unwrap();
        if matches!(how, Settlement::Acked | Settlement::Rejected) {
            self.known.remove(&number);
            return;
        }
        known.acquired += 1;
        known.failed += u64::from(how == Settlement::Failed);
        let tries = known.failed.max(1);
        known.state = match self.kind {
            Kind::Retrying => State::Waiting(self.now_ms + RETRY_MS * tries),
            _ => State::Ready,
        };
        if known.expires_ms.is_some_and(|at| at <= self.now_ms) {
            self.known.remove(&number);
        }
        self.drop_excess();
    }

    fn leave(&mut self, nth: usize) {
        let Some(client) = self.clients.get(nth + 1).filter(|client| !client.is_gone) else {
            return;
        };
        self.core.close_connection(client.connection);
        self.clients[nth + 1].is_gone = true;
        let mut held = self.held();
        held.retain(|(_, client, _)| *client == nth + 1);
        held.sort_by_key(|(_, _, tag)| *tag);
        for (number, ..) in held {
            self.settled(number, Settlement::Failed);
        }
    }

    fn get(&mut self, no_ack: bool) {
        let channel = self.clients[0].channel;
        let mut taken = None;
        let getting = self.core.get(channel, b"q", no_ack, |got| {
            taken = Some((
                got.delivery_tag,
                number_of(&got.message),
                got.redelivered,
                got.left,
            ));
        });
        let Some((tag, number, redelivered, left)) = taken else {
            assert_eq!(getting, Ok(Getting::Empty));
            assert_eq!(self.free_ready(), None);
            return;
        };
        assert_eq!(self.free_ready(), Some(number), "the first that may go");
        self.delivered(number, 0, tag, redelivered, no_ack);
        assert_eq!(left, self.ready().count());
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let now_ms = self.now_ms;
        self.core.set_time(now_ms);
        while self.core.next_deadline().is_some_and(|due| due <= now_ms) {
            self.core.fire_due();
        }
        self.drop_expired();
        for known in self.known.values_mut() {
            if matches!(known.state, State::Waiting(until_ms) if until_ms <= now_ms) {
                known.state = State::Ready;
            }
        }
    }

    fn drop_expired(&mut self) {
        self.known.retain(|_, known| {
            let is_over = known.expires_ms.is_some_and(|at| at <= self.now_ms);
            !(is_over && known.state == State::Ready)
        });
    }

    fn drop_excess(&mut self) {
        if !matches!(self.kind, Kind::Bounded | Kind::BoundedPriorities) {
            return;
        }
        while self.ready().count() > BOUND {
            let first = self
                .ready()
                .min_by_key(|(number, known)| rank(**number, known));
            let first = *first.unwrap().0;
            self.known.remove(&first);
        }
    }

    fn ready(&self) -> impl Iterator<Item = (&u64, &Known)> {
        self.known
            .iter()
            .filter(|(_, known)| known.state == State::Ready)
    }

    /// The first that may go.
    fn free_ready(&self) -> Option<u64> {
        let busy = |group: u8| {
            let mut others = self.known.values();
            group > 0 && others.any(|it| it.group == group && it.state != State::Ready)
        };
        let free = self.ready().filter(|(_, known)| !busy(known.group));
        let first = free.min_by_key(|(number, known)| rank(**number, known));
        first.map(|(number, _)| *number)
    }

    /// Counts are right, and who can take a message that may go has got it.
    fn check(&self) {
        let queue = &self.core.traffic.queues[self.queue];
        assert_eq!(queue.ready.len(), self.ready().count());
        assert_eq!(queue.ready.iter().count(), queue.ready.len());
        assert_eq!(queue.ready.body_bytes, 8 * queue.ready.len() as u64);
        assert_eq!(queue.unacked, self.held().len());
        let has_room = self.clients.iter().enumerate().skip(1).any(|(at, client)| {
            let held = self.held();
            let count = held.iter().filter(|(_, holder, _)| *holder == at).count();
            !client.is_gone
                && (client.no_ack || client.prefetch == 0 || count < usize::from(client.prefetch))
        });
        if has_room {
            assert_eq!(self.free_ready(), None, "somebody could take it");
        }
    }

    /// Everything that is left is consumed, in order and by many.
    fn finish(mut self) {
        self.take(Step::Join {
            prefetch: 3,
            no_ack: false,
        });
        self.take(Step::Join {
            prefetch: 0,
            no_ack: false,
        });
        for _ in 0..100_000 {
            if self.known.is_empty() {
                break;
            }
            self.take(Step::Wait { ms: RETRY_MS });
            self.take(Step::Settle {
                nth: 0,
                how: Settlement::Acked,
            });
        }
        assert_eq!(self.known.len(), 0, "some starved");
        while self.core.has_more_work() {
            self.core.fire_due();
            self.core.tidy();
        }
        assert_eq!(self.core.inventory().messages, 0);
    }
}

/// In order of delivery.
fn rank(number: u64, known: &Known) -> (std::cmp::Reverse<u8>, u64) {
    (std::cmp::Reverse(known.priority), number)
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        3 => Just(Settlement::Acked),
        1 => Just(Settlement::Rejected),
        1 => Just(Settlement::Returned),
        1 => Just(Settlement::Failed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..5u8, 0..4u8, 0..400u64)
            .prop_map(|(group, priority, ttl_ms)| Step::Publish { group, priority, ttl_ms }),
        6 => (0..12usize, settlement()).prop_map(|(nth, how)| Step::Settle { nth, how }),
        1 => (0..12usize, settlement()).prop_map(|(nth, how)| Step::SettleUpTo { nth, how }),
        2 => (0..4u16, prop::bool::weighted(0.1))
            .prop_map(|(prefetch, no_ack)| Step::Join { prefetch, no_ack }),
        1 => (0..8usize).prop_map(|nth| Step::Leave { nth }),
        2 => prop::bool::weighted(0.3).prop_map(|no_ack| Step::Get { no_ack }),
        2 => (0..100u64).prop_map(|ms| Step::Wait { ms }),
        1 => prop::bool::weighted(0.2).prop_map(|purge| match purge {
            true => Step::Purge,
            false => Step::Wait { ms: 1 },
        }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Plain,
        Kind::Priorities,
        Kind::Bounded,
        Kind::BoundedPriorities,
        Kind::Expiring,
        Kind::Retrying,
    ])
}

proptest! {
    #[test]
    fn a_group_goes_one_after_the_other_and_nothing_starves(
        kind in kind(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(kind);
        steps.into_iter().for_each(|step| world.take(step));
        world.finish();
    }
}

#[test]
fn a_long_row_of_one_busy_group_is_passed_over_bit_by_bit_and_once() {
    let mut world = World::new(Kind::Plain);
    for _ in 0..5_000 {
        world.publish(1, 0, 0);
    }
    world.publish(2, 0, 0);
    world.take(Step::Get { no_ack: false });
    let channel = world.clients[0].channel;
    let get = |world: &mut World| world.core.get(channel, b"q", true, |_| {});
    let mut turns = 0;
    while get(&mut world) == Ok(Getting::Again) {
        turns += 1;
    }
    assert_eq!(turns, 4_999 / LOOKS_PER_GET);
    assert_eq!(
        get(&mut world),
        Ok(Getting::Empty),
        "nothing is looked at again"
    );
    let ready = &world.core.traffic.queues[world.queue].ready;
    assert!(!ready.has_next() && ready.len() == 4_999);
}

/// Messages that a bounded queue may have.
const BOUND: usize = 6;
const RETRY_MS: u64 = 50;
const NOON_MS: u64 = 1_700_000_000_000;
