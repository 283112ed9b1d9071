//! Dead letters: who dies, what is written on it, where it goes (RabbitMQ: dead letter exchanges).

use leveret::wire::amqp::{ArrayBuilder, Properties, Table, TableBuilder, Value};

use super::connection::text;
use super::keeping::Arrival;
use super::routing::Asks;
use super::*;

/// A message that left its queue for a reason.
pub(super) struct Corpse {
    entry: Entry,
    /// Name and number of the queue.
    origin: (String, u64),
    exchange: String,
    routing_key: Option<String>,
    reason: &'static str,
    source: u64,
    /// The call in which it died. Of those from different queues the order is not foretold.
    step: u64,
    /// Who takes it must be found.
    at_least_once: bool,
}

impl Corpse {
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    pub fn origin_number(&self) -> u64 {
        self.origin.1
    }

    pub fn is_of(&self, queue: u64) -> bool {
        self.origin.1 == queue
    }
}

impl Model {
    /// The message leaves the queue with this number for good. `by` tells apart who let it go, since
    /// only what one lets go is in order.
    pub(super) fn die(&mut self, number: u64, entry: Entry, reason: &'static str, by: u64) {
        let Some(name) = self.name_of(number) else {
            return;
        };
        if let Some(exchange) = self.queues[&name].delays_for.clone() {
            // It is no death, its time has come.
            return self.dying.push_back(Corpse {
                origin: (name, number),
                exchange,
                routing_key: None,
                reason,
                source: mixed(1 + number * 1_000_000 + by * 1000, entry.source),
                step: self.steps,
                at_least_once: false,
                entry,
            });
        }
        let rules = &self.queues[&name].rules;
        let Some(exchange) = rules.dead_letter_exchange.clone() else {
            return;
        };
        let source = 1 + number * 1_000_000 + by * 1000 + entry.priority;
        let source = mixed(source, entry.source);
        self.dying.push_back(Corpse {
            origin: (name, number),
            exchange,
            routing_key: rules.dead_letter_key.clone(),
            reason,
            source,
            step: self.steps,
            at_least_once: rules.at_least_once,
            entry,
        });
    }

    /// Publishes the dead letters, and those of messages that die of that. What only the store has must
    /// be read back first.
    pub(super) fn bury(&mut self) {
        let mut buried = BTreeSet::new();
        let mut count = 0;
        while let Some(corpse) = self.dying.pop_front() {
            let place = (corpse.step, corpse.origin.1);
            if self.is_paged_out(&corpse.entry.message) {
                // Who waits for it, and who does not?
                let waiting = self.dying.iter().map(|it| (it.step, it.origin.1));
                let mut others = waiting.chain(buried);
                let is_vague = others.any(|(step, of)| step == place.0 && of != place.1);
                self.end_if(is_vague, Beyond::DeathsAroundABlock);
                return self.dying.push_front(corpse);
            }
            let is_done = self.bury_one(&corpse) || !corpse.at_least_once;
            // Where nobody waits for it any more, it ends.
            if !is_done && self.name_of(corpse.origin.1).is_some() {
                self.stuck.push(corpse);
                self.stuck_ms.get_or_insert(self.now_ms + STUCK_RETRY_MS);
            }
            buried.insert(place);
            count += 1;
            if count > BURIALS_MAX {
                // The broker does that bit by bit.
                self.end_if(true, Beyond::ManyDeaths);
                return;
            }
        }
    }

    /// Nobody took them when they were published last: it is time for another try.
    pub(super) fn retry_stuck(&mut self) {
        if self.stuck_ms.is_some_and(|due_ms| due_ms <= self.now_ms) {
            self.stuck_ms = None;
            for corpse in std::mem::take(&mut self.stuck) {
                let source = mixed(1 + corpse.origin.1 * 1_000_000 + 995_000, corpse.source);
                let step = self.steps;
                self.dying.push_back(Corpse {
                    source,
                    step,
                    ..corpse
                });
            }
        }
    }

    /// Whether somebody took it, or nobody ever will.
    fn bury_one(&mut self, corpse: &Corpse) -> bool {
        if !self.exchanges.contains_key(&corpse.exchange) {
            return false;
        }
        if corpse.entry.message.delay_ms.is_some() {
            let (entry, source) = (&corpse.entry, corpse.source);
            self.release(&corpse.exchange, corpse.origin.1, entry, source);
            return true;
        }
        let letter = Shared::new(self.letter_of(corpse));
        let properties = Properties::decode(&letter.properties).expect("the model encoded it");
        let headers = properties.headers.unwrap_or(Table::EMPTY);
        let mut keys = vec![letter.routing_key.clone()];
        keys.extend(copies(headers));
        let route = self.route(&letter.exchange, &keys, Some(headers), Asks::None);
        let mut lineage = corpse.entry.lineage.clone();
        lineage.push(corpse.origin.1);
        if route.queues.is_empty() && route.replies.is_empty() && route.delays.is_empty() {
            return false;
        }
        let (mut targets, mut refusals) = (0, 0);
        for number in route.queues {
            let name = self.name_of(number).expect("it was found just now");
            if is_cycle(&letter.deaths, &name) {
                continue;
            }
            self.remember(&letter, number);
            let arrival = Arrival {
                message: &letter,
                source: corpse.source,
                lineage: &lineage,
            };
            targets += 1;
            refusals += usize::from(!self.enqueue(number, &arrival));
        }
        self.answer_requests(&route.replies.into_iter().collect::<Vec<_>>(), &letter);
        for number in route.delays {
            self.delay(number, &letter, corpse.source, &lineage);
        }
        targets == 0 || refusals < targets
    }

    fn letter_of(&mut self, corpse: &Corpse) -> Message {
        let message = &corpse.entry.message;
        let mut properties =
            Properties::decode(&message.properties).expect("the model looked at it before");
        let before = properties.headers.unwrap_or(Table::EMPTY);
        let deaths = self.deaths_of(corpse, before, properties.expiration);
        let mut headers = TableBuilder::new();
        for (name, value) in before {
            let is_written = name == b"x-death"
                || name.starts_with(b"x-first-death-")
                || name.starts_with(b"x-last-death-")
                || (name == b"CC" && corpse.routing_key.is_some());
            if !is_written {
                headers.put(name, value);
            }
        }
        write_deaths(&deaths, &mut headers);
        let (first, last) = (message.first_death(corpse), &deaths[0]);
        for (prefix, [reason, queue, exchange]) in [
            ("x-first-death", [&first.0, &first.1, &first.2]),
            (
                "x-last-death",
                [&last.reason.to_owned(), &corpse.origin.0, &message.exchange],
            ),
        ] {
            headers.put(format!("{prefix}-reason"), reason.as_str());
            headers.put(format!("{prefix}-queue"), queue.as_str());
            headers.put(format!("{prefix}-exchange"), exchange.as_str());
        }
        properties.headers = Some(headers.view());
        properties.expiration = None;
        let mut block = Vec::new();
        properties.encode(&mut block);
        let routing_key = corpse.routing_key.as_ref().unwrap_or(&message.routing_key);
        Message {
            id: self.draw_number(),
            number: message.number,
            exchange: corpse.exchange.clone(),
            routing_key: routing_key.clone(),
            properties: block,
            reply_consumer: message.reply_consumer,
            body: message.body.clone(),
            persistent: message.persistent,
            priority: message.priority,
            expiration_ms: None,
            delay_ms: None,
            was_delayed: message.was_delayed,
            deaths,
        }
    }

    /// One element for each queue and reason, the newest first.
    fn deaths_of(
        &self,
        corpse: &Corpse,
        headers: Table<'_>,
        expiration: Option<&[u8]>,
    ) -> Vec<Death> {
        let message = &corpse.entry.message;
        let mut deaths = message.deaths.clone();
        let is_same = |it: &Death| it.queue == corpse.origin.0 && it.reason == corpse.reason;
        let newest = match deaths.iter().position(is_same) {
            Some(at) => {
                let mut known = deaths.remove(at);
                known.count += 1;
                known
            }
            None => {
                let mut routing_keys = vec![message.routing_key.clone()];
                routing_keys.extend(copies(headers));
                Death {
                    queue: corpse.origin.0.clone(),
                    reason: corpse.reason,
                    count: 1,
                    time: self.now_ms / 1000,
                    exchange: message.exchange.clone(),
                    routing_keys,
                    original_expiration: expiration.map(text),
                }
            }
        };
        deaths.insert(0, newest);
        deaths
    }
}

impl Message {
    /// Reason, queue and exchange.
    fn first_death(&self, corpse: &Corpse) -> (String, String, String) {
        let properties =
            Properties::decode(&self.properties).expect("the model looked at it before");
        let headers = properties.headers.unwrap_or(Table::EMPTY);
        let known = |name: &str| Some(headers.get(name)?.as_str()?.to_owned());
        let known = known("x-first-death-reason")
            .zip(known("x-first-death-queue"))
            .zip(known("x-first-death-exchange"));
        match known {
            Some(((reason, queue), exchange)) => (reason, queue, exchange),
            None => (
                corpse.reason.to_owned(),
                corpse.origin.0.clone(),
                self.exchange.clone(),
            ),
        }
    }
}

/// What came from different sources goes on as from different ones: its order is not told by the queue
/// between.
fn mixed(source: u64, before: u64) -> u64 {
    match before {
        0 => source,
        _ => before.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ source,
    }
}

/// It would come to a queue where it died before, and nobody rejected it there or since.
fn is_cycle(deaths: &[Death], target: &str) -> bool {
    let Some(at) = deaths.iter().position(|death| death.queue == target) else {
        return false;
    };
    deaths[..=at].iter().all(|death| death.reason != "rejected")
}

fn write_deaths(deaths: &[Death], headers: &mut TableBuilder) {
    let mut array = ArrayBuilder::new();
    for death in deaths {
        let mut keys = ArrayBuilder::new();
        for key in &death.routing_keys {
            keys.push(key.as_str());
        }
        let mut table = TableBuilder::new();
        table
            .put("count", death.count as i64)
            .put("reason", death.reason)
            .put("queue", death.queue.as_str())
            .put("time", Value::Timestamp(death.time))
            .put("exchange", death.exchange.as_str())
            .put_array("routing-keys", &keys);
        if let Some(expiration) = &death.original_expiration {
            table.put("original-expiration", expiration.as_str());
        }
        array.push_table(&table);
    }
    headers.put_array("x-death", &array);
}

/// Further routing keys that a consumer sees.
pub(super) fn copies(headers: Table<'_>) -> Vec<String> {
    match headers.get("CC") {
        Some(Value::Array(keys)) => {
            let keys = keys
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned));
            keys.collect()
        }
        _ => Vec::new(),
    }
}

/// How long a dead letter that nobody took waits for the next try.
const STUCK_RETRY_MS: u64 = 1000;
/// More dead letters in one call than the broker promises to bury in one.
const BURIALS_MAX: usize = 500;
