//! What a comparison runs, in its order: what leaves memory behind comes last.

use std::time::Duration;

use crate::load::{Load, Routing};
use crate::scenarios::Scenario;

pub struct Case {
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    pub scenario: Scenario,
    pub load: Load,
}

impl Case {
    /// It tells what a thing adds to a broker's memory, which freed memory would hide.
    pub fn wants_fresh_broker(&self) -> bool {
        matches!(
            self.scenario,
            Scenario::Connections | Scenario::Topology | Scenario::Backlog
        )
    }
}

/// How much of everything.
#[derive(Clone, Copy)]
pub struct Extent {
    /// What is timed goes on for so long.
    pub duration: Duration,
    pub connections: u64,
    pub queues: u64,
    pub backlog: u64,
    pub bindings: usize,
}

impl Extent {
    pub const FULL: Extent = Extent {
        duration: Duration::from_millis(1500),
        connections: 1000,
        queues: 10_000,
        backlog: 1_000_000,
        bindings: 10_000,
    };
    /// Figures of a minute's run are rough.
    pub const QUICK: Extent = Extent {
        duration: Duration::from_millis(400),
        connections: 200,
        queues: 1000,
        backlog: 200_000,
        bindings: 1000,
    };
}

/// All cases whose name begins with one of `only`, or all.
pub fn cases(extent: Extent, only: &[String]) -> Vec<Case> {
    let mut cases = streams(extent);
    cases.extend(others(extent));
    cases.retain(|case| only.is_empty() || only.iter().any(|prefix| case.name.starts_with(prefix)));
    cases
}

fn streams(extent: Extent) -> Vec<Case> {
    let load = Load {
        duration: extent.duration,
        ..Load::default()
    };
    let case = |name, title, load| Case {
        name,
        title,
        scenario: Scenario::Throughput,
        load,
    };
    let sized = |name, title, body_size| {
        let load = Load {
            body_size,
            ..load.clone()
        };
        case(name, title, load)
    };
    let acked = Load {
        confirm: Some(1000),
        ack: Some(100),
        ..load.clone()
    };
    let direct = Load {
        routing: Routing::Direct,
        ..load.clone()
    };
    let topic = Load {
        routing: Routing::Topic,
        bindings: extent.bindings,
        ..load.clone()
    };
    let fanout = Load {
        routing: Routing::Fanout,
        queues: 100,
        ..load.clone()
    };
    vec![
        sized(SIZES[0].0, "16 bytes, transient, no ack", SIZES[0].1),
        sized(SIZES[1].0, "100 bytes, transient, no ack", SIZES[1].1),
        sized(SIZES[2].0, "1 KiB, transient, no ack", SIZES[2].1),
        sized(SIZES[3].0, "64 KiB, transient, no ack", SIZES[3].1),
        sized(SIZES[4].0, "1 MiB, transient, no ack", SIZES[4].1),
        case(
            "confirm-ack",
            "100 bytes, confirms (window 1000), acks (every 100)",
            acked,
        ),
        case("direct", "100 bytes through a direct exchange", direct),
        case(
            "topic",
            "100 bytes through a topic exchange with many bindings",
            topic,
        ),
        case("fanout-100", "100 bytes to 100 queues", fanout),
    ]
}

fn others(extent: Extent) -> Vec<Case> {
    let load = Load {
        duration: extent.duration,
        ..Load::default()
    };
    let with_count = |count| Load {
        count: Some(count),
        ..load.clone()
    };
    // Latency's tail wants more messages.
    let long = Load {
        duration: extent.duration * 2,
        ..load.clone()
    };
    let backlog = Load {
        messages: Some(extent.backlog),
        ..Scenario::Backlog.default_load()
    };
    let topology = Load {
        duration: extent.duration / 2,
        ..with_count(extent.queues)
    };
    let case = |name, title, scenario, load| Case {
        name,
        title,
        scenario,
        load,
    };
    vec![
        case(
            LATENCY,
            "10,000 messages a second of 100 bytes, open loop",
            Scenario::Latency,
            long,
        ),
        case(
            "rpc",
            "request and reply by direct reply-to",
            Scenario::Rpc,
            load.clone(),
        ),
        case(
            "connections",
            "idle connections",
            Scenario::Connections,
            with_count(extent.connections),
        ),
        case(
            "churn",
            "connect, declare, publish, get, close",
            Scenario::Churn,
            load.clone(),
        ),
        case(
            "topology",
            "queues declared, bound, deleted",
            Scenario::Topology,
            topology,
        ),
        case(
            "backlog",
            "a backlog of 100 byte messages, confirmed",
            Scenario::Backlog,
            backlog,
        ),
    ]
}

/// The cases that differ by message size only, with that size.
pub const SIZES: [(&str, usize); 5] = [
    ("size-16", 16),
    ("size-100", 100),
    ("size-1k", 1 << 10),
    ("size-64k", 64 << 10),
    ("size-1m", 1 << 20),
];
pub const LATENCY: &str = "latency-10k";
