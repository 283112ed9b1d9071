//! What the store has, and what a broker that starts from it must know.
//!
//! - What is confirmed or committed is stored, each copy of it.
//! - A dead letter is stored before its message is given up: of what is stored, nothing is ever in
//!   neither queue.
//! - After a start all that is in its place and in its order; what was done with and stored so does not
//!   come back, nor does what a client was told is purged.

use leveret::broker::journal::{
    Definition, Note, NoteKind, StoredDestination, StoredExchange, StoredQueue,
};
use leveret::broker::message::BLOCK_MESSAGES;
use leveret::store::{Recovered, Redelivered};
use leveret::wire::amqp::{Properties, Table};

use super::connection::text;
use super::delays::{DELAY_QUEUES, is_waiting};
use super::dying::Corpse;
use super::*;
use crate::{Check, ensure};

/// What is known of the store.
#[derive(Default)]
pub struct Stored {
    /// There is one.
    pub is_kept: bool,
    /// Blocks that only the store has.
    pub paged: BTreeSet<u64>,
    /// Messages by their numbers, and the store's numbers of the queues that they are stored for.
    copies: BTreeSet<(u64, u64)>,
    /// The broker's ids, as far as they were seen, and back.
    ids: BTreeMap<Identity, u64>,
    identities: BTreeMap<u64, Identity>,
    /// What may be found after a start, and when it came.
    messages: BTreeMap<Identity, (Shared, u64)>,
    /// The store's numbers of queues by ours, with those that are gone.
    queues: BTreeMap<u64, u64>,
    /// The store's numbers of queues that are stored.
    declared: BTreeSet<u64>,
    /// Numbers of queues that clients declared, until they hear that they did.
    declares: VecDeque<(At, u64)>,
    /// Numbers of messages, and of the queues that they were purged from, until clients hear of it.
    purges: VecDeque<(At, Vec<(u64, u64)>)>,
    /// The same of those that clients did hear of.
    purged: BTreeSet<(u64, u64)>,
    /// What commits wait for, in order.
    commits: VecDeque<(At, Vec<Copies>)>,
    /// Numbers of messages that somebody was told are stored.
    safe: BTreeSet<u64>,
}

/// A message's number, queue, reason and count of its deaths, and whether it waits at an exchange: mostly
/// no two have the same.
type Identity = (u64, Vec<(String, String, i64)>, bool);

/// How the broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// With work that the store had not done yet.
    Crash,
    /// The same, and the disk lost what was not synced, or a part of it.
    PowerLoss,
    /// When everything was stored.
    IdleCrash,
    Clean,
}

impl Restart {
    /// Everything was stored before.
    pub fn has_everything(self) -> bool {
        matches!(self, Restart::IdleCrash | Restart::Clean)
    }
}

impl Stored {
    /// A message was seen on its way to the store.
    pub fn note_id(&mut self, id: u64, properties: &[u8], body: &[u8]) {
        let Some(number) = crate::message::number(properties, body) else {
            return;
        };
        let identity = (number, deaths_in(properties), is_waiting(properties));
        self.ids.insert(identity.clone(), id);
        self.identities.insert(id, identity);
    }

    /// Messages are stored, for these queues, and what these queues are.
    pub fn note_stored(&mut self, copies: &[(u64, u64)], queues: &[u64]) {
        self.copies.extend(copies);
        self.declared.extend(queues);
    }
}

impl Model {
    /// The store is given what is declared.
    pub fn note_definition(&mut self, definition: &Definition) {
        if let Definition::QueueDeclared(stored) = definition {
            let queue = self.queues.get_mut(&text(&stored.name));
            if let Some(queue) = queue.filter(|queue| queue.durable) {
                queue.stored_as = Some(stored.id.0);
                self.stored.queues.insert(queue.number, stored.id.0);
            }
        }
    }

    /// The client heard that its oldest commit is done.
    pub fn commit_heard(&mut self, at: At) -> Check {
        let mut commits = self.stored.commits.iter();
        let Some(place) = commits.position(|(whose, _)| *whose == at) else {
            return Ok(());
        };
        let (_, all) = self.stored.commits.remove(place).expect("it was found");
        for copies in all {
            self.check_stored(&copies)?;
        }
        Ok(())
    }

    /// The client is told that the queue with this number is declared.
    pub(super) fn note_declare(&mut self, at: At, number: u64) {
        if self.stored.is_kept {
            self.stored.declares.push_back((at, number));
        }
    }

    /// The client heard it of the queue that it declared first of those that it did not hear of.
    pub fn declare_heard(&mut self, at: At) -> Check {
        let mut declares = self.stored.declares.iter();
        let Some(place) = declares.position(|(whose, _)| *whose == at) else {
            return Ok(());
        };
        let (_, number) = self.stored.declares.remove(place).expect("it was found");
        // It may be gone by now.
        let queue = self.queues.values().find(|queue| queue.number == number);
        let stored_as = queue.filter(|it| it.durable).map(|it| it.stored_as);
        let is_stored = |it: Option<u64>| it.is_some_and(|it| self.stored.declared.contains(&it));
        ensure!(
            stored_as.is_none_or(is_stored),
            "a queue is declared and not stored: {:?}",
            self.name_of(number)
        );
        Ok(())
    }

    pub(super) fn note_purge(&mut self, at: At, purged: Vec<(u64, u64)>) {
        if self.stored.is_kept {
            self.stored.purges.push_back((at, purged));
        }
    }

    /// The client heard that its oldest purge is done.
    pub fn purge_heard(&mut self, at: At) {
        let mut purges = self.stored.purges.iter();
        if let Some(place) = purges.position(|(whose, _)| *whose == at) {
            let (_, purged) = self.stored.purges.remove(place).expect("it was found");
            self.stored.purged.extend(purged);
        }
    }

    pub(super) fn check_stored(&mut self, (number, queues): &Copies) -> Check {
        for queue in queues {
            // It may be gone by now.
            let Some(name) = self.name_of(*queue) else {
                continue;
            };
            let copy = self.queues[&name].stored_as.map(|stored| (*number, stored));
            ensure!(
                copy.is_some_and(|copy| self.stored.copies.contains(&copy)),
                "message {number} was confirmed and is not stored for queue {name}"
            );
        }
        self.stored.safe.insert(*number);
        Ok(())
    }

    /// The message goes into the queue with this number, and may be found there after a start.
    pub(super) fn remember(&mut self, message: &Shared, queue: u64) {
        // It may come back to where it was purged from.
        let copy = (message.number, queue);
        self.stored.purged.remove(&copy);
        for (_, purged) in &mut self.stored.purges {
            purged.retain(|it| *it != copy);
        }
        let survives = self.stored.is_kept
            && message.persistent
            && self
                .queues
                .values()
                .any(|it| it.number == queue && it.durable);
        if survives {
            let known = (message.clone(), self.now_ms);
            self.stored.messages.insert(identity_of(message), known);
        }
    }

    pub(super) fn is_paged_out(&self, message: &Message) -> bool {
        if self.stored.paged.is_empty() {
            return false;
        }
        let id = self.stored.ids.get(&identity_of(message));
        id.is_some_and(|id| self.stored.paged.contains(&(id / BLOCK_MESSAGES as u64)))
    }

    /// Blocks were read back, or went.
    pub fn note_paged(&mut self, blocks: Vec<u64>) {
        self.stored.paged = blocks.into_iter().collect();
    }

    /// At the end of a call: where is what was published, and must it be stored there?
    pub(super) fn note_holders(&mut self) {
        let published = std::mem::take(&mut self.step.published);
        if !self.stored.is_kept {
            return;
        }
        let mut all = Vec::new();
        for (at, message) in published.iter().filter(|(_, it)| it.persistent) {
            let copies = (message.number, self.holders_of(message.number));
            let channel = self.connections[at.0].channels.get_mut(&at.1);
            match channel.map(|channel| &mut channel.mode) {
                Some(Mode::Confirm {
                    published, holders, ..
                }) => drop(holders.insert(*published, copies)),
                Some(Mode::Transaction { .. }) => all.push(copies),
                _ => {}
            }
        }
        self.stored
            .commits
            .extend(self.step.commits.map(|at| (at, all)));
    }

    fn holders_of(&self, number: u64) -> Vec<u64> {
        let durable = self.queues.values().filter(|queue| queue.durable);
        let is_same = |(_, entry): &(u64, &Entry)| entry.message.number == number;
        durable
            .filter(|queue| self.entries_of(queue).iter().any(is_same))
            .map(|queue| queue.number)
            .collect()
    }

    /// Everything that the queue has, be it ready or not, by place.
    pub(super) fn entries_of<'a>(&'a self, queue: &'a Queue) -> Vec<(u64, &'a Entry)> {
        let channels = self.connections.iter().flat_map(|it| it.channels.values());
        let held = channels
            .flat_map(Channel::held)
            .filter(|unacked| unacked.queue == queue.number)
            .map(|unacked| &unacked.entry);
        let delayed = queue.delayed.iter().map(|(_, entry)| entry);
        let all = queue.ready.iter().chain(held).chain(delayed);
        let mut all: Vec<_> = all.map(|entry| (entry.place, entry)).collect();
        all.sort_by_key(|(place, _)| *place);
        all
    }

    /// The broker ended and starts again with what is stored.
    pub fn restart(&mut self, how: Restart, recovered: &Recovered) -> Check {
        self.check_recovered(how, recovered)?;
        let places = how.has_everything().then(|| self.places_to_be());
        for connection in &mut self.connections {
            connection.channels.clear();
            connection.blocked = false;
            connection.is_doomed = false;
            connection.state = State::Finished;
        }
        self.dying.clear();
        self.stuck.clear();
        self.stuck_ms = None;
        self.stored.commits.clear();
        self.stored.declares.clear();
        self.stored.purges.clear();
        self.stored.purged.clear();
        self.counts = ChannelCounters::default();
        self.step = Step::default();
        let fresh = Model::new(self.limits.clone()).exchanges;
        let exchanges = std::mem::replace(&mut self.exchanges, fresh);
        let queues = std::mem::take(&mut self.queues);
        self.bindings.clear();
        self.recover_policies(&recovered.notes, how.has_everything())?;
        self.recover_users(&recovered.notes, how.has_everything())?;
        let mut names = BTreeMap::new();
        for definition in &recovered.definitions {
            match definition {
                Definition::ExchangeDeclared(exchange) => self.recover_exchange(exchange),
                Definition::QueueDeclared(queue) => {
                    names.insert(queue.id.0, text(&queue.name));
                    self.recover_queue(queue);
                }
                Definition::Bound(binding) => self.bindings.push(Binding {
                    source: text(&binding.source),
                    destination: match &binding.destination {
                        StoredDestination::Queue(id) => Destination::Queue(names[&id.0].clone()),
                        StoredDestination::Exchange(name) => Destination::Exchange(text(name)),
                    },
                    routing_key: text(&binding.routing_key),
                    arguments: binding.arguments.clone(),
                }),
                other => return Err(format!("{other:?} was recovered")),
            }
        }
        for (name, exchange) in &mut self.exchanges {
            let before = exchanges.get(name).and_then(|it| it.window.as_ref());
            let arguments = exchange.arguments.view();
            exchange.window = Model::recovered_window(arguments, before, None);
        }
        for (name, queue) in &mut self.queues {
            let before = queues.get(name).and_then(|it| it.window.as_ref());
            let arguments = queue.arguments.view();
            queue.window = Model::recovered_window(arguments, before, places.as_ref());
        }
        self.recover_messages(recovered, &names)
    }

    /// Where messages will be that survive, by their places of now.
    fn places_to_be(&self) -> BTreeMap<u64, u64> {
        let queues = self.queues.values().filter(|queue| queue.durable);
        let entries = queues.flat_map(|queue| self.entries_of(queue));
        let persistent = entries.filter(|(_, entry)| entry.message.persistent);
        let places = persistent.filter_map(|(place, entry)| {
            let id = self.stored.ids.get(&identity_of(&entry.message))?;
            Some((place, *id))
        });
        places.collect()
    }

    fn recover_exchange(&mut self, stored: &StoredExchange) {
        let alternate = stored.arguments.view().get("alternate-exchange");
        let exchange = Exchange {
            window: None,
            kind: text(&stored.kind),
            arguments: stored.arguments.clone(),
            inner_kind: delays::inner_kind(&text(&stored.kind), stored.arguments.view()),
            durable: true,
            auto_delete: stored.auto_delete,
            internal: stored.internal,
            alternate: alternate.and_then(|value| Some(value.as_str()?.to_owned())),
            hash_header: stored
                .arguments
                .view()
                .get("hash-header")
                .and_then(|value| Some(value.as_str()?.to_owned())),
        };
        self.exchanges.insert(text(&stored.name), exchange);
    }

    fn recover_queue(&mut self, stored: &StoredQueue) {
        let number = self.draw_number();
        let name = text(&stored.name);
        self.stored.queues.insert(number, stored.id.0);
        self.stored.declared.insert(stored.id.0);
        let queue = Queue {
            number,
            durable: true,
            auto_delete: stored.auto_delete,
            delays_for: name.strip_prefix(DELAY_QUEUES).map(str::to_owned),
            owner: None,
            ready: Vec::new(),
            consumers: Vec::new(),
            clock: 0,
            arguments: stored.arguments.clone(),
            rules: self.rules_for(&name, stored.arguments.view()),
            delayed: Vec::new(),
            used_ms: self.now_ms,
            window: None,
            sources: (0, BTreeSet::new()),
            stored_as: Some(stored.id.0),
        };
        self.queues.insert(name, queue);
    }

    fn recover_messages(&mut self, recovered: &Recovered, names: &BTreeMap<u64, String>) -> Check {
        let noted = noted_attempts(recovered);
        for (id, messages) in &recovered.queues {
            let again: Option<BTreeSet<u64>> = match &recovered.redelivered {
                Redelivered::Any => None,
                Redelivered::Exactly(all) => {
                    let own = all.iter().filter(|(queue, _)| queue == id);
                    let ids = own.flat_map(|(_, ids)| ids.iter());
                    Some(ids.map(|id| id.to_bits()).collect())
                }
            };
            let stored_as = id.0;
            let queue = names.get(&id.0).and_then(|name| self.queues.get_mut(name));
            let queue = queue.ok_or_else(|| format!("messages of no queue: {id:?}"))?;
            for id in messages.iter().map(|id| id.to_bits()) {
                let identity = &self.stored.identities[&id];
                let (message, arrived_ms) = &self.stored.messages[identity];
                let own_ms = message.expiration_ms.into_iter().chain(queue.rules.ttl_ms);
                let attempts = noted.get(&(stored_as, id)).copied().unwrap_or_default();
                let (failed, acquired, until_ms) = attempts;
                let entry = Entry {
                    place: id,
                    step: 0,
                    source: 0,
                    put_back: 0,
                    message: message.clone(),
                    redelivered: again.as_ref().is_none_or(|again| again.contains(&id)),
                    priority: message.priority.min(queue.rules.max_priority),
                    expires_ms: own_ms.min().map(|ttl_ms| arrived_ms + ttl_ms),
                    failed,
                    acquired,
                    until_ms,
                    lineage: Vec::new(),
                };
                // It is found out what group waits with it when it is its turn.
                if queue.rules.group_key.is_some() && until_ms > self.now_ms {
                    self.beyond.get_or_insert(Beyond::GroupsAfterAStart);
                }
                match until_ms > self.now_ms {
                    true => queue.delayed.push((until_ms, entry)),
                    false => queue.ready.push(entry),
                }
            }
            self.next_number = self.next_number.max(recovered.next_message.to_bits());
        }
        Ok(())
    }

    /// What should be noted when everything is stored.
    fn expected_attempts(&self) -> Attempts {
        let mut all = Attempts::new();
        for queue in self.queues.values() {
            let Some(stored_as) = queue.stored_as.filter(|_| queue.durable) else {
                continue;
            };
            let entries = self.entries_of(queue).into_iter().map(|(_, entry)| entry);
            for entry in entries.filter(|it| it.message.persistent && it.acquired > 0) {
                let id = self.stored.ids[&identity_of(&entry.message)];
                all.insert(
                    (stored_as, id),
                    (entry.failed, entry.acquired, entry.until_ms),
                );
            }
        }
        all
    }

    fn check_recovered(&self, how: Restart, recovered: &Recovered) -> Check {
        let mut found = BTreeSet::new();
        for (queue, messages) in &recovered.queues {
            for id in messages.iter().map(|id| id.to_bits()) {
                let identity = self.stored.identities.get(&id);
                let identity = identity.ok_or_else(|| format!("nobody stored message {id}"))?;
                found.insert((identity.0, queue.0));
            }
        }
        let dying = self.dying.iter().chain(&self.stuck);
        let is_there = |it: &&Corpse| {
            let name = self.name_of(it.origin_number());
            name.is_some_and(|name| self.queues[&name].durable)
        };
        let places = |corpse: &Corpse| {
            let mut places = corpse.entry().lineage.clone();
            places.push(corpse.origin_number());
            places
        };
        let dying = dying.filter(is_there).map(|it| (it.entry(), places(it)));
        let mut held: Vec<(&Entry, Vec<u64>)> = dying.collect();
        for queue in self.queues.values().filter(|queue| queue.durable) {
            for (_, entry) in self.entries_of(queue) {
                let mut places = entry.lineage.clone();
                places.push(queue.number);
                held.push((entry, places));
            }
        }
        for (number, queue) in &self.stored.purged {
            let is_held = |(entry, places): &(&Entry, Vec<u64>)| {
                entry.message.number == *number && places.contains(queue)
            };
            let stored_as = self.stored.queues.get(queue);
            let is_found = stored_as.is_some_and(|queue| found.contains(&(*number, *queue)));
            ensure!(
                !is_found || held.iter().any(is_held),
                "message {number} was purged and came back"
            );
        }
        for (entry, places) in held {
            let number = entry.message.number;
            let is_due = entry.message.persistent && self.stored.safe.contains(&number);
            let mut places = places.iter().filter_map(|it| self.stored.queues.get(it));
            ensure!(
                !is_due || places.any(|queue| found.contains(&(number, *queue))),
                "{entry:?} was stored and is lost"
            );
        }
        if how.has_everything() {
            self.check_all_recovered(recovered)?;
        }
        Ok(())
    }

    /// Everything was stored: what is found is what there was.
    fn check_all_recovered(&self, recovered: &Recovered) -> Check {
        for queue in self.queues.values().filter(|queue| queue.durable) {
            let entries = self.entries_of(queue);
            let persistent = entries.iter().filter(|(_, it)| it.message.persistent);
            let mut expected: Vec<_> = persistent.map(|(_, it)| identity_of(&it.message)).collect();
            let dying = self.dying.iter().chain(&self.stuck);
            let dying = dying.filter(|it| it.is_of(queue.number) && it.entry().message.persistent);
            expected.extend(dying.map(|it| identity_of(&it.entry().message)));
            let own = recovered.queues.iter();
            let own = own.filter(|(id, _)| Some(id.0) == queue.stored_as);
            let ids = own.flat_map(|(_, messages)| messages.iter());
            let found = ids.map(|id| &self.stored.identities[&id.to_bits()]);
            let mut found: Vec<Identity> = found.cloned().collect();
            expected.sort();
            found.sort();
            ensure!(
                expected == found,
                "{found:?} was recovered, it should be {expected:?}"
            );
        }
        let (noted, expected) = (noted_attempts(recovered), self.expected_attempts());
        ensure!(
            noted == expected,
            "{noted:?} is noted of what was given back, it should be {expected:?}"
        );
        let counts = |wanted: fn(&Definition) -> bool| {
            let definitions = recovered.definitions.iter();
            definitions.filter(|it| wanted(it)).count()
        };
        let queues = self.queues.values().filter(|it| it.durable).count();
        let own = |(name, it): &(&String, &Exchange)| it.durable && !is_predeclared(name);
        let exchanges = self.exchanges.iter().filter(own).count();
        let survives = |binding: &&Binding| {
            let source = self.exchanges[&binding.source].durable;
            source
                && match &binding.destination {
                    Destination::Queue(name) => self.queues[name].durable,
                    Destination::Exchange(name) => self.exchanges[name].durable,
                }
        };
        let bindings = self.bindings.iter().filter(survives).count();
        let expected = [queues, exchanges, bindings];
        let found = [
            counts(|it| matches!(it, Definition::QueueDeclared(_))),
            counts(|it| matches!(it, Definition::ExchangeDeclared(_))),
            counts(|it| matches!(it, Definition::Bound(_))),
        ];
        ensure!(
            found == expected,
            "{found:?} queues, exchanges and bindings were recovered of {expected:?}"
        );
        Ok(())
    }
}

/// What is noted of messages that were given back: by the store's number of the queue and the message's
/// id, how often they failed and were given back, and until when they wait, if that is not over.
type Attempts = BTreeMap<(u64, u64), (u64, u64, u64)>;

fn noted_attempts(recovered: &Recovered) -> Attempts {
    let notes = recovered.notes.iter();
    let failures = notes.filter(|note| note.kind == NoteKind::Failure);
    let read = failures.filter_map(|note| {
        let (queue, message) = Note::read_failure_key(&note.key)?;
        let value = note.value.as_ref()?;
        let part = |from: usize, to: usize| {
            let mut bytes = [0; 8];
            bytes[..to - from].copy_from_slice(&value[from..to]);
            u64::from_le_bytes(bytes)
        };
        let attempts = (part(0, 4), part(4, 8), part(8, 16));
        Some(((queue.0, message.to_bits()), attempts))
    });
    read.collect()
}

fn is_predeclared(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

fn identity_of(message: &Message) -> Identity {
    let deaths = message.deaths.iter();
    let deaths = deaths.map(|it| (it.queue.clone(), it.reason.to_owned(), it.count as i64));
    (message.number, deaths.collect(), message.delay_ms.is_some())
}

fn deaths_in(block: &[u8]) -> Vec<(String, String, i64)> {
    let Ok(properties) = Properties::decode(block) else {
        return Vec::new();
    };
    let headers = properties.headers.unwrap_or(Table::EMPTY);
    let Some(deaths) = headers.get("x-death").and_then(|value| value.as_array()) else {
        return Vec::new();
    };
    let tables = deaths.iter().filter_map(|value| value.as_table());
    let read = tables.filter_map(|table| {
        let string = |name: &str| Some(table.get(name)?.as_str()?.to_owned());
        let count = table.get("count")?.as_integer()?;
        Some((string("queue")?, string("reason")?, count))
    });
    read.collect()
}
