//! What the broker said to one client, checked as it comes: whole frames within the negotiated size,
//! methods that decode, contents complete and unmixed, one `channel.close` per channel and one
//! `connection.close`, and silence afterwards.

use std::collections::{BTreeMap, BTreeSet};

use leveret::wire::amqp::{ContentHeader, Frame, Method, PROTOCOL_HEADER, Properties, frame};

#[derive(Default)]
pub struct Transcript {
    /// Frames may be this large; 0 until `connection.tune-ok` was sent.
    pub frame_max: u32,
    /// Methods by name, how often.
    pub methods: BTreeMap<&'static str, usize>,
    /// Payload of the only `connection.close`.
    pub close: Option<Vec<u8>>,
    /// Bodies of `basic.get-ok`.
    pub got: Vec<Vec<u8>>,
    /// Delivery tags that were handed out, the last few.
    pub delivery_tags: Vec<(u16, u64)>,
    /// The connection is over: nothing may follow.
    ended: bool,
    /// Channels that are closed, from either side.
    closed: BTreeSet<u16>,
    content: Option<Content>,
}

struct Content {
    channel: u16,
    got: bool,
    /// Bytes of body still to come; none before the header.
    missing: Option<u64>,
    body: Vec<u8>,
}

impl Transcript {
    /// Takes a whole number of frames.
    pub fn take(&mut self, mut bytes: &[u8]) {
        if let Some(rest) = bytes.strip_prefix(&PROTOCOL_HEADER) {
            assert!(
                self.methods.is_empty(),
                "a header in the middle of the talk"
            );
            assert!(rest.is_empty(), "a rejected client is told nothing else");
            self.ended = true;
            return;
        }
        while !bytes.is_empty() {
            let decoded = Frame::decode(bytes, self.frame_max);
            let (frame, used) = decoded.expect("valid frames").expect("whole frames");
            if self.frame_max > 0 {
                assert!(used <= self.frame_max as usize, "a frame of {used} bytes");
            }
            self.take_frame(&frame);
            bytes = &bytes[used..];
        }
        assert!(self.content.is_none(), "contents are written in one piece");
    }

    pub fn count(&self, method: &str) -> usize {
        self.methods.get(method).copied().unwrap_or(0)
    }

    fn take_frame(&mut self, frame: &Frame<'_>) {
        assert!(!self.ended, "{frame:?} after the end");
        match frame.kind {
            frame::METHOD => self.take_method(frame),
            frame::HEADER => self.take_header(frame),
            frame::BODY => self.take_body(frame),
            _ => assert!(frame.channel == 0 && frame.payload.is_empty()),
        }
    }

    fn take_method(&mut self, frame: &Frame<'_>) {
        assert!(self.content.is_none(), "{frame:?} within a content");
        let method = Method::decode(frame.payload).expect("methods that decode");
        *self.methods.entry(method.name()).or_insert(0) += 1;
        if self.close.is_some() {
            assert!(
                matches!(method, Method::ConnectionCloseOk(_)),
                "{method:?} after connection.close"
            );
        }
        match &method {
            Method::ConnectionClose(_) => self.close = Some(frame.payload.to_vec()),
            Method::ConnectionCloseOk(_) => self.ended = true,
            Method::ChannelOpenOk(_) => {
                self.closed.remove(&frame.channel);
            }
            Method::ChannelClose(_) => assert!(
                self.closed.insert(frame.channel),
                "channel {} closed twice",
                frame.channel
            ),
            Method::ChannelCloseOk(_) => {
                self.closed.insert(frame.channel);
            }
            _ => assert!(
                !self.closed.contains(&frame.channel),
                "{method:?} on closed channel {}",
                frame.channel
            ),
        }
        let tag = match &method {
            Method::BasicDeliver(deliver) => Some(deliver.delivery_tag),
            Method::BasicGetOk(ok) => Some(ok.delivery_tag),
            _ => None,
        };
        if let Some(tag) = tag {
            self.delivery_tags.push((frame.channel, tag));
        }
        if method.has_content() {
            self.content = Some(Content {
                channel: frame.channel,
                got: matches!(method, Method::BasicGetOk(_)),
                missing: None,
                body: Vec::new(),
            });
        }
    }

    fn take_header(&mut self, frame: &Frame<'_>) {
        let content = self.content.as_mut().expect("a header after its method");
        assert!(content.channel == frame.channel && content.missing.is_none());
        let header = ContentHeader::decode(frame.payload).expect("a header that decodes");
        Properties::decode(header.properties).expect("properties that decode");
        content.missing = Some(header.body_size);
        self.end_content();
    }

    fn take_body(&mut self, frame: &Frame<'_>) {
        let content = self.content.as_mut().expect("a body after its header");
        assert_eq!(content.channel, frame.channel);
        let missing = content.missing.expect("a body after its header");
        let size = frame.payload.len() as u64;
        assert!(size > 0 && size <= missing);
        content.missing = Some(missing - size);
        if content.got {
            content.body.extend_from_slice(frame.payload);
        }
        self.end_content();
    }

    fn end_content(&mut self) {
        if let Some(content) = self.content.take_if(|content| content.missing == Some(0))
            && content.got
        {
            self.got.push(content.body);
        }
    }
}
