//! What is around the records of a file: its header and, once it is full, its footer.
//!
//! ```text
//!   header (64) | records ... | blocks | messages | attributes | acks | segments | trailer (80)
//!                             +------------------ footer, up to the end of the file
//! ```
//!
//! The footer is written when all before it is stored; so a valid footer is also a proof of that.

use crate::broker::message::MessageId;

use super::index::{Blocks, Bodies, IndexBuilder};
use super::record::{self, Seed};

/// Bytes of a header.
pub(super) const HEADER_SIZE: u64 = 64;
/// Bytes of a trailer.
pub(super) const TRAILER_SIZE: u64 = 80;

/// Raised when files are written that older programs would misread. Any other is refused.
pub(super) const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"leveret\n";
const SECTIONS: usize = 5;

/// What a file is; its bytes are at the start, so that a stray one can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Role {
    Log = 1,
    Definitions = 2,
}

/// The start of a file: magic (8), version (4), role (4), number (8), first id (8), stored (8),
/// zeros, and the checksum of it all (4). A later version may change all but the magic, version and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub role: Role,
    pub number: u64,
    /// No message before it has an id this high.
    pub next_message: u64,
    /// Up to here the file was stored before it got its name; zero if it was only its header.
    pub stored: u64,
}

pub(super) enum HeaderError {
    Damaged,
    /// Written by a program that has another version of the format.
    Version(u32),
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_SIZE as usize] {
        let mut out = [0; HEADER_SIZE as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(self.role as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.next_message.to_le_bytes());
        out[32..40].copy_from_slice(&self.stored.to_le_bytes());
        let checksum = record::hash(&out[..60]);
        out[60..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; HEADER_SIZE as usize]) -> Result<Header, HeaderError> {
        let checksum = record::hash(&bytes[..60]).to_le_bytes();
        if &bytes[..8] != MAGIC || bytes[60..] != checksum {
            return Err(HeaderError::Damaged);
        }
        let version = read_u32(bytes, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let role = match read_u32(bytes, 12) {
            1 => Role::Log,
            2 => Role::Definitions,
            _ => return Err(HeaderError::Damaged),
        };
        let header = Header {
            role,
            number: read_u64(bytes, 16),
            next_message: read_u64(bytes, 24),
            stored: read_u64(bytes, 32),
        };
        match header.next_message <= MessageId::STORED_MAX {
            true => Ok(header),
            false => Err(HeaderError::Damaged),
        }
    }
}

/// The end of a full segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where records end and the footer begins.
    pub data_end: u64,
    /// Offset of a clean stop behind which nothing comes; zero if there is none.
    pub clean_stop: u64,
    /// Bytes of the sections, in their order.
    pub sizes: [u32; SECTIONS],
    /// Their checksums.
    pub checksums: [u32; SECTIONS],
    /// First and last id of its messages, both one more; zero if there are none.
    pub ids: (u64, u64),
}

/// A section of a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Blocks,
    Messages,
    Attributes,
    Acks,
    /// The full segments there were when it was written.
    Segments,
}

impl Trailer {
    fn encode(&self, seed: Seed) -> [u8; TRAILER_SIZE as usize] {
        let mut out = [0; TRAILER_SIZE as usize];
        out[..8].copy_from_slice(&self.data_end.to_le_bytes());
        out[8..16].copy_from_slice(&self.clean_stop.to_le_bytes());
        out[16..24].copy_from_slice(&self.ids.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.ids.1.to_le_bytes());
        for (n, number) in self.sizes.iter().chain(&self.checksums).enumerate() {
            out[32 + 4 * n..][..4].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = seed.checksum(0, &out[..76]);
        out[76..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` if these bytes do not end a file of this size.
    pub fn decode(bytes: &[u8; TRAILER_SIZE as usize], seed: Seed, file_size: u64) -> Option<Self> {
        if seed.checksum(0, &bytes[..76]).to_le_bytes() != bytes[76..] {
            return None;
        }
        let trailer = Trailer {
            data_end: read_u64(bytes, 0),
            clean_stop: read_u64(bytes, 8),
            ids: (read_u64(bytes, 16), read_u64(bytes, 24)),
            sizes: std::array::from_fn(|n| read_u32(bytes, 32 + 4 * n)),
            checksums: std::array::from_fn(|n| read_u32(bytes, 32 + 4 * (SECTIONS + n))),
        };
        let sections: u64 = trailer.sizes.iter().map(|size| u64::from(*size)).sum();
        let size = trailer
            .data_end
            .checked_add(sections)?
            .checked_add(TRAILER_SIZE)?;
        let is_sound = trailer.data_end >= HEADER_SIZE
            && trailer.clean_stop <= trailer.data_end
            && trailer.ids.1 <= MessageId::STORED_MAX
            && size == file_size;
        is_sound.then_some(trailer)
    }

    pub fn ids(&self) -> Option<(u64, u64)> {
        let (first, last) = self.ids;
        (first > 0 && first <= last).then(|| (first - 1, last - 1))
    }

    /// Offset and size of a section.
    pub fn place(&self, section: Section) -> (u64, usize) {
        let before: u64 = self.sizes[..section as usize]
            .iter()
            .map(|size| u64::from(*size))
            .sum();
        (
            self.data_end + before,
            self.sizes[section as usize] as usize,
        )
    }

    pub fn is_intact(&self, section: Section, bytes: &[u8]) -> bool {
        record::hash(bytes) == self.checksums[section as usize]
    }
}

/// All of a footer, to be written at `data_end`.
pub(super) fn encode_footer(
    index: &IndexBuilder,
    seed: Seed,
    data_end: u64,
    clean_stop: u64,
    segments: &[u8],
) -> Vec<u8> {
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    index.blocks.encode(&mut sections[Section::Blocks as usize]);
    index.encode_messages(&mut sections[Section::Messages as usize]);
    let attributes = &mut sections[Section::Attributes as usize];
    index.attributes.encode(attributes);
    sections[Section::Acks as usize].extend_from_slice(&index.acks);
    sections[Section::Segments as usize].extend_from_slice(segments);
    let trailer = Trailer {
        data_end,
        clean_stop,
        sizes: sections.each_ref().map(|section| section.len() as u32),
        checksums: sections.each_ref().map(|section| record::hash(section)),
        ids: index
            .ids()
            .map_or((0, 0), |(first, last)| (first + 1, last + 1)),
    };
    let mut out = sections.concat();
    out.extend_from_slice(&trailer.encode(seed));
    out
}

/// What the running store knows of a segment that is no longer written to.
pub(super) struct Segment {
    pub number: u64,
    /// First and last id of its messages.
    pub ids: Option<(u64, u64)>,
    /// Copies of messages that somebody needs.
    pub live: u64,
    pub weight: Weight,
    pub blocks: Blocks,
    /// Where its records end.
    pub data_end: u64,
    /// Older segments, of which it holds acks; ascending.
    pub targets: Vec<u64>,
    /// Bytes of its acks.
    pub ack_bytes: u64,
    /// It could not be read when it was to be rewritten.
    pub unreadable: bool,
}

impl Segment {
    /// Bytes that nobody needs, by the average size of a copy; exact if nothing was acked since the segment
    /// was last looked at.
    pub fn garbage(&self) -> u64 {
        self.garbage_beside(self.weight.expected(self.live))
    }

    /// Bytes that nobody needs at most, if the largest messages were acked first.
    pub fn garbage_max(&self) -> u64 {
        self.garbage_beside(self.weight.at_least(self.live))
    }

    fn garbage_beside(&self, needed: u64) -> u64 {
        self.data_end.saturating_sub(needed + self.ack_bytes)
    }
}

/// What the messages weigh that were needed when a segment was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of their records.
    bytes: u64,
    copies: u64,
    /// Bytes of the largest record in the segment, about.
    largest: u64,
}

impl Weight {
    /// Of messages with so many copies, out of all, whose records take so many bytes. What a record has
    /// beside its body is taken for the same in all of them.
    pub fn of(needed: Bodies, copies: u64, all: Bodies, record_bytes: u64) -> Weight {
        let beside = record_bytes.saturating_sub(all.bytes);
        let beside = beside.checked_div(all.count).unwrap_or(0);
        Weight {
            bytes: needed.bytes + needed.count * beside,
            copies,
            largest: all.largest + beside,
        }
    }

    /// Of a copy.
    pub fn average(&self) -> u64 {
        self.bytes / self.copies.max(1)
    }

    fn expected(&self, live: u64) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(live.min(self.copies));
        let bytes = bytes.checked_div(u128::from(self.copies));
        bytes.map_or(0, |bytes| bytes as u64)
    }

    fn at_least(&self, live: u64) -> u64 {
        let gone = self.copies.saturating_sub(live);
        self.bytes.saturating_sub(gone.saturating_mul(self.largest))
    }
}

/// The path of a segment.
pub(super) fn log_path(number: u64) -> String {
    format!("{LOG}/{number:010}.seg")
}

/// The number in a segment's name.
pub(super) fn log_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok();
    number.filter(|number| *number <= NUMBER_MAX)
}

/// Files have no higher numbers, so that there is always one for the next.
pub(super) const NUMBER_MAX: u64 = MessageId::STORED_MAX;

/// The folder of segments.
pub(super) const LOG: &str = "log";
/// Space that is kept for a start on a full disk.
pub(super) const RESERVE: &str = "log/reserve";

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(read_u32(bytes, at)) | u64::from(read_u32(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::Attributes;

    #[test]
    fn a_header_is_read_as_written_and_no_flipped_bit_is_taken_for_a_version() {
        let header = Header {
            role: Role::Log,
            number: 7,
            next_message: 512,
            stored: 64,
        };
        let bytes = header.encode();
        assert!(matches!(Header::decode(&bytes), Ok(read) if read == header));
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::decode(&bytes), Err(HeaderError::Damaged)));
        }
    }

    #[test]
    fn a_weight_is_exact_and_then_a_range() {
        let (mut all, mut needed) = (Bodies::default(), Bodies::default());
        (0..10).for_each(|_| all.add(100));
        all.add(9000);
        needed.add(9000);
        needed.add(100);
        let weight = Weight::of(needed, 3, all, 10_000 + 11 * 20);
        assert_eq!(weight.expected(3), 9100 + 2 * 20);
        assert_eq!(weight.at_least(3), weight.expected(3));
        assert_eq!(weight.expected(0), 0);
        assert_eq!(weight.at_least(2), 9140 - 9020);
        assert_eq!(weight.at_least(1), 0);
        assert_eq!(Weight::default().expected(5), 0);
    }

    #[test]
    fn a_footer_is_read_as_written() {
        let seed = Seed::new(7);
        let mut index = IndexBuilder::default();
        index.push(5, &3u64.to_le_bytes(), Attributes::default(), 64);
        index.acks = vec![1, 2, 3];
        let footer = encode_footer(&index, seed, 100, 0, b"");
        let trailer = footer.last_chunk().unwrap();
        let size = 100 + footer.len() as u64;
        let trailer = Trailer::decode(trailer, seed, size).unwrap();
        let (offset, size) = trailer.place(Section::Acks);
        let acks = &footer[offset as usize - 100..][..size];
        assert_eq!(acks, [1, 2, 3]);
        assert!(trailer.is_intact(Section::Acks, acks));
        assert!(Trailer::decode(footer.last_chunk().unwrap(), seed, 99).is_none());
    }
}
