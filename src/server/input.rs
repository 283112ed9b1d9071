//! Input of one socket: read into a buffer that all sockets share, kept only where a frame is not
//! complete.
//!
//! Nearly always a read brings whole frames, they are consumed in place, and nothing stays: an idle
//! connection holds no buffer. What stays is the beginning of a frame. If it is short it is put before
//! the next read in the shared buffer; if it is long, the next reads go directly behind it, so a large
//! frame that arrives in a thousand pieces is not copied a thousand times.

use std::io::{self, Read};

#[derive(Default)]
pub(super) struct Input {
    /// The first `filled` bytes are the leftover; the rest is room for the next read. Empty, without
    /// an allocation, when nothing is left over.
    buffer: Vec<u8>,
    filled: usize,
}

/// What one read brought.
#[derive(Debug, PartialEq)]
pub(super) struct Fill {
    /// Zero is the end of the stream.
    pub count: usize,
    /// The read had more room than bytes came: the descriptor is drained (epoll(7)).
    pub short: bool,
}

impl Input {
    /// Reads once, at most `bytes_max`, and presents all that is there to `consume`, which returns
    /// how much of it is done with. `scratch` holds `bytes_max` and [`SCRATCH_ROOM`].
    pub fn read_from(
        &mut self,
        source: &mut impl Read,
        scratch: &mut [u8],
        bytes_max: usize,
        consume: impl FnOnce(&[u8]) -> usize,
    ) -> io::Result<Fill> {
        if self.filled > SCRATCH_ROOM {
            return self.read_behind_leftover(source, bytes_max, consume);
        }
        scratch[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
        let room = &mut scratch[self.filled..self.filled + bytes_max];
        let count = source.read(room)?;
        if count > 0 {
            let all = &scratch[..self.filled + count];
            let used = consume(all);
            self.keep(&all[used..]);
        }
        Ok(Fill {
            count,
            short: count < bytes_max,
        })
    }

    /// Presents the leftover again, without reading.
    pub fn present(&mut self, consume: impl FnOnce(&[u8]) -> usize) {
        if self.filled > 0 {
            let used = consume(&self.buffer[..self.filled]);
            self.drop_front(used);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes of memory that it takes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    pub fn clear(&mut self) {
        *self = Input::default();
    }

    fn read_behind_leftover(
        &mut self,
        source: &mut impl Read,
        bytes_max: usize,
        consume: impl FnOnce(&[u8]) -> usize,
    ) -> io::Result<Fill> {
        self.make_room(bytes_max);
        let room = &mut self.buffer[self.filled..];
        let size = room.len().min(bytes_max);
        let count = source.read(&mut room[..size])?;
        if count > 0 {
            self.filled += count;
            let used = consume(&self.buffer[..self.filled]);
            self.drop_front(used);
        }
        Ok(Fill {
            count,
            short: count < size,
        })
    }

    /// Doubles when half full. Not exactly what the frame needs, which only the protocol knows, but
    /// within twice of it, and the zeroes are written once per byte of growth.
    fn make_room(&mut self, bytes_max: usize) {
        if self.buffer.len() < self.filled + self.filled.min(bytes_max) / 2 {
            let size = self.filled + self.filled.min(bytes_max);
            self.buffer.reserve_exact(size - self.buffer.len());
            self.buffer.resize(size, 0);
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        self.filled = rest.len();
        if rest.is_empty() {
            self.buffer = Vec::new();
            return;
        }
        if self.buffer.capacity() < rest.len() {
            self.buffer = Vec::with_capacity(rest.len());
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(rest);
    }

    fn drop_front(&mut self, used: usize) {
        if used == 0 {
            return;
        }
        let rest = used..self.filled;
        self.filled -= used;
        if self.filled <= SCRATCH_ROOM {
            self.buffer = self.buffer[rest].to_vec();
        } else {
            self.buffer.copy_within(rest, 0);
        }
    }
}

/// A leftover up to this size is copied before the next read; a longer one is read behind.
pub(super) const SCRATCH_ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out `data` in pieces of at most `piece`, and counts the reads.
    struct Pieces<'a> {
        data: &'a [u8],
        piece: usize,
        reads: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            let count = self.piece.min(buffer.len()).min(self.data.len());
            let (now, later) = self.data.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.data = later;
            Ok(count)
        }
    }

    /// Frames of a four-byte length and that many bytes.
    fn frames(sizes: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (n, &size) in sizes.iter().enumerate() {
            bytes.extend_from_slice(&(size as u32).to_be_bytes());
            bytes.resize(bytes.len() + size, n as u8);
        }
        bytes
    }

    fn consume_whole_frames(bytes: &[u8], frames: &mut Vec<Vec<u8>>) -> usize {
        let mut used = 0;
        while let Some((head, rest)) = bytes[used..].split_first_chunk::<4>() {
            let size = u32::from_be_bytes(*head) as usize;
            let Some(frame) = rest.get(..size) else { break };
            frames.push(frame.to_vec());
            used += 4 + size;
        }
        used
    }

    const BYTES_MAX: usize = 16 << 10;

    fn run(sizes: &[usize], piece: usize) -> usize {
        let data = frames(sizes);
        let mut source = Pieces {
            data: &data,
            piece,
            reads: 0,
        };
        let mut scratch = vec![0; BYTES_MAX + SCRATCH_ROOM];
        let mut input = Input::default();
        let mut seen = Vec::new();
        loop {
            let fill = input.read_from(&mut source, &mut scratch, BYTES_MAX, |bytes| {
                consume_whole_frames(bytes, &mut seen)
            });
            if fill.unwrap().count == 0 {
                break;
            }
            let largest = 4 + sizes.iter().max().unwrap();
            assert!(input.buffer.capacity() <= 2 * largest.max(BYTES_MAX) + BYTES_MAX);
        }
        assert!(input.is_empty());
        assert_eq!(
            input.buffer.capacity(),
            0,
            "an idle connection holds no buffer"
        );
        let sizes_seen: Vec<_> = seen.iter().map(Vec::len).collect();
        assert_eq!(sizes_seen, sizes);
        for (n, frame) in seen.iter().enumerate() {
            assert!(frame.iter().all(|&byte| byte == n as u8));
        }
        source.reads
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sizes = [0, 1, 100, 5000, 40_000, 3, 4092, 4093, 20_000, 0, 16_380, 7];
        for piece in [1, 2, 3, 7, 1000, 4096, 4100, 10_000, BYTES_MAX, usize::MAX] {
            run(&sizes, piece);
        }
    }

    #[test]
    fn a_large_frame_is_read_in_large_pieces() {
        let reads = run(&[200_000], usize::MAX);
        assert!(reads <= 200_000 / BYTES_MAX + 6, "{reads}");
    }

    #[test]
    fn what_was_not_consumed_is_presented_again() {
        let data = frames(&[10, 20, 30]);
        let mut source = Pieces {
            data: &data,
            piece: usize::MAX,
            reads: 0,
        };
        let mut scratch = vec![0; BYTES_MAX + SCRATCH_ROOM];
        let mut input = Input::default();
        let fill = input.read_from(&mut source, &mut scratch, BYTES_MAX, |_| 14);
        assert_eq!(
            fill.unwrap(),
            Fill {
                count: 72,
                short: true
            }
        );
        let mut seen = Vec::new();
        input.present(|bytes| consume_whole_frames(bytes, &mut seen));
        assert_eq!(seen.len(), 2);
        assert!(input.is_empty());
    }

    #[test]
    fn an_error_loses_nothing() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        let mut scratch = vec![0; BYTES_MAX + SCRATCH_ROOM];
        for size in [10, 10_000] {
            let bytes = vec![7; size];
            let mut input = Input::default();
            input.keep(&bytes);
            let result = input.read_from(&mut Failing, &mut scratch, BYTES_MAX, |_| unreachable!());
            assert!(result.is_err());
            input.present(|kept| {
                assert_eq!(kept, bytes);
                kept.len()
            });
        }
    }
}
