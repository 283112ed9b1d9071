//! Declares and deletes durable things, and remembers what was answered.

use std::collections::BTreeMap;

use leveret::wire::amqp::{EncodeMethod, Method, Properties, basic, exchange, queue};

use super::{declare_exchange, declare_queue};
use crate::peer::{Outcome, Peer};
use crate::program::Program;
use crate::random::Random;
use crate::stamp::encode_publish;
use crate::support::{RawClient, publish_to};

/// What is declared, as far as anybody knows.
#[derive(Default)]
pub struct Definitions {
    standings: BTreeMap<Thing, Standing>,
    /// How often each queue was declared. Its messages say in which of its lives they came.
    generations: BTreeMap<u8, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Queue(u8),
    Exchange(u8),
    Binding(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Present,
    Absent,
    /// Asked for, or asked to go, and not answered.
    Unknown,
}

/// What bindings are made between.
pub fn declare(client: &mut RawClient) {
    declare_exchange(client, SOURCE, "direct");
    declare_queue(client, BOUND);
}

impl Definitions {
    /// Changes them until the broker is gone.
    pub fn change(mut self, mut peer: Peer, mut random: Random) -> Definitions {
        let outcome = self.change_on(&mut peer, &mut random);
        assert!(outcome.is_err(), "only the broker's end ends it");
        self
    }

    fn change_on(&mut self, peer: &mut Peer, random: &mut Random) -> Outcome<()> {
        loop {
            let mut asked = Vec::new();
            for _ in 0..random.between(1, 4) {
                let thing = random_thing(random);
                // One change of each at a time, since nobody could say which of two was stored.
                if asked.iter().all(|(other, _)| *other != thing) {
                    asked.push((thing, self.ask(thing, peer)?));
                }
            }
            for (thing, wanted) in asked {
                peer.receive()?;
                self.standings.insert(thing, wanted);
            }
            // What is declared a thousand times in a round tells no more.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Asks for the opposite of how the thing stands: how it will stand when that is answered.
    fn ask(&mut self, thing: Thing, peer: &mut Peer) -> Outcome<Standing> {
        let wanted = match self.standing(thing) {
            Standing::Present => Standing::Absent,
            _ => Standing::Present,
        };
        self.standings.insert(thing, Standing::Unknown);
        match (thing, wanted) {
            (Thing::Queue(n), Standing::Present) => self.ask_for_queue(n, peer)?,
            (_, Standing::Present) => send_declare(thing, peer)?,
            _ => send_delete(thing, peer)?,
        }
        Ok(wanted)
    }

    /// A queue, and a message in it that tells this life of the queue from those before.
    fn ask_for_queue(&mut self, n: u8, peer: &mut Peer) -> Outcome<()> {
        let generation = self.generations.entry(n).or_default();
        *generation += 1;
        send_declare(Thing::Queue(n), peer)?;
        let mut properties = Vec::new();
        Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }
        .encode(&mut properties);
        let mut bytes = Vec::new();
        let body = generation.to_string();
        let name = Thing::Queue(n).name();
        encode_publish(&mut bytes, "", &name, &properties, body.as_bytes());
        peer.send_bytes(&bytes)
    }

    /// Looks what is there in a broker that is back, and says what should not be so.
    pub fn check(&mut self, program: &Program) -> Vec<String> {
        let mut client = program.connect();
        client.confirm();
        let mut faults = Vec::new();
        for thing in all_things() {
            let found = match thing {
                Thing::Binding(n) => is_bound(&mut client, n),
                _ => is_declared(&mut client, thing),
            };
            let standing = self.standing(thing);
            if standing != Standing::Unknown && standing != found {
                faults.push(format!("{thing:?} was {standing:?} and is {found:?}"));
            }
            if let (Thing::Queue(n), Standing::Present, Standing::Present) =
                (thing, standing, found)
            {
                faults.extend(self.check_generation(&mut client, n));
            }
            self.standings.insert(thing, found);
        }
        client.call(queue::Purge {
            queue: BOUND.as_bytes(),
            ..Default::default()
        });
        client.close();
        faults
    }

    /// A queue that was deleted and declared again has none of its old messages.
    fn check_generation(&self, client: &mut RawClient, n: u8) -> Option<String> {
        let name = Thing::Queue(n).name();
        let bodies = client.drain(&name);
        let current = self.generations[&n].to_string();
        let old = bodies.iter().any(|body| *body != current);
        old.then(|| format!("{name} has messages of its generations {bodies:?} in {current}"))
    }

    fn standing(&self, thing: Thing) -> Standing {
        *self.standings.get(&thing).unwrap_or(&Standing::Absent)
    }
}

impl Thing {
    /// Of a binding, its routing key.
    fn name(self) -> String {
        match self {
            Thing::Queue(n) => format!("definer-queue-{n}"),
            Thing::Exchange(n) => format!("definer-exchange-{n}"),
            Thing::Binding(n) => format!("definer-key-{n}"),
        }
    }
}

fn all_things() -> impl Iterator<Item = Thing> {
    let queues = (0..QUEUES).map(Thing::Queue);
    let exchanges = (0..EXCHANGES).map(Thing::Exchange);
    queues
        .chain(exchanges)
        .chain((0..BINDINGS).map(Thing::Binding))
}

fn random_thing(random: &mut Random) -> Thing {
    let things: Vec<_> = all_things().collect();
    *random.pick(&things)
}

fn send_declare(thing: Thing, peer: &mut Peer) -> Outcome<()> {
    let name = thing.name();
    match thing {
        Thing::Queue(_) => peer.send(&queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            ..Default::default()
        }),
        Thing::Exchange(_) => peer.send(&exchange::Declare {
            exchange: name.as_bytes(),
            kind: b"topic",
            durable: true,
            ..Default::default()
        }),
        Thing::Binding(_) => peer.send(&queue::Bind {
            queue: BOUND.as_bytes(),
            exchange: SOURCE.as_bytes(),
            routing_key: name.as_bytes(),
            ..Default::default()
        }),
    }
}

fn send_delete(thing: Thing, peer: &mut Peer) -> Outcome<()> {
    let name = thing.name();
    match thing {
        Thing::Queue(_) => peer.send(&queue::Delete {
            queue: name.as_bytes(),
            ..Default::default()
        }),
        Thing::Exchange(_) => peer.send(&exchange::Delete {
            exchange: name.as_bytes(),
            ..Default::default()
        }),
        Thing::Binding(_) => peer.send(&queue::Unbind {
            queue: BOUND.as_bytes(),
            exchange: SOURCE.as_bytes(),
            routing_key: name.as_bytes(),
            ..Default::default()
        }),
    }
}

fn is_declared(client: &mut RawClient, thing: Thing) -> Standing {
    let name = thing.name();
    let passive_queue = queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..Default::default()
    };
    let passive_exchange = exchange::Declare {
        exchange: name.as_bytes(),
        passive: true,
        ..Default::default()
    };
    match thing {
        Thing::Queue(_) => is_answered(client, &passive_queue),
        _ => is_answered(client, &passive_exchange),
    }
}

fn is_answered(client: &mut RawClient, method: &impl EncodeMethod) -> Standing {
    client.send(method);
    let received = client.receive();
    if let Method::ChannelClose(close) = received.method() {
        assert_eq!(close.reply_code, 404, "{received}");
        client.send(&leveret::wire::amqp::channel::CloseOk {});
        client.open_channel(1);
        client.confirm();
        return Standing::Absent;
    }
    Standing::Present
}

fn is_bound(client: &mut RawClient, n: u8) -> Standing {
    let key = Thing::Binding(n).name();
    let publish = basic::Publish {
        mandatory: true,
        ..publish_to(SOURCE, &key)
    };
    client.publish_content(&publish, &[0, 0], b"is it bound?");
    let mut standing = Standing::Present;
    loop {
        let received = client.receive();
        if received.kind != leveret::wire::amqp::frame::METHOD {
            continue;
        }
        match received.method() {
            Method::BasicAck(_) => return standing,
            Method::BasicReturn(_) => standing = Standing::Absent,
            _ => panic!("a return or a confirm was due, not {received}"),
        }
    }
}

const SOURCE: &str = "definer-source";
const BOUND: &str = "definer-bound";
const QUEUES: u8 = 6;
const EXCHANGES: u8 = 4;
const BINDINGS: u8 = 10;
