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
//!
//! Turns alternate, so that a disturbance of the machine meets them all. The change is the median of what each turn
//! was beside the lone one of its round.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{fresh_name, latency};
use crate::client::connection::{Connection, Endpoint, Life, queue_declare};
use crate::client::failure::{Failure, Result};
use crate::client::wire::{self, CHANNEL, Method};
use crate::load::Load;
use crate::outcome::{Figure, Outcome};
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// The relay has no management API, hence no figures.
pub fn run(target: &Target, load: &Load, mut progress: Progress) -> Result<Outcome> {
    if target.kind == Kind::Relay {
        return Ok(Outcome::none());
    }
    let api = Api::new(&target.endpoint, load.http_port);
    api.get("/api/overview")?;
    let mut connection = Connection::open(&target.endpoint)?;
    let crowd = Crowd::declare(&mut connection, load.count.unwrap_or(QUEUES))?;
    let mut turns: [Turns; 4] = Default::default();
    let mut polls = Vec::new();
    for round in 0..ROUNDS {
        for (company, turns) in COMPANIES.into_iter().zip(&mut turns) {
            let looked = Mutex::new(Vec::new());
            let is_over = AtomicBool::new(false);
            let outcome = thread::scope(|scope| {
                scope.spawn(|| keep(company, &api, &is_over, &looked));
                // They are there when it begins.
                thread::sleep(SETTLING);
                let outcome = latency::run(target, load, Progress::silent());
                is_over.store(true, Ordering::Relaxed);
                outcome
            })?;
            let latencies = outcome.latencies.expect("latency takes them");
            turns.p50.push(latencies.at(0.5));
            turns.p99.push(latencies.at(0.99));
            polls.append(&mut looked.into_inner().unwrap_or_default());
        }
        progress.tell(Instant::now(), round + 1);
    }
    crowd.delete(&mut connection)?;
    connection.close()?;
    Ok(Outcome::new(figures(&turns, &mut polls)))
}

/// Who is there beside the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    Poller,
    Idle,
    Slow,
}

/// Microseconds, a figure for each turn.
#[derive(Default)]
struct Turns {
    p50: Vec<f64>,
    p99: Vec<f64>,
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
fn keep(company: Company, api: &Api, is_over: &AtomicBool, looked: &Mutex<Vec<f64>>) {
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let request = api.request("/api/overview", "keep-alive");
    let mut at = 0;
    while !is_over.load(Ordering::Relaxed) {
        match company {
            Company::Nobody => {}
            Company::Poller => {
                if at % POLL_STEPS == 0
                    && let Ok(took) = api.get("/api/queues")
                    && let Ok(mut looked) = looked.lock()
                {
                    looked.push(took.as_secs_f64() * 1000.0);
                }
            }
            Company::Idle => {
                while streams.len() < CONNECTIONS {
                    streams.push(api.connect().ok());
                }
            }
            Company::Slow => {
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

fn figures(turns: &[Turns; 4], polls: &mut [f64]) -> Vec<Figure> {
    let [alone, others @ ..] = turns;
    let mut figures = vec![
        Figure::new("alone p50 us", median(&alone.p50)),
        Figure::new("alone p99 us", median(&alone.p99)),
    ];
    for (names, turns) in NAMES.into_iter().zip(others) {
        let pairs = turns.p99.iter().zip(&alone.p99);
        let changes: Vec<f64> = pairs
            .map(|(with, without)| (with / without - 1.0) * 100.0)
            .collect();
        figures.push(Figure::new(names[0], median(&turns.p50)));
        figures.push(Figure::new(names[1], median(&turns.p99)));
        figures.push(Figure::new(names[2], median(&changes)));
    }
    figures.push(Figure::new("poll ms", median(polls)));
    figures
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

const COMPANIES: [Company; 4] = [
    Company::Nobody,
    Company::Poller,
    Company::Idle,
    Company::Slow,
];
const NAMES: [[&str; 3]; 3] = [
    ["polled p50 us", "polled p99 us", "polled p99 change %"],
    ["idle p50 us", "idle p99 us", "idle p99 change %"],
    ["slow p50 us", "slow p99 us", "slow p99 change %"],
];

const ROUNDS: u64 = 7;
const QUEUES: u64 = 10_000;
/// Of those that are idle or slow.
const CONNECTIONS: usize = 100;
const PIPELINED: usize = 500;
const SETTLING: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(100);
/// A second.
const POLL_STEPS: usize = 10;
/// Of a request's line and headers, which do not end with them.
const SLOW_BYTES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(10);
const STATUS: &[u8] = b"HTTP/1.1 200";
