//! A broker inside another program: the same loop, on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};

use crate::config::Config;
use crate::management::http::Door;
use crate::server::{Address, Command, Handle, Server};

/// A running broker. Stops when dropped.
///
/// It installs no signal handlers, changes no limits of the process and logs through [`log`] only.
pub struct Broker {
    addresses: Vec<Address>,
    tls_addresses: Vec<Address>,
    http: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    handle: Handle,
    /// `None` once joined.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Broker {
    /// Starts a broker and returns when its addresses are bound: peers can connect.
    ///
    /// # Errors
    /// An address that cannot be bound, as `could not bind 0.0.0.0:5672: Address already in use`,
    /// certificates that cannot be used, or no thread to run on.
    pub fn start(config: Config) -> io::Result<Broker> {
        let (sender, started) = bounded(1);
        let thread = thread::Builder::new()
            .name("leveret".to_owned())
            .spawn(move || serve(config, &sender))?;
        match started.recv() {
            Ok(started) => Ok(Broker {
                addresses: started.addresses,
                tls_addresses: started.tls_addresses,
                http: started.http,
                metrics: started.metrics,
                handle: started.handle,
                thread: Some(thread),
            }),
            // The thread ended before it was ready, and knows why.
            Err(_) => match join(thread) {
                Err(error) => Err(error),
                Ok(()) => Err(io::Error::other("the broker ended before it had started")),
            },
        }
    }

    /// The first TCP address it listens on, with the port that was chosen. An address like `[::]` is
    /// every address of this machine.
    pub fn amqp_address(&self) -> Option<SocketAddr> {
        first_tcp(&self.addresses)
    }

    /// The same of AMQP over TLS.
    pub fn amqps_address(&self) -> Option<SocketAddr> {
        first_tcp(&self.tls_addresses)
    }

    /// The first TCP address of the management API, with the port that was chosen; `None` if it is off.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The same of what Prometheus asks for.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// All addresses it listens on without TLS, in the order of `config.bind`.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Commands for the running broker.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops gracefully: closes every connection (320 CONNECTION_FORCED), waits for the peers'
    /// answers up to `limits.stop_timeout_ms`, and returns when everything is released. Dropping a
    /// broker waits for nobody.
    ///
    /// # Errors
    /// What ended the loop before, if it did not end by itself.
    pub fn stop(mut self) -> io::Result<()> {
        self.end(Command::Stop)
    }

    fn end(&mut self, command: Command) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.handle.send(command);
        join(thread)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(error) = self.end(Command::StopNow) {
            log::error!("the broker failed: {error}");
        }
    }
}

/// What is known once a server is bound.
struct Started {
    addresses: Vec<Address>,
    tls_addresses: Vec<Address>,
    http: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    handle: Handle,
}

fn first_tcp(addresses: &[Address]) -> Option<SocketAddr> {
    addresses.iter().find_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    })
}

fn serve(config: Config, started: &Sender<Started>) -> io::Result<()> {
    let server = Server::bind(config)?;
    let web = server.web_addresses();
    let behind = |wanted: Door| {
        let some = web.iter().filter(|(door, _)| *door == wanted);
        let some: Vec<_> = some.map(|(_, address)| address.clone()).collect();
        first_tcp(&some)
    };
    // Nobody waits for this only if the starting thread has died.
    let _ = started.send(Started {
        addresses: server.addresses().to_vec(),
        tls_addresses: server.tls_addresses().to_vec(),
        http: behind(Door::Api),
        metrics: behind(Door::Metrics),
        handle: server.handle(),
    });
    server.run()
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the broker's thread panicked")))
}
