//! What a stopped data directory holds, for people: `leveret --check DIR`.

use std::fmt;

use crate::broker::journal::Definition;

use super::error::OpenError;
use super::files::Disk;
use super::recovered::{Damage, Fault, Recovered, Redelivered};
use super::recovery::recover;
use super::survey::survey;

/// The state of a data directory. Displayed, it is a report of several lines.
#[derive(Debug)]
pub struct Inspection {
    pub recovered: Recovered,
    /// Files of the log that would be removed: a crash left them, and there is nothing in them.
    pub leftovers: usize,
}

impl Inspection {
    /// Looks, and changes nothing.
    pub fn of<D: Disk>(disk: &D) -> Result<Inspection, OpenError> {
        let mut survey = survey(disk)?;
        let (mut recovered, _) = recover(disk, &mut survey)?;
        (recovered.definitions, recovered.notes) =
            std::mem::take(&mut survey.catalog).into_definitions();
        Ok(Inspection {
            recovered,
            leftovers: survey.leftovers.len() + survey.void.len(),
        })
    }

    /// Whether everything that was ever stored here can be read.
    pub fn is_whole(&self) -> bool {
        self.losses().count() == 0
    }

    fn losses(&self) -> impl Iterator<Item = &Damage> {
        let damage = self.recovered.damage.iter();
        damage.filter(|damage| damage.what.is_loss())
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovered {
            definitions,
            notes,
            queues,
            redelivered,
            damage,
            statistics,
            ..
        } = &self.recovered;
        let count = |is: fn(&Definition) -> bool| definitions.iter().filter(|it| is(it)).count();
        writeln!(
            f,
            "definitions: {} exchanges, {} queues, {} bindings, {} notes",
            count(|it| matches!(it, Definition::ExchangeDeclared(_))),
            count(|it| matches!(it, Definition::QueueDeclared(_))),
            count(|it| matches!(it, Definition::Bound(_))),
            notes.len(),
        )?;
        let copies: usize = queues.iter().map(|(_, ids)| ids.len()).sum();
        writeln!(
            f,
            "messages: {} unacked, {copies} copies in {} queues",
            statistics.messages,
            queues.len()
        )?;
        writeln!(
            f,
            "log: {} segments of {} bytes, {} without an index",
            statistics.segments, statistics.log_bytes, statistics.scanned
        )?;
        match redelivered {
            Redelivered::Any => writeln!(f, "last stop: the broker was interrupted")?,
            Redelivered::Exactly(_) => writeln!(f, "last stop: clean")?,
        }
        if self.leftovers > 0 {
            writeln!(
                f,
                "leftovers: {} files that a start removes",
                self.leftovers
            )?;
        }
        for damage in damage {
            writeln!(f, "{damage}")?;
        }
        match self.losses().count() {
            0 if damage.iter().all(|it| it.what == Fault::Torn) => write!(f, "state: sound"),
            0 => write!(f, "state: damaged, but nothing is lost"),
            losses => write!(f, "state: damaged in {losses} places, some of it is lost"),
        }
    }
}
