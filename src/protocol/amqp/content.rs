//! Content assembly: `basic.publish`, one content header, then the body in frames (AMQP 0-9-1 §4.2.6).
//! Anything else in between is a connection exception, 505 UNEXPECTED_FRAME.

use bytes::Bytes;

use crate::wire::amqp::ReplyCode;
use crate::wire::amqp::frame::{self, ContentHeader, Frame};
use crate::wire::amqp::method::{Method, basic};

use super::exception::{Exception, Result};
use super::frame_error;

/// The content that a channel is in the middle of.
#[derive(Default)]
pub struct Assembly {
    state: State,
    /// The publish that it belongs to; buffers are used again.
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    mandatory: bool,
    immediate: bool,
    properties: Vec<u8>,
    body: Vec<u8>,
    body_size: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Header,
    Body,
}

/// What a frame amounts to.
pub enum Assembled<'a> {
    Method(Method<'a>),
    /// A content is complete; [`Assembly::take`] has it.
    Content,
    Incomplete,
}

/// A complete publish.
pub struct Content<'a> {
    pub method: basic::Publish<'a>,
    pub properties: &'a [u8],
    pub body: Bytes,
}

impl Assembly {
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Bytes of memory that the body takes so far.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.body.capacity()
    }

    /// Bodies over `size_max` are refused as soon as they are announced.
    pub fn on_frame<'a>(&mut self, frame: &Frame<'a>, size_max: u64) -> Result<Assembled<'a>> {
        match (self.state, frame.kind) {
            (State::Idle, frame::METHOD) => self.on_method(frame.payload),
            (State::Idle, _) => Err(Exception::new(
                ReplyCode::UnexpectedFrame,
                "expected method frame, got non method frame instead",
            )),
            (State::Header, frame::HEADER) => self.on_header(frame.payload, size_max),
            (State::Header, _) => Err(no_header()),
            (State::Body, frame::BODY) => self.on_body(frame.payload),
            (State::Body, _) => Err(no_body()),
        }
    }

    /// The content that is complete. The assembly is idle again.
    pub fn take(&mut self) -> Content<'_> {
        self.state = State::Idle;
        Content {
            method: basic::Publish {
                ticket: 0,
                exchange: &self.exchange,
                routing_key: &self.routing_key,
                mandatory: self.mandatory,
                immediate: self.immediate,
            },
            properties: &self.properties,
            body: Bytes::from(std::mem::take(&mut self.body)),
        }
    }

    fn on_method<'a>(&mut self, payload: &'a [u8]) -> Result<Assembled<'a>> {
        let method = frame_error::decode_method(payload)?;
        if let Method::BasicPublish(publish) = &method {
            replace(&mut self.exchange, publish.exchange);
            replace(&mut self.routing_key, publish.routing_key);
            self.mandatory = publish.mandatory;
            self.immediate = publish.immediate;
            self.state = State::Header;
            return Ok(Assembled::Incomplete);
        }
        Ok(Assembled::Method(method))
    }

    fn on_header<'a>(&mut self, payload: &[u8], size_max: u64) -> Result<Assembled<'a>> {
        let header =
            ContentHeader::decode(payload).map_err(|_| frame_error::short_header(payload))?;
        if header.weight != 0 {
            return Err(no_header());
        }
        if header.class != basic::CLASS_ID {
            return Err(unexpected(format!(
                "expected content header for class {}, got one for class {} instead",
                basic::CLASS_ID,
                header.class
            )));
        }
        if header.body_size > size_max {
            let text = format!(
                "message size {} is larger than configured max size {size_max}",
                header.body_size
            );
            return Err(Exception::new(ReplyCode::PreconditionFailed, text).of(PUBLISH));
        }
        replace(&mut self.properties, header.properties);
        self.body_size = header.body_size;
        self.body.clear();
        if header.body_size == 0 {
            return Ok(Assembled::Content);
        }
        self.state = State::Body;
        Ok(Assembled::Incomplete)
    }

    fn on_body<'a>(&mut self, payload: &[u8]) -> Result<Assembled<'a>> {
        let missing = self.body_size - self.body.len() as u64;
        if payload.len() as u64 > missing {
            // More than was announced is not that content's body (RabbitMQ).
            return Err(no_body());
        }
        if self.body.capacity() - self.body.len() < payload.len() {
            // Room for what is announced, but never more than a few times what has come: an
            // announcement costs its peer nothing, and it may make one on each of its channels.
            let first = (ANNOUNCED_FRAMES_MAX * payload.len() as u64).min(ANNOUNCED_BYTES_MAX);
            let affordable = first.max(self.body.len() as u64);
            let reserve = missing.min(affordable).max(payload.len() as u64);
            self.body.reserve_exact(reserve as usize);
        }
        self.body.extend_from_slice(payload);
        if payload.len() as u64 == missing {
            return Ok(Assembled::Content);
        }
        Ok(Assembled::Incomplete)
    }
}

fn replace(buffer: &mut Vec<u8>, with: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(with);
}

fn no_header() -> Exception {
    unexpected(format!(
        "expected content header for class {}, got non content header frame instead",
        basic::CLASS_ID
    ))
}

fn no_body() -> Exception {
    unexpected("expected content body, got non content body frame instead".to_owned())
}

fn unexpected(text: String) -> Exception {
    Exception::new(ReplyCode::UnexpectedFrame, text).of(PUBLISH)
}

const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);
/// Room given to an announced body when its first frame comes, as a multiple of that and in bytes.
const ANNOUNCED_FRAMES_MAX: u64 = 8;
const ANNOUNCED_BYTES_MAX: u64 = 1 << 20;
