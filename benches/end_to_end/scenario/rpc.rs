//! Request and reply, one at a time, over direct reply-to (RabbitMQ: `amq.rabbitmq.reply-to`).
//!
//! One thread plays both the caller and the server, which take turns anyway.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Path, cost_figures, fresh_name};
use crate::connection::Connection;
use crate::failure::{Failure, Result};
use crate::process::{Mark, Span};
use crate::report::{Figure, latency_figures};
use crate::scanner;
use crate::target::{Kind, Target};
use crate::wire::{self, BODY, HEADER, METHOD, Message};

pub fn run(target: &Target, duration: Duration) -> Result<Vec<Figure>> {
    let mut call = match target.kind {
        Kind::Broker => Call::through_broker(target)?,
        Kind::Relay => Call::through_relay(target)?,
    };
    let warm_at = Instant::now() + WARM_UP;
    let mut count = 0;
    while Instant::now() < warm_at {
        call.make(count)?;
        count += 1;
    }
    let from = Mark::now(target.pid, count);
    let end_at = from.at + duration;
    let mut latencies = Vec::new();
    let mut now = from.at;
    while now < end_at && latencies.len() < CALLS_MAX {
        call.make(count)?;
        count += 1;
        let after = Instant::now();
        latencies.push((after - now).as_nanos() as u64);
        now = after;
    }
    let to = Mark::now(target.pid, count);
    call.caller.close()?;
    call.server.close()?;
    let mut figures = latency_figures(latencies);
    figures.extend(cost_figures(target, "calls/s", Span { from, to }));
    Ok(figures)
}

struct Call {
    caller: Connection,
    server: Connection,
    request: Message,
    /// What the server answers, and to whom; made anew when the caller's reply-to changes.
    reply: Option<(Option<String>, Message)>,
}

/// A message received: what RPC needs of it.
struct Received {
    reply_to: Option<String>,
    sequence: u64,
}

impl Call {
    fn through_broker(target: &Target) -> Result<Self> {
        let mut caller = Connection::open(target.address)?;
        caller.consume(REPLY_TO, 0, true)?;
        let mut server = Connection::open(target.address)?;
        let queue = fresh_name();
        server.declare_queue(&queue)?;
        server.consume(&queue, 0, true)?;
        Ok(Call {
            caller,
            server,
            request: Message::request(&queue, REPLY_TO, BODY_SIZE),
            reply: None,
        })
    }

    fn through_relay(target: &Target) -> Result<Self> {
        let path = Path::through_relay(target, super::ONE_QUEUE)?;
        Ok(Call {
            caller: path.publisher,
            server: path.consumer,
            request: path.message.clone(),
            reply: Some((None, path.message)),
        })
    }

    /// One request, one reply.
    fn make(&mut self, sequence: u64) -> Result<()> {
        self.request.set_sequence(sequence);
        self.caller.stream.write_all(&self.request.bytes)?;
        let request = receive(&mut self.server)?;
        if request.sequence != sequence {
            return Err(Failure::new(
                "the server received another request than was made",
            ));
        }
        self.answer(request)?;
        if receive(&mut self.caller)?.sequence != sequence {
            return Err(Failure::new(
                "the caller received the reply to another request",
            ));
        }
        Ok(())
    }

    fn answer(&mut self, request: Received) -> Result<()> {
        let reply = match &mut self.reply {
            Some((reply_to, reply)) if *reply_to == request.reply_to => reply,
            stale => {
                let token = request.reply_to.as_deref();
                let token = token.ok_or_else(|| Failure::new("a request has no reply-to"))?;
                let reply = Message::publish("", token, BODY_SIZE);
                &mut stale.insert((request.reply_to, reply)).1
            }
        };
        reply.set_sequence(request.sequence);
        self.server.stream.write_all(&reply.bytes)?;
        Ok(())
    }
}

/// Waits for one message: method, header, body, a frame each.
fn receive(connection: &mut Connection) -> Result<Received> {
    let method = connection.read_frame()?;
    if method.kind != METHOD || scanner::method_id(&method.payload)? != wire::BASIC_DELIVER {
        return Err(scanner::unexpected(&method.payload));
    }
    let header = connection.read_frame()?;
    let body = connection.read_frame()?;
    let sequence = wire::u64_at(&body.payload, 0);
    match (header.kind, body.kind, sequence) {
        (HEADER, BODY, Some(sequence)) => Ok(Received {
            reply_to: reply_to(&header.payload),
            sequence,
        }),
        _ => Err(Failure::new("a delivery is not followed by its content")),
    }
}

/// `reply-to`, if it is the only property (flags at 12, then its value).
fn reply_to(header: &[u8]) -> Option<String> {
    let flags = wire::u16_at(header, 12)?;
    (flags == wire::REPLY_TO_ONLY).then(|| wire::short_at(header, 14))?
}

/// RabbitMQ's pseudo queue: the server sees a name of the broker's making in its place.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const BODY_SIZE: usize = 100;
const WARM_UP: Duration = Duration::from_millis(200);
/// Bounds the memory for latencies.
const CALLS_MAX: usize = 1_000_000;
