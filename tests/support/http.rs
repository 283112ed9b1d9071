//! A client of the management API: one request on each connection, and no more HTTP than that takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::PATIENCE;

/// Who asks, and where.
#[derive(Clone, Debug)]
pub struct HttpClient {
    address: SocketAddr,
    /// `None`: nobody.
    authorization: Option<String>,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[allow(dead_code, reason = "each test target uses a part")]
impl HttpClient {
    /// As `guest`.
    pub fn new(address: SocketAddr) -> HttpClient {
        let client = HttpClient {
            address,
            authorization: None,
        };
        client.user("guest", "guest")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as somebody else.
    pub fn user(&self, name: &str, password: &str) -> HttpClient {
        let encoded = BASE64.encode(format!("{name}:{password}"));
        HttpClient {
            address: self.address,
            authorization: Some(format!("Basic {encoded}")),
        }
    }

    /// The same as nobody.
    pub fn nobody(&self) -> HttpClient {
        HttpClient {
            address: self.address,
            authorization: None,
        }
    }

    /// What `/api` and the path behind it has; it must be there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let reply = self.request("GET", path, &[], None);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// The status and the reason of a GET that is refused.
    #[track_caller]
    pub fn get_refusal(&self, path: &str) -> (u16, String) {
        let reply = self.request("GET", path, &[], None);
        assert_ne!(reply.status, 200, "GET {path}: {}", reply.text());
        let reason = reply.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (reply.status, reason)
    }

    pub fn put(&self, path: &str, body: &Value) -> Reply {
        self.request("PUT", path, &[], Some(body))
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, &[], Some(body))
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, &[], None)
    }

    /// Asks for `/api` and the path behind it.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head =
            format!("{method} /api{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        if let Some(authorization) = &self.authorization {
            head += &format!("authorization: {authorization}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.exchange((head + &body).as_bytes())
    }

    /// Begins a request for `/api` and the path behind it whose answer need not end.
    pub fn begin(&self, path: &str) -> TcpStream {
        let mut head = format!("GET /api{path} HTTP/1.1\r\nhost: test\r\n");
        if let Some(authorization) = &self.authorization {
            head += &format!("authorization: {authorization}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        stream
    }

    /// Says exactly this and reads to the end of the connection.
    #[track_caller]
    pub fn exchange(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Reply::parse(&bytes)
    }
}

impl Reply {
    #[track_caller]
    fn parse(bytes: &[u8]) -> Reply {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let (status_line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.lines().map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Reply {
            status,
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}
