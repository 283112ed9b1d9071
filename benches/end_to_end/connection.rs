//! A blocking AMQP connection: the handshake, set-up calls, and the polite end. The scenarios take
//! its socket and its inbox for the measured part.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::failure::{Failure, Result, STALL_SECONDS};
use crate::scanner;
use crate::wire::{self, CHANNEL, FRAME_HEAD, Id, METHOD, Method};

/// One socket, with a channel open on it unless it leads to the relay.
pub struct Connection {
    pub stream: TcpStream,
    pub inbox: Inbox,
    speaks_amqp: bool,
}

/// One frame, its payload copied: for set-up, and for RPC, where one message is under way at a time.
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// Bytes received and not yet looked at.
pub struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects, logs in as guest and opens a channel.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let mut connection = Connection::open_with(address, INBOX_BYTES)?;
        connection.call(
            Method::new(wire::CHANNEL_OPEN).short("").frame(CHANNEL),
            wire::CHANNEL_OPEN_OK,
        )?;
        Ok(connection)
    }

    /// Opens channels 1 to `count`, each with publisher confirms.
    pub fn open_publishing(address: SocketAddr, count: u16) -> Result<Self> {
        let mut connection = Connection::open_with(address, INBOX_BYTES)?;
        for channel in 1..=count {
            let open = Method::new(wire::CHANNEL_OPEN).short("");
            connection.call(open.frame(channel), wire::CHANNEL_OPEN_OK)?;
            let select = Method::new(wire::CONFIRM_SELECT).u8(0);
            connection.call(select.frame(channel), wire::CONFIRM_SELECT_OK)?;
        }
        Ok(connection)
    }

    /// As [`Connection::open`], for one of a thousand: with a small inbox, and without a channel.
    pub fn open_idle(address: SocketAddr) -> Result<Self> {
        Connection::open_with(address, IDLE_INBOX_BYTES)
    }

    /// Connects and says nothing: the relay understands nothing.
    pub fn raw(address: SocketAddr) -> Result<Self> {
        Connection::connect(address, INBOX_BYTES)
    }

    fn connect(address: SocketAddr, inbox_bytes: usize) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(STALL_SECONDS)))?;
        stream.set_write_timeout(Some(Duration::from_secs(STALL_SECONDS)))?;
        Ok(Connection {
            stream,
            inbox: Inbox::new(inbox_bytes),
            speaks_amqp: false,
        })
    }

    /// Sends a method and returns the arguments of its answer, which must come next.
    pub fn call(&mut self, frame: Vec<u8>, answer: Id) -> Result<Vec<u8>> {
        self.stream.write_all(&frame)?;
        self.expect(answer)
    }

    /// Declares an exclusive queue of the given name.
    pub fn declare_queue(&mut self, name: &str) -> Result<()> {
        self.call(queue_declare(name, EXCLUSIVE), wire::QUEUE_DECLARE_OK)?;
        Ok(())
    }

    /// Declares a queue that outlives the connection, and the broker.
    pub fn declare_durable_queue(&mut self, name: &str) -> Result<()> {
        self.call(queue_declare(name, DURABLE), wire::QUEUE_DECLARE_OK)?;
        Ok(())
    }

    pub fn delete_queue(&mut self, name: &str) -> Result<()> {
        let delete = Method::new(wire::QUEUE_DELETE).u16(0).short(name).u8(0);
        self.call(delete.frame(CHANNEL), wire::QUEUE_DELETE_OK)?;
        Ok(())
    }

    /// How many messages are ready in the queue.
    pub fn count_messages(&mut self, queue: &str) -> Result<u64> {
        let answer = self.call(queue_declare(queue, PASSIVE), wire::QUEUE_DECLARE_OK)?;
        let name_size = usize::from(answer.first().copied().unwrap_or_default());
        wire::u32_at(&answer, 1 + name_size)
            .map(u64::from)
            .ok_or_else(|| Failure::new("queue.declare-ok is too short"))
    }

    /// Declares a fanout exchange that goes with its last queue.
    pub fn declare_fanout(&mut self, name: &str) -> Result<()> {
        let declare = Method::new(wire::EXCHANGE_DECLARE)
            .u16(0)
            .short(name)
            .short("fanout")
            .u8(EXCHANGE_AUTO_DELETE)
            .long(&[]);
        self.call(declare.frame(CHANNEL), wire::EXCHANGE_DECLARE_OK)?;
        Ok(())
    }

    pub fn bind(&mut self, queue: &str, exchange: &str) -> Result<()> {
        let bind = Method::new(wire::QUEUE_BIND)
            .u16(0)
            .short(queue)
            .short(exchange)
            .short("")
            .u8(0)
            .long(&[]);
        self.call(bind.frame(CHANNEL), wire::QUEUE_BIND_OK)?;
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
                wire::BASIC_DELIVER => return Err(Failure::new("more deliveries than messages")),
                _ => {}
            }
        }
    }

    fn open_with(address: SocketAddr, inbox_bytes: usize) -> Result<Self> {
        let mut connection = Connection::connect(address, inbox_bytes)?;
        connection.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        connection.expect(wire::CONNECTION_START)?;
        let tune = connection.call(start_ok(), wire::CONNECTION_TUNE)?;
        let (Some(channel_max), Some(frame_max)) = (wire::u16_at(&tune, 0), wire::u32_at(&tune, 2))
        else {
            return Err(Failure::new("connection.tune is too short"));
        };
        if frame_max != 0 && frame_max < wire::FRAME_MAX {
            return Err(Failure::new(
                "the broker allows frames of less than 128 KiB",
            ));
        }
        // No heartbeats: nobody would send them while a scenario computes.
        let tune_ok = Method::new(wire::CONNECTION_TUNE_OK)
            .u16(channel_max)
            .u32(wire::FRAME_MAX)
            .u16(0);
        connection.stream.write_all(&tune_ok.frame(0))?;
        let open = Method::new(wire::CONNECTION_OPEN)
            .short("/")
            .short("")
            .u8(0);
        connection.call(open.frame(0), wire::CONNECTION_OPEN_OK)?;
        connection.speaks_amqp = true;
        Ok(connection)
    }

    fn expect(&mut self, answer: Id) -> Result<Vec<u8>> {
        let mut frame = self.read_frame()?;
        if frame.kind != METHOD {
            return Err(Failure::new("content came where an answer was due"));
        }
        if scanner::method_id(&frame.payload)? != answer {
            return Err(scanner::unexpected(&frame.payload));
        }
        Ok(frame.payload.split_off(4))
    }
}

impl Inbox {
    fn new(size: usize) -> Self {
        Inbox {
            buffer: vec![0; size].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// One read. Returns the bytes read; 0 is the end of the stream.
    pub fn fill(&mut self, mut stream: &TcpStream) -> io::Result<usize> {
        // What a scan leaves behind is the head of one frame: few bytes.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            return Err(io::Error::other("a frame larger than the inbox"));
        }
        let size = stream.read(&mut self.buffer[self.end..])?;
        self.end += size;
        Ok(size)
    }

    /// Whether the last read left room, so that the socket had no more to give.
    pub fn has_room(&self) -> bool {
        self.end < self.buffer.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn consume(&mut self, size: usize) {
        self.start += size;
    }
}

fn start_ok() -> Vec<u8> {
    let product = Method::empty()
        .short("product")
        .u8(b'S')
        .long(b"leveret end-to-end benchmark");
    Method::new(wire::CONNECTION_START_OK)
        .long(product.as_bytes())
        .short("PLAIN")
        .long(b"\0guest\0guest")
        .short("en_US")
        .frame(0)
}

fn queue_declare(name: &str, flags: u8) -> Vec<u8> {
    Method::new(wire::QUEUE_DECLARE)
        .u16(0)
        .short(name)
        .u8(flags)
        .long(&[])
        .frame(CHANNEL)
}

/// Room for one read of a busy consumer, and for the largest frame.
const INBOX_BYTES: usize = 256 << 10;
/// Room for connection.start, which carries the server's properties.
const IDLE_INBOX_BYTES: usize = 4 << 10;

const PASSIVE: u8 = 1;
const DURABLE: u8 = 2;
const EXCLUSIVE: u8 = 4;
const EXCHANGE_AUTO_DELETE: u8 = 4;
const CONSUME_NO_ACK: u8 = 2;
