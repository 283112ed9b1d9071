//! Streams over a stream in memory, in all pieces.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;

use super::*;
use crate::config::TlsOptions;
use crate::server::tls::{Acceptor, Context};

/// Both directions of a connection in memory, as the server sees it.
#[derive(Clone, Default)]
struct Wire {
    to_server: Rc<RefCell<VecDeque<u8>>>,
    to_client: Rc<RefCell<VecDeque<u8>>>,
    /// Most bytes of one read or write; 0 lets nothing be written.
    piece: Rc<Cell<usize>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = buffer.len().min(self.piece.get().max(1));
        match self.to_server.borrow_mut().read(&mut buffer[..size])? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = bytes.len().min(self.piece.get());
        if size == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.to_client.borrow_mut().write(&bytes[..size])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pair {
    wire: Wire,
    client: ClientConnection,
    server: TlsStream<Wire>,
}

impl Pair {
    fn new(piece: usize) -> Pair {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let options = TlsOptions {
            certificate_file: write("c", certificate.pem()),
            key_file: write("k", key.serialize_pem()),
            ..TlsOptions::default()
        };
        let acceptor = Acceptor::new(Context::load(&options).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.set_buffer_limit(None);
        let wire = Wire::default();
        wire.piece.set(piece);
        Pair {
            client,
            server: acceptor.accept(wire.clone()).unwrap(),
            wire,
        }
    }

    fn client_writes(&mut self) {
        while self.client.wants_write() {
            let mut to_server = self.wire.to_server.borrow_mut();
            self.client.write_tls(&mut *to_server).unwrap();
        }
    }

    /// What has come for it.
    fn client_reads(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let mut to_client = self.wire.to_client.borrow_mut();
        while !to_client.is_empty() {
            self.client.read_tls(&mut *to_client).unwrap();
            self.client.process_new_packets().unwrap();
            // Without a goodbye it ends with an error.
            let _ = self.client.reader().read_to_end(&mut received);
        }
        received
    }

    /// The handshake, to its end.
    fn shake_hands(&mut self) {
        loop {
            self.client_writes();
            let result = self.server.handshake();
            let _ = self.server.flush();
            self.client_reads();
            if matches!(result, Ok(true)) {
                break;
            }
            let kind = result.err().map(|error| error.kind());
            assert!(kind.is_none_or(tries_again), "{kind:?}");
        }
        let _ = self.server.flush();
        self.client_reads();
    }

    /// All that can be read, in pieces of `size`.
    fn server_reads(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; size];
        loop {
            match self.server.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return bytes,
                Err(error) => assert!(tries_again(error.kind()), "{error}"),
            }
        }
    }
}

fn tries_again(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn sample(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn bytes_arrive_whatever_the_sizes_of_reads_and_writes() {
    for piece in [1, 100, 5000, usize::MAX] {
        let mut pair = Pair::new(piece);
        pair.shake_hands();
        for size in [1, 1000, 100_000] {
            let sent = sample(size);
            pair.client.writer().write_all(&sent).unwrap();
            pair.client_writes();
            let reads = if size < 100_000 { 7 } else { 10_000 };
            assert!(pair.server_reads(reads) == sent, "{piece} {size}");

            let mut rest = &sent[..];
            let mut received = Vec::new();
            while received.len() < size {
                let (front, back) = rest.split_at(rest.len().min(3));
                let slices = [front, back].map(IoSlice::new);
                match pair.server.write_vectored(&slices) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) => assert!(tries_again(error.kind()), "{error}"),
                }
                received.extend(pair.client_reads());
            }
            assert!(rest.is_empty() && received == sent, "{piece} {size}");
        }
    }
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    let mut pair = Pair::new(usize::MAX);
    pair.shake_hands();
    pair.client.writer().write_all(&sample(50_000)).unwrap();
    pair.client_writes();
    pair.server_reads(64 << 10);
    pair.server
        .write_vectored(&[IoSlice::new(&sample(50_000))])
        .unwrap();
    let TlsStream {
        input,
        plaintext,
        unsent,
        ..
    } = &pair.server;
    let capacities = [input, plaintext, unsent].map(Vec::capacity);
    assert_eq!(capacities, [0; 3]);
    assert!(!pair.server.has_input() && !pair.server.has_unsent());
}

#[test]
fn what_the_stream_does_not_take_waits_and_is_bounded() {
    let mut pair = Pair::new(usize::MAX);
    pair.shake_hands();
    pair.wire.piece.set(0);
    let sent = sample(1 << 20);
    let taken = pair.server.write_vectored(&[IoSlice::new(&sent)]).unwrap();
    assert!(pair.server.has_unsent());
    assert!(pair.server.unsent.len() <= OUTGOING_BYTES);
    let error = pair.server.write_vectored(&[IoSlice::new(&sent)]);
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    pair.wire.piece.set(usize::MAX);
    pair.server.flush().unwrap();
    assert!(pair.client_reads() == sent[..taken]);
}

#[test]
fn decrypted_bytes_wait_for_a_reader_with_little_room() {
    let mut pair = Pair::new(usize::MAX);
    pair.shake_hands();
    pair.client.writer().write_all(&sample(40_000)).unwrap();
    pair.client_writes();
    let mut buffer = [0; 10];
    assert_eq!(pair.server.read(&mut buffer).unwrap(), 10);
    assert!(pair.server.has_input());
    // Writing looks through what was read.
    pair.server.write_vectored(&[IoSlice::new(b"x")]).unwrap();
    assert!(pair.server_reads(1000) == sample(40_000)[10..]);
    assert!(!pair.server.has_input());
}

#[test]
fn both_sides_say_goodbye() {
    let mut pair = Pair::new(usize::MAX);
    pair.shake_hands();
    pair.client.writer().write_all(b"last").unwrap();
    pair.client.send_close_notify();
    pair.client_writes();
    let mut buffer = [0; 100];
    assert_eq!(pair.server.read(&mut buffer).unwrap(), 4);
    assert_eq!(pair.server.read(&mut buffer).unwrap(), 0);
    pair.server.say_goodbye().unwrap();
    pair.client_reads();
    let end = pair.client.reader().read(&mut buffer);
    assert_eq!(end.unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A byte that is another than was sent: in the handshake, or behind it.
    #[test]
    fn damage_ends_the_connection_and_nothing_else(
        at in 0..1500usize, with in any::<u8>(), piece in 1..2000usize, late: bool
    ) {
        let mut pair = Pair::new(piece);
        if late {
            pair.shake_hands();
            pair.client.writer().write_all(&sample(1000)).unwrap();
            pair.client.send_close_notify();
        }
        pair.client_writes();
        {
            let mut bytes = pair.wire.to_server.borrow_mut();
            let at = at % bytes.len();
            bytes[at] ^= with.max(1);
        }
        let mut buffer = [0; 300];
        for _ in 0..5000 {
            let result = match pair.server.is_handshaking() {
                true => pair.server.handshake().map(usize::from),
                false => pair.server.read(&mut buffer),
            };
            let _ = pair.server.write_vectored(&[IoSlice::new(b"answer")]);
            match result {
                Ok(0) if !pair.server.is_handshaking() => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        let _ = pair.server.say_goodbye();
    }
}
