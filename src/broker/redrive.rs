//! Messages that are moved by hand: dead letters back to where they died, or any message elsewhere.
//!
//! A message leaves its queue in the command that gives it to its target, and the journal has it there
//! before the ack here: a crash leaves it in one of them or, if it tears the batch, in both.
//!
//! **Back to where it died** ([`Target::Source`]) it goes to that queue alone, as through the default
//! exchange, whatever is bound where by now; it shows the exchange and the routing key that it had
//! there, since consumers go by them. It begins anew: `x-death` and the headers beside it go. Consumers
//! that count its deaths would give up at once if they stayed, and a message that dies the same way
//! again would be dropped as a cycle. An expiration that it died of does not come back.
//!
//! **Elsewhere** ([`Target::Exchange`]) it is published as it is, history and all, as a shovel does it.
//! Only one key is followed, not those of a CC header: the others have had their copies.
//!
//! A trial tells what would be moved as things are now; what is moved before it may change that.
//!
//! It stays where it is if nobody would take it, or if it would come back to the queue that it is in.

use super::Core;
use super::Published;
use super::dead_letter::history::{self, Source};
use super::message::{Message, Traits};
use super::outlet::Outlet;
use super::queue::{Entry, QueueKey};
use super::routing::{Route, Unasked};
use super::topology::exchange::ExchangeKey;
use crate::wire::amqp::Table;
use crate::wire::amqp::properties::Properties;

/// Where a message is to go.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Where it died first.
    Source,
    Exchange {
        key: ExchangeKey,
        name: &'a [u8],
        /// `None`: the one that it has.
        routing_key: Option<&'a [u8]>,
    },
}

/// Whether it is done, or only found out what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earnest {
    Done,
    Trial,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redriven {
    Moved,
    /// Nobody takes it: it is where it was.
    Stays,
    /// It had left its queue before.
    Gone,
}

impl Core {
    /// Moves a message that was seen among the ready ones of a queue ([`Core::browse`]); `message` is what
    /// was seen. What is moved, unless in a trial, must be stored before anybody is told that it was.
    pub fn redrive(
        &mut self,
        queue: QueueKey,
        entry: Entry,
        message: &Message<'_>,
        (target, earnest): (Target<'_>, Earnest),
        outlet: &mut impl Outlet,
    ) -> Redriven {
        let found = self.traffic.queues.get(queue);
        if !found.is_some_and(|queue| queue.ready.contains(entry)) {
            return Redriven::Gone;
        }
        let is_taken = match target {
            Target::Source => self.send_back(queue, message, earnest, outlet),
            Target::Exchange {
                key,
                name,
                routing_key,
            } => {
                let letter = Message {
                    exchange: name,
                    routing_key: routing_key.unwrap_or(message.routing_key),
                    ..*message
                };
                self.send_on(queue, key, &letter, earnest, outlet)
            }
        };
        if !is_taken {
            return Redriven::Stays;
        }
        if earnest == Earnest::Trial {
            return Redriven::Moved;
        }
        // Its target's limits may have ended it here by a way round.
        if let Some(queue_found) = self.traffic.queues.get_mut(queue)
            && queue_found.ready.remove(entry).is_some()
        {
            let id = queue_found.id;
            self.uncount_body(queue, entry.message());
            self.forget_message(queue, entry.message());
            self.let_go(id, entry.message());
        }
        Redriven::Moved
    }

    /// Whether it was taken where it died.
    fn send_back(
        &mut self,
        here: QueueKey,
        message: &Message<'_>,
        earnest: Earnest,
        outlet: &mut impl Outlet,
    ) -> bool {
        let queue = &self.traffic.queues[here];
        let headers = Properties::decode(message.properties).map(|it| it.headers);
        let headers = headers.ok().flatten().unwrap_or(Table::EMPTY);
        let Some(source) = Source::find(headers, &queue.name) else {
            return false;
        };
        let Some(target) = self.find_queue(queue.virtual_host, source.queue) else {
            return false;
        };
        let Ok(properties) = history::without_deaths(message.properties) else {
            return false;
        };
        let short = |name: Option<&'_ [u8]>| name.is_some_and(|name| name.len() <= 255);
        let (exchange, routing_key) = match (source.exchange, source.routing_key) {
            (Some(exchange), Some(key)) if short(source.exchange) && short(source.routing_key) => {
                (exchange, key)
            }
            _ => (&b""[..], source.queue),
        };
        let letter = Message {
            exchange,
            routing_key,
            properties: &properties,
            ..*message
        };
        let route = Route {
            queues: vec![target],
            ..Route::default()
        };
        self.hand_in(here, &route, &letter, earnest, outlet)
    }

    /// Whether it was taken where the exchange leads.
    fn send_on(
        &mut self,
        here: QueueKey,
        exchange: ExchangeKey,
        letter: &Message<'_>,
        earnest: Earnest,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Ok(properties) = Properties::decode(letter.properties) else {
            return false;
        };
        let mut route = Route::default();
        // Who moves a message means no duplicate.
        self.routing.unasked = Unasked::All;
        self.route(exchange, &[letter.routing_key], &properties, &mut route);
        self.hand_in(here, &route, letter, earnest, outlet)
    }

    fn hand_in(
        &mut self,
        here: QueueKey,
        route: &Route,
        letter: &Message<'_>,
        earnest: Earnest,
        outlet: &mut impl Outlet,
    ) -> bool {
        let queues = &self.traffic.queues;
        let is_full = |key: &QueueKey| queues[*key].refuses(letter.body.len());
        let is_refused = route.asides.is_empty() && route.queues.iter().all(is_full);
        if route.is_empty() || is_refused || route.queues.contains(&here) {
            return false;
        }
        earnest == Earnest::Trial
            || self.publish(route, letter, &Traits::of(letter), outlet) != Published::Unroutable
    }
}
