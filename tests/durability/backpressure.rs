//! A publisher that is faster than the disk: memory stays bounded, confirms keep coming, and others are
//! served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use leveret::wire::amqp::Method;

use crate::bulk::{body_of, publish_many};
use crate::load::declare_queue;
use crate::program::Home;
use crate::support::RawClient;

#[test]
fn a_queue_without_a_consumer_takes_a_gigabyte_in_little_memory() {
    take(10_000, 100_000);
}

#[test]
fn small_messages_without_a_consumer_take_little_memory() {
    take(200_000, 1000);
}

/// Publishes so many persistent messages with confirms, without waiting for any.
fn take(count: u32, size: usize) {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, "q");
    client.confirm();
    let stream = client.stream.try_clone().unwrap();
    let publishing = std::thread::spawn(move || {
        publish_many(&stream, "q", 0..count, size, true);
    });
    let is_done = Arc::new(AtomicBool::new(false));
    let other = std::thread::spawn({
        let (client, is_done) = (program.connect(), Arc::clone(&is_done));
        move || longest_round_trip(client, &is_done)
    });
    let mut most = 0;
    let mut confirmed = 0;
    while confirmed < u64::from(count) {
        let received = client.receive();
        if let Method::BasicAck(ack) = received.method() {
            confirmed = ack.delivery_tag;
        }
        most = most.max(program.resident_bytes());
    }
    publishing.join().unwrap();
    is_done.store(true, Ordering::Relaxed);
    let longest = other.join().unwrap();
    println!("{count} of {size} bytes: {most} bytes resident at most, others waited {longest:?}");
    assert!(most < RESIDENT_BYTES_MAX, "{most} bytes resident");
    assert!(
        longest < Duration::from_secs(2),
        "others waited {longest:?}"
    );
    assert_eq!(client.counts("q").0, count);
    let first = client.get_as("q", true).unwrap();
    assert!(first.body == body_of(0, size));
}

/// Gets and declares over and over.
fn longest_round_trip(mut client: RawClient, is_done: &AtomicBool) -> Duration {
    client.declare_queue("other");
    let mut longest = Duration::ZERO;
    while !is_done.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.declare_queue("other");
        assert!(client.get("other").is_none());
        longest = longest.max(started.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    longest
}

const RESIDENT_BYTES_MAX: usize = 200 << 20;
