//! Reading back what is in the log.

use std::io;

use crate::broker::journal::StoredMessage;
use crate::broker::message::BLOCK_MESSAGES;

use super::super::files::{Disk, DiskFile, is_damage};
use super::super::index::Blocks;
use super::super::record::{Kind, Met, Seed, Walk};
use super::super::segment::{Section, TRAILER_SIZE, Trailer, log_path};
use super::Log;

impl<D: Disk> Log<D> {
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
            Met::Record(record) if record.kind == Kind::Message => {
                let message = StoredMessage::decode(record.payload);
                if message.is_some_and(|message| message.id.block() == block) {
                    out.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
                    out.extend_from_slice(record.payload);
                }
            }
            Met::Record(_) => {}
            Met::Hole { offset, .. } | Met::Rest { offset } => {
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

const OPEN_FILES_MAX: usize = 16;
