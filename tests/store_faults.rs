//! The store and disks that fail: flipped bits, files that are cut or gone, later versions, no space.

mod store_support;

use std::collections::{BTreeMap, BTreeSet};

use leveret::broker::journal::{Note, NoteKind, StoredMessages};
use leveret::store::engine::{Engine, Options, is_full};
use leveret::store::{Fault, Inspection, OpenError, Opened, Recovered, check};

use store_support::random::Random;
use store_support::simulated_disk::{Lie, SimulatedDisk};
use store_support::store_model::{Change, Declaration, Declared, Held, body};

/// Queue 1 has messages 0 to 599 in several segments, queue 2 every third of them, and every fourth of
/// queue 1 is acked.
fn filled() -> (SimulatedDisk, Engine<SimulatedDisk>, Held) {
    let disk = SimulatedDisk::new();
    let (mut engine, _) = Engine::open(disk.clone(), &OPTIONS).unwrap();
    let mut held = Held::default();
    let mut apply = |engine: &mut Engine<SimulatedDisk>, change: Change| {
        engine.append(&mut change.journal()).unwrap();
        engine.sync().unwrap();
        held.apply(&change);
    };
    let definitions = vec![
        Declaration::Queue(1),
        Declaration::Queue(2),
        Declaration::Exchange(7),
        Declaration::Bind(7, 1),
    ];
    apply(
        &mut engine,
        Change {
            definitions,
            ..Change::default()
        },
    );
    for round in 0..60 {
        let messages = (round * 10..round * 10 + 10)
            .map(|id| {
                let queues = if id % 3 == 0 { vec![1, 2] } else { vec![1] };
                (id, queues, 1000 + id, 50 + (id % 7) as usize * 20)
            })
            .collect();
        let acks = (round * 10..round * 10 + 10)
            .filter(|id| id % 4 == 0)
            .map(|id| (1, id))
            .collect();
        apply(
            &mut engine,
            Change {
                messages,
                acks,
                notes: vec![note(round), note(1000 + round)],
                ..Change::default()
            },
        );
        engine.tidy().unwrap();
    }
    engine.sync().unwrap();
    engine.mark().unwrap();
    (disk, engine, held)
}

fn note(number: u64) -> Note {
    Note {
        kind: NoteKind::Deduplication,
        key: number.to_be_bytes().into(),
        value: Some(vec![number as u8; 30].into()),
    }
}

/// Notes that must be there and are not.
fn missing_notes(recovered: &Recovered) -> usize {
    let found = Declared::recovered(recovered).notes;
    let expected = (0..60).chain(1000..1060).map(note);
    expected
        .filter(|note| {
            let value = found.get(&(note.kind, note.key.to_vec()));
            value.map(Vec::as_slice) != note.value.as_deref()
        })
        .count()
}

/// How many copies that must be there are not, counting those whose bodies are lost.
fn missing(
    recovered: &Recovered,
    engine: &mut Engine<SimulatedDisk>,
    held: &Held,
) -> BTreeSet<u64> {
    let mut bodies = BTreeMap::new();
    for block in 0..3 {
        let page = engine.fetch(block).unwrap();
        for message in StoredMessages::new(&page) {
            let id = message.id.to_bits();
            bodies.insert(id, message.message.body.as_slice().to_vec());
        }
    }
    for (id, read) in &bodies {
        if let Some((salt, size)) = held.bodies.get(id) {
            assert_eq!(*read, body(*id, *salt, *size), "body of {id}");
        }
    }
    let found = Held::recovered(recovered);
    held.check_attributes(recovered);
    let mut missing = BTreeSet::new();
    for (queue, copies) in &held.copies {
        for id in copies {
            let there = found.get(queue).is_some_and(|copies| copies.contains(id));
            if !there || !bodies.contains_key(id) {
                missing.insert(*id);
            }
        }
    }
    missing
}

#[test]
fn a_flipped_bit_anywhere_costs_a_record_at_most_and_is_reported() {
    let (disk, engine, held) = filled();
    drop(engine);
    let (mut engine, recovered) = Engine::open(disk.copy(), &OPTIONS).unwrap();
    assert_eq!(missing(&recovered, &mut engine, &held), BTreeSet::new());
    assert_eq!(missing_notes(&recovered), 0);
    assert_eq!(recovered.damage, []);
    drop(engine);
    let mut random = Random::new(7);
    let mut lost = 0;
    let mut reported = 0;
    for path in disk.names() {
        let size = disk.size_of(&path);
        for _ in 0..100 {
            let offset = random.below(size as u64) as usize;
            let damaged = disk.copy();
            damaged.damage(&path, offset, 1 << random.below(8));
            let (mut engine, recovered) = Engine::open(damaged, &OPTIONS).unwrap();
            let missing = missing(&recovered, &mut engine, &held);
            assert!(
                missing.len() <= 1,
                "{path} at {offset}: {missing:?} {:?}",
                recovered.damage
            );
            let found = engine.counters().0.damaged + recovered.damage.len() as u64;
            assert!(found > 0 || missing.is_empty());
            let notes = missing_notes(&recovered);
            assert!(notes == 0 || found > 0, "{notes} notes");
            // A record of them.
            assert!(notes < 40, "{notes} notes");
            lost += missing.len();
            reported += usize::from(found > 0);
        }
    }
    assert!(
        lost > 500 && reported > 1000,
        "{lost} lost, {reported} reported"
    );
}

#[test]
fn a_file_that_was_cut_keeps_what_is_left() {
    let (disk, engine, held) = filled();
    drop(engine);
    let mut random = Random::new(9);
    let last = disk
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".seg"));
    for path in disk.names() {
        let size = disk.size_of(&path);
        for _ in 0..20 {
            let damaged = disk.copy();
            let left = random.below(size as u64) as usize;
            damaged.truncate(&path, left);
            let (mut engine, recovered) = Engine::open(damaged, &OPTIONS).unwrap();
            let missing = missing(&recovered, &mut engine, &held);
            if path.starts_with("log") {
                assert!(
                    missing.len() <= 120,
                    "{path} cut to {left}: {}",
                    missing.len()
                );
            }
            // The last segment may have ended just there, for all that is known.
            let known = !recovered.damage.is_empty() || Some(&path) == last.as_ref();
            assert!(missing.is_empty() || known, "{path} cut to {left}");
        }
    }
}

#[test]
fn a_missing_segment_is_reported_and_costs_only_itself() {
    let (disk, engine, held) = filled();
    drop(engine);
    let logs: Vec<_> = disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
        .collect();
    assert!(logs.len() > 5);
    for path in &logs[..logs.len() - 1] {
        let damaged = disk.copy();
        damaged.delete(path);
        let (mut engine, recovered) = Engine::open(damaged.clone(), &OPTIONS).unwrap();
        let faults: Vec<_> = recovered
            .damage
            .iter()
            .map(|damage| (&damage.file, damage.what))
            .collect();
        assert_eq!(faults, [(path, Fault::Missing)]);
        assert!(missing(&recovered, &mut engine, &held).len() < 120);
        drop(engine);
        let (_, recovered) = Engine::open(damaged, &OPTIONS).unwrap();
        assert_eq!(recovered.damage, [], "reported once");
    }
}

#[test]
fn looking_changes_nothing() {
    let (disk, engine, _) = filled();
    drop(engine);
    let mut random = Random::new(3);
    for path in disk.names() {
        let damaged = disk.copy();
        let offset = random.below(damaged.size_of(&path) as u64) as usize;
        damaged.damage(&path, offset, 1);
        let before = damaged.snapshot();
        let inspection = Inspection::of(&damaged).unwrap();
        assert!(inspection.to_string().contains("state: "));
        assert_eq!(before, damaged.snapshot());
    }
    assert!(Inspection::of(&disk).unwrap().is_whole());
}

#[test]
fn another_version_is_refused_and_left_alone() {
    let (disk, mut engine, _) = filled();
    engine.stop(&[]).unwrap();
    drop(engine);
    let names = disk.names().into_iter();
    // Space that was set aside has no version.
    let names = names.filter(|name| name != "log/reserve");
    for (path, version) in names.flat_map(|it| [(it.clone(), 1), (it, 3)]) {
        let newer = disk.copy();
        let mut header = newer.snapshot()[&path][..64].to_vec();
        header[8] = version;
        let checksum = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&checksum.to_le_bytes());
        for (offset, byte) in header.into_iter().enumerate() {
            let was = newer.snapshot()[&path][offset];
            newer.damage(&path, offset, was ^ byte);
        }
        let before = newer.snapshot();
        let result = Engine::open(newer.clone(), &OPTIONS);
        let Err(OpenError::Version {
            version: refused, ..
        }) = result
        else {
            panic!("{path} of version {version} was taken");
        };
        assert_eq!(refused, u32::from(version));
        assert_eq!(before, newer.snapshot());
    }
}

#[test]
fn a_start_on_a_full_disk_has_room_for_acks_and_goes_on_when_there_is_space() {
    let options = Options {
        segment_bytes: 1 << 20,
        ..OPTIONS
    };
    let disk = SimulatedDisk::new();
    let message = |id| Change {
        messages: vec![(id, vec![1], id, 100)],
        ..Change::default()
    };
    let mut held = Held::default();
    let (mut engine, _) = Engine::open(disk.clone(), &options).unwrap();
    let declare = Change {
        definitions: vec![Declaration::Queue(1)],
        ..Change::default()
    };
    engine.append(&mut declare.journal()).unwrap();
    for id in 0..100 {
        engine.append(&mut message(id).journal()).unwrap();
        held.apply(&message(id));
    }
    engine.tidy().unwrap();
    engine.stop(&[]).unwrap();
    disk.set_space(disk.used());
    for id in 0..6 {
        let (mut engine, recovered) = Engine::open(disk.clone(), &options).unwrap();
        assert_eq!(recovered.damage, []);
        assert_eq!(Held::recovered(&recovered)[&1], held.copies[&1]);
        engine.tidy().unwrap();
        assert!(engine.is_space_low());
        let more = message(recovered.next_message.to_bits());
        let refused = engine.append(&mut more.journal()).unwrap_err();
        assert!(is_full(&refused), "{refused}");
        let ack = Change {
            acks: vec![(1, id)],
            ..Change::default()
        };
        engine.append(&mut ack.journal()).unwrap();
        engine.sync().unwrap();
        held.apply(&ack);
        if id < 3 {
            engine.stop(&[]).unwrap();
        }
    }
    disk.set_space(u64::MAX);
    let (mut engine, recovered) = Engine::open(disk, &options).unwrap();
    assert!(!engine.is_space_low());
    let more = message(recovered.next_message.to_bits());
    engine.append(&mut more.journal()).unwrap();
}

#[test]
fn without_space_messages_wait_and_acks_make_some() {
    let disk = SimulatedDisk::new();
    let (mut engine, _) = Engine::open(disk.clone(), &OPTIONS).unwrap();
    disk.set_space(disk.used() + 64 * 1024);
    let mut held = Held::default();
    let declare = Change {
        definitions: vec![Declaration::Queue(1)],
        ..Change::default()
    };
    engine.append(&mut declare.journal()).unwrap();
    let mut waits = 0;
    for id in 0..2000 {
        let change = Change {
            messages: vec![(id, vec![1], id, 100)],
            ..Change::default()
        };
        let mut journal = change.journal();
        while let Err(error) = engine.append(&mut journal) {
            assert!(is_full(&error), "{error}");
            assert!(engine.is_space_low());
            waits += 1;
            assert!(waits < 1000);
            // Consumers go on.
            let acks: Vec<_> = held.copies[&1].iter().take(40).map(|id| (1, *id)).collect();
            let change = Change {
                acks,
                ..Change::default()
            };
            let mut early = change.journal().acks;
            engine
                .append_acks(&mut early)
                .unwrap_or_else(|e| panic!("{e} at {id} after {waits}, {:?}", disk.names()));
            assert!(early.is_empty());
            held.apply(&change);
            engine.sync().unwrap();
            while engine.tidy().unwrap() {}
            engine.sync().unwrap();
            while engine.tidy().unwrap() {}
        }
        held.apply(&change);
    }
    assert!(waits > 5);
    engine.sync().unwrap();
    drop(engine);
    disk.set_space(u64::MAX);
    let (mut engine, recovered) = Engine::open(disk, &OPTIONS).unwrap();
    assert_eq!(recovered.damage, []);
    assert_eq!(Held::recovered(&recovered)[&1], held.copies[&1]);
    held.prune();
    for block in 0..8 {
        engine.fetch(block).unwrap();
    }
}

#[test]
fn a_failed_sync_is_an_error() {
    let (disk, mut engine, _) = filled();
    disk.set_lie(Lie::FailsSync);
    let change = Change {
        messages: vec![(5000, vec![1], 1, 10)],
        ..Change::default()
    };
    engine.append(&mut change.journal()).unwrap();
    assert!(engine.sync().is_err());
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = file.path().join("data");
    let Err(error) = Opened::open(&inside, Options::default()) else {
        panic!("a file is no directory");
    };
    assert!(error.to_string().contains(inside.to_str().unwrap()));
    assert!(check(&inside).is_err());
    // Read-only, even for root.
    assert!(Opened::open("/proc/leveret".as_ref(), Options::default()).is_err());
}

const OPTIONS: Options = Options {
    segment_bytes: 8 << 10,
    sync_interval_ms: 100,
    spin: std::time::Duration::ZERO,
};
