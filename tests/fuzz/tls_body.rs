//! A TLS server to which a client speaks, and something happens to its words: nothing panics, what is held
//! is bounded, and what comes out at the other end is what the client said, up to the damage.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use leveret::config::TlsOptions;
use leveret::server::tls::{Acceptor, Context};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The first byte says in which pieces the bytes arrive, the second and third where the damage begins, the
/// fourth what it is: the rest instead of what the client says, or laid over it.
pub fn check(data: &[u8]) {
    let &[piece, high, low, kind, ref damage @ ..] = data else {
        return;
    };
    let mut damage = Damage {
        left: usize::from(u16::from_be_bytes([high, low])) % 4096,
        replaces: kind % 2 == 0,
        bytes: damage.to_vec(),
    };
    let wire = Wire {
        piece: usize::from(piece) + 1,
        ..Wire::default()
    };
    let acceptor = Acceptor::new(context().clone());
    let mut server = acceptor.accept(wire.clone()).expect("the context is good");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client_config(), name).expect("a client");
    let mut heard = Vec::new();
    client.writer().write_all(SAID).expect("room");
    for _ in 0..8 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("a Vec takes all");
        }
        wire.to_server.borrow_mut().extend(damage.apply(flight));
        if !serve(&mut server, &mut heard) {
            break;
        }
        let answer = std::mem::take(&mut *wire.to_client.borrow_mut());
        let mut answer = &answer[..];
        while !answer.is_empty() && client.read_tls(&mut answer).is_ok() {
            if client.process_new_packets().is_err() {
                return;
            }
        }
    }
    assert!(SAID.starts_with(&heard), "{heard:?}");
}

/// Returns false when the server has given up.
fn serve(server: &mut leveret::server::tls::TlsStream<Wire>, heard: &mut Vec<u8>) -> bool {
    let is_done = match server.is_handshaking() {
        true => server.handshake(),
        false => Ok(true),
    };
    let mut buffer = [0; 1000];
    let goes_on = match is_done {
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        Ok(false) => true,
        Ok(true) => loop {
            match server.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        },
    };
    let _ = server.flush();
    goes_on
}

struct Damage {
    /// Bytes that pass unharmed.
    left: usize,
    replaces: bool,
    bytes: Vec<u8>,
}

impl Damage {
    fn apply(&mut self, mut flight: Vec<u8>) -> Vec<u8> {
        let whole = self.left.min(flight.len());
        self.left -= whole;
        if whole == flight.len() {
            return flight;
        }
        let bytes = std::mem::take(&mut self.bytes);
        if self.replaces {
            flight.truncate(whole);
            flight.extend(bytes);
        } else {
            let rest = flight[whole..].iter_mut();
            rest.zip(bytes).for_each(|(byte, damage)| *byte ^= damage);
        }
        flight
    }
}

/// Both directions in memory.
#[derive(Clone, Default)]
struct Wire {
    to_server: Rc<RefCell<std::collections::VecDeque<u8>>>,
    to_client: Rc<RefCell<Vec<u8>>>,
    piece: usize,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = buffer.len().min(self.piece);
        match self.to_server.borrow_mut().read(&mut buffer[..size])? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = bytes.len().min(self.piece);
        self.to_client.borrow_mut().write(&bytes[..size])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let options = TlsOptions {
            certificate_file: Some(folder().join("certificate.pem")),
            key_file: Some(folder().join("key.pem")),
            ..TlsOptions::default()
        };
        Context::load(&options).expect("the files are there")
    })
}

fn client_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let certificate = CertificateDer::from_pem_file(folder().join("certificate.pem"));
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate.expect("a file"))
            .expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config
            .with_safe_default_protocol_versions()
            .expect("there are");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// Of the stable test and of the fuzz target alike.
fn folder() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    static FOLDER: OnceLock<std::path::PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match here.join("tls").exists() {
        true => here.join("tls"),
        false => here.join("tests/fuzz/tls"),
    })
}

const SAID: &[u8] = b"AMQP\0\0\x09\x01 and whatever else comes behind it";
