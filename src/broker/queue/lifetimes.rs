//! How long the messages of a queue may wait to be taken (RabbitMQ: message TTL).

use std::collections::BTreeMap;

use crate::broker::message::MessageId;

use super::agenda::Agenda;
use super::entry::Entry;
use super::ready::Ready;

/// When which messages of a queue expire, be they ready or with a consumer.
#[derive(Default)]
pub struct Lifetimes {
    /// Ready messages, and others that were: whoever finds one due looks for it among the ready ones.
    agenda: Agenda,
    /// Messages with a consumer, or waiting to be tried again: they expire only when they come back.
    lent: BTreeMap<MessageId, Lent>,
    /// When the queue is on the core's schedule.
    pub scheduled_ms: Option<u64>,
    inserted: usize,
}

#[derive(Clone, Copy)]
struct Lent {
    expires_ms: u64,
    /// It is on the agenda, since it was ready before.
    on_agenda: bool,
}

impl Lifetimes {
    /// A ready message expires at this time.
    pub fn track(&mut self, expires_ms: u64, entry: Entry, ready: &Ready) {
        self.agenda.insert(expires_ms, entry);
        self.inserted += 1;
        if self.inserted.is_multiple_of(PRUNE_EVERY)
            && self.agenda.len() > 2 * ready.len() + PRUNE_EVERY
        {
            let lent = &self.lent;
            self.agenda
                .prune_some(|entry| ready.contains(entry) || lent.contains_key(&entry.message()));
        }
    }

    /// [`Lifetimes::track`] for a message that was there before the broker was stopped.
    pub fn recover(&mut self, expires_ms: u64, entry: Entry) {
        self.agenda.insert(expires_ms, entry);
    }

    /// A consumer has the message.
    pub fn lend(&mut self, message: MessageId, expires_ms: u64, was_ready: bool) {
        let lent = Lent {
            expires_ms,
            on_agenda: was_ready,
        };
        self.lent.insert(message, lent);
    }

    /// The message is ready again. Whether it may be: if not, its time has passed.
    pub fn take_back(&mut self, entry: Entry, now_ms: u64, ready: &Ready) -> bool {
        let Some(lent) = self.lent.remove(&entry.message()) else {
            return true;
        };
        if lent.expires_ms <= now_ms {
            return false;
        }
        if !lent.on_agenda {
            self.track(lent.expires_ms, entry, ready);
        }
        true
    }

    /// The message is done with.
    pub fn forget(&mut self, message: MessageId) {
        self.lent.remove(&message);
    }

    /// The ready ones are gone.
    pub fn clear_ready(&mut self) {
        self.agenda = Agenda::default();
        for lent in self.lent.values_mut() {
            lent.on_agenda = false;
        }
    }

    /// Everything on the agenda, in no order; some may not be ready any more.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Entry)> {
        self.agenda.iter()
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.agenda.next_ms()
    }

    /// Takes a message whose time has come, if it is still ready.
    pub fn pop_due(&mut self, now_ms: u64, ready: &mut Ready) -> Option<Entry> {
        while let Some(entry) = self.agenda.pop_due(now_ms) {
            let found = ready.remove(entry);
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// How often the agenda is looked through for what is not needed any more.
const PRUNE_EVERY: usize = 256;
