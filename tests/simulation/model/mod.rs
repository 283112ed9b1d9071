//! A naive broker to hold the real one against: lists that are searched from the front, routes worked
//! out anew for each message, nothing shared with `leveret::broker`.
//!
//! It is told of every frame that the broker took, in that order, and of what the broker said in the
//! same call. Answers it predicts to the byte, names made up by the broker excepted. Where the
//! specification leaves a choice (which consumer gets the next message) it holds the broker's choice
//! against the rules and goes on from there:
//!
//! ```text
//!   begin(outputs of the call) -> take_frame* | timed_out | disconnected -> end
//!                                      |                                     |
//!                        state, answers that are due           match outputs with both
//! ```

mod aging;
mod beyond;
mod connection;
mod consuming;
mod counting;
mod deduplication;
mod delays;
mod deliveries;
mod dying;
mod hashing;
mod keeping;
mod outputs;
mod policies;
mod publishing;
mod routing;
mod state;
mod survival;
mod timeouts;
mod topology;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leveret::broker::ChannelCounters;
use leveret::broker::Inventory;
use leveret::config::Limits;
use leveret::wire::amqp::{EncodeMethod, Method};

use crate::Check;
use crate::event::Event;
pub use beyond::Beyond;
use dying::Corpse;
pub use state::*;
pub use survival::Restart;
use survival::Stored;

pub struct Model {
    pub limits: Limits,
    /// By number, those that are gone included.
    pub connections: Vec<Connection>,
    pub exchanges: BTreeMap<String, Exchange>,
    pub queues: BTreeMap<String, Queue>,
    pub bindings: Vec<Binding>,
    policies: policies::Policies,
    /// Publishers are to be blocked, as of the last settling.
    pub alarm: bool,
    /// In milliseconds since 1970.
    pub now_ms: u64,
    /// Something happened that the broker may do one way or the other, and the rest would depend on it:
    /// the run ends here.
    pub beyond: Option<Beyond>,
    /// What the store has; nothing in a broker without one.
    pub stored: Stored,
    /// Dead letters on their way. While one has to be read back, those behind it wait.
    dying: VecDeque<Corpse>,
    /// Those that nobody took, and when they are tried again.
    stuck: Vec<Corpse>,
    stuck_ms: Option<u64>,
    /// What went through all channels.
    counts: ChannelCounters,
    /// What was found wrong in the middle of a command.
    faults: Vec<String>,
    /// Names that the broker made up: none comes twice.
    generated: BTreeSet<String>,
    next_number: u64,
    /// Counts the calls of the broker.
    steps: u64,
    step: Step,
}

/// One call of the broker.
#[derive(Default)]
struct Step {
    /// Whose machine was called, if anybody's.
    connection: Option<usize>,
    /// What every connection was told.
    outputs: Vec<(usize, Vec<Event>)>,
    /// What the connection must be told, in this order.
    answers: VecDeque<Answer>,
    /// Consumers who must hear that their queue is gone.
    cancels: BTreeSet<(At, String)>,
    /// Answers to requests, on their way to who asked.
    replies: VecDeque<Reply>,
    deliveries: Vec<Delivered>,
    /// Deliveries that are in no list any more: connection and index among its outputs.
    accounted: BTreeMap<(usize, usize), Shared>,
    /// Consumers in the order in which they were served, with their queues.
    served: Vec<(String, u64)>,
    /// What was published, or committed, on behalf of which channel.
    published: Vec<(At, Shared)>,
    /// Places of entries that were found delivered.
    picked: BTreeSet<u64>,
    /// The channel that committed.
    commits: Option<At>,
    /// Deliveries were settled, or are about to be.
    is_settling: bool,
    /// Confirms of channels that were closed in this call.
    owed: BTreeMap<At, Owed>,
}

struct Owed {
    published: u64,
    confirmed: u64,
    refused: BTreeSet<u64>,
    holders: BTreeMap<u64, Copies>,
    /// They must be said before the channel ends.
    due: bool,
}

/// What must be said next.
#[derive(Debug)]
enum Answer {
    /// This method, to the byte.
    Exactly(u16, Vec<u8>),
    /// Only the name of the method is foretold.
    Method(&'static str),
    Close {
        /// 0: the connection's.
        channel: u16,
        code: u16,
        method: (u16, u16),
    },
    Got {
        channel: u16,
        entry: Entry,
        left: usize,
    },
    Returned {
        channel: u16,
        message: Shared,
    },
}

struct Reply {
    at: At,
    consumer_tag: String,
    message: Shared,
    /// The requester's outbox may be flooded.
    may_be_lost: bool,
}

/// A delivery as it was seen.
struct Delivered {
    at: At,
    consumer: u64,
    delivery_tag: u64,
    redelivered: bool,
    place: u64,
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        let exchanges = PREDECLARED.map(|(name, kind)| {
            let exchange = Exchange {
                kind: kind.to_owned(),
                durable: true,
                internal: name == "amq.rabbitmq.trace",
                ..Exchange::default()
            };
            (name.to_owned(), exchange)
        });
        Model {
            limits,
            connections: Vec::new(),
            exchanges: BTreeMap::from(exchanges),
            queues: BTreeMap::new(),
            bindings: Vec::new(),
            policies: BTreeMap::new(),
            alarm: false,
            now_ms: 0,
            beyond: None,
            stored: Stored::default(),
            dying: VecDeque::new(),
            stuck: Vec::new(),
            stuck_ms: None,
            counts: ChannelCounters::default(),
            faults: Vec::new(),
            generated: BTreeSet::new(),
            next_number: 1,
            steps: 0,
            step: Step::default(),
        }
    }

    /// The broker was called on behalf of a connection, or of nobody.
    pub fn begin(&mut self, connection: Option<usize>, outputs: Vec<(usize, Vec<Event>)>) {
        self.steps += 1;
        self.step = Step {
            connection,
            outputs,
            ..Step::default()
        };
    }

    /// After what it took: was everything said that had to be, and nothing else? Gives the outputs
    /// back.
    pub fn end(&mut self) -> Check<Vec<(usize, Vec<Event>)>> {
        self.bury();
        self.note_holders();
        let outputs = std::mem::take(&mut self.step.outputs);
        if self.beyond.is_some() {
            return Ok(outputs);
        }
        if let Some(fault) = self.faults.pop() {
            return Err(fault);
        }
        for (connection, events) in &outputs {
            self.match_events(*connection, events)?;
        }
        if let Some(answer) = self.step.answers.front() {
            return Err(format!("no answer: {answer:?}"));
        }
        if let Some((at, tag)) = self.step.cancels.first() {
            return Err(format!("no cancel of consumer {tag} on {at:?}"));
        }
        if self.step.replies.iter().any(|reply| !reply.may_be_lost) {
            return Err("an answer to a request was not delivered".to_owned());
        }
        if let Some((at, owed)) = self.step.owed.first_key_value()
            && owed.due
            && owed.confirmed < owed.published
        {
            return Err(format!("{at:?} closed with confirms owed"));
        }
        self.match_deliveries()?;
        Ok(outputs)
    }

    /// Nothing is left to do: nobody waits who could be served, and the broker holds what it should.
    pub fn check_quiescent(&self, inventory: &Inventory) -> Check {
        self.check_nobody_waits()?;
        let expected = self.inventory();
        if *inventory != expected {
            return Err(format!(
                "the broker has {inventory:?}, it should be {expected:?}"
            ));
        }
        Ok(())
    }

    /// The store is idle and everybody was woken.
    pub fn check_confirmed(&self) -> Check {
        for connection in &self.connections {
            for (number, channel) in &connection.channels {
                if let Mode::Confirm {
                    published,
                    confirmed,
                    ..
                } = &channel.mode
                    && published != confirmed
                {
                    return Err(format!(
                        "channel {number}: {published} published, {confirmed} confirmed"
                    ));
                }
            }
        }
        Ok(())
    }

    fn inventory(&self) -> Inventory {
        let open = self
            .connections
            .iter()
            .filter(|c| c.state == State::Running);
        let channels: Vec<&Channel> = open
            .clone()
            .flat_map(|connection| connection.channels.values())
            .filter(|channel| !channel.closing)
            .collect();
        let ready = self.queues.values().flat_map(|queue| &queue.ready);
        let held = channels.iter().flat_map(|channel| channel.held());
        let mut messages = BTreeSet::new();
        let delayed = self.queues.values().flat_map(|queue| &queue.delayed);
        messages.extend(ready.clone().map(|entry| entry.message.id));
        messages.extend(delayed.map(|(_, entry)| entry.message.id));
        messages.extend(held.clone().map(|unacked| unacked.entry.message.id));
        let dying = self.dying.iter().chain(&self.stuck);
        messages.extend(dying.map(|it| it.entry().message.id));
        Inventory {
            connections: open.count(),
            channels: channels.len(),
            consumers: self
                .queues
                .values()
                .map(|queue| queue.consumers.len())
                .sum(),
            reply_consumers: channels
                .iter()
                .filter(|c| c.reply_consumer.is_some())
                .count(),
            exchanges: self.exchanges.len(),
            queues: self.queues.len(),
            bindings: self.bindings.len(),
            messages: messages.len(),
            messages_ready: ready.count(),
            messages_unacked: held
                .filter(|unacked| self.queues.values().any(|q| q.number == unacked.queue))
                .count(),
        }
    }

    /// Bytes of bodies that somebody holds.
    pub fn body_bytes(&self) -> usize {
        let ready = self.queues.values().flat_map(|queue| &queue.ready);
        let sizes: BTreeMap<u64, usize> = ready
            .map(|entry| (entry.message.id, entry.message.body.len()))
            .collect();
        sizes.values().sum()
    }

    fn answer(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut frame = Vec::new();
        leveret::wire::amqp::frame::encode_method(&mut frame, channel, method);
        let payload = frame[7..frame.len() - 1].to_vec();
        self.step
            .answers
            .push_back(Answer::Exactly(channel, payload));
    }

    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    fn draw_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

const PREDECLARED: [(&str, &str); 7] = [
    ("", "direct"),
    ("amq.direct", "direct"),
    ("amq.fanout", "fanout"),
    ("amq.topic", "topic"),
    ("amq.headers", "headers"),
    ("amq.match", "headers"),
    ("amq.rabbitmq.trace", "topic"),
];
