//! HTTP/1.1 as a client, one request at a time over one connection that is kept: as much of it as the
//! management API needs. Everything that is read has a bound.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::target::Target;
use crate::tls::{self, TlsStream};

/// A connection to the broker that asked nothing yet, or had its answer.
pub struct Connection {
    stream: BufReader<Stream>,
    /// For the line `Host:`.
    host: String,
    /// The line `Authorization:`, with its end; none on a Unix socket.
    authorization: String,
    /// The other side closes after the answer.
    is_last: bool,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// How the rest of an answer is told from what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

#[derive(Debug)]
struct Head {
    status: u16,
    framing: Framing,
    closes: bool,
}

impl Connection {
    /// Connects, waiting no longer than this then and for each piece of an answer.
    ///
    /// # Errors
    /// Nobody listens there, or this user may not.
    pub fn open(target: &Target, timeout: Option<Duration>) -> io::Result<Connection> {
        let (stream, host) = match target {
            Target::Socket(path) => (Stream::Unix(UnixStream::connect(path)?), "localhost".into()),
            Target::Tcp {
                host,
                port,
                tls: files,
                ..
            } => {
                let stream = connect(host, *port, timeout)?;
                stream.set_nodelay(true)?;
                let stream = match files {
                    None => Stream::Tcp(stream),
                    Some(files) => {
                        stream.set_read_timeout(timeout)?;
                        stream.set_write_timeout(timeout)?;
                        Stream::Tls(Box::new(tls::connect(host, stream, files)?))
                    }
                };
                (stream, format!("{host}:{port}"))
            }
        };
        stream.set_timeout(timeout)?;
        Ok(Connection {
            stream: BufReader::with_capacity(64 << 10, stream),
            host,
            authorization: target.authorization(),
            is_last: false,
        })
    }

    /// Whether another request may be sent.
    pub fn is_usable(&self) -> bool {
        !self.is_last
    }

    /// Waits no longer than this for each piece of an answer from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_timeout(timeout)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// The connection broke, took too long, or what came is not HTTP.
    pub fn request(&mut self, request: &Request<'_>) -> io::Result<Response> {
        self.send(request)?;
        let head = self.read_head()?;
        let mut body = Vec::new();
        match head.framing {
            Framing::Length(length) => read_exactly(&mut self.stream, length, &mut body)?,
            Framing::Chunked => while self.read_chunk(&mut body)? {},
            Framing::UntilClosed => {
                let mut bounded = (&mut self.stream).take(BODY_BYTES_MAX as u64 + 1);
                bounded.read_to_end(&mut body)?;
                check_size(body.len())?;
            }
        }
        self.is_last = head.closes;
        Ok(Response {
            status: head.status,
            body,
        })
    }

    /// Sends a request, and hands over each piece of an answer without end, until that is enough.
    ///
    /// # Errors
    /// As [`Connection::request`]; waiting too long for a piece is `WouldBlock`.
    pub fn stream(
        &mut self,
        request: &Request<'_>,
        mut on_piece: impl FnMut(io::Result<&[u8]>) -> bool,
    ) -> io::Result<u16> {
        self.send(request)?;
        self.is_last = true;
        let head = self.read_head()?;
        if head.status != 200 {
            return Ok(head.status);
        }
        let mut piece = Vec::new();
        loop {
            piece.clear();
            let more = match head.framing {
                Framing::Chunked => self.read_chunk(&mut piece),
                Framing::Length(_) | Framing::UntilClosed => self.read_some(&mut piece),
            };
            let goes_on = match more {
                Ok(more) => on_piece(Ok(&piece)) && more,
                Err(error) => on_piece(Err(error)),
            };
            if !goes_on {
                return Ok(head.status);
            }
        }
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n{}",
            request.method, request.path, self.host, self.authorization
        );
        for (name, value) in request.headers {
            // A line break would begin a header of somebody else's choice.
            let value = value.replace(['\r', '\n'], " ");
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = Vec::new();
        if let Some(body) = request.body {
            let body = body.to_string();
            text.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ));
            bytes = body.into_bytes();
        } else if request.method != "GET" {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        let mut message = text.into_bytes();
        message.append(&mut bytes);
        let stream = self.stream.get_mut();
        stream.write_all(&message)?;
        stream.flush()
    }

    fn read_head(&mut self) -> io::Result<Head> {
        let mut bytes = Vec::new();
        loop {
            self.read_line(&mut bytes)?;
            if bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\n\n") {
                let head = parse_head(&bytes)?;
                // "100 Continue" and its kind come before the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                bytes.clear();
            }
        }
    }

    /// Reads one chunk; `false` after the last one.
    fn read_chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let mut line = Vec::new();
        self.read_line(&mut line)?;
        let text = String::from_utf8_lossy(&line);
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| not_http("the size of a chunk"))?;
        if size == 0 {
            while line != b"\r\n" && line != b"\n" {
                line.clear();
                self.read_line(&mut line)?;
            }
            return Ok(false);
        }
        read_exactly(&mut self.stream, size, body)?;
        line.clear();
        self.read_line(&mut line)?;
        Ok(true)
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        let room = HEAD_BYTES_MAX.saturating_sub(line.len()) as u64;
        // The line may begin with others, which end as it should.
        let read = (&mut self.stream).take(room).read_until(b'\n', line)?;
        match line.len() {
            _ if read > 0 && line.ends_with(b"\n") => Ok(()),
            HEAD_BYTES_MAX.. => Err(not_http("a head of such a size")),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_some(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        let bytes = self.stream.fill_buf()?;
        piece.extend_from_slice(bytes);
        let length = bytes.len();
        self.stream.consume(length);
        Ok(length > 0)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// With its query; encoded, see [`segment`].
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<&'a Value>,
}

/// A name as part of a path.
pub fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Stream::Tls(stream) => {
                stream.sock.set_read_timeout(timeout)?;
                stream.sock.set_write_timeout(timeout)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Unix(_) | Stream::Tcp(_) => Ok(()),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// The first address of the name that answers.
fn connect(host: &str, port: u16, timeout: Option<Duration>) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut failed = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let connected = match timeout {
            Some(timeout) => TcpStream::connect_timeout(&address, timeout),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(not_http("half a head")),
        Err(error) => return Err(not_http(&error.to_string())),
    }
    let status = response.code.ok_or_else(|| not_http("no status"))?;
    let value = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|it| it.name.eq_ignore_ascii_case(name));
        found.map(|it| {
            String::from_utf8_lossy(it.value)
                .trim()
                .to_ascii_lowercase()
        })
    };
    let closes = value("connection").is_some_and(|value| value.contains("close"));
    let framing = if value("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        Framing::Chunked
    } else if let Some(length) = value("content-length") {
        Framing::Length(length.parse().map_err(|_| not_http("Content-Length"))?)
    } else if matches!(status, 100..=199 | 204 | 304) {
        Framing::Length(0)
    } else {
        Framing::UntilClosed
    };
    Ok(Head {
        status,
        framing,
        closes: closes || framing == Framing::UntilClosed,
    })
}

/// Memory grows with what comes, not with what is announced.
fn read_exactly(stream: &mut impl Read, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    check_size(body.len().saturating_add(length))?;
    let read = stream.take(length as u64).read_to_end(body)?;
    match read == length {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn check_size(size: usize) -> io::Result<()> {
    match size > BODY_BYTES_MAX {
        true => Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("the answer has more than {BODY_BYTES_MAX} bytes"),
        )),
        false => Ok(()),
    }
}

fn not_http(what: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("the answer is not understood: {what}"),
    )
}

/// An answer that is larger is an error: half a million queues with all their columns fit.
const BODY_BYTES_MAX: usize = 1 << 30;
/// Heads and lines that are longer are an error.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    /// A connection whose other side says this, and no more.
    fn told(answer: &[u8]) -> Connection {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        // Open for what is asked, until the process ends.
        std::mem::forget(theirs);
        Connection {
            stream: BufReader::new(Stream::Unix(ours)),
            host: "localhost".to_owned(),
            authorization: String::new(),
            is_last: false,
        }
    }

    fn answer_to_get(answer: &[u8]) -> io::Result<Response> {
        told(answer).request(&Request {
            method: "GET",
            path: "/",
            headers: &[],
            body: None,
        })
    }

    #[test]
    fn bodies_have_a_length() {
        let answer =
            answer_to_get(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!((answer.status, &*answer.body), (404, &b"hi"[..]));
    }

    #[test]
    fn or_come_in_chunks() {
        let answer = answer_to_get(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        );
        assert_eq!(answer.unwrap().body, b"abc0123456789");
    }

    #[test]
    fn or_end_with_the_connection() {
        let answer = answer_to_get(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap();
        assert_eq!(answer.body, b"all of it");
    }

    #[test]
    fn some_have_none() {
        let mut connection = told(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        let request = Request {
            method: "DELETE",
            path: "/",
            headers: &[],
            body: None,
        };
        assert_eq!(connection.request(&request).unwrap().status, 204);
        assert!(connection.is_usable());
    }

    #[test]
    fn whatever_is_cut_short_is_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for length in 0..whole.len() {
            assert!(answer_to_get(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for answer in [
            &b"AMQP\0\0\x09\x01\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n\r\n",
            &[b'a'; HEAD_BYTES_MAX + 10],
        ] {
            assert!(answer_to_get(answer).is_err());
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(segment("/"), "%2F");
        assert_eq!(segment("a b.ü?"), "a%20b.%C3%BC%3F");
    }
}
