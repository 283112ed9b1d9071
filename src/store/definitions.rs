//! The file of definitions and notes: appended to, and written anew when most of it is history.
//!
//! Its records are framed as the log's are. A file has a generation, which is in its name; the new one
//! is complete before it gets its name, and then the old one goes.

use std::io;

use crate::broker::journal::{Definition, Note, QueueId};
use crate::broker::message::MessageId;

use super::catalog::Catalog;
use super::definition_codec;
use super::files::{Disk, DiskFile};
use super::note_codec;
use super::number;
use super::position::Position;
use super::record::{self, Kind, Met, RECORD_HEADER, Seed, Walk};
use super::segment::{HEADER_SIZE, Header, NUMBER_MAX, Role};

pub(super) struct Definitions<F> {
    file: F,
    generation: u64,
    seed: Seed,
    end: u64,
    capacity: u64,
    synced: u64,
    /// What the last commit said of that.
    claimed: u64,
    dirty: bool,
    /// Bytes that a new file would not have, roughly.
    garbage: u64,
    pub counters: DefinitionCounters,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct DefinitionCounters {
    pub syncs: u64,
    pub written_bytes: u64,
    pub rewrites: u64,
}

impl<F: DiskFile> Definitions<F> {
    /// A new file that holds these, and the lowest ids of queues and messages that were never used.
    pub fn write_new<D: Disk<File = F>>(
        disk: &D,
        generation: u64,
        (definitions, notes): (&[Definition], &[Note]),
        next: (u64, u64),
    ) -> io::Result<Self> {
        let seed = Seed::new(generation);
        let mut counters = Vec::new();
        number::write(&mut counters, next.0);
        number::write(&mut counters, next.1);
        let mut bytes = vec![0; HEADER_SIZE as usize];
        encode(definitions, seed, 0, &mut bytes);
        encode_notes(notes, seed, 0, &mut bytes);
        let end = bytes.len() as u64;
        record::write(&mut bytes, seed, end, Kind::Counters, &counters);
        let end = bytes.len() as u64;
        let header = Header {
            role: Role::Definitions,
            number: generation,
            next_message: 0,
            stored: end,
        };
        bytes[..HEADER_SIZE as usize].copy_from_slice(&header.encode());
        let path = format!("{FOLDER}/{generation:010}.new");
        let capacity = (end + end / 4).next_multiple_of(GROWTH);
        let file = disk.create(&path, capacity)?;
        let written = file.write_at(0, &bytes).and_then(|()| file.sync());
        if let Err(error) = written.and_then(|()| disk.rename(&path, &definitions_path(generation)))
        {
            disk.remove(&path)?;
            return Err(error);
        }
        disk.sync_folder(FOLDER)?;
        Ok(Definitions {
            file,
            generation,
            seed,
            end,
            capacity,
            synced: end,
            claimed: end,
            dirty: false,
            garbage: 0,
            counters: DefinitionCounters {
                written_bytes: end,
                ..DefinitionCounters::default()
            },
        })
    }

    /// Goes on in a file that ends here.
    pub fn continue_in(file: F, generation: u64, end: u64, garbage: u64) -> io::Result<Self> {
        let capacity = file.size()?;
        Ok(Definitions {
            file,
            generation,
            seed: Seed::new(generation),
            end,
            capacity,
            synced: end,
            claimed: 0,
            dirty: false,
            garbage,
            counters: DefinitionCounters::default(),
        })
    }

    pub fn append(&mut self, definitions: &[Definition], notes: &[Note]) -> io::Result<()> {
        if definitions.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        encode(definitions, self.seed, self.end, &mut bytes);
        encode_notes(notes, self.seed, self.end, &mut bytes);
        let records = Walk::new(&bytes, self.seed, self.end);
        let garbage: u64 = records.map(|met| garbage_of(&met)).sum();
        self.write(bytes)?;
        self.garbage += garbage;
        self.dirty = true;
        Ok(())
    }

    /// Says that everything is stored, for a start that finds something damaged. Nobody waits for this.
    pub fn mark(&mut self) -> io::Result<()> {
        if self.dirty || self.claimed == self.synced {
            return Ok(());
        }
        self.write(Vec::new())
    }

    /// Writes these records and a commit behind them.
    fn write(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        let claim = Position {
            segment: self.generation,
            offset: self.synced,
        };
        let end = self.end + bytes.len() as u64;
        record::write(&mut bytes, self.seed, end, Kind::Commit, &claim.encode());
        let end = self.end + bytes.len() as u64;
        if end > self.capacity {
            let capacity = (end + end / 4).next_multiple_of(GROWTH);
            self.file.set_size(capacity)?;
            self.capacity = capacity;
        }
        self.file.write_at(self.end, &bytes)?;
        self.counters.written_bytes += bytes.len() as u64;
        self.end = end;
        self.garbage += (RECORD_HEADER + claim.encode().len()) as u64;
        self.claimed = self.synced;
        Ok(())
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync()?;
            self.counters.syncs += 1;
            self.synced = self.end;
            self.dirty = false;
        }
        Ok(())
    }

    /// Writes the file anew if most of it is history, and that is not little. Only when everything is
    /// stored.
    pub fn tidy<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        next_message: u64,
        garbage_min: u64,
    ) -> io::Result<()> {
        if self.dirty || self.garbage < garbage_min || 2 * self.garbage < self.end {
            return Ok(());
        }
        let mut bytes = vec![0; (self.end - HEADER_SIZE) as usize];
        self.file.read_at(HEADER_SIZE, &mut bytes)?;
        let mut catalog = Catalog::default();
        for met in Walk::new(&bytes, self.seed, HEADER_SIZE) {
            match met {
                Met::Record(record) => drop(replay(&mut catalog, record.kind, record.payload)),
                // It stays as it is, damage and all, for the next start to look at.
                Met::Hole { .. } | Met::Rest { .. } => {
                    self.garbage = 0;
                    return Ok(());
                }
            }
        }
        drop(bytes);
        let mut counters = self.counters;
        let next = (catalog.next_queue, next_message);
        let (definitions, notes) = catalog.into_definitions();
        let parts = (&definitions[..], &notes[..]);
        let new = Definitions::write_new(disk, self.generation + 1, parts, next)?;
        disk.remove(&definitions_path(self.generation))?;
        counters.rewrites += 1;
        counters.written_bytes += new.counters.written_bytes;
        *self = Definitions { counters, ..new };
        Ok(())
    }
}

/// Takes a record of the file into the catalog; `None` if it is none of its kind.
pub(super) fn replay(catalog: &mut Catalog, kind: Kind, mut payload: &[u8]) -> Option<()> {
    match kind {
        Kind::Definition => catalog.apply(definition_codec::decode(payload)?),
        Kind::Notes => {
            while !payload.is_empty() {
                catalog.note(note_codec::decode(&mut payload)?);
            }
        }
        Kind::Counters => {
            let queue = number::read(&mut payload)?;
            let message = number::read(&mut payload)?;
            if queue > QueueId::STORED_MAX || message > MessageId::STORED_MAX {
                return None;
            }
            catalog.next_queue = catalog.next_queue.max(queue);
            catalog.next_message = catalog.next_message.max(message);
        }
        Kind::Commit => {}
        _ => return None,
    }
    Some(())
}

fn encode(definitions: &[Definition], seed: Seed, base: u64, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    for definition in definitions {
        payload.clear();
        definition_codec::encode(definition, &mut payload);
        let offset = base + out.len() as u64;
        record::write(out, seed, offset, Kind::Definition, &payload);
    }
}

/// Several to a record: they can be many and small.
fn encode_notes(notes: &[Note], seed: Seed, base: u64, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    for (n, note) in notes.iter().enumerate() {
        note_codec::encode(note, &mut payload);
        if payload.len() >= NOTES_BYTES_MAX || n + 1 == notes.len() {
            let offset = base + out.len() as u64;
            record::write(out, seed, offset, Kind::Notes, &payload);
            payload.clear();
        }
    }
}

/// Bytes that a new file would not have because of a record. What is undone is about as large as what
/// undoes it, or larger. Notes mostly replace one another, and to know which do would take all their keys:
/// all count, until the file is written anew and nothing is garbage. So it grows to twice what it has to be.
pub(super) fn garbage_of(met: &Met<'_>) -> u64 {
    let Met::Record(record) = met else {
        return 0;
    };
    let size = (RECORD_HEADER + record.payload.len()) as u64;
    match record.kind {
        Kind::Commit | Kind::Notes => size,
        Kind::Definition if definition_codec::undoes(record.payload) => 2 * size,
        _ => 0,
    }
}

pub(super) fn definitions_path(generation: u64) -> String {
    format!("{FOLDER}/{generation:010}.log")
}

/// The generation in a file's name.
pub(super) fn definitions_generation(name: &str) -> Option<u64> {
    let generation = name.strip_suffix(".log")?.parse().ok();
    generation.filter(|generation| *generation <= NUMBER_MAX)
}

pub(super) const FOLDER: &str = "definitions";

/// Notes go into another record beyond, so that damage costs few of them.
const NOTES_BYTES_MAX: usize = 1 << 10;
/// The file grows in steps of this many bytes.
const GROWTH: u64 = 64 << 10;
