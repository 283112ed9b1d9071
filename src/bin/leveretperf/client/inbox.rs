//! Bytes received and not yet looked at.

use std::io::{self, Read};
use std::net::TcpStream;

pub struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn new(size: usize) -> Self {
        Inbox {
            buffer: vec![0; size].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// One read. Returns the bytes read; 0 is the end of the stream.
    pub fn fill(&mut self, mut stream: &TcpStream) -> io::Result<usize> {
        // What a scan leaves behind is the head of one frame: few bytes.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            return Err(io::Error::other("a frame larger than was agreed on"));
        }
        let size = stream.read(&mut self.buffer[self.end..])?;
        self.end += size;
        Ok(size)
    }

    /// Whether the last read left room, so that the socket had no more to give.
    pub fn has_room(&self) -> bool {
        self.end < self.buffer.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn consume(&mut self, size: usize) {
        self.start += size;
    }
}
