//! A deep queue of small persistent messages: filled with confirms, over two restarts, and drained.
//!
//! What a broker needs beside the disk for a backlog, how soon it is back with one, and whether all of it
//! is still there, in order: a message lost or out of order fails the run. Peers are not restarted.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::connection::Connection;
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result};
use crate::client::ledger::Ledger;
use crate::options::Options;
use crate::outcome::Figure;
use crate::process::{self, Mark, Span};
use crate::producers::Producers;
use crate::report::Report;
use crate::setup;
use crate::storage::{Storage, disk_use};
use crate::target::Target;

/// Measures leveret, then every peer, and prints the table.
pub fn measure(options: &Options, count: u64) -> Result<()> {
    let storage = options.storage()?;
    let peers = options.peers()?;
    let names = [LEVERET.to_owned()].into_iter();
    let names = names.chain(peers.iter().map(|peer| peer.name.clone()));
    let mut report = Report::new(names.collect());
    eprintln!(
        "{count} messages of {BODY_SIZE} bytes; data in {}",
        storage.path().display()
    );
    report.add("start", 0, &[empty_starts(&storage)?]);
    report.add("deep", 0, &restarted(&storage.path().join("data"), count)?);
    for (index, peer) in peers.iter().enumerate() {
        let mut figures = fill(peer, count, QUEUE)?;
        figures.extend(drain(peer, count, QUEUE)?);
        report.add("deep", index + 1, &figures);
    }
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// From the start of the process to its word that it is ready, in a directory that is not there yet.
fn empty_starts(storage: &Storage) -> Result<Figure> {
    let mut times = Vec::new();
    for number in 0..EMPTY_STARTS {
        let directory = storage.path().join(format!("empty-{number}"));
        let (target, ready_ms) = start(&directory)?;
        times.push(ready_ms);
        target.end(Signal::TERM)?;
        std::fs::remove_dir_all(&directory)?;
    }
    times.sort_by(f64::total_cmp);
    Ok(Figure::new(
        "empty, median ms",
        Some(times[EMPTY_STARTS / 2]),
    ))
}

fn restarted(directory: &Path, count: u64) -> Result<Vec<Figure>> {
    let (target, _) = start(directory)?;
    let mut figures = fill(&target, count, QUEUE)?;
    let used = |name| -> Result<Figure> {
        let bytes = disk_use(directory)? as f64;
        Ok(Figure::new(name, Some(bytes / MIB)))
    };
    figures.push(used("disk MiB, filled")?);
    let stop_ms = milliseconds(target.end(Signal::TERM)?);
    figures.push(Figure::new("SIGTERM to end ms", Some(stop_ms)));
    let (target, ready_ms) = start(directory)?;
    figures.push(Figure::new("ready after TERM ms", Some(ready_ms)));
    figures.push(resident("MiB when ready", &target));
    target.end(Signal::KILL)?;
    let (target, ready_ms) = start(directory)?;
    figures.push(Figure::new("ready after KILL ms", Some(ready_ms)));
    figures.extend(drain(&target, count, QUEUE)?);
    std::thread::sleep(SETTLE);
    figures.push(used("disk MiB, drained")?);
    figures.push(resident("MiB, drained", &target));
    target.end(Signal::TERM)?;
    Ok(figures)
}

/// Publishes with confirms into a queue that nobody reads.
fn fill(target: &Target, count: u64, queue: &str) -> Result<Vec<Figure>> {
    let mut owner = Connection::open(&target.endpoint)?;
    setup::declare_durable_queue(&mut owner, queue)?;
    let connection = setup::open_publishing(&target.endpoint, 1)?;
    let message = setup::persistent(1, queue, BODY_SIZE);
    let mut producers = Producers::new(connection, vec![message], WINDOW)?;
    let from = Mark::now(target.pid, 0);
    while producers.confirmed < count {
        // Both block: there is always something to write or a confirm to come.
        let room = count - producers.published;
        if !producers.write_some(room)? && !producers.read_some()? {
            return Err(Failure::new(format!(
                "stalled: {} of {} confirmed",
                producers.confirmed, producers.published
            )));
        }
    }
    let to = Mark::now(target.pid, count);
    let held = owner.count_messages(queue)?;
    if held != count {
        return Err(Failure::new(format!(
            "the queue holds {held} messages, not {count}"
        )));
    }
    let span = Span { from, to };
    producers.connection.close()?;
    owner.close()?;
    let peak = target.pid.and_then(setup::resident_peak_bytes);
    Ok(vec![
        Figure::new("filled/s", Some(span.rate())),
        Figure::new("fill CPU us each", span.broker_cpu()),
        Figure::new("MiB peak, filling", peak.map(|bytes| bytes as f64 / MIB)),
        resident("MiB, filled", target),
    ])
}

/// Consumes and acknowledges everything, and deletes the queue.
fn drain(target: &Target, count: u64, queue: &str) -> Result<Vec<Figure>> {
    let mut connection = Connection::open(&target.endpoint)?;
    connection.set_prefetch(PREFETCH)?;
    let from = Mark::now(target.pid, 0);
    connection.consume(queue, 0, false)?;
    let mut consumer = Consumer::new(connection, 0, Some(ACK_EVERY));
    let mut ledger = Ledger::by_queue(1, 1);
    while ledger.received < count {
        if !consumer.read_some(&mut ledger, |_| {})? {
            return Err(Failure::new(format!(
                "stalled: {} of {count} drained",
                ledger.received
            )));
        }
    }
    let to = Mark::now(target.pid, count);
    let span = Span { from, to };
    let peak = target.pid.and_then(setup::resident_peak_bytes);
    let draining = resident("MiB, draining", target);
    setup::delete_queue(&mut consumer.connection, queue)?;
    consumer.connection.close()?;
    Ok(vec![
        Figure::new("drained/s", Some(span.rate())),
        Figure::new("drain CPU us each", span.broker_cpu()),
        Figure::new("MiB peak, draining", peak.map(|bytes| bytes as f64 / MIB)),
        draining,
    ])
}

fn start(directory: &Path) -> Result<(Target, f64)> {
    let start = Instant::now();
    let target = Target::start_leveret(directory)?;
    Ok((target, milliseconds(start.elapsed())))
}

fn resident(name: &'static str, target: &Target) -> Figure {
    let bytes = target.pid.and_then(process::resident_bytes);
    Figure::new(name, bytes.map(|bytes| bytes as f64 / MIB))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

const LEVERET: &str = "leveret";
const QUEUE: &str = "deep";
const BODY_SIZE: usize = 100;
/// Messages published and not confirmed, at most.
const WINDOW: u64 = 4096;
const PREFETCH: u16 = 1000;
const ACK_EVERY: u64 = 100;
const EMPTY_STARTS: usize = 20;
/// Space is given back in the background.
const SETTLE: Duration = Duration::from_secs(1);
const MIB: f64 = 1_048_576.0;
