//! The definitions in the data directory of a broker that does not run.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::{Export, Piece};
use crate::broker::journal::NoteKind;
use crate::config::Config;
use crate::protocol::Hub;
use crate::store::{self, Damage, OpenError, Recovered};

/// What such a directory defines.
#[derive(Debug)]
pub struct Stored {
    /// As a running broker would export it.
    pub file: Value,
    /// What of the directory could not be read. Definitions may be missing if there is any.
    pub losses: Vec<Damage>,
}

#[derive(Debug)]
pub enum Unreadable {
    Store(OpenError),
    /// No broker ever ran there.
    Empty,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Store(error) => error.fmt(f),
            Unreadable::Empty => f.write_str("nothing was ever stored there"),
        }
    }
}

/// Exports what a directory defines by going the way of a start, and changes nothing.
///
/// # Errors
/// A broker runs there, another version wrote it, it cannot be read, or there is nothing.
pub fn stored_definitions(directory: &Path) -> Result<Stored, Unreadable> {
    let inspection = store::check(directory).map_err(Unreadable::Store)?;
    let recovered = inspection.recovered;
    let is_access = |kind| matches!(kind, NoteKind::VirtualHost | NoteKind::User);
    if !recovered.notes.iter().any(|note| is_access(note.kind)) {
        return Err(Unreadable::Empty);
    }
    let damage = recovered.damage.iter();
    let losses = damage.filter(|damage| damage.what.is_loss());
    let losses = losses.cloned().collect();
    let mut hub = Hub::new(Config::default(), Box::new(|| [0; 16]));
    hub.recover(without_messages(recovered));
    let mut export = Export::of(None);
    let mut next = Some(Piece::Settings);
    while let Some(piece) = next {
        next = export.take(&hub, piece);
    }
    Ok(Stored {
        file: export.finish(),
        losses,
    })
}

/// Definitions need no messages, and there may be many.
fn without_messages(recovered: Recovered) -> Recovered {
    let is_of_message = |kind| matches!(kind, NoteKind::Failure | NoteKind::Deduplication);
    let mut notes = recovered.notes;
    notes.retain(|note| !is_of_message(note.kind));
    Recovered {
        notes,
        queues: Vec::new(),
        references: Vec::new(),
        attributes: Default::default(),
        redelivered: Default::default(),
        damage: Vec::new(),
        ..recovered
    }
}
