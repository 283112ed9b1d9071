//! Duplicates are dropped by queues and exchanges that are told to (`x-message-deduplication`).

use leveret::wire::amqp::{Properties, Table};

use super::*;

/// The keys that a queue or an exchange knows, oldest first.
#[derive(Clone, Debug)]
pub struct Window {
    size: usize,
    ttl_ms: Option<u64>,
    known: Vec<Known>,
    /// The broker began anew: what it still knows of these is not told here.
    vague: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Known {
    key: String,
    until_ms: u64,
    persistent: bool,
    /// Of a queue's, the place of the message: it is known while that is there.
    place: u64,
}

impl Window {
    pub(super) fn of(arguments: Table<'_>) -> Option<Window> {
        let asked = arguments.get("x-message-deduplication")?.as_bool();
        let number = |name: &str| Some(arguments.get(name)?.as_integer()? as u64);
        asked.filter(|asked| *asked).map(|_| Window {
            size: number("x-cache-size").unwrap_or(100_000) as usize,
            ttl_ms: number("x-cache-ttl"),
            known: Vec::new(),
            vague: BTreeSet::new(),
        })
    }

    /// What is transient says nothing of what is to survive.
    fn has(&self, key: &str, persistent: bool, now_ms: u64) -> bool {
        let mut known = self.known.iter();
        let found = known.find(|known| known.key == key);
        found.is_some_and(|it| it.until_ms > now_ms && (it.persistent || !persistent))
    }

    fn learn(&mut self, key: String, persistent: bool, place: u64, now_ms: u64) {
        for _ in 0..EVICTIONS_MAX {
            if let Some(at) = self.known.iter().position(|known| known.key == key) {
                self.known.remove(at);
                continue;
            }
            let is_full = self.known.len() >= self.size;
            let Some(oldest) = self.known.first() else {
                break;
            };
            if !is_full && oldest.until_ms > now_ms {
                break;
            }
            self.known.remove(0);
        }
        self.vague.remove(&key);
        self.known.push(Known {
            key,
            until_ms: self.ttl_ms.map_or(u64::MAX, |ttl_ms| now_ms + ttl_ms),
            persistent,
            place,
        });
    }
}

impl Model {
    /// Whether the queue has such a message already.
    pub(super) fn is_known_in_queue(&mut self, name: &str, message: &Message) -> bool {
        let queue = &self.queues[name];
        let (Some(window), Some(key)) = (&queue.window, key_of(message)) else {
            return false;
        };
        let places = self.entries_of(queue).into_iter().map(|(place, _)| place);
        let places: BTreeSet<u64> = places.collect();
        let is_vague = window.vague.contains(&key);
        let now_ms = self.now_ms;
        self.end_if(is_vague, Beyond::KeysAfterACrash);
        let queue = self.queues.get_mut(name).expect("it was looked at");
        let window = queue.window.as_mut().expect("it has one");
        window.known.retain(|known| places.contains(&known.place));
        window.has(&key, message.persistent, now_ms)
    }

    /// The queue has the message from now on, at this place.
    pub(super) fn learn_in_queue(&mut self, name: &str, message: &Message, place: u64) {
        let (now_ms, key) = (self.now_ms, key_of(message));
        let queue = self.queues.get_mut(name).expect("the caller found it");
        if let Some((window, key)) = queue.window.as_mut().zip(key) {
            window.learn(key, message.persistent, place, now_ms);
        }
    }

    /// Whether the exchange has routed such a message; none if nobody asks.
    pub(super) fn is_known_at_exchange(
        &self,
        name: &str,
        (headers, persistent): (Table<'_>, bool),
    ) -> Option<bool> {
        let window = self.exchanges[name].window.as_ref()?;
        let key = key_in(headers)?;
        Some(window.vague.contains(&key) || window.has(&key, persistent, self.now_ms))
    }

    /// It is not told here whether the exchange knows such a message.
    pub(super) fn is_vague_at_exchange(&self, name: &str, headers: Table<'_>) -> bool {
        let window = self.exchanges[name].window.as_ref();
        let key = key_in(headers);
        let both = window.zip(key);
        both.is_some_and(|(window, key)| window.vague.contains(&key))
    }

    pub(super) fn learn_at_exchange(&mut self, name: &str, message: &Message) {
        let (now_ms, key) = (self.now_ms, key_of(message));
        // A transaction may commit to an exchange that is gone by then.
        let Some(exchange) = self.exchanges.get_mut(name) else {
            return;
        };
        if let Some((window, key)) = exchange.window.as_mut().zip(key) {
            window.learn(key, message.persistent, 0, now_ms);
        }
    }

    /// After a start: the window of a queue or an exchange that was there before.
    pub(super) fn recovered_window(
        arguments: Table<'_>,
        before: Option<&Window>,
    ) -> Option<Window> {
        let mut window = Window::of(arguments)?;
        if let Some(before) = before {
            let kept = before.known.iter().filter(|known| known.persistent);
            window.vague = kept.map(|known| known.key.clone()).collect();
            window.vague.extend(before.vague.iter().cloned());
        }
        Some(window)
    }
}

fn key_of(message: &Message) -> Option<String> {
    let properties = Properties::decode(&message.properties).ok()?;
    key_in(properties.headers?)
}

fn key_in(headers: Table<'_>) -> Option<String> {
    Some(headers.get("x-deduplication-header")?.as_str()?.to_owned())
}

/// Keys that go for one that comes.
const EVICTIONS_MAX: usize = 8;
