//! An AMQP client that waits for every answer, and can misbehave between them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret::wire::amqp::frame::{self, encode_body, encode_content_header, encode_method};
use leveret::wire::amqp::{
    ContentHeader, EncodeMethod, Frame, Method, PROTOCOL_HEADER, Table, basic, channel, connection,
    queue,
};

pub const FRAME_MAX: u32 = 131_072;
/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    pub stream: TcpStream,
    /// Read and not used.
    input: Vec<u8>,
}

impl Client {
    /// Connects and says nothing.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            input: Vec::new(),
        }
    }

    /// Connects, with channel 1 open.
    pub fn open(address: SocketAddr) -> Client {
        let mut client = Client::connect(address);
        client.stream.write_all(&handshake()).unwrap();
        client.wait_for("connection.open-ok");
        client.open_channel();
        client
    }

    pub fn open_channel(&mut self) {
        self.call(&channel::Open::default(), "channel.open-ok");
    }

    pub fn declare(&mut self, queue: &[u8]) {
        let declare = queue::Declare {
            queue,
            ..queue::Declare::default()
        };
        self.call(&declare, "queue.declare-ok");
    }

    /// Messages ready in the queue.
    pub fn count(&mut self, queue: &[u8]) -> u32 {
        let declare = queue::Declare {
            queue,
            passive: true,
            ..queue::Declare::default()
        };
        let payload = self.call(&declare, "queue.declare-ok");
        match Method::decode(&payload).unwrap() {
            Method::QueueDeclareOk(ok) => ok.message_count,
            other => panic!("{other:?}"),
        }
    }

    pub fn publish(&mut self, queue: &[u8], body: &[u8]) {
        self.stream.write_all(&publish(queue, body)).unwrap();
    }

    /// The next message, which must be there.
    pub fn get(&mut self, queue: &[u8]) -> Vec<u8> {
        let get = basic::Get {
            queue,
            no_ack: true,
            ..basic::Get::default()
        };
        self.call(&get, "basic.get-ok");
        self.read_content()
    }

    /// A message through a queue.
    pub fn round_trip(&mut self, queue: &[u8]) {
        self.publish(queue, b"there and back");
        assert_eq!(self.get(queue), b"there and back");
    }

    /// Sends a method on channel 1 and waits for this answer, which it returns.
    pub fn call(&mut self, method: &impl EncodeMethod, answer: &str) -> Vec<u8> {
        self.send(method);
        self.wait_for(answer)
    }

    pub fn send(&mut self, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, 1, method);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Reads up to a method of this name; its payload.
    pub fn wait_for(&mut self, name: &str) -> Vec<u8> {
        loop {
            let (kind, payload) = self.read_frame().unwrap();
            if kind != frame::METHOD {
                continue;
            }
            let method = Method::decode(&payload).unwrap();
            if method.name() == name {
                return payload;
            }
            assert!(!method.name().ends_with(".close"), "{method:?}");
        }
    }

    pub fn read_content(&mut self) -> Vec<u8> {
        let (kind, payload) = self.read_frame().unwrap();
        assert_eq!(kind, frame::HEADER);
        let size = ContentHeader::decode(&payload).unwrap().body_size as usize;
        let mut body = Vec::new();
        while body.len() < size {
            let (kind, payload) = self.read_frame().unwrap();
            assert_eq!(kind, frame::BODY);
            body.extend_from_slice(&payload);
        }
        body
    }

    /// Kind and payload of the next frame.
    pub fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((frame, used)) = Frame::decode(&self.input, 0).expect("valid frames") {
                let found = (frame.kind, frame.payload.to_vec());
                self.input.drain(..used);
                return Ok(found);
            }
            let mut piece = [0; 64 << 10];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Until the broker hangs up.
    pub fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// Closes so that the other side sees a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// All that a client says until its connection is open.
pub fn handshake() -> Vec<u8> {
    let mut bytes = PROTOCOL_HEADER.to_vec();
    let start_ok = connection::StartOk {
        client_properties: Table::EMPTY,
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    };
    let tune_ok = connection::TuneOk {
        channel_max: 2047,
        frame_max: FRAME_MAX,
        heartbeat: 0,
    };
    let open = connection::Open {
        virtual_host: b"/",
        ..connection::Open::default()
    };
    encode_method(&mut bytes, 0, &start_ok);
    encode_method(&mut bytes, 0, &tune_ok);
    encode_method(&mut bytes, 0, &open);
    bytes
}

/// A publish on channel 1 to a queue by its name.
pub fn publish(queue: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + body.len() / 4096 + 1024);
    let method = basic::Publish {
        routing_key: queue,
        ..basic::Publish::default()
    };
    encode_method(&mut bytes, 1, &method);
    encode_content_header(&mut bytes, 1, body.len() as u64, &[0, 0]);
    for part in body.chunks(FRAME_MAX as usize - frame::OVERHEAD) {
        encode_body(&mut bytes, 1, part);
    }
    bytes
}
