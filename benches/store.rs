//! What the store costs: `cargo bench --bench store [-- MESSAGES]`.
//!
//! Confirmed windows of 1 KiB messages beside a bare write and fdatasync of the same bytes, then a queue
//! filled with many messages of 100 bytes, recovered, and read back. CPU is of all threads; written bytes
//! are those the kernel counts for the process (`/proc/self/io`).

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use leveret::broker::journal::{
    Definition, Journal, Note, NoteKind, QueueId, StoredMessages, StoredQueue,
};
use leveret::broker::message::{Body, Message, MessageId};
use leveret::store::{Batch, CleanStop, Opened, Options, Report, Store};
use leveret::wire::amqp::{OwnedTable, Table};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let [mode, directory] = &arguments[..]
        && mode == "recover"
    {
        return recover(Path::new(directory));
    }
    let many = arguments.iter().find_map(|it| it.parse().ok());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store-bench");
    for window in [1, 100, 1000] {
        let _ = fs::remove_dir_all(&directory);
        bare(&directory, window);
        for queues in [1, 100] {
            let _ = fs::remove_dir_all(&directory);
            confirmed(&directory, window, queues);
        }
    }
    let _ = fs::remove_dir_all(&directory);
    definitions(&directory);
    let _ = fs::remove_dir_all(&directory);
    notes(&directory);
    let _ = fs::remove_dir_all(&directory);
    queues(&directory);
    let _ = fs::remove_dir_all(&directory);
    fill(&directory, many.unwrap_or(10_000_000));
    let _ = fs::remove_dir_all(&directory);
}

/// The same bytes, written and synced by nobody's rules: the floor.
fn bare(directory: &Path, window: u64) {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join("bare");
    let size = 16 << 20;
    fs::write(&path, vec![1; size]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let bytes = vec![7; window as usize * 1100];
    let mut latencies = Vec::new();
    let mut offset = 0;
    let limit = Instant::now() + TIME;
    while Instant::now() < limit {
        let start = Instant::now();
        file.write_all_at(&bytes, offset).unwrap();
        file.sync_data().unwrap();
        latencies.push(start.elapsed());
        offset = (offset + bytes.len() as u64) % (size - bytes.len()) as u64;
    }
    println!(
        "bare write and fdatasync, {window} x 1.1 KiB: p50 {:.0} us",
        median(&mut latencies)
    );
}

/// A window of messages is published and the one before acked; then all wait for the confirm.
fn confirmed(directory: &Path, window: u64, queues: u64) {
    let mut driver = Driver::open(directory);
    driver.declare(queues);
    let body = vec![7; 1024];
    let mut next = 0;
    let mut latencies = Vec::new();
    let mut published = 0;
    for phase in [TIME / 4, TIME] {
        // The first is to get going.
        let before = Usage::now();
        latencies.clear();
        published = 0;
        let start = Instant::now();
        while start.elapsed() < phase {
            let started = Instant::now();
            let mut journal = Journal {
                awaited: true,
                ..Journal::default()
            };
            for id in next..next + window {
                append(&mut journal, id, QueueId(1 + id % queues), &body);
            }
            let acked = next.saturating_sub(window)..next;
            journal.acks = acked
                .map(|id| (QueueId(1 + id % queues), MessageId::from_bits(id)))
                .collect();
            next += window;
            driver.submit(journal);
            driver.wait_stored();
            latencies.push(started.elapsed());
            published += window;
        }
        if phase == TIME {
            let used = before.until_now();
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "window {window:4}, {queues:3} queues: {:7.0} messages/s, confirm p50 {:.0} us, \
                 {:.2} us CPU per message, {:.0} batches/s, {:.3} bytes written per byte",
                published as f64 / seconds,
                median(&mut latencies),
                used.cpu.as_secs_f64() * 1e6 / published as f64,
                latencies.len() as f64 / seconds,
                used.written as f64 / (published * 1024) as f64,
            );
        }
    }
    let _ = published;
    driver.store.stop(CleanStop::default()).unwrap();
}

fn definitions(directory: &Path) {
    let mut driver = Driver::open(directory);
    let start = Instant::now();
    driver.declare(100_000);
    let declared = start.elapsed();
    drop(driver);
    println!(
        "100,000 queues: declared in {declared:.2?}, {}",
        recovered(directory)
    );
}

/// Failures of 10,000 messages, each noted a hundred times, a thousand in a batch.
fn notes(directory: &Path) {
    let mut driver = Driver::open(directory);
    driver.declare(1);
    let before = Usage::now();
    let start = Instant::now();
    for batch in 0..1000 {
        let ids = (0..1000).map(|n| MessageId::from_bits((batch * 1000 + n) % 10_000));
        let note = |id| Note {
            kind: NoteKind::Failure,
            key: Note::failure_key(QueueId(1), id),
            value: Some(vec![batch as u8; 12].into()),
        };
        driver.submit(Journal {
            notes: ids.map(note).collect(),
            awaited: true,
            ..Journal::default()
        });
    }
    driver.wait_stored();
    let used = before.until_now();
    println!(
        "1,000,000 notes under 10,000 keys: {:.0} notes/s, {:.2} us CPU each, {:.1} bytes written each",
        1e6 / start.elapsed().as_secs_f64(),
        used.cpu.as_secs_f64(),
        used.written as f64 / 1e6,
    );
    drop(driver);
    println!("recovery: {}", recovered(directory));
}

/// A gigabyte in 1,000 queues.
fn queues(directory: &Path) {
    let mut driver = Driver::open(directory);
    driver.declare(1000);
    let body = [7; 1024];
    for first in (0..1_000_000).step_by(1000) {
        let mut journal = Journal::default();
        for id in first..first + 1000 {
            append(&mut journal, id, QueueId(1 + id % 1000), &body);
        }
        driver.submit(journal);
    }
    driver.wait_stored();
    drop(driver);
    println!("1,000 queues with 1 GB: {}", recovered(directory));
}

fn fill(directory: &Path, count: u64) {
    let mut driver = Driver::open(directory);
    driver.declare(1);
    let before = Usage::now();
    let body = [7; 100];
    let start = Instant::now();
    for first in (0..count).step_by(1000) {
        let mut journal = Journal::default();
        for id in first..count.min(first + 1000) {
            append(&mut journal, id, QueueId(1), &body);
        }
        driver.submit(journal);
    }
    driver.submit(Journal {
        awaited: true,
        ..Journal::default()
    });
    driver.wait_stored();
    let used = before.until_now();
    println!(
        "fill, {count} x 100 bytes: {:.0} messages/s, {:.2} us CPU, {:.2} bytes written per byte",
        count as f64 / start.elapsed().as_secs_f64(),
        used.cpu.as_secs_f64() * 1e6 / count as f64,
        used.written as f64 / (count * 100) as f64
    );
    drop(driver);
    println!("recovery: {}", recovered(directory));

    let mut driver = Driver::open(directory);
    let blocks = count.div_ceil(256);
    let (mut asked, mut read, mut messages) = (0, 0, 0);
    let start = Instant::now();
    while read < blocks {
        while asked < blocks && asked < read + 16 {
            driver.submit_batch(Batch {
                fetches: vec![asked],
                ..Batch::default()
            });
            asked += 1;
        }
        match driver.store.take_report() {
            Some(Report::Page { messages: page, .. }) => {
                read += 1;
                messages += StoredMessages::new(&page).count();
            }
            Some(_) => {}
            None => std::thread::yield_now(),
        }
    }
    println!(
        "read back: {:.0} messages/s",
        messages as f64 / start.elapsed().as_secs_f64()
    );
}

/// In a process of its own, for its memory.
fn recovered(directory: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("recover")
        .arg(directory)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn recover(directory: &Path) {
    let start = Instant::now();
    let (_opened, recovered) = Opened::open(directory, Options::default()).unwrap();
    let elapsed = start.elapsed();
    println!(
        "started in {elapsed:.2?}, {} segments, {} messages ({} bytes of attributes), {} definitions, \
         {} notes, {} resident, {} at most",
        recovered.statistics.segments,
        recovered.statistics.messages,
        recovered.attributes.size(),
        recovered.definitions.len(),
        recovered.notes.len(),
        status("VmRSS"),
        status("VmHWM"),
    );
}

struct Driver {
    store: Store,
    number: u64,
    stored: u64,
}

impl Driver {
    fn open(directory: &Path) -> Driver {
        let (opened, _) = Opened::open(directory, Options::default()).unwrap();
        let thread = std::thread::current();
        Driver {
            store: Store::start(opened, Box::new(move || thread.unpark())),
            number: 0,
            stored: 0,
        }
    }

    fn declare(&mut self, queues: u64) {
        for id in 1..=queues {
            self.submit(Journal {
                definitions: vec![Definition::QueueDeclared(StoredQueue {
                    id: QueueId(id),
                    virtual_host: (*b"/").into(),
                    name: format!("queue-{id}").into_bytes().into(),
                    auto_delete: false,
                    arguments: OwnedTable::from(Table::EMPTY),
                })],
                awaited: true,
                ..Journal::default()
            });
        }
        self.wait_stored();
    }

    fn submit(&mut self, journal: Journal) {
        self.submit_batch(Batch {
            journal,
            ..Batch::default()
        });
    }

    fn submit_batch(&mut self, mut batch: Batch) {
        self.number += 1;
        batch.number = self.number;
        while let Err(back) = self.store.submit(batch) {
            batch = back;
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }

    fn wait_stored(&mut self) {
        while self.stored < self.number {
            match self.store.take_report() {
                Some(Report::StoredUpTo(number)) => self.stored = number,
                Some(_) => {}
                None => std::thread::park(),
            }
        }
    }
}

fn append(journal: &mut Journal, id: u64, queue: QueueId, body: &[u8]) {
    let message = Message {
        exchange: b"",
        routing_key: b"queue-1",
        properties: &[0x10, 0, 2],
        body: Body::Slice(body),
        // A thousand a millisecond.
        arrived_ms: 1_790_000_000_000 + id / 1000,
    };
    journal.append(MessageId::from_bits(id), &[queue], &message);
}

/// What the process used so far.
struct Usage {
    cpu: Duration,
    written: u64,
}

impl Usage {
    fn now() -> Usage {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let of_thread = |path: PathBuf| -> u64 {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next();
            first.and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        let nanoseconds = tasks.map(|task| of_thread(task.unwrap().path())).sum();
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let written = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "));
        Usage {
            cpu: Duration::from_nanos(nanoseconds),
            written: written.and_then(|it| it.parse().ok()).unwrap_or(0),
        }
    }

    fn until_now(&self) -> Usage {
        let now = Usage::now();
        Usage {
            cpu: now.cpu.saturating_sub(self.cpu),
            written: now.written - self.written,
        }
    }
}

fn status(field: &str) -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default()
        .trim_start_matches(':')
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn median(latencies: &mut [Duration]) -> f64 {
    latencies.sort_unstable();
    latencies[latencies.len() / 2].as_secs_f64() * 1e6
}

const TIME: Duration = Duration::from_secs(2);
