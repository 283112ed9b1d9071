//! Topic routing with tables of 10 to a million bindings: time per route, memory per binding, and the
//! longest single bind, since that one holds up the loop; and what a publish costs in all, from the
//! name of the exchange to the entries in queues. Run with `cargo bench --bench topic`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leveret::broker::exchange::Topic;
use leveret::broker::message::Traits;
use leveret::broker::topology::binding::BindRequest;
use leveret::broker::topology::exchange::ExchangeDeclaration;
use leveret::broker::topology::queue::QueueDeclaration;
use leveret::broker::{
    Body, Core, DEFAULT_VIRTUAL_HOST, Delivery, Message, Outlet, Route, SocketKey, VirtualHostKey,
};
use leveret::slots::Key;
use leveret::wire::amqp::{Properties, Table};

fn main() {
    println!(
        "{:>9} {:>10} {:>10} {:>9} {:>10} {:>12} {:>12} {:>12} {:>10}",
        "bindings",
        "hit ns",
        "miss ns",
        "matches",
        "B/binding",
        "bind ns",
        "max bind us",
        "unbind ns",
        "allocs"
    );
    for count in [10, 10_000, 100_000, 1_000_000] {
        measure(count);
    }
    many_hashes();
    println!("{:>9} {:>10}", "bindings", "publish ns");
    for count in [10, 100_000] {
        println!("{count:>9} {:>10.1}", publish_all(count));
    }
}

fn measure(count: usize) {
    let patterns: Vec<String> = (0..count).map(pattern).collect();
    let bytes_before = LIVE_BYTES.load(Ordering::Relaxed);
    let (mut topic, bind, longest_bind) = build(&patterns);
    let bytes = LIVE_BYTES.load(Ordering::Relaxed) - bytes_before;

    let devices = count.div_ceil(KINDS);
    let (hit, matches, allocations) = route_all(&mut topic, &keys(devices, 0));
    let (miss, _, _) = route_all(&mut topic, &keys(devices, devices));

    let started = Instant::now();
    for (index, pattern) in patterns.iter().enumerate() {
        topic.unbind(pattern.as_bytes(), destination(index));
    }
    let unbind = started.elapsed().as_nanos() as usize / count;
    println!(
        "{count:>9} {hit:>10.1} {miss:>10.1} {matches:>9.2} {:>10} {:>12} {:>12} {unbind:>12} {allocations:>10}",
        bytes / count,
        bind.as_nanos() as usize / count,
        longest_bind.as_micros(),
    );
}

fn build(patterns: &[String]) -> (Topic<[u32; 2]>, Duration, Duration) {
    let mut topic = Topic::new();
    let mut longest = Duration::ZERO;
    let started = Instant::now();
    let mut last = started;
    for (index, pattern) in patterns.iter().enumerate() {
        topic.bind(pattern.as_bytes(), destination(index));
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    (topic, last - started, longest)
}

/// Nanoseconds and matches per route, and how often routing allocated once it was warm.
fn route_all(topic: &mut Topic<[u32; 2]>, keys: &[String]) -> (f64, f64, usize) {
    let mut out = Vec::new();
    let mut matches = 0;
    for key in keys {
        topic.route(key.as_bytes(), &mut out);
        out.clear();
    }
    let allocations_before = ALLOCATIONS.load(Ordering::Relaxed);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        for key in keys {
            topic.route(black_box(key.as_bytes()), &mut out);
            matches += black_box(&out).len();
            out.clear();
        }
    }
    let elapsed = started.elapsed();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations_before;
    let routes = (keys.len() * ROUNDS) as f64;
    (
        elapsed.as_nanos() as f64 / routes,
        matches as f64 / routes,
        allocations,
    )
}

/// A key of 100 words against patterns that a backtracking matcher would try for ever.
fn many_hashes() {
    let mut topic = Topic::new();
    for depth in 1..=20 {
        topic.bind(
            format!("{}a", "#.".repeat(depth)).as_bytes(),
            [depth as u32, 0],
        );
        topic.bind(
            format!("{}b", "#.x.".repeat(depth)).as_bytes(),
            [depth as u32, 1],
        );
    }
    let key = ["x"; 100].join(".");
    let (elapsed, _, _) = route_all(&mut topic, &vec![key; 100]);
    println!("#.#.#…a and #.x.#.x…b, 20 of each, a key of 100 words: {elapsed:.0} ns");
}

/// Nanoseconds per publish of a small message to an exchange with so many bindings, which lead to
/// [`QUEUES`] queues: of several rounds the best, since others use the machine as well. What is in the
/// queues is thrown away now and then, outside the measurement.
fn publish_all(count: usize) -> f64 {
    let (mut core, virtual_host) = broker(count);
    let keys = keys(count.div_ceil(KINDS), 0);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut elapsed = Duration::ZERO;
        for keys in keys.chunks(1000) {
            let started = Instant::now();
            for key in keys {
                publish_one(&mut core, virtual_host, key.as_bytes());
            }
            elapsed += started.elapsed();
            throw_away(&mut core, virtual_host);
        }
        best = best.min(elapsed);
    }
    best.as_nanos() as f64 / keys.len() as f64
}

fn publish_one(core: &mut Core, virtual_host: VirtualHostKey, key: &[u8]) {
    let mut route = Route::default();
    let message = Message {
        exchange: b"topics",
        routing_key: key,
        properties: &[0, 0],
        body: Body::Slice(&[b'x'; 100]),
        arrived_ms: 0,
    };
    let exchange = core.exchange(virtual_host, message.exchange);
    let exchange = exchange.expect("it was declared");
    let properties = Properties::decode(message.properties).expect("there are none");
    core.route(exchange, &[key], &properties, &mut route);
    core.publish(&route, &message, &Traits::of(&message), &mut Nobody);
}

fn throw_away(core: &mut Core, virtual_host: VirtualHostKey) {
    for queue in 0..QUEUES {
        let name = queue_name(queue);
        core.purge_queue(virtual_host, Key::NONE, name.as_bytes())
            .expect("it was declared");
    }
    while core.has_more_work() {
        core.tidy();
    }
}

fn broker(bindings: usize) -> (Core, VirtualHostKey) {
    let mut core = Core::new();
    let virtual_host = core
        .virtual_host(DEFAULT_VIRTUAL_HOST.as_bytes())
        .expect("every broker has it");
    core.declare_exchange(&ExchangeDeclaration {
        virtual_host,
        name: b"topics",
        kind: b"topic",
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: Table::EMPTY,
    })
    .expect("a new exchange");
    for queue in 0..QUEUES {
        core.declare_queue(&QueueDeclaration {
            virtual_host,
            connection: Key::NONE,
            name: queue_name(queue).as_bytes(),
            generated: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Table::EMPTY,
        })
        .expect("a new queue");
    }
    for index in 0..bindings {
        let pattern = pattern(index);
        let request = BindRequest {
            virtual_host,
            source: b"topics",
            routing_key: pattern.as_bytes(),
            arguments: Table::EMPTY,
        };
        core.bind_queue(&request, Key::NONE, queue_name(index % QUEUES).as_bytes())
            .expect("both ends are there");
    }
    (core, virtual_host)
}

fn queue_name(number: usize) -> String {
    format!("queue{number}")
}

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

/// A quarter each: no wildcard, `*` at the end, `#` at the beginning, `#` at the end.
fn pattern(index: usize) -> String {
    let device = index / KINDS;
    let site = device % SITES;
    match index % KINDS {
        0 => format!("site{site}.device{device}.temperature"),
        1 => format!("site{site}.device{device}.*"),
        2 => format!("#.device{device}.temperature"),
        _ => format!("site{site}.device{device}.#"),
    }
}

/// Keys of devices in no order, from the device numbered `first` on.
fn keys(devices: usize, first: usize) -> Vec<String> {
    let mut state: u64 = 1;
    let mut random = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    (0..KEYS)
        .map(|_| first + random() % devices)
        .map(|device| format!("site{}.device{device}.temperature", device % SITES))
        .collect()
}

fn destination(index: usize) -> [u32; 2] {
    [index as u32, 0]
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

const KINDS: usize = 4;
const SITES: usize = 1000;
const KEYS: usize = 100_000;
const ROUNDS: usize = 10;
const QUEUES: usize = 8;
