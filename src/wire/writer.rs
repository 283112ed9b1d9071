//! Appends values to a buffer, in the vocabulary of [`Reader`](super::reader::Reader).

use super::amqp::field_table::{Array, Table};

/// Longest short string, in bytes (AMQP 0-9-1 §4.2.5.3).
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// Writes values one after the other to the end of a buffer that it never reads or shortens.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// How many bits the last octet of `out` already holds, below 8; 0 when the next bit begins an
    /// octet.
    bits_used: u8,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Writer { out, bits_used: 0 }
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bits_used = 0;
        self.out.extend_from_slice(bytes);
    }

    /// An unsigned 8-bit integer.
    #[inline]
    pub fn octet(&mut self, value: u8) {
        self.bits_used = 0;
        self.out.push(value);
    }

    /// An unsigned 16-bit integer.
    #[inline]
    pub fn short(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// An unsigned 32-bit integer.
    #[inline]
    pub fn long(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// An unsigned 64-bit integer.
    #[inline]
    pub fn longlong(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// A timestamp: seconds since the Unix epoch (AMQP 0-9-1 §4.2.5.4).
    #[inline]
    pub fn timestamp(&mut self, seconds: u64) {
        self.longlong(seconds);
    }

    /// One bit; consecutive bits share octets, lowest bit first (AMQP 0-9-1 §4.2.5.2).
    #[inline]
    pub fn bit(&mut self, value: bool) {
        let octet = u8::from(value) << self.bits_used;
        match self.out.last_mut() {
            Some(last) if self.bits_used > 0 => *last |= octet,
            _ => self.out.push(octet),
        }
        self.bits_used = (self.bits_used + 1) % 8;
    }

    /// A string of at most [`SHORT_STRING_BYTES_MAX`] bytes. Longer ones are a mistake of ours:
    /// debug builds assert, release builds cut them so that the stream stays in step.
    #[inline]
    pub fn short_string(&mut self, string: &[u8]) {
        debug_assert!(string.len() <= SHORT_STRING_BYTES_MAX);
        let kept = &string[..string.len().min(SHORT_STRING_BYTES_MAX)];
        self.octet(kept.len() as u8);
        self.raw(kept);
    }

    /// A string of at most 2^32 - 1 bytes.
    #[inline]
    pub fn long_string(&mut self, string: &[u8]) {
        let size = u32::try_from(string.len()).expect("long strings are smaller than 4 GiB");
        self.long(size);
        self.raw(string);
    }

    /// A field table, as it is encoded.
    #[inline]
    pub fn table(&mut self, table: Table<'_>) {
        self.long_string(table.as_bytes());
    }

    /// A field array, as it is encoded.
    #[inline]
    pub fn field_array(&mut self, array: Array<'_>) {
        self.long_string(array.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = vec![0xaa];
        let mut writer = Writer::new(&mut out);
        writer.octet(1);
        writer.short(2);
        writer.long(3);
        writer.longlong(4);
        writer.short_string(b"short");
        writer.long_string(b"long");
        writer.table(Table::EMPTY);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.octet(), Ok(0xaa));
        assert_eq!(reader.octet(), Ok(1));
        assert_eq!(reader.short(), Ok(2));
        assert_eq!(reader.long(), Ok(3));
        assert_eq!(reader.longlong(), Ok(4));
        assert_eq!(reader.short_string(), Ok(&b"short"[..]));
        assert_eq!(reader.long_string(), Ok(&b"long"[..]));
        assert_eq!(reader.table(), Ok(Table::EMPTY));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn bits_share_an_octet_until_something_else_is_written() {
        let mut out = vec![0xff];
        let mut writer = Writer::new(&mut out);
        for index in 0..9 {
            writer.bit(index % 8 == 0);
        }
        writer.octet(7);
        writer.bit(false);
        writer.bit(true);
        assert_eq!(out, [0xff, 0b0000_0001, 0b0000_0001, 7, 0b0000_0010]);
    }

    #[test]
    fn a_short_string_of_255_bytes_fits() {
        let string = [b'x'; SHORT_STRING_BYTES_MAX];
        let mut out = Vec::new();
        Writer::new(&mut out).short_string(&string);
        assert_eq!(Reader::new(&out).short_string(), Ok(&string[..]));
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_longer_short_string_is_cut_in_release_builds() {
        let mut out = Vec::new();
        Writer::new(&mut out).short_string(&[b'x'; 300]);
        assert_eq!(out.len(), 1 + SHORT_STRING_BYTES_MAX);
        assert_eq!(out[0], 255);
    }
}
