//! The log of messages and acks: segments of fixed size, the last of which is written to.
//!
//! Records are collected in a buffer and written in one piece at the end of a round. A segment that is
//! full waits for its sync, and then gets its footer.

use std::collections::BTreeMap;
use std::io;

use crate::broker::journal::{Journal, QueueId, StoredMessage};
use crate::broker::message::{BLOCK_MESSAGES, MessageId};

use super::compaction::Compaction;
use super::files::{Disk, DiskFile, is_damage, is_full};
use super::index::{Blocks, ENTRY_SIZE_MAX, IndexBuilder};
use super::position::Position;
use super::record::{self, Kind, RECORD_HEADER, Seed, Walk};
use super::runs::{self, Run, Runs};
use super::segment::{
    HEADER_SIZE, Header, LOG, Role, Section, Segment, TRAILER_SIZE, Trailer, encode_footer,
    log_path,
};

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
    pub compaction: Option<Compaction<D::File>>,
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
        let mut log = Log {
            segment_bytes,
            segments: BTreeMap::new(),
            starts: BTreeMap::new(),
            active: create(disk, next_number, segment_bytes, next_message)?,
            closing: Vec::new(),
            sealing: Vec::new(),
            spares: Vec::new(),
            next_spare: 0,
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
            space_low: false,
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
            self.garbage_bytes += count * (segment.data_end / segment.references.max(1));
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

    /// A full segment was rewritten.
    pub fn replace(&mut self, number: u64, index: &IndexBuilder, data_end: u64) {
        self.open_files.retain(|(open, _)| *open != number);
        // Others may be free of it, and there may be more to rewrite.
        self.changed = true;
        self.garbage_bytes = self.segment_bytes;
        let Some(segment) = self.segments.get_mut(&number) else {
            return;
        };
        if index.ids().is_none()
            && let Some((first, _)) = segment.ids.take()
        {
            self.starts.remove(&first);
        }
        segment.references = index.references;
        segment.blocks = index.blocks.clone();
        segment.blocks.shrink();
        segment.data_end = data_end;
        segment.ack_bytes = index.acks.len() as u64;
    }

    /// What messages leave of the active segment while there is no file for another: acks go there if there
    /// is no space for one, and they make space.
    fn ack_reserve(&self) -> u64 {
        if self.spares.is_empty() {
            self.segment_bytes / 8
        } else {
            0
        }
    }

    /// Makes sure that a record of this size fits the active segment, with what it adds to the index, and
    /// that so much is left.
    fn reserve(&mut self, disk: &D, size: usize, index: usize, left: u64) -> io::Result<()> {
        let ending = COMMIT_SIZE + CONTINUED_SIZE + TRAILER_SIZE as usize;
        let needed = (size + index + 2 * ENTRY_SIZE_MAX + ending) as u64;
        let footer = self.active.index.size() as u64;
        if self.active.end + footer + needed + left <= self.active.capacity {
            return Ok(());
        }
        let index = index + IndexBuilder::default().size();
        let list = self.list().len() + RECORD_HEADER + LIST_GROWTH;
        let alone = HEADER_SIZE + needed + (index + list) as u64;
        let capacity = if alone <= self.segment_bytes {
            self.segment_bytes
        } else {
            alone + INDEX_ROOM
        };
        self.rotate(disk, capacity, alone)
    }

    /// Goes on in a new segment.
    fn rotate(&mut self, disk: &D, capacity: u64, capacity_min: u64) -> io::Result<()> {
        let number = self.active.number + 1;
        let next = match self.spares.last() {
            Some(spare) if capacity == self.segment_bytes => {
                let next = reuse(
                    disk,
                    spare,
                    number,
                    capacity,
                    capacity_min,
                    self.next_message,
                )?;
                self.spares.pop();
                self.counters.segments_recycled += 1;
                next
            }
            _ => {
                let created = create(disk, number, capacity, self.next_message);
                self.space_low = created.as_ref().is_err_and(is_full);
                created?
            }
        };
        self.counters.segments_created += 1;
        self.put(Kind::Continued, &number.to_le_bytes());
        self.flush()?;
        let full = std::mem::replace(&mut self.active, next);
        if let Some((first, _)) = full.index.ids() {
            self.starts.insert(first, full.number);
        }
        self.closing.push(full);
        let list = self.list();
        self.put(Kind::Segments, &list);
        Ok(())
    }

    /// The full segments there are, or will be when the removal of others is stored.
    fn list(&self) -> Vec<u8> {
        let sealed = self.segments.keys().copied();
        let kept = sealed.filter(|number| !self.condemned.contains(number));
        let closing = self.closing.iter().map(|full| full.number);
        runs::pack_segments(kept.chain(closing))
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
        for full in std::mem::take(&mut self.closing) {
            self.seal(full)?;
        }
        Ok(())
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

    /// Gives a stored segment its footer.
    fn seal(&mut self, full: Active<D::File>) -> io::Result<()> {
        let list = self.list();
        let footer = encode_footer(&full.index, full.seed, full.end, full.clean_stop, &list);
        full.file.write_at(full.end, &footer)?;
        full.file.set_size(full.end + footer.len() as u64)?;
        self.counters.written_bytes += footer.len() as u64;
        let mut blocks = full.index.blocks.clone();
        blocks.shrink();
        let segment = Segment {
            number: full.number,
            ids: full.index.ids(),
            references: full.index.references,
            live: full.live,
            blocks,
            data_end: full.end,
            targets: full.targets,
            ack_bytes: full.index.acks.len() as u64,
            unreadable: false,
        };
        // What was acked while it was written was not looked at.
        self.garbage_bytes += segment.data_end - segment.needed_bytes();
        self.changed = true;
        self.segments.insert(full.number, segment);
        self.sealing.push(full.file);
        Ok(())
    }

    /// Removes segments that nobody needs. Only when everything is stored: the acks must be. First it is
    /// noted that they go, so that one that is missing without a note is known to be lost, and that one
    /// that is still there after a crash, but not the acks for it, is known to be done with.
    pub fn release(&mut self, disk: &D) -> io::Result<()> {
        if self.is_dirty() {
            return Ok(());
        }
        self.remove_condemned(disk)?;
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        self.condemned = self.find_unneeded();
        if !self.condemned.is_empty() {
            let list = self.list();
            let reserved = self.reserve(disk, RECORD_HEADER + list.len() + LIST_GROWTH, 0, 0);
            if let Err(error) = reserved {
                self.condemned.clear();
                self.changed = true;
                return Err(error);
            }
            let list = self.list();
            self.put(Kind::Segments, &list);
        }
        Ok(())
    }

    /// The note is stored, and they go.
    fn remove_condemned(&mut self, disk: &D) -> io::Result<()> {
        if self.condemned.is_empty() {
            return Ok(());
        }
        let condemned = std::mem::take(&mut self.condemned);
        for number in &condemned {
            self.discard(disk, *number)?;
        }
        disk.sync_folder(LOG)?;
        for number in condemned {
            if let Some(segment) = self.segments.remove(&number)
                && let Some((first, _)) = segment.ids
            {
                self.starts.remove(&first);
            }
            self.open_files.retain(|(open, _)| *open != number);
            self.counters.segments_removed += 1;
        }
        self.changed = true;
        Ok(())
    }

    /// Segments without messages that somebody needs, and without acks for segments that stay.
    fn find_unneeded(&self) -> Vec<u64> {
        let mut unneeded: Vec<u64> = Vec::new();
        for segment in self.segments.values().filter(|segment| segment.live == 0) {
            // These are older, and were looked at before.
            let stays = |target: &u64| {
                self.segments.contains_key(target) && unneeded.binary_search(target).is_err()
            };
            if !segment.targets.iter().any(stays) {
                unneeded.push(segment.number);
            }
        }
        unneeded
    }

    /// The file becomes the next segment's, or goes.
    fn discard(&mut self, disk: &D, number: u64) -> io::Result<()> {
        let segment = &self.segments[&number];
        let regular =
            2 * segment.data_end > self.segment_bytes && segment.data_end <= self.segment_bytes;
        let path = log_path(number);
        if regular && self.spares.len() < SPARES_MAX {
            let spare = format!("{LOG}/spare-{}", self.next_spare);
            self.next_spare += 1;
            disk.rename(&path, &spare)?;
            self.spares.push(spare);
            Ok(())
        } else {
            disk.remove(&path)
        }
    }

    /// Makes a file ready for the next segment, so that the batch that needs it does not wait.
    pub fn prepare(&mut self, disk: &D) -> io::Result<()> {
        if !self.spares.is_empty() {
            self.space_low = false;
            return Ok(());
        }
        if 2 * self.active.end < self.segment_bytes {
            return Ok(());
        }
        let spare = format!("{LOG}/spare-{}", self.next_spare);
        self.next_spare += 1;
        let created = disk.create(&spare, self.segment_bytes);
        self.space_low = created.as_ref().is_err_and(is_full);
        match created {
            Ok(file) => {
                file.sync()?;
                self.spares.push(spare);
                Ok(())
            }
            // Publishers are told to wait, and it is tried again.
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All messages of a block that are still in the log, as a journal has them. What cannot be read is
    /// left out, and said so.
    pub fn fetch(&mut self, disk: &D, block: u64) -> io::Result<Vec<u8>> {
        self.flush()?;
        let ids = (
            block * BLOCK_MESSAGES as u64,
            block * BLOCK_MESSAGES as u64 + (BLOCK_MESSAGES as u64 - 1),
        );
        let mut messages = Vec::new();
        let first = self.starts.range(..=ids.0).next_back();
        let from = first.map_or(ids.0, |(first, _)| *first);
        let numbers: Vec<u64> = self.starts.range(from..=ids.1).map(|(_, n)| *n).collect();
        let mut damaged = 0;
        for number in numbers {
            if let Some(full) = self.closing.iter().find(|full| full.number == number) {
                let blocks = &full.index.blocks;
                damaged += read_block(
                    &full.file,
                    full.seed,
                    blocks,
                    full.end,
                    block,
                    &mut messages,
                )?;
            } else if self.segments.contains_key(&number) {
                match self.open_file(disk, number) {
                    Err(error) if is_damage(&error) => {
                        log::error!("{}: {error}", log_path(number));
                        damaged += 1;
                        continue;
                    }
                    result => result?,
                }
                let (_, file) = self.open_files.last().expect("it was just opened");
                let segment = &self.segments[&number];
                let seed = Seed::new(number);
                let blocks = &segment.blocks;
                let end = segment.data_end;
                damaged += read_block(file, seed, blocks, end, block, &mut messages)?;
            }
        }
        let active = &self.active;
        if active.index.messages > 0 {
            let blocks = &active.index.blocks;
            let end = active.end;
            damaged += read_block(&active.file, active.seed, blocks, end, block, &mut messages)?;
        }
        self.counters.damaged += damaged;
        Ok(messages)
    }

    /// Opens a full segment's file, unless it is, and makes it the latest.
    fn open_file(&mut self, disk: &D, number: u64) -> io::Result<()> {
        let place = self.open_files.iter().position(|(open, _)| *open == number);
        let file = match place {
            Some(place) => self.open_files.remove(place),
            None => (number, disk.open(&log_path(number))?),
        };
        if self.open_files.len() >= OPEN_FILES_MAX {
            self.open_files.remove(0);
        }
        self.open_files.push(file);
        Ok(())
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
        Ok(())
    }
}

/// A segment in a new file.
fn create<D: Disk>(
    disk: &D,
    number: u64,
    capacity: u64,
    next_message: u64,
) -> io::Result<Active<D::File>> {
    let path = format!("{LOG}/{number:010}.new");
    let file = disk.create(&path, capacity)?;
    begin(disk, file, &path, number, capacity, next_message)
}

/// A segment in a file that was another.
fn reuse<D: Disk>(
    disk: &D,
    spare: &str,
    number: u64,
    capacity: u64,
    capacity_min: u64,
    next_message: u64,
) -> io::Result<Active<D::File>> {
    let file = disk.open(spare)?;
    let capacity = match file.set_size(capacity) {
        // It was a bit shorter, and so it stays.
        Err(error) if is_full(&error) && file.size()? >= capacity_min => file.size()?,
        result => result.map(|()| capacity)?,
    };
    begin(disk, file, spare, number, capacity, next_message)
}

/// The header is stored before the file gets its name: a segment without one is a damaged segment.
fn begin<D: Disk>(
    disk: &D,
    file: D::File,
    path: &str,
    number: u64,
    capacity: u64,
    next_message: u64,
) -> io::Result<Active<D::File>> {
    let header = Header {
        role: Role::Log,
        number,
        next_message,
        stored: 0,
    };
    file.write_at(0, &header.encode())?;
    file.sync()?;
    disk.rename(path, &log_path(number))?;
    disk.sync_folder(LOG)?;
    Ok(Active {
        file,
        number,
        seed: Seed::new(number),
        capacity,
        end: HEADER_SIZE,
        index: IndexBuilder::default(),
        live: 0,
        targets: Vec::new(),
        clean_stop: 0,
        dirty: false,
    })
}

/// Adds a block's messages in one segment to `out`. Damaged ones are left out, and said so.
fn read_block<F: DiskFile>(
    file: &F,
    seed: Seed,
    blocks: &Blocks,
    data_end: u64,
    block: u64,
    out: &mut Vec<u8>,
) -> io::Result<u64> {
    let Some((from, end)) = blocks.range(block) else {
        return Ok(0);
    };
    let end = end.unwrap_or(data_end);
    let mut bytes = vec![0; (end - from) as usize];
    match file.read_at(from, &mut bytes) {
        Err(error) if is_damage(&error) => {
            log::error!("the log cannot be read from offset {from} to {end}: {error}");
            return Ok(1);
        }
        result => result?,
    }
    let mut damaged = 0;
    out.reserve(bytes.len());
    for met in Walk::new(&bytes, seed, from) {
        match met {
            record::Met::Record(record) if record.kind == Kind::Message => {
                let message = StoredMessage::decode(record.payload);
                if message.is_some_and(|message| message.id.block() == block) {
                    out.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
                    out.extend_from_slice(record.payload);
                }
            }
            record::Met::Record(_) => {}
            record::Met::Hole { offset, .. } | record::Met::Rest { offset } => {
                log::error!("the log is damaged at offset {offset}: what was there is lost");
                damaged += 1;
            }
        }
    }
    Ok(damaged)
}

/// Reads a section of a full segment's footer.
pub(super) fn read_section<F: DiskFile>(
    file: &F,
    number: u64,
    section: Section,
) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::other(format!("{}: damaged footer", log_path(number)));
    let size = file.size()?;
    let mut bytes = [0; TRAILER_SIZE as usize];
    file.read_at(
        size.checked_sub(TRAILER_SIZE).ok_or_else(damaged)?,
        &mut bytes,
    )?;
    let trailer = Trailer::decode(&bytes, Seed::new(number), size).ok_or_else(damaged)?;
    let (offset, size) = trailer.place(section);
    let mut bytes = vec![0; size];
    file.read_at(offset, &mut bytes)?;
    if !trailer.is_intact(section, &bytes) {
        return Err(damaged());
    }
    Ok(bytes)
}

/// Bytes collected before they are written within a round.
const OUT_BYTES_MAX: usize = 1 << 20;
const OUT_BYTES_KEPT: usize = 1 << 21;
/// Acks beyond go into another record, so that no record is out of proportion.
const ACKS_PER_RECORD_MAX: usize = 1 << 16;
/// What a list of segments may take more when there is one more.
const LIST_GROWTH: usize = 32;
/// What an ack takes at most in a record and the index together.
const ACK_SIZE_MAX: usize = 32;
const COMMIT_SIZE: usize = RECORD_HEADER + 16;
const CONTINUED_SIZE: usize = RECORD_HEADER + 8;
/// Beside its one record, what a segment of unusual size has room for.
const INDEX_ROOM: u64 = 64 << 10;
/// Files of removed segments kept for the next ones: their blocks are allocated and written, so that a
/// sync has no file system structures to change.
const SPARES_MAX: usize = 2;
const OPEN_FILES_MAX: usize = 16;
