//! Segments of the log: one becomes full and gets its index, the next one begins, in a file that was another
//! if there is one, and those that nobody needs go.

use std::io;

use super::super::files::{Disk, DiskFile, is_full};
use super::super::index::{ENTRY_SIZE_MAX, IndexBuilder};
use super::super::record::{Kind, RECORD_HEADER, Seed};
use super::super::runs;
use super::super::segment::{
    HEADER_SIZE, Header, LOG, RESERVE, Role, Segment, TRAILER_SIZE, Weight, encode_footer, log_path,
};
use super::{Active, COMMIT_SIZE, Log, Reserve};

impl<D: Disk> Log<D> {
    /// Makes sure that a record of this size fits the active segment, with what it adds to the index, and
    /// that so much is left.
    pub(super) fn reserve(
        &mut self,
        disk: &D,
        size: usize,
        index: usize,
        left: u64,
    ) -> io::Result<()> {
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

    /// What messages leave of the active segment while there is no file for another: acks go there if there
    /// is no space for one, and they make space.
    pub(super) fn ack_reserve(&self) -> u64 {
        if self.spares.is_empty() {
            self.segment_bytes / RESERVE_SHARE
        } else {
            0
        }
    }

    /// Goes on in a new segment.
    fn rotate(&mut self, disk: &D, capacity: u64, capacity_min: u64) -> io::Result<()> {
        self.flush()?;
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
        let end = self.active.end;
        self.put(Kind::Continued, &number.to_le_bytes());
        if let Err(error) = self.flush() {
            // A smaller record may still fit here, and must not come behind the last one.
            self.out.clear();
            self.active.end = end;
            self.recycle(disk, &log_path(number), capacity == self.segment_bytes)?;
            return Err(error);
        }
        self.counters.segments_created += 1;
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
    pub(super) fn list(&self) -> Vec<u8> {
        let sealed = self.segments.keys().copied();
        let kept = sealed.filter(|number| !self.condemned.contains(number));
        let closing = self.closing.iter().map(|full| full.number);
        runs::pack_segments(kept.chain(closing))
    }

    pub(super) fn seal_closing(&mut self) -> io::Result<()> {
        while let Some(full) = self.closing.first() {
            let list = self.list();
            let footer = encode_footer(&full.index, full.seed, full.end, full.clean_stop, &list);
            full.file.write_at(full.end, &footer)?;
            full.file.set_size(full.end + footer.len() as u64)?;
            self.counters.written_bytes += footer.len() as u64;
            let full = self.closing.remove(0);
            self.seal(full);
        }
        Ok(())
    }

    /// A segment has its footer.
    fn seal(&mut self, full: Active<D::File>) {
        let mut blocks = full.index.blocks.clone();
        blocks.shrink();
        let segment = Segment {
            number: full.number,
            ids: full.index.ids(),
            live: full.live,
            weight: weight_of(&full.index, full.end),
            blocks,
            data_end: full.end,
            targets: full.targets,
            ack_bytes: full.index.acks.len() as u64,
            unreadable: false,
        };
        // What was acked while it was written was not looked at.
        self.garbage_bytes += segment.garbage();
        self.changed = true;
        self.segments.insert(full.number, segment);
        self.sealing.push(full.file);
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
        self.recycle(disk, &log_path(number), regular)
    }

    fn recycle(&mut self, disk: &D, path: &str, regular: bool) -> io::Result<()> {
        if regular && self.spares.len() < SPARES_MAX {
            let spare = format!("{LOG}/spare-{}", self.next_spare);
            self.next_spare += 1;
            match disk.rename(path, &spare) {
                // The folder has no room for another name.
                Err(error) if is_full(&error) => {}
                result => {
                    self.spares.push(spare);
                    return result;
                }
            }
        }
        disk.remove(path)
    }

    /// Makes a file ready for the next segment, so that the batch that needs it does not wait.
    pub fn prepare(&mut self, disk: &D) -> io::Result<()> {
        if self.reserve == Reserve::Wanted {
            self.prepare_reserve(disk);
        }
        if !self.spares.is_empty() {
            self.space_low = false;
            return Ok(());
        }
        // A segment that is no larger than what was left of the disk needs another at once.
        if self.active.end + self.segment_bytes / 2 < self.active.capacity {
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
                if self.reserve == Reserve::Missing {
                    self.reserve = Reserve::Wanted;
                }
                Ok(())
            }
            // Publishers are told to wait, and it is tried again.
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets space aside for a start on a full disk. Nobody minds if it is not there after a crash.
    pub(super) fn prepare_reserve(&mut self, disk: &D) {
        if self.reserve == Reserve::There {
            return;
        }
        self.reserve = match disk.create(RESERVE, self.segment_bytes / RESERVE_SHARE) {
            Ok(_) => Reserve::There,
            // A convenience for a later start, whatever the reason: what matters meets the error itself.
            Err(_) => Reserve::Missing,
        };
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
        segment.weight = weight_of(index, data_end);
        segment.blocks = index.blocks.clone();
        segment.blocks.shrink();
        segment.data_end = data_end;
        segment.ack_bytes = index.acks.len() as u64;
    }
}

/// What all messages of a segment weigh.
fn weight_of(index: &IndexBuilder, data_end: u64) -> Weight {
    let records = data_end.saturating_sub(index.acks.len() as u64);
    Weight::of(index.bodies, index.references, index.bodies, records)
}

/// The segment that a start goes on in. On a full disk it is in the space that was kept for it, which does
/// for acks, or as large as may be: consumers make space, and publishers wait for it.
pub(super) fn create_first<D: Disk>(
    disk: &D,
    number: u64,
    capacity: u64,
    next_message: u64,
) -> io::Result<Active<D::File>> {
    match create(disk, number, capacity, next_message) {
        Err(error) if is_full(&error) => {}
        result => return result,
    }
    let capacity_min = FIRST_BYTES_MIN.min(capacity / RESERVE_SHARE);
    if let Ok(file) = disk.open(RESERVE) {
        let size = file.size()?;
        if size >= capacity_min {
            return begin(disk, file, RESERVE, number, size, next_message);
        }
    }
    let mut capacity = capacity / 2;
    loop {
        match create(disk, number, capacity, next_message) {
            Err(error) if is_full(&error) && capacity / 2 >= capacity_min => capacity /= 2,
            result => return result,
        }
    }
}

/// Whether the space for another such start is there.
pub(super) fn find_reserve<D: Disk>(disk: &D, segment_bytes: u64) -> Reserve {
    let size = disk.open(RESERVE).and_then(|file| file.size());
    match size {
        Ok(size) if size >= segment_bytes / RESERVE_SHARE => Reserve::There,
        _ => Reserve::Wanted,
    }
}

/// A segment in a new file.
pub(super) fn create<D: Disk>(
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

/// The part of a segment that is left for acks when there is no space, at least.
const RESERVE_SHARE: u64 = 8;
/// A start goes on in no segment smaller than this.
const FIRST_BYTES_MIN: u64 = 64 << 10;
/// What a list of segments may take more when there is one more.
const LIST_GROWTH: usize = 32;
const CONTINUED_SIZE: usize = RECORD_HEADER + 8;
/// Beside its one record, what a segment of unusual size has room for.
const INDEX_ROOM: u64 = 64 << 10;
/// Files of removed segments kept for the next ones: their blocks are allocated and written, so that a
/// sync has no file system structures to change.
const SPARES_MAX: usize = 2;
