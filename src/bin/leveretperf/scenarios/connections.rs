//! Connections, opened one after the other and then idle: what each costs.
//!
//! Each is logged in and opened (connection.open-ok), without a channel. The relay
//! accepts, and passes one message through each pair of connections.

use std::io::Write;
use std::time::{Duration, Instant};

use super::path::open_relayed;
use crate::client::connection::Connection;
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result};
use crate::client::ledger::Ledger;
use crate::load::Load;
use crate::outcome::{Outcome, cost_figures, growth_figure};
use crate::process::{self, Mark, Span};
use crate::progress::Progress;
use crate::target::{Kind, Target};

pub fn run(target: &Target, load: &Load, mut progress: Progress) -> Result<Outcome> {
    leveret::server::raise_file_limit();
    let count = load.count.unwrap_or(COUNT);
    let resident = || target.pid.and_then(process::resident_bytes);
    let resident_before = resident();
    let from = Mark::now(target.pid, 0);
    let mut connections = Vec::with_capacity(count as usize);
    while (connections.len() as u64) < count {
        match target.kind {
            Kind::Broker => connections.push(Connection::open_idle(&target.endpoint)?),
            Kind::Relay => connections.extend(open_pair(target, load)?),
        }
        progress.tell(Instant::now(), connections.len() as u64);
    }
    // What brokers do behind a connection that has just opened (statistics, buffers given back)
    // belongs to its cost; nothing tells when it is over.
    let opened_at = Instant::now();
    std::thread::sleep(SETTLE);
    let mut to = Mark::now(target.pid, count);
    to.at = opened_at;
    let resident_after = resident();
    let mut figures = cost_figures(target, "connections/s", Span { from, to });
    figures.push(growth_figure(resident_before, resident_after, count));
    for connection in connections {
        connection.close()?;
    }
    Ok(Outcome::new(figures))
}

/// A pair of connections, known to be accepted because a message went through: without that, the
/// listener's queue would overflow.
fn open_pair(target: &Target, load: &Load) -> Result<[Connection; 2]> {
    let (mut publisher, consumer, mut message) = open_relayed(target, load, 1)?;
    message.set_sequence(0);
    publisher.stream.write_all(&message.bytes)?;
    let mut ledger = Ledger::by_queue(1, 1);
    let mut consumer = Consumer::new(consumer, 0, None);
    while ledger.received == 0 {
        if !consumer.read_some(&mut ledger, |_| {})? {
            return Err(Failure::new("stalled"));
        }
    }
    Ok([publisher, consumer.connection])
}

const COUNT: u64 = 1000;
const SETTLE: Duration = Duration::from_millis(500);
