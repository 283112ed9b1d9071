//! The few bytes of AMQP 0-9-1 that the benchmark speaks, written here a second time on purpose: a
//! codec shared with leveret could hide a fault from both, and would tie the figures to its speed.

/// Frame types (§4.2.3).
pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const FRAME_END: u8 = 0xCE;

/// Type, channel and size in front of every frame.
pub const FRAME_HEAD: usize = 7;
/// The largest frame the benchmark asks for, and RabbitMQ's default.
pub const FRAME_MAX: u32 = 131_072;
/// The channel in use; the only one, but on connections that several publishers share.
pub const CHANNEL: u16 = 1;

/// Class and method (§1.2).
pub type Id = (u16, u16);

pub const CONNECTION_START: Id = (10, 10);
pub const CONNECTION_START_OK: Id = (10, 11);
pub const CONNECTION_TUNE: Id = (10, 30);
pub const CONNECTION_TUNE_OK: Id = (10, 31);
pub const CONNECTION_OPEN: Id = (10, 40);
pub const CONNECTION_OPEN_OK: Id = (10, 41);
pub const CONNECTION_CLOSE: Id = (10, 50);
pub const CONNECTION_CLOSE_OK: Id = (10, 51);
pub const CHANNEL_OPEN: Id = (20, 10);
pub const CHANNEL_OPEN_OK: Id = (20, 11);
pub const CHANNEL_CLOSE: Id = (20, 40);
pub const EXCHANGE_DECLARE: Id = (40, 10);
pub const EXCHANGE_DECLARE_OK: Id = (40, 11);
pub const QUEUE_DECLARE: Id = (50, 10);
pub const QUEUE_DECLARE_OK: Id = (50, 11);
pub const QUEUE_DELETE: Id = (50, 40);
pub const QUEUE_DELETE_OK: Id = (50, 41);
pub const QUEUE_BIND: Id = (50, 20);
pub const QUEUE_BIND_OK: Id = (50, 21);
pub const BASIC_QOS: Id = (60, 10);
pub const BASIC_QOS_OK: Id = (60, 11);
pub const BASIC_CONSUME: Id = (60, 20);
pub const BASIC_CONSUME_OK: Id = (60, 21);
pub const BASIC_CANCEL: Id = (60, 30);
pub const BASIC_PUBLISH: Id = (60, 40);
pub const BASIC_RETURN: Id = (60, 50);
pub const BASIC_DELIVER: Id = (60, 60);
pub const BASIC_ACK: Id = (60, 80);
pub const BASIC_NACK: Id = (60, 120);
pub const CONFIRM_SELECT: Id = (85, 10);
pub const CONFIRM_SELECT_OK: Id = (85, 11);

/// A method's arguments, written one after the other.
pub struct Method(Vec<u8>);

impl Method {
    pub fn new((class, method): Id) -> Self {
        Method::empty().u16(class).u16(method)
    }

    /// Arguments alone, for what goes inside another method: a field table.
    pub fn empty() -> Self {
        Method(Vec::new())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A short string; the benchmark's own are all under 256 bytes.
    pub fn short(self, text: &str) -> Self {
        let size = u8::try_from(text.len()).expect("the benchmark's own names are short");
        self.u8(size).bytes(text.as_bytes())
    }

    /// A long string, and equally an encoded field table: both are a size and that many bytes.
    pub fn long(self, bytes: &[u8]) -> Self {
        let size = u32::try_from(bytes.len()).expect("the benchmark's own strings are small");
        self.u32(size).bytes(bytes)
    }

    /// The whole frame.
    pub fn frame(self, channel: u16) -> Vec<u8> {
        let mut out = Vec::new();
        push_frame(&mut out, METHOD, channel, &self.0);
        out
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// One message as the publisher sends it: frames of which only the body's head changes.
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    /// Where the body begins: 8 bytes of sequence number, then 8 bytes of time stamp.
    pub body_at: usize,
}

impl Message {
    /// basic.publish with a transient body of `body_size` bytes, at least [`STAMP_SIZE`].
    pub fn publish(exchange: &str, routing_key: &str, body_size: usize) -> Self {
        Message::assemble(
            CHANNEL,
            publish_method(exchange, routing_key),
            &NO_PROPERTIES,
            body_size,
        )
    }

    /// The same for a queue and persistent, on a channel of its own.
    pub fn persistent(channel: u16, queue: &str, body_size: usize) -> Self {
        Message::assemble(channel, publish_method("", queue), &PERSISTENT, body_size)
    }

    /// The same with `reply-to` set.
    pub fn request(routing_key: &str, reply_to: &str, body_size: usize) -> Self {
        let mut properties = REPLY_TO_ONLY.to_be_bytes().to_vec();
        properties.push(u8::try_from(reply_to.len()).expect("a pseudo queue's name is short"));
        properties.extend_from_slice(reply_to.as_bytes());
        Message::assemble(
            CHANNEL,
            publish_method("", routing_key),
            &properties,
            body_size,
        )
    }

    /// basic.deliver, which is what a publisher sends when the "broker" is a mere relay.
    pub fn deliver(routing_key: &str, body_size: usize) -> Self {
        let method = Method::new(BASIC_DELIVER)
            .short(&consumer_tag(0))
            .u64(1)
            .u8(0)
            .short("")
            .short(routing_key);
        Message::assemble(CHANNEL, method, &NO_PROPERTIES, body_size)
    }

    pub fn set_sequence(&mut self, sequence: u64) {
        self.bytes[self.body_at..][..8].copy_from_slice(&sequence.to_be_bytes());
    }

    pub fn set_stamp(&mut self, stamp: u64) {
        self.bytes[self.body_at + 8..][..8].copy_from_slice(&stamp.to_be_bytes());
    }

    fn assemble(channel: u16, method: Method, properties: &[u8], body_size: usize) -> Self {
        assert!(body_size >= STAMP_SIZE && body_size < FRAME_MAX as usize - 8);
        let mut bytes = method.frame(channel);
        let mut header = Vec::new();
        header.extend_from_slice(&BASIC_DELIVER.0.to_be_bytes());
        header.extend_from_slice(&0u16.to_be_bytes());
        header.extend_from_slice(&(body_size as u64).to_be_bytes());
        header.extend_from_slice(properties);
        push_frame(&mut bytes, HEADER, channel, &header);
        let body_at = bytes.len() + FRAME_HEAD;
        push_frame(&mut bytes, BODY, channel, &vec![b'.'; body_size]);
        Message { bytes, body_at }
    }
}

/// Tags are four digits, so that the scanner finds the queue's number without a look-up.
pub fn consumer_tag(queue: usize) -> String {
    format!("{queue:04}")
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The short string at `at`, with whatever is not UTF-8 replaced: it is only compared and printed.
pub fn short_at(bytes: &[u8], at: usize) -> Option<String> {
    let size = usize::from(*bytes.get(at)?);
    let text = bytes.get(at + 1..at + 1 + size)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn publish_method(exchange: &str, routing_key: &str) -> Method {
    Method::new(BASIC_PUBLISH)
        .u16(0)
        .short(exchange)
        .short(routing_key)
        .u8(0)
}

fn push_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// Sequence number and time stamp at the head of each body.
pub const STAMP_SIZE: usize = 16;

/// Property flags (§4.2.6.1) of a content header that carries only `reply-to`.
pub const REPLY_TO_ONLY: u16 = 1 << 9;
const NO_PROPERTIES: [u8; 2] = [0, 0];
/// `delivery-mode` 2 and nothing else.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];
