//! The few methods of AMQP 0-9-1 that the load speaks, and the bytes they are made of.

/// Frame types (§4.2.3).
pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const FRAME_END: u8 = 0xCE;

/// Type, channel and size in front of every frame.
pub const FRAME_HEAD: usize = 7;
/// The largest frame that is asked for, and RabbitMQ's default.
pub const FRAME_MAX: u32 = 131_072;
/// What every peer must accept (§4.2.3).
pub const FRAME_MIN: u32 = 4096;
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
pub const CONNECTION_BLOCKED: Id = (10, 60);
pub const CONNECTION_UNBLOCKED: Id = (10, 61);
pub const CHANNEL_OPEN: Id = (20, 10);
pub const CHANNEL_OPEN_OK: Id = (20, 11);
pub const CHANNEL_CLOSE: Id = (20, 40);
pub const EXCHANGE_DECLARE: Id = (40, 10);
pub const EXCHANGE_DECLARE_OK: Id = (40, 11);
pub const EXCHANGE_BIND: Id = (40, 30);
pub const EXCHANGE_BIND_OK: Id = (40, 31);
pub const QUEUE_DECLARE: Id = (50, 10);
pub const QUEUE_DECLARE_OK: Id = (50, 11);
pub const QUEUE_PURGE: Id = (50, 30);
pub const QUEUE_PURGE_OK: Id = (50, 31);
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
pub const BASIC_GET: Id = (60, 70);
pub const BASIC_GET_OK: Id = (60, 71);
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

    /// A short string; our own are all under 256 bytes.
    pub fn short(self, text: &str) -> Self {
        let size = u8::try_from(text.len()).expect("our own names are short");
        self.u8(size).bytes(text.as_bytes())
    }

    /// A long string, and equally an encoded field table: both are a size and that many bytes.
    pub fn long(self, bytes: &[u8]) -> Self {
        let size = u32::try_from(bytes.len()).expect("our own strings are small");
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

/// Appends one frame.
pub fn push_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}
