//! What is written on a dead letter: the header `x-death` and its companions (RabbitMQ: dead-lettered
//! effects on messages). Bytes in, bytes out.
//!
//! ```text
//!   x-death: [ {count 2, reason rejected, queue b, ...},  newest first,
//!              {count 1, reason expired,  queue a, ...} ]   one per queue and reason
//!   x-first-death-reason, -queue, -exchange               set once
//!   x-last-death-reason, -queue, -exchange                with every death
//! ```
//!
//! Clients put together retries from this by publishing what they got, so an `x-death` that a client
//! sends is continued (RabbitMQ up to 3.13). It may then hold anything. What is not an array counts as
//! no history, as in RabbitMQ; where other values would break RabbitMQ's queue they are left out here:
//! elements that are no tables, and counts that are no integers.

use std::collections::hash_map::Entry;
use std::fmt;

use super::Reason;
use crate::broker::{Map, Message};
use crate::wire::Malformed;
use crate::wire::amqp::field_table::{Array, ArrayBuilder, Table, TableBuilder, Value};
use crate::wire::amqp::properties::Properties;

/// A death that is to be written on the message.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// Where the message died.
    pub queue: &'a [u8],
    pub reason: Reason,
    /// The exchange it had been published to.
    pub exchange: &'a [u8],
    /// The routing key it had been published with. Those of its CC header are found there.
    pub routing_key: &'a [u8],
    /// The queue has a dead-letter routing key: it takes the place of all others, so the CC header goes.
    pub replaces_routing_keys: bool,
    /// Milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
}

impl Death<'_> {
    /// The properties of the dead letter, encoded, from those of the message that died: its expiration
    /// is moved into the history, so that it does not die of it again.
    ///
    /// An error only if the block is not well-formed.
    pub fn write_on(&self, properties: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut properties = Properties::decode(properties)?;
        let old = properties.headers.unwrap_or(Table::EMPTY);
        let headers = self.headers(old, properties.expiration);
        properties.headers = Some(headers.view());
        properties.expiration = None;
        let mut block = Vec::new();
        properties.encode(&mut block);
        Ok(block)
    }

    fn headers(&self, old: Table<'_>, expiration: Option<&[u8]>) -> TableBuilder {
        let known = records(old);
        let is_first = known.is_empty();
        let mut headers = TableBuilder::new();
        for (name, value) in old {
            let is_rewritten = name == DEATHS
                || LAST.contains(&name)
                || is_first && FIRST.contains(&name)
                || self.replaces_routing_keys && name == COPIES;
            if !is_rewritten {
                headers.put(name, value);
            }
        }
        headers.put_array(DEATHS, &self.deaths(&known, old, expiration));
        if is_first {
            self.put_companions(&FIRST, &mut headers);
        }
        self.put_companions(&LAST, &mut headers);
        headers
    }

    fn put_companions(&self, [reason, queue, exchange]: &[&[u8]; 3], headers: &mut TableBuilder) {
        headers
            .put(reason, self.reason.as_str())
            .put(queue, self.queue)
            .put(exchange, self.exchange);
    }

    /// The new `x-death`: this death in front, be it counted on or added, then the others as they were.
    fn deaths(
        &self,
        known: &[Record<'_>],
        headers: Table<'_>,
        expiration: Option<&[u8]>,
    ) -> ArrayBuilder {
        let kind = Some((self.queue, self.reason.as_str().as_bytes()));
        let mut deaths = ArrayBuilder::new();
        match known.iter().find(|record| record.kind == kind) {
            Some(record) => deaths.push_table(&record.with_count(record.count.saturating_add(1))),
            None => deaths.push_table(&self.record(headers, expiration)),
        };
        for record in known.iter().filter(|record| record.kind != kind) {
            let size = deaths.view().as_bytes().len() + record.table.as_bytes().len();
            if size > DEATHS_BYTES_MAX {
                break;
            }
            record.push_to(&mut deaths);
        }
        deaths
    }

    /// The first death of this kind, with the fields in the order in which RabbitMQ sends them.
    fn record(&self, headers: Table<'_>, expiration: Option<&[u8]>) -> TableBuilder {
        let mut keys = ArrayBuilder::new();
        keys.push(self.routing_key);
        for key in carbon_copies(headers) {
            if keys.view().as_bytes().len() + key.len() > ROUTING_KEYS_BYTES_MAX {
                break;
            }
            keys.push(key);
        }
        let mut record = TableBuilder::new();
        record
            .put(COUNT, 1i64)
            .put(REASON, self.reason.as_str())
            .put(QUEUE, self.queue)
            .put("time", Value::Timestamp(self.time_unix_ms / 1000))
            .put(EXCHANGE, self.exchange)
            .put_array(ROUTING_KEYS, &keys);
        if let Some(expiration) = expiration {
            record.put("original-expiration", expiration);
        }
        record
    }
}

/// One element of `x-death`, as it was found.
struct Record<'a> {
    /// Queue and reason; `None` if either is missing, which only a client can have done.
    kind: Option<(&'a [u8], &'a [u8])>,
    count: i64,
    table: Table<'a>,
}

impl<'a> Record<'a> {
    fn new(table: Table<'a>) -> Self {
        Record {
            kind: text(table, QUEUE).zip(text(table, REASON)),
            count: count_of(table).unwrap_or(1),
            table,
        }
    }

    fn push_to(&self, deaths: &mut ArrayBuilder) {
        if self.kind.is_none() || count_of(self.table) == Some(self.count) {
            deaths.push(Value::Table(self.table));
        } else {
            deaths.push_table(&self.with_count(self.count));
        }
    }

    fn with_count(&self, count: i64) -> TableBuilder {
        let mut table = TableBuilder::new();
        table.put(COUNT, count);
        for (name, value) in self.table.iter().filter(|(name, _)| *name != COUNT) {
            table.put(name, value);
        }
        table
    }
}

/// The elements of `x-death`, newest first, each kind once. Old RabbitMQs wrote an element per death and
/// no counts: such elements are counted together.
fn records(headers: Table<'_>) -> Vec<Record<'_>> {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut places = Map::default();
    for table in deaths(headers).iter().filter_map(|value| value.as_table()) {
        let record = Record::new(table);
        if let Some(kind) = record.kind {
            match places.entry(kind) {
                Entry::Vacant(place) => drop(place.insert(records.len())),
                Entry::Occupied(place) => {
                    let first = &mut records[*place.get()];
                    if count_of(first.table).is_none() {
                        first.count += 1;
                    }
                    continue;
                }
            }
        }
        records.push(record);
    }
    records
}

fn text<'a>(record: Table<'a>, name: &[u8]) -> Option<&'a [u8]> {
    record.get(name).and_then(|value| value.as_bytes())
}

fn count_of(record: Table<'_>) -> Option<i64> {
    record.get(COUNT).and_then(|count| count.as_integer())
}

fn deaths(headers: Table<'_>) -> Array<'_> {
    let deaths = headers.get(DEATHS).and_then(|value| value.as_array());
    deaths.unwrap_or(Array::EMPTY)
}

/// The further routing keys of a message (RabbitMQ: sender-selected distribution), as a consumer sees
/// them: those of BCC are gone.
fn carbon_copies(headers: Table<'_>) -> impl Iterator<Item = &[u8]> {
    let copies = headers.get(COPIES).and_then(|value| value.as_array());
    let copies = copies.unwrap_or(Array::EMPTY).into_iter();
    copies.filter_map(|value| match value {
        Value::LongString(key) => Some(key),
        _ => None,
    })
}

/// The keys that the message was published with, as far as it shows them: its own, then those of CC.
pub fn shown_keys<'a>(message: &Message<'a>, properties: &Properties<'a>) -> Vec<&'a [u8]> {
    let headers = properties.headers.unwrap_or_default();
    std::iter::once(message.routing_key)
        .chain(carbon_copies(headers))
        .collect()
}

/// Where a message comes from that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    pub queue: &'a [u8],
    /// What it had been published with when it died there; none if nobody wrote it down.
    pub exchange: Option<&'a [u8]>,
    pub routing_key: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Where a message with these headers died first; if that was `here`, where next. `None` if it never
    /// died elsewhere.
    pub fn find(headers: Table<'a>, here: &[u8]) -> Option<Source<'a>> {
        let deaths = deaths(headers).into_iter();
        let mut deaths: Vec<_> = deaths.filter_map(|death| death.as_table()).collect();
        deaths.reverse();
        let queues = deaths.iter().filter_map(|death| text(*death, QUEUE));
        let queue = text(headers, FIRST[1])
            .into_iter()
            .chain(queues)
            .find(|queue| *queue != here)?;
        let death = deaths.iter().find(|it| text(**it, QUEUE) == Some(queue));
        let keys = death.and_then(|it| it.get(ROUTING_KEYS)?.as_array());
        Some(Source {
            queue,
            exchange: death.and_then(|it| text(*it, EXCHANGE)),
            routing_key: keys.and_then(|keys| keys.into_iter().next()?.as_bytes()),
        })
    }
}

/// The properties of a message as if it had never died, encoded. An expiration that it died of does not
/// come back.
///
/// An error only if the block is not well-formed.
pub fn without_deaths(properties: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut properties = Properties::decode(properties)?;
    let mut headers = TableBuilder::new();
    for (name, value) in properties.headers.unwrap_or(Table::EMPTY) {
        if name != DEATHS && !FIRST.contains(&name) && !LAST.contains(&name) {
            headers.put(name, value);
        }
    }
    let is_empty = headers.view().as_bytes().is_empty();
    properties.headers = (!is_empty).then(|| headers.view());
    let mut block = Vec::new();
    properties.encode(&mut block);
    Ok(block)
}

/// A way in which a message would go round for ever, with nobody's doing.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    target: &'a [u8],
    deaths: Array<'a>,
}

impl<'a> Cycle<'a> {
    /// Whether the dead letter with these headers, its latest death written on it, would come round to
    /// `target`: it died there before, and nobody has rejected it then or since. It is then not to be
    /// put there. A rejection is a consumer's doing, who may stop it; so is what only a client can have
    /// put between.
    pub fn find(headers: Table<'a>, target: &'a [u8]) -> Option<Cycle<'a>> {
        let deaths = deaths(headers);
        for death in deaths {
            let death = death.as_table()?;
            if text(death, REASON) == Some(Reason::Rejected.as_str().as_bytes()) {
                return None;
            }
            if text(death, QUEUE) == Some(target) {
                return Some(Cycle { target, deaths });
            }
        }
        None
    }

    /// The queues of the cycle, the latest first: `target`, and where the message died.
    pub fn queues(&self) -> impl Iterator<Item = &'a [u8]> {
        let deaths = self.deaths.iter().filter_map(|death| death.as_table());
        let names = deaths.filter_map(|death| text(death, QUEUE));
        std::iter::once(self.target).chain(names)
    }
}

/// RabbitMQ's line for the log. It is to be written once per list of queues.
impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "Message dropped because the following list of queues (ordered by death recency) contains \
             a dead letter cycle without reason 'rejected'. This list will not be logged again: ",
        )?;
        let names = self
            .queues()
            .take(CYCLE_NAMES_MAX)
            .map(String::from_utf8_lossy);
        f.debug_list().entries(names).finish()
    }
}

const DEATHS: &[u8] = b"x-death";
const COPIES: &[u8] = b"CC";
/// Reason, queue and exchange of the first death.
const FIRST: [&[u8]; 3] = [
    b"x-first-death-reason",
    b"x-first-death-queue",
    b"x-first-death-exchange",
];
/// The same of the last one.
const LAST: [&[u8]; 3] = [
    b"x-last-death-reason",
    b"x-last-death-queue",
    b"x-last-death-exchange",
];
const COUNT: &[u8] = b"count";
const REASON: &[u8] = b"reason";
const QUEUE: &[u8] = b"queue";
const EXCHANGE: &[u8] = b"exchange";
const ROUTING_KEYS: &[u8] = b"routing-keys";

/// Headers must fit in a frame, which is 128 KiB for most clients. Of a history that grows beyond this the
/// oldest deaths are left out: it takes hundreds of queues in a row, or a client that made them up.
const DEATHS_BYTES_MAX: usize = 65_536;
/// How many bytes of routing keys are written down with a death; more than that only a publisher with
/// hundreds of CC keys can send.
const ROUTING_KEYS_BYTES_MAX: usize = 16_384;
/// How many names a line of the log lists.
const CYCLE_NAMES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::amqp::properties::NO_PROPERTIES;

    const REJECTED: Death<'static> = Death {
        queue: b"q",
        reason: Reason::Rejected,
        exchange: b"x",
        routing_key: b"k",
        replaces_routing_keys: false,
        time_unix_ms: 5_999,
    };

    const EXPIRED: Death<'static> = Death {
        reason: Reason::Expired,
        ..REJECTED
    };

    fn block(headers: &TableBuilder) -> Vec<u8> {
        let mut block = Vec::new();
        let properties = Properties {
            headers: Some(headers.view()),
            ..Properties::default()
        };
        properties.encode(&mut block);
        block
    }

    fn headers(block: &[u8]) -> Table<'_> {
        Properties::decode(block).unwrap().headers.unwrap()
    }

    /// Headers with an `x-death` of these elements.
    fn with_deaths<'a>(elements: impl IntoIterator<Item = Value<'a>>) -> TableBuilder {
        let mut deaths = ArrayBuilder::new();
        for element in elements {
            deaths.push(element);
        }
        let mut headers = TableBuilder::new();
        headers.put_array("x-death", &deaths);
        headers
    }

    fn record(queue: &str, reason: &str) -> TableBuilder {
        let mut record = TableBuilder::new();
        record.put("queue", queue).put("reason", reason);
        record
    }

    /// Queue, reason and count of each death.
    fn kinds(headers: Table<'_>) -> Vec<(String, String, i64)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let known = records(headers).into_iter();
        known
            .map(|record| {
                let (queue, reason) = record.kind.unwrap_or_default();
                (text(queue), text(reason), record.count)
            })
            .collect()
    }

    fn kind(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
        (queue.to_owned(), reason.to_owned(), count)
    }

    #[test]
    fn the_first_death_is_written_as_rabbitmq_writes_it() {
        let mut own = TableBuilder::new();
        own.put("own", 1);
        let mut before = Vec::new();
        let properties = Properties {
            headers: Some(own.view()),
            delivery_mode: Some(2),
            priority: Some(3),
            expiration: Some(b"100000"),
            ..Properties::default()
        };
        properties.encode(&mut before);
        let after = EXPIRED.write_on(&before).unwrap();

        let mut keys = ArrayBuilder::new();
        keys.push("k");
        let mut death = TableBuilder::new();
        death
            .put("count", 1i64)
            .put("reason", "expired")
            .put("queue", "q")
            .put("time", Value::Timestamp(5))
            .put("exchange", "x")
            .put_array("routing-keys", &keys)
            .put("original-expiration", "100000");
        let mut deaths = ArrayBuilder::new();
        deaths.push_table(&death);
        let mut all = own.clone();
        all.put_array("x-death", &deaths)
            .put("x-first-death-reason", "expired")
            .put("x-first-death-queue", "q")
            .put("x-first-death-exchange", "x")
            .put("x-last-death-reason", "expired")
            .put("x-last-death-queue", "q")
            .put("x-last-death-exchange", "x");
        let expected = Properties {
            headers: Some(all.view()),
            expiration: None,
            ..properties
        };
        assert_eq!(Properties::decode(&after), Ok(expected));
    }

    #[test]
    fn deaths_are_counted_by_queue_and_reason_with_the_newest_in_front() {
        let mut block = NO_PROPERTIES.to_vec();
        let elsewhere = Death {
            queue: b"r",
            exchange: b"y",
            ..EXPIRED
        };
        for death in [EXPIRED, REJECTED, elsewhere, EXPIRED] {
            block = death.write_on(&block).unwrap();
        }
        let headers = headers(&block);
        assert_eq!(
            kinds(headers),
            [
                kind("q", "expired", 2),
                kind("r", "expired", 1),
                kind("q", "rejected", 1)
            ]
        );
        let value = |name: &str| headers.get(name).and_then(|value| value.as_str());
        assert_eq!(value("x-first-death-reason"), Some("expired"));
        assert_eq!(value("x-first-death-exchange"), Some("x"));
        assert_eq!(value("x-last-death-queue"), Some("q"));
        assert_eq!(headers.iter().count(), 7);
    }

    #[test]
    fn a_death_counted_on_keeps_what_was_written_the_first_time() {
        let first = EXPIRED.write_on(&NO_PROPERTIES).unwrap();
        let later = Death {
            exchange: b"y",
            routing_key: b"l",
            time_unix_ms: 60_000,
            ..EXPIRED
        };
        let second = later.write_on(&first).unwrap();
        let (first, second) = (records(headers(&first)), records(headers(&second)));
        assert_eq!((first[0].count, second[0].count), (1, 2));
        let rest = |record: &Record<'_>| record.with_count(0).finish();
        assert_eq!(rest(&first[0]), rest(&second[0]));
    }

    #[test]
    fn keys_of_cc_are_written_down_and_go_when_the_routing_key_is_replaced() {
        let mut copies = ArrayBuilder::new();
        copies.push("c").push(1).push("d");
        let mut own = TableBuilder::new();
        own.put_array("CC", &copies);
        for replaces_routing_keys in [false, true] {
            let death = Death {
                replaces_routing_keys,
                ..REJECTED
            };
            let block = death.write_on(&block(&own)).unwrap();
            let headers = headers(&block);
            assert_eq!(headers.get("CC").is_none(), replaces_routing_keys);
            let keys = records(headers)[0].table.get("routing-keys").unwrap();
            let mut expected = ArrayBuilder::new();
            expected.push("k").push("c").push("d");
            assert_eq!(keys, Value::Array(expected.view()));
        }
        assert!(carbon_copies(own.view()).eq([b"c", b"d"]));
    }

    #[test]
    fn what_is_no_history_is_replaced_by_one() {
        let strange = [Value::string("no"), Value::Void, Value::SignedInt(5)];
        for value in strange.into_iter().chain([Value::Table(Table::EMPTY)]) {
            let mut own = TableBuilder::new();
            own.put("x-death", value).put("x-first-death-queue", "mine");
            let block = REJECTED.write_on(&block(&own)).unwrap();
            assert_eq!(kinds(headers(&block)), [kind("q", "rejected", 1)]);
            let first = headers(&block).get("x-first-death-queue");
            assert_eq!(first, Some(Value::string("q")));
        }
        let block = REJECTED
            .write_on(&block(&with_deaths([Value::Void, Value::string("no")])))
            .unwrap();
        assert_eq!(kinds(headers(&block)), [kind("q", "rejected", 1)]);
    }

    #[test]
    fn a_clients_own_history_is_continued() {
        let mut counted = record("q", "rejected");
        counted.put("count", 5).put("more", true);
        let other = record("o", "expired");
        let foreign = TableBuilder::new();
        let elements = [&other, &foreign, &counted];
        let own = with_deaths(elements.map(|table| Value::Table(table.view())));
        let block = REJECTED.write_on(&block(&own)).unwrap();
        let headers = headers(&block);
        assert_eq!(
            kinds(headers),
            [
                kind("q", "rejected", 6),
                kind("o", "expired", 1),
                kind("", "", 1)
            ]
        );
        assert_eq!(records(headers)[0].table.get("more"), Some(Value::Bool(1)));
        // It is the client's to say which death was first.
        assert_eq!(headers.get("x-first-death-queue"), None);
    }

    #[test]
    fn deaths_without_counts_are_counted_together() {
        let old = record("q", "rejected");
        let own = with_deaths([Value::Table(old.view()), Value::Table(old.view())]);
        let mut odd = record("q", "rejected");
        odd.put("count", "many");
        for (own, count) in [(own, 3), (with_deaths([Value::Table(odd.view())]), 2)] {
            let block = REJECTED.write_on(&block(&own)).unwrap();
            assert_eq!(kinds(headers(&block)), [kind("q", "rejected", count)]);
            let block = EXPIRED.write_on(&block).unwrap();
            assert_eq!(kinds(headers(&block))[1], kind("q", "rejected", count));
        }
    }

    #[test]
    fn a_history_stays_within_its_bound() {
        let mut own = with_deaths([]);
        let mut copies = ArrayBuilder::new();
        for n in 0..1000 {
            copies.push(&*format!("{n:0200}"));
        }
        own.put_array("CC", &copies);
        let mut block = block(&own);
        let before = block.len();
        for n in 0..20 {
            let queue = format!("q{n}");
            let death = Death {
                queue: queue.as_bytes(),
                ..REJECTED
            };
            block = death.write_on(&block).unwrap();
            assert!(block.len() < before + DEATHS_BYTES_MAX + 1000);
        }
        assert_eq!(kinds(headers(&block))[0], kind("q19", "rejected", 1));
    }

    #[test]
    fn a_message_that_nobody_rejected_does_not_come_round() {
        let block = EXPIRED.write_on(&NO_PROPERTIES).unwrap();
        let cycle = Cycle::find(headers(&block), b"q").expect("itself");
        assert_eq!(
            cycle.to_string(),
            "Message dropped because the following list of queues (ordered by death recency) \
             contains a dead letter cycle without reason 'rejected'. This list will not be logged \
             again: [\"q\", \"q\"]"
        );
        assert!(Cycle::find(headers(&block), b"other").is_none());
        let further = Death {
            queue: b"r",
            ..EXPIRED
        };
        let block = further.write_on(&block).unwrap();
        let cycle = Cycle::find(headers(&block), b"q").expect("over another queue");
        assert!(cycle.queues().eq([b"q", b"r", b"q"]));
    }

    #[test]
    fn a_rejection_then_or_since_makes_it_no_cycle() {
        let rejected = REJECTED.write_on(&NO_PROPERTIES).unwrap();
        assert!(Cycle::find(headers(&rejected), b"q").is_none());
        let elsewhere = Death {
            queue: b"r",
            ..EXPIRED
        };
        let since = elsewhere.write_on(&rejected).unwrap();
        assert!(Cycle::find(headers(&since), b"q").is_none());
        // A rejection before that does not count.
        assert!(Cycle::find(headers(&since), b"r").is_some());
        let again = EXPIRED.write_on(&since).unwrap();
        assert!(Cycle::find(headers(&again), b"q").is_some());
        let foreign = with_deaths([Value::Void, Value::Table(record("q", "expired").view())]);
        assert!(Cycle::find(foreign.view(), b"q").is_none());
        assert!(Cycle::find(Table::EMPTY, b"q").is_none());
    }

    /// A value such as clients may put into `x-death` or where its parts are expected.
    fn odd_value() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop::sample::select(vec![
            &b"V"[..],
            b"t\x01",
            b"l\xff\xff\xff\xff\xff\xff\xff\xff",
            b"l\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"S\x00\x00\x00\x01q",
            b"S\x00\x00\x00\x08rejected",
            b"x\x00\x00\x00\x02\xff\xfe",
        ])
        .prop_map(<[u8]>::to_vec);
        let name = prop::sample::select(vec!["count", "queue", "reason", "CC", "x-death"]);
        leaf.prop_recursive(3, 30, 5, move |inner| {
            let entry = (name.clone(), inner.clone())
                .prop_map(|(name, value)| [&[name.len() as u8], name.as_bytes(), &value].concat());
            prop_oneof![
                vec(inner, 0..5).prop_map(|values| sized(b'A', &values.concat())),
                vec(entry, 0..5).prop_map(|entries| sized(b'F', &entries.concat())),
            ]
        })
    }

    fn sized(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let size = bytes.len() as u32;
        [&[tag], &size.to_be_bytes()[..], bytes].concat()
    }

    proptest! {
        #[test]
        fn any_history_can_be_continued(deaths in odd_value(), copies in odd_value()) {
            let entries = [&b"\x07x-death"[..], &deaths, b"\x02CC", &copies].concat();
            let mut own = TableBuilder::from_table(Table::from_encoded(&entries).unwrap());
            own.put("mine", "kept");
            let mut block = block(&own);
            for death in [REJECTED, EXPIRED, REJECTED] {
                block = death.write_on(&block).unwrap();
                prop_assert!(Properties::decode(&block).is_ok());
                let headers = headers(&block);
                prop_assert_eq!(headers.get("mine"), Some(Value::string("kept")));
                prop_assert_eq!(records(headers)[0].kind.map(|kind| kind.0), Some(death.queue));
                if let Some(cycle) = Cycle::find(headers, b"q") {
                    prop_assert_ne!(cycle.to_string(), "");
                }
            }
        }

        #[test]
        fn any_block_is_refused_or_written_on(block in vec(any::<u8>(), 0..100)) {
            let written = REJECTED.write_on(&block);
            prop_assert_eq!(written.is_ok(), Properties::decode(&block).is_ok());
        }
    }
}
