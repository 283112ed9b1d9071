//! What a client is answered.

use std::fmt::Write;

/// An answer; [`Response::head`] and the body are what goes out.
pub struct Response {
    pub status: u16,
    /// Beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Body,
}

pub enum Body {
    Bytes(Vec<u8>),
    Static(&'static [u8]),
    /// Goes on until either side has enough.
    Stream(Box<dyn Stream>),
}

/// A body that is asked for more again and again, several times a second and from one thread.
pub trait Stream: Send {
    /// Adds what has come since last asked, about `room` bytes of it at most. Returns false at its end.
    /// `now_ms` counts from some moment on.
    fn add_to(&mut self, out: &mut Vec<u8>, room: usize, now_ms: u64) -> bool;
}

impl Response {
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Response {
        Response {
            status,
            headers: Vec::new(),
            content_type,
            body: Body::Bytes(body),
        }
    }

    /// One without a body: 201 or 204.
    pub fn empty(status: u16) -> Response {
        Response::new(status, "", Vec::new())
    }

    pub fn text(status: u16, text: &str) -> Response {
        Response::new(status, TEXT, text.as_bytes().to_vec())
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// Status line and headers, with the empty line behind them.
    pub fn head(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if !self.content_type.is_empty() {
            let _ = write!(head, "content-type: {}\r\n", self.content_type);
        }
        match &self.body {
            Body::Stream(_) => head.push_str("transfer-encoding: chunked\r\n"),
            // RFC 9110 §8.6: no content-length in a 204.
            _ if self.status == 204 || self.status == 304 => {}
            Body::Bytes(bytes) => {
                let _ = write!(head, "content-length: {}\r\n", bytes.len());
            }
            Body::Static(bytes) => {
                let _ = write!(head, "content-length: {}\r\n", bytes.len());
            }
        }
        for (name, value) in &self.headers {
            // Nothing that somebody else named may begin another header.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !keep_alive {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// RFC 9110 §15.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_long_its_body_is() {
        let response = Response::text(200, "ok").with("vary", "origin");
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
                        content-length: 2\r\nvary: origin\r\n\r\n";
        assert_eq!(response.head(true), expected.as_bytes());
        assert!(response.head(false).ends_with(b"connection: close\r\n\r\n"));
    }

    #[test]
    fn no_header_can_be_smuggled_into_a_value() {
        let response = Response::empty(204).with("x-reason", "a\r\nset-cookie: b");
        let head = String::from_utf8(response.head(true)).unwrap();
        assert!(head.contains("x-reason: aset-cookie: b\r\n"), "{head}");
    }
}
