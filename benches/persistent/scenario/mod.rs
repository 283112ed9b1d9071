//! The scenarios, and what they have in common: a publisher's and a consumer's connection with the
//! queues between them.

mod backlog;
mod connections;
mod latency;
mod persistent;
mod rpc;
mod throughput;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::connection::Connection;
use crate::failure::Result;
use crate::process::{self, Span};
use crate::relay;
use crate::report::Figure;
use crate::storage::Storage;
use crate::target::{Kind, Target};
use crate::wire::Message;

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub what: What,
}

#[derive(Clone, Copy)]
pub enum What {
    Throughput(Shape),
    Persistent(persistent::Shape),
    Latency,
    Rpc,
    Connections,
    Backlog,
}

/// What holds for a whole run.
pub struct Conditions<'a> {
    /// How long to measure, where the scenario goes by time.
    pub duration: Duration,
    /// On the disk that leveret's data directory is on.
    pub storage: &'a Storage,
    /// Count system calls that sync, which costs a little.
    pub trace_syncs: bool,
}

/// Messages of one size through some queues.
#[derive(Clone, Copy)]
pub struct Shape {
    pub body_size: usize,
    /// More than one: bound to a fanout exchange, all consumed by one connection.
    pub queues: usize,
    /// Publisher confirms and consumer acknowledgements, rather than neither.
    pub acknowledged: bool,
}

/// All scenarios, in the order in which they run: those that leave memory behind come last.
pub const ALL: [Scenario; 16] = [
    transient("transient-16", 16),
    transient("transient-100", 100),
    transient("transient-1k", 1 << 10),
    transient("transient-64k", 64 << 10),
    throughput(
        "confirm-100",
        Shape {
            acknowledged: true,
            ..ONE_QUEUE
        },
    ),
    throughput(
        "fanout-10",
        Shape {
            queues: 10,
            ..ONE_QUEUE
        },
    ),
    throughput(
        "fanout-100",
        Shape {
            queues: 100,
            ..ONE_QUEUE
        },
    ),
    Scenario {
        name: "latency-10k",
        what: What::Latency,
    },
    Scenario {
        name: "rpc",
        what: What::Rpc,
    },
    persistent("persistent-1k-w1", 1, 1),
    persistent("persistent-1k-w100", 1, 100),
    persistent("persistent-1k-w1000", 1, 1000),
    persistent("persistent-q20", 20, 100),
    persistent("persistent-q100", 100, 100),
    Scenario {
        name: "connections-1k",
        what: What::Connections,
    },
    Scenario {
        name: "backlog-1m",
        what: What::Backlog,
    },
];

impl Scenario {
    /// Runs once against `target`. Returns no figures where the scenario makes no sense for it.
    pub fn run(&self, target: &Target, conditions: &Conditions<'_>) -> Result<Vec<Figure>> {
        let duration = conditions.duration;
        match self.what {
            What::Persistent(shape) => persistent::run(target, shape, conditions),
            What::Throughput(shape) => throughput::run(target, shape, duration),
            What::Latency => latency::run(target, duration),
            What::Rpc => rpc::run(target, duration),
            What::Connections => connections::run(target),
            What::Backlog => backlog::run(target),
        }
    }

    /// Whether it takes as long as it is told, rather than as long as its work does.
    pub fn goes_by_time(&self) -> bool {
        !matches!(self.what, What::Connections | What::Backlog)
    }

    /// Rounds in a run of several scenarios, where more would add minutes rather than certainty.
    pub fn rounds_max(&self) -> usize {
        match self.what {
            What::Backlog => 1,
            _ => usize::MAX,
        }
    }
}

/// Two connections, and what to publish on the first so that it arrives at the second.
struct Path {
    publisher: Connection,
    consumer: Connection,
    message: Message,
    /// See [`crate::consumer::Consumer::new`].
    queues: usize,
    copies: u64,
    /// Confirms that never come: the relay passes acknowledgements on in their place, and the last
    /// few are never due.
    unconfirmed_at_end: u64,
}

impl Path {
    fn open(target: &Target, shape: Shape) -> Result<Self> {
        match target.kind {
            Kind::Broker => Path::through_broker(target, shape),
            Kind::Relay => Path::through_relay(target, shape),
        }
    }

    fn through_broker(target: &Target, shape: Shape) -> Result<Self> {
        let mut publisher = Connection::open(target.address)?;
        let mut consumer = Connection::open(target.address)?;
        if shape.acknowledged {
            publisher.select_confirms()?;
            consumer.set_prefetch(PREFETCH)?;
        }
        let name = fresh_name();
        let message = if shape.queues == 1 {
            Message::publish("", &name, shape.body_size)
        } else {
            consumer.declare_fanout(&name)?;
            Message::publish(&name, "", shape.body_size)
        };
        for number in 0..shape.queues {
            let queue = match shape.queues {
                1 => name.clone(),
                _ => format!("{name}.{number}"),
            };
            consumer.declare_queue(&queue)?;
            if shape.queues > 1 {
                consumer.bind(&queue, &name)?;
            }
            consumer.consume(&queue, number, !shape.acknowledged)?;
        }
        Ok(Path {
            publisher,
            consumer,
            message,
            queues: shape.queues,
            copies: 1,
            unconfirmed_at_end: 0,
        })
    }

    /// The publisher sends what a broker would deliver: the consumer then does the same in both cases.
    fn through_relay(target: &Target, shape: Shape) -> Result<Self> {
        use std::io::Write;
        let mut publisher = Connection::raw(target.address)?;
        let consumer = Connection::raw(target.address)?;
        let message = Message::deliver(&fresh_name(), shape.body_size);
        let unit_size = message.bytes.len();
        let preamble = relay::preamble(shape.queues as u32, unit_size);
        publisher.stream.write_all(&preamble)?;
        Ok(Path {
            publisher,
            consumer,
            message,
            queues: 1,
            copies: shape.queues as u64,
            unconfirmed_at_end: ACK_EVERY - 1,
        })
    }
}

/// Rate and cost over a span, and the memory at its end.
fn cost_figures(target: &Target, rate_name: &'static str, span: Span) -> Vec<Figure> {
    let resident = target.pid.and_then(process::resident_bytes);
    vec![
        Figure::new(rate_name, Some(span.rate())),
        Figure::new("broker CPU us each", span.broker_cpu()),
        Figure::new("client CPU us each", span.client_cpu()),
        Figure::new("resident MiB", resident.map(|bytes| bytes as f64 / MIB)),
    ]
}

/// What each of `count` things added to the broker's memory.
fn growth_figure(before: Option<u64>, after: Option<u64>, count: u64) -> Figure {
    let growth = before
        .zip(after)
        .map(|(before, after)| after as f64 - before as f64);
    Figure::new(
        "resident bytes each",
        growth.map(|bytes| bytes / count as f64),
    )
}

/// A name that no earlier scenario used, always of the same length. Exclusive queues and their
/// exchanges go with the connection, but a broker may take its time over it.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("bench.{:05}.{number:04}", std::process::id() % 100_000)
}

const fn transient(name: &'static str, body_size: usize) -> Scenario {
    throughput(
        name,
        Shape {
            body_size,
            ..ONE_QUEUE
        },
    )
}

const fn throughput(name: &'static str, shape: Shape) -> Scenario {
    Scenario {
        name,
        what: What::Throughput(shape),
    }
}

const fn persistent(name: &'static str, queues: usize, window: u64) -> Scenario {
    Scenario {
        name,
        what: What::Persistent(persistent::Shape { queues, window }),
    }
}

const ONE_QUEUE: Shape = Shape {
    body_size: 100,
    queues: 1,
    acknowledged: false,
};
const PREFETCH: u16 = 1000;
/// Deliveries per acknowledgement.
const ACK_EVERY: u64 = 100;
const MIB: f64 = 1_048_576.0;
