//! A client without a will of its own: it sends what it is told, and says what came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use leveret::wire::amqp::frame::{self, OVERHEAD};
use leveret::wire::amqp::properties::NO_PROPERTIES;
use leveret::wire::amqp::{
    EncodeMethod, Method, PROTOCOL_HEADER, Properties, TableBuilder, basic, channel, connection,
};

use super::calls::publish_to;
use super::{Delivery, Received, Returned};

/// One connection to a broker. It speaks on one channel at a time: number 1, or the one that it was
/// last switched to. Whatever is waited for must come within [`PATIENCE`].
pub struct RawClient<S = TcpStream> {
    pub stream: S,
    /// Came, and was not looked at yet.
    input: Vec<u8>,
    /// Where it speaks and listens.
    pub(super) channel: u16,
    frame_max: u32,
}

/// How to introduce oneself.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub mechanism: &'a [u8],
    pub response: &'a [u8],
    pub locale: &'a [u8],
    pub capabilities: &'a [&'a str],
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
    pub virtual_host: &'a [u8],
}

impl Default for Login<'_> {
    fn default() -> Self {
        Login {
            mechanism: b"PLAIN",
            response: b"\0guest\0guest",
            locale: b"en_US",
            capabilities: &[
                "authentication_failure_close",
                "basic.nack",
                "connection.blocked",
                "consumer_cancel_notify",
                "publisher_confirms",
            ],
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
            virtual_host: b"/",
        }
    }
}

/// The socket.
impl RawClient {
    pub fn connect(address: SocketAddr) -> RawClient {
        RawClient::over(connect_to(address))
    }

    /// No more will be sent; what comes is still read.
    pub fn shut_down_writing(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// A socket with the usual patience.
pub fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The handshake.
impl<S: Read + Write> RawClient<S> {
    /// Over whatever carries bytes both ways.
    pub fn over(stream: S) -> RawClient<S> {
        RawClient {
            stream,
            input: Vec::new(),
            channel: 1,
            frame_max: 131_072,
        }
    }

    pub fn open_connection(&mut self, login: &Login<'_>) {
        self.begin_login(login);
        self.expect_on(0, "connection.tune");
        self.tune_and_open(login);
        self.expect_on(0, "connection.open-ok");
    }

    /// As far as `connection.start-ok`.
    pub fn begin_login(&mut self, login: &Login<'_>) {
        self.send_bytes(&PROTOCOL_HEADER);
        self.expect_on(0, "connection.start");
        let mut capabilities = TableBuilder::new();
        for name in login.capabilities {
            capabilities.put(name, true);
        }
        let mut properties = TableBuilder::new();
        properties.put_table("capabilities", &capabilities);
        let start_ok = connection::StartOk {
            client_properties: properties.view(),
            mechanism: login.mechanism,
            response: login.response,
            locale: login.locale,
        };
        self.send_on(0, &start_ok);
    }

    pub fn tune_and_open(&mut self, login: &Login<'_>) {
        let tune_ok = connection::TuneOk {
            channel_max: login.channel_max,
            frame_max: login.frame_max,
            heartbeat: login.heartbeat,
        };
        self.frame_max = login.frame_max;
        self.send_on(0, &tune_ok);
        let open = connection::Open {
            virtual_host: login.virtual_host,
            ..Default::default()
        };
        self.send_on(0, &open);
    }

    /// Says goodbye and waits for the answer.
    pub fn close(mut self) {
        self.send_on(0, &connection::Close::default());
        while !self.receive().is(0, "connection.close-ok") {}
        self.expect_end();
    }
}

/// Sending.
impl<S: Read + Write> RawClient<S> {
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A frame of any kind.
    pub fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.send_bytes(&raw_frame(kind, channel, payload));
    }

    pub fn send_on(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, channel, method);
        self.send_bytes(&bytes);
    }

    pub fn send(&mut self, method: &impl EncodeMethod) {
        self.send_on(self.channel, method);
    }

    pub fn publish(&mut self, exchange: &str, routing_key: &str, body: impl AsRef<[u8]>) {
        self.publish_with(exchange, routing_key, &Properties::default(), body);
    }

    pub fn publish_mandatory(&mut self, exchange: &str, routing_key: &str, body: impl AsRef<[u8]>) {
        let publish = basic::Publish {
            mandatory: true,
            ..publish_to(exchange, routing_key)
        };
        self.publish_content(&publish, &NO_PROPERTIES, body);
    }

    pub fn publish_with(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        body: impl AsRef<[u8]>,
    ) {
        let mut block = Vec::new();
        properties.encode(&mut block);
        self.publish_content(&publish_to(exchange, routing_key), &block, body);
    }

    /// The method, the content header, and the body in frames of the negotiated size.
    pub fn publish_content(
        &mut self,
        publish: &basic::Publish<'_>,
        properties: &[u8],
        body: impl AsRef<[u8]>,
    ) {
        let body = body.as_ref();
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, self.channel, publish);
        frame::encode_content_header(&mut bytes, self.channel, body.len() as u64, properties);
        for piece in body.chunks(self.frame_max as usize - OVERHEAD) {
            frame::encode_body(&mut bytes, self.channel, piece);
        }
        self.send_bytes(&bytes);
    }

    pub fn ack(&mut self, delivery_tag: u64) {
        self.send(&basic::Ack {
            delivery_tag,
            multiple: false,
        });
    }

    pub fn requeue(&mut self, delivery_tag: u64) {
        self.send(&basic::Reject {
            delivery_tag,
            requeue: true,
        });
    }
}

/// Receiving.
impl<S: Read + Write> RawClient<S> {
    /// The next bytes, whatever they mean.
    pub fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.input);
        let present = bytes.len();
        bytes.resize(count.max(present), 0);
        self.stream.read_exact(&mut bytes[present..]).unwrap();
        self.input = bytes.split_off(count);
        bytes
    }

    /// The next frame, heartbeats excepted.
    pub fn receive(&mut self) -> Received {
        loop {
            let received = self.receive_any().expect("the broker closed the socket");
            if received.kind != frame::HEARTBEAT {
                return received;
            }
        }
    }

    /// The next frame of any kind; `None` at the end of the conversation.
    pub fn receive_any(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = Received::take(&mut self.input) {
                return Some(received);
            }
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The next frame must be this method, on the current channel.
    pub fn expect(&mut self, name: &str) -> Received {
        self.expect_on(self.channel, name)
    }

    pub fn expect_on(&mut self, channel: u16, name: &str) -> Received {
        let received = self.receive();
        assert!(
            received.is(channel, name),
            "{name} was due on {channel}, and what came was {received}"
        );
        received
    }

    /// The channel must be closed with this code and text; answers it. The class and method at fault.
    #[track_caller]
    pub fn expect_channel_close(&mut self, code: u16, text: &str) -> (u16, u16) {
        let received = self.receive();
        let Method::ChannelClose(close) = received.method() else {
            panic!("channel.close was due, and what came was {received}");
        };
        assert_eq!(received.channel, self.channel);
        let reply_text = String::from_utf8_lossy(close.reply_text);
        assert_eq!((close.reply_code, &*reply_text), (code, text));
        self.send(&channel::CloseOk {});
        (close.class_id, close.method_id)
    }

    /// Sends a method that must cost the channel its life, and opens it again.
    #[track_caller]
    pub fn expect_refusal<'a>(&mut self, method: impl Into<Method<'a>>, code: u16, text: &str) {
        let method = method.into();
        self.send(&method);
        let ids = self.expect_channel_close(code, text);
        assert_eq!(ids, method.ids());
        self.open_channel(self.channel);
    }

    /// The connection must be closed with this code and text; answers it and expects the end. The
    /// class and method at fault.
    #[track_caller]
    pub fn expect_connection_close(&mut self, code: u16, text: &str) -> (u16, u16) {
        let received = self.receive();
        let Method::ConnectionClose(close) = received.method() else {
            panic!("connection.close was due, and what came was {received}");
        };
        assert_eq!(received.channel, 0);
        let reply_text = String::from_utf8_lossy(close.reply_text);
        assert_eq!((close.reply_code, &*reply_text), (code, text));
        self.send_on(0, &connection::CloseOk {});
        self.expect_end();
        (close.class_id, close.method_id)
    }

    /// Nothing may come but the end of the conversation.
    #[track_caller]
    pub fn expect_end(&mut self) {
        if let Some(received) = self.receive_any() {
            panic!("the end was due, and what came was {received}");
        }
    }

    /// All that was said so far is without an answer, and nothing else came.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        if let Some(received) = self.settle().first() {
            panic!("nothing was due, and what came was {received}");
        }
    }

    #[track_caller]
    pub fn expect_delivery(&mut self) -> Delivery {
        let received = self.expect("basic.deliver");
        self.delivery_of(&received)
    }

    /// The bodies of the next `count` deliveries.
    pub fn expect_bodies(&mut self, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| self.expect_delivery().text().to_owned())
            .collect()
    }

    #[track_caller]
    pub fn expect_return(&mut self) -> Returned {
        let received = self.expect("basic.return");
        let Method::BasicReturn(method) = received.method() else {
            unreachable!("expect checked it");
        };
        let (properties, body) = self.receive_content(received.channel);
        Returned {
            code: method.reply_code,
            text: text_of(method.reply_text),
            exchange: text_of(method.exchange),
            routing_key: text_of(method.routing_key),
            properties,
            body,
        }
    }

    /// A confirm must come: its number, and whether it is for all up to it.
    #[track_caller]
    pub fn expect_confirm(&mut self) -> (u64, bool) {
        let received = self.expect("basic.ack");
        match received.method() {
            Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple),
            _ => unreachable!("expect checked it"),
        }
    }

    /// Confirms must come for everything up to this number.
    #[track_caller]
    pub fn expect_confirms_up_to(&mut self, last: u64) {
        while self.expect_confirm().0 < last {}
    }

    /// The delivery that a `basic.deliver` or `basic.get-ok` begins.
    pub fn delivery_of(&mut self, received: &Received) -> Delivery {
        let (properties, body) = self.receive_content(received.channel);
        let delivery = Delivery {
            consumer_tag: String::new(),
            delivery_tag: 0,
            redelivered: false,
            exchange: String::new(),
            routing_key: String::new(),
            message_count: 0,
            properties,
            body,
        };
        match received.method() {
            Method::BasicDeliver(method) => Delivery {
                consumer_tag: text_of(method.consumer_tag),
                delivery_tag: method.delivery_tag,
                redelivered: method.redelivered,
                exchange: text_of(method.exchange),
                routing_key: text_of(method.routing_key),
                ..delivery
            },
            Method::BasicGetOk(method) => Delivery {
                delivery_tag: method.delivery_tag,
                redelivered: method.redelivered,
                exchange: text_of(method.exchange),
                routing_key: text_of(method.routing_key),
                message_count: method.message_count,
                ..delivery
            },
            _ => panic!("a message was due, and what came was {received}"),
        }
    }

    /// Content header and body frames, which must come without a break.
    fn receive_content(&mut self, channel: u16) -> (Vec<u8>, Vec<u8>) {
        let received = self.receive();
        assert_eq!(received.channel, channel);
        let header = received.header();
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            let piece = self.receive();
            assert_eq!((piece.kind, piece.channel), (frame::BODY, channel));
            assert!(piece.payload.len() + OVERHEAD <= self.frame_max as usize);
            body.extend_from_slice(&piece.payload);
        }
        assert_eq!(body.len() as u64, header.body_size);
        (header.properties.to_vec(), body)
    }
}

/// A whole frame with any kind and payload.
pub fn raw_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(frame::END);
    bytes
}

/// Waits until the condition holds, looking again and again.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How long a client waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);
