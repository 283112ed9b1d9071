//! The last messages of exchanges that keep some, and how new bindings get them (RabbitMQ: recent
//! history exchange).
//!
//! What is kept are copies of the exchange's own, in the table of all messages: they count as memory
//! like those of queues, and are paged out like them. They do not survive the broker.
//!
//! A new binding gets what there was at that moment, oldest first, a bounded part at a time. What was
//! paged out is read back first; the queue may get newer messages meanwhile.

use std::collections::VecDeque;

use super::Core;
use super::dead_letter::history::shown_keys;
use super::message::{Message, MessageId, OwnedMessage, Traits};
use super::outlet::Outlet;
use super::queue::{Entry, Ready};
use super::routing::Route;
use super::topology::binding::Destination;
use super::topology::exchange::ExchangeKey;
use crate::wire::amqp::Properties;

/// The last messages of an exchange, oldest first.
pub struct History {
    /// At most `length`.
    kept: VecDeque<MessageId>,
    length: usize,
}

/// What is on its way to a new binding.
pub(super) struct Replay {
    source: ExchangeKey,
    destination: Destination,
    /// Messages before this one were given already, or are not meant.
    next: MessageId,
    /// The last that was there when the binding was made.
    last: MessageId,
}

/// How far a replay came.
#[derive(PartialEq, Eq)]
enum Progress {
    Done,
    /// It goes on with the next step, or when a block was read back.
    Pending,
}

impl History {
    /// None for an exchange that keeps nothing.
    pub fn of_length(length: usize) -> Option<Box<Self>> {
        (length > 0).then(|| {
            Box::new(History {
                kept: VecDeque::new(),
                length,
            })
        })
    }

    fn from(&self, next: MessageId) -> Option<MessageId> {
        let place = self.kept.partition_point(|kept| *kept < next);
        self.kept.get(place).copied()
    }
}

impl Core {
    /// Keeps a message in the history of the exchange, in place of its oldest if that is full.
    pub(super) fn keep(&mut self, exchange: ExchangeKey, message: &Message<'_>) {
        // A transaction may commit to an exchange that is gone by then.
        let exchange = self.exchanges.get_mut(exchange);
        let Some(history) = exchange.and_then(|exchange| exchange.history.as_mut()) else {
            return;
        };
        if history.kept.len() == history.length
            && let Some(oldest) = history.kept.pop_front()
        {
            self.messages.release(oldest);
        }
        let message = Message {
            arrived_ms: self.now_ms,
            ..*message
        };
        history.kept.push_back(self.messages.insert(&message));
    }

    /// Leaves the history of an exchange that is gone to [`Core::tidy`].
    pub(super) fn discard_history(&mut self, history: &History) {
        let mut messages = Ready::default();
        for message in &history.kept {
            messages.push(Entry::new(*message));
        }
        self.discard(None, messages);
    }

    /// A new binding is to get the history of its source, with [`Core::replay`].
    pub(super) fn begin_replay(&mut self, source: ExchangeKey, destination: Destination) {
        let exchange = self.exchanges.get(source);
        let history = exchange.and_then(|exchange| exchange.history.as_deref());
        let kept = history.map(|history| &history.kept);
        if let Some((&next, &last)) = kept.and_then(|kept| kept.front().zip(kept.back())) {
            self.replays.push_back(Replay {
                source,
                destination,
                next,
                last,
            });
        }
    }

    /// Gives new bindings up to [`REPLAYED_PER_STEP`] messages of the history they are to get; what is
    /// left goes on with [`Core::deliver_backlogs`].
    pub fn replay(&mut self, outlet: &mut impl Outlet) {
        let mut budget = REPLAYED_PER_STEP;
        for _ in 0..self.replays.len() {
            let Some(mut replay) = self.replays.pop_front() else {
                return;
            };
            if self.advance(&mut replay, &mut budget, outlet) == Progress::Pending {
                self.replays.push_back(replay);
            }
        }
    }

    /// Whether [`Core::replay`] has something to do that does not have to be read back first.
    pub(super) fn can_replay(&self) -> bool {
        let mut replays = self.replays.iter();
        replays.any(|replay| !self.messages.is_paged_out(replay.next))
    }

    fn advance(
        &mut self,
        replay: &mut Replay,
        budget: &mut usize,
        outlet: &mut impl Outlet,
    ) -> Progress {
        loop {
            let source = self.exchanges.get(replay.source);
            let history = source.and_then(|source| source.history.as_deref());
            let next = history.and_then(|history| history.from(replay.next));
            let Some(id) = next.filter(|id| *id <= replay.last) else {
                return Progress::Done;
            };
            replay.next = id;
            if *budget == 0 {
                return Progress::Pending;
            }
            if self.messages.is_paged_out(id) {
                self.messages.request(id);
                return Progress::Pending;
            }
            *budget -= 1;
            // One that could not be read back is passed over.
            if let Some(copy) = self
                .messages
                .get(id)
                .map(|message| OwnedMessage::of(&message))
            {
                self.replay_one(replay.destination, &copy.message(), outlet);
            }
            replay.next = MessageId::from_bits(id.to_bits() + 1);
        }
    }

    /// Publishes a message once more, for one destination.
    fn replay_one(
        &mut self,
        destination: Destination,
        message: &Message<'_>,
        outlet: &mut impl Outlet,
    ) {
        let Ok(properties) = Properties::decode(message.properties) else {
            return;
        };
        let mut route = Route::default();
        match destination {
            Destination::Queue(queue) => route.queues.push(queue),
            Destination::Exchange(key) if self.exchanges.contains(key) => {
                let keys = shown_keys(message, &properties);
                self.route(key, &keys, &properties, &mut route);
            }
            Destination::Exchange(_) => return,
        }
        self.publish(&route, message, Traits::of(message), outlet);
    }
}

/// Some hundred microseconds of small messages.
const REPLAYED_PER_STEP: usize = 256;
