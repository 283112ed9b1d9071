//! Messages as publishers send them: frames made once, of which only the head of the body changes.

use super::wire::{
    BASIC_DELIVER, BASIC_PUBLISH, BODY, CHANNEL, FRAME_HEAD, HEADER, Method, consumer_tag,
    push_frame,
};

/// One message, ready to be sent.
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    /// Where the body begins: 8 bytes of sequence number, then 8 bytes of time stamp if it is that large.
    pub body_at: usize,
}

/// What to publish, and where.
#[derive(Clone)]
pub struct Publish<'a> {
    pub channel: u16,
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub reply_to: Option<&'a str>,
    /// An encoded field table, without its size.
    pub headers: &'a [u8],
    pub persistent: bool,
    /// At least [`SEQUENCE_SIZE`].
    pub body_size: usize,
    /// What the connection agreed on; larger bodies take several frames (§4.2.6.2).
    pub frame_max: u32,
}

impl Publish<'_> {
    /// basic.publish with its content.
    pub fn message(&self) -> Message {
        let method = Method::new(BASIC_PUBLISH)
            .u16(0)
            .short(self.exchange)
            .short(self.routing_key)
            .u8(0);
        self.assemble(method)
    }

    /// basic.deliver, which is what a publisher sends when the "broker" is a mere relay.
    pub fn delivery(&self) -> Message {
        let method = Method::new(BASIC_DELIVER)
            .short(&consumer_tag(0))
            .u64(1)
            .u8(0)
            .short("")
            .short(self.routing_key);
        self.assemble(method)
    }

    fn assemble(&self, method: Method) -> Message {
        assert!(self.body_size >= SEQUENCE_SIZE, "bodies carry a number");
        let mut bytes = method.frame(self.channel);
        let mut header = Vec::new();
        header.extend_from_slice(&BASIC_DELIVER.0.to_be_bytes());
        header.extend_from_slice(&0u16.to_be_bytes());
        header.extend_from_slice(&(self.body_size as u64).to_be_bytes());
        self.encode_properties(&mut header);
        push_frame(&mut bytes, HEADER, self.channel, &header);
        let body_at = bytes.len() + FRAME_HEAD;
        let body = vec![b'.'; self.body_size];
        for part in body.chunks(self.frame_max as usize - FRAME_HEAD - 1) {
            push_frame(&mut bytes, BODY, self.channel, part);
        }
        Message { bytes, body_at }
    }

    /// Property flags, then the values in the order of their flags (§4.2.6.1).
    fn encode_properties(&self, out: &mut Vec<u8>) {
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let flags = flag(!self.headers.is_empty(), HEADERS)
            | flag(self.persistent, DELIVERY_MODE)
            | flag(self.reply_to.is_some(), REPLY_TO);
        out.extend_from_slice(&flags.to_be_bytes());
        if !self.headers.is_empty() {
            let table = Method::empty().long(self.headers);
            out.extend_from_slice(table.as_bytes());
        }
        if self.persistent {
            out.push(PERSISTENT);
        }
        if let Some(reply_to) = self.reply_to {
            out.push(u8::try_from(reply_to.len()).expect("a queue's name is short"));
            out.extend_from_slice(reply_to.as_bytes());
        }
    }
}

impl Default for Publish<'_> {
    fn default() -> Self {
        Publish {
            channel: CHANNEL,
            exchange: "",
            routing_key: "",
            reply_to: None,
            headers: &[],
            persistent: false,
            body_size: STAMP_SIZE,
            frame_max: super::wire::FRAME_MAX,
        }
    }
}

impl Message {
    pub fn set_sequence(&mut self, sequence: u64) {
        self.bytes[self.body_at..][..8].copy_from_slice(&sequence.to_be_bytes());
    }
}

/// Sequence number at the head of each body.
pub const SEQUENCE_SIZE: usize = 8;
/// Sequence number and time stamp.
pub const STAMP_SIZE: usize = 16;
/// Flag of the property `reply-to`.
pub const REPLY_TO: u16 = 1 << 9;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PERSISTENT: u8 = 2;
