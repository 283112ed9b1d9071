//! What it does to a stream that others use the broker, too: latency at a steady rate, alone and beside them, in turns.
//!
//! - bulk: large messages from one connection to another, 500 MB of them a second, or as many as go;
//! - storm: a client that connects and goes, over and over;
//! - deaf: a consumer that reads nothing, and a publisher that goes on;
//! - purge: a queue of `--messages` is purged in the middle of the turn.

use std::io::{ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::company::{self, Company, Stage, median};
use super::fresh_name;
use crate::client::connection::{Connection, Life};
use crate::client::failure::Result;
use crate::client::message::Publish;
use crate::client::wire::{self, CHANNEL, Method};
use crate::load::Load;
use crate::outcome::{Figure, Outcome};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay serves only two, hence no figures.
pub fn run(target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    let (bulk, purges) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let to_purge = load.messages.unwrap_or(PURGED);
    let companies = [
        Company::new(
            ["bulk p50 us", "bulk p99 us", "bulk p99 change %"],
            |stage| carry_bulk(target, stage, &bulk),
        ),
        Company::new(
            ["storm p50 us", "storm p99 us", "storm p99 change %"],
            |stage| storm(target, stage),
        ),
        Company::new(
            ["deaf p50 us", "deaf p99 us", "deaf p99 change %"],
            |stage| be_deaf(target, stage),
        ),
        Company::new(
            ["purge p50 us", "purge p99 us", "purge p99 change %"],
            |stage| purge(target, stage, to_purge, &purges),
        ),
    ];
    let of_stream = Load {
        messages: None,
        ..load.clone()
    };
    let mut figures = company::take_turns(target, &of_stream, &companies, ROUNDS, progress)?;
    drop(companies);
    for (name, values) in [("bulk MB/s", bulk), ("purge ms", purges)] {
        let values = values.into_inner().unwrap_or_default();
        figures.push(Figure::new(name, median(&values)));
    }
    Ok(Outcome::new(figures))
}

/// A stream of large messages. What arrives is counted and not looked at.
fn carry_bulk(target: &Target, stage: &Stage, rates: &Mutex<Vec<f64>>) -> Result<()> {
    let queue = fresh_name();
    let mut consumer = Connection::open(&target.endpoint)?;
    consumer.declare_queue(&queue, Life::Exclusive)?;
    consumer.consume(&queue, 0, true)?;
    let mut publisher = Connection::open(&target.endpoint)?;
    let message = Publish {
        routing_key: &queue,
        body_size: BULK_SIZE,
        frame_max: publisher.frame_max,
        ..Publish::default()
    };
    let message = message.message().bytes;
    let received = AtomicU64::new(0);
    let began = Instant::now();
    stage.begin();
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_over(&consumer, stage, &received));
        let mut sent = 0.0;
        while !stage.is_over() {
            while sent < began.elapsed().as_secs_f64() * BULK_RATE && !stage.is_over() {
                publisher.stream.write_all(&message)?;
                sent += BULK_SIZE as f64;
            }
            thread::sleep(PACE);
        }
        reading.join().expect("the reader does not panic")
    })?;
    let rate = received.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64() / 1e6;
    if let Ok(mut rates) = rates.lock() {
        rates.push(rate);
    }
    Ok(())
}

fn read_over(consumer: &Connection, stage: &Stage, received: &AtomicU64) -> Result<()> {
    let mut stream = &consumer.stream;
    stream.set_read_timeout(Some(LOOK_AGAIN))?;
    let mut piece = vec![0; 256 << 10];
    while !stage.is_over() {
        match stream.read(&mut piece) {
            Ok(count) => received.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

fn storm(target: &Target, stage: &Stage) -> Result<()> {
    stage.begin();
    while !stage.is_over() {
        Connection::open(&target.endpoint)?.close()?;
    }
    Ok(())
}

/// A thousand messages a second, for nobody.
fn be_deaf(target: &Target, stage: &Stage) -> Result<()> {
    let queue = fresh_name();
    let mut deaf = Connection::open(&target.endpoint)?;
    deaf.declare_queue(&queue, Life::Exclusive)?;
    deaf.consume(&queue, 0, true)?;
    let mut publisher = Connection::open(&target.endpoint)?;
    let message = Publish {
        routing_key: &queue,
        body_size: DEAF_SIZE,
        ..Publish::default()
    };
    let message = message.message().bytes;
    // More than sockets and outboxes hold.
    for _ in 0..DEAF_BYTES / DEAF_SIZE {
        publisher.stream.write_all(&message)?;
    }
    stage.begin();
    while !stage.is_over() {
        publisher.stream.write_all(&message)?;
        thread::sleep(PACE);
    }
    publisher.close()
}

fn purge(target: &Target, stage: &Stage, count: u64, took: &Mutex<Vec<f64>>) -> Result<()> {
    let queue = fresh_name();
    let mut connection = Connection::open(&target.endpoint)?;
    connection.declare_queue(&queue, Life::Exclusive)?;
    let message = Publish {
        routing_key: &queue,
        ..Publish::default()
    };
    let batch = message.message().bytes.repeat(BATCH as usize);
    for _ in 0..count.div_ceil(BATCH) {
        connection.stream.write_all(&batch)?;
    }
    connection.count_messages(&queue)?;
    stage.begin();
    thread::sleep(PURGE_AFTER);
    let asked = Instant::now();
    let purge = Method::new(wire::QUEUE_PURGE).u16(0).short(&queue).u8(0);
    connection.call(purge.frame(CHANNEL), wire::QUEUE_PURGE_OK)?;
    if let Ok(mut took) = took.lock() {
        took.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    while !stage.is_over() {
        thread::sleep(LOOK_AGAIN);
    }
    connection.close()
}

const ROUNDS: u64 = 5;
const BULK_SIZE: usize = 64 << 10;
/// Bytes a second.
const BULK_RATE: f64 = 500e6;
const PACE: Duration = Duration::from_millis(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const DEAF_SIZE: usize = 1024;
const DEAF_BYTES: usize = 16 << 20;
const PURGED: u64 = 1_000_000;
const BATCH: u64 = 1000;
/// When the stream runs, and is past its warm-up.
const PURGE_AFTER: Duration = Duration::from_millis(1500);
