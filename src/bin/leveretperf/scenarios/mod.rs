//! The scenarios, a file each, and which is called what.

mod backlog;
mod churn;
mod company;
mod connections;
mod latency;
mod neighbours;
mod onlookers;
mod path;
mod rpc;
mod throughput;
mod topology;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::client::failure::Result;
use crate::load::{Load, Routing};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::target::Target;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Throughput,
    Latency,
    Rpc,
    Connections,
    Churn,
    Topology,
    Fanout,
    Backlog,
    Onlookers,
    Neighbours,
}

/// Names and what they stand for, in the order in which help lists them.
pub const ALL: [(&str, Scenario, &str); 10] = [
    (
        "throughput",
        Scenario::Throughput,
        "as many messages per second as go through",
    ),
    (
        "latency",
        Scenario::Latency,
        "how long messages take at a steady rate (10000 unless --rate)",
    ),
    (
        "rpc",
        Scenario::Rpc,
        "request and reply, one at a time, by direct reply-to",
    ),
    (
        "connections",
        Scenario::Connections,
        "open --count connections (1000) and keep them idle",
    ),
    (
        "churn",
        Scenario::Churn,
        "connect, declare, publish, get, close, over and over",
    ),
    (
        "topology",
        Scenario::Topology,
        "declare, bind and delete --count queues (10000), singly and pipelined",
    ),
    (
        "fanout",
        Scenario::Fanout,
        "throughput through a fanout exchange to --queues (100)",
    ),
    (
        "backlog",
        Scenario::Backlog,
        "fill a queue that nobody reads with --messages (1000000), then drain it",
    ),
    (
        "onlookers",
        Scenario::Onlookers,
        "latency alone, and with clients of the management API and --count queues (10000)",
    ),
    (
        "neighbours",
        Scenario::Neighbours,
        "latency alone, and with a bulk stream, a connection storm, a deaf consumer, a purge of --messages",
    ),
];

impl Scenario {
    /// Runs once against `target`. Returns no figures where the scenario makes no sense for it.
    pub fn run(self, target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
        match self {
            Scenario::Throughput | Scenario::Fanout => throughput::run(target, load, progress),
            Scenario::Latency => latency::run(target, load, progress),
            Scenario::Rpc => rpc::run(target, load, progress),
            Scenario::Connections => connections::run(target, load, progress),
            Scenario::Churn => churn::run(target, load, progress),
            Scenario::Topology => topology::run(target, load, progress),
            Scenario::Backlog => backlog::run(target, load, progress),
            Scenario::Onlookers => onlookers::run(target, load, progress),
            Scenario::Neighbours => neighbours::run(target, load, progress),
        }
    }

    pub fn default_load(self) -> Load {
        let load = Load::default();
        match self {
            Scenario::Fanout => Load {
                queues: 100,
                routing: Routing::Fanout,
                ..load
            },
            Scenario::Backlog => Load {
                confirm: Some(1000),
                ..load
            },
            _ => load,
        }
    }
}

/// What is counted, for the line of progress.
pub fn unit(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Throughput | Scenario::Fanout | Scenario::Latency => "deliveries",
        Scenario::Rpc => "calls",
        Scenario::Connections => "connections",
        Scenario::Churn => "cycles",
        Scenario::Topology => "operations",
        Scenario::Backlog => "messages",
        Scenario::Onlookers | Scenario::Neighbours => "rounds",
    }
}

/// A name that no earlier scenario used, always of the same length. Exclusive queues and their
/// exchanges go with the connection, but a broker may take its time over it.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("perf.{:07}.{number:04}", std::process::id() % 10_000_000)
}
