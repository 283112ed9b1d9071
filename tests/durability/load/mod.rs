//! Clients that keep a broker busy until it dies under them, and then say what they know.

mod consumer;
mod definer;
mod mover;
mod publisher;

use std::thread::{self, JoinHandle};

use leveret::wire::amqp::{exchange, queue};

pub use definer::Definitions;

use crate::ledger::Ledger;
use crate::peer::Peer;
use crate::program::Program;
use crate::random::Random;
use crate::support::RawClient;
use publisher::{Pace, Publisher, Route};

/// Queues and exchanges of the load; all of it is durable.
pub struct Topology {
    pub queues: Vec<String>,
}

/// All clients of one life of the broker.
pub struct Load {
    workers: Vec<JoinHandle<Ledger>>,
    definer: JoinHandle<Definitions>,
}

impl Topology {
    /// Declares so many queues for publishers and consumers, and what the other clients need.
    pub fn declare(program: &Program, count: usize) -> Topology {
        let mut client = program.connect();
        declare_exchange(&mut client, FANOUT, "fanout");
        let queues: Vec<_> = (0..count).map(|n| format!("q{n}")).collect();
        for queue in queues.iter().map(String::as_str).chain(OWN_QUEUES) {
            declare_queue(&mut client, queue);
        }
        for queue in queues.iter().take(FANOUT_QUEUES) {
            client.bind_queue(queue, FANOUT, "");
        }
        definer::declare(&mut client);
        client.close();
        Topology { queues }
    }

    /// The queues whose contents the ledger knows.
    pub fn known_queues(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(String::as_str).chain([FROM, TO])
    }

    /// Where a publisher may publish to.
    fn routes(&self, random: &mut Random) -> Vec<Route> {
        let direct = |queue: &String| Route {
            exchange: "",
            routing_key: queue.clone(),
            queues: vec![queue.clone()],
        };
        let mut routes: Vec<_> = (0..random.between(1, 8))
            .map(|_| direct(random.pick(&self.queues)))
            .collect();
        if random.percent(50) {
            let queues = self.queues.iter().take(FANOUT_QUEUES).cloned();
            routes.push(Route {
                exchange: FANOUT,
                routing_key: String::new(),
                queues: queues.collect(),
            });
        }
        routes
    }
}

impl Load {
    /// Starts all clients. `life` is different for each life of the broker.
    pub fn start(
        program: &Program,
        topology: &Topology,
        definitions: Definitions,
        life: u32,
        random: &mut Random,
    ) -> Load {
        let mut workers = Vec::new();
        for n in 0..random.between(1, 4) as u32 {
            let publisher = Publisher {
                id: life * 100 + n,
                routes: topology.routes(random),
                pace: pace(random),
                transient_percent: *random.pick(&[0, 0, 20]),
                random: Random::new(random.bits()),
            };
            let peer = Peer::new(program.connect());
            workers.push(thread::spawn(move || publisher.run(peer)));
        }
        workers.push(feed_mover(program, life, random));
        workers.push(start_mover(program));
        let mut queues = topology.queues.clone();
        for _ in 0..random.below(3).min(queues.len()) {
            let queue = queues.swap_remove(random.below(queues.len()));
            let random = Random::new(random.bits());
            let peer = Peer::new(program.connect());
            workers.push(thread::spawn(move || consumer::run(peer, &queue, random)));
        }
        let peer = Peer::new(program.connect());
        let random = Random::new(random.bits());
        let definer = thread::spawn(move || definitions.change(peer, random));
        Load { workers, definer }
    }

    /// The broker is gone: what its clients know.
    pub fn end(self) -> (Ledger, Definitions) {
        let mut ledger = Ledger::default();
        for worker in self.workers {
            ledger.merge(worker.join().unwrap());
        }
        (ledger, self.definer.join().unwrap())
    }
}

/// A publisher that fills the queue from which messages are moved.
fn feed_mover(program: &Program, life: u32, random: &mut Random) -> JoinHandle<Ledger> {
    let publisher = Publisher {
        id: life * 100 + 99,
        routes: vec![Route {
            exchange: "",
            routing_key: FROM.to_owned(),
            queues: vec![FROM.to_owned()],
        }],
        pace: Pace::Window(10),
        transient_percent: 0,
        random: Random::new(random.bits()),
    };
    let peer = Peer::new(program.connect());
    thread::spawn(move || publisher.run(peer))
}

fn start_mover(program: &Program) -> JoinHandle<Ledger> {
    let peer = Peer::new(program.connect());
    thread::spawn(move || mover::run(peer, FROM, TO))
}

fn pace(random: &mut Random) -> Pace {
    match random.below(7) {
        0 => Pace::Transactions(random.between(1, 50)),
        _ => Pace::Window(*random.pick(&[1, 1, 10, 100, 1000])),
    }
}

pub fn declare_queue(client: &mut RawClient, name: &str) {
    client.call(queue::Declare {
        queue: name.as_bytes(),
        durable: true,
        ..Default::default()
    });
}

pub fn declare_exchange(client: &mut RawClient, name: &str, kind: &str) {
    client.call(exchange::Declare {
        exchange: name.as_bytes(),
        kind: kind.as_bytes(),
        durable: true,
        ..Default::default()
    });
}

/// Takes what is published only to know that everything before it is stored.
pub const MARKERS: &str = "markers";
const FROM: &str = "from";
const TO: &str = "to";
const OWN_QUEUES: [&str; 3] = [FROM, TO, MARKERS];
const FANOUT: &str = "all";
const FANOUT_QUEUES: usize = 8;
