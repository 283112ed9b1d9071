//! The store on a real directory: what was reported stored is there after a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use leveret::broker::journal::{
    Definition, Journal, Note, NoteKind, QueueId, StoredMessages, StoredQueue,
};
use leveret::broker::message::{Body, Message, MessageId};
use leveret::broker::queue::PackedIds;
use leveret::store::{
    Batch, CleanStop, OpenError, Opened, Options, Recovered, Redelivered, Report, Spill, Store,
};
use leveret::wire::amqp::{OwnedTable, Table};

struct Driver {
    store: Store,
    number: u64,
    stored: u64,
    pages: Vec<(u64, Vec<u8>)>,
    images: Vec<(u64, Vec<u8>)>,
}

impl Driver {
    fn open(directory: &Path, options: Options) -> (Driver, Recovered) {
        let (opened, recovered) = Opened::open(directory, options).unwrap();
        let driver = Driver {
            store: Store::start(opened, Box::new(|| {})),
            number: 0,
            stored: 0,
            pages: Vec::new(),
            images: Vec::new(),
        };
        (driver, recovered)
    }

    fn submit(&mut self, mut batch: Batch) {
        self.number += 1;
        batch.number = self.number;
        let limit = Instant::now() + Duration::from_secs(20);
        while let Err(back) = self.store.submit(batch) {
            batch = back;
            self.take_reports();
            assert!(Instant::now() < limit);
            std::thread::yield_now();
        }
    }

    fn journal(&mut self, journal: Journal) {
        self.submit(Batch {
            journal,
            ..Batch::default()
        });
    }

    fn take_reports(&mut self) {
        while let Some(report) = self.store.take_report() {
            match report {
                Report::Synced(_) | Report::Taken(_) => {}
                Report::StoredUpTo(number) => {
                    assert!(number > self.stored);
                    self.stored = number;
                }
                Report::Page { block, messages } => self.pages.push((block, messages)),
                Report::SpillPage { block, image } => self.images.push((block, image)),
                Report::SpaceLow(low) => assert!(!low),
            }
        }
    }

    fn wait(&mut self, done: impl Fn(&Driver) -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            self.take_reports();
            assert!(Instant::now() < limit, "nothing came");
            std::thread::yield_now();
        }
    }

    fn wait_stored(&mut self) {
        let number = self.number;
        self.wait(|driver| driver.stored >= number);
    }
}

fn queue(id: u64, name: &str) -> Definition {
    Definition::QueueDeclared(StoredQueue {
        id: QueueId(id),
        virtual_host: (*b"/").into(),
        name: name.as_bytes().into(),
        auto_delete: false,
        arguments: OwnedTable::from(Table::EMPTY),
    })
}

fn append(journal: &mut Journal, id: u64, queues: &[u64], body: &[u8]) {
    let queues: Vec<_> = queues.iter().map(|queue| QueueId(*queue)).collect();
    let message = Message {
        exchange: b"",
        routing_key: b"jobs",
        properties: &[0, 0],
        body: Body::Slice(body),
        arrived_ms: 0,
    };
    journal.append(MessageId::from_bits(id), &queues, &message);
}

fn ids(packed: &PackedIds) -> Vec<u64> {
    packed.iter().map(MessageId::to_bits).collect()
}

fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        ..Options::default()
    }
}

#[test]
fn what_was_stored_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, recovered) = Driver::open(directory.path(), small());
    assert!(recovered.definitions.is_empty() && recovered.queues.is_empty());
    let mut journal = Journal {
        definitions: vec![queue(1, "a"), queue(2, "b")],
        awaited: true,
        ..Journal::default()
    };
    for id in 0..2000 {
        let queues: &[u64] = if id % 3 == 0 { &[1, 2] } else { &[2] };
        append(&mut journal, 2 * id, queues, &[id as u8; 300]);
    }
    driver.journal(journal);
    let acks = (0..2000).filter(|id| id % 2 == 0);
    driver.journal(Journal {
        acks: acks
            .map(|id| (QueueId(2), MessageId::from_bits(2 * id)))
            .collect(),
        awaited: true,
        ..Journal::default()
    });
    driver.wait_stored();
    drop(driver);

    let (mut driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.definitions, [queue(1, "a"), queue(2, "b")]);
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.redelivered, Redelivered::Any);
    assert_eq!(recovered.next_queue, QueueId(3));
    assert!(recovered.next_message.to_bits() >= 4000);
    let a: Vec<u64> = (0..2000)
        .filter(|id| id % 3 == 0)
        .map(|id| 2 * id)
        .collect();
    let b: Vec<u64> = (0..2000)
        .filter(|id| id % 2 == 1)
        .map(|id| 2 * id)
        .collect();
    assert_eq!(recovered.queues[0].0, QueueId(1));
    assert_eq!(ids(&recovered.queues[0].1), a);
    assert_eq!(ids(&recovered.queues[1].1), b);
    for references in &recovered.references {
        for block in references.blocks() {
            for (slot, count) in references.counts().into_iter().enumerate() {
                let id = block * 256 + slot as u64;
                let expected =
                    a.binary_search(&id).is_ok() as u32 + b.binary_search(&id).is_ok() as u32;
                assert_eq!(count, expected, "message {id}");
            }
        }
    }

    driver.submit(Batch {
        fetches: (0..16).collect(),
        ..Batch::default()
    });
    driver.wait(|driver| driver.pages.len() == 16);
    let mut read = Vec::new();
    for (block, page) in &driver.pages {
        for message in StoredMessages::new(page) {
            assert_eq!(message.id.block(), *block);
            let id = message.id.to_bits();
            assert_eq!(message.message.body.as_slice(), [(id / 2) as u8; 300]);
            read.push(id);
        }
    }
    assert!(read.is_sorted());
    assert!(a.iter().chain(&b).all(|id| read.binary_search(id).is_ok()));
}

#[test]
fn a_clean_stop_remembers_what_was_delivered_and_a_start_makes_it_history() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    let mut journal = Journal {
        definitions: vec![queue(1, "a")],
        ..Journal::default()
    };
    (0..10).for_each(|id| append(&mut journal, id, &[1], b"x"));
    driver.journal(journal);
    let delivered: PackedIds = [3, 4, 9].map(MessageId::from_bits).into_iter().collect();
    let redelivered = vec![(QueueId(1), delivered)];
    driver
        .store
        .stop(CleanStop {
            redelivered: redelivered.clone(),
        })
        .unwrap();

    let (driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.redelivered, Redelivered::Exactly(redelivered));
    assert_eq!(ids(&recovered.queues[0].1), (0..10).collect::<Vec<_>>());
    drop(driver);
    let (_driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.redelivered, Redelivered::Any);
}

#[test]
fn space_comes_back_when_messages_are_acked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    driver.journal(Journal {
        definitions: vec![queue(1, "a")],
        ..Journal::default()
    });
    for round in 0..200 {
        let mut journal = Journal::default();
        (0..100).for_each(|n| append(&mut journal, round * 100 + n, &[1], &[7; 200]));
        driver.journal(journal);
        driver.journal(Journal {
            acks: (0..100)
                .map(|n| (QueueId(1), MessageId::from_bits(round * 100 + n)))
                .collect(),
            awaited: true,
            ..Journal::default()
        });
    }
    driver.wait_stored();
    drop(driver);
    let files = std::fs::read_dir(directory.path().join("log"))
        .unwrap()
        .count();
    assert!(files < 6, "{files} segments");
    let (_driver, recovered) = Driver::open(directory.path(), small());
    assert!(recovered.queues.is_empty());
}

#[test]
fn a_few_messages_that_stay_do_not_hold_the_space_of_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    driver.journal(Journal {
        definitions: vec![queue(1, "a"), queue(2, "b")],
        ..Journal::default()
    });
    for round in 0..300 {
        let mut journal = Journal::default();
        append(&mut journal, round * 100, &[2], &[8; 200]);
        (1..100).for_each(|n| append(&mut journal, round * 100 + n, &[1], &[7; 200]));
        driver.journal(journal);
        driver.journal(Journal {
            acks: (1..100)
                .map(|n| (QueueId(1), MessageId::from_bits(round * 100 + n)))
                .collect(),
            awaited: true,
            ..Journal::default()
        });
    }
    driver.wait_stored();
    // Live are 75 KB; four segments on top of twice that.
    wait_for_space(directory.path(), 2 * 75_000 + 4 * (64 << 10));
    drop(driver);
    let (mut driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.damage, []);
    let left: Vec<u64> = (0..300).map(|round| round * 100).collect();
    assert_eq!(ids(&recovered.queues[0].1), left);
    driver.submit(Batch {
        fetches: (0..118).collect(),
        ..Batch::default()
    });
    driver.wait(|driver| driver.pages.len() == 118);
    let read = driver
        .pages
        .iter()
        .flat_map(|(_, page)| StoredMessages::new(page));
    let read: Vec<u64> = read.map(|message| message.id.to_bits()).collect();
    assert!(left.iter().all(|id| read.contains(id)));
}

#[test]
fn small_messages_do_not_hold_the_space_of_large_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    driver.journal(Journal {
        definitions: vec![queue(1, "a"), queue(2, "b")],
        ..Journal::default()
    });
    for round in 0..100 {
        let mut journal = Journal::default();
        append(&mut journal, round * 100, &[1], &[8; 50_000]);
        (1..100).for_each(|n| append(&mut journal, round * 100 + n, &[2], b"small"));
        driver.journal(journal);
    }
    let large = (0..100).map(|round| (QueueId(1), MessageId::from_bits(round * 100)));
    driver.journal(Journal {
        acks: large.collect(),
        awaited: true,
        ..Journal::default()
    });
    driver.wait_stored();
    // Live are 10,000 messages of 65 bytes, and the indexes of their blocks.
    wait_for_space(directory.path(), 2 * 700_000 + 4 * (64 << 10));
    drop(driver);
    let (_driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.queues[0].1.len(), 9900);
}

/// Waits until the log takes no more than this.
fn wait_for_space(directory: &Path, bound: u64) {
    let log = directory.join("log");
    let size = || -> u64 {
        let files = std::fs::read_dir(&log).unwrap();
        // One may go while we look.
        let sizes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        sizes.sum()
    };
    let limit = Instant::now() + Duration::from_secs(20);
    while size() > bound {
        assert!(Instant::now() < limit, "{} bytes", size());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_message_larger_than_a_segment_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    let mut journal = Journal {
        definitions: vec![queue(1, "a")],
        awaited: true,
        ..Journal::default()
    };
    append(&mut journal, 0, &[1], b"small");
    append(&mut journal, 1, &[1], &vec![5; 1_000_000]);
    append(&mut journal, 2, &[1], b"small");
    driver.journal(journal);
    driver.wait_stored();
    drop(driver);
    let (mut driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(ids(&recovered.queues[0].1), [0, 1, 2]);
    driver.submit(Batch {
        fetches: vec![0, 1],
        ..Batch::default()
    });
    driver.wait(|driver| driver.pages.len() == 2);
    let sizes: Vec<_> = StoredMessages::new(&driver.pages[0].1)
        .map(|message| message.message.body.len())
        .collect();
    assert_eq!(sizes, [5, 1_000_000, 5]);
    assert_eq!(driver.pages[1], (1, Vec::new()));
}

#[test]
fn a_message_in_more_queues_than_16_bits_count_is_there_for_all_of_them() {
    const QUEUES: u64 = 66_000;
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), Options::default());
    let queues: Vec<u64> = (1..=QUEUES).collect();
    let definitions = queues.iter().map(|id| queue(*id, &format!("q{id}")));
    let mut journal = Journal {
        definitions: definitions.collect(),
        ..Journal::default()
    };
    append(&mut journal, 7, &queues, b"for all");
    driver.journal(journal);
    driver.wait_stored();
    drop(driver);

    let (_driver, recovered) = Driver::open(directory.path(), Options::default());
    assert_eq!(recovered.queues.len() as u64, QUEUES);
    let counts = recovered.references[0].counts();
    assert_eq!(u64::from(counts[7]), QUEUES);
}

#[test]
fn a_spilled_image_comes_back_until_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    driver.submit(Batch {
        spills: vec![Spill {
            block: 7,
            image: vec![1; 9000],
        }],
        ..Batch::default()
    });
    driver.submit(Batch {
        fetches: vec![7],
        ..Batch::default()
    });
    driver.wait(|driver| driver.pages.len() == 1);
    assert_eq!(driver.images, [(7, vec![1; 9000])]);
    driver.submit(Batch {
        dropped_spills: vec![7],
        fetches: vec![7],
        ..Batch::default()
    });
    driver.wait(|driver| driver.pages.len() == 2);
    assert_eq!(driver.images.len(), 1);
    assert_eq!(
        std::fs::read_dir(directory.path().join("spill"))
            .unwrap()
            .count(),
        0
    );
}

/// Of a key that came with this message.
fn key_note(number: u64, message: u64) -> Note {
    let mut value = vec![7; 24];
    value.extend(message.to_le_bytes());
    Note {
        kind: NoteKind::Deduplication,
        key: Note::failure_key(QueueId(9), MessageId::from_bits(number)),
        value: Some(value.into()),
    }
}

#[test]
fn a_note_without_the_message_that_brought_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    let mut journal = Journal {
        definitions: vec![queue(1, "a")],
        // The last two are what is left of a batch that a crash tore.
        notes: [(0, 5), (1, 10), (2, 11), (3, 300)]
            .map(|(number, message)| key_note(number, message))
            .into(),
        awaited: true,
        ..Journal::default()
    };
    append(&mut journal, 5, &[1], b"gone by then");
    append(&mut journal, 10, &[1], b"there");
    driver.journal(journal);
    driver.journal(Journal {
        acks: vec![(QueueId(1), MessageId::from_bits(5))],
        awaited: true,
        ..Journal::default()
    });
    driver.wait_stored();
    drop(driver);
    // And not to be taken for one of the next messages, however often it starts.
    for _ in 0..3 {
        let (driver, recovered) = Driver::open(directory.path(), small());
        assert_eq!(recovered.notes, [key_note(0, 5), key_note(1, 10)]);
        drop(driver);
    }
}

#[test]
fn keys_go_with_what_remembers_them() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, _) = Driver::open(directory.path(), small());
    let note = |owner: u64, number: &[u8]| Note {
        kind: NoteKind::Deduplication,
        key: [&owner.to_be_bytes(), number].concat().into(),
        value: Some([1].into()),
    };
    driver.journal(Journal {
        definitions: vec![queue(1, "a")],
        notes: vec![note(1, b"k"), note(2, b""), note(2, b"k"), note(3, b"k")],
        ..Journal::default()
    });
    driver.journal(Journal {
        definitions: vec![Definition::QueueDeleted { id: QueueId(1) }],
        notes: vec![Note {
            value: None,
            ..note(2, b"")
        }],
        awaited: true,
        ..Journal::default()
    });
    driver.wait_stored();
    drop(driver);
    let (_driver, recovered) = Driver::open(directory.path(), small());
    assert_eq!(recovered.notes, [note(3, b"k")]);
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_driver, _) = Driver::open(directory.path(), small());
    assert!(matches!(
        Opened::open(directory.path(), small()),
        Err(OpenError::InUse { .. })
    ));
}

/// A data directory as an earlier program left it, copied; see `tests/store_versions/README.md`.
fn earlier(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store_versions");
    for folder in ["log", "definitions"] {
        std::fs::create_dir(copy.path().join(folder)).unwrap();
        for file in std::fs::read_dir(root.join(name).join(folder)).unwrap() {
            let file = file.unwrap();
            let to = copy.path().join(folder).join(file.file_name());
            std::fs::copy(file.path(), to).unwrap();
        }
    }
    copy
}

fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["log", "definitions"] {
        for file in std::fs::read_dir(directory.join(folder)).unwrap() {
            let path = file.unwrap().path();
            files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn what_earlier_programs_of_this_format_wrote_is_read() {
    for name in ["v2-first", "v2-notes", "v2-later"] {
        let directory = earlier(name);
        // Twice: as it was left, and as this program leaves it.
        for round in 0..2 {
            let (_driver, recovered) = Driver::open(directory.path(), small());
            assert!(
                recovered.damage.is_empty(),
                "{name}: {:?}",
                recovered.damage
            );
            let counts: Vec<_> = recovered
                .queues
                .iter()
                .map(|(_, of)| ids(of).len())
                .collect();
            assert_eq!(counts, [15, 10], "{name}, round {round}");
            let mut names: Vec<_> = recovered.definitions.iter().filter_map(name_of).collect();
            names.sort();
            assert_eq!(names, ["bound", "kept", "news"], "{name}");
            let is_binding = |it: &&Definition| matches!(it, Definition::Bound(_));
            assert_eq!(recovered.definitions.iter().filter(is_binding).count(), 1);
        }
    }
}

fn name_of(definition: &Definition) -> Option<String> {
    let name = match definition {
        Definition::QueueDeclared(queue) => &queue.name,
        Definition::ExchangeDeclared(exchange) => &exchange.name,
        _ => return None,
    };
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Version 1 was never part of a release; it is refused like those that are still to come.
#[test]
fn another_format_is_refused_and_not_touched() {
    let directory = earlier("v1");
    let before = contents(directory.path());
    let opened = Opened::open(directory.path(), small());
    assert!(matches!(opened, Err(OpenError::Version { version: 1, .. })));
    assert_eq!(contents(directory.path()), before);
}
