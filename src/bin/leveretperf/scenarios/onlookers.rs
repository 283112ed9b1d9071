//! What it does to a stream that the broker is looked at: latency at a steady rate, alone and beside clients of the
//! management API, in turns.
//!
//! ```text
//!   alone    polled    idle    slow    alone    polled    ...      medians of the turns
//! ```
//!
//! - polled: a client asks for `/api/queues` every second, and there are many queues;
//! - idle: connections of the API that are kept alive, and nothing more;
//! - slow: connections that send a byte of a request every second, and never come to its end (slow-loris).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::company::{self, Company, Stage, median};
use super::fresh_name;
use crate::client::connection::{Connection, Endpoint, Life, queue_declare};
use crate::client::failure::{Failure, Result};
use crate::client::wire::{self, CHANNEL, Method};
use crate::load::Load;
use crate::outcome::{Figure, Outcome};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay has no management API, hence no figures.
pub fn run(target: &Target, load: &Load, progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    let api = Api::new(&target.endpoint, load.http_port);
    api.get("/api/overview")?;
    let mut connection = Connection::open(&target.endpoint)?;
    let crowd = Crowd::declare(&mut connection, load.count.unwrap_or(QUEUES))?;
    let polls = Mutex::new(Vec::new());
    let companies = COMPANIES.map(|(names, kind)| {
        let (api, polls) = (&api, &polls);
        Company::new(names, move |stage| {
            stage.begin();
            keep(kind, api, stage, polls);
            Ok(())
        })
    });
    let mut figures = company::take_turns(target, load, &companies, ROUNDS, progress)?;
    drop(companies);
    crowd.delete(&mut connection)?;
    connection.close()?;
    let polls = polls.into_inner().unwrap_or_default();
    figures.push(Figure::new("poll ms", median(&polls)));
    Ok(Outcome::new(figures))
}

/// Who is there beside the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Onlooker {
    Poller,
    Idle,
    Slow,
}

/// The management API of the broker.
struct Api {
    address: SocketAddr,
    credentials: String,
}

/// Queues with nothing in them.
struct Crowd {
    name: String,
    count: u64,
}

impl Api {
    fn new(endpoint: &Endpoint, port: u16) -> Self {
        let both = format!("{}:{}", endpoint.user, endpoint.password);
        Api {
            address: SocketAddr::new(endpoint.address.ip(), port),
            credentials: BASE64.encode(both),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let cannot = |error| Failure::new(format!("management API at {}: {error}", self.address));
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(cannot)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn request(&self, path: &str, connection: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {}\r\nconnection: {connection}\r\n\r\n",
            self.address, self.credentials
        )
    }

    /// How long the answer took.
    fn get(&self, path: &str) -> Result<Duration> {
        let asked = Instant::now();
        let mut stream = self.connect()?;
        stream.write_all(self.request(path, "close").as_bytes())?;
        let mut piece = vec![0; 256 << 10];
        let mut beginning = Vec::new();
        loop {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                break;
            }
            if beginning.len() < STATUS.len() {
                beginning.extend(&piece[..count.min(STATUS.len())]);
            }
        }
        match beginning.starts_with(STATUS) {
            true => Ok(asked.elapsed()),
            false => Err(Failure::new(format!("{path} was not answered with 200"))),
        }
    }
}

impl Crowd {
    fn declare(connection: &mut Connection, count: u64) -> Result<Self> {
        let crowd = Crowd {
            name: fresh_name(),
            count,
        };
        crowd.all(connection, wire::QUEUE_DECLARE_OK, |name| {
            queue_declare(name, Life::Transient.flags())
        })?;
        Ok(crowd)
    }

    fn delete(&self, connection: &mut Connection) -> Result<()> {
        self.all(connection, wire::QUEUE_DELETE_OK, |name| {
            Method::new(wire::QUEUE_DELETE).u16(0).short(name).u8(0)
        })
    }

    /// Pipelined, in pieces that no broker chokes on.
    fn all(
        &self,
        connection: &mut Connection,
        answer: wire::Id,
        method: impl Fn(&str) -> Method,
    ) -> Result<()> {
        let numbers: Vec<u64> = (0..self.count).collect();
        for piece in numbers.chunks(PIPELINED) {
            let names = piece.iter().map(|n| format!("{}.{n:05}", self.name));
            let frames = names.flat_map(|name| method(&name).frame(CHANNEL));
            connection.stream.write_all(&frames.collect::<Vec<u8>>())?;
            for _ in piece {
                connection.expect(answer)?;
            }
        }
        Ok(())
    }
}

/// Keeps the stream company until it is over. Who is thrown out comes again; an API that fails is seen before and
/// after, and not here.
fn keep(onlooker: Onlooker, api: &Api, stage: &Stage, looked: &Mutex<Vec<f64>>) {
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let request = api.request("/api/overview", "keep-alive");
    let mut at = 0;
    while !stage.is_over() {
        match onlooker {
            Onlooker::Poller => {
                if at % POLL_STEPS == 0
                    && let Ok(took) = api.get("/api/queues")
                    && let Ok(mut looked) = looked.lock()
                {
                    looked.push(took.as_secs_f64() * 1000.0);
                }
            }
            Onlooker::Idle => {
                while streams.len() < CONNECTIONS {
                    streams.push(api.connect().ok());
                }
            }
            Onlooker::Slow => {
                streams.resize_with(CONNECTIONS, || None);
                let byte = &request.as_bytes()[at / POLL_STEPS % SLOW_BYTES..][..1];
                // Each has its turn once a second.
                for stream in streams.iter_mut().skip(at % POLL_STEPS).step_by(POLL_STEPS) {
                    let is_there = stream.as_mut().is_some_and(|it| it.write_all(byte).is_ok());
                    if !is_there {
                        *stream = api.connect().ok();
                    }
                }
            }
        }
        at += 1;
        thread::sleep(STEP);
    }
}

const COMPANIES: [([&str; 3], Onlooker); 3] = [
    (
        ["polled p50 us", "polled p99 us", "polled p99 change %"],
        Onlooker::Poller,
    ),
    (
        ["idle p50 us", "idle p99 us", "idle p99 change %"],
        Onlooker::Idle,
    ),
    (
        ["slow p50 us", "slow p99 us", "slow p99 change %"],
        Onlooker::Slow,
    ),
];

const ROUNDS: u64 = 7;
const QUEUES: u64 = 10_000;
/// Of those that are idle or slow.
const CONNECTIONS: usize = 100;
const PIPELINED: usize = 500;
const STEP: Duration = Duration::from_millis(100);
/// A second.
const POLL_STEPS: usize = 10;
/// Of a request's line and headers, which do not end with them.
const SLOW_BYTES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(10);
const STATUS: &[u8] = b"HTTP/1.1 200";
