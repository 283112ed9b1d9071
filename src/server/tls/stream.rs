//! One TLS connection over a stream that never waits.
//!
//! Records are read, decrypted and encrypted in buffers that all connections of a thread share. What a
//! connection holds of its own is the beginning of a record that is not all there, plaintext that its
//! reader had no room for, and records that the stream did not take; an idle one holds none of them.
//!
//! A connection whose stream is drained may still have something to read: see
//! [`has_input`](TlsStream::has_input).

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;

use rustls::server::{ServerConnectionData as Data, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic,
};
use rustls_pki_types::CertificateDer;

/// The server's side of a TLS connection. Reading and writing never wait longer than the stream does:
/// `WouldBlock` is for whom waits for the stream, `Interrupted` for whom may try again at once.
pub struct TlsStream<S> {
    stream: S,
    connection: UnbufferedServerConnection,
    scratch: Rc<RefCell<Scratch>>,
    /// Records that were read and not used up, nearly always the beginning of one. The library may
    /// have worked on them, so it has to be shown them again, all of them.
    input: Vec<u8>,
    /// There may be whole records in `input`.
    unworked: bool,
    /// Decrypted, and not yet asked for.
    plaintext: Vec<u8>,
    /// Encrypted, and not taken by the stream.
    unsent: Vec<u8>,
    /// The last read took all that the stream had.
    drained: bool,
    /// The peer has said that nothing more comes.
    peer_closed: bool,
    /// Something came that is no TLS, or somebody whom we do not believe.
    failed: bool,
}

/// Buffers that the connections of a thread share.
pub(super) struct Scratch {
    incoming: Box<[u8]>,
    /// Pieces of plaintext that go into one record.
    gathered: Box<[u8]>,
    outgoing: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            incoming: vec![0; INCOMING_BYTES].into(),
            gathered: vec![0; PLAINTEXT_BYTES_MAX].into(),
            outgoing: vec![0; OUTGOING_BYTES].into(),
        }
    }
}

impl<S: Read + Write> TlsStream<S> {
    pub(super) fn new(
        stream: S,
        connection: UnbufferedServerConnection,
        scratch: Rc<RefCell<Scratch>>,
    ) -> Self {
        TlsStream {
            stream,
            connection,
            scratch,
            input: Vec::new(),
            unworked: false,
            plaintext: Vec::new(),
            unsent: Vec::new(),
            drained: true,
            peer_closed: false,
            failed: false,
        }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Reads once and goes on with the handshake, which takes up to a millisecond or two of arithmetic;
    /// true when it is done. What is to be written waits for [`flush`](Self::flush), the reason of a
    /// failure too, if it could not be written at once.
    ///
    /// # Errors
    /// `WouldBlock` and `Interrupted` as for [`read`](Self::read); `InvalidData` if it cannot succeed;
    /// `UnexpectedEof`.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let scratch = Rc::clone(&self.scratch);
        let scratch = &mut *scratch.borrow_mut();
        let Some(filled) = self.fill(&mut scratch.incoming, HANDSHAKE_BYTES_MAX)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let spoken = spoken_without_tls(&scratch.incoming[..filled]);
        let mut waiting = std::mem::take(&mut self.plaintext);
        let plain = &mut Plain::new(&mut [], &mut waiting);
        let worked = self.work(&mut scratch.incoming[..filled], plain);
        self.plaintext = waiting;
        worked.map_err(|error| match spoken {
            // The library knows only that it is no record.
            Some(what) => io::Error::new(error.kind(), what),
            None => error,
        })?;
        Ok(!self.is_handshaking())
    }

    /// Reads once from the stream, unless decrypted bytes wait. `Ok(0)` is the end, said by the peer or
    /// by the stream: whether a conversation was complete is for the protocol above to know.
    ///
    /// # Errors
    /// `WouldBlock`: the stream has nothing. `Interrupted`: what it had is no whole record yet; to be
    /// tried again. `InvalidData`: no TLS, and nothing will come any more.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.plaintext.is_empty() {
            return Ok(self.take_waiting(buffer));
        }
        if self.peer_closed {
            return Ok(0);
        }
        let scratch = Rc::clone(&self.scratch);
        let scratch = &mut *scratch.borrow_mut();
        let Some(filled) = self.fill(&mut scratch.incoming, buffer.len())? else {
            return Ok(0);
        };
        let mut waiting = Vec::new();
        let mut plain = Plain::new(buffer, &mut waiting);
        let worked = self.work(&mut scratch.incoming[..filled], &mut plain);
        let count = plain.filled;
        self.plaintext = waiting;
        if count > 0 {
            // After an error it comes again when this is read.
            return Ok(count);
        }
        worked?;
        match self.peer_closed {
            true => Ok(0),
            false => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    /// The same from the stream as it is, when nobody is interested any more: bytes to throw away.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Whether there may be something to read without anything new from the stream.
    pub fn has_input(&self) -> bool {
        !self.plaintext.is_empty() || self.unworked || !self.drained
    }

    /// Encrypts the front of `slices`, as many bytes as fit, and writes once. Who offered more than were
    /// taken may offer the rest at once, unless [`has_unsent`](Self::has_unsent).
    ///
    /// # Errors
    /// `WouldBlock`: what was encrypted before is not all written, and nothing was taken. Others are
    /// those of the stream, or `InvalidData` after a failure.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        if self.failed {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let scratch = Rc::clone(&self.scratch);
        let Scratch {
            gathered, outgoing, ..
        } = &mut *scratch.borrow_mut();
        let mut pieces = Pieces::new(slices);
        let size = self.encrypt(&mut pieces, gathered, outgoing)?;
        if pieces.taken == 0 && !pieces.is_empty() {
            return Err(io::Error::other("the TLS connection takes no more data"));
        }
        self.send(&outgoing[..size])?;
        Ok(pieces.taken)
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// `WouldBlock`: not all was written. Others are those of the stream.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if count == self.unsent.len() => self.unsent = Vec::new(),
                Ok(count) => {
                    self.unsent.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the stream has to become writable before anything else can be sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Nobody is there to receive it.
    pub fn forget_unsent(&mut self) {
        self.unsent = Vec::new();
    }

    /// Tells the peer that nothing more comes (RFC 8446 §6.1), if the stream takes it at once.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        if self.failed || self.is_handshaking() {
            return Ok(());
        }
        let mut goodbye = [0; 64];
        let mut size = 0;
        self.drive_to_write(|mut traffic| {
            size = traffic.queue_close_notify(&mut goodbye).unwrap_or(0);
        })?;
        self.send(&goodbye[..size])
    }

    /// The peer's own certificate, which was verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// What was agreed on, in RabbitMQ's words: `tlsv1.3` or `tlsv1.2`. `None` before.
    pub fn version(&self) -> Option<&'static str> {
        match self.connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => Some("tlsv1.3"),
            _ => Some("tlsv1.2"),
        }
    }

    /// As registered with IANA: `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher_suite(&self) -> Option<&'static str> {
        self.connection.negotiated_cipher_suite()?.suite().as_str()
    }

    /// Puts what was left over to the front of `incoming`, and behind it what one read brings, so much
    /// that the plaintext has `wanted` bytes at most if it may be one record. The size of all;
    /// `None` at the end of the stream.
    fn fill(&mut self, incoming: &mut [u8], wanted: usize) -> io::Result<Option<usize>> {
        if self.failed {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let filled = self.input.len();
        let limit = wanted.max(RECORD_BYTES_MAX).min(incoming.len());
        let mut count = 0;
        if !std::mem::take(&mut self.unworked) {
            if filled >= limit {
                return Err(self.fail("a message of the handshake is too long"));
            }
            match self.stream.read(&mut incoming[filled..limit]) {
                Ok(0) => return Ok(None),
                Ok(read) => count = read,
                Err(error) => {
                    self.drained |= error.kind() == io::ErrorKind::WouldBlock;
                    return Err(error);
                }
            }
            self.drained = count < limit - filled;
        }
        incoming[..filled].copy_from_slice(&self.input);
        Ok(Some(filled + count))
    }

    /// Lets the library work on the input, and keeps what it leaves.
    fn work(&mut self, input: &mut [u8], plain: &mut Plain<'_>) -> io::Result<()> {
        let worked = self.drive(input, plain, |_| {});
        let rest = match &worked {
            Ok(used) => &input[*used..],
            Err(_) => &[],
        };
        self.unworked = plain.is_full() && !rest.is_empty();
        if rest.is_empty() {
            self.input = Vec::new();
        } else {
            self.input.clear();
            self.input.extend_from_slice(rest);
        }
        worked.map(|_| ())
    }

    /// Goes on until the library wants more input, or the reader has no more room. Whether anything may
    /// be written is shown to `last`. How much of the input is done with.
    fn drive(
        &mut self,
        input: &mut [u8],
        plain: &mut Plain<'_>,
        last: impl FnOnce(ConnectionState<'_, '_, Data>),
    ) -> io::Result<usize> {
        let mut used = 0;
        let error = loop {
            let status = self.connection.process_tls_records(&mut input[used..]);
            let UnbufferedStatus { discard, state } = status;
            let mut goes_on = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut extra = 0;
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        plain.push(record.payload);
                        extra += record.discard;
                    }
                    used += extra;
                    goes_on = !plain.is_full();
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent)?,
                // It waits to be written, and nothing is written before it.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(state) => {
                    last(state);
                    return Ok(used + discard);
                }
                Err(error) => {
                    used += discard;
                    break error;
                }
            }
            used += discard;
            if !goes_on {
                return Ok(used);
            }
        };
        self.say_why(&mut input[used..]);
        Err(self.fail(&error.to_string()))
    }

    /// After an error: the alert, which the library has ready. To be asked for more than that it does
    /// not stand.
    fn say_why(&mut self, input: &mut [u8]) {
        let mut steps_left = ALERT_STEPS_MAX;
        while self.connection.wants_write() && steps_left > 0 {
            steps_left -= 1;
            match self.connection.process_tls_records(input).state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if encode(data, &mut self.unsent).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                _ => return,
            }
        }
        // Whoever cares about the error may close the stream at once.
        if let Err(error) = self.flush() {
            log::debug!("a TLS alert was not sent: {error}");
        }
    }

    fn fail(&mut self, why: &str) -> io::Error {
        self.failed = true;
        self.input = Vec::new();
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    /// Records of as many pieces as fit into `outgoing`; their size.
    fn encrypt(
        &mut self,
        pieces: &mut Pieces<'_, '_>,
        gathered: &mut [u8],
        outgoing: &mut [u8],
    ) -> io::Result<usize> {
        let mut size = 0;
        self.drive_to_write(|mut traffic| {
            while !pieces.is_empty() && outgoing.len() - size >= RECORD_BYTES_MAX {
                let record = pieces.gather(gathered);
                let Ok(count) = traffic.encrypt(record, &mut outgoing[size..]) else {
                    break;
                };
                size += count;
                let taken = record.len();
                pieces.advance(taken);
            }
        })?;
        Ok(size)
    }

    /// Lets `write` write, if the library is ready for it. It looks through the input on the way.
    fn drive_to_write(&mut self, write: impl FnOnce(WriteTraffic<'_, Data>)) -> io::Result<()> {
        let mut input = std::mem::take(&mut self.input);
        let mut waiting = std::mem::take(&mut self.plaintext);
        let plain = &mut Plain::new(&mut [], &mut waiting);
        let result = self.drive(&mut input, plain, |state| {
            if let ConnectionState::WriteTraffic(traffic) = state {
                write(traffic);
            }
        });
        self.plaintext = waiting;
        input.drain(..result?);
        self.input = input;
        Ok(())
    }

    /// Writes behind all that waits; what the stream does not take waits, too.
    fn send(&mut self, records: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.unsent.is_empty() && !records.is_empty() {
            sent = match self.stream.write(records) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if would_block(&error) => 0,
                Err(error) => return Err(error),
            };
        }
        self.unsent.extend_from_slice(&records[sent..]);
        Ok(())
    }

    fn take_waiting(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.plaintext.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.plaintext[..count]);
        self.plaintext.drain(..count);
        if self.plaintext.is_empty() {
            self.plaintext = Vec::new();
        }
        count
    }
}

/// Where decrypted bytes go: into the reader's buffer, and what does not fit any more behind it.
struct Plain<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    waiting: &'a mut Vec<u8>,
}

impl<'a> Plain<'a> {
    fn new(buffer: &'a mut [u8], waiting: &'a mut Vec<u8>) -> Self {
        Plain {
            buffer,
            filled: 0,
            waiting,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.buffer.len() - self.filled);
        let (now, later) = bytes.split_at(count);
        self.buffer[self.filled..self.filled + count].copy_from_slice(now);
        self.filled += count;
        self.waiting.extend_from_slice(later);
    }

    /// The reader has got all that it asked for. Where nobody reads, everything waits.
    fn is_full(&self) -> bool {
        !self.buffer.is_empty() && self.filled == self.buffer.len()
    }
}

/// The front of a list of slices, record by record.
struct Pieces<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// Of the first slice.
    offset: usize,
    taken: usize,
}

impl<'a, 'b> Pieces<'a, 'b> {
    fn new(slices: &'a [IoSlice<'b>]) -> Self {
        let mut pieces = Pieces {
            slices,
            offset: 0,
            taken: 0,
        };
        pieces.advance(0);
        pieces
    }

    fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// As much as goes into one record; copied only if it is in several pieces.
    fn gather<'c>(&self, room: &'c mut [u8]) -> &'c [u8]
    where
        'a: 'c,
    {
        let first = &self.slices[0][self.offset..];
        if first.len() >= PLAINTEXT_BYTES_MAX || self.slices.len() == 1 {
            return &first[..first.len().min(PLAINTEXT_BYTES_MAX)];
        }
        let mut filled = 0;
        let rest = self.slices[1..].iter().map(|slice| &**slice);
        for piece in std::iter::once(first).chain(rest) {
            let count = piece.len().min(room.len() - filled);
            room[filled..filled + count].copy_from_slice(&piece[..count]);
            filled += count;
            if filled == room.len() {
                break;
            }
        }
        &room[..filled]
    }

    fn advance(&mut self, count: usize) {
        self.taken += count;
        self.offset += count;
        while let Some((first, rest)) = self.slices.split_first()
            && first.len() <= self.offset
        {
            self.offset -= first.len();
            self.slices = rest;
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, Data>, to: &mut Vec<u8>) -> io::Result<()> {
    let start = to.len();
    match data.encode(&mut []) {
        Ok(_) => Ok(()),
        Err(EncodeError::InsufficientSize(size)) => {
            to.resize(start + size.required_size, 0);
            data.encode(&mut to[start..]).map_err(io::Error::other)?;
            Ok(())
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// What a peer speaks who does not know that this port wants TLS; no TLS record begins like that.
fn spoken_without_tls(bytes: &[u8]) -> Option<&'static str> {
    let is_http = [
        &b"GET "[..],
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"HEAD ",
        b"OPTIONS ",
    ];
    if bytes.starts_with(b"AMQP") {
        Some("the client speaks AMQP without TLS, on a port for TLS")
    } else if is_http.iter().any(|method| bytes.starts_with(method)) {
        Some("the client speaks HTTP without TLS, on a port for TLS")
    } else {
        None
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What one record carries (RFC 8446 §5.1).
const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// A record as it is sent: header, plaintext, and what encryption adds (RFC 5246 §6.2.3), which bounds
/// what waits for the rest of its record.
const RECORD_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 2048 + 5;

/// Read at once.
const INCOMING_BYTES: usize = 64 << 10;

/// A message of the handshake that is longer is refused: it would be a chain of some twenty certificates.
const HANDSHAKE_BYTES_MAX: usize = 32 << 10;

/// Written at once, which bounds what waits for the stream: four full records.
const OUTGOING_BYTES: usize = 4 * RECORD_BYTES_MAX;

/// What may wait in the library when something goes wrong: plaintext, tickets, the alert.
const ALERT_STEPS_MAX: usize = 8;

#[cfg(test)]
mod tests;
