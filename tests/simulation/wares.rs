//! What queues are told in a run: arguments for each name, the same whoever declares it.

use leveret::wire::amqp::{OwnedTable, TableBuilder};

use crate::commands::{EXCHANGES, QUEUES};
use crate::random::Random;

/// What a run is mostly about, so that it comes together often enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    SingleActive,
    Groups,
    Duplicates,
    Timeouts,
    /// Alternate exchanges that policies name.
    Alternates,
    /// What is refused comes back as a dead letter.
    Retries,
}

pub struct Wares {
    pub focus: Option<Focus>,
    /// How many of [`QUEUES`] are used.
    pub queues: usize,

    /// For each of [`QUEUES`], then for those whose name the broker makes up.
    arguments: Vec<OwnedTable>,
    /// How many of a hundred messages have an expiration, and a priority.
    pub expirations: usize,
    pub priorities: usize,
    /// How many consumers say for how long they may hold what they get.
    pub timeouts: usize,
    /// How many messages have a key by which they may be duplicates.
    pub repeats: usize,
    /// How many ask to be delayed.
    pub delays: usize,
}

impl Wares {
    pub fn new(random: &mut Random) -> Self {
        let share = *random.pick(&[0, 20, 60, 90]);
        let focus = random.percent(35).then(|| *random.pick(&FOCUSES));
        let names = QUEUES.iter().copied().chain([""]);
        let arguments = names.map(|name| {
            // Such a queue must be durable, and nobody's own; its priorities are what they are.
            let is_quorum = matches!(name, "q0" | "q1") && share > 0 && random.percent(20);
            let mut arguments = match random.percent(share) {
                true => some_arguments(random, is_quorum),
                false => TableBuilder::new(),
            };
            if is_quorum {
                arguments.put("x-queue-type", "quorum");
                let strategy = *random.pick(&["at-most-once", "at-least-once"]);
                arguments.put("x-dead-letter-strategy", strategy);
            } else if random.percent(15) {
                arguments.put("x-dead-letter-strategy", "at-least-once");
            }
            if let Some(focus) = focus {
                focus.ask(random, &mut arguments);
            }
            arguments.finish()
        });
        let arguments = arguments.collect();
        Wares {
            focus,
            queues: match focus {
                None => QUEUES.len(),
                Some(_) => random.between(1, 4),
            },
            arguments,
            expirations: if share > 0 { random.between(0, 40) } else { 0 },
            priorities: random.between(0, 60),
            repeats: match focus {
                Some(Focus::Duplicates) => 90,
                _ => *random.pick(&[0, 20, 80]),
            },
            timeouts: match focus {
                Some(Focus::Timeouts) => 50,
                _ => *random.pick(&[0, 0, 0, 20]),
            },
            delays: *random.pick(&[0, 0, 10, 50]),
        }
    }

    pub fn arguments(&self, queue: &str) -> &OwnedTable {
        let at = QUEUES.iter().position(|name| *name == queue);
        &self.arguments[at.unwrap_or(QUEUES.len())]
    }
}

impl Focus {
    /// What a queue is told for it, if it was not told something about that.
    fn ask(self, random: &mut Random, arguments: &mut TableBuilder) {
        let is_told = |arguments: &TableBuilder, name: &str| arguments.view().get(name).is_some();
        match self {
            Focus::SingleActive if !is_told(arguments, "x-single-active-consumer") => {
                arguments.put("x-single-active-consumer", true);
            }
            Focus::Groups => {
                if !is_told(arguments, "x-group-key") {
                    let header = *random.pick(&["colour", "size", "routing-key"]);
                    arguments.put("x-group-key", header);
                }
                put_off(random, arguments);
            }
            Focus::Duplicates if !is_told(arguments, "x-message-deduplication") => {
                if random.percent(70) {
                    deduplicate(random, arguments);
                }
                if random.percent(30) && !is_told(arguments, "x-max-length") {
                    arguments.put("x-max-length", *random.pick(&[1, 2]));
                    if !is_told(arguments, "x-overflow") {
                        arguments.put("x-overflow", "reject-publish");
                    }
                }
            }
            Focus::Retries => {
                if !is_told(arguments, "x-dead-letter-exchange") {
                    arguments
                        .put("x-dead-letter-exchange", "")
                        .put("x-dead-letter-routing-key", *random.pick(&["q0", "q1"]));
                }
                put_off(random, arguments);
            }
            Focus::Timeouts if !is_told(arguments, "x-consumer-timeout") => {
                arguments.put("x-consumer-timeout", *random.pick(&TIMEOUTS));
            }
            _ => {}
        }
    }
}

/// What is given back may wait for some time.
fn put_off(random: &mut Random, arguments: &mut TableBuilder) {
    let is_told = arguments.view().get("x-delayed-retry-type").is_some();
    if !is_told && random.percent(40) {
        arguments
            .put("x-delayed-retry-type", "all")
            .put("x-delayed-retry-min", *random.pick(&[100, 500]));
    }
}

impl Focus {
    /// It is also about what survives.
    pub fn is_durable(self) -> bool {
        matches!(self, Focus::Groups | Focus::Duplicates | Focus::Retries)
    }
}

fn some_arguments(random: &mut Random, is_quorum: bool) -> TableBuilder {
    let mut arguments = TableBuilder::new();
    if random.percent(40) {
        arguments.put(
            "x-message-ttl",
            *random.pick(&[0, 1, 20, 50, 200, 1000, 3000]),
        );
    }
    if random.percent(10) {
        arguments.put("x-expires", *random.pick(&[1, 30, 100, 500, 2000]));
    }
    if random.percent(80) {
        let (exchange, ..) = *random.pick(&EXCHANGES);
        let exchange = *random.pick(&["", "", "amq.fanout", exchange, exchange, "missing"]);
        arguments.put("x-dead-letter-exchange", exchange);
        let by_name = exchange.is_empty() && random.percent(80);
        if by_name || random.percent(40) {
            let pool = if random.percent(70) {
                &QUEUES[..]
            } else {
                &["a", "b"]
            };
            arguments.put("x-dead-letter-routing-key", *random.pick(pool));
        }
    }
    if random.percent(15) {
        arguments.put(
            "x-group-key",
            *random.pick(&["routing-key", "colour", "size"]),
        );
    }
    if random.percent(20) {
        deduplicate(random, &mut arguments);
    }
    limit(random, &mut arguments);
    if random.percent(30) && !is_quorum {
        arguments.put("x-max-priority", *random.pick(&[0, 1, 4, 255]));
    }
    if random.percent(12) {
        arguments.put("x-consumer-timeout", *random.pick(&TIMEOUTS));
    }
    if random.percent(15) {
        arguments.put("x-single-active-consumer", true);
    }
    if random.percent(30) {
        arguments.put("x-delivery-limit", *random.pick(&[0, 1, 1, 2, -1]));
    }
    if random.percent(20) {
        let kind = *random.pick(&["all", "failed", "returned", "disabled"]);
        arguments.put("x-delayed-retry-type", kind);
        arguments.put("x-delayed-retry-min", *random.pick(&[0, 1, 15, 100]));
        if random.percent(60) {
            arguments.put("x-delayed-retry-max", *random.pick(&[20, 150]));
        }
    }
    arguments
}

const FOCUSES: [Focus; 6] = [
    Focus::SingleActive,
    Focus::Groups,
    Focus::Duplicates,
    Focus::Timeouts,
    Focus::Alternates,
    Focus::Retries,
];

/// How long consumers may hold what they got.
pub const TIMEOUTS: [i32; 5] = [0, 10, 60, 300, 2000];

/// Drops duplicates, of which some keys are known for some time.
pub fn deduplicate(random: &mut Random, arguments: &mut TableBuilder) {
    arguments
        .put("x-message-deduplication", true)
        .put("x-cache-size", *random.pick(&[1, 2, 5, 100]));
    if random.percent(50) {
        arguments.put("x-cache-ttl", *random.pick(&[10, 100, 1000]));
    }
}

fn limit(random: &mut Random, arguments: &mut TableBuilder) {
    if random.percent(30) {
        arguments.put("x-max-length", *random.pick(&[0, 1, 2, 5, 20]));
    }
    if random.percent(15) {
        arguments.put("x-max-length-bytes", *random.pick(&[0, 100, 1000, 20_000]));
    }
    match random.below(10) {
        0 | 1 => drop(arguments.put("x-overflow", "reject-publish")),
        2 | 3 => drop(arguments.put("x-overflow", "reject-publish-dlx")),
        4 => drop(arguments.put("x-overflow", "drop-head")),
        _ => {}
    }
}
