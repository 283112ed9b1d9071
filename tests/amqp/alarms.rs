//! Limits of memory and disk at run time (RabbitMQ: `set_vm_memory_high_watermark`,
//! `set_disk_free_limit`), and what is told about them.

use leveret::config::Watermark;
use leveret::protocol::order::Order;
use leveret::wire::amqp::Method;

use crate::support::{RawClient, TestBroker, eventually};

fn expect_blocked(client: &mut RawClient, reason: &str) {
    let received = client.expect_on(0, "connection.blocked");
    let Method::ConnectionBlocked(blocked) = received.method() else {
        unreachable!("expect_on checked it");
    };
    assert_eq!(String::from_utf8_lossy(blocked.reason), reason);
}

#[test]
fn the_memory_watermark_changes_at_run_time() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.declare_queue("q");
    let before = broker.resources();
    assert_eq!(before.memory_watermark, Watermark::Relative(0.6));
    assert!(!before.memory_alarm && !before.disk_alarm);
    assert!(before.measured.memory_used.unwrap() < before.memory_limit.unwrap());
    assert_eq!(before.disk_free_limit, None);

    broker.obey(Order::SetVmMemoryHighWatermark(Watermark::Absolute(1)));
    let alarmed = broker.resources();
    assert!(alarmed.memory_alarm && !alarmed.disk_alarm);
    assert_eq!(alarmed.memory_limit, Some(1));
    client.publish("", "q", "m");
    expect_blocked(&mut client, "low on memory");

    broker.obey(Order::SetVmMemoryHighWatermark(Watermark::Relative(0.6)));
    client.expect_on(0, "connection.unblocked");
    assert_eq!(client.drain("q"), ["m"]);
    assert_eq!(broker.resources().memory_limit, before.memory_limit);
}

#[test]
fn an_impossible_disk_limit_blocks_until_it_is_lowered() {
    let directory = tempfile::tempdir().unwrap();
    let broker = TestBroker::with(|config| {
        config.data_dir = Some(directory.path().join("data"));
        config.watermarks.disk_free = Watermark::Absolute(u64::MAX);
    });
    let mut client = broker.connect();
    client.declare_queue("q");
    assert!(broker.resources().disk_alarm);
    client.publish("", "q", "m");
    expect_blocked(&mut client, "low on disk");
    broker.obey(Order::SetVmMemoryHighWatermark(Watermark::Relative(0.0)));
    let mut other = broker.connect();
    other.publish("", "q", "n");
    expect_blocked(&mut other, "low on disk & memory");
    broker.obey(Order::SetDiskFreeLimit(Watermark::Absolute(0)));
    assert!(!broker.resources().disk_alarm);
    broker.obey(Order::SetVmMemoryHighWatermark(Watermark::Relative(0.6)));
    client.expect_on(0, "connection.unblocked");
    other.expect_on(0, "connection.unblocked");
    eventually("both messages", || client.counts("q").0 == 2);
    broker.stop();
}

#[test]
fn who_asks_has_it_measured_again() {
    let broker = TestBroker::start();
    let used = || broker.resources().measured.memory_used.unwrap();
    let before = used();
    let ballast = vec![1_u8; 256 << 20];
    eventually("more memory is used", || used() > before + (128 << 20));
    drop(ballast);
}
