//! Many messages at once: numbered bodies of a given size, published as fast as it goes.

use std::io::Write;
use std::net::TcpStream;
use std::sync::LazyLock;

use leveret::wire::amqp::{Method, Properties, basic, confirm};

use crate::peer::Peer;
use crate::random::Random;
use crate::stamp::encode_publish;
use crate::support::RawClient;

/// The body of message `n`: its number as far as there is room, and bytes that follow from it.
pub fn body_of(n: u32, size: usize) -> Vec<u8> {
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random::new(0);
        (0..PATTERN_SIZE).map(|_| random.bits() as u8).collect()
    });
    let number = n.to_le_bytes();
    let mut body = number[..size.min(number.len())].to_vec();
    let mut rest = &PATTERN[n as usize % (PATTERN_SIZE / 2)..];
    while body.len() < size {
        let piece = rest.len().min(size - body.len());
        body.extend_from_slice(&rest[..piece]);
        rest = &PATTERN;
    }
    body
}

/// Publishes numbered messages to a queue, without confirms and in large writes.
pub fn publish_many(
    mut stream: &TcpStream,
    queue: &str,
    numbers: impl IntoIterator<Item = u32>,
    size: usize,
    persistent: bool,
) {
    let properties = properties(persistent);
    let mut bytes = Vec::new();
    for n in numbers {
        encode_publish(&mut bytes, "", queue, &properties, &body_of(n, size));
        if bytes.len() > 1 << 18 {
            stream.write_all(&bytes).unwrap();
            bytes.clear();
        }
    }
    stream.write_all(&bytes).unwrap();
}

/// Publishes persistent messages with confirms and a window, and minds being blocked.
pub struct Confirmed {
    peer: Peer,
    queue: String,
    size: usize,
    sent: u32,
    confirmed: u32,
    blocked: Option<String>,
}

impl Confirmed {
    pub fn start(client: RawClient, queue: &str, size: usize) -> Confirmed {
        let mut peer = Peer::new(client);
        peer.send(&confirm::Select::default()).unwrap();
        peer.expect("confirm.select-ok").unwrap();
        Confirmed {
            peer,
            queue: queue.to_owned(),
            size,
            sent: 0,
            confirmed: 0,
            blocked: None,
        }
    }

    /// All numbers below this are confirmed.
    pub fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// Publishes until the broker says that it does not want more, and why.
    pub fn run_until_blocked(&mut self) -> Option<String> {
        while self.blocked.is_none() {
            self.fill_window();
            self.receive();
        }
        self.blocked.clone()
    }

    pub fn run_until_unblocked(&mut self) {
        while self.blocked.is_some() {
            self.receive();
        }
    }

    pub fn run_until_confirmed(&mut self, count: u32) {
        while self.confirmed < count {
            self.fill_window();
            self.receive();
        }
    }

    /// Publishes as much as may be unconfirmed.
    pub fn fill_window(&mut self) {
        let properties = properties(true);
        let mut bytes = Vec::new();
        while self.sent < self.confirmed + WINDOW {
            let body = body_of(self.sent, self.size);
            encode_publish(&mut bytes, "", &self.queue, &properties, &body);
            self.sent += 1;
        }
        self.peer.send_bytes(&bytes).unwrap();
    }

    fn receive(&mut self) {
        let received = self.peer.receive().unwrap();
        match received.method() {
            Method::BasicAck(basic::Ack {
                delivery_tag,
                multiple,
            }) => {
                let tag = delivery_tag as u32;
                assert!(multiple || tag == self.confirmed + 1);
                self.confirmed = tag;
            }
            Method::ConnectionBlocked(blocked) => {
                let reason = String::from_utf8_lossy(blocked.reason);
                self.blocked = Some(reason.into_owned());
            }
            Method::ConnectionUnblocked(_) => self.blocked = None,
            _ => panic!("a confirm was due, not {received}"),
        }
    }
}

fn properties(persistent: bool) -> Vec<u8> {
    let mut block = Vec::new();
    Properties {
        delivery_mode: Some(if persistent { 2 } else { 1 }),
        ..Properties::default()
    }
    .encode(&mut block);
    block
}

/// Few enough that what is not confirmed fits the buffers of the sockets: a broker that is blocked does
/// not read.
const WINDOW: u32 = 20;
const PATTERN_SIZE: usize = 10_007;
