//! Where a message goes, worked out anew each time.

use std::collections::BTreeSet;

use leveret::wire::amqp::{Table, Value};

use super::delays::delay_of;
use super::hashing::{by_modulus, by_rendezvous, hashed};
use super::*;

/// Numbers of queues and reply consumers.
#[derive(Default)]
pub(super) struct Destinations {
    pub queues: BTreeSet<u64>,
    pub replies: BTreeSet<u64>,
    /// Where it has to wait.
    pub delays: BTreeSet<u64>,
    /// Exchanges to which it is new, and whether one knew it, or may have known it.
    pub news: Vec<String>,
    pub is_repeat: bool,
    pub is_vague: bool,
}

/// Which exchanges ask whether the message is a duplicate.
#[derive(Clone, Copy)]
pub(super) enum Asks<'a> {
    /// All of them; whether it is persistent.
    All(bool),
    /// All but one, which asked before.
    But(&'a str, bool),
    /// None, it is a dead letter.
    None,
}

impl Asks<'_> {
    fn of(self, exchange: &str) -> Option<bool> {
        match self {
            Asks::But(other, _) if other == exchange => None,
            Asks::All(persistent) | Asks::But(_, persistent) => Some(persistent),
            Asks::None => None,
        }
    }
}

impl Model {
    pub(super) fn route(
        &self,
        exchange: &str,
        keys: &[String],
        headers: Option<Table<'_>>,
        asks: Asks<'_>,
    ) -> Destinations {
        let mut found = Destinations::default();
        let mut visited = BTreeSet::new();
        let mut open = vec![exchange.to_owned()];
        while let Some(name) = open.pop() {
            if self.exchanges.contains_key(&name) && visited.insert(name.clone()) {
                self.route_one(&name, (keys, headers), asks, &mut found, &mut open);
            }
        }
        found
    }

    fn route_one(
        &self,
        name: &str,
        (keys, headers): (&[String], Option<Table<'_>>),
        asks: Asks<'_>,
        found: &mut Destinations,
        open: &mut Vec<String>,
    ) {
        if name.is_empty() {
            for key in keys {
                match self.queues.get(key) {
                    Some(queue) => drop(found.queues.insert(queue.number)),
                    None => found.replies.extend(self.reply_consumer_at(key)),
                }
            }
            return;
        }
        if let Some(persistent) = asks.of(name) {
            let headers = headers.unwrap_or_default();
            found.is_vague |= self.is_vague_at_exchange(name, headers);
            match self.is_known_at_exchange(name, (headers, persistent)) {
                Some(true) => {
                    found.is_repeat = true;
                    return;
                }
                Some(false) => found.news.push(name.to_owned()),
                None => {}
            }
        }
        if let Some(queue) = self
            .delay_queue(name)
            .filter(|_| delay_of(headers).is_some())
        {
            found.delays.insert(queue);
            return;
        }
        let exchange = &self.exchanges[name];
        let bindings = self.bindings.iter().filter(|b| b.source == name).collect();
        let destinations = matching(exchange, bindings, keys, headers.unwrap_or_default());
        if destinations.is_empty() {
            open.extend(self.alternate_of(name));
        }
        for destination in destinations {
            match destination {
                Destination::Queue(queue) => drop(found.queues.insert(self.queues[queue].number)),
                Destination::Exchange(exchange) => open.push(exchange.clone()),
            }
        }
    }

    /// The reply consumer with this address.
    fn reply_consumer_at(&self, key: &str) -> Option<u64> {
        let mut channels = self.connections.iter().flat_map(|c| c.channels.values());
        channels.find_map(|channel| {
            let consumer = channel.reply_consumer.as_ref()?;
            (consumer.address.as_deref() == Some(key)).then_some(consumer.number)
        })
    }
}

/// Where the bindings of one exchange lead that match.
fn matching<'b>(
    exchange: &Exchange,
    bindings: Vec<&'b Binding>,
    keys: &[String],
    headers: Table<'_>,
) -> Vec<&'b Destination> {
    let kind = exchange.inner_kind.as_ref().unwrap_or(&exchange.kind);
    let matches = |binding: &&Binding| match kind.as_str() {
        "direct" => keys.contains(&binding.routing_key),
        "fanout" => true,
        "topic" => {
            let pattern = words(&binding.routing_key);
            keys.iter().any(|key| topic_matches(&pattern, &words(key)))
        }
        _ => headers_match(binding.arguments.view(), headers),
    };
    // Those that pick one pick it by the message's own key.
    let picked = match kind.as_str() {
        "x-modulus-hash" => by_modulus(&bindings, &keys[0]),
        "x-consistent-hash" => {
            let header = exchange.hash_header.as_deref();
            by_rendezvous(&bindings, hashed(header, &keys[0], headers))
        }
        _ => {
            let matching = bindings.into_iter().filter(matches);
            return matching.map(|binding| &binding.destination).collect();
        }
    };
    picked.into_iter().collect()
}

/// No key is no word, not one empty word (RabbitMQ).
fn words(key: &str) -> Vec<&str> {
    match key {
        "" => Vec::new(),
        key => key.split('.').collect(),
    }
}

fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => {
            topic_matches(rest, key) || (!key.is_empty() && topic_matches(pattern, &key[1..]))
        }
        (Some((&word, pattern)), Some((&ours, key))) => {
            (word == "*" || word == ours) && topic_matches(pattern, key)
        }
        _ => false,
    }
}

fn headers_match(arguments: Table<'_>, headers: Table<'_>) -> bool {
    let kind = arguments
        .get("x-match")
        .and_then(|kind| kind.as_str())
        .unwrap_or("all");
    let counts =
        |name: &[u8]| name != b"x-match" && (kind.ends_with("-with-x") || !name.starts_with(b"x-"));
    let mut conditions = arguments.iter().filter(|(name, _)| counts(name));
    let fulfilled = |(name, wanted): (&[u8], Value<'_>)| {
        headers
            .get(name)
            .is_some_and(|value| wanted == Value::Void || wanted == value)
    };
    match kind.starts_with("any") {
        true => conditions.any(fulfilled),
        false => conditions.all(fulfilled),
    }
}
