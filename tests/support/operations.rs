//! What each operation needs a right for: the table that permissions are held against, wherever they were
//! set.

use leveret::wire::amqp::{Method, Table, TableBuilder, Value, basic, exchange, queue};

/// An operation on what is not called `l.` something.
#[derive(Clone, Copy)]
pub struct Guarded<'a> {
    pub method: Method<'a>,
    /// The one that a user lacks who may do everything to `l.`, and nothing else.
    pub right: &'static str,
    /// What it is needed for: `queue 'pq'`.
    pub what: &'static str,
}

/// All of them, on the queues `pq`, `l.q` and the exchanges `px`, `l.x`, which are there, on `none`, which
/// is not, and on `l.q2` and `l.x2`, which are declared.
pub fn for_each_operation(mut check: impl FnMut(Guarded<'_>)) {
    let (mut dead, mut alternate) = (TableBuilder::new(), TableBuilder::new());
    let mortal = queue::Declare {
        arguments: with(&mut dead, "x-dead-letter-exchange", "px"),
        ..declare_queue("l.q2")
    };
    let alternating = exchange::Declare {
        arguments: with(&mut alternate, "alternate-exchange", "px"),
        ..declare_exchange("l.x2")
    };
    let (queue, exchange) = ("queue 'pq'", "exchange 'px'");
    let cases: [(Method<'_>, &str, &str); 19] = [
        (declare_queue("pq").into(), "configure", queue),
        (mortal.into(), "write", exchange),
        (declare_exchange("px").into(), "configure", exchange),
        (alternating.into(), "write", exchange),
        (delete_queue("pq").into(), "configure", queue),
        (delete_queue("none").into(), "configure", "queue 'none'"),
        (delete_exchange("px").into(), "configure", exchange),
        (purge("pq").into(), "read", queue),
        (get("pq").into(), "read", queue),
        (consume("pq").into(), "read", queue),
        (bind_queue("pq", "l.x").into(), "write", queue),
        (bind_queue("l.q", "px").into(), "read", exchange),
        (bind_queue("l.q", "none").into(), "read", "exchange 'none'"),
        (unbind_queue("pq", "l.x").into(), "write", queue),
        (unbind_queue("l.q", "px").into(), "read", exchange),
        (bind_exchange("px", "l.x").into(), "write", exchange),
        (bind_exchange("l.x", "px").into(), "read", exchange),
        (unbind_exchange("px", "l.x").into(), "write", exchange),
        (unbind_exchange("l.x", "px").into(), "read", exchange),
    ];
    for (method, right, what) in cases {
        check(Guarded {
            method,
            right,
            what,
        });
    }
}

/// A table with one text in it.
pub fn with<'a>(arguments: &'a mut TableBuilder, name: &str, target: &'static str) -> Table<'a> {
    arguments.put(name, Value::string(target));
    arguments.view()
}

pub fn declare_queue(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

pub fn declare_exchange(name: &str) -> exchange::Declare<'_> {
    exchange::Declare {
        exchange: name.as_bytes(),
        kind: b"direct",
        ..Default::default()
    }
}

pub fn delete_queue(name: &str) -> queue::Delete<'_> {
    queue::Delete {
        queue: name.as_bytes(),
        ..Default::default()
    }
}

pub fn delete_exchange(name: &str) -> exchange::Delete<'_> {
    exchange::Delete {
        exchange: name.as_bytes(),
        ..Default::default()
    }
}

fn purge(queue: &str) -> queue::Purge<'_> {
    queue::Purge {
        queue: queue.as_bytes(),
        ..Default::default()
    }
}

fn get(queue: &str) -> basic::Get<'_> {
    basic::Get {
        queue: queue.as_bytes(),
        ..Default::default()
    }
}

fn consume(queue: &str) -> basic::Consume<'_> {
    basic::Consume {
        queue: queue.as_bytes(),
        ..Default::default()
    }
}

pub fn bind_queue<'a>(queue: &'a str, exchange: &'a str) -> queue::Bind<'a> {
    queue::Bind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        ..Default::default()
    }
}

pub fn unbind_queue<'a>(queue: &'a str, exchange: &'a str) -> queue::Unbind<'a> {
    queue::Unbind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        ..Default::default()
    }
}

pub fn bind_exchange<'a>(destination: &'a str, source: &'a str) -> exchange::Bind<'a> {
    exchange::Bind {
        destination: destination.as_bytes(),
        source: source.as_bytes(),
        ..Default::default()
    }
}

pub fn unbind_exchange<'a>(destination: &'a str, source: &'a str) -> exchange::Unbind<'a> {
    exchange::Unbind {
        destination: destination.as_bytes(),
        source: source.as_bytes(),
        ..Default::default()
    }
}
