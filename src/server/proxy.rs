//! A proxy's header, taken off the front of a stream. It is looked at where the operating system keeps it
//! and taken out when it is all there, so that what comes behind it stays where it is, and nothing is
//! held here for those who dawdle.

use std::io::{self, Read};

use mio::net::TcpStream;

use crate::wire::proxy::{HEADER_BYTES_MAX, Origin, decode};

/// `None`: it is not all there.
///
/// # Errors
/// `InvalidData`: something else came; why. `UnexpectedEof`: the stream ended. `WouldBlock`: nothing is
/// there.
pub(super) fn take_header(stream: &mut TcpStream) -> io::Result<Option<Origin>> {
    let mut seen = [0; HEADER_BYTES_MAX];
    let count = stream.peek(&mut seen)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let decoded = decode(&seen[..count]);
    let decoded =
        decoded.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
    let Some((origin, size)) = decoded else {
        return Ok(None);
    };
    stream.read_exact(&mut seen[..size])?;
    Ok(Some(origin))
}
