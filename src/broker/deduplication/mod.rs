//! Duplicates are dropped (RabbitMQ's plugin and LavinMQ: `x-message-deduplication`), by exchanges and by
//! queues that are told to. A message is known by the value of its header `x-deduplication-header`, or of
//! the header that the argument of that name names; one without it is no duplicate of anything.
//!
//! An **exchange** of any type with the argument `x-message-deduplication`, and every exchange of the type
//! of that name, which routes like a fanout, remembers the keys of the messages that it routed: the last
//! `x-cache-size`, each for `x-cache-ttl` milliseconds or what the message's own header `x-cache-ttl`
//! says. A message with a key that is remembered goes no further: it is confirmed as if it were new, and
//! not returned if it is mandatory. What went nowhere, or was refused by a queue, leaves no key, since its
//! publisher is to try again. Dead letters pass unseen: who sends a message round for another try means
//! no duplicate. A message that waits at an exchange that delays is known from when it came.
//!
//! A **queue** with the argument drops a message while it has one with the same key, ready, unacked or put
//! off; its ack or its death takes the key with it. `x-cache-size` and `x-cache-ttl` bound this as well.
//!
//! ```text
//!   publish --> exchange -- known --> dropped, confirmed
//!                  | new                            ack, death
//!                  v                                    ^
//!                queue -- known --> dropped, confirmed  |
//!                  | new: remembered -------------------+--> forgotten
//! ```
//!
//! An exchange keeps 100,000 keys if it does not say, a queue a million, and neither more than a million,
//! whatever it says; the oldest go first. A key takes about 100 bytes of memory, and 60 on disk.
//!
//! A persistent message is a duplicate of persistent ones only: its confirm says that it is stored.
//!
//! Keys survive with the messages that brought them: of persistent messages through durable exchanges
//! into durable queues. They are noted in the same batch, so that what is confirmed is known after a
//! crash; and a note whose message was torn from it by a crash is forgotten ([`Note::brought_by`]), so that
//! what was not confirmed can be published again. The confirm of a persistent duplicate waits like any
//! other: something is noted once more, behind the message that it repeats.

mod key;
mod recovery;
mod settings;
mod window;

use super::Core;
use super::journal::{Note, NoteKind, QueueId};
use super::message::{Message, MessageId};
use super::queue::{QueueKey, Ready};
use super::routing::{Aside, Route};
use super::topology::exchange::ExchangeKey;
use crate::wire::amqp::Properties;

pub use recovery::RecoveredKeys;
pub use settings::Settings;
pub use window::{Mark, Window};

use window::Kept;

/// What a queue or an exchange thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has no key, or nobody asks for it.
    Unmarked,
    New(Mark),
    Duplicate(u64, Kept),
}

impl Core {
    /// What the exchange makes of a message with these properties, if it is to drop duplicates and the
    /// message has a key.
    pub(super) fn recognize(
        &self,
        exchange: ExchangeKey,
        properties: &Properties<'_>,
    ) -> Option<Aside> {
        let window = self.exchanges[exchange].window.as_deref()?;
        let mark = window.mark_of(properties)?;
        Some(match window.find(mark, self.now_ms) {
            Some(_) => Aside::Duplicate(exchange, mark),
            None => Aside::New(exchange, mark),
        })
    }

    /// The exchange that such a message was published to, if that has come to know it since it was
    /// routed: another came first in the same transaction, or before its commit.
    pub(super) fn late_duplicate(&self, route: &Route, message: &Message<'_>) -> Option<Aside> {
        route.asides.iter().find_map(|aside| {
            let Aside::New(key, mark) = *aside else {
                return None;
            };
            let exchange = self.exchanges.get(key)?;
            let window = exchange.window.as_deref()?;
            let is_late = *exchange.name == *message.exchange;
            (is_late && window.find(mark, self.now_ms).is_some())
                .then_some(Aside::Duplicate(key, mark))
        })
    }

    /// The exchange drops a message. Whether its publisher must wait for what is noted.
    pub(super) fn drop_at_exchange(&mut self, exchange: ExchangeKey, mark: Mark) -> bool {
        let now_ms = self.now_ms;
        let Some(exchange) = self.exchanges.get_mut(exchange) else {
            return false;
        };
        let Some(window) = &mut exchange.window else {
            return false;
        };
        window.duplicates += 1;
        let (Some(id), Some(journal)) = (window.id, &mut self.journal) else {
            return false;
        };
        let found = window.find(mark, now_ms);
        if !mark.persistent || found.is_none_or(|(_, kept)| !kept.noted) {
            return false;
        }
        // What it repeats is in this batch or in one before. A note says that, whichever it is.
        let virtual_host = &self.virtual_hosts[exchange.virtual_host].name;
        let note = recovery::window_note(id, virtual_host, &exchange.name);
        journal.notes.push(note);
        true
    }

    /// The exchange routed a message with a key that it did not know. `journaled` is the message, if it
    /// survives.
    pub(super) fn remember_at_exchange(
        &mut self,
        exchange: ExchangeKey,
        mark: Mark,
        journaled: Option<MessageId>,
    ) {
        let now_ms = self.now_ms;
        // A transaction may commit to an exchange that is gone by then.
        let Some(exchange) = self.exchanges.get_mut(exchange) else {
            return;
        };
        let Some(window) = &mut exchange.window else {
            return;
        };
        let mut notes = self.journal.as_mut().map(|journal| &mut journal.notes);
        window.make_rooms(window.id.map(QueueId), mark, now_ms, &mut notes);
        let number = window.next_number();
        let noted = window.id.filter(|_| journaled.is_some() && notes.is_some());
        let kept = mark.kept_from(now_ms, noted.is_some());
        window.insert(number, kept);
        if let (Some(id), Some(notes)) = (noted, notes) {
            notes.push(kept.note(id, number, journaled));
        }
    }

    /// What the queue thinks of a message.
    pub(super) fn look_up_in_queue(&self, key: QueueKey, message: &Message<'_>) -> Seen {
        let Some(window) = &self.traffic.queues[key].window else {
            return Seen::Unmarked;
        };
        let properties = Properties::decode(message.properties).unwrap_or_default();
        let Some(mark) = window.mark_of(&properties) else {
            return Seen::Unmarked;
        };
        match window.find(mark, self.now_ms) {
            Some((number, kept)) => Seen::Duplicate(number, kept),
            None => Seen::New(mark),
        }
    }

    /// The queue drops a message. Whether its publisher must wait for what is noted.
    pub(super) fn drop_at_queue(
        &mut self,
        key: QueueKey,
        (number, kept): (u64, Kept),
        persistent: bool,
    ) -> bool {
        let queue = &mut self.traffic.queues[key];
        if let Some(window) = &mut queue.window {
            window.duplicates += 1;
        }
        match (queue.id, &mut self.journal) {
            (Some(id), Some(journal)) if persistent && kept.noted => {
                journal.notes.push(kept.note(id.0, number, None));
                true
            }
            _ => false,
        }
    }

    /// The queue has taken such a message in.
    pub(super) fn remember_in_queue(&mut self, key: QueueKey, seen: Seen, message: MessageId) {
        let Seen::New(mark) = seen else {
            return;
        };
        let now_ms = self.now_ms;
        let queue = &mut self.traffic.queues[key];
        let Some(window) = &mut queue.window else {
            return;
        };
        let id = queue.id.filter(|_| window.may_survive());
        let mut notes = self.journal.as_mut().map(|journal| &mut journal.notes);
        window.make_rooms(id, mark, now_ms, &mut notes);
        let noted = id.filter(|_| mark.persistent && notes.is_some());
        let kept = mark.kept_from(now_ms, noted.is_some());
        window.insert(message.to_bits(), kept);
        if let (Some(id), Some(notes)) = (noted, notes) {
            notes.push(kept.note(id.0, message.to_bits(), None));
        }
    }

    /// The message is done with, and so is its key.
    pub(super) fn forget_key(&mut self, key: QueueKey, message: MessageId) {
        let queue = &mut self.traffic.queues[key];
        let Some(window) = &mut queue.window else {
            return;
        };
        if let Some(kept) = window.remove(message.to_bits())
            && let (Some(id), Some(journal)) = (queue.id, &mut self.journal)
            && kept.noted
        {
            journal
                .notes
                .push(Note::taken_back(id.0, message.to_bits()));
        }
    }

    /// The messages that were ready are done with; others the queue may still have.
    pub(super) fn forget_ready_keys(&mut self, key: QueueKey, ready: &Ready) {
        let queue = &mut self.traffic.queues[key];
        let Some(window) = &mut queue.window else {
            return;
        };
        let is_put_off = queue
            .retries
            .as_ref()
            .is_some_and(|it| !it.agenda.is_empty());
        if queue.unacked > 0 || is_put_off {
            for entry in ready.iter() {
                self.forget_key(key, entry.message());
            }
            return;
        }
        if let (Some(id), Some(journal), false) = (queue.id, &mut self.journal, window.is_empty()) {
            journal.notes.push(Note::all_taken_back(id.0));
        }
        window.clear();
    }

    /// A durable exchange that was declared: what it remembers is noted from now on.
    pub(super) fn begin_window(&mut self, key: ExchangeKey) {
        let exchange = &mut self.exchanges[key];
        let (Some(window), Some(journal)) = (&mut exchange.window, &mut self.journal) else {
            return;
        };
        if !exchange.durable || !window.may_survive() || window.id.is_some() {
            return;
        }
        // From the same row as the ids of queues, whose notes look the same.
        let id = self.next_queue_id;
        self.next_queue_id += 1;
        window.id = Some(id);
        let virtual_host = &self.virtual_hosts[exchange.virtual_host].name;
        journal
            .notes
            .push(recovery::window_note(id, virtual_host, &exchange.name));
    }

    /// The exchange is gone, and so are its keys.
    pub(super) fn end_window(&mut self, window: Option<&Window>) {
        let id = window.and_then(|window| window.id);
        if let (Some(id), Some(journal)) = (id, &mut self.journal) {
            journal.notes.push(Note::all_taken_back(id));
        }
    }

    /// Messages that the exchange has dropped as duplicates.
    pub fn duplicates_at_exchange(&self, key: ExchangeKey) -> u64 {
        let exchange = self.exchanges.get(key);
        let window = exchange.and_then(|exchange| exchange.window.as_deref());
        window.map_or(0, |window| window.duplicates)
    }
}

impl Window {
    /// Makes room for another key, and takes the notes of those back that go for it.
    fn make_rooms(
        &mut self,
        id: Option<QueueId>,
        mark: Mark,
        now_ms: u64,
        notes: &mut Option<&mut Vec<Note>>,
    ) {
        for _ in 0..EVICTIONS_PER_KEY {
            let Some((number, kept)) = self.make_room(mark.key, now_ms) else {
                return;
            };
            if let (Some(id), Some(notes), true) = (id, notes.as_mut(), kept.noted) {
                notes.push(Note::taken_back(id.0, number));
            }
        }
    }
}

impl Kept {
    /// `brought_by`: the note says nothing without this message.
    fn note(&self, window: u64, number: u64, brought_by: Option<MessageId>) -> Note {
        Note {
            kind: NoteKind::Deduplication,
            key: numbered_key(window, number),
            value: Some(recovery::encode_kept(self, brought_by)),
        }
    }
}

impl Note {
    fn taken_back(window: u64, number: u64) -> Self {
        Note {
            kind: NoteKind::Deduplication,
            key: numbered_key(window, number),
            value: None,
        }
    }

    fn all_taken_back(window: u64) -> Self {
        Note {
            kind: NoteKind::Deduplication,
            key: window.to_be_bytes().into(),
            value: None,
        }
    }
}

/// Of a window, or a queue, and what is numbered in it.
fn numbered_key(window: u64, number: u64) -> Box<[u8]> {
    Note::failure_key(QueueId(window), MessageId::from_bits(number))
}

/// Keys that go for one that comes, so that many that expired at once keep nobody waiting.
const EVICTIONS_PER_KEY: usize = 8;
