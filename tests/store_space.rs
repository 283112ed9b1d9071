//! The store on a disk that is full from any write on: what was stored is there, what was not is stored
//! when there is space again, and a disk that fails ends the process.

#[path = "store_support/memory_disk.rs"]
mod memory_disk;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "store_support/store_model.rs"]
mod store_model;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leveret::broker::journal::{Journal, Note, NoteKind, StoredMessages};
use leveret::store::engine::{Engine, Options};
use leveret::store::{Batch, CleanStop, Opened, Report, Spill, Store};

use memory_disk::MemoryDisk;
use store_model::{Change, Declaration, Declared, Held, body};

/// A store, and what it was given.
struct Driver {
    store: Store,
    given: Vec<Change>,
    stored: u64,
    pages: usize,
}

impl Driver {
    fn start(disk: &MemoryDisk) -> Driver {
        let (opened, _) = Opened::on(disk.clone(), OPTIONS).unwrap();
        let thread = thread::current();
        Driver {
            store: Store::start(opened, Box::new(move || thread.unpark())),
            given: Vec::new(),
            stored: 0,
            pages: 0,
        }
    }

    /// Hands a change in, if there is room for it.
    fn submit(&mut self, change: Change, number: u64) -> Option<Change> {
        let mut batch = Batch {
            number,
            journal: Journal {
                awaited: true,
                ..change.journal()
            },
            ..Batch::default()
        };
        if number % 5 == 4 {
            batch.fetches.push(number / 100);
            batch.spills.push(Spill {
                block: 1000 + number,
                image: vec![1; 100],
            });
        }
        match self.store.submit(batch) {
            Ok(()) => {
                self.given.push(change);
                None
            }
            Err(_) => Some(change),
        }
    }

    fn take_reports(&mut self) {
        while let Some(report) = self.store.take_report() {
            match report {
                Report::Synced(_) | Report::Taken(_) => {}
                Report::StoredUpTo(number) => self.stored = number,
                Report::Page { .. } => self.pages += 1,
                Report::SpillPage { .. } | Report::SpaceLow(_) => {}
            }
        }
    }

    /// What it was given up to a batch.
    fn state(&self, count: u64) -> (Declared, Held) {
        let (mut declared, mut held) = (Declared::default(), Held::default());
        for change in &self.given[..count as usize] {
            declared.apply(change);
            held.apply(change);
        }
        (declared, held)
    }
}

/// Some messages for two queues, acks of most that came before, and notes.
fn change(number: u64) -> Change {
    let definitions = match number {
        0 => vec![Declaration::Queue(1), Declaration::Queue(2)],
        n => vec![Declaration::Exchange(n % 7), Declaration::Bind(n % 7, 1)],
    };
    let first = 10 * number;
    // Acks without messages go ahead of messages that wait for space.
    let count = |number| if number % 3 == 2 { 0 } else { 10 };
    let messages = first..first + count(number);
    let messages = messages.map(|id| (id, vec![1, 2], id, 60 * (id % 10) as usize));
    let before = number.saturating_sub(2);
    let acked = 10 * before..10 * before + if number < 2 { 0 } else { count(before) };
    let acks = acked.flat_map(|id| [(1, id), (2, id)]);
    Change {
        definitions,
        notes: (0..4).map(|n| note(n, number)).collect(),
        messages: messages.collect(),
        acks: acks.filter(|(queue, id)| (queue + id) % 9 > 0).collect(),
    }
}

fn note(key: u8, number: u64) -> Note {
    Note {
        kind: NoteKind::Parameter,
        key: [key].into(),
        value: Some(vec![number as u8; 40].into()),
    }
}

/// Gives all batches to a store whose disk is full after so many writes; when it had to wait, or the disk
/// is not asked any more, there is space again or the program ends.
fn run(room: u64, ends: bool) {
    let disk = MemoryDisk::default();
    let mut driver = Driver::start(&disk);
    disk.fill_after(room);
    let started = Instant::now();
    let mut refused_at = None;
    let mut next = Some(change(0));
    while driver.stored < BATCHES {
        if let Some(change_now) = next.take() {
            let number = driver.given.len() as u64 + 1;
            next = driver.submit(change_now, number);
            if next.is_none() && number < BATCHES {
                next = Some(change(number));
            }
        }
        driver.take_reports();
        if disk.refused() > 0 {
            let since = *refused_at.get_or_insert_with(Instant::now);
            // Long enough to run into it in other places too.
            if since.elapsed() > FULL_TIME {
                if ends {
                    return check_end(driver, &disk);
                }
                disk.has_space_again();
            }
        }
        assert!(started.elapsed() < PATIENCE, "full after {room}: no end");
        thread::park_timeout(Duration::from_millis(1));
    }
    disk.has_space_again();
    let (declared, held) = driver.state(BATCHES);
    driver.store.stop(CleanStop::default()).unwrap();
    let (mut engine, recovered) = Engine::open(disk, &OPTIONS).unwrap();
    assert_eq!(recovered.damage, [], "full after {room}");
    assert_eq!(Declared::recovered(&recovered), declared);
    let found = Held::recovered(&recovered);
    assert_eq!(found, held.of(&declared), "full after {room}");
    held.check_attributes(&recovered);
    check_bodies(&mut engine, &held, &found.into_values().flatten().collect());
}

/// Lets the store end without space, and looks for what was stored.
fn check_end(mut driver: Driver, disk: &MemoryDisk) {
    driver.take_reports();
    let (stored, given) = (driver.stored, driver.given.len() as u64);
    let (_, mut held) = driver.state(stored);
    let (_, later) = driver.state(given);
    drop(driver);
    disk.has_space_again();
    let (mut engine, recovered) = Engine::open(disk.clone(), &OPTIONS).unwrap();
    assert!(recovered.damage.iter().all(|damage| !damage.what.is_loss()));
    let found = Held::recovered(&recovered);
    for (queue, copies) in &held.copies {
        for id in copies.intersection(&later.copies[queue]) {
            assert!(found[queue].contains(id), "{id} of {queue} was stored");
        }
    }
    held.bodies.extend(later.bodies);
    check_bodies(&mut engine, &held, &found.into_values().flatten().collect());
}

fn check_bodies(engine: &mut Engine<MemoryDisk>, held: &Held, ids: &BTreeSet<u64>) {
    let mut read = BTreeSet::new();
    for block in ids.iter().map(|id| id / 256).collect::<BTreeSet<_>>() {
        for message in StoredMessages::new(&engine.fetch(block).unwrap()) {
            let id = message.id.to_bits();
            let (salt, size) = held.bodies[&id];
            assert_eq!(message.message.body.as_slice(), body(id, salt, size));
            read.insert(id);
        }
    }
    assert!(ids.is_subset(&read));
}

/// For every number of writes after which there is no space.
fn sweep(ends: bool) {
    let disk = MemoryDisk::default();
    let mut driver = Driver::start(&disk);
    let before = disk.writes();
    for n in 0..BATCHES {
        while driver.submit(change(n), n + 1).is_some() {}
        while driver.stored <= n {
            driver.take_reports();
            thread::park_timeout(Duration::from_millis(1));
        }
    }
    assert!(driver.pages > 0);
    driver.store.stop(CleanStop::default()).unwrap();
    let writes = disk.writes() - before;
    println!("{writes} writes");
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let room = next.fetch_add(1, Ordering::Relaxed);
                    if room >= writes {
                        return;
                    }
                    run(room, ends);
                }
            });
        }
    });
}

#[test]
fn a_disk_that_is_full_from_any_write_on_holds_things_up_until_it_has_space() {
    sweep(false);
}

#[test]
fn what_was_stored_before_the_disk_was_full_is_there_after_the_end() {
    sweep(true);
}

#[test]
fn a_start_without_space_fails_and_harms_nothing() {
    let disk = MemoryDisk::default();
    let mut driver = Driver::start(&disk);
    for n in 0..BATCHES {
        while driver.submit(change(n), n + 1).is_some() {
            thread::yield_now();
        }
    }
    let (declared, held) = driver.state(BATCHES);
    // Not stopped: there is something to mend.
    drop(driver);
    let mut failed = 0;
    for room in 0.. {
        disk.fill_after(room);
        let opened = Engine::open(disk.clone(), &OPTIONS);
        disk.has_space_again();
        if opened.is_ok() {
            break;
        }
        failed += 1;
    }
    assert!(failed > 5, "{failed} starts failed");
    let (mut engine, recovered) = Engine::open(disk, &OPTIONS).unwrap();
    assert_eq!(recovered.damage, []);
    let found = Held::recovered(&recovered);
    assert_eq!(found, held.of(&declared));
    check_bodies(&mut engine, &held, &found.into_values().flatten().collect());
}

#[test]
fn a_sync_that_fails_ends_the_process_and_nothing_is_confirmed() {
    if std::env::var_os(CHILD).is_some() {
        let disk = MemoryDisk::default();
        let mut driver = Driver::start(&disk);
        disk.fail_syncs();
        assert!(driver.submit(change(0), 1).is_none());
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            driver.take_reports();
            assert_eq!(driver.stored, 0);
            thread::park_timeout(Duration::from_millis(1));
        }
        panic!("it goes on");
    }
    let name = "a_sync_that_fails_ends_the_process_and_nothing_is_confirmed";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(74), "{child:?}");
}

/// Set in the process that is to end.
const CHILD: &str = "STORE_SPACE_CHILD";
const OPTIONS: Options = Options {
    segment_bytes: 8 << 10,
    sync_interval_ms: 5,
    spin: std::time::Duration::ZERO,
};
const BATCHES: u64 = 20;
const THREADS: usize = 16;
const FULL_TIME: Duration = Duration::from_millis(120);
const PATIENCE: Duration = Duration::from_secs(20);
