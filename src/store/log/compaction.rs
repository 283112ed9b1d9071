//! Rewriting a full segment of which little is needed, in small steps between the batches.
//!
//! The messages that somebody needs, with the queues that need them, and the acks that older segments
//! need go to a new file, which takes the old one's name when it is complete and synced. Ids stay, so
//! nobody who holds one notices. Acks that are stored when it begins are worked in; for those that come
//! later the segments that hold them stay.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use crate::broker::journal::{QueueId, StoredMessage};
use crate::broker::message::BLOCK_MESSAGES;

use super::super::attributes::{AttributeReader, AttributeRuns};
use super::super::files::{Disk, DiskFile, is_full};
use super::super::id_set::IdSet;
use super::super::index::{Bodies, IndexBuilder, MessageRuns};
use super::super::record::{self, Kind, Met, Seed, Walk};
use super::super::runs::{Run, RunWriter, Runs};
use super::super::segment::{
    HEADER_SIZE, Header, LOG, Role, Section, Segment, Weight, encode_footer, log_path,
};
use super::Log;
use super::reading::read_section;

/// A segment being rewritten.
pub(super) struct Compaction<F> {
    pub number: u64,
    /// Full segments that hold acks for it, and those of them that were not read yet.
    holders: Vec<u64>,
    unread: Vec<u64>,
    /// What is stored as acked, by queue: of its own messages, and of older ones.
    acked: BTreeMap<QueueId, IdSet>,
    older_acks: BTreeMap<QueueId, IdSet>,
    /// Copies needed when it began.
    live: u64,
    /// Blocks with messages to keep, not copied yet; the next one last.
    blocks: Vec<u64>,
    copy: Option<Copy<F>>,
}

/// The new file.
struct Copy<F> {
    source: F,
    file: F,
    index: IndexBuilder,
    /// Written up to the start of `out`, which comes next.
    end: u64,
    out: Vec<u8>,
}

impl<D: Disk> Log<D> {
    /// Does a step of the rewriting, or looks for something to rewrite. Whether there is more to do.
    pub fn compact(&mut self, disk: &D) -> io::Result<bool> {
        let Some(mut compaction) = self.compaction.take() else {
            self.compaction = self.begin_compaction();
            return Ok(self.compaction.is_some());
        };
        if !self.segments.contains_key(&compaction.number) {
            // It is gone meanwhile.
            if compaction.copy.is_some() {
                disk.remove(&new_path(compaction.number))?;
            }
            return Ok(true);
        }
        let done = self.compaction_step(disk, &mut compaction);
        match done {
            Ok(true) => {}
            Ok(false) => self.compaction = Some(compaction),
            Err(error) => {
                if compaction.copy.is_some() {
                    disk.remove(&new_path(compaction.number))?;
                }
                if is_full(&error) {
                    // Later, then.
                    return Ok(false);
                }
                if error.kind() != ErrorKind::InvalidData {
                    return Err(error);
                }
                log::error!("{}: left as it is: {error}", log_path(compaction.number));
                if let Some(segment) = self.segments.get_mut(&compaction.number) {
                    segment.unreadable = true;
                }
            }
        }
        Ok(true)
    }

    /// Chooses the segment with the most to gain, as it seems. Only acks that are stored may be worked in.
    fn begin_compaction(&mut self) -> Option<Compaction<D::File>> {
        if self.is_dirty() || self.garbage_bytes < self.segment_bytes / 4 {
            return None;
        }
        let candidates = self
            .segments
            .values()
            .filter(|segment| !segment.unreadable && self.is_worth(segment, segment.garbage_max()));
        let worst = candidates.max_by_key(|segment| segment.garbage());
        let Some(segment) = worst else {
            self.garbage_bytes = 0;
            return None;
        };
        let number = segment.number;
        let holders: Vec<u64> = self
            .segments
            .values()
            .filter(|holder| holder.number == number || holder.targets.contains(&number))
            .map(|holder| holder.number)
            .collect();
        let mut compaction = Compaction {
            number,
            unread: holders.clone(),
            holders,
            acked: BTreeMap::new(),
            older_acks: BTreeMap::new(),
            live: segment.live,
            blocks: Vec::new(),
            copy: None,
        };
        let ids = segment.ids;
        compaction.note_acks(ids, self.active_acks());
        Some(compaction)
    }

    /// Whether it is done.
    fn compaction_step(
        &mut self,
        disk: &D,
        compaction: &mut Compaction<D::File>,
    ) -> io::Result<bool> {
        let number = compaction.number;
        if let Some(holder) = compaction.unread.pop() {
            let file = unreadable(disk.open(&log_path(holder)))?;
            let acks = unreadable(read_section(&file, holder, Section::Acks))?;
            compaction.note_acks(self.segments[&number].ids, &acks);
            if holder == number {
                compaction.older_acks = self.acks_for_older(number, &acks);
            }
            return Ok(false);
        }
        if compaction.copy.is_none() {
            let source = unreadable(disk.open(&log_path(number)))?;
            let messages = unreadable(read_section(&source, number, Section::Messages))?;
            let attributes = unreadable(read_section(&source, number, Section::Attributes))?;
            let (live, weight) = self.find_needed(compaction, &messages, &attributes);
            if live != compaction.live {
                log::error!(
                    "segment {number}: {} copies were counted, {live} are needed",
                    compaction.live
                );
            }
            if let Some(segment) = self.segments.get_mut(&number) {
                let acked_since = compaction.live.saturating_sub(segment.live);
                segment.live = live.saturating_sub(acked_since);
                segment.weight = weight;
            }
            let segment = &self.segments[&number];
            if !self.is_worth(segment, segment.garbage()) {
                // What was acked is smaller than it might have been.
                return Ok(true);
            }
            compaction.copy = Some(self.begin_copy(disk, compaction, source)?);
            return Ok(false);
        }
        if let Some(block) = compaction.blocks.pop() {
            self.copy_block(compaction, block)?;
            return Ok(false);
        }
        self.finish_compaction(disk, compaction)?;
        Ok(true)
    }

    /// Acks of a segment for messages of older ones that are still there.
    fn acks_for_older(&self, number: u64, acks: &[u8]) -> BTreeMap<QueueId, IdSet> {
        let mut kept: BTreeMap<QueueId, IdSet> = BTreeMap::new();
        for (queue, run) in Runs::new(acks) {
            self.for_each_segment(run, |of, part| {
                if of < number {
                    kept.entry(queue).or_default().insert_run(part);
                }
            });
        }
        kept
    }

    fn is_worth(&self, segment: &Segment, garbage: u64) -> bool {
        2 * garbage > segment.data_end && garbage > GARBAGE_MIN.min(self.segment_bytes / 4)
    }

    /// Which blocks hold messages that are needed, how many copies there are of them, and what they weigh.
    fn find_needed(
        &self,
        compaction: &mut Compaction<D::File>,
        messages: &[u8],
        attributes: &[u8],
    ) -> (u64, Weight) {
        let segment = &self.segments[&compaction.number];
        let mut blocks = BTreeSet::new();
        let mut live = 0;
        let (mut all, mut bodies) = (Bodies::default(), Bodies::default());
        let Some(mut runs) = MessageRuns::decode(messages) else {
            return (compaction.live, segment.weight);
        };
        let mut attributes = AttributeReader::new(AttributeRuns::new(attributes));
        let sets = std::mem::take(&mut runs.sets);
        for run in runs {
            for n in 0..run.count {
                let id = run.first + n * run.stride;
                let size = attributes.read().body_size;
                all.add(size);
                let needed = sets[run.set]
                    .iter()
                    .filter(|queue| self.needs(compaction, **queue, id))
                    .count();
                if needed > 0 {
                    blocks.insert(id / BLOCK_MESSAGES as u64);
                    live += needed as u64;
                    bodies.add(size);
                }
            }
        }
        compaction.blocks = blocks.into_iter().rev().collect();
        let records = segment.data_end.saturating_sub(segment.ack_bytes);
        (live, Weight::of(bodies, live, all, records))
    }

    fn needs(&self, compaction: &Compaction<D::File>, queue: QueueId, id: u64) -> bool {
        !self.is_orphaned(queue)
            && compaction
                .acked
                .get(&queue)
                .is_none_or(|acked| !acked.contains(id))
    }

    fn begin_copy(
        &self,
        disk: &D,
        compaction: &Compaction<D::File>,
        source: D::File,
    ) -> io::Result<Copy<D::File>> {
        let segment = &self.segments[&compaction.number];
        // At most what it was: then it cannot run out of space half way.
        let size: u64 = compaction
            .blocks
            .iter()
            .filter_map(|block| segment.blocks.range(*block))
            .map(|(from, to)| to.unwrap_or(segment.data_end) - from)
            .sum();
        let size = HEADER_SIZE + size + 2 * segment.ack_bytes + COPY_SLACK;
        let file = disk.create(&new_path(compaction.number), size)?;
        Ok(Copy {
            source,
            file,
            index: IndexBuilder::default(),
            end: HEADER_SIZE,
            out: Vec::new(),
        })
    }

    /// Takes what is needed of a block over.
    fn copy_block(&mut self, compaction: &mut Compaction<D::File>, block: u64) -> io::Result<()> {
        let number = compaction.number;
        let segment = &self.segments[&number];
        let Some((from, to)) = segment.blocks.range(block) else {
            return Ok(());
        };
        let to = to.unwrap_or(segment.data_end);
        let mut bytes = vec![0; (to - from) as usize];
        let Some(mut copy) = compaction.copy.take() else {
            return Ok(());
        };
        let read = copy.source.read_at(from, &mut bytes);
        if let Err(error) = unreadable(read) {
            compaction.copy = Some(copy);
            return Err(error);
        }
        let seed = Seed::new(number);
        let mut message = Vec::new();
        for met in Walk::new(&bytes, seed, from) {
            match met {
                Met::Record(record) if record.kind == Kind::Message => {
                    let Some(stored) = StoredMessage::decode(record.payload) else {
                        continue;
                    };
                    let (id, queues) = (stored.id.to_bits(), stored.queue_bytes);
                    let kept = queues.as_chunks::<8>().0.iter().filter(|queue| {
                        self.needs(compaction, QueueId(u64::from_le_bytes(**queue)), id)
                    });
                    keep_for(record.payload, queues, kept, &mut message);
                    if stored.id.block() == block && !copy.put_message(seed, &message) {
                        compaction.copy = Some(copy);
                        let offset = record.offset;
                        let damaged = io::Error::other(format!("out of order at offset {offset}"));
                        return unreadable(Err(damaged));
                    }
                }
                Met::Record(_) => {}
                Met::Hole { offset, .. } | Met::Rest { offset } => {
                    compaction.copy = Some(copy);
                    // It stays for whoever wants to look at the bytes.
                    let damaged = io::Error::other(format!("damaged at offset {offset}"));
                    return unreadable(Err(damaged));
                }
            }
        }
        let written = copy.flush(COPY_BYTES_MAX);
        compaction.copy = Some(copy);
        written
    }

    /// Puts the new file in the old one's place.
    fn finish_compaction(
        &mut self,
        disk: &D,
        compaction: &mut Compaction<D::File>,
    ) -> io::Result<()> {
        let number = compaction.number;
        let Some(copy) = &mut compaction.copy else {
            return Ok(());
        };
        let seed = Seed::new(number);
        copy.put_acks(seed, &compaction.older_acks);
        copy.put(seed, Kind::Continued, &(number + 1).to_le_bytes());
        copy.flush(0)?;
        let header = Header {
            role: Role::Log,
            number,
            next_message: 0,
            stored: copy.end,
        };
        copy.file.write_at(0, &header.encode())?;
        let footer = encode_footer(&copy.index, seed, copy.end, 0, &[]);
        copy.file.set_size(copy.end)?;
        copy.file.write_at(copy.end, &footer)?;
        copy.file.sync()?;
        disk.rename(&new_path(number), &log_path(number))?;
        disk.sync_folder(LOG)?;
        self.counters.segments_compacted += 1;
        self.counters.written_bytes += copy.end + footer.len() as u64;
        self.replace(number, &copy.index, copy.end);
        // What these say of it is worked in.
        for holder in &compaction.holders {
            if let Some(holder) = self.segments.get_mut(holder) {
                holder.targets.retain(|target| *target != number);
            }
        }
        Ok(())
    }
}

impl<F> Compaction<F> {
    /// Takes in acks for messages of the segment, whose ids are these.
    fn note_acks(&mut self, ids: Option<(u64, u64)>, acks: &[u8]) {
        let Some((first, last)) = ids else {
            return;
        };
        for (queue, run) in Runs::new(acks) {
            let before = match first {
                0 => 0,
                first => run.count_up_to(first - 1),
            };
            let count = run.count_up_to(last) - before;
            if count > 0
                && let Some(inside) = run.skip(before)
            {
                let inside = Run { count, ..inside };
                self.acked.entry(queue).or_default().insert_run(inside);
            }
        }
    }
}

impl<F: DiskFile> Copy<F> {
    fn put(&mut self, seed: Seed, kind: Kind, payload: &[u8]) {
        let offset = self.end + self.out.len() as u64;
        record::write(&mut self.out, seed, offset, kind, payload);
    }

    /// Nothing, if that is what the message is. False: an earlier one has come before it.
    fn put_message(&mut self, seed: Seed, encoded: &[u8]) -> bool {
        let Some(stored) = StoredMessage::decode(encoded) else {
            return true;
        };
        let id = stored.id.to_bits();
        if self.index.ids().is_some_and(|(_, last)| id <= last) {
            return false;
        }
        let offset = self.end + self.out.len() as u64;
        let attributes = stored.message.attributes();
        self.index.push(id, stored.queue_bytes, attributes, offset);
        self.put(seed, Kind::Message, encoded);
        true
    }

    fn put_acks(&mut self, seed: Seed, acks: &BTreeMap<QueueId, IdSet>) {
        let mut writer = RunWriter::default();
        let mut packed = Vec::new();
        for (queue, ids) in acks {
            ids.for_each(|id| writer.push(id));
            writer.finish(*queue, &mut packed);
        }
        if !packed.is_empty() {
            self.put(seed, Kind::Acks, &packed);
            self.index.acks = packed;
        }
    }

    /// Writes what was collected, if it is more than this.
    fn flush(&mut self, limit: usize) -> io::Result<()> {
        if self.out.len() > limit {
            self.file.write_at(self.end, &self.out)?;
            self.end += self.out.len() as u64;
            self.out.clear();
        }
        Ok(())
    }
}

/// An encoded message for some of its queues only; nothing if there are none.
fn keep_for<'a>(
    encoded: &[u8],
    queues: &[u8],
    kept: impl Iterator<Item = &'a [u8; 8]>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend_from_slice(&encoded[..MESSAGE_QUEUES]);
    let mut count: u32 = 0;
    for queue in kept {
        out.extend_from_slice(queue);
        count += 1;
    }
    if count == 0 {
        out.clear();
        return;
    }
    out[MESSAGE_QUEUES - 4..MESSAGE_QUEUES].copy_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&encoded[MESSAGE_QUEUES + queues.len()..]);
}

/// Marks an error of reading: it costs the rewriting, and not the process.
fn unreadable<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

fn new_path(number: u64) -> String {
    format!("{LOG}/{number:010}.compacted")
}

/// Offset of the queues in an encoded message: behind id, time of arrival and count.
const MESSAGE_QUEUES: usize = 20;
/// Less garbage than this is not worth a new file.
const GARBAGE_MIN: u64 = 64 << 10;
/// Room for the index of a new file.
const COPY_SLACK: u64 = 16 << 10;
/// Bytes collected before they are written.
const COPY_BYTES_MAX: usize = 256 << 10;
