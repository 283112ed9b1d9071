//! Queues declared, bound and deleted: one by one, as careful programs do, and pipelined, as fast as the broker can.
//!
//! Each part ends when its time is over, so that a slow broker does less of it.

use std::io::Write;
use std::time::Instant;

use super::fresh_name;
use crate::client::connection::{Connection, Life, queue_declare};
use crate::client::failure::Result;
use crate::client::wire::{self, CHANNEL, Id, Method};
use crate::load::Load;
use crate::outcome::{Figure, Outcome, growth_figure};
use crate::process::{self, Mark, Span};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay has no queues, hence no figures.
pub fn run(target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    let mut connection = Connection::open(&target.endpoint)?;
    let name = fresh_name();
    connection.declare_exchange(&name, "direct")?;
    let mut work = Work {
        target,
        load,
        progress,
        done: 0,
        connection: &mut connection,
        name,
    };
    let figures = work.run()?;
    connection.close()?;
    Ok(Outcome::new(figures))
}

struct Work<'a> {
    target: &'a Target,
    load: &'a Load,
    progress: Progress,
    done: u64,
    connection: &'a mut Connection,
    name: String,
}

impl Work<'_> {
    fn run(&mut self) -> Result<Vec<Figure>> {
        let (count_max, name) = (self.load.count.unwrap_or(COUNT), self.name.clone());
        let life = match self.load.persistent {
            true => Life::Durable,
            false => Life::Transient,
        };
        let resident = || self.target.pid.and_then(process::resident_bytes);
        let declare = |number: u64| queue_declare(&queue_name(&name, number), life.flags());
        let delete = |number: u64| {
            let delete = Method::new(wire::QUEUE_DELETE).u16(0);
            delete.short(&queue_name(&name, number)).u8(0)
        };
        let bind = |number: u64| {
            let bind = Method::new(wire::QUEUE_BIND).u16(0);
            let bind = bind.short(&queue_name(&name, number)).short(&name);
            bind.short(&format!("key.{number}")).u8(0).long(&[])
        };
        let before = resident();
        let declared = self.singly(count_max, declare, wire::QUEUE_DECLARE_OK)?;
        let count = declared.to.count;
        let growth = growth_figure(before, resident(), count.max(1));
        let bound = self.singly(count, bind, wire::QUEUE_BIND_OK)?;
        let deleted = self.singly(count, delete, wire::QUEUE_DELETE_OK)?;
        // What was not deleted in time is, before anything else is timed.
        self.pipelined(deleted.to.count..count, delete, wire::QUEUE_DELETE_OK)?;
        // Not more than the broker managed singly in ten times the time.
        let many = count_max.min(count.saturating_mul(10));
        let fast = self.pipelined(0..many, declare, wire::QUEUE_DECLARE_OK)?;
        self.pipelined(0..many, delete, wire::QUEUE_DELETE_OK)?;
        Ok(vec![
            Figure::new("declares/s", Some(declared.rate())),
            Figure::new("declare CPU us each", declared.broker_cpu()),
            Figure::new("binds/s", Some(bound.rate())),
            Figure::new("deletes/s", Some(deleted.rate())),
            Figure::new("pipelined declares/s", Some(fast.rate())),
            growth,
        ])
    }

    /// Waits for each answer; ends early when the time is over.
    fn singly(&mut self, count: u64, method: impl Fn(u64) -> Method, answer: Id) -> Result<Span> {
        let from = Mark::now(self.target.pid, 0);
        let end_at = from.at + self.load.duration;
        let mut number = 0;
        while number < count && (number == 0 || Instant::now() < end_at) {
            self.connection
                .call(method(number).frame(CHANNEL), answer)?;
            number += 1;
            self.done += 1;
            self.progress.tell(Instant::now(), self.done);
        }
        let to = Mark::now(self.target.pid, number);
        Ok(Span { from, to })
    }

    /// Sends a few hundred at a time.
    fn pipelined(
        &mut self,
        numbers: std::ops::Range<u64>,
        method: impl Fn(u64) -> Method,
        answer: Id,
    ) -> Result<Span> {
        let from = Mark::now(self.target.pid, numbers.start);
        let end = numbers.end;
        let mut sent = numbers.start;
        let mut frames = Vec::new();
        while sent < end {
            let until = end.min(sent + PIPELINED);
            frames.clear();
            for number in sent..until {
                frames.extend_from_slice(&method(number).frame(CHANNEL));
            }
            self.connection.stream.write_all(&frames)?;
            for _ in sent..until {
                self.connection.expect(answer)?;
            }
            self.done += until - sent;
            sent = until;
            self.progress.tell(Instant::now(), self.done);
        }
        let to = Mark::now(self.target.pid, end);
        Ok(Span { from, to })
    }
}

fn queue_name(prefix: &str, number: u64) -> String {
    format!("{prefix}.{number:07}")
}

const COUNT: u64 = 10_000;
const PIPELINED: u64 = 500;
