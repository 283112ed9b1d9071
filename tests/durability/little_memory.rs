//! Little memory: a flood of messages that nobody takes is kept on the disk or has to wait, the process
//! lives, and all that was confirmed is there.

use leveret::wire::amqp::Method;
use rustix::process::Signal;

use crate::bulk::{Confirmed, body_of, publish_many};
use crate::load::declare_queue;
use crate::program::Home;
use crate::support::eventually;

#[test]
fn a_flood_does_not_end_a_process_that_has_64_mib() {
    for persistent in [true, false] {
        for (count, size) in [(3000, 100_000), (100_000, 1000)] {
            let home = Home::new();
            let program = home.start_with_memory(MEMORY_KIB);
            let mut client = program.connect();
            declare_queue(&mut client, "q");
            client.confirm();
            let stream = client.stream.try_clone().unwrap();
            let publishing = std::thread::spawn(move || {
                publish_many(&stream, "q", 0..count, size, persistent);
            });
            let mut confirmed = 0;
            let mut most = 0;
            while confirmed < u64::from(count) {
                // It may be blocked for a while, and is told so.
                if let Method::BasicAck(ack) = client.receive().method() {
                    confirmed = ack.delivery_tag;
                }
                most = most.max(program.resident_bytes());
            }
            publishing.join().unwrap();
            println!("{count} of {size} bytes, {persistent}: {most} bytes resident at most");
            for n in 0..count {
                let delivery = client.get_as("q", true).unwrap();
                assert!(delivery.body == body_of(n, size), "{n} is another");
            }
            client.close();
            program.stop();
        }
    }
}

#[test]
fn publishers_wait_under_the_memory_alarm_and_consumers_do_not() {
    let home = Home::new();
    home.configure("");
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, "q");
    let mut publisher = Confirmed::start(program.connect(), "q", 1000);
    publisher.run_until_confirmed(1000);
    home.configure("vm_memory_high_watermark.absolute = 1\n");
    program.signal(Signal::HUP);
    let reason = publisher.run_until_blocked();
    assert_eq!(reason.as_deref(), Some("low on memory"));
    let before = publisher.confirmed();
    for n in 0..1000 {
        assert!(client.get_as("q", true).unwrap().body == body_of(n, 1000));
    }
    home.configure("");
    program.signal(Signal::HUP);
    publisher.run_until_unblocked();
    publisher.run_until_confirmed(before + 1000);
    let confirmed = publisher.confirmed();
    drop(publisher);
    for n in 1000..confirmed {
        assert!(client.get_as("q", true).unwrap().body == body_of(n, 1000));
    }
    let node = "on node rabbit@localhost";
    for line in [
        format!("memory resource limit alarm set {node}."),
        "*** Publishers will be blocked until this alarm clears ***".to_owned(),
        format!("memory resource limit alarm cleared {node}"),
    ] {
        eventually(&line, || home.log().contains(&line));
    }
}

/// Of address space, which is more than what is resident.
const MEMORY_KIB: u32 = 64 << 10;
