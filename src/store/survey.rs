//! Looks at a data directory, changes nothing, and finds what is to be believed.
//!
//! Full segments are taken by their footers. What has none is read record by record. Where bytes are no
//! record, there are two cases, and the commits behind tell them apart, since each says up to where all
//! was stored when it was written: in front of the last such claim a record was damaged, and is skipped;
//! behind it the last write was interrupted, and everything from there on is cut, however whole it looks:
//! pages that were never synced come to the disk in any order.

use std::io;

use crate::broker::journal::{QueueId, StoredMessage};

use super::attributes::AttributeRuns;
use super::catalog::Catalog;
use super::definitions::{FOLDER, definitions_generation, definitions_path, garbage_of, replay};
use super::error::OpenError;
use super::files::{Disk, DiskFile};
use super::index::{Blocks, IndexBuilder, MessageRuns};
use super::position::Position;
use super::record::{self, Kind, Met, RECORD_HEADER, Record, Seed, Walk};
use super::recovered::{Damage, Fault};
use super::runs::{Runs, unpack_segments};
use super::segment::{
    HEADER_SIZE, Header, HeaderError, LOG, RESERVE, Role, Section, TRAILER_SIZE, Trailer,
    log_number, log_path,
};

/// What a directory holds.
#[derive(Default)]
pub(super) struct Survey {
    pub catalog: Catalog,
    /// Of these, some cannot be read.
    pub definitions_lost: bool,
    /// Of the definitions, if there are any.
    pub definitions: Option<SurveyedDefinitions>,
    /// In order.
    pub segments: Vec<Surveyed>,
    /// Files of the log that hold nothing to be believed.
    pub void: Vec<String>,
    /// Files of work that was not finished, or is obsolete.
    pub leftovers: Vec<String>,
    /// The highest number any segment has.
    pub last_number: u64,
    pub next_message: u64,
    /// What the headers of segments say of it, by their numbers.
    headers: Vec<(u64, u64)>,
    /// Every message below was stored, if it was ever written down.
    stored_messages: u64,
    pub clean_stop: Option<Vec<u8>>,
    pub damage: Vec<Damage>,
    /// Copies of damaged bytes, by the name they are to be kept under.
    pub aside: Vec<(String, Vec<u8>)>,
    /// Whole files to be kept: nothing in them could be read.
    pub aside_files: Vec<String>,
}

pub(super) struct SurveyedDefinitions {
    pub generation: u64,
    pub end: u64,
    /// Bytes that a new file would not have.
    pub garbage: u64,
    /// Something in it was not as written.
    pub spoilt: bool,
}

/// A segment that is to be believed.
pub(super) struct Surveyed {
    pub number: u64,
    pub ids: Option<(u64, u64)>,
    pub blocks: Blocks,
    pub data_end: u64,
    /// `None` if it has a footer already.
    pub index: Option<IndexBuilder>,
    /// Offset of a clean stop.
    pub clean_stop: u64,
    /// The full segments there were, if it was read by its records.
    list: Vec<u8>,
    trailer: Trailer,
}

impl Surveyed {
    /// Reads a section of its index.
    pub fn section<D: Disk>(&self, disk: &D, section: Section) -> io::Result<Vec<u8>> {
        if let Some(index) = &self.index {
            let mut out = Vec::new();
            match section {
                Section::Blocks => index.blocks.encode(&mut out),
                Section::Messages => index.encode_messages(&mut out),
                Section::Attributes => index.attributes.encode(&mut out),
                Section::Acks => out.extend_from_slice(&index.acks),
                Section::Segments => out.extend_from_slice(&self.list),
            }
            return Ok(out);
        }
        let file = disk.open(&log_path(self.number))?;
        read_section(&file, &self.trailer, section)
    }
}

pub(super) fn survey<D: Disk>(disk: &D) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    survey.survey_definitions(disk)?;
    survey.survey_log(disk)?;
    Ok(survey)
}

impl Survey {
    fn survey_definitions<D: Disk>(&mut self, disk: &D) -> Result<(), OpenError> {
        let names = disk.list(FOLDER).map_err(|e| OpenError::io(FOLDER, e))?;
        let mut generations = Vec::new();
        for name in names {
            match definitions_generation(&name) {
                Some(generation) => generations.push(generation),
                None => self.leftovers.push(format!("{FOLDER}/{name}")),
            }
        }
        generations.sort_unstable();
        let Some(generation) = generations.pop() else {
            return Ok(());
        };
        // The new file was complete before it got its name.
        for old in generations {
            self.leftovers.push(definitions_path(old));
        }
        let path = definitions_path(generation);
        let (bytes, stored) = self.read_file(disk, &path, Role::Definitions, generation)?;
        let seed = Seed::new(generation);
        let records = bytes.get(HEADER_SIZE as usize..).unwrap_or_default();
        let met: Vec<_> = Walk::new(records, seed, HEADER_SIZE).collect();
        let claim = last_claim(&met).max(Position {
            segment: generation,
            offset: stored,
        });
        let damaged = self.damage.len();
        let accepted = self.accept(&path, records, &met, generation, claim);
        for record in accepted.records(&met) {
            if replay(&mut self.catalog, record.kind, record.payload).is_none() {
                self.note_damage(&path, records, record.offset, record.end());
            }
        }
        let noted = &self.damage[damaged..];
        self.definitions_lost = noted.iter().any(|damage| damage.what.is_loss());
        self.next_message = self.catalog.next_message;
        self.definitions = Some(SurveyedDefinitions {
            generation,
            end: accepted.end,
            garbage: met.iter().map(garbage_of).sum(),
            spoilt: self.damage.len() > damaged,
        });
        Ok(())
    }

    /// Above the ids of all messages that may ever have been stored.
    pub fn end_of_messages(&self) -> u64 {
        self.next_message.max(self.end_of_found())
    }

    /// Above the ids of all messages that were stored, and not above those of others.
    pub fn end_of_stored(&self) -> u64 {
        self.stored_messages.max(self.end_of_found())
    }

    fn end_of_found(&self) -> u64 {
        let last = self.segments.iter().filter_map(|it| it.ids).next_back();
        last.map_or(0, |(_, last)| last + 1)
    }

    /// A segment's header knows the messages before it, stored or not: they were stored if the segment
    /// before is full or gone. If it is neither, it is here to tell itself.
    fn end_of_settled(&self, found: &[(u64, Option<Surveyed>)]) -> u64 {
        let is_open = |number: u64| {
            let mut found = found.iter();
            found.any(|(at, sealed)| *at == number && sealed.is_none())
        };
        let headers = self.headers.iter();
        let settled = headers.filter(|(number, _)| !is_open(number.saturating_sub(1)));
        settled.map(|(_, next)| *next).max().unwrap_or(0)
    }

    /// Whether messages of this queue are to be kept.
    pub fn holds_queue(&self, queue: QueueId) -> bool {
        self.catalog.has_queue(queue) || (self.definitions_lost && !self.catalog.was_deleted(queue))
    }

    fn survey_log<D: Disk>(&mut self, disk: &D) -> Result<(), OpenError> {
        let names = disk.list(LOG).map_err(|e| OpenError::io(LOG, e))?;
        let mut numbers = Vec::new();
        for name in names {
            match (log_number(&name), format!("{LOG}/{name}")) {
                (Some(number), _) => numbers.push(number),
                (None, path) if path == RESERVE => {}
                (None, path) => self.leftovers.push(path),
            }
        }
        numbers.sort_unstable();
        self.last_number = numbers.last().copied().unwrap_or(0);
        let mut found = Vec::new();
        let mut claim = Position::default();
        for number in numbers {
            let path = log_path(number);
            let sealed = self.read_footer(disk, number)?;
            let claimed = match &sealed {
                Some(sealed) => Position {
                    segment: number,
                    offset: sealed.data_end,
                },
                None => {
                    let (bytes, stored) = self.read_file(disk, &path, Role::Log, number)?;
                    let records = bytes.get(HEADER_SIZE as usize..).unwrap_or_default();
                    // A new segment's header says nothing of what is before it.
                    let complete = Position {
                        segment: if stored > 0 { number } else { 0 },
                        offset: stored,
                    };
                    let met: Vec<_> = Walk::new(records, Seed::new(number), HEADER_SIZE).collect();
                    last_claim(&met).max(complete)
                }
            };
            claim = claim.max(claimed);
            found.push((number, sealed));
        }
        self.stored_messages = self.catalog.next_message.max(self.end_of_settled(&found));
        let mut torn = false;
        for (number, sealed) in found {
            if torn {
                self.void.push(log_path(number));
                continue;
            }
            match sealed {
                Some(sealed) => self.segments.push(sealed),
                None => torn = self.scan(disk, number, claim)?,
            }
        }
        self.compare_with_list(disk)?;
        self.find_clean_stop(disk)
    }

    /// The last segment knows which there should be. Others were on their way out: nobody needs them, and
    /// acks for them may be gone already.
    fn compare_with_list<D: Disk>(&mut self, disk: &D) -> Result<(), OpenError> {
        let Some(last) = self.segments.last() else {
            return Ok(());
        };
        let list = last
            .section(disk, Section::Segments)
            .map_err(|e| OpenError::io(log_path(last.number), e))?;
        let Some(listed) = unpack_segments(&list) else {
            return Ok(());
        };
        let there: Vec<u64> = self.segments.iter().map(|it| it.number).collect();
        for number in &listed {
            let path = log_path(*number);
            if there.binary_search(number).is_err() && !self.aside_files.contains(&path) {
                self.damage.push(Damage {
                    file: path,
                    offset: 0,
                    bytes: 0,
                    what: Fault::Missing,
                });
            }
        }
        let last = last.number;
        let (kept, gone) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|it| it.number >= last || listed.binary_search(&it.number).is_ok());
        self.segments = kept;
        self.void
            .extend(gone.into_iter().map(|it: Surveyed| log_path(it.number)));
        Ok(())
    }

    /// Reads a segment by its records; whether the log ends in it.
    fn scan<D: Disk>(&mut self, disk: &D, number: u64, claim: Position) -> Result<bool, OpenError> {
        let path = log_path(number);
        let bytes = read_all(disk, &path).map_err(|e| OpenError::io(&path, e))?;
        let records = bytes.get(HEADER_SIZE as usize..).unwrap_or_default();
        let seed = Seed::new(number);
        let met: Vec<_> = Walk::new(records, seed, HEADER_SIZE).collect();
        let accepted = self.accept(&path, records, &met, number, claim);
        let mut index = IndexBuilder::default();
        let mut clean_stop = 0;
        let mut list = Vec::new();
        for record in accepted.records(&met) {
            clean_stop = 0;
            match record.kind {
                Kind::Message => match StoredMessage::decode(record.payload) {
                    Some(stored)
                        if index
                            .ids()
                            .is_none_or(|(_, last)| stored.id.to_bits() > last) =>
                    {
                        let attributes = stored.message.attributes();
                        let id = stored.id.to_bits();
                        index.push(id, stored.queue_bytes, attributes, record.offset);
                    }
                    _ => self.note_damage(&path, records, record.offset, record.end()),
                },
                Kind::Acks => {
                    let mut runs = Runs::new(record.payload);
                    runs.by_ref().for_each(drop);
                    if runs.malformed {
                        self.note_damage(&path, records, record.offset, record.end());
                    } else {
                        index.acks.extend_from_slice(record.payload);
                    }
                }
                Kind::CleanStop => clean_stop = record.offset,
                Kind::Segments => list = record.payload.to_vec(),
                _ => {}
            }
        }
        if accepted.end == HEADER_SIZE {
            // Nothing in it. If that is not because nothing was written, somebody may want the bytes.
            if accepted.lost {
                self.aside_files.push(path);
            } else {
                self.void.push(path);
            }
            return Ok(accepted.torn);
        }
        self.segments.push(Surveyed {
            number,
            ids: index.ids(),
            blocks: index.blocks.clone(),
            data_end: accepted.end,
            index: Some(index),
            clean_stop,
            list,
            trailer: Trailer::default(),
        });
        Ok(accepted.torn)
    }

    /// Takes a segment by its footer, if all of that is intact.
    fn read_footer<D: Disk>(
        &mut self,
        disk: &D,
        number: u64,
    ) -> Result<Option<Surveyed>, OpenError> {
        let path = log_path(number);
        let read = || -> io::Result<Option<(Surveyed, bool)>> {
            let file = disk.open(&path)?;
            let size = file.size()?;
            if size < HEADER_SIZE + TRAILER_SIZE {
                return Ok(None);
            }
            let mut bytes = [0; TRAILER_SIZE as usize];
            file.read_at(size - TRAILER_SIZE, &mut bytes)?;
            let Some(trailer) = Trailer::decode(&bytes, Seed::new(number), size) else {
                return Ok(None);
            };
            Ok(Some(match intact_sections(&file, &trailer)? {
                Some(blocks) => (Surveyed::sealed(number, blocks, trailer), true),
                None => (Surveyed::sealed(number, Blocks::default(), trailer), false),
            }))
        };
        match read().map_err(|e| OpenError::io(&path, e))? {
            None => Ok(None),
            Some((sealed, true)) => {
                let file = disk.open(&path).map_err(|e| OpenError::io(&path, e))?;
                self.check_header(&file, &path, Role::Log, number)?;
                Ok(Some(sealed))
            }
            Some((sealed, false)) => {
                self.damage.push(Damage {
                    file: path,
                    offset: sealed.data_end,
                    bytes: sealed.trailer.sizes.iter().map(|s| u64::from(*s)).sum(),
                    what: Fault::Footer,
                });
                Ok(None)
            }
        }
    }

    fn find_clean_stop<D: Disk>(&mut self, disk: &D) -> Result<(), OpenError> {
        let Some(last) = self.segments.last().filter(|last| last.clean_stop > 0) else {
            return Ok(());
        };
        let path = log_path(last.number);
        let size = last.data_end - last.clean_stop.min(last.data_end);
        let mut bytes = vec![0; size as usize];
        let read = disk
            .open(&path)
            .and_then(|file| file.read_at(last.clean_stop, &mut bytes));
        read.map_err(|e| OpenError::io(&path, e))?;
        match record::read(&bytes, Seed::new(last.number), last.clean_stop) {
            Some(record) if record.kind == Kind::CleanStop => {
                self.clean_stop = Some(record.payload.to_vec());
            }
            _ => {
                let (from, to) = (last.clean_stop, last.data_end);
                self.damage.push(Damage {
                    file: path,
                    offset: from,
                    bytes: to - from,
                    what: Fault::Record,
                });
            }
        }
        Ok(())
    }

    /// Decides which records of a file are to be believed, given what a walk over it met and up to where
    /// the log was surely stored.
    fn accept(
        &mut self,
        path: &str,
        records: &[u8],
        met: &[Met<'_>],
        number: u64,
        claim: Position,
    ) -> Accepted {
        // Files behind this one hold what was stored, so all of it was.
        let all_stored = claim.segment > number;
        let claimed = |offset| {
            Position {
                segment: number,
                offset,
            } < claim
        };
        let mut accepted = Accepted {
            end: HEADER_SIZE,
            torn: true,
            lost: false,
        };
        let mut end = HEADER_SIZE;
        let file_end = HEADER_SIZE + records.len() as u64;
        for it in met {
            match *it {
                Met::Record(record) => {
                    end = record.end();
                    if ends_batch(record.kind) || claimed(record.offset) {
                        accepted.end = end;
                    }
                    if record.kind == Kind::Continued {
                        accepted.torn = false;
                        return accepted;
                    }
                }
                Met::Hole { offset, size } if claimed(offset) => {
                    accepted.lost = true;
                    self.note_damage(path, records, offset, offset + size);
                }
                Met::Hole { offset, .. } => {
                    let last = met.iter().rev().find_map(|it| match it {
                        Met::Record(record) => Some(record.end()),
                        Met::Hole { .. } | Met::Rest { .. } => None,
                    });
                    self.cut(path, records, accepted.end, last.unwrap_or(offset));
                    return accepted;
                }
                Met::Rest { offset } => {
                    if claimed(offset) {
                        accepted.lost = true;
                        let to = if all_stored { file_end } else { claim.offset };
                        self.note_damage(path, records, offset, to.min(file_end));
                    } else if let Some(end) = record_like(records, offset)
                        && !is_left_over(records, offset, number)
                    {
                        self.cut(path, records, accepted.end, end);
                        return accepted;
                    }
                }
            }
        }
        if all_stored {
            let last = met.iter().rev().find_map(|it| match it {
                Met::Record(record) => Some(record.kind),
                Met::Hole { .. } | Met::Rest { .. } => None,
            });
            if !accepted.lost && last != Some(Kind::CleanStop) {
                // The file ends too early, just between two records.
                accepted.lost = true;
                self.note_damage(path, records, end, end);
            }
            accepted.end = end;
            accepted.torn = false;
        } else if end > accepted.end {
            self.cut(path, records, accepted.end, end);
        }
        accepted
    }

    /// Notes what a crash left of the last write, and keeps the bytes.
    fn cut(&mut self, path: &str, records: &[u8], from: u64, to: u64) {
        self.keep(path, records, from, to);
        self.damage.push(Damage {
            file: path.to_owned(),
            offset: from,
            bytes: to.saturating_sub(from),
            what: Fault::Torn,
        });
    }

    fn note_damage(&mut self, path: &str, records: &[u8], from: u64, to: u64) {
        self.keep(path, records, from, to);
        self.damage.push(Damage {
            file: path.to_owned(),
            offset: from,
            bytes: to.saturating_sub(from),
            what: Fault::Record,
        });
    }

    fn keep(&mut self, path: &str, records: &[u8], from: u64, to: u64) {
        let range = (from - HEADER_SIZE) as usize..(to.max(from) - HEADER_SIZE) as usize;
        if let Some(bytes) = records.get(range)
            && !bytes.is_empty()
        {
            let name = path.replace('/', "-");
            self.aside.push((format!("{name}.{from}"), bytes.to_vec()));
        }
    }

    fn read_file<D: Disk>(
        &mut self,
        disk: &D,
        path: &str,
        role: Role,
        number: u64,
    ) -> Result<(Vec<u8>, u64), OpenError> {
        let file = disk.open(path).map_err(|e| OpenError::io(path, e))?;
        let stored = self.check_header(&file, path, role, number)?;
        let bytes = read_all(disk, path).map_err(|e| OpenError::io(path, e))?;
        Ok((bytes, stored))
    }

    /// Refuses what a later version wrote. A damaged header costs little: the name says most. Returns up
    /// to where the file was stored from its beginning.
    fn check_header<F: DiskFile>(
        &mut self,
        file: &F,
        path: &str,
        role: Role,
        number: u64,
    ) -> Result<u64, OpenError> {
        let mut bytes = [0; HEADER_SIZE as usize];
        let size = file.size().map_err(|e| OpenError::io(path, e))?;
        if size >= HEADER_SIZE {
            file.read_at(0, &mut bytes)
                .map_err(|e| OpenError::io(path, e))?;
        }
        match Header::decode(&bytes) {
            Ok(header) if header.role == role && header.number == number => {
                self.next_message = self.next_message.max(header.next_message);
                if role == Role::Log {
                    self.headers.push((number, header.next_message));
                }
                return Ok(header.stored);
            }
            Err(HeaderError::Version(version)) => {
                return Err(OpenError::Version {
                    file: path.to_owned(),
                    version,
                });
            }
            _ => self.damage.push(Damage {
                file: path.to_owned(),
                offset: 0,
                bytes: HEADER_SIZE.min(size),
                what: Fault::Header,
            }),
        }
        Ok(0)
    }
}

impl Surveyed {
    fn sealed(number: u64, blocks: Blocks, trailer: Trailer) -> Self {
        Surveyed {
            number,
            ids: trailer.ids(),
            blocks,
            data_end: trailer.data_end,
            index: None,
            clean_stop: trailer.clean_stop,
            list: Vec::new(),
            trailer,
        }
    }
}

/// Which records of a file count.
struct Accepted {
    end: u64,
    /// The log goes no further than this file.
    torn: bool,
    /// Something in it was stored and cannot be read.
    lost: bool,
}

impl Accepted {
    fn records<'a>(&self, met: &[Met<'a>]) -> impl Iterator<Item = Record<'a>> {
        let end = self.end;
        met.iter()
            .filter_map(|it| match it {
                Met::Record(record) => Some(*record),
                Met::Hole { .. } | Met::Rest { .. } => None,
            })
            .take_while(move |record| record.offset < end)
    }
}

/// Whether all before this record belongs together with it.
fn ends_batch(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Commit
            | Kind::Started
            | Kind::CleanStop
            | Kind::Continued
            | Kind::Counters
            | Kind::Segments
    )
}

/// The furthest place up to which a file says that all was stored.
fn last_claim(met: &[Met<'_>]) -> Position {
    met.iter()
        .filter_map(|it| match it {
            Met::Record(record) if matches!(record.kind, Kind::Commit | Kind::Started) => {
                Position::decode(record.payload)
            }
            _ => None,
        })
        .max()
        .unwrap_or_default()
}

/// The end of what was a record, by its looks.
fn record_like(records: &[u8], offset: u64) -> Option<u64> {
    let at = (offset - HEADER_SIZE) as usize;
    let header = records.get(at..)?.first_chunk::<RECORD_HEADER>()?;
    let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let end = at + RECORD_HEADER + size as usize;
    ((1..16).contains(&header[8]) && end <= records.len())
        .then_some(offset + (RECORD_HEADER as u64) + u64::from(size))
}

/// Whether a record is from another life of the file, when it was an earlier segment.
fn is_left_over(records: &[u8], offset: u64, number: u64) -> bool {
    let bytes = &records[(offset - HEADER_SIZE) as usize..];
    (number.saturating_sub(EARLIER_SEGMENTS)..number)
        .any(|earlier| record::read(bytes, Seed::new(earlier), offset).is_some())
}

/// How far back it is tried.
const EARLIER_SEGMENTS: u64 = 1000;

fn read_all<D: Disk>(disk: &D, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; file.size()? as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn read_section<F: DiskFile>(file: &F, trailer: &Trailer, section: Section) -> io::Result<Vec<u8>> {
    let (offset, size) = trailer.place(section);
    let mut bytes = vec![0; size];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Checks all of a footer; its blocks, if it is as it was written.
fn intact_sections<F: DiskFile>(file: &F, trailer: &Trailer) -> io::Result<Option<Blocks>> {
    let mut sections = Vec::new();
    for section in [
        Section::Blocks,
        Section::Messages,
        Section::Attributes,
        Section::Acks,
        Section::Segments,
    ] {
        let bytes = read_section(file, trailer, section)?;
        if !trailer.is_intact(section, &bytes) {
            return Ok(None);
        }
        sections.push(bytes);
    }
    let [blocks, messages, attributes, acks, _] = &sections[..] else {
        return Ok(None);
    };
    let mut acks = Runs::new(acks);
    acks.by_ref().for_each(drop);
    let Some(mut messages) = MessageRuns::decode(messages) else {
        return Ok(None);
    };
    let count: u64 = messages.by_ref().map(|run| run.count).sum();
    let count_max = trailer.data_end / RECORD_HEADER as u64;
    let mut attributes = AttributeRuns::new(attributes);
    let described = attributes
        .by_ref()
        .fold(0, |sum: u64, (_, count)| sum.saturating_add(count));
    let malformed = acks.malformed || messages.malformed || attributes.malformed;
    if malformed || count != described || count > count_max {
        return Ok(None);
    }
    let blocks = Blocks::decode(blocks);
    Ok(blocks.filter(|blocks| blocks.are_within(trailer.data_end)))
}
