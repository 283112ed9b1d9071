//! A data directory in which anything may have happened to the files: the store opens or refuses, works, and
//! opens again to the same. (To the fuzzer all checksums are right, see `store/record.rs`.)

use std::collections::BTreeSet;

use leveret::broker::journal::{Note, NoteKind};
use leveret::store::Recovered;
use leveret::store::engine::{Engine, Options};
use leveret::store::files::{Disk, DiskFile};

use super::memory_disk::MemoryDisk;
use super::store_model::{Change, Declaration, Held};

/// Six bytes each: which file, what is done to it, where, and with what.
pub fn check(data: &[u8]) {
    let disk = filled();
    let names: Vec<String> = ["log", "definitions"]
        .into_iter()
        .flat_map(|folder| {
            let names = disk.list(folder).expect("it is there").into_iter();
            names.map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    for step in data.chunks_exact(6).take(64) {
        let name = &names[usize::from(step[0]) % names.len()];
        let Ok(file) = disk.open(name) else { continue };
        harm(&disk, name, &file, step);
    }
    let Ok((mut engine, recovered)) = Engine::open(disk.clone(), &OPTIONS) else {
        return;
    };
    let _ = copies(&recovered);
    for block in 0..4 {
        let _ = engine.fetch(block);
    }
    let id = engine.next_message().to_bits();
    let change = Change {
        definitions: vec![Declaration::Queue(1000)],
        messages: vec![(id, vec![1000], 7, 30)],
        ..Change::default()
    };
    if engine.append(&mut change.journal()).is_err() || engine.sync().is_err() {
        return;
    }
    for _ in 0..20 {
        if !matches!(engine.tidy(), Ok(true)) {
            break;
        }
    }
    drop(engine);
    let (_, recovered) = Engine::open(disk, &OPTIONS).expect("what it wrote it reads");
    let copies = copies(&recovered);
    assert!(copies.contains(&(1000, id)), "what was stored is gone");
}

fn harm(disk: &MemoryDisk, name: &str, file: &<MemoryDisk as Disk>::File, step: &[u8]) {
    let size = file.size().expect("it has one").max(1);
    let at = u64::from(u16::from_be_bytes([step[2], step[3]])) % size;
    let value = [step[4], step[5]];
    match step[1] % 6 {
        0 => drop(file.write_at(at, &value[..1])),
        1 => drop(file.write_at(at, &value)),
        2 => drop(file.write_at(at, &u32::from(u16::from_be_bytes(value)).to_le_bytes())),
        3 => drop(file.set_size(at)),
        4 => {
            let mut bytes = vec![0; usize::from(value[0]).min((size - at) as usize)];
            if file.read_at(at, &mut bytes).is_ok() {
                drop(file.write_at(u64::from(value[1]) * 16 % size, &bytes));
            }
        }
        _ if value[0] == 0 => drop(disk.remove(name)),
        _ => drop(file.write_at(at, &u64::MAX.to_le_bytes()[..usize::from(value[1] % 9)])),
    }
}

fn copies(recovered: &Recovered) -> BTreeSet<(u64, u64)> {
    let held = Held::recovered(recovered).into_iter();
    held.flat_map(|(queue, ids)| ids.into_iter().map(move |id| (queue, id)))
        .collect()
}

/// Several segments, with acks, notes and definitions.
fn filled() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (mut engine, _) = Engine::open(disk.clone(), &OPTIONS).expect("it is empty");
    let declared = Change {
        definitions: vec![
            Declaration::Queue(1),
            Declaration::Queue(2),
            Declaration::Exchange(7),
            Declaration::Bind(7, 1),
        ],
        ..Change::default()
    };
    let changes = (0..12).map(|round| Change {
        messages: (round * 5..round * 5 + 5)
            .map(|id| (id, if id % 3 == 0 { vec![1, 2] } else { vec![1] }, id, 40))
            .collect(),
        acks: vec![(1, round * 5)],
        notes: vec![Note {
            kind: NoteKind::Deduplication,
            key: round.to_be_bytes().into(),
            value: Some(vec![1; 10].into()),
        }],
        ..Change::default()
    });
    for change in std::iter::once(declared).chain(changes) {
        engine.append(&mut change.journal()).expect("there is room");
        engine.sync().expect("it syncs");
        engine.tidy().expect("it tidies");
    }
    disk
}

const OPTIONS: Options = Options {
    segment_bytes: 2048,
    sync_interval_ms: 100,
    spin: std::time::Duration::ZERO,
};
