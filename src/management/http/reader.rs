//! From one client's bytes to requests.
//!
//! ```text
//! Head --(content-length)--> Body ----+
//!  ^  \--(chunked)---------> Chunks --+--> a request, and Head again
//!  +----------------------------------+
//! ```
//!
//! Every part is bounded. What goes beyond its bound or cannot be understood is refused, and the
//! connection closed behind the answer: what follows could be read in two ways (request smuggling).

use super::percent;
use super::request::{Method, Request};
use super::response::Response;

/// Collects the bytes of one connection.
pub struct Reader {
    buffer: Vec<u8>,
    state: State,
    body_bytes_max: usize,
}

enum State {
    Head,
    /// The rest of the body is this long.
    Body(Box<Request>, usize),
    /// Chunks follow, the body so far is in the request.
    Chunks(Box<Request>),
    /// What comes is thrown away.
    Refused,
}

/// What to do next.
pub enum Step {
    /// Nothing before more bytes come.
    More,
    /// The client waits to be told that its body is welcome: `HTTP/1.1 100 Continue`.
    Continue,
    Request(Box<Request>),
    /// To be answered, then closed.
    Refused(Response),
}

type Result<T> = std::result::Result<T, Response>;

impl Reader {
    /// Refuses larger bodies.
    pub fn new(body_bytes_max: usize) -> Reader {
        Reader {
            buffer: Vec::new(),
            state: State::Head,
            body_bytes_max,
        }
    }

    pub fn on_bytes(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Refused) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a request has begun and is not complete.
    pub fn is_in_request(&self) -> bool {
        !self.buffer.is_empty() || !matches!(self.state, State::Head)
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        let body = match &self.state {
            State::Body(request, _) | State::Chunks(request) => request.body.len(),
            State::Head | State::Refused => 0,
        };
        self.buffer.len() + body
    }

    /// The next thing to do. To be asked again until it says [`Step::More`].
    pub fn step(&mut self) -> Step {
        let step = match std::mem::replace(&mut self.state, State::Head) {
            State::Head => self.take_head(),
            State::Body(request, left) => Ok(self.take_body(request, left)),
            State::Chunks(request) => self.take_chunks(request),
            State::Refused => {
                self.state = State::Refused;
                Ok(Step::More)
            }
        };
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        step.unwrap_or_else(|response| {
            self.state = State::Refused;
            self.buffer = Vec::new();
            Step::Refused(response)
        })
    }

    /// Whether what came begins as a TLS handshake does.
    fn hears_tls(&self) -> bool {
        self.buffer.starts_with(&[0x16, 0x03])
    }

    fn take_head(&mut self) -> Result<Step> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let size = match parsed.parse(&self.buffer) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) if self.buffer.len() > HEAD_BYTES_MAX => {
                return Err(refusal(431, "the request's head is too large"));
            }
            Ok(httparse::Status::Partial) => return Ok(Step::More),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(refusal(431, "too many headers"));
            }
            Err(httparse::Error::Version) => {
                return Err(refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"));
            }
            Err(_) if self.hears_tls() => {
                return Err(refusal(400, "looks like TLS on a port without it"));
            }
            Err(error) => return Err(refusal(400, &error.to_string())),
        };
        if size > HEAD_BYTES_MAX {
            return Err(refusal(431, "the request's head is too large"));
        }
        let request = read_head(&parsed)?;
        let framing = framing(&request, self.body_bytes_max)?;
        let awaits_go = request
            .header("expect")
            .is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue"));
        self.buffer.drain(..size);
        let request = Box::new(request);
        match framing {
            Framing::Length(0) => return Ok(Step::Request(request)),
            Framing::Length(length) => self.state = State::Body(request, length),
            Framing::Chunked => self.state = State::Chunks(request),
        }
        if awaits_go && self.buffer.is_empty() {
            return Ok(Step::Continue);
        }
        Ok(self.step())
    }

    fn take_body(&mut self, mut request: Box<Request>, left: usize) -> Step {
        let count = left.min(self.buffer.len());
        request.body.extend(self.buffer.drain(..count));
        if count == left {
            return Step::Request(request);
        }
        self.state = State::Body(request, left - count);
        Step::More
    }

    /// RFC 9112 §7.1. Trailers are read over.
    fn take_chunks(&mut self, mut request: Box<Request>) -> Result<Step> {
        loop {
            let (begin, size) = match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((begin, size))) => (begin, size),
                Ok(httparse::Status::Partial) if self.buffer.len() > CHUNK_LINE_MAX => {
                    return Err(refusal(400, "a chunk's size is too long"));
                }
                Ok(httparse::Status::Partial) => break,
                Err(_) => return Err(refusal(400, "a chunk has no size")),
            };
            if size == 0 {
                let Some(end) = trailers_end(&self.buffer[begin..])? else {
                    break;
                };
                self.buffer.drain(..begin + end);
                return Ok(Step::Request(request));
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > self.body_bytes_max.saturating_sub(request.body.len()) {
                return Err(too_large());
            }
            let end = begin + size;
            if self.buffer.len() < end + LINE_END.len() {
                break;
            }
            if !self.buffer[end..].starts_with(LINE_END) {
                return Err(refusal(400, "a chunk is longer than it says"));
            }
            request.body.extend_from_slice(&self.buffer[begin..end]);
            self.buffer.drain(..end + LINE_END.len());
        }
        self.state = State::Chunks(request);
        Ok(Step::More)
    }
}

/// How the end of a body is found.
enum Framing {
    Length(usize),
    Chunked,
}

fn read_head(parsed: &httparse::Request<'_, '_>) -> Result<Request> {
    let target = parsed.path.unwrap_or("/");
    // An absolute URI, as to a proxy (RFC 9112 §3.2.2).
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    let target = target.split('#').next().unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value);
            (header.name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let connection = headers.iter().find(|(name, _)| name == "connection");
    let connection = connection.map_or("", |(_, value)| value);
    let keep_alive = match parsed.version {
        Some(1) => !connection.eq_ignore_ascii_case("close"),
        _ => connection.eq_ignore_ascii_case("keep-alive"),
    };
    Ok(Request {
        method: Method::named(parsed.method.unwrap_or("")),
        path: segments(path),
        query: parameters(query),
        headers,
        body: Vec::new(),
        keep_alive,
    })
}

/// Empty segments count, as an exchange may have the empty name; but not the one before the first slash
/// and the one behind the last.
fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    path.split('/').map(percent::decode).collect()
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(name), percent::decode_query(value))
        })
        .collect()
}

/// RFC 9112 §6.3. Two lengths, or a length beside chunks, could be read in two ways.
fn framing(request: &Request, body_bytes_max: usize) -> Result<Framing> {
    let all = |wanted: &str| {
        let values = request.headers.iter().filter(|(name, _)| name == wanted);
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let lengths = all("content-length");
    match (all("transfer-encoding").as_slice(), lengths.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [length]) => {
            if !length.bytes().all(|byte| byte.is_ascii_digit()) || length.is_empty() {
                return Err(refusal(400, "content-length is no number"));
            }
            match length.parse() {
                Ok(length) if length <= body_bytes_max => Ok(Framing::Length(length)),
                _ => Err(too_large()),
            }
        }
        ([encoding], []) if encoding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([_], []) => Err(refusal(501, "the transfer encoding is not known")),
        _ => Err(refusal(400, "the request's length is ambiguous")),
    }
}

/// Where the trailers and the empty line behind them end; `None` if they do not yet.
fn trailers_end(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(length) = rest.windows(2).position(|pair| pair == LINE_END) else {
            if bytes.len() > HEAD_BYTES_MAX {
                return Err(refusal(431, "the trailers are too large"));
            }
            return Ok(None);
        };
        at += length + LINE_END.len();
        if length == 0 {
            return Ok(Some(at));
        }
    }
}

fn too_large() -> Response {
    refusal(413, "the request's body is too large")
}

fn refusal(status: u16, reason: &str) -> Response {
    Response::text(status, &format!("{reason}\n"))
}

/// Request line and headers together.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Size of a chunk in hexadecimal digits, and its extensions.
const CHUNK_LINE_MAX: usize = 256;
const LINE_END: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(input: &str, at_once: usize) -> Vec<Request> {
        let mut reader = Reader::new(100);
        let mut requests = Vec::new();
        for bytes in input.as_bytes().chunks(at_once) {
            reader.on_bytes(bytes);
            loop {
                match reader.step() {
                    Step::More => break,
                    Step::Continue => {}
                    Step::Request(request) => requests.push(*request),
                    Step::Refused(response) => panic!("refused: {}", response.status),
                }
            }
        }
        assert!(!reader.is_in_request());
        requests
    }

    fn refused(input: &str) -> u16 {
        let mut reader = Reader::new(100);
        reader.on_bytes(input.as_bytes());
        match reader.step() {
            Step::Refused(response) => response.status,
            _ => panic!("not refused: {input}"),
        }
    }

    #[test]
    fn requests_follow_each_other_however_they_are_cut() {
        let input = "GET /api/queues/%2F/a%20b?page=1&name=x+y HTTP/1.1\r\nHost: h\r\n\r\n\
                     PUT /api/x HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody\
                     POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n\
                     GET / HTTP/1.0\r\n\r\n";
        for at_once in [1, 2, 3, 7, 1000] {
            let [first, second, third, fourth] = &requests(input, at_once)[..] else {
                panic!("four requests");
            };
            assert_eq!(first.path, ["api", "queues", "/", "a b"]);
            assert_eq!(first.parameter("name"), Some("x y"));
            assert!(first.keep_alive);
            assert_eq!(second.method, Method::Put);
            assert_eq!(second.body, b"body");
            assert_eq!(third.body, b"abcde");
            assert!(!fourth.keep_alive);
        }
    }

    #[test]
    fn the_empty_name_is_a_segment() {
        let requests = requests("GET /api/exchanges/%2F//publish HTTP/1.1\r\n\r\n", 1000);
        assert_eq!(requests[0].path, ["api", "exchanges", "/", "", "publish"]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(
            refused("GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n"),
            400
        );
        assert_eq!(
            refused("GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(refused("GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n"), 400);
        assert_eq!(
            refused("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n"),
            501
        );
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert_eq!(
            refused("PUT / HTTP/1.1\r\ncontent-length: 101\r\n\r\n"),
            413
        );
        assert_eq!(
            refused("PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
            413
        );
        assert_eq!(
            refused(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000))),
            431
        );
        assert_eq!(
            refused(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(65))),
            431
        );
    }

    #[test]
    fn no_bytes_can_make_it_panic() {
        proptest::proptest!(|(bytes: Vec<u8>)| {
            let mut reader = Reader::new(100);
            reader.on_bytes(b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
            reader.on_bytes(&bytes);
            while !matches!(reader.step(), Step::More) {}
            let mut reader = Reader::new(100);
            reader.on_bytes(&bytes);
            while !matches!(reader.step(), Step::More) {}
        });
    }
}
