//! What an operation needs (RabbitMQ: access control), asked before it is carried out.
//!
//! | operation                        | configure | write          | read             |
//! |----------------------------------|-----------|----------------|------------------|
//! | `exchange.declare`, `delete`     | exchange  |                |                  |
//! | ... with `alternate-exchange`    | exchange  | alternate      | exchange         |
//! | `queue.declare`, `delete`        | queue     |                |                  |
//! | ... with a dead letter exchange  | queue     | that exchange  | queue            |
//! | `exchange.bind`, `unbind`        |           | destination    | source           |
//! | `queue.bind`, `unbind`           |           | queue          | exchange         |
//! | `basic.publish`                  |           | exchange       |                  |
//! | `basic.get`, `consume`, `purge`  |           |                | queue            |
//!
//! What exists already is declared again without a look at the exchanges it names; passive declares need
//! nothing. On topic exchanges the routing key must be permitted, too, for writing it when publishing and
//! for reading it when binding.

use crate::broker::Core;
use crate::broker::connection::ConnectionKey;
use crate::broker::error::{Error, Result, named};
use crate::broker::topology::binding::BindRequest;
use crate::broker::topology::exchange::{
    self, ALTERNATE_EXCHANGE, ExchangeDeclaration, ExchangeKey,
};
use crate::broker::topology::queue::{QueueDeclaration, refuse_reserved_queue};
use crate::broker::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::{Table, Value};

use super::IMPERSONATOR;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Configure,
    Write,
    Read,
}

/// What is to be used, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Queue(&'a [u8]),
    /// The empty name is the default exchange's, which goes by `amq.default` in expressions and texts.
    Exchange(&'a [u8]),
}

impl Core {
    /// Whether the user may open a connection to the virtual host. In RabbitMQ's order: its limit, the
    /// user's, any permission there.
    pub fn check_open(&self, virtual_host: VirtualHostKey, user: &[u8]) -> Result<()> {
        if user == OPERATOR {
            return Ok(());
        }
        self.check_connection_limits(virtual_host, user)?;
        let host = &self.virtual_hosts[virtual_host].name;
        if self.permissions(user, host).is_some() {
            return Ok(());
        }
        Err(Error::NotAllowed(format!(
            "access to vhost '{host}' refused for user '{}'",
            String::from_utf8_lossy(user)
        )))
    }

    /// Whether the connection's user may do that.
    ///
    /// # Errors
    /// No; or the user or the virtual host is gone, which ends the connection.
    pub fn check_access(
        &self,
        connection: ConnectionKey,
        right: Right,
        resource: Resource<'_>,
    ) -> Result<()> {
        let connection = &self.connections[connection];
        if let Some(why) = &connection.doom {
            return Err(Error::ConnectionForced(why.to_string()));
        }
        if *connection.user == *OPERATOR {
            return Ok(());
        }
        let host = &self.virtual_hosts[connection.virtual_host].name;
        let (kind, name) = resource.described();
        let permitted = self.permissions(&connection.user, host).is_some_and(|may| {
            match right {
                Right::Configure => &may.configure,
                Right::Write => &may.write,
                Right::Read => &may.read,
            }
            .fits(name)
        });
        if permitted {
            return Ok(());
        }
        Err(Error::AccessRefused(format!(
            "{} access to {} refused for user '{}'",
            right.name(),
            named(kind, name, host),
            connection.user
        )))
    }

    /// Whether the connection's user may use the routing key with the exchange, which matters if that is
    /// a topic exchange.
    pub fn check_topic_access(
        &self,
        connection: ConnectionKey,
        right: Right,
        exchange: ExchangeKey,
        routing_key: &[u8],
    ) -> Result<()> {
        let connection = &self.connections[connection];
        let topics = self.user(&connection.user).map(|user| &user.topics);
        let Some(topics) = topics.filter(|topics| !topics.is_empty()) else {
            return Ok(());
        };
        let exchange = &self.exchanges[exchange];
        if exchange.router.type_name() != "topic" {
            return Ok(());
        }
        let host = &self.virtual_hosts[exchange.virtual_host].name;
        let Some(may) = topics.get(&(host.clone(), exchange.name.clone())) else {
            return Ok(());
        };
        let rule = match right {
            Right::Read => &may.read,
            Right::Configure | Right::Write => &may.write,
        };
        if rule.fits(routing_key) {
            return Ok(());
        }
        Err(Error::AccessRefused(format!(
            "{} access to topic '{}' in {} refused for user '{}'",
            right.name(),
            String::from_utf8_lossy(routing_key),
            named("exchange", &exchange.name, host),
            connection.user
        )))
    }

    /// Whether the connection may declare the exchange; faults that RabbitMQ finds first come first.
    pub fn check_exchange_declaration(
        &self,
        connection: ConnectionKey,
        declaration: &ExchangeDeclaration<'_>,
    ) -> Result<()> {
        exchange::check_type_and_name(declaration)?;
        let own = Resource::Exchange(declaration.name);
        self.check_access(connection, Right::Configure, own)?;
        let exists = self.exchange(declaration.virtual_host, declaration.name);
        if exists.is_ok() {
            return Ok(());
        }
        exchange::refuse_reserved("exchange", declaration.name)?;
        self.check_exchange_argument(connection, own, ALTERNATE_EXCHANGE, declaration.arguments)
    }

    /// Whether the connection may delete the exchange.
    pub fn check_exchange_deletion(&self, connection: ConnectionKey, name: &[u8]) -> Result<()> {
        let virtual_host = self.connections[connection].virtual_host;
        self.check_deletable(virtual_host, name)?;
        self.check_access(connection, Right::Configure, Resource::Exchange(name))
    }

    /// Whether the connection may declare the queue, and the virtual host have it.
    pub fn check_queue_declaration(&self, declaration: &QueueDeclaration<'_>) -> Result<()> {
        let connection = declaration.connection;
        refuse_reserved_queue(declaration)?;
        let own = Resource::Queue(declaration.name);
        self.check_access(connection, Right::Configure, own)?;
        let host = &self.virtual_hosts[declaration.virtual_host];
        if host.queues.contains_key(declaration.name) {
            return Ok(());
        }
        self.check_queue_limit(declaration.virtual_host, declaration.name)?;
        self.check_exchange_argument(connection, own, DEAD_LETTER_EXCHANGE, declaration.arguments)
    }

    /// Whether the connection may bind the destination to the source, or unbind it.
    pub fn check_binding(
        &self,
        connection: ConnectionKey,
        request: &BindRequest<'_>,
        destination: Resource<'_>,
    ) -> Result<()> {
        self.check_access(connection, Right::Write, destination)?;
        if destination == Resource::Exchange(b"") || request.source.is_empty() {
            return Err(exchange::not_on_default_exchange());
        }
        let source = Resource::Exchange(request.source);
        self.check_access(connection, Right::Read, source)?;
        match self.exchange(request.virtual_host, request.source) {
            Ok(source) => {
                self.check_topic_access(connection, Right::Read, source, request.routing_key)
            }
            // That it is not there is said by who looks for it.
            Err(_) => Ok(()),
        }
    }

    /// Whether the connection's user may publish in the name of others (RabbitMQ: `impersonator`).
    pub fn may_impersonate(&self, connection: ConnectionKey) -> bool {
        let user = self.user(&self.connections[connection].user);
        user.is_some_and(|user| user.has_tag(IMPERSONATOR))
    }

    /// What is declared with an exchange that messages go on to must be readable, and that exchange
    /// writable: it is a publish in advance.
    fn check_exchange_argument(
        &self,
        connection: ConnectionKey,
        own: Resource<'_>,
        argument: &str,
        arguments: Table<'_>,
    ) -> Result<()> {
        // What is no name is refused by who reads the arguments.
        let Some(Value::LongString(target)) = arguments.get(argument) else {
            return Ok(());
        };
        self.check_access(connection, Right::Read, own)?;
        self.check_access(connection, Right::Write, Resource::Exchange(target))
    }
}

impl Right {
    fn name(self) -> &'static str {
        match self {
            Right::Configure => "configure",
            Right::Write => "write",
            Right::Read => "read",
        }
    }
}

impl<'a> Resource<'a> {
    fn described(self) -> (&'static str, &'a [u8]) {
        match self {
            Resource::Queue(name) => ("queue", name),
            Resource::Exchange(b"") => ("exchange", b"amq.default"),
            Resource::Exchange(name) => ("exchange", name),
        }
    }
}

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// Whoever may open the broker's own Unix socket: it may do everything. No user can have this name, and
/// nobody logs in with it.
const OPERATOR: &[u8] = b"";
