//! The log of messages and acks: segments of fixed size, the last of which is written to.
//!
//! Records are collected in a buffer and written in one piece at the end of a round. A segment that is
//! full waits for its sync, and then gets its footer.

mod compaction;
mod reading;
mod segments;

use std::collections::BTreeMap;
use std::io;

use crate::broker::journal::{Journal, QueueId, StoredMessage};
use crate::broker::message::MessageId;

use super::files::{Disk, DiskFile, is_full};
use super::index::IndexBuilder;
use super::position::Position;
use super::record::{self, Kind, RECORD_HEADER, Seed};
use super::runs::{self, Run, Runs};
use super::segment::{HEADER_SIZE, Segment, encode_footer};

use compaction::Compaction;

pub(super) struct Log<D: Disk> {
    pub segment_bytes: u64,
    /// Full segments, oldest first.
    pub segments: BTreeMap<u64, Segment>,
    /// First ids of segments with messages, to find the one an id is in.
    starts: BTreeMap<u64, u64>,
    active: Active<D::File>,
    /// Full, with their indexes, waiting for their data to be stored.
    closing: Vec<Active<D::File>>,
    /// With a footer that is written but not synced.
    sealing: Vec<D::File>,
    /// The next segment's file, under a name of its own.
    spares: Vec<String>,
    next_spare: u64,
    reserve: Reserve,
    /// Files of full segments that were read lately, the latest last.
    open_files: Vec<(u64, D::File)>,
    /// Records of the active segment that are not written yet, and where they will be.
    out: Vec<u8>,
    /// Up to here everything is stored.
    synced: Position,
    /// The batch that was begun is not complete: there was no space for the rest.
    uncommitted: bool,
    /// What the last commit said of that.
    claimed: Position,
    /// Lowest id that no stored message has reached.
    pub next_message: u64,
    /// Scratch.
    acks: Vec<u8>,
    parts: Vec<(u64, u64)>,
    /// Queues when the log was opened, and the number of the first that came later: older ones that are
    /// not among them are gone, and nobody will ack what they had.
    queues: (Vec<u64>, u64),
    compaction: Option<Compaction<D::File>>,
    /// A segment may have become one that nobody needs.
    changed: bool,
    /// Segments that go when that is stored.
    condemned: Vec<u64>,
    /// There was no space for the next segment when it was last tried.
    pub space_low: bool,
    /// Bytes of copies acked since segments were looked through for garbage.
    pub garbage_bytes: u64,
    pub counters: LogCounters,
}

/// What the log did since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogCounters {
    pub syncs: u64,
    pub written_bytes: u64,
    pub segments_created: u64,
    pub segments_recycled: u64,
    pub segments_removed: u64,
    pub segments_compacted: u64,
    /// Places where something could not be read when it was asked for.
    pub damaged: u64,
}

/// The file of space for a start on a full disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserve {
    There,
    /// There may be space for it.
    Wanted,
    /// There was none when it was last tried.
    Missing,
}

/// The segment that is written to, or was until it was full.
struct Active<F> {
    file: F,
    number: u64,
    seed: Seed,
    /// Bytes it may take, footer included.
    capacity: u64,
    /// Where the next record goes.
    end: u64,
    index: IndexBuilder,
    live: u64,
    targets: Vec<u64>,
    clean_stop: u64,
    dirty: bool,
}

impl<D: Disk> Log<D> {
    /// A log of these full segments, going on in a new one.
    pub fn new(
        disk: &D,
        segment_bytes: u64,
        segments: Vec<Segment>,
        next_number: u64,
        next_message: u64,
        queues: (Vec<u64>, u64),
    ) -> io::Result<Self> {
        let active = segments::create_first(disk, next_number, segment_bytes, next_message)?;
        let mut log = Log {
            segment_bytes,
            segments: BTreeMap::new(),
            starts: BTreeMap::new(),
            space_low: active.capacity < segment_bytes,
            active,
            closing: Vec::new(),
            sealing: Vec::new(),
            spares: Vec::new(),
            next_spare: 0,
            reserve: segments::find_reserve(disk, segment_bytes),
            open_files: Vec::new(),
            out: Vec::new(),
            synced: Position {
                segment: next_number,
                offset: HEADER_SIZE,
            },
            uncommitted: false,
            claimed: Position::default(),
            next_message,
            acks: Vec::new(),
            parts: Vec::new(),
            queues,
            compaction: None,
            changed: true,
            condemned: Vec::new(),
            garbage_bytes: u64::MAX / 2,
            counters: LogCounters::default(),
        };
        for segment in segments {
            if let Some((first, _)) = segment.ids {
                log.starts.insert(first, segment.number);
            }
            log.segments.insert(segment.number, segment);
        }
        log.put(Kind::Started, &log.synced.encode());
        let list = log.list();
        log.put(Kind::Segments, &list);
        log.sync()?;
        Ok(log)
    }

    /// Whether anything is written that is not stored.
    pub fn is_dirty(&self) -> bool {
        self.active.dirty || !self.closing.is_empty()
    }

    /// Takes the journal's messages and acks into the log. What was taken is gone from the journal, so
    /// that after an error, when there is space again, the rest can be tried.
    pub fn append(&mut self, disk: &D, journal: &mut Journal) -> io::Result<()> {
        if journal.messages.is_empty() && journal.acks.is_empty() && !self.uncommitted {
            return Ok(());
        }
        // A batch that fits half a segment is not torn apart. The half is for headers and the index.
        let whole = journal.messages.len()
            + journal.messages.len() / 2
            + ACK_SIZE_MAX * journal.acks.len()
            + 4 * RECORD_HEADER;
        if !journal.messages.is_empty() && (whole as u64) < self.segment_bytes / 2 {
            self.reserve(disk, whole, 0, self.ack_reserve())?;
        }
        let mut taken = 0;
        let result = self.append_messages(disk, &journal.messages, &mut taken);
        if taken == journal.messages.len() {
            journal.messages.clear();
        } else {
            journal.messages.drain(..taken);
        }
        result?;
        while !journal.acks.is_empty() {
            let rest = journal.acks.len().saturating_sub(ACKS_PER_RECORD_MAX);
            self.append_acks(disk, &mut journal.acks[rest..])?;
            journal.acks.truncate(rest);
        }
        self.reserve(disk, COMMIT_SIZE, 0, 0)?;
        let commit = self.synced.encode();
        self.put(Kind::Commit, &commit);
        self.uncommitted = false;
        self.claimed = self.synced;
        if self.out.len() >= OUT_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn append_messages(&mut self, disk: &D, messages: &[u8], taken: &mut usize) -> io::Result<()> {
        while let Some((size, rest)) = messages[*taken..].split_first_chunk::<4>() {
            let size = u32::from_le_bytes(*size) as usize;
            let Some(message) = rest.get(..size).and_then(StoredMessage::decode) else {
                return Err(io::Error::other("the journal is not well-formed"));
            };
            let (id, queues) = (message.id.to_bits(), message.queue_bytes);
            self.reserve(disk, RECORD_HEADER + size, queues.len(), self.ack_reserve())?;
            let (attributes, offset) = (message.message.attributes(), self.active.end);
            self.active.index.push(id, queues, attributes, offset);
            self.active.live += (queues.len() / 8) as u64;
            self.put(Kind::Message, message.encoded);
            self.uncommitted = true;
            self.next_message = self.next_message.max(id + 1);
            *taken += 4 + size;
            if self.out.len() >= OUT_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn append_acks(&mut self, disk: &D, acks: &mut [(QueueId, MessageId)]) -> io::Result<()> {
        let mut packed = std::mem::take(&mut self.acks);
        packed.clear();
        runs::pack(acks, &mut packed);
        let result = self.reserve(disk, RECORD_HEADER + packed.len(), packed.len(), 0);
        if result.is_ok() {
            self.put(Kind::Acks, &packed);
            self.uncommitted = true;
            self.active.index.acks.extend_from_slice(&packed);
            for (_, run) in Runs::new(&packed) {
                self.settle(run);
            }
        }
        self.acks = packed;
        result
    }

    /// Takes acked copies off their segments.
    fn settle(&mut self, run: Run) {
        let mut parts = std::mem::take(&mut self.parts);
        self.for_each_segment(run, |number, part| parts.push((number, part.count)));
        for (number, count) in parts.drain(..) {
            self.settle_in(number, count);
        }
        self.parts = parts;
    }

    fn settle_in(&mut self, number: u64, count: u64) {
        if number == self.active.number {
            self.active.live = self.active.live.saturating_sub(count);
            return;
        }
        if let Some(closing) = self.closing.iter_mut().find(|it| it.number == number) {
            closing.live = closing.live.saturating_sub(count);
        } else if let Some(segment) = self.segments.get_mut(&number) {
            segment.live = segment.live.saturating_sub(count);
            self.changed |= segment.live == 0;
            self.garbage_bytes += count * segment.weight.average();
        }
        let targets = &mut self.active.targets;
        if let Err(place) = targets.binary_search(&number) {
            targets.insert(place, number);
        }
    }

    /// Takes a run apart by the segments its ids are in. Ids of none are left out.
    pub fn for_each_segment(&self, run: Run, mut act: impl FnMut(u64, Run)) {
        let mut rest = Some(run);
        while let Some(run) = rest {
            let active = self.active.index.ids().map(|(first, _)| first);
            if active.is_some_and(|first| run.first >= first) {
                act(self.active.number, run);
                return;
            }
            let before = self.starts.range(..=run.first).next_back();
            let next = self.starts.range(run.first + 1..).next();
            let next = next.map(|(first, _)| *first).or(active);
            let count = next.map_or(run.count, |next| run.count_up_to(next - 1));
            if let Some((_, number)) = before {
                let inside = run.count_up_to(self.last_id(*number)).min(count);
                if inside > 0 {
                    act(
                        *number,
                        Run {
                            count: inside,
                            ..run
                        },
                    );
                }
            }
            rest = run.skip(count);
        }
    }

    fn last_id(&self, number: u64) -> u64 {
        let closing = self.closing.iter().find(|it| it.number == number);
        let ids = match closing {
            Some(closing) => closing.index.ids(),
            None => self.segments.get(&number).and_then(|segment| segment.ids),
        };
        ids.map_or(0, |(_, last)| last)
    }

    /// Whether a queue went before the log was opened, without acking what it had.
    pub fn is_orphaned(&self, queue: QueueId) -> bool {
        let (queues, next) = &self.queues;
        queue.0 < *next && queues.binary_search(&queue.0).is_err()
    }

    /// Packed acks of the segment that is written to.
    pub fn active_acks(&self) -> &[u8] {
        &self.active.index.acks
    }

    /// Adds a record for which there is room.
    #[inline]
    fn put(&mut self, kind: Kind, payload: &[u8]) {
        let active = &mut self.active;
        record::write(&mut self.out, active.seed, active.end, kind, payload);
        active.end += (RECORD_HEADER + payload.len()) as u64;
        active.dirty = true;
    }

    /// Writes what was collected.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let offset = self.active.end - self.out.len() as u64;
        self.active.file.write_at(offset, &self.out)?;
        self.counters.written_bytes += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        Ok(())
    }

    /// Makes everything stored. An error is final: what is on the disk is not known any more.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        for file in self.sealing.drain(..) {
            file.sync()?;
        }
        for full in &self.closing {
            full.file.sync()?;
            self.counters.syncs += 1;
        }
        if self.active.dirty {
            self.active.file.sync()?;
            self.counters.syncs += 1;
            self.active.dirty = false;
        }
        self.synced = Position {
            segment: self.active.number,
            offset: self.active.end,
        };
        match self.seal_closing() {
            // The data is stored; the indexes wait for space.
            Err(error) if is_full(&error) => Ok(()),
            result => result,
        }
    }

    /// Says that everything is stored, for a start that finds something damaged. Nobody waits for this.
    pub fn mark(&mut self, disk: &D) -> io::Result<()> {
        if self.is_dirty() || self.claimed == self.synced {
            return Ok(());
        }
        self.reserve(disk, COMMIT_SIZE, 0, 0)?;
        if self.is_dirty() {
            return Ok(());
        }
        let claim = self.synced.encode();
        self.put(Kind::Commit, &claim);
        self.claimed = self.synced;
        self.active.dirty = false;
        self.flush()
    }

    /// Ends the log for this run: behind this record nothing comes.
    pub fn stop(&mut self, disk: &D, clean_stop: &[u8]) -> io::Result<()> {
        self.reserve(disk, RECORD_HEADER + clean_stop.len(), 0, 0)?;
        self.active.clean_stop = self.active.end;
        self.put(Kind::CleanStop, clean_stop);
        self.sync()?;
        let number = self.active.number;
        let footer = encode_footer(
            &self.active.index,
            self.active.seed,
            self.active.end,
            self.active.clean_stop,
            &self.list(),
        );
        debug_assert_eq!(
            Seed::new(number).checksum(0, b""),
            self.active.seed.checksum(0, b"")
        );
        self.active.file.write_at(self.active.end, &footer)?;
        self.active
            .file
            .set_size(self.active.end + footer.len() as u64)?;
        self.active.file.sync()?;
        for file in self.sealing.drain(..) {
            file.sync()?;
        }
        for spare in self.spares.drain(..) {
            disk.remove(&spare)?;
        }
        // The next start may need what was just given back.
        self.prepare_reserve(disk);
        Ok(())
    }
}

/// Bytes collected before they are written within a round.
const OUT_BYTES_MAX: usize = 1 << 20;
const OUT_BYTES_KEPT: usize = 1 << 21;
/// Acks beyond go into another record, so that no record is out of proportion.
const ACKS_PER_RECORD_MAX: usize = 1 << 16;
/// What an ack takes at most in a record and the index together.
const ACK_SIZE_MAX: usize = 32;
const COMMIT_SIZE: usize = RECORD_HEADER + 16;
