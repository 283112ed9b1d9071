//! The stream under a socket, whatever its kind: nothing above notices.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::tls::TlsStream;

pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What came of a write.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    /// Bytes that need not be offered again.
    pub count: usize,
    /// The buffer of the operating system is full: as good as `WouldBlock`.
    pub full: bool,
}

impl Transport {
    /// One system call for all of `slices`; may write less.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Written> {
        let count = match self {
            Transport::Tcp(stream) => stream.write_vectored(slices)?,
            Transport::Unix(stream) => stream.write_vectored(slices)?,
            Transport::Tls(stream) => {
                let count = stream.write_vectored(slices)?;
                let full = stream.has_unsent();
                return Ok(Written { count, full });
            }
        };
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let full = count < offered;
        if count == 0 && full {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(Written { count, full })
    }

    /// Whether something waits to be written that is not in the outbox.
    pub fn has_unsent(&self) -> bool {
        matches!(self, Transport::Tls(stream) if stream.has_unsent())
    }

    /// Nobody receives it.
    pub fn forget_unsent(&mut self) {
        if let Transport::Tls(stream) = self {
            stream.forget_unsent();
        }
    }

    /// After a read that had more room than bytes came, or not: whether the next one would find
    /// nothing.
    pub fn is_drained(&self, short: bool) -> bool {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) => short,
            Transport::Tls(stream) => !stream.has_input(),
        }
    }

    /// Reads what nobody wants to know.
    pub fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(buffer),
            Transport::Unix(stream) => stream.read(buffer),
            Transport::Tls(stream) => stream.discard(buffer),
        }
    }

    /// Answers the peer's goodbye, where a stream has one that can be told from a stream that broke.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) => Ok(()),
            Transport::Tls(stream) => stream.say_goodbye(),
        }
    }

    /// Tells the peer that no more bytes will come; its own may still be read.
    pub fn shut_down_writing(&mut self) -> io::Result<()> {
        self.say_goodbye()?;
        match self {
            Transport::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Transport::Unix(stream) => stream.shutdown(Shutdown::Write),
            Transport::Tls(stream) => stream.stream().shutdown(Shutdown::Write),
        }
    }

    /// The TCP stream at the bottom, if it is one.
    pub fn tcp(&mut self) -> Option<&mut TcpStream> {
        match self {
            Transport::Tcp(stream) => Some(stream),
            Transport::Unix(_) => None,
            Transport::Tls(stream) => Some(stream.stream_mut()),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Transport::Tcp(stream) => stream,
            Transport::Unix(stream) => stream,
            Transport::Tls(stream) => stream.stream_mut(),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(buffer),
            Transport::Unix(stream) => stream.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, for_: Interest) -> io::Result<()> {
        self.source().register(registry, token, for_)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, for_: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, for_)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
