//! Records: what the files of the store consist of.
//!
//! ```text
//!   crc (4) | size of the payload (4) | kind (1) | payload
//! ```
//!
//! All numbers little endian. The checksum covers what follows it and starts from the file's seed and
//! the record's offset, so that bytes left over from another life of the file, or moved, are no record.

use crc32fast::Hasher;

/// Bytes before a record's payload.
pub(super) const RECORD_HEADER: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// As [`Journal::append`](crate::broker::journal::Journal::append) encodes it, without the size.
    Message = 1,
    /// Who is done with which messages; see [`runs`](super::runs).
    Acks = 2,
    /// Ends a batch, and says up to where the log was stored when it was written.
    Commit = 3,
    /// The broker ended by itself: which messages may have been delivered before.
    CleanStop = 4,
    /// The broker started: a clean stop before is history.
    Started = 5,
    Definition = 6,
    /// The lowest ids that were never used.
    Counters = 7,
    /// Ends the records of a segment that is full: the log goes on in the next one.
    Continued = 8,
    /// The full segments there are; the last one of these is true.
    Segments = 9,
    /// Facts under keys, one after the other.
    Notes = 10,
}

impl Kind {
    #[inline]
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Message,
            2 => Kind::Acks,
            3 => Kind::Commit,
            4 => Kind::CleanStop,
            5 => Kind::Started,
            6 => Kind::Definition,
            7 => Kind::Counters,
            8 => Kind::Continued,
            9 => Kind::Segments,
            10 => Kind::Notes,
            _ => return None,
        })
    }
}

/// Where checksums of a file start; different for every file of a folder that ever was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u32);

impl Seed {
    pub fn new(number: u64) -> Seed {
        let mut hasher = Hasher::new();
        hasher.update(b"leveret");
        hasher.update(&number.to_le_bytes());
        Seed(hasher.finalize())
    }

    /// The checksum of bytes at an offset.
    pub fn checksum(self, offset: u64, bytes: &[u8]) -> u32 {
        if cfg!(fuzzing) {
            return 0;
        }
        let mut hasher = Hasher::new_with_initial(self.0.wrapping_add(offset as u32));
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The checksum of bytes wherever they are. A fuzzer would hardly ever get past one, so for it all are zero,
/// and what is behind them has to bear anything.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    match cfg!(fuzzing) {
        true => 0,
        false => crc32fast::hash(bytes),
    }
}

/// Writes a record that will be at `offset` of its file to the end of `out`.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, seed: Seed, offset: u64, kind: Kind, payload: &[u8]) {
    let start = out.len();
    out.reserve(RECORD_HEADER + payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(payload);
    let checksum = seed.checksum(offset, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// A record in a file's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub kind: Kind,
    pub payload: &'a [u8],
    /// Of the record in the file.
    pub offset: u64,
}

impl Record<'_> {
    pub fn end(&self) -> u64 {
        self.offset + (RECORD_HEADER + self.payload.len()) as u64
    }
}

/// The record at the start of `bytes`, which are at `offset` of the file; `None` if there is none or it
/// is damaged.
pub(super) fn read(bytes: &[u8], seed: Seed, offset: u64) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
    let kind = Kind::from_byte(header[8])?;
    let payload = rest.get(..payload_size(header))?;
    let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let covered = &bytes[4..RECORD_HEADER + payload.len()];
    (seed.checksum(offset, covered) == checksum).then_some(Record {
        kind,
        payload,
        offset,
    })
}

fn payload_size(header: &[u8; RECORD_HEADER]) -> usize {
    u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize
}

/// What a walk over a file's bytes meets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Met<'a> {
    Record(Record<'a>),
    /// Bytes that are no record, with a record behind them.
    Hole {
        offset: u64,
        size: u64,
    },
    /// Bytes up to the end that hold no record any more.
    Rest {
        offset: u64,
    },
}

/// Walks over records and, where they are damaged, to the next one that is not.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    seed: Seed,
    at: usize,
    /// Of `bytes` in the file.
    base: u64,
}

impl<'a> Walk<'a> {
    pub fn new(bytes: &'a [u8], seed: Seed, base: u64) -> Self {
        Walk {
            bytes,
            seed,
            at: 0,
            base,
        }
    }

    fn record_at(&self, at: usize) -> Option<Record<'a>> {
        read(&self.bytes[at..], self.seed, self.base + at as u64)
    }

    /// The next place with a record. Tries all of them, since a damaged size may well lead to a later
    /// record; zeros in strides, since most of a new segment is nothing else.
    fn search(&self) -> Option<usize> {
        let mut at = self.at + 1;
        while at + RECORD_HEADER <= self.bytes.len() {
            let kinds = &self.bytes[at + RECORD_HEADER - 1..];
            match kinds.first_chunk::<STRIDE>() {
                Some(chunk) if *chunk == [0; STRIDE] => at += STRIDE,
                // Most bytes are no kind, which is soon seen.
                _ if Kind::from_byte(kinds[0]).is_some() && self.record_at(at).is_some() => {
                    return Some(at);
                }
                _ => at += 1,
            }
        }
        None
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Met<'a>;

    fn next(&mut self) -> Option<Met<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if let Some(record) = self.record_at(self.at) {
            self.at += RECORD_HEADER + record.payload.len();
            return Some(Met::Record(record));
        }
        let offset = self.base + self.at as u64;
        match self.search() {
            Some(next) => {
                let size = (next - self.at) as u64;
                self.at = next;
                Some(Met::Hole { offset, size })
            }
            None => {
                self.at = self.bytes.len();
                Some(Met::Rest { offset })
            }
        }
    }
}

const STRIDE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Vec<u8>, Seed) {
        let seed = Seed::new(5);
        let mut out = Vec::new();
        for (kind, payload) in [
            (Kind::Message, &b"first"[..]),
            (Kind::Acks, b""),
            (Kind::Message, b"third one"),
        ] {
            let offset = 64 + out.len() as u64;
            write(&mut out, seed, offset, kind, payload);
        }
        (out, seed)
    }

    #[test]
    fn records_are_read_as_written_and_only_where_they_were() {
        let (bytes, seed) = three();
        let met: Vec<_> = Walk::new(&bytes, seed, 64).collect();
        assert_eq!(met.len(), 3);
        assert!(matches!(met[2], Met::Record(r) if r.payload == b"third one"));
        for (seed, base) in [(seed, 65), (Seed::new(6), 64)] {
            let met: Vec<_> = Walk::new(&bytes, seed, base).collect();
            assert!(matches!(met[..], [Met::Rest { .. }]));
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record() {
        let (whole, seed) = three();
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let intact = Walk::new(&bytes, seed, 64)
                .filter(|met| matches!(met, Met::Record(_)))
                .count();
            assert_eq!(intact, 2, "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_keeps_what_is_whole() {
        let (whole, seed) = three();
        for size in 0..whole.len() {
            let intact = Walk::new(&whole[..size], seed, 64)
                .filter(|met| matches!(met, Met::Record(_)))
                .count();
            assert_eq!(intact, usize::from(size >= 14) + usize::from(size >= 23));
        }
    }
}
