//! Ordered message groups (`x-group-key`) over a restart.

use leveret::wire::amqp::{Properties, TableBuilder, basic, queue};

use crate::load::{MARKERS, declare_queue};
use crate::program::Home;
use crate::support::{RawClient, eventually};
use crate::verify::wait_until_stored;

fn declare(client: &mut RawClient, retry_ms: Option<i32>) {
    let mut arguments = TableBuilder::new();
    arguments.put("x-group-key", "customer");
    if let Some(retry_ms) = retry_ms {
        arguments.put("x-delayed-retry-type", "all");
        arguments.put("x-delayed-retry-min", retry_ms);
    }
    client.call(queue::Declare {
        queue: b"q",
        durable: true,
        arguments: arguments.view(),
        ..Default::default()
    });
}

/// Bodies such as `a1`: the first letter is the customer.
fn fill(client: &mut RawClient, bodies: &[&str]) {
    declare_queue(client, MARKERS);
    for body in bodies {
        let mut headers = TableBuilder::new();
        headers.put("customer", &body[..1]);
        let properties = Properties {
            delivery_mode: Some(2),
            headers: Some(headers.view()),
            ..Properties::default()
        };
        client.publish_with("", "q", &properties, body);
    }
    wait_until_stored(client);
}

/// As `body` or, if it is flagged redelivered, `body!`.
fn get(client: &mut RawClient) -> Option<(String, u64)> {
    let delivery = client.get("q")?;
    let flag = if delivery.redelivered { "!" } else { "" };
    Some((format!("{}{flag}", delivery.text()), delivery.delivery_tag))
}

#[test]
fn groups_go_on_in_order_after_a_stop_and_after_a_kill() {
    let home = Home::new();
    let mut program = home.start();
    let mut client = program.connect();
    declare(&mut client, None);
    fill(&mut client, &["a1", "a2", "b1", "a3", "b2"]);
    for is_killed in [false, true] {
        // All of it stands aside but what is out.
        let (a1, _) = get(&mut client).unwrap();
        assert!(a1.starts_with("a1"));
        assert!(get(&mut client).unwrap().0.starts_with("b1"));
        assert_eq!(get(&mut client), None);
        match is_killed {
            true => program.kill(),
            false => program.stop(),
        }
        program = home.start();
        client = program.connect();
        assert_eq!(client.counts("q").0, 5);
    }
    for expected in ["a1", "a2", "a3"] {
        let mut both = [get(&mut client).unwrap(), get(&mut client).unwrap()];
        assert_eq!(get(&mut client), None, "both groups are busy");
        both.sort();
        let [(a, a_tag), (b, b_tag)] = both;
        assert!(a.starts_with(expected) && b.starts_with("b1"), "{a} {b}");
        client.ack(a_tag);
        client.requeue(b_tag);
    }
    let (b1, tag) = get(&mut client).unwrap();
    assert_eq!((&*b1, get(&mut client)), ("b1!", None));
    client.ack(tag);
    assert!(get(&mut client).unwrap().0.starts_with("b2"));
}

#[test]
fn a_group_waits_for_a_retry_that_was_due_before_the_stop() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    declare(&mut client, Some(5_000));
    fill(&mut client, &["a1", "a2", "b1"]);
    let (_, tag) = get(&mut client).unwrap();
    client.requeue(tag);
    client.close();
    program.stop();
    let program = home.start();
    let mut client = program.connect();
    let (b1, _) = get(&mut client).unwrap();
    assert!(b1.starts_with("b1"), "a1 waits, and a2 with it: {b1}");
    assert_eq!(get(&mut client), None);
    let mut came = None;
    eventually("the retry is due", || {
        came = get(&mut client);
        came.is_some()
    });
    let (a1, tag) = came.unwrap();
    assert!(a1.starts_with("a1"), "{a1}");
    assert_eq!(get(&mut client), None);
    client.send(&basic::Ack {
        delivery_tag: tag,
        multiple: false,
    });
    assert!(get(&mut client).unwrap().0.starts_with("a2"));
}
