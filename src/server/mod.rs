//! The event loop and everything that touches a file descriptor of a socket. The only room that knows
//! mio and the clock; what the bytes mean is the business of [`protocol`](crate::protocol).
//!
//! Read `event_loop.rs` first: every turn has the same stages in the same order.
//!
//! ```text
//! event_loop   poll, the stages of a turn, what wakes it
//! socket       one descriptor and its machine: reading, writing, closing
//! input        the shared read buffer, and what a partial frame leaves behind
//! transport    plain TCP or Unix stream
//! listener     where peers knock; unix_socket, address: how and where
//! timer        one deadline per socket, coarse enough to be cheap
//! control      commands from other threads; signal: from the operating system
//! log_feed     from the log to its exchange
//! monitor      when memory and disk are measured; measure, allocator: how
//! notify       word to the service manager; inherited: the sockets it opened for us
//! ```

mod address;
mod allocator;
mod clock;
mod control;
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
mod reloader;
mod signal;
mod socket;
mod socket_table;
mod state_dump;
mod store_link;
mod timer;
mod token;
mod transport;
mod unix_socket;
mod watchdog;

use std::io;

pub use address::Address;
pub use control::{Command, Handle};
pub use file_limit::raise_file_limit;
pub use inherited::Inherited;
pub use notify::Notifier;

use crate::config::Config;
use crate::log_tap::LogTap;
use event_loop::EventLoop;

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
}

impl Server {
    /// Binds every address of `config.bind`. From here on the operating system queues the peers that
    /// connect.
    ///
    /// # Errors
    /// An address that cannot be bound, as `could not bind 0.0.0.0:5672: Address already in use`.
    pub fn bind(config: Config) -> io::Result<Server> {
        Server::adopt(config, Inherited::default())
    }

    /// As [`Server::bind`], with sockets that listen already. They are served beside `config.bind`;
    /// where that is empty, they alone are.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn adopt(config: Config, inherited: Inherited) -> io::Result<Server> {
        let (event_loop, handle, addresses) = EventLoop::bind(config, inherited)?;
        Ok(Server {
            event_loop,
            handle,
            addresses,
        })
    }

    /// The addresses as bound, in the order of `config.bind`, with the ports that were chosen.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Steers the loop from another thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// SIGTERM and SIGINT stop this server gracefully, the second of them at once. SIGHUP calls
    /// `reload` on a thread of its own and takes over what it returns ([`Command::Reconfigure`]).
    /// SIGUSR1 writes the state into the log. For a program that is the broker; an embedded broker
    /// leaves the signals to its host.
    ///
    /// # Errors
    /// No descriptors for it.
    pub fn obey_signals(&mut self, reload: Reload) -> io::Result<()> {
        self.event_loop.obey_signals(reload)
    }

    /// Keeps the service manager informed from here on.
    pub fn notify(&mut self, notifier: Notifier) {
        self.event_loop.notify(notifier);
    }

    /// Publishes the lines of this tap to the exchange `amq.rabbitmq.log` while the configuration says
    /// so (RabbitMQ: `log.exchange`). For a program whose log it is.
    pub fn publish_log(&mut self, tap: LogTap) {
        self.event_loop.publish_log(tap);
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// Only when the loop cannot go on at all: polling failed.
    pub fn run(self) -> io::Result<()> {
        self.event_loop.run()
    }
}
