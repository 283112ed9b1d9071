//! Exchanges that hold messages back (RabbitMQ: delayed message exchange). Each has a queue in which
//! they wait; that they get there, and leave at their time, is as with any message that expires.

use leveret::wire::amqp::{Properties, Table, TableBuilder, Value};

use super::dying::copies;
use super::keeping::Arrival;
use super::routing::Asks;
use super::*;

impl Model {
    /// The number of the queue in which the exchange's messages wait, if it delays.
    pub(super) fn delay_queue(&self, exchange: &str) -> Option<u64> {
        let mut queues = self.queues.values();
        let found = queues.find(|queue| queue.delays_for.as_deref() == Some(exchange));
        found.map(|queue| queue.number)
    }

    pub(super) fn add_delay_queue(&mut self, name: &str) {
        let exchange = &self.exchanges[name];
        if exchange.inner_kind.is_none() {
            return;
        }
        let durable = exchange.durable;
        let queue = Queue {
            number: self.draw_number(),
            durable,
            delays_for: Some(name.to_owned()),
            used_ms: self.now_ms,
            rules: self.rules_for(DELAY_QUEUES, Table::EMPTY),
            ..Queue::default()
        };
        self.queues.insert(format!("{DELAY_QUEUES}{name}"), queue);
    }

    /// The message waits in the queue with this number.
    pub(super) fn delay(&mut self, number: u64, message: &Shared, source: u64, lineage: &[u64]) {
        let properties = Properties::decode(&message.properties).expect("it was looked at before");
        let delay_ms = delay_of(properties.headers);
        let id = self.draw_number();
        let waiting = Shared::new(Message {
            id,
            expiration_ms: delay_ms,
            delay_ms,
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            properties: message.properties.clone(),
            body: message.body.clone(),
            deaths: message.deaths.clone(),
            ..**message
        });
        self.remember(&waiting, number);
        let arrival = Arrival {
            message: &waiting,
            source,
            lineage,
        };
        self.enqueue(number, &arrival);
    }

    /// The message has waited in the queue with this number: the exchange routes it.
    pub(super) fn release(&mut self, exchange: &str, number: u64, entry: &Entry, source: u64) {
        let waiting = &entry.message;
        let mut properties = Properties::decode(&waiting.properties).expect("as before");
        let mut headers = TableBuilder::new();
        for (name, value) in properties.headers.unwrap_or(Table::EMPTY) {
            if name != b"x-delay" {
                headers.put(name, value);
            }
        }
        let delay_ms = waiting.delay_ms.expect("it waited") as i32;
        headers.put("x-delay", Value::SignedInt(-delay_ms));
        properties.headers = Some(headers.view());
        let mut block = Vec::new();
        properties.encode(&mut block);
        let expiration = properties
            .expiration
            .map(|text| String::from_utf8_lossy(text));
        let id = self.draw_number();
        let released = Shared::new(Message {
            id,
            expiration_ms: expiration.map(|text| text.parse().expect("it was checked before")),
            delay_ms: None,
            was_delayed: true,
            exchange: waiting.exchange.clone(),
            routing_key: waiting.routing_key.clone(),
            properties: block.clone(),
            body: waiting.body.clone(),
            deaths: waiting.deaths.clone(),
            ..**waiting
        });
        let mut keys = vec![released.routing_key.clone()];
        keys.extend(copies(headers.view()));
        let asks = Asks::But(exchange, released.persistent);
        let route = self.route(exchange, &keys, Some(headers.view()), asks);
        self.end_if(route.is_vague, Beyond::KeysAfterACrash);
        let (mut is_taken, mut is_routed) = (true, !route.replies.is_empty() || route.is_repeat);
        let mut lineage = entry.lineage.clone();
        lineage.push(number);
        for queue in route.queues {
            self.remember(&released, queue);
            let arrival = Arrival {
                message: &released,
                source,
                lineage: &lineage,
            };
            is_taken &= self.enqueue(queue, &arrival);
            is_routed = true;
        }
        self.answer_requests(&route.replies.into_iter().collect::<Vec<_>>(), &released);
        for name in route.news.iter().filter(|_| is_taken && is_routed) {
            self.learn_at_exchange(name, &released);
        }
    }
}

/// How an exchange of this kind routes what it held back, if it does that.
pub(super) fn inner_kind(kind: &str, arguments: Table<'_>) -> Option<String> {
    let inner_kind = arguments.get("x-delayed-type")?.as_str()?;
    (kind == "x-delayed-message").then(|| inner_kind.to_owned())
}

/// How long an exchange that delays holds a message with these headers.
pub(super) fn delay_of(headers: Option<Table<'_>>) -> Option<u64> {
    let delay = headers?.get("x-delay")?.as_integer()?;
    u64::try_from(delay).ok().filter(|delay| *delay > 0)
}

/// Whether a block is that of a message that waits: the delay stands where the expiration would. No
/// client gives a message an expiration that could be taken for it.
pub(super) fn is_waiting(block: &[u8]) -> bool {
    let properties = Properties::decode(block).unwrap_or_default();
    let delay_ms = delay_of(properties.headers).map(|delay| delay.to_string());
    delay_ms.is_some_and(|delay| properties.expiration == Some(delay.as_bytes()))
}

/// What the names of the queues begin with.
pub(super) const DELAY_QUEUES: &str = "amq.delayed.";
