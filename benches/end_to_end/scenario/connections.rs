//! A thousand connections, opened one after the other and then idle: what each costs.
//!
//! Each is logged in and opened (connection.open-ok), without a channel. The relay
//! accepts, and passes one message through each pair of connections.

use std::io::Write;
use std::time::Duration;

use super::{Path, cost_figures, growth_figure};
use crate::connection::Connection;
use crate::consumer::Consumer;
use crate::failure::{Failure, Result};
use crate::process::{self, Mark, Span};
use crate::report::Figure;
use crate::target::{Kind, Target};

pub fn run(target: &Target) -> Result<Vec<Figure>> {
    let resident = || target.pid.and_then(process::resident_bytes);
    let resident_before = resident();
    let from = Mark::now(target.pid, 0);
    let mut connections = Vec::with_capacity(COUNT as usize);
    while connections.len() < COUNT as usize {
        match target.kind {
            Kind::Broker => connections.push(Connection::open_idle(target.address)?),
            Kind::Relay => connections.extend(open_relayed(target)?),
        }
    }
    // What brokers do behind a connection that has just opened (statistics, buffers given back)
    // belongs to its cost; nothing tells when it is over.
    let opened_at = std::time::Instant::now();
    std::thread::sleep(SETTLE);
    let mut to = Mark::now(target.pid, COUNT);
    to.at = opened_at;
    let resident_after = resident();
    let mut figures = cost_figures(target, "connections/s", Span { from, to });
    figures.push(growth_figure(resident_before, resident_after, COUNT));
    for connection in connections {
        connection.close()?;
    }
    Ok(figures)
}

/// A pair of connections, known to be accepted because a message went through: without that, the
/// listener's queue would overflow.
fn open_relayed(target: &Target) -> Result<[Connection; 2]> {
    let mut path = Path::through_relay(target, super::ONE_QUEUE)?;
    path.message.set_sequence(0);
    path.publisher.stream.write_all(&path.message.bytes)?;
    let mut consumer = Consumer::new(path.consumer, 1, 1, None);
    while consumer.received == 0 {
        if !consumer.read_some(|_| {})? {
            return Err(Failure::new("stalled"));
        }
    }
    Ok([path.publisher, consumer.connection])
}

const COUNT: u64 = 1000;
const SETTLE: Duration = Duration::from_millis(300);
