//! A checked cursor over bytes a peer sent. Numbers are in network byte order (AMQP 0-9-1 §4.2.5).

use super::Malformed;
use super::amqp::field_table::{Array, Table};

/// Reads values one after the other; what it returns borrows from the input, not from the reader.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// The octet that [`Reader::bit`] is taking apart, shifted so that the next bit is the lowest.
    bits: u8,
    /// Bits of `bits` not yet handed out; 0 outside a run of bits.
    bits_left: u8,
}

impl<'a> Reader<'a> {
    /// A reader at the first of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader {
            bytes,
            bits: 0,
            bits_left: 0,
        }
    }

    /// How many bytes have not been read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        self.bits_left = 0;
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(Malformed::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes, as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bits_left = 0;
        let (taken, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(Malformed::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// All bytes not yet read.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        self.bits_left = 0;
        std::mem::take(&mut self.bytes)
    }

    /// An unsigned 8-bit integer.
    #[inline]
    pub fn octet(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// An unsigned 16-bit integer.
    #[inline]
    pub fn short(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// An unsigned 32-bit integer.
    #[inline]
    pub fn long(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// An unsigned 64-bit integer.
    #[inline]
    pub fn longlong(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A timestamp: seconds since the Unix epoch (AMQP 0-9-1 §4.2.5.4).
    #[inline]
    pub fn timestamp(&mut self) -> Result<u64, Malformed> {
        self.longlong()
    }

    /// One bit. Consecutive bits share octets, lowest bit first (AMQP 0-9-1 §4.2.5.2); any other
    /// read in between ends the run.
    #[inline]
    pub fn bit(&mut self) -> Result<bool, Malformed> {
        if self.bits_left == 0 {
            self.bits = self.octet()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    /// A string of up to 255 bytes; its encoding is not looked at (AMQP 0-9-1 §4.2.5.3).
    #[inline]
    pub fn short_string(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.octet()?;
        self.take(usize::from(size))
    }

    /// A string of up to 2^32 - 1 bytes, binary data for all we know (AMQP 0-9-1 §4.2.5.3).
    #[inline]
    pub fn long_string(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.long()?;
        self.take(size as usize)
    }

    /// A field table, checked through and through (AMQP 0-9-1 §4.2.5.5).
    #[inline]
    pub fn table(&mut self) -> Result<Table<'a>, Malformed> {
        Table::from_encoded(self.long_string()?)
    }

    /// A field array, checked through and through.
    #[inline]
    pub fn field_array(&mut self) -> Result<Array<'a>, Malformed> {
        Array::from_encoded(self.long_string()?)
    }

    /// Ends the reading; bytes left over are an error.
    #[inline]
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_network_byte_order() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.octet(), Ok(0x01));
        assert_eq!(reader.short(), Ok(0x0203));
        assert_eq!(reader.long(), Ok(0x0405_0607));
        assert_eq!(reader.longlong(), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn short_input_is_an_error_and_consumes_nothing() {
        let bytes = [0, 0, 0];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.long(), Err(Malformed::Truncated));
        assert_eq!(reader.longlong(), Err(Malformed::Truncated));
        assert_eq!(reader.take(4), Err(Malformed::Truncated));
        assert_eq!(reader.take(usize::MAX), Err(Malformed::Truncated));
        assert_eq!(reader.remaining(), 3);
        assert_eq!(reader.finish(), Err(Malformed::TrailingBytes));
    }

    #[test]
    fn strings_longer_than_the_input_are_errors() {
        assert_eq!(
            Reader::new(&[3, b'a', b'b']).short_string(),
            Err(Malformed::Truncated)
        );
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).long_string(),
            Err(Malformed::Truncated)
        );
        assert_eq!(
            Reader::new(&[2, b'a', 0xff]).short_string(),
            Ok(&b"a\xff"[..])
        );
        assert_eq!(Reader::new(&[0]).short_string(), Ok(&b""[..]));
        assert_eq!(Reader::new(&[]).short_string(), Err(Malformed::Truncated));
    }

    #[test]
    fn nine_bits_take_two_octets_and_a_number_ends_the_run() {
        let bytes = [0b1000_0101, 0b0000_0001, 0b0000_0001, 7, 0b0000_0010];
        let mut reader = Reader::new(&bytes);
        let first: Vec<bool> = (0..8).map(|_| reader.bit().unwrap()).collect();
        assert_eq!(first, [true, false, true, false, false, false, false, true]);
        assert_eq!(reader.bit(), Ok(true));
        assert_eq!(reader.octet(), Ok(1));
        assert_eq!(reader.octet(), Ok(7));
        assert_eq!(reader.bit(), Ok(false));
        assert_eq!(reader.bit(), Ok(true));
        assert_eq!(reader.octet(), Err(Malformed::Truncated));
        assert_eq!(reader.bit(), Err(Malformed::Truncated));
    }
}
