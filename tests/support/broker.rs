//! A broker of the test's own.

use std::net::SocketAddr;

use leveret::broker::Metadata;
use leveret::broker::access::Refused;
use leveret::protocol::Resources;
use leveret::protocol::order::{Order, Outcome};
use leveret::server::Command;
use leveret::{Broker, Config};

use super::{HttpClient, Login, RawClient};

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

    /// With the management API, on a free port too.
    pub fn with_management() -> TestBroker {
        TestBroker::with(|config| {
            config.http_port = Some(0);
            config.http_ip = Some("127.0.0.1".to_owned());
        })
    }

    /// The management API, asked by `guest`.
    pub fn http(&self) -> HttpClient {
        HttpClient::new(self.broker.http_address().unwrap())
    }

    /// Where Prometheus asks.
    pub fn metrics_address(&self) -> SocketAddr {
        self.broker.metrics_address().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.amqp_address().unwrap()
    }

    /// Where AMQP is served over TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.broker.amqps_address().unwrap()
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

    /// Gives an order and waits until it is carried out.
    pub fn order(&self, order: Order) -> Result<Outcome, Refused> {
        self.broker.handle().order(order).unwrap()
    }

    /// An order that is not refused.
    #[track_caller]
    pub fn obey(&self, order: Order) {
        assert_eq!(self.order(order), Ok(Outcome::Done));
    }

    /// Memory, disk and alarms as the broker knows them.
    pub fn resources(&self) -> Resources {
        match self.order(Order::Resources) {
            Ok(Outcome::Resources(resources)) => resources,
            other => panic!("{other:?}"),
        }
    }

    /// Adds a user whose password is the name.
    pub fn add_user(&self, name: &str) {
        self.obey(Order::AddUser {
            name: name.to_owned(),
            password: name.into(),
        });
    }

    pub fn add_vhost(&self, name: &str) {
        self.obey(Order::AddVhost {
            name: name.to_owned(),
            metadata: Metadata::default(),
        });
    }

    /// Sets what a user is for management.
    pub fn tag(&self, name: &str, tags: &[&str]) {
        self.obey(Order::SetUserTags {
            name: name.to_owned(),
            tags: tags.iter().map(ToString::to_string).collect(),
        });
    }

    /// Sets what a user may configure, write and read.
    pub fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) {
        self.obey(Order::SetPermissions {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            configure: configure.to_owned(),
            write: write.to_owned(),
            read: read.to_owned(),
        });
    }

    /// As [`TestBroker::connect`], as a user whose password is the name.
    pub fn connect_as(&self, user: &str, vhost: &str) -> RawClient {
        let response = format!("\0{user}\0{user}");
        self.log_in(&Login {
            response: response.as_bytes(),
            virtual_host: vhost.as_bytes(),
            ..Login::default()
        })
    }

    /// The same for one who is refused when the virtual host is opened.
    #[track_caller]
    pub fn expect_not_allowed(&self, user: &str, vhost: &str, text: &str) {
        let response = format!("\0{user}\0{user}");
        let login = Login {
            response: response.as_bytes(),
            virtual_host: vhost.as_bytes(),
            ..Login::default()
        };
        let mut client = self.connect_raw();
        client.begin_login(&login);
        client.expect_on(0, "connection.tune");
        client.tune_and_open(&login);
        let method = client.expect_connection_close(530, &format!("NOT_ALLOWED - {text}"));
        assert_eq!(method, (10, 40));
    }

    /// Stops gracefully and waits for the end.
    pub fn stop(self) {
        self.broker.stop().unwrap();
    }
}
