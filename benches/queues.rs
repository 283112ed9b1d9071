//! What the rules of a queue cost beside a plain one, through the core alone: a million messages in and
//! out again by `basic.get`, a thousand at a time and all at once; and a million with a thousand
//! different times to live that expire. Run with `cargo bench --bench queues`.
//!
//! All at once is what priorities are worst at: messages leave in another order than they lie in memory.
//!
//! Rounds take turns and the best of each counts, since others use the machine as well.

use std::time::{Duration, Instant};

use leveret::broker::message::Traits;
use leveret::broker::topology::queue::QueueDeclaration;
use leveret::broker::{
    Body, ChannelKey, Core, Delivery, Getting, Message, Name, Outlet, Route, SocketKey,
    VirtualHostKey,
};
use leveret::slots::Key;
use leveret::wire::amqp::field_table::{OwnedTable, TableBuilder, Value};
use leveret::wire::amqp::properties::Properties;

fn main() {
    let plain = || OwnedTable::default();
    let priorities = || argument("x-max-priority", 10);
    let limit = || argument("x-max-length", 10 * MESSAGES as i64);
    let ttl = || argument("x-message-ttl", 3_600_000);
    let kinds: [(&str, &dyn Fn() -> OwnedTable); 4] = [
        ("plain", &plain),
        ("x-max-priority 10, all used", &priorities),
        ("x-max-length, not reached", &limit),
        ("x-message-ttl, an hour", &ttl),
    ];
    for depth in [1000, MESSAGES] {
        let mut best = [Duration::MAX; 4];
        for _ in 0..ROUNDS {
            for (best, (_, arguments)) in best.iter_mut().zip(&kinds) {
                *best = (*best).min(in_and_out(&arguments(), depth));
            }
        }
        println!("{MESSAGES} messages of 100 bytes in and out, {depth} at a time");
        for (time, (name, _)) in best.iter().zip(&kinds) {
            let ratio = time.as_secs_f64() / best[0].as_secs_f64();
            let each = per_message(*time);
            println!("{name:<32} {each:>6} ns each {ratio:>6.2} x");
        }
    }
    expire();
}

/// Publishes so many and gets them, until all are through.
fn in_and_out(arguments: &OwnedTable, depth: usize) -> Duration {
    let mut bench = Bench::new(arguments);
    let started = Instant::now();
    for _ in 0..MESSAGES / depth {
        for number in 0..depth {
            let priority = PRIORITIES[number % PRIORITIES.len()];
            bench.publish(&properties_of(priority));
        }
        for _ in 0..depth {
            let got = bench.core.get(bench.channel, b"q", true, |_| {});
            assert_eq!(got.expect("the queue is there"), Getting::Got);
        }
    }
    started.elapsed()
}

/// A message every microsecond, each to live for one to a thousand seconds; then the clock goes on, a
/// millisecond at a time where something is due.
fn expire() {
    let mut bench = Bench::new(&OwnedTable::default());
    let mut times: Vec<Vec<u8>> = Vec::new();
    for seconds in 1..=TIMES {
        let expiration = (1000 * seconds).to_string();
        let mut block = Vec::new();
        Properties {
            expiration: Some(expiration.as_bytes()),
            ..Properties::default()
        }
        .encode(&mut block);
        times.push(block);
    }
    let started = Instant::now();
    for number in 0..MESSAGES {
        bench.core.set_time(START_MS + number as u64 / 1000);
        // In no order, each as often as the others.
        bench.publish(&times[number * 7919 % TIMES as usize]);
    }
    let published = started.elapsed();
    let (mut expiring, mut longest, mut turns) = (Duration::ZERO, Duration::ZERO, 0);
    while let Some(due) = bench.core.next_deadline() {
        bench.core.set_time(due);
        let started = Instant::now();
        bench.core.fire_due();
        bench.core.tidy();
        let turn = started.elapsed();
        expiring += turn;
        longest = longest.max(turn);
        turns += 1;
    }
    let left = bench.core.inventory().messages_ready;
    assert_eq!(left, 0, "all have expired");
    println!("{MESSAGES} messages with {TIMES} different times to live");
    println!("{:<32} {:>6} ns each", "in", per_message(published));
    println!(
        "{:<32} {:>6} ns each, {turns} turns, the longest {:.2} ms",
        "expired",
        per_message(expiring),
        longest.as_secs_f64() * 1e3
    );
}

struct Bench {
    core: Core,
    channel: ChannelKey,
    route: Route,
}

impl Bench {
    fn new(arguments: &OwnedTable) -> Self {
        let mut core = Core::new();
        core.set_time(START_MS);
        let host = core.virtual_host(b"/").expect("it is always there");
        declare(&mut core, host, arguments);
        let user = Name::from("guest");
        let address = Name::from("bench");
        let connection = core.open_connection(SocketKey::NONE, host, user, address, false);
        let channel = core.open_channel(connection, 1);
        let mut route = Route::default();
        let exchange = core.exchange(host, b"").expect("it is always there");
        core.route(exchange, &[b"q"], &Properties::default(), &mut route);
        Bench {
            core,
            channel,
            route,
        }
    }

    fn publish(&mut self, properties: &[u8]) {
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            properties,
            body: Body::Slice(&[b'x'; 100]),
            arrived_ms: 0,
        };
        let traits = Traits::of(&message);
        self.core
            .publish(&self.route, &message, &traits, &mut Nobody);
    }
}

fn declare(core: &mut Core, virtual_host: VirtualHostKey, arguments: &OwnedTable) {
    core.declare_queue(&QueueDeclaration {
        virtual_host,
        connection: Key::NONE,
        name: b"q",
        generated: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: arguments.view(),
    })
    .expect("a new queue");
}

fn argument(name: &str, value: i64) -> OwnedTable {
    let mut table = TableBuilder::new();
    table.put(name, Value::Long(value));
    table.finish()
}

/// Flags of the priority alone, and the priority.
fn properties_of(priority: u8) -> [u8; 3] {
    [0x08, 0x00, priority]
}

fn per_message(time: Duration) -> u128 {
    time.as_nanos() / MESSAGES as u128
}

/// No consumer is there.
struct Nobody;

impl Outlet for Nobody {
    fn has_room(&mut self, _: SocketKey) -> bool {
        false
    }

    fn is_flooded(&self, _: SocketKey) -> bool {
        false
    }

    fn deliver(&mut self, _: &Delivery<'_>) {}
}

const MESSAGES: usize = 1_000_000;
const TIMES: u64 = 1000;
const ROUNDS: usize = 5;
const PRIORITIES: [u8; 11] = [3, 0, 10, 5, 7, 1, 9, 2, 8, 4, 6];
const START_MS: u64 = 1_800_000_000_000;
