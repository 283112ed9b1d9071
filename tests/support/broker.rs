//! A broker of the test's own.

use std::net::SocketAddr;

use leveret::server::Command;
use leveret::{Broker, Config};

use super::{Login, RawClient};

/// A broker inside the test, on a free port. Stops when dropped.
pub struct TestBroker {
    broker: Broker,
}

impl TestBroker {
    pub fn start() -> TestBroker {
        TestBroker::with(|_| {})
    }

    /// With a configuration of its own.
    pub fn with(configure: impl FnOnce(&mut Config)) -> TestBroker {
        let mut config = Config {
            bind: vec!["127.0.0.1".to_owned()],
            port: 0,
            ..Config::default()
        };
        configure(&mut config);
        TestBroker {
            broker: Broker::start(config).unwrap(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.amqp_address().unwrap()
    }

    /// An open connection with an open channel, number 1.
    pub fn connect(&self) -> RawClient {
        self.log_in(&Login::default())
    }

    /// The same for a client that announced no capabilities.
    pub fn connect_plain(&self) -> RawClient {
        self.log_in(&Login {
            capabilities: &[],
            ..Login::default()
        })
    }

    pub fn log_in(&self, login: &Login<'_>) -> RawClient {
        let mut client = self.connect_raw();
        client.open_connection(login);
        client.open_channel(1);
        client
    }

    /// A connected socket over which nothing was said.
    pub fn connect_raw(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    pub fn block(&self, reason: &str) {
        self.command(Command::Block(reason.to_owned()));
    }

    pub fn unblock(&self) {
        self.command(Command::Unblock);
    }

    pub fn command(&self, command: Command) {
        assert!(self.broker.handle().send(command));
    }

    /// Stops gracefully and waits for the end.
    pub fn stop(self) {
        self.broker.stop().unwrap();
    }
}
