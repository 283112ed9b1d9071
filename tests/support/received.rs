//! A frame that came.

use leveret::wire::amqp::frame::{self, ContentHeader, OVERHEAD};
use leveret::wire::amqp::{Frame, Method};

/// A frame from the broker, with its own copy of the bytes.
pub struct Received {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

impl Received {
    /// Takes the frame at the front of `bytes` out of them, if it is complete.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Received> {
        let (frame, used) = Frame::decode(bytes, 0).expect("the broker sends sound frames")?;
        assert_eq!(used, frame.payload.len() + OVERHEAD);
        let received = Received {
            kind: frame.kind,
            channel: frame.channel,
            payload: frame.payload.to_vec(),
        };
        bytes.drain(..used);
        Some(received)
    }

    pub fn method(&self) -> Method<'_> {
        assert_eq!(self.kind, frame::METHOD, "a method was due: {self}");
        Method::decode(&self.payload).expect("the broker sends sound methods")
    }

    pub fn header(&self) -> ContentHeader<'_> {
        assert_eq!(self.kind, frame::HEADER, "a header was due: {self}");
        ContentHeader::decode(&self.payload).expect("the broker sends sound headers")
    }

    pub fn is(&self, channel: u16, name: &str) -> bool {
        self.kind == frame::METHOD && self.channel == channel && self.method().name() == name
    }
}

impl std::fmt::Display for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channel = self.channel;
        match self.kind {
            frame::METHOD => match self.method() {
                Method::ConnectionClose(close) => {
                    let text = String::from_utf8_lossy(close.reply_text);
                    write!(f, "connection.close {} {text}", close.reply_code)
                }
                Method::ChannelClose(close) => {
                    let text = String::from_utf8_lossy(close.reply_text);
                    write!(f, "channel.close {} {text} on {channel}", close.reply_code)
                }
                method => write!(f, "{method:?} on {channel}"),
            },
            frame::HEADER => write!(f, "{:?} on {channel}", self.header()),
            kind => {
                let size = self.payload.len();
                write!(f, "frame of type {kind} with {size} bytes on {channel}")
            }
        }
    }
}
