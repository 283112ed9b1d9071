//! A broker that is asked to stop: what comes back is exactly what was there.

use leveret::wire::amqp::{EncodeMethod, Properties, TableBuilder, basic, exchange, queue};

use crate::bulk::publish_many;
use crate::load::{MARKERS, declare_exchange, declare_queue};
use crate::program::{Home, Program};
use crate::support::{HttpClient, RawClient, publish_to};
use crate::verify::wait_until_stored;

pub fn publish_persistent(client: &mut RawClient, exchange: &str, routing_key: &str, body: &str) {
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    client.publish_with(exchange, routing_key, &properties, body);
}

/// Publishes these persistent messages to a durable queue, which is declared, and waits until they are
/// stored.
pub fn fill(program: &Program, name: &str, bodies: impl IntoIterator<Item = String>) {
    let mut client = program.connect();
    declare_queue(&mut client, name);
    declare_queue(&mut client, MARKERS);
    for body in bodies {
        publish_persistent(&mut client, "", name, &body);
    }
    wait_until_stored(&mut client);
    client.close();
}

/// All messages of a queue, as `body` or, if it is flagged redelivered, `body!`.
fn take_flagged(client: &mut RawClient, name: &str) -> Vec<String> {
    let mut taken = Vec::new();
    while let Some(delivery) = client.get_as(name, true) {
        let flag = if delivery.redelivered { "!" } else { "" };
        taken.push(format!("{}{flag}", delivery.text()));
    }
    taken
}

pub fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| n.to_string())
}

/// A durable queue with so many small persistent messages that it takes a while to free them.
fn fill_deep(client: &mut RawClient, name: &str) {
    declare_queue(client, name);
    declare_queue(client, MARKERS);
    publish_many(&client.stream, name, 0..100_000, 8, true);
    wait_until_stored(client);
}

#[test]
fn what_was_purged_stays_away_however_soon_the_broker_stops() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    fill_deep(&mut client, "q");
    // Whoever does not wait for the answer does not wait for the messages to be freed either.
    client.send(&queue::Purge {
        queue: b"q",
        no_wait: true,
        ..Default::default()
    });
    client.settle();
    program.stop_at_once();
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (0, 0));
}

#[test]
fn what_was_purged_stays_away_after_a_kill_once_that_is_answered() {
    let home = Home::new();
    let mut program = home.start();
    for by_http in [false, true] {
        let mut client = program.connect();
        fill_deep(&mut client, "q");
        let held = client.get("q").unwrap().body;
        if by_http {
            let http = HttpClient::new(program.http.unwrap());
            let reply = http.delete("/queues/%2F/q/contents");
            assert_eq!(reply.status, 204);
        } else {
            client.call(queue::Purge {
                queue: b"q",
                ..Default::default()
            });
        }
        program.kill();
        program = home.start();
        let mut client = program.connect();
        let found = client.get_as("q", true).unwrap();
        assert!(found.redelivered && found.body == held);
        assert_eq!(client.counts("q"), (0, 0));
    }
}

#[test]
fn what_was_delivered_and_not_acked_is_flagged_and_nothing_else() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(10));
    let mut client = program.connect();
    for _ in 0..6 {
        client.get("q").unwrap();
    }
    client.ack(2);
    client.ack(4);
    client.requeue(3);
    client.settle();
    // 0 and 4 and 5 are out when it stops, 2 went back by hand, and two others are done with.
    program.stop();
    let program = home.start();
    let mut client = program.connect();
    assert_eq!(client.counts("q"), (8, 0));
    let expected = ["0!", "2!", "4!", "5!", "6", "7", "8", "9"];
    assert_eq!(take_flagged(&mut client, "q"), expected);
}

#[test]
fn flags_last_over_many_stops() {
    let home = Home::new();
    let mut program = home.start();
    fill(&program, "q", numbered(300));
    for round in 0..4 {
        let mut client = program.connect();
        // One more is seen each time, and all but it were seen before.
        for n in 0..=round {
            assert_eq!(client.get("q").unwrap().redelivered, n < round);
        }
        program.stop_at_once();
        program = home.start();
    }
    let flags = take_flagged(&mut program.connect(), "q");
    assert_eq!(flags[..5], ["0!", "1!", "2!", "3!", "4"]);
    assert_eq!(flags.len(), 300);
    assert!(flags[4..].iter().all(|text| !text.ends_with('!')));
}

#[test]
fn messages_to_several_queues_keep_a_flag_for_each() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, MARKERS);
    declare_exchange(&mut client, "x", "fanout");
    for name in ["a", "b", "c"] {
        declare_queue(&mut client, name);
        client.bind_queue(name, "x", "");
    }
    for n in 0..4 {
        publish_persistent(&mut client, "x", "", &n.to_string());
    }
    assert_eq!(client.drain("a"), ["0", "1", "2", "3"]);
    client.get("b").unwrap();
    client.settle();
    program.stop_at_once();
    let program = home.start();
    let mut client = program.connect();
    assert_eq!(take_flagged(&mut client, "a"), [""; 0]);
    assert_eq!(take_flagged(&mut client, "b"), ["0!", "1", "2", "3"]);
    assert_eq!(take_flagged(&mut client, "c"), ["0", "1", "2", "3"]);
}

#[test]
fn transient_messages_go_and_counts_are_exact() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    declare_queue(&mut client, MARKERS);
    declare_queue(&mut client, "durable");
    client.declare_queue("transient");
    for n in 0..100 {
        let body = n.to_string();
        match n % 3 {
            0 => publish_persistent(&mut client, "", "durable", &body),
            1 => client.publish("", "durable", body),
            _ => publish_persistent(&mut client, "", "transient", &body),
        }
    }
    wait_until_stored(&mut client);
    assert_eq!(client.counts("durable"), (67, 0));
    program.stop_at_once();
    let program = home.start();
    let mut client = program.connect();
    assert_eq!(client.counts("durable"), (34, 0));
    let expected: Vec<_> = (0..100).step_by(3).map(|n| n.to_string()).collect();
    assert_eq!(client.drain("durable"), expected);
    expect_absent(&mut client, "transient");
}

#[test]
fn publishing_over_many_stops_keeps_the_order() {
    let home = Home::new();
    for round in 0..5 {
        let program = home.start();
        fill(&program, "q", (0..10).map(|n| (10 * round + n).to_string()));
        program.stop_at_once();
    }
    // And a few without anything to do.
    for _ in 0..3 {
        home.start().stop();
    }
    let program = home.start();
    let mut client = program.connect();
    let bodies = client.drain("q");
    assert_eq!(bodies, numbered(50).collect::<Vec<_>>());
    wait_until_stored(&mut client);
    program.kill();
    let program = home.start();
    assert_eq!(program.connect().counts("q"), (0, 0));
}

#[test]
fn an_exclusive_queue_goes_with_its_connection_however_that_ends() {
    for stopped in [true, false] {
        let home = Home::new();
        let program = home.start();
        let mut client = program.connect();
        client.call(queue::Declare {
            queue: b"mine",
            durable: true,
            exclusive: true,
            ..Default::default()
        });
        declare_queue(&mut client, MARKERS);
        publish_persistent(&mut client, "", "mine", "lost");
        wait_until_stored(&mut client);
        if stopped {
            program.stop_at_once();
        } else {
            program.kill();
        }
        let program = home.start();
        expect_absent(&mut program.connect(), "mine");
    }
}

#[test]
fn an_auto_delete_queue_stays_until_its_last_consumer_goes() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    for name in ["unused", "used"] {
        client.call(queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            auto_delete: true,
            ..Default::default()
        });
    }
    declare_queue(&mut client, MARKERS);
    publish_persistent(&mut client, "", "unused", "kept");
    client.consume("used", "tag");
    client.cancel("tag");
    wait_until_stored(&mut client);
    program.kill();
    let program = home.start();
    let mut client = program.connect();
    expect_absent(&mut client, "used");
    assert_eq!(client.drain("unused"), ["kept"]);
    client.consume("unused", "tag");
    client.cancel("tag");
    expect_absent(&mut client, "unused");
}

#[test]
fn all_kinds_of_definitions_come_back_and_deleted_ones_do_not() {
    let home = Home::new();
    let program = home.start();
    let mut client = program.connect();
    for kind in ["direct", "fanout", "topic", "headers"] {
        declare_exchange(&mut client, kind, kind);
        declare_exchange(&mut client, &format!("{kind}-deleted"), kind);
        client.call(exchange::Delete {
            exchange: format!("{kind}-deleted").as_bytes(),
            ..Default::default()
        });
    }
    declare_queue(&mut client, "q");
    client.bind_queue("q", "topic", "a.#");
    client.bind_queue("q", "topic", "gone.#");
    client.call(queue::Unbind {
        queue: b"q",
        exchange: b"topic",
        routing_key: b"gone.#",
        ..Default::default()
    });
    // From one exchange to the next, and what finds no way to an alternate.
    client.bind_exchange("topic", "direct", "a.b");
    let mut alternate = TableBuilder::new();
    alternate.put("alternate-exchange", "fanout");
    client.call(exchange::Declare {
        exchange: b"strict",
        kind: b"direct",
        durable: true,
        arguments: alternate.view(),
        ..Default::default()
    });
    client.bind_queue("q", "fanout", "");
    let mut wanted = TableBuilder::new();
    wanted.put("x-match", "all");
    wanted.put("colour", "red");
    client.call(queue::Bind {
        queue: b"q",
        exchange: b"headers",
        arguments: wanted.view(),
        ..Default::default()
    });
    // A durable definition is stored when it is answered, so nothing has to be waited for.
    program.kill();
    let program = home.start();
    check_definitions(&mut program.connect());
    program.stop_at_once();
    let program = home.start();
    check_definitions(&mut program.connect());
}

fn check_definitions(client: &mut RawClient) {
    let mut red = TableBuilder::new();
    red.put("colour", "red");
    let mut properties = Vec::new();
    Properties {
        headers: Some(red.view()),
        ..Properties::default()
    }
    .encode(&mut properties);
    client.publish("topic", "a.x", "by topic");
    client.publish("topic", "gone.x", "nowhere");
    client.publish("direct", "a.b", "over two exchanges");
    client.publish("strict", "no such key", "by the alternate");
    client.publish_content(&publish_to("headers", ""), &properties, "by headers");
    client.publish("headers", "", "nowhere");
    let expected = [
        "by topic",
        "over two exchanges",
        "by the alternate",
        "by headers",
    ];
    assert_eq!(client.drain("q"), expected);
    for kind in ["direct", "fanout", "topic", "headers"] {
        let name = format!("{kind}-deleted");
        let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
        let passive = exchange::Declare {
            exchange: name.as_bytes(),
            passive: true,
            ..Default::default()
        };
        expect_404(client, &passive, &text);
    }
}

#[test]
fn an_ack_is_stored_soon_though_nobody_waits_for_it() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(1000));
    let mut client = program.connect();
    for _ in 0..500 {
        client.get("q").unwrap();
    }
    client.send(&basic::Ack {
        delivery_tag: 500,
        multiple: true,
    });
    client.settle();
    // Ten times what it may take.
    std::thread::sleep(std::time::Duration::from_secs(1));
    program.kill();
    let program = home.start();
    let mut client = program.connect();
    assert_eq!(client.counts("q"), (500, 0));
    assert_eq!(client.get("q").unwrap().text(), "500");
}

#[test]
fn a_purged_and_a_deleted_queue_stay_empty() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "purged", numbered(1000));
    fill(&program, "deleted", numbered(1000));
    let mut client = program.connect();
    // One of each is out, and what becomes of it is not the queue's business.
    client.get("purged").unwrap();
    client.get("deleted").unwrap();
    client.call(queue::Purge {
        queue: b"purged",
        ..Default::default()
    });
    client.call(queue::Delete {
        queue: b"deleted",
        ..Default::default()
    });
    declare_queue(&mut client, "deleted");
    wait_until_stored(&mut client);
    program.kill();
    let program = home.start();
    let mut client = program.connect();
    assert_eq!(take_flagged(&mut client, "purged"), ["0!"]);
    assert_eq!(client.drain("deleted"), [""; 0]);
}

fn expect_absent(client: &mut RawClient, name: &str) {
    let passive = queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..Default::default()
    };
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    expect_404(client, &passive, &text);
}

fn expect_404(client: &mut RawClient, method: &impl EncodeMethod, text: &str) {
    client.send(method);
    client.expect_channel_close(404, text);
    client.open_channel(1);
}

#[test]
fn a_transient_message_that_was_delivered_leaves_nothing_behind() {
    let home = Home::new();
    let program = home.start();
    fill(&program, "q", numbered(3));
    let mut client = program.connect();
    for n in 0..100 {
        client.publish("", "q", format!("transient {n}"));
    }
    for _ in 0..103 {
        client.get("q").unwrap();
    }
    program.stop_at_once();
    let program = home.start();
    // New messages may get the ids of those that are gone.
    fill(&program, "other", numbered(200));
    let mut client = program.connect();
    assert_eq!(client.counts("q"), (3, 0));
    assert_eq!(take_flagged(&mut client, "q"), ["0!", "1!", "2!"]);
    assert_eq!(client.drain("other"), numbered(200).collect::<Vec<_>>());
}
