//! The event loop and everything that touches a file descriptor of a socket. The only room that knows
//! mio and the clock; what the bytes mean is the business of [`protocol`](crate::protocol).
//!
//! Read `event_loop.rs` first: every turn has the same stages in the same order.
//!
//! ```text
//! event_loop   poll, the stages of a turn, what wakes it
//! socket       one descriptor and its machine: reading, writing, closing
//! input        the shared read buffer, and what a partial frame leaves behind
//! transport    plain TCP, Unix stream or TLS
//! arrival      before the first byte: a proxy's header, the TLS handshake
//! tls, proxy   what they are made of; tls serves any stream
//! listener     where peers knock; unix_socket, address: how and where
//! timer        one deadline per socket, coarse enough to be cheap
//! control      commands from other threads; signal: from the operating system
//! log_feed     from the log to its exchange
//! monitor      when memory and disk are measured; measure, allocator: how
//! definitions_file  what is set before anybody is let in
//! notify       word to the service manager; inherited: the sockets it opened for us
//! ```

mod address;
mod allocator;
mod arrival;
mod clock;
mod control;
mod definitions_file;
mod entropy;
mod event_loop;
mod file_limit;
mod inherited;
mod input;
mod listener;
mod log_feed;
mod measure;
mod monitor;
mod notify;
mod proxy;
mod reloader;
mod signal;
mod socket;
mod socket_table;
mod state_dump;
mod store_link;
mod timer;
pub mod tls;
mod token;
mod transport;
mod unix_socket;
mod vitals;
mod watchdog;
mod web;

use std::io;
use std::sync::Arc;

pub use address::Address;
pub use control::{Command, Handle};
pub use file_limit::raise_file_limit;
pub use inherited::Inherited;
pub use notify::Notifier;

use crate::config::Config;
use crate::log_tap::LogTap;
use crate::management::host::Host;
use crate::management::http::Door;
use crate::management::{Facts, ListenerFacts, Management};
use clock::Clock;
use event_loop::EventLoop;
use web::{Web, WebThread};

/// Finds out what the configuration is to be; `None` keeps it. It may read files, and is not called
/// twice at a time.
pub type Reload = Box<dyn FnMut() -> Option<Config> + Send>;

/// A broker whose listening sockets are bound; [`run`](Server::run) serves them on this thread.
///
/// The broker's state belongs to one thread, so a server is built where it will run.
pub struct Server {
    event_loop: EventLoop,
    handle: Handle,
    addresses: Vec<Address>,
    tls_addresses: Vec<Address>,
    web: Option<Web>,
    config: Config,
    host: Option<Box<dyn Host>>,
    log: Option<LogTap>,
}

impl Server {
    /// Binds every address of `config.bind` and `config.tls`, and reads certificates. From here on the operating system queues the peers that
    /// connect.
    ///
    /// # Errors
    /// An address that cannot be bound, as `could not bind 0.0.0.0:5672: Address already in use`, or
    /// certificates that cannot be used.
    pub fn bind(config: Config) -> io::Result<Server> {
        Server::adopt(config, Inherited::default())
    }

    /// As [`Server::bind`], with sockets that listen already. They are served beside `config.bind`;
    /// where that is empty, they alone are.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn adopt(config: Config, inherited: Inherited) -> io::Result<Server> {
        // Every port is taken before the data directory is touched.
        let web = Web::bind(&config)?;
        let (event_loop, handle) = EventLoop::bind(config.clone(), inherited)?;
        let (addresses, tls_addresses) = event_loop.addresses();
        let mut server = Server {
            event_loop,
            handle,
            addresses,
            tls_addresses,
            web,
            config,
            host: None,
            log: None,
        };
        if let Some(web) = &mut server.web {
            web.bind_control(&server.config)?;
            web.listen()?;
        }
        Ok(server)
    }

    /// The addresses as bound, in the order of `config.bind`, with the ports that were chosen.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// As [`Server::addresses`], those of AMQP over TLS, in the order of `config.tls.bind`.
    pub fn tls_addresses(&self) -> &[Address] {
        &self.tls_addresses
    }

    /// Where HTTP is served: what each address is for, with the port that was chosen.
    pub fn web_addresses(&self) -> Vec<(Door, Address)> {
        self.web.as_ref().map(Web::addresses).unwrap_or_default()
    }

    /// Steers the loop from another thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// SIGTERM and SIGINT stop this server gracefully, the second of them at once. SIGHUP calls
    /// `reload` on a thread of its own and takes over what it returns ([`Command::Reconfigure`]), with
    /// certificates that are read anew ([`Command::RenewTls`], [`Command::RenewHttps`]).
    /// SIGUSR1 writes the state into the log. For a program that is the broker; an embedded broker
    /// leaves the signals to its host.
    ///
    /// # Errors
    /// No descriptors for it.
    pub fn obey_signals(&mut self, reload: Reload) -> io::Result<()> {
        self.event_loop.obey_signals(reload)
    }

    /// Management may ask this of the program around.
    pub fn live_in(&mut self, host: Box<dyn Host>) {
        self.host = Some(host);
    }

    /// Keeps the service manager informed from here on.
    pub fn notify(&mut self, notifier: Notifier) {
        self.event_loop.notify(notifier);
    }

    /// Publishes the lines of this tap to the exchange `amq.rabbitmq.log` while the configuration says
    /// so (RabbitMQ: `log.exchange`), and shows them to users of the management API. For a program whose log
    /// it is.
    pub fn publish_log(&mut self, tap: LogTap) {
        self.log = Some(tap.clone());
        self.event_loop.publish_log(tap);
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// Only when the loop cannot go on at all: polling failed; or when management cannot be served.
    pub fn run(mut self) -> io::Result<()> {
        let web = self.web.take();
        let host = self.host.take();
        let web = web.map(|web| self.serve_web(web, host)).transpose()?;
        if let Some(web) = &web {
            self.event_loop.renew_https_by(web.renewal());
        }
        let result = self.event_loop.run();
        drop(web);
        result
    }

    fn serve_web(&self, web: Web, host: Option<Box<dyn Host>>) -> io::Result<WebThread> {
        let plain = self.addresses.iter().map(|address| ("amqp", address));
        let tls = self
            .tls_addresses
            .iter()
            .map(|address| ("amqp/ssl", address));
        let amqp = plain
            .chain(tls)
            .map(|(protocol, address)| (protocol, address.clone()));
        let http = web.protocols().into_iter();
        let http = http.map(|(_, protocol, address)| (protocol, address));
        let listeners = amqp.chain(http).map(|(protocol, address)| match address {
            Address::Tcp(address) => ListenerFacts {
                protocol,
                interface: address.ip().to_string(),
                port: Some(address.port()),
            },
            Address::Unix(path) => ListenerFacts {
                protocol,
                interface: path.display().to_string(),
                port: None,
            },
        });
        let facts = Facts {
            config: self.config.clone(),
            listeners: listeners.collect(),
            started: Clock::start().now(),
            pid: std::process::id(),
            vitals: Box::new(vitals::measure),
            certificates: Box::new(tls::expiry::of),
            host,
            log: self.log.clone(),
        };
        let broker = Arc::new(self.handle.clone());
        let management = Management::new(broker, facts, Box::new(entropy::draw));
        let management = Arc::new(management);
        if self.config.http_port.is_some() || self.config.https.port.is_some() {
            let (sampled, clock) = (Arc::clone(&management), Clock::start());
            let sample = move || sampled.sample(clock.now());
            self.event_loop.sample_by(Box::new(sample));
        }
        web.start(management)
    }
}
