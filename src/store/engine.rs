//! The store without its thread: what is appended, made stored and read back, one step after the other.
//!
//! The order of a round: [`Engine::append`] any number of journals, [`Engine::sync`], then tell about it,
//! and then [`Engine::tidy`]. Errors of reading and writing are final, except [`is_full`]: then nothing
//! was done, and the same can be tried again.

use std::io;
use std::time::Duration;

use crate::broker::journal::{Journal, QueueId};
use crate::broker::message::MessageId;
use crate::broker::queue::PackedIds;

use super::definitions::{
    DefinitionCounters, Definitions, FOLDER as DEFINITIONS, definitions_path,
};
use super::error::OpenError;
use super::files::{Disk, DiskFile};
use super::log::{Log, LogCounters};
use super::record::{self, Kind, Seed};
use super::recovered::Recovered;
use super::recovery::recover;
use super::runs::{self, RunWriter};
use super::segment::{LOG, RESERVE, encode_footer, log_path};
use super::survey::{Survey, survey};

pub use super::files::is_full;

/// What the store is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of a segment of the log; a larger message gets one of its own size.
    pub segment_bytes: u64,
    /// What nobody waits for is stored after this at the latest.
    pub sync_interval_ms: u64,
    /// The disk thread looks for more to do for so long before it sleeps.
    pub spin: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 16 << 20,
            sync_interval_ms: 100,
            spin: Duration::ZERO,
        }
    }
}

/// The store's files and what is known of them.
pub struct Engine<D: Disk> {
    disk: D,
    definitions: Definitions<D::File>,
    log: Log<D>,
}

impl<D: Disk> Engine<D> {
    /// Recovers what is stored, and makes the directory ready for more.
    pub fn open(disk: D, options: &Options) -> Result<(Self, Recovered), OpenError> {
        for folder in [LOG, DEFINITIONS, QUARANTINE] {
            disk.create_folder(folder)
                .map_err(|error| OpenError::io(folder, error))?;
        }
        disk.sync_folder("")
            .map_err(|error| OpenError::io("", error))?;
        let mut survey = survey(&disk)?;
        let (mut recovered, segments) = recover(&disk, &mut survey)?;
        let mut repair = |survey: &mut Survey| -> io::Result<_> {
            repair_log(&disk, survey)?;
            open_definitions(&disk, survey, &mut recovered)
        };
        let queues = survey.catalog.queues();
        let definitions = repair(&mut survey).map_err(|error| OpenError::io("", error))?;
        let log = Log::new(
            &disk,
            options.segment_bytes.max(SEGMENT_BYTES_MIN),
            segments,
            survey.last_number + 1,
            recovered.next_message.to_bits(),
            (queues, recovered.next_queue.0),
        )
        .map_err(|error| OpenError::io(LOG, error))?;
        let engine = Engine {
            disk,
            definitions,
            log,
        };
        Ok((engine, recovered))
    }

    /// Takes a journal in. What was taken is gone from it; after an error that [`is_full`], the rest
    /// can be tried again.
    pub fn append(&mut self, journal: &mut Journal) -> io::Result<()> {
        self.definitions
            .append(&journal.definitions, &journal.notes)?;
        journal.definitions.clear();
        journal.notes.clear();
        self.log.append(&self.disk, journal)
    }

    /// Whether something was appended that is not stored.
    pub fn is_dirty(&self) -> bool {
        self.definitions.is_dirty() || self.log.is_dirty()
    }

    /// Everything that was appended is stored when this returns. An error is final.
    pub fn sync(&mut self) -> io::Result<()> {
        self.definitions.sync()?;
        self.log.sync()
    }

    /// A step of the work that nobody waits for: gives space back, rewrites segments, and makes the next
    /// one ready. Whether there is more to do. Without space it does what it can.
    pub fn tidy(&mut self) -> io::Result<bool> {
        match self.log.release(&self.disk) {
            Err(error) if !is_full(&error) => return Err(error),
            _ => {}
        }
        // As much history as is worth a new file grows with what a segment is.
        let garbage_min = self.log.segment_bytes / 16;
        let next_message = self.log.next_message;
        let tidied = self.definitions.tidy(&self.disk, next_message, garbage_min);
        if let Err(error) = tidied
            && !is_full(&error)
        {
            return Err(error);
        }
        self.log.prepare(&self.disk)?;
        self.log.compact(&self.disk)
    }

    /// Takes in acks of messages that were appended before, ahead of journals that wait for space. What
    /// was taken is gone from them.
    pub fn append_acks(&mut self, acks: &mut Vec<(QueueId, MessageId)>) -> io::Result<()> {
        let mut journal = Journal {
            acks: std::mem::take(acks),
            ..Journal::default()
        };
        let result = self.log.append(&self.disk, &mut journal);
        *acks = journal.acks;
        result
    }

    /// There is no space for another segment.
    pub fn is_space_low(&self) -> bool {
        self.log.space_low
    }

    /// Every message that was appended has a lower id.
    pub fn next_message(&self) -> MessageId {
        MessageId::from_bits(self.log.next_message)
    }

    /// Notes on the disk that everything is stored, so that damage is not taken for the tear of a crash.
    /// To be done when it is quiet.
    pub fn mark(&mut self) -> io::Result<()> {
        if self.is_dirty() {
            return Ok(());
        }
        let marked = self.definitions.mark();
        match marked.and_then(|()| self.log.mark(&self.disk)) {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// All stored messages of a block, as a journal has them; acked ones may be among them.
    pub fn fetch(&mut self, block: u64) -> io::Result<Vec<u8>> {
        self.log.fetch(&self.disk, block)
    }

    /// Stores which messages may have been delivered; after that nothing may be appended.
    ///
    /// # Errors
    /// Without space for it, the next start takes this for a crash.
    pub fn stop(&mut self, redelivered: &[(QueueId, PackedIds)]) -> io::Result<()> {
        self.definitions.sync()?;
        let mut record = Vec::new();
        let mut writer = RunWriter::default();
        for (queue, ids) in redelivered {
            ids.iter().for_each(|id| writer.push(id.to_bits()));
            writer.finish(*queue, &mut record);
        }
        self.log.stop(&self.disk, &record)
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    pub fn counters(&self) -> (LogCounters, DefinitionCounters) {
        (self.log.counters, self.definitions.counters)
    }
}

/// Makes the files say what the survey found, in an order in which a crash does no harm.
fn repair_log<D: Disk>(disk: &D, survey: &mut Survey) -> io::Result<()> {
    for (name, bytes) in &survey.aside {
        let path = format!("{QUARANTINE}/{name}");
        or_from_reserve(disk, || {
            let file = disk.create(&path, bytes.len() as u64)?;
            file.write_at(0, bytes)?;
            file.sync()
        })?;
    }
    for path in &survey.aside_files {
        disk.rename(path, &format!("{QUARANTINE}/{}", path.replace('/', "-")))?;
    }
    if !survey.aside.is_empty() || !survey.aside_files.is_empty() {
        disk.sync_folder(QUARANTINE)?;
    }
    for path in survey.leftovers.iter().chain(&survey.void) {
        disk.remove(path)?;
    }
    // Before the segment they are behind gets a footer, which would make them believable.
    disk.sync_folder(LOG)?;
    let numbers = survey.segments.iter().map(|found| found.number);
    let list = runs::pack_segments(numbers);
    for found in &mut survey.segments {
        if let Some(index) = &found.index {
            let file = disk.open(&log_path(found.number))?;
            let seed = Seed::new(found.number);
            // What was read may not be stored yet, and a footer says it is.
            file.sync()?;
            if found.clean_stop == 0 {
                let mut end = Vec::new();
                let next = (found.number + 1).to_le_bytes();
                record::write(&mut end, seed, found.data_end, Kind::Continued, &next);
                file.write_at(found.data_end, &end)?;
                found.data_end += end.len() as u64;
                // The end is stored before the footer that says so.
                file.sync()?;
            }
            let footer = encode_footer(index, seed, found.data_end, found.clean_stop, &list);
            file.write_at(found.data_end, &footer)?;
            file.set_size(found.data_end + footer.len() as u64)?;
            file.sync()?;
        }
    }
    Ok(())
}

/// Goes on in the file of definitions, or in a new one if it is not as it was written.
fn open_definitions<D: Disk>(
    disk: &D,
    survey: &mut Survey,
    recovered: &mut Recovered,
) -> io::Result<Definitions<D::File>> {
    let mut catalog = std::mem::take(&mut survey.catalog);
    // They must be gone before another message can have the id of one that was torn off.
    let is_torn = catalog.forget_torn_notes(survey.end_of_stored());
    let live_notes = catalog.note_bytes();
    (recovered.definitions, recovered.notes) = catalog.into_definitions();
    let parts = (&recovered.definitions[..], &recovered.notes[..]);
    let next = (recovered.next_queue.0, survey.next_message);
    match &survey.definitions {
        None => or_from_reserve(disk, || Definitions::write_new(disk, 1, parts, next)),
        Some(found) if found.spoilt || is_torn => {
            let generation = found.generation + 1;
            let write = || Definitions::write_new(disk, generation, parts, next);
            let new = or_from_reserve(disk, write)?;
            disk.remove(&definitions_path(found.generation))?;
            Ok(new)
        }
        Some(found) => {
            let file = disk.open(&definitions_path(found.generation))?;
            // Read is not stored, if it was only the program that ended.
            file.sync()?;
            disk.sync_folder(DEFINITIONS)?;
            let garbage = found.garbage.saturating_sub(live_notes);
            Definitions::continue_in(file, found.generation, found.end, garbage)
        }
    }
}

/// What a start has to write, in the space kept for that if there is no other.
fn or_from_reserve<D: Disk, T>(disk: &D, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match write() {
        Err(error) if is_full(&error) && disk.remove(RESERVE).is_ok() => write(),
        result => result,
    }
}

/// Where damaged bytes are kept.
const QUARANTINE: &str = "quarantine";
const SEGMENT_BYTES_MIN: u64 = 8 << 10;
