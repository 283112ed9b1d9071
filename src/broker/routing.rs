//! From an exchange to queues: through exchange to exchange bindings (cycles and all) and alternate
//! exchanges, each queue once.

use std::rc::Rc;

use super::Core;
use super::channel::ChannelKey;
use super::counters::ExchangeCounters;
use super::deduplication::Mark;
use super::exchange::delay_of;
use super::queue::QueueKey;
use super::topology::binding::Destination;
use super::topology::exchange::ExchangeKey;
use crate::wire::amqp::Properties;

/// Where messages with the same exchange, keys and headers go, as of one generation of the topology.
#[derive(Clone, Default)]
pub struct Route {
    /// [`Core::generation`] when it was found: remembered routes hold until that moves. 0, which that
    /// never is, for a route that holds for one message only.
    pub generation: u64,
    pub queues: Vec<QueueKey>,
    pub asides: Vec<Aside>,
    /// With other headers it might have led elsewhere, CC and BCC aside.
    pub reads_headers: bool,
    /// Where it begins, to count what goes along.
    pub source: Option<Rc<ExchangeCounters>>,
}

/// Who gets a message beside the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// A requester that waits for an answer (RabbitMQ: direct reply-to).
    Reply(ChannelKey),
    /// An exchange that keeps it for new bindings. This alone does not make the message routed.
    History(ExchangeKey),
    /// An exchange that holds it back before it routes it.
    Delay(ExchangeKey),
    /// An exchange that remembers it, if it was routed.
    New(ExchangeKey, Mark),
    /// An exchange that has seen it before and does not route it. It counts as routed.
    Duplicate(ExchangeKey, Mark),
}

/// Who does not ask whether a message is a duplicate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unasked {
    #[default]
    Nobody,
    /// The exchange that held it back, and asked before.
    Exchange(ExchangeKey),
    /// It is a dead letter.
    All,
}

impl Route {
    /// Whether nothing is to be done with a message.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.asides.is_empty()
    }
}

/// Reused between routing passes.
#[derive(Default)]
pub(super) struct RoutingScratch {
    exchanges: Vec<ExchangeKey>,
    destinations: Vec<Destination>,
    /// For the next pass.
    pub(super) unasked: Unasked,
    /// Number of the pass, with which exchanges and queues are marked as visited.
    pass: u64,
}

impl Core {
    /// Finds the queues for a message with these routing keys (its own, then those of its CC and BCC
    /// headers) and writes them to `route`.
    pub fn route(
        &mut self,
        exchange: ExchangeKey,
        keys: &[&[u8]],
        properties: &Properties<'_>,
        route: &mut Route,
    ) {
        let mut scratch = std::mem::take(&mut self.routing);
        scratch.pass += 1;
        route.generation = self.generation;
        route.queues.clear();
        route.asides.clear();
        route.reads_headers = false;
        route.source = Some(Rc::clone(&self.exchanges[exchange].counters));
        scratch.visit(exchange, self);
        while let Some(exchange) = scratch.exchanges.pop() {
            self.route_one(exchange, keys, properties, &mut scratch, route);
        }
        scratch.unasked = Unasked::Nobody;
        self.routing = scratch;
    }

    /// One exchange's part. If it leads nowhere its alternate exchange is asked (RabbitMQ asks per
    /// exchange, not per message).
    fn route_one(
        &mut self,
        key: ExchangeKey,
        keys: &[&[u8]],
        properties: &Properties<'_>,
        scratch: &mut RoutingScratch,
        route: &mut Route,
    ) {
        let exchange = &self.exchanges[key];
        if exchange.name.is_empty() {
            return self.route_by_name(key, keys, scratch, route);
        }
        route.reads_headers |= exchange.router.reads_headers() || exchange.window.is_some();
        if exchange.window.is_some()
            && scratch.asks(key)
            && let Some(aside) = self.recognize(key, properties)
        {
            // With the same key the next message goes another way.
            route.generation = 0;
            route.asides.push(aside);
            if matches!(aside, Aside::Duplicate(..)) {
                return;
            }
        }
        if exchange.delays && delay_of(properties.headers).is_some() {
            route.asides.push(Aside::Delay(key));
            return;
        }
        if !exchange.router.is_repeatable() {
            route.generation = 0;
            if exchange.router.keeps(properties) {
                route.asides.push(Aside::History(key));
            }
        }
        let keys = match exchange.router.wants_every_key() {
            true => keys,
            false => &keys[..keys.len().min(1)],
        };
        let mut is_routed = false;
        for routing_key in keys {
            // One key's destinations at a time: a message may name thousands of keys, and each may
            // lead to thousands of queues.
            scratch.destinations.clear();
            let router = &mut self.exchanges[key].router;
            router.route(routing_key, properties, &mut scratch.destinations);
            is_routed |= !scratch.destinations.is_empty();
            for at in 0..scratch.destinations.len() {
                match scratch.destinations[at] {
                    Destination::Exchange(next) => scratch.visit(next, self),
                    Destination::Queue(queue) => self.add_to_route(queue, scratch.pass, route),
                }
            }
        }
        let exchange = &self.exchanges[key];
        if !is_routed && let Some(alternate) = &exchange.alternate {
            let siblings = &self.virtual_hosts[exchange.virtual_host].exchanges;
            if let Some(&alternate) = siblings.get(alternate) {
                scratch.visit(alternate, self);
            }
        }
    }

    /// The default exchange: every queue is bound to it under its own name (AMQP 0-9-1 §3.1.3.1).
    fn route_by_name(
        &mut self,
        exchange: ExchangeKey,
        keys: &[&[u8]],
        scratch: &mut RoutingScratch,
        route: &mut Route,
    ) {
        let virtual_host = self.exchanges[exchange].virtual_host;
        for key in keys {
            if let Some(&queue) = self.virtual_hosts[virtual_host].queues.get(*key) {
                self.add_to_route(queue, scratch.pass, route);
            } else if let Some(channel) = self.reply_address(key)
                && !route.asides.contains(&Aside::Reply(channel))
            {
                route.asides.push(Aside::Reply(channel));
            }
        }
    }

    fn add_to_route(&mut self, key: QueueKey, pass: u64, route: &mut Route) {
        let queue = &mut self.traffic.queues[key];
        if queue.visited != pass {
            queue.visited = pass;
            route.queues.push(key);
        }
    }
}

impl RoutingScratch {
    fn asks(&self, exchange: ExchangeKey) -> bool {
        match self.unasked {
            Unasked::Nobody => true,
            Unasked::Exchange(unasked) => unasked != exchange,
            Unasked::All => false,
        }
    }

    /// Notes the exchange for this pass unless it was.
    fn visit(&mut self, key: ExchangeKey, core: &mut Core) {
        let exchange = &mut core.exchanges[key];
        if exchange.visited != self.pass {
            exchange.visited = self.pass;
            self.exchanges.push(key);
        }
    }
}
