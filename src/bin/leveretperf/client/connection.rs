//! A blocking AMQP connection: the handshake, set-up calls, and the polite end. The scenarios take
//! its socket and its inbox for the measured part.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::failure::{Failure, Result, STALL_SECONDS};
use super::inbox::Inbox;
use super::scanner;
use super::wire::{self, CHANNEL, FRAME_HEAD, Id, METHOD, Method};

/// Where a broker listens, and who we are to it.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub user: String,
    pub password: String,
    pub virtual_host: String,
}

/// One socket, with a channel open on it unless it leads to the relay.
pub struct Connection {
    pub stream: TcpStream,
    pub inbox: Inbox,
    /// What was agreed on, in bytes.
    pub frame_max: u32,
    speaks_amqp: bool,
}

/// One frame, its payload copied: for set-up, and for RPC, where one message is under way at a time.
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// How a queue is to be declared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Goes with this connection, which alone may use it.
    Exclusive,
    /// Goes with its last consumer; others may consume.
    Shared,
    /// As that, and durable.
    DurableShared,
    /// Stays.
    Durable,
    /// Stays until the broker ends.
    Transient,
}

impl Connection {
    /// Connects, logs in and opens a channel.
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        let mut connection = Connection::open_with(endpoint, INBOX_BYTES)?;
        connection.open_channel()?;
        Ok(connection)
    }

    /// As [`Connection::open`], for one of thousands: with a small inbox, and without a channel.
    pub fn open_idle(endpoint: &Endpoint) -> Result<Self> {
        Connection::open_with(endpoint, IDLE_INBOX_BYTES)
    }

    /// Connects and says nothing: the relay understands nothing.
    pub fn raw(address: SocketAddr) -> Result<Self> {
        Connection::connect(address, INBOX_BYTES)
    }

    pub fn open_channel(&mut self) -> Result<()> {
        let open = Method::new(wire::CHANNEL_OPEN).short("");
        self.call(open.frame(CHANNEL), wire::CHANNEL_OPEN_OK)?;
        Ok(())
    }

    fn connect(address: SocketAddr, inbox_bytes: usize) -> Result<Self> {
        let stall = Duration::from_secs(STALL_SECONDS);
        let stream = TcpStream::connect_timeout(&address, stall)
            .map_err(|error| Failure::new(format!("cannot connect to {address}: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(stall))?;
        stream.set_write_timeout(Some(stall))?;
        Ok(Connection {
            stream,
            inbox: Inbox::new(inbox_bytes),
            frame_max: wire::FRAME_MAX,
            speaks_amqp: false,
        })
    }

    /// Sends a method and returns the arguments of its answer, which must come next.
    pub fn call(&mut self, frame: Vec<u8>, answer: Id) -> Result<Vec<u8>> {
        self.stream.write_all(&frame)?;
        self.expect(answer)
    }

    pub fn declare_queue(&mut self, name: &str, life: Life) -> Result<()> {
        let declare = queue_declare(name, life.flags());
        self.call(declare.frame(CHANNEL), wire::QUEUE_DECLARE_OK)?;
        Ok(())
    }

    /// How many messages are ready in the queue.
    pub fn count_messages(&mut self, queue: &str) -> Result<u64> {
        let answer = self.call(
            queue_declare(queue, PASSIVE).frame(CHANNEL),
            wire::QUEUE_DECLARE_OK,
        )?;
        let name_size = usize::from(answer.first().copied().unwrap_or_default());
        wire::u32_at(&answer, 1 + name_size)
            .map(u64::from)
            .ok_or_else(|| Failure::new("queue.declare-ok is too short"))
    }

    /// Declares an exchange that goes with its last binding.
    pub fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<()> {
        let declare = Method::new(wire::EXCHANGE_DECLARE)
            .u16(0)
            .short(name)
            .short(kind)
            .u8(EXCHANGE_AUTO_DELETE)
            .long(&[]);
        self.call(declare.frame(CHANNEL), wire::EXCHANGE_DECLARE_OK)?;
        Ok(())
    }

    /// Binds a queue; `arguments` are an encoded field table.
    pub fn bind(&mut self, queue: &str, exchange: &str, key: &str, arguments: &[u8]) -> Result<()> {
        let bind = queue_bind(queue, exchange, key, arguments, false);
        self.call(bind.frame(CHANNEL), wire::QUEUE_BIND_OK)?;
        Ok(())
    }

    /// Binds a queue many times without waiting; a later call finds out how it went.
    pub fn bind_all(
        &mut self,
        queue: &str,
        exchange: &str,
        bindings: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        let mut frames = Vec::new();
        for (key, arguments) in bindings {
            let bind = queue_bind(queue, exchange, &key, &arguments, true);
            frames.extend_from_slice(&bind.frame(CHANNEL));
            if frames.len() > PIPELINE_BYTES {
                self.stream.write_all(&frames)?;
                frames.clear();
            }
        }
        self.stream.write_all(&frames)?;
        Ok(())
    }

    /// Binds an exchange to another (RabbitMQ: exchange to exchange bindings).
    pub fn bind_exchange(&mut self, destination: &str, source: &str, key: &str) -> Result<()> {
        let bind = Method::new(wire::EXCHANGE_BIND)
            .u16(0)
            .short(destination)
            .short(source)
            .short(key)
            .u8(0)
            .long(&[]);
        self.call(bind.frame(CHANNEL), wire::EXCHANGE_BIND_OK)?;
        Ok(())
    }

    /// Consumes under the tag of [`wire::consumer_tag`].
    pub fn consume(&mut self, queue: &str, number: usize, no_ack: bool) -> Result<()> {
        let consume = Method::new(wire::BASIC_CONSUME)
            .u16(0)
            .short(queue)
            .short(&wire::consumer_tag(number))
            .u8(if no_ack { CONSUME_NO_ACK } else { 0 })
            .long(&[]);
        self.call(consume.frame(CHANNEL), wire::BASIC_CONSUME_OK)?;
        Ok(())
    }

    pub fn set_prefetch(&mut self, count: u16) -> Result<()> {
        let qos = Method::new(wire::BASIC_QOS).u32(0).u16(count).u8(0);
        self.call(qos.frame(CHANNEL), wire::BASIC_QOS_OK)?;
        Ok(())
    }

    pub fn select_confirms(&mut self) -> Result<()> {
        let select = Method::new(wire::CONFIRM_SELECT).u8(0);
        self.call(select.frame(CHANNEL), wire::CONFIRM_SELECT_OK)?;
        Ok(())
    }

    /// The next frame; waits for it.
    pub fn read_frame(&mut self) -> Result<Frame> {
        loop {
            let bytes = self.inbox.bytes();
            if let Some(size) = wire::u32_at(bytes, 3) {
                let size = size as usize;
                if let Some(payload) = bytes.get(FRAME_HEAD..FRAME_HEAD + size)
                    && bytes.len() > FRAME_HEAD + size
                {
                    let frame = Frame {
                        kind: bytes[0],
                        payload: payload.to_vec(),
                    };
                    self.inbox.consume(FRAME_HEAD + size + 1);
                    return Ok(frame);
                }
            }
            if self.inbox.fill(&self.stream)? == 0 {
                return Err(Failure::new("the broker closed the socket"));
            }
        }
    }

    /// Says goodbye and waits for the answer. Whatever the broker had still to say before it is
    /// thrown away, but for deliveries: everything published was received before, so that one more
    /// is a duplicate, and a failure.
    pub fn close(mut self) -> Result<()> {
        if !self.speaks_amqp {
            return Ok(());
        }
        self.stream.set_nonblocking(false)?;
        let close = Method::new(wire::CONNECTION_CLOSE)
            .u16(200)
            .short("done")
            .u32(0);
        self.stream.write_all(&close.frame(0))?;
        loop {
            let frame = self.read_frame()?;
            if frame.kind != METHOD {
                continue;
            }
            match scanner::method_id(&frame.payload)? {
                wire::CONNECTION_CLOSE_OK => return Ok(()),
                wire::BASIC_DELIVER => {
                    return Err(Failure::promise("more deliveries than messages"));
                }
                _ => {}
            }
        }
    }

    fn open_with(endpoint: &Endpoint, inbox_bytes: usize) -> Result<Self> {
        let mut connection = Connection::connect(endpoint.address, inbox_bytes)?;
        connection.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        connection.expect(wire::CONNECTION_START)?;
        let tune = connection.call(start_ok(endpoint), wire::CONNECTION_TUNE)?;
        let (Some(channel_max), Some(frame_max)) = (wire::u16_at(&tune, 0), wire::u32_at(&tune, 2))
        else {
            return Err(Failure::new("connection.tune is too short"));
        };
        // 0 is no limit (§1.4.2.5.2).
        let offered = if frame_max == 0 { u32::MAX } else { frame_max };
        connection.frame_max = offered.clamp(wire::FRAME_MIN, wire::FRAME_MAX);
        // No heartbeats: nobody would send them while a scenario computes.
        let tune_ok = Method::new(wire::CONNECTION_TUNE_OK)
            .u16(channel_max)
            .u32(connection.frame_max)
            .u16(0);
        let open = Method::new(wire::CONNECTION_OPEN)
            .short(&endpoint.virtual_host)
            .short("")
            .u8(0);
        let mut both = tune_ok.frame(0);
        both.extend_from_slice(&open.frame(0));
        connection.call(both, wire::CONNECTION_OPEN_OK)?;
        connection.speaks_amqp = true;
        Ok(connection)
    }

    /// Waits for a method and returns its arguments. It must come next, but for what a broker may say at any time.
    pub fn expect(&mut self, answer: Id) -> Result<Vec<u8>> {
        loop {
            let mut frame = self.read_frame()?;
            match frame.kind {
                METHOD => {}
                HEARTBEAT => continue,
                _ => return Err(Failure::new("content came where an answer was due")),
            }
            match scanner::method_id(&frame.payload)? {
                id if id == answer => return Ok(frame.payload.split_off(4)),
                // Publishing will wait; setting up need not.
                wire::CONNECTION_BLOCKED | wire::CONNECTION_UNBLOCKED => {}
                _ => return Err(scanner::unexpected(&frame.payload)),
            }
        }
    }
}

impl Life {
    pub fn flags(self) -> u8 {
        match self {
            Life::Exclusive => EXCLUSIVE,
            Life::Shared => AUTO_DELETE,
            Life::DurableShared => DURABLE | AUTO_DELETE,
            Life::Durable => DURABLE,
            Life::Transient => 0,
        }
    }
}

pub fn queue_declare(name: &str, flags: u8) -> Method {
    Method::new(wire::QUEUE_DECLARE)
        .u16(0)
        .short(name)
        .u8(flags)
        .long(&[])
}

fn queue_bind(queue: &str, exchange: &str, key: &str, arguments: &[u8], no_wait: bool) -> Method {
    Method::new(wire::QUEUE_BIND)
        .u16(0)
        .short(queue)
        .short(exchange)
        .short(key)
        .u8(u8::from(no_wait))
        .long(arguments)
}

fn start_ok(endpoint: &Endpoint) -> Vec<u8> {
    let mut capabilities = Method::empty();
    for name in CAPABILITIES {
        capabilities = capabilities.short(name).u8(b't').u8(1);
    }
    let properties = Method::empty()
        .short("product")
        .u8(b'S')
        .long(b"leveretperf")
        .short("capabilities")
        .u8(b'F')
        .long(capabilities.as_bytes());
    let login = format!("\0{}\0{}", endpoint.user, endpoint.password);
    Method::new(wire::CONNECTION_START_OK)
        .long(properties.as_bytes())
        .short("PLAIN")
        .long(login.as_bytes())
        .short("en_US")
        .frame(0)
}

/// Room for one read of a busy consumer, and for the largest frame.
const INBOX_BYTES: usize = 256 << 10;
const PIPELINE_BYTES: usize = 64 << 10;
/// Room for connection.start, which carries the server's properties.
const IDLE_INBOX_BYTES: usize = 4 << 10;

/// What we want to be told of (RabbitMQ's capabilities), rather than find a closed socket.
const CAPABILITIES: [&str; 4] = [
    "connection.blocked",
    "authentication_failure_close",
    "consumer_cancel_notify",
    "basic.nack",
];
const HEARTBEAT: u8 = 8;
const PASSIVE: u8 = 1;
const DURABLE: u8 = 2;
const EXCLUSIVE: u8 = 4;
const AUTO_DELETE: u8 = 8;
const EXCHANGE_AUTO_DELETE: u8 = 4;
const CONSUME_NO_ACK: u8 = 2;
