//! Request and reply, one at a time, over direct reply-to (RabbitMQ: `amq.rabbitmq.reply-to`).
//!
//! One thread plays both the caller and the server, which take turns anyway.

use std::io::Write;
use std::time::{Duration, Instant};

use super::fresh_name;
use super::path::open_relayed;
use crate::client::connection::{Connection, Life};
use crate::client::failure::{Failure, Result};
use crate::client::message::{Message, Publish, REPLY_TO};
use crate::client::scanner;
use crate::client::wire::{self, BODY, HEADER, METHOD};
use crate::load::Load;
use crate::outcome::{Latencies, Outcome, cost_figures};
use crate::process::{Mark, Span};
use crate::progress::Progress;
use crate::target::{Kind, Target};

pub fn run(target: &Target, load: &Load, mut progress: Progress) -> Result<Outcome> {
    let mut call = match target.kind {
        Kind::Broker => Call::through_broker(target, load)?,
        Kind::Relay => Call::through_relay(target, load)?,
    };
    let warm_at = Instant::now() + WARM_UP;
    let mut count = 0;
    while Instant::now() < warm_at {
        call.make(count)?;
        count += 1;
    }
    let from = Mark::now(target.pid, count);
    let end_at = from.at + load.duration;
    let mut latencies = Latencies::new()?;
    let mut now = from.at;
    while now < end_at && latencies.count() < load.messages_max() {
        call.make(count)?;
        count += 1;
        let after = Instant::now();
        latencies.record((after - now).as_nanos() as u64);
        progress.tell(after, latencies.count());
        now = after;
    }
    let to = Mark::now(target.pid, count);
    call.caller.close()?;
    call.server.close()?;
    let figures = cost_figures(target, "calls/s", Span { from, to });
    Ok(Outcome::with_latencies(figures, latencies))
}

struct Call {
    caller: Connection,
    server: Connection,
    request: Message,
    /// What the server answers, and to whom; made anew when the caller's reply-to changes.
    reply: Option<(Option<String>, Message)>,
    body_size: usize,
}

/// A message received: what RPC needs of it.
struct Received {
    reply_to: Option<String>,
    sequence: u64,
}

impl Call {
    fn through_broker(target: &Target, load: &Load) -> Result<Self> {
        let mut caller = Connection::open(&target.endpoint)?;
        caller.consume(REPLIES, 0, true)?;
        let mut server = Connection::open(&target.endpoint)?;
        let queue = fresh_name();
        server.declare_queue(&queue, Life::Exclusive)?;
        server.consume(&queue, 0, true)?;
        let request = Publish {
            routing_key: &queue,
            reply_to: Some(REPLIES),
            body_size: load.body_size,
            frame_max: caller.frame_max,
            ..Publish::default()
        };
        Ok(Call {
            request: request.message(),
            caller,
            server,
            reply: None,
            body_size: load.body_size,
        })
    }

    fn through_relay(target: &Target, load: &Load) -> Result<Self> {
        let (caller, server, message) = open_relayed(target, load, 1)?;
        Ok(Call {
            caller,
            server,
            request: message.clone(),
            reply: Some((None, message)),
            body_size: load.body_size,
        })
    }

    /// One request, one reply.
    fn make(&mut self, sequence: u64) -> Result<()> {
        self.request.set_sequence(sequence);
        self.caller.stream.write_all(&self.request.bytes)?;
        let request = receive(&mut self.server)?;
        if request.sequence != sequence {
            return Err(Failure::promise(
                "the server received another request than was made",
            ));
        }
        self.answer(request)?;
        if receive(&mut self.caller)?.sequence != sequence {
            return Err(Failure::promise(
                "the caller received the reply to another request",
            ));
        }
        Ok(())
    }

    fn answer(&mut self, request: Received) -> Result<()> {
        let (body_size, frame_max) = (self.body_size, self.server.frame_max);
        let reply = match &mut self.reply {
            Some((reply_to, reply)) if *reply_to == request.reply_to => reply,
            stale => {
                let token = request.reply_to.as_deref();
                let token = token.ok_or_else(|| Failure::new("a request has no reply-to"))?;
                let reply = Publish {
                    routing_key: token,
                    body_size,
                    frame_max,
                    ..Publish::default()
                };
                let reply = reply.message();
                &mut stale.insert((request.reply_to, reply)).1
            }
        };
        reply.set_sequence(request.sequence);
        self.server.stream.write_all(&reply.bytes)?;
        Ok(())
    }
}

/// Waits for one message: method, header, and frames of the body.
fn receive(connection: &mut Connection) -> Result<Received> {
    loop {
        let method = connection.read_frame()?;
        match (method.kind, scanner::method_id(&method.payload)?) {
            (METHOD, wire::BASIC_DELIVER) => break,
            // Then the next call takes as long as the broker wants it to.
            (METHOD, wire::CONNECTION_BLOCKED | wire::CONNECTION_UNBLOCKED) => {}
            _ => return Err(scanner::unexpected(&method.payload)),
        }
    }
    let header = connection.read_frame()?;
    let mut body = connection.read_frame()?;
    let size = wire::u64_at(&header.payload, 4);
    let sequence = wire::u64_at(&body.payload, 0);
    let (Some(size), Some(sequence), HEADER) = (size, sequence, header.kind) else {
        return Err(Failure::new("a delivery is not followed by its content"));
    };
    let mut left = size;
    loop {
        left = left.saturating_sub(body.payload.len() as u64);
        if body.kind != BODY {
            return Err(Failure::new("something is in the middle of a body"));
        }
        if left == 0 {
            break;
        }
        body = connection.read_frame()?;
    }
    Ok(Received {
        reply_to: reply_to(&header.payload),
        sequence,
    })
}

/// `reply-to`, if it is the only property (flags at 12, then its value).
fn reply_to(header: &[u8]) -> Option<String> {
    let flags = wire::u16_at(header, 12)?;
    (flags == REPLY_TO).then(|| wire::short_at(header, 14))?
}

/// RabbitMQ's pseudo queue: the server sees a name of the broker's making in its place.
const REPLIES: &str = "amq.rabbitmq.reply-to";
const WARM_UP: Duration = Duration::from_millis(200);
