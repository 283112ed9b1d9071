//! Numbers of variable size as the store's files have them, and what stands with its size before it.

pub(super) use crate::wire::number::{read, write};

/// The next bytes, if there are as many.
pub(super) fn take<'a>(bytes: &mut &'a [u8], size: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
    *bytes = rest;
    Some(taken)
}

/// A string with its size before it.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = read(bytes)?;
    take(bytes, size)
}

/// Eight bytes, little endian.
pub(super) fn read_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}
