//! The store on a disk that loses power at any moment and keeps of what was not synced any part:
//! whatever was reported stored is there, in order and bit for bit, and what was acked stays away.
//!
//! Everything follows from a seed. `STORE_SEED=n` runs one, `STORE_SEEDS=n` so many.

mod store_support;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use leveret::broker::journal::{Note, NoteKind, QueueId, StoredMessages};
use leveret::broker::message::MessageId;
use leveret::broker::queue::PackedIds;
use leveret::store::engine::{Engine, Options};
use leveret::store::{Recovered, Redelivered};

use store_support::random::Random;
use store_support::simulated_disk::{Lie, SimulatedDisk};
use store_support::store_model::{Change, Declaration, Declared, Held, attributes, body};

/// A store, the disk it is on, and what must be in it.
struct Run {
    random: Random,
    disk: SimulatedDisk,
    engine: Option<Engine<SimulatedDisk>>,
    /// After everything that is stored.
    declared: Declared,
    held: Held,
    /// Appended since.
    pending: Vec<Change>,
    /// After everything that was appended.
    now_declared: Declared,
    now_held: Held,
    /// Copies in queues that were deleted, not acked yet.
    orphans: Vec<(u64, u64)>,
    next_id: u64,
    next_queue: u64,
    /// Ids below were stored once.
    stored_id: u64,
    stored_queue: u64,
    clean_stop: Option<Vec<(u64, BTreeSet<u64>)>>,
    seen: Seen,
    salt: u64,
}

/// What happened, to see that the test is worth its time.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    crashes: u64,
    segments_compacted: u64,
    segments_recycled: u64,
    segments_removed: u64,
    rewrites: u64,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.crashes += other.crashes;
        self.segments_compacted += other.segments_compacted;
        self.segments_recycled += other.segments_recycled;
        self.segments_removed += other.segments_removed;
        self.rewrites += other.rewrites;
    }
}

impl Run {
    fn new(seed: u64, lie: Lie) -> Self {
        let disk = SimulatedDisk::new();
        let mut run = Run {
            random: Random::new(seed),
            disk: disk.clone(),
            engine: None,
            declared: Declared::default(),
            held: Held::default(),
            pending: Vec::new(),
            now_declared: Declared::default(),
            now_held: Held::default(),
            orphans: Vec::new(),
            next_id: 0,
            next_queue: 1,
            stored_id: 0,
            stored_queue: 0,
            clean_stop: Some(Vec::new()),
            seen: Seen::default(),
            salt: 0,
        };
        run.start();
        disk.set_lie(lie);
        run
    }

    fn steps(&mut self, steps: u64) {
        for _ in 0..steps {
            if self.random.chance(60) {
                let operations = self.random.below(40);
                self.disk.cut_power_after(operations);
            }
            if self.step().is_err() {
                assert!(!self.disk.has_power(), "the store failed by itself");
                self.crash();
            }
        }
        self.crash();
    }

    fn step(&mut self) -> std::io::Result<()> {
        match self.random.below(20) {
            0..8 => {
                let change = self.invent();
                self.append(change)?;
            }
            8..14 => self.store()?,
            14..17 => {
                self.store()?;
                for _ in 0..self.random.below(8) {
                    self.engine().tidy()?;
                }
            }
            17 => self.read_some()?,
            18 if self.random.chance(3) => self.stop_and_start()?,
            19 if self.random.chance(3) => self.kill(),
            _ => {}
        }
        Ok(())
    }

    fn engine(&mut self) -> &mut Engine<SimulatedDisk> {
        self.engine.as_mut().expect("it runs")
    }

    fn append(&mut self, change: Change) -> std::io::Result<()> {
        let mut journal = change.journal();
        // It may get to the disk even if it fails.
        self.now_declared.apply(&change);
        self.now_held.apply(&change);
        self.pending.push(change);
        self.engine().append(&mut journal)?;
        assert!(journal.is_empty());
        Ok(())
    }

    fn store(&mut self) -> std::io::Result<()> {
        self.engine().sync()?;
        self.settle();
        Ok(())
    }

    /// What was appended is stored.
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.declared.apply(&change);
            self.held.apply(&change);
            for declaration in &change.definitions {
                if let Declaration::Queue(id) = declaration {
                    self.stored_queue = self.stored_queue.max(*id + 1);
                }
            }
        }
        self.stored_id = self.next_id;
    }

    fn invent(&mut self) -> Change {
        let mut change = Change::default();
        let queues: Vec<u64> = self.now_declared.queues.iter().copied().collect();
        if queues.is_empty() || self.random.chance(12) {
            change.definitions.push(Declaration::Queue(self.next_queue));
            self.next_queue += 1;
        }
        if !queues.is_empty() {
            match self.random.below(12) {
                0 => {
                    let exchange = self.random.below(3);
                    change.definitions.push(Declaration::Exchange(exchange));
                    let queue = self.pick(&queues);
                    change.definitions.push(Declaration::Bind(exchange, queue));
                }
                1 => {
                    if let Some((exchange, queue)) = self.now_declared.bindings.first() {
                        change
                            .definitions
                            .push(Declaration::Unbind(*exchange, *queue));
                    }
                }
                2 => {
                    let exchange = self.random.below(3);
                    change
                        .definitions
                        .push(Declaration::DeleteExchange(exchange));
                }
                3 if queues.len() > 3 => {
                    let queue = self.pick(&queues);
                    change.definitions.push(Declaration::DeleteQueue(queue));
                    self.invent_notes(&queues, &mut change);
                    let copies = self.now_held.copies.get(&queue).into_iter().flatten();
                    self.orphans.extend(copies.map(|id| (queue, *id)));
                    return change;
                }
                _ => self.invent_messages(&queues, &mut change),
            }
            self.invent_acks(&queues, &mut change);
            if self.random.chance(2) {
                self.invent_notes(&queues, &mut change);
            }
        }
        change
    }

    fn invent_messages(&mut self, queues: &[u64], change: &mut Change) {
        let count = if self.random.chance(3) { 60 } else { 6 };
        for _ in 0..self.random.below(count) {
            // Transient messages take ids too.
            self.next_id += if self.random.chance(30) { 1000 } else { 1 };
            self.next_id += u64::from(self.random.chance(3));
            let mut to: BTreeSet<u64> = [self.pick(queues)].into();
            if self.random.chance(4) {
                to.insert(self.pick(queues));
                to.insert(self.pick(queues));
            }
            let size = match self.random.below(60) {
                0 => 30_000,
                1..20 => 200,
                _ => self.random.below(60),
            };
            self.salt += 1;
            let message = (
                self.next_id,
                to.into_iter().collect(),
                self.salt,
                size as usize,
            );
            change.messages.push(message);
        }
    }

    fn invent_acks(&mut self, queues: &[u64], change: &mut Change) {
        for _ in 0..self.random.below(3) {
            let queue = self.pick(queues);
            let Some(copies) = self.now_held.copies.get(&queue) else {
                continue;
            };
            let copies: Vec<u64> = copies.iter().copied().collect();
            let count = self.random.below(100) as usize;
            let from = if self.random.chance(2) {
                0
            } else {
                self.random.below(copies.len() as u64 + 1) as usize
            };
            let every = 1 + self.random.below(3) as usize;
            let acked = copies.iter().skip(from).step_by(every).take(count);
            change.acks.extend(acked.map(|id| (queue, *id)));
        }
        let left = self.orphans.len().saturating_sub(10);
        change.acks.extend(self.orphans.drain(left..));
        change.acks.sort_unstable();
        change.acks.dedup();
    }

    fn invent_notes(&mut self, queues: &[u64], change: &mut Change) {
        let count = if self.random.chance(10) { 100 } else { 4 };
        for _ in 0..self.random.below(count) {
            let (kind, key) = match self.random.below(3) {
                0 => (NoteKind::Policy, b"all".as_slice().into()),
                1 => {
                    let key = self.random.below(1000).to_be_bytes();
                    (NoteKind::Deduplication, key.into())
                }
                _ => {
                    let message = MessageId::from_bits(self.random.below(10));
                    let queue = QueueId(self.pick(queues));
                    (NoteKind::Failure, Note::failure_key(queue, message))
                }
            };
            let size = self.random.below(20) as usize;
            let value = self.random.chance(2).then(|| vec![7; size].into());
            change.notes.push(Note { kind, key, value });
        }
    }

    fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.random.below(from.len() as u64) as usize]
    }

    fn read_some(&mut self) -> std::io::Result<()> {
        let block = self.random.below(self.next_id / 256 + 1);
        let page = self.engine().fetch(block)?;
        check_page(block, &page, &self.now_held, &self.now_declared);
        Ok(())
    }

    fn stop_and_start(&mut self) -> std::io::Result<()> {
        let mut redelivered = Vec::new();
        for (queue, copies) in self.now_held.of(&self.now_declared) {
            let some: BTreeSet<u64> = copies.into_iter().step_by(3).collect();
            redelivered.push((queue, some));
        }
        let packed: Vec<_> = redelivered
            .iter()
            .map(|(queue, ids)| {
                let ids: PackedIds = ids.iter().copied().map(MessageId::from_bits).collect();
                (QueueId(*queue), ids)
            })
            .collect();
        self.engine().sync()?;
        self.settle();
        // The power may go when it is stored already.
        self.clean_stop = Some(redelivered);
        self.engine().stop(&packed)?;
        self.end();
        if self.random.chance(2) {
            let Run { disk, random, .. } = self;
            disk.reboot(random);
        }
        self.start();
        Ok(())
    }

    /// The process ends, but not the machine.
    fn kill(&mut self) {
        self.end();
        self.disk.reopen();
        self.start();
    }

    fn crash(&mut self) {
        self.end();
        let Run { disk, random, .. } = self;
        disk.reboot(random);
        self.start();
    }

    fn end(&mut self) {
        if let Some(engine) = self.engine.take() {
            let (log, definitions) = engine.counters();
            self.seen.add(Seen {
                crashes: 1,
                segments_compacted: log.segments_compacted,
                segments_recycled: log.segments_recycled,
                segments_removed: log.segments_removed,
                rewrites: definitions.rewrites,
            });
        }
    }

    /// Opens the store and holds what it finds against what must be there.
    fn start(&mut self) {
        loop {
            if self.random.chance(4) {
                let operations = self.random.below(40);
                self.disk.cut_power_after(operations);
            }
            match Engine::open(self.disk.clone(), &OPTIONS) {
                Ok((engine, recovered)) => {
                    self.engine = Some(engine);
                    self.disk.reopen();
                    self.check(&recovered);
                    return;
                }
                Err(error) => {
                    assert!(!self.disk.has_power(), "{error}");
                    let Run { disk, random, .. } = self;
                    disk.reboot(random);
                }
            }
        }
    }

    fn check(&mut self, recovered: &Recovered) {
        for damage in &recovered.damage {
            assert!(!damage.what.is_loss(), "{damage}");
        }
        let declared = Declared::recovered(recovered);
        let held = Held::recovered(recovered);
        self.adopt_declared(&declared);
        self.adopt_held(&held);
        self.held.prune();
        self.held.check_attributes(recovered);
        self.pending.clear();
        assert!(Some(recovered.next_message.to_bits()) > self.held_max());
        assert!(recovered.next_message.to_bits().is_multiple_of(256));
        assert!(recovered.next_queue.0 >= self.stored_queue);
        assert!(recovered.next_message.to_bits() >= self.stored_id);
        match (&recovered.redelivered, self.clean_stop.take()) {
            (Redelivered::Any, None) => {}
            (Redelivered::Exactly(found), expected) => {
                // A crash while starting leaves the last stop what it was.
                let found: Vec<_> = found
                    .iter()
                    .map(|(queue, ids)| (queue.0, ids.iter().map(MessageId::to_bits).collect()))
                    .collect();
                assert_eq!(Some(found), expected);
            }
            (Redelivered::Any, Some(_)) => {
                // The start that was interrupted had begun.
            }
        }
        self.next_id = recovered.next_message.to_bits();
        self.next_queue = recovered.next_queue.0.max(1);
        self.now_declared = self.declared.clone();
        self.now_held = self.held.clone();
        self.orphans.clear();
        for block in self
            .held
            .bodies
            .keys()
            .map(|id| id / 256)
            .collect::<BTreeSet<_>>()
        {
            let page = self.engine().fetch(block).expect("there is power");
            check_page(block, &page, &self.held, &self.declared);
        }
    }

    fn held_max(&self) -> Option<u64> {
        let of_all = self.held.of(&self.declared);
        of_all.values().flatten().max().copied()
    }

    /// Finds the state that was recovered among those it may be.
    fn adopt_declared(&mut self, found: &Declared) {
        let mut state = self.declared.clone();
        for change in self.pending.iter().map(Some).chain([None]) {
            if state == *found {
                self.declared = state;
                return;
            }
            if let Some(change) = change {
                // A batch of definitions may be torn, but not one of notes.
                for count in 1..=change.definitions.len() {
                    let mut part = state.clone();
                    part.apply(&Change {
                        definitions: change.definitions[..count].to_vec(),
                        ..Change::default()
                    });
                    if part == *found {
                        self.declared = part;
                        return;
                    }
                }
                state.apply(change);
            }
        }
        panic!(
            "declared: found {found:?}, stored {:?}, then {:?}",
            self.declared, self.pending
        );
    }

    fn adopt_held(&mut self, found: &std::collections::BTreeMap<u64, BTreeSet<u64>>) {
        let mut state = self.held.clone();
        for change in self.pending.iter().map(Some).chain([None]) {
            if state.of(&self.declared) == *found {
                self.held = state;
                self.held.copies = found.clone();
                return;
            }
            if let Some(change) = change {
                let bytes = change.journal().messages.len() * 3 / 2 + 32 * change.acks.len() + 36;
                let large = bytes as u64 >= OPTIONS.segment_bytes / 2;
                for count in 1..=change.messages.len() * usize::from(large) {
                    let mut part = state.clone();
                    part.apply(&Change {
                        messages: change.messages[..count].to_vec(),
                        ..Change::default()
                    });
                    if part.of(&self.declared) == *found {
                        self.held = part;
                        self.held.copies = found.clone();
                        return;
                    }
                }
                state.apply(change);
            }
        }
        panic!(
            "found {found:?}\nstored {:?}\nthen {:?}",
            self.held.of(&self.declared),
            self.pending
        );
    }
}

/// Everything somebody needs is in the page, bit for bit.
fn check_page(block: u64, page: &[u8], held: &Held, declared: &Declared) {
    let mut read = BTreeSet::new();
    let mut last = None;
    for message in StoredMessages::new(page) {
        let id = message.id.to_bits();
        assert_eq!(id / 256, block);
        assert!(last < Some(id), "order");
        last = Some(id);
        let body_read = message.message.body.as_slice();
        if let Some((salt, size)) = held.bodies.get(&id) {
            assert_eq!(body_read, body(id, *salt, *size), "body of {id}");
            let found = message.message.attributes();
            assert_eq!(found, attributes(*salt, *size));
        }
        read.insert(id);
    }
    for (queue, copies) in held.of(declared) {
        for id in copies.range(block * 256..(block + 1) * 256) {
            assert!(read.contains(id), "message {id} of queue {queue}");
        }
    }
}

fn simulate(seed: u64, lie: Lie) -> Seen {
    let mut run = Run::new(seed, lie);
    run.steps(STEPS);
    run.seen
}

/// Runs seeds until one fails; its number.
fn first_failure(seeds: std::ops::Range<u64>, lie: Lie) -> Option<u64> {
    seeds
        .into_iter()
        .find(|seed| catch_unwind(|| simulate(*seed, lie)).is_err())
}

#[test]
fn what_was_stored_survives_a_power_cut_at_any_moment() {
    if let Some(seed) = variable("STORE_SEED") {
        simulate(seed, Lie::None);
        return;
    }
    let seeds = variable("STORE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let seen = thread::scope(|scope| {
        let work = || {
            let mut seen = Seen::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return seen;
                }
                match catch_unwind(|| simulate(seed, Lie::None)) {
                    Ok(in_run) => seen.add(in_run),
                    Err(_) => panic!("failed with STORE_SEED={seed}"),
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut seen = Seen::default();
        for thread in threads {
            seen.add(thread.join().expect("a seed failed, see above"));
        }
        seen
    });
    println!("{seeds} seeds: {seen:?}");
    assert!(seen.segments_compacted > seeds / 4 && seen.segments_recycled > seeds / 4);
}

#[test]
fn the_simulation_notices_a_sync_that_is_left_out() {
    assert!(quietly(|| first_failure(0..200, Lie::DropsFileSync)).is_some());
}

#[test]
fn the_simulation_notices_a_folder_that_is_not_synced() {
    assert!(quietly(|| first_failure(0..200, Lie::DropsFolderSync)).is_some());
}

#[test]
fn a_failed_sync_is_an_error_and_not_a_stored_batch() {
    let mut run = Run::new(1, Lie::FailsSync);
    let change = run.invent();
    run.append(change).unwrap();
    assert!(run.store().is_err());
}

/// Batches of messages, each with a note; the power goes, at times again while the store starts. A note
/// is there if its message was stored, and not without its message.
fn keep_notes_and_messages_together(seed: u64) {
    let mut random = Random::new(seed);
    let disk = SimulatedDisk::new();
    let (mut stored, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..8 {
        let (mut engine, recovered) = loop {
            if random.chance(3) {
                disk.cut_power_after(random.below(40));
            }
            match Engine::open(disk.clone(), &OPTIONS) {
                Ok(opened) => break opened,
                Err(error) => assert!(!disk.has_power(), "{error}"),
            }
            disk.reboot(&mut random);
        };
        disk.reopen();
        let held: BTreeSet<u64> = Held::recovered(&recovered).remove(&1).unwrap_or_default();
        let noted: BTreeSet<u64> = recovered.notes.iter().map(message_of).collect();
        assert!(stored.is_subset(&held), "seed {seed}");
        assert!(kept.is_subset(&noted), "seed {seed}");
        assert!(noted.is_subset(&held), "seed {seed}: {noted:?} {held:?}");
        (stored, kept) = (held, noted);
        let mut next = recovered.next_message.to_bits();
        let mut is_declared = !recovered.definitions.is_empty();
        disk.cut_power_after(random.below(60));
        let mut batches = || -> std::io::Result<()> {
            loop {
                let mut change = Change::default();
                if !std::mem::replace(&mut is_declared, true) {
                    change.definitions.push(Declaration::Queue(1));
                }
                let first = next;
                for _ in 0..=random.below(80) {
                    let size = random.below(400) as usize;
                    change.messages.push((next, vec![1], 1, size));
                    change.notes.push(note_of(next));
                    next += 1;
                }
                engine.append(&mut change.journal())?;
                if random.chance(3) {
                    engine.tidy()?;
                }
                if random.chance(3) {
                    continue;
                }
                engine.sync()?;
                stored.extend(first..next);
                kept.extend(first..next);
            }
        };
        assert!(batches().is_err());
        assert!(!disk.has_power());
        disk.reboot(&mut random);
    }
}

/// As an exchange notes what it has seen.
fn note_of(message: u64) -> Note {
    let mut value = vec![7; 24];
    value.extend(message.to_le_bytes());
    Note {
        kind: NoteKind::Deduplication,
        key: Note::failure_key(QueueId(9), MessageId::from_bits(message)),
        value: Some(value.into()),
    }
}

fn message_of(note: &Note) -> u64 {
    let (_, message) = Note::read_failure_key(&note.key).unwrap();
    message.to_bits()
}

#[test]
fn notes_do_not_outlive_the_messages_that_a_power_cut_tore_from_them() {
    (0..SEEDS / 2).for_each(keep_notes_and_messages_together);
}

fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = act();
    std::panic::set_hook(hook);
    result
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

const OPTIONS: Options = Options {
    segment_bytes: 8 << 10,
    sync_interval_ms: 100,
    spin: std::time::Duration::ZERO,
};
const SEEDS: u64 = 1000;
const THREADS: usize = 2;
const STEPS: u64 = 150;
