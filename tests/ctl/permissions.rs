//! Every operation against every right, set by leveretctl and felt over AMQP.

use std::io::{Read, Write};

use leveret::wire::amqp::Method;

use super::served::ServedBroker;
use crate::support::RawClient;
use crate::support::operations::{
    declare_exchange, declare_queue, delete_exchange, delete_queue, for_each_operation,
};

const RIGHTS: [&str; 3] = ["configure", "write", "read"];

/// What each operation finds, whatever the ones before it did.
fn restore<S: Read + Write>(admin: &mut RawClient<S>) {
    for queue in ["pq", "l.q"] {
        admin.call(declare_queue(queue));
    }
    for exchange in ["px", "l.x"] {
        admin.call(declare_exchange(exchange));
    }
    admin.call(delete_queue("l.q2"));
    admin.call(delete_exchange("l.x2"));
}

fn refusal(right: &str, what: &str) -> String {
    format!("ACCESS_REFUSED - {right} access to {what} in vhost '/' refused for user 'u'")
}

/// Expects the operation to be let through: it is done, or what it is about is not there.
#[track_caller]
fn expect_through(client: &mut RawClient, method: Method<'_>, what: &str) {
    if what == "exchange 'none'" {
        let text = "NOT_FOUND - no exchange 'none' in vhost '/'";
        client.expect_refusal(method, 404, text);
    } else if matches!(method, Method::BasicGet(_)) {
        client.send(&method);
        client.expect("basic.get-empty");
    } else {
        client.call(method);
    }
}

/// The table for a user who has every right but this one, which is for `l.` alone; open connections
/// feel it with their next operation.
fn hold_against_the_table(broker: &ServedBroker, client: &mut RawClient, lacking: Option<&str>) {
    let pattern = |right| match Some(right) == lacking {
        true => "^l\\.",
        false => ".*",
    };
    let [configure, write, read] = RIGHTS.map(pattern);
    broker.does(&format!(
        "leveretctl set_permissions u '{configure}' '{write}' '{read}'"
    ));
    let mut admin = broker.guest();
    for_each_operation(|operation| {
        restore(&mut admin);
        match Some(operation.right) == lacking {
            true => {
                let text = refusal(operation.right, operation.what);
                client.expect_refusal(operation.method, 403, &text);
            }
            false => expect_through(client, operation.method, operation.what),
        }
        // Nobody consumes from a queue that the next one deletes.
        client.close_channel();
        client.open_channel(1);
    });
    restore(&mut admin);
    client.publish("px", "k", "m");
    match lacking {
        Some("write") => {
            let text = refusal("write", "exchange 'px'");
            client.expect_channel_close(403, &text);
            client.open_channel(1);
        }
        _ => client.close_and_open_channel(),
    }
    // Passive declarations need nothing.
    client.counts("pq");
}

#[test]
fn every_operation_needs_its_right_and_no_other() {
    let broker = ServedBroker::start();
    broker.does("leveretctl add_user u u");
    broker.does("leveretctl set_permissions u '' '' ''");
    let mut client = broker.client("u", "u", "/");
    for lacking in [Some("configure"), None, Some("write"), Some("read")] {
        hold_against_the_table(&broker, &mut client, lacking);
    }
}

#[test]
fn who_has_no_permissions_does_not_get_in_and_who_loses_them_does_nothing_more() {
    let broker = ServedBroker::start();
    broker.does("leveretctl add_user u u");
    broker.does("leveretctl set_permissions u '.*' '.*' '.*'");
    let mut client = broker.client("u", "u", "/");
    client.declare_queue("pq");
    broker.does("leveretctl clear_permissions u");
    let text = refusal("read", "queue 'pq'");
    client.expect_refusal(
        leveret::wire::amqp::basic::Get {
            queue: b"pq",
            ..Default::default()
        },
        403,
        &text,
    );
    let mut late = broker.stranger();
    late.begin_login(&crate::support::Login {
        response: b"\0u\0u",
        ..Default::default()
    });
    late.expect_on(0, "connection.tune");
    late.tune_and_open(&crate::support::Login::default());
    late.expect_connection_close(
        530,
        "NOT_ALLOWED - access to vhost '/' refused for user 'u'",
    );
}

#[test]
fn topic_permissions_are_felt_too() {
    let broker = ServedBroker::start();
    broker.does("leveretctl add_user u u");
    broker.does("leveretctl set_permissions u '.*' '.*' '.*'");
    let mut client = broker.client("u", "u", "/");
    client.declare_queue("q");
    broker.does("leveretctl set_topic_permissions u amq.topic '^{username}\\.' '^ok'");
    client.bind_queue("q", "amq.topic", "ok.#");
    client.publish("amq.topic", "u.x", "m");
    client.publish("amq.topic", "bad", "m");
    let text = refusal("write", "topic 'bad' in exchange 'amq.topic'");
    client.expect_channel_close(403, &text);
    client.open_channel(1);
    broker.does("leveretctl clear_topic_permissions u amq.topic");
    client.publish("amq.topic", "bad", "m");
    client.close_and_open_channel();
}

trait Reopen {
    fn close_and_open_channel(&mut self);
}

impl Reopen for RawClient {
    /// What was said before was taken without a fault.
    fn close_and_open_channel(&mut self) {
        self.close_channel();
        self.open_channel(1);
    }
}
