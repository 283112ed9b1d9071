//! The last messages of exchanges that keep some, and how new bindings get them (RabbitMQ: recent
//! history exchange).
//!
//! What is kept are copies of the exchange's own, in the table of all messages: they count as memory
//! like those of queues, and are paged out like them. They do not survive the broker.
//!
//! A new binding gets what there was at that moment, oldest first, a bounded part at a time, and what
//! was paged out is read back first. A queue may get newer messages in between; what these push out of
//! the history before its turn comes, it does not get.

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
        self.publish(&route, message, &Traits::of(message), outlet);
    }
}

/// Some hundred microseconds of small messages.
const REPLAYED_PER_STEP: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::outlet::{Delivery, SocketKey};
    use crate::broker::topology::binding::BindRequest;
    use crate::broker::topology::exchange::ExchangeDeclaration;
    use crate::broker::topology::queue::QueueDeclaration;
    use crate::broker::{Body, DEFAULT_VIRTUAL_HOST, QueueKey};
    use crate::slots::Key;
    use crate::wire::amqp::{Table, TableBuilder};

    struct Nobody;

    impl Outlet for Nobody {
        fn has_room(&mut self, _: SocketKey) -> bool {
            true
        }

        fn is_flooded(&self, _: SocketKey) -> bool {
            false
        }

        fn deliver(&mut self, _: &Delivery<'_>) {}
    }

    /// A broker with an exchange that keeps so many messages, published up to now with numbers for
    /// bodies, and a queue.
    fn broker(length: i32, published: u32) -> (Core, ExchangeKey, QueueKey) {
        let mut core = Core::new();
        let virtual_host = core.virtual_host(DEFAULT_VIRTUAL_HOST.as_bytes()).unwrap();
        let mut arguments = TableBuilder::new();
        arguments.put("x-recent-history-length", length);
        core.declare_exchange(&ExchangeDeclaration {
            virtual_host,
            name: b"x",
            kind: b"x-recent-history",
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: arguments.view(),
        })
        .unwrap();
        core.declare_queue(&QueueDeclaration {
            virtual_host,
            connection: Key::NONE,
            name: b"q",
            generated: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Table::EMPTY,
        })
        .unwrap();
        let exchange = core.exchange(virtual_host, b"x").unwrap();
        let queue = core.virtual_hosts[virtual_host].queues[&b"q"[..]];
        publish(&mut core, exchange, 0..published);
        (core, exchange, queue)
    }

    fn publish(core: &mut Core, exchange: ExchangeKey, numbers: std::ops::Range<u32>) {
        let mut route = Route::default();
        for number in numbers {
            let message = Message {
                exchange: b"x",
                routing_key: b"k",
                properties: &[0, 0],
                body: Body::Slice(&number.to_be_bytes()),
                arrived_ms: 0,
            };
            let properties = Properties::default();
            core.route(exchange, &[b"k"], &properties, &mut route);
            core.publish(&route, &message, &Traits::of(&message), &mut Nobody);
        }
    }

    fn bind(core: &mut Core, exchange: ExchangeKey, queue: QueueKey, routing_key: &[u8]) {
        let request = BindRequest {
            virtual_host: core.exchanges[exchange].virtual_host,
            source: b"x",
            routing_key,
            arguments: Table::EMPTY,
        };
        let destination = Destination::Queue(queue);
        core.bind(exchange, destination, &request).unwrap();
        core.replay(&mut Nobody);
    }

    fn delete(core: &mut Core, exchange: ExchangeKey) {
        let virtual_host = core.exchanges[exchange].virtual_host;
        core.delete_exchange(virtual_host, b"x", false).unwrap();
    }

    fn numbers(core: &Core, queue: QueueKey) -> Vec<u32> {
        let entries = core.traffic.queues[queue].ready.iter();
        entries
            .map(|entry| {
                let message = core.messages.get(entry.message()).expect("it is here");
                u32::from_be_bytes(message.body.as_slice().try_into().unwrap())
            })
            .collect()
    }

    #[test]
    fn no_more_is_held_than_the_history_is_long() {
        let (mut core, exchange, queue) = broker(5, 100);
        assert_eq!(core.messages.count(), 5);
        bind(&mut core, exchange, queue, b"");
        assert_eq!(numbers(&core, queue), [95, 96, 97, 98, 99]);
        delete(&mut core, exchange);
        core.tidy();
        assert_eq!(core.messages.count(), 5, "those of the queue");
    }

    #[test]
    fn a_long_history_comes_in_parts_and_without_what_came_later() {
        let (mut core, exchange, queue) = broker(1000, 1000);
        bind(&mut core, exchange, queue, b"");
        assert_eq!(numbers(&core, queue).len(), REPLAYED_PER_STEP);
        assert!(core.has_more_work());
        publish(&mut core, exchange, 1000..1001);
        while core.has_more_work() {
            core.deliver_backlogs(&mut Nobody);
        }
        // The new one pushed out the oldest, whose turn had come already.
        let mut numbers = numbers(&core, queue);
        assert_eq!(numbers.remove(REPLAYED_PER_STEP), 1000);
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        assert!(core.replays.is_empty());
    }

    #[test]
    fn what_was_paged_out_is_read_back_first() {
        let (mut core, exchange, queue) = broker(2000, 2000);
        core.page_out(0, None);
        while core
            .messages
            .get(core.exchanges[exchange].history.as_ref().unwrap().kept[0])
            .is_some()
        {
            core.page_out(0, None);
        }
        let images = core.take_page_work().outs;
        bind(&mut core, exchange, queue, b"");
        assert!(numbers(&core, queue).is_empty());
        assert!(!core.has_more_work(), "it waits for the store");
        while !core.replays.is_empty() {
            core.deliver_backlogs(&mut Nobody);
            for block in core.take_page_work().fetches {
                let out = images.iter().find(|out| out.block == block).unwrap();
                core.page_in(block, &out.image);
            }
        }
        assert_eq!(numbers(&core, queue), (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn an_exchange_or_queue_that_goes_meanwhile_ends_it() {
        let (mut core, exchange, queue) = broker(1000, 1000);
        bind(&mut core, exchange, queue, b"a");
        delete(&mut core, exchange);
        while core.has_more_work() {
            core.deliver_backlogs(&mut Nobody);
            core.tidy();
        }
        assert_eq!(numbers(&core, queue).len(), REPLAYED_PER_STEP);
        assert_eq!(core.messages.count(), REPLAYED_PER_STEP);
        assert!(core.replays.is_empty());
    }
}
