//! Exchanges: declare, delete, and what RabbitMQ says when it will not.

use std::rc::Rc;

use crate::broker::Core;
use crate::broker::counters::ExchangeCounters;
use crate::broker::deduplication::{self, Window};
use crate::broker::error::{Error, Result, named};
use crate::broker::exchange::{Refused, Router};
use crate::broker::history::History;
use crate::broker::journal::Definition;
use crate::broker::name::Name;
use crate::broker::policy::Applied;
use crate::broker::queue::QueueKey;
use crate::broker::virtual_host::VirtualHostKey;
use crate::slots::Key;
use crate::wire::amqp::field_table::{OwnedTable, Table, Value};

use super::BindingSet;
use super::binding::{Destination, missing};

pub type ExchangeKey = Key<Exchange>;

/// Matches messages with bindings (AMQP 0-9-1 §3.1.3).
pub struct Exchange {
    pub name: Name,
    pub virtual_host: VirtualHostKey,
    pub durable: bool,
    /// Goes when its last binding does (RabbitMQ).
    pub auto_delete: bool,
    /// Cannot be published to by clients (RabbitMQ).
    pub internal: bool,
    pub arguments: OwnedTable,
    /// RabbitMQ: alternate exchange. Gets what this one can route nowhere; need not exist. From the
    /// arguments, or else from the policy.
    pub alternate: Option<Name>,
    pub policies: Applied,
    /// That of its virtual host's policies when these were found.
    pub policy_revision: u64,
    pub router: Router<Destination>,
    /// RabbitMQ: recent history exchange.
    pub history: Option<Box<History>>,
    /// RabbitMQ: delayed message exchange. Where its messages wait.
    pub delay_queue: Option<QueueKey>,
    /// Whether messages wait if they say so, by its type, its arguments or its policy.
    pub delays: bool,
    /// RabbitMQ's plugin and LavinMQ: deduplication. What it has seen.
    pub window: Option<Box<Window>>,
    pub outgoing: BindingSet,
    /// Bindings of which it is the destination.
    pub incoming: BindingSet,
    /// The last routing pass that came by, so that none comes by twice.
    pub visited: u64,
    pub counters: Rc<ExchangeCounters>,
}

/// What `exchange.declare` asks for.
#[derive(Clone, Copy)]
pub struct ExchangeDeclaration<'a> {
    pub virtual_host: VirtualHostKey,
    pub name: &'a [u8],
    pub kind: &'a [u8],
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table<'a>,
}

impl Core {
    /// Declares an exchange, or checks that the one of that name is the same.
    ///
    /// # Errors
    /// In RabbitMQ's order: unknown type, default exchange, inequivalent to what exists, reserved name,
    /// bad arguments (that of the alternate exchange, then those of the type). Of the arguments only
    /// the alternate exchange must be equivalent.
    pub fn declare_exchange(&mut self, declaration: &ExchangeDeclaration<'_>) -> Result<()> {
        check_type_and_name(declaration)?;
        let virtual_host = &self.virtual_hosts[declaration.virtual_host];
        if let Some(&existing) = virtual_host.exchanges.get(declaration.name) {
            return self.exchanges[existing].check_equivalent(declaration, &virtual_host.name);
        }
        refuse_reserved("exchange", declaration.name)?;
        let alternate = alternate_exchange(declaration, &virtual_host.name)?;
        let router = self.new_router(declaration).map_err(refused)?;
        let window = window(&router, declaration.arguments)?;
        let key = self.add_exchange(declaration, router, alternate);
        self.exchanges[key].window = window;
        if declaration.durable {
            let stored = self.stored_exchange(&self.exchanges[key]);
            self.define(Definition::ExchangeDeclared(stored));
        }
        self.begin_window(key);
        self.follow_delay(key);
        Ok(())
    }

    /// Whether an exchange of that name exists (`exchange.declare` with passive).
    pub fn check_exchange(&self, virtual_host: VirtualHostKey, name: &[u8]) -> Result<()> {
        refuse_default(name)?;
        self.exchange(virtual_host, name).map(drop)
    }

    /// Deletes; an exchange that does not exist is no error (RabbitMQ).
    pub fn delete_exchange(
        &mut self,
        virtual_host: VirtualHostKey,
        name: &[u8],
        if_unused: bool,
    ) -> Result<()> {
        self.check_deletable(virtual_host, name)?;
        let described = || named("exchange", name, &self.virtual_hosts[virtual_host].name);
        let Some(&key) = self.virtual_hosts[virtual_host].exchanges.get(name) else {
            return Ok(());
        };
        if if_unused && !self.exchanges[key].outgoing.is_empty() {
            return Err(Error::PreconditionFailed(format!("{} in use", described())));
        }
        self.remove_exchange(key);
        Ok(())
    }

    /// The broker's own exchanges stay.
    pub(in crate::broker) fn check_deletable(
        &self,
        virtual_host: VirtualHostKey,
        name: &[u8],
    ) -> Result<()> {
        refuse_default(name)?;
        if !name.starts_with(RESERVED_PREFIX) {
            return Ok(());
        }
        Err(Error::AccessRefused(format!(
            "deletion of system {} not allowed",
            named("exchange", name, &self.virtual_hosts[virtual_host].name)
        )))
    }

    /// The exchange of that name; the empty name is the default exchange's.
    #[inline]
    pub fn exchange(&self, virtual_host: VirtualHostKey, name: &[u8]) -> Result<ExchangeKey> {
        let virtual_host = &self.virtual_hosts[virtual_host];
        let found = virtual_host.exchanges.get(name).copied();
        found.ok_or_else(|| missing("exchange", name, &virtual_host.name))
    }

    /// Whether clients may publish to the exchange.
    pub fn check_publishable(&self, key: ExchangeKey) -> Result<()> {
        let exchange = &self.exchanges[key];
        if !exchange.internal {
            return Ok(());
        }
        let virtual_host = &self.virtual_hosts[exchange.virtual_host].name;
        Err(Error::AccessRefused(format!(
            "cannot publish to internal {}",
            named("exchange", &exchange.name, virtual_host)
        )))
    }

    /// The exchanges that every virtual host is born with (AMQP 0-9-1 §3.1.3, RabbitMQ).
    pub(in crate::broker) fn predeclare_exchanges(&mut self, virtual_host: VirtualHostKey) {
        for (name, kind, internal) in PREDECLARED {
            let declaration = ExchangeDeclaration {
                virtual_host,
                name: name.as_bytes(),
                kind: kind.as_bytes(),
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::EMPTY,
            };
            let router = self.new_router(&declaration).expect("a core type");
            self.add_exchange(&declaration, router, None);
        }
    }

    /// Declares an exchange of the broker's own that lasts like those of clients. None of that name may
    /// be there.
    pub(in crate::broker) fn declare_own_exchange(
        &mut self,
        declaration: &ExchangeDeclaration<'_>,
    ) {
        let router = self.new_router(declaration).expect("a core type");
        let key = self.add_exchange(declaration, router, None);
        let stored = self.stored_exchange(&self.exchanges[key]);
        self.define(Definition::ExchangeDeclared(stored));
    }

    fn new_router(
        &self,
        declaration: &ExchangeDeclaration<'_>,
    ) -> std::result::Result<Router<Destination>, Refused> {
        // No two exchanges are added at the same generation.
        Router::declare(declaration.kind, declaration.arguments, self.generation)
    }

    fn add_exchange(
        &mut self,
        declaration: &ExchangeDeclaration<'_>,
        router: Router<Destination>,
        alternate: Option<Name>,
    ) -> ExchangeKey {
        let name = Name::from(declaration.name);
        let (policies, policy_revision) =
            self.policies_for_exchange(declaration.virtual_host, &name);
        let key = self.exchanges.insert(Exchange {
            name: name.clone(),
            virtual_host: declaration.virtual_host,
            durable: declaration.durable,
            auto_delete: declaration.auto_delete,
            internal: declaration.internal,
            arguments: OwnedTable::from(declaration.arguments),
            history: History::of_length(router.history_length()),
            delay_queue: None,
            delays: false,
            window: None,
            alternate: alternate.or_else(|| policies.settings().alternate_exchange.clone()),
            policies,
            policy_revision,
            router,
            outgoing: BindingSet::default(),
            incoming: BindingSet::default(),
            visited: 0,
            counters: Rc::default(),
        });
        self.virtual_hosts[declaration.virtual_host]
            .exchanges
            .insert(name, key);
        self.generation += 1;
        if self.tells_events() {
            self.tell_exchange_created(key);
        }
        key
    }

    /// Takes the exchange away with all bindings from and to it, and with them the auto-delete
    /// exchanges that these were the last of.
    pub(in crate::broker) fn remove_exchange(&mut self, key: ExchangeKey) {
        let incoming = self.detach_exchange(key);
        self.remove_all_outgoing(incoming);
    }

    /// Takes bindings whose destination is gone out of their sources. With a list of what follows and
    /// not by recursion: a chain of auto-delete exchanges is as long as its client made it.
    pub(super) fn remove_all_outgoing(&mut self, bindings: BindingSet) {
        let mut bindings: Vec<_> = bindings.into_iter().collect();
        while let Some(binding) = bindings.pop() {
            if let Some(emptied) = self.remove_outgoing(&binding) {
                bindings.extend(self.detach_exchange(emptied));
            }
        }
    }

    /// Takes the exchange away with the bindings from it; those to it are for the caller to remove.
    fn detach_exchange(&mut self, key: ExchangeKey) -> BindingSet {
        if self.tells_events() {
            self.tell_exchange_goes(key);
        }
        self.undefine_exchange(key);
        let Some(exchange) = self.exchanges.remove(key) else {
            return BindingSet::default();
        };
        self.virtual_hosts[exchange.virtual_host]
            .exchanges
            .remove(&exchange.name);
        self.generation += 1;
        if let Some(history) = &exchange.history {
            self.discard_history(history);
        }
        self.end_window(exchange.window.as_deref());
        if let Some(queue) = exchange.delay_queue {
            self.remove_queue(queue);
        }
        for binding in &exchange.outgoing {
            if let Some(incoming) = self.incoming(binding.destination) {
                incoming.remove(binding);
            }
        }
        self.on_bindings_changed(key);
        exchange.incoming
    }

    /// The exchange and its bindings survive no longer.
    fn undefine_exchange(&mut self, key: ExchangeKey) {
        let Some(exchange) = self.exchanges.get(key) else {
            return;
        };
        if !exchange.durable || self.journal.is_none() {
            return;
        }
        let deleted = Definition::ExchangeDeleted {
            virtual_host: self.virtual_host_name(exchange.virtual_host),
            name: exchange.name.as_bytes().into(),
        };
        // Those that every virtual host is born with were never stored.
        let is_stored = !exchange.name.is_empty() && !exchange.name.starts_with(RESERVED_PREFIX);
        let bindings = exchange.outgoing.iter().chain(&exchange.incoming).cloned();
        for binding in bindings.collect::<Vec<_>>() {
            self.define_binding(&binding, false);
        }
        if is_stored {
            self.define(deleted);
        }
    }
}

impl Exchange {
    fn check_equivalent(
        &self,
        declaration: &ExchangeDeclaration<'_>,
        virtual_host: &[u8],
    ) -> Result<()> {
        let described = || named("exchange", &self.name, virtual_host);
        if declaration.kind != self.router.type_name().as_bytes() {
            return Err(inequivalent(
                "type",
                &described(),
                &quoted(String::from_utf8_lossy(declaration.kind)),
                &quoted(self.router.type_name()),
            ));
        }
        check_flag("durable", &described, declaration.durable, self.durable)?;
        check_flag(
            "auto_delete",
            &described,
            declaration.auto_delete,
            self.auto_delete,
        )?;
        check_flag("internal", &described, declaration.internal, self.internal)?;
        check_argument(
            ALTERNATE_EXCHANGE,
            &described,
            declaration.arguments,
            self.arguments.view(),
        )
    }
}

fn alternate_exchange(
    declaration: &ExchangeDeclaration<'_>,
    virtual_host: &[u8],
) -> Result<Option<Name>> {
    match declaration.arguments.get(ALTERNATE_EXCHANGE) {
        None => Ok(None),
        Some(Value::LongString(name)) => Ok(Some(Name::from(name))),
        Some(other) => Err(Error::PreconditionFailed(format!(
            "invalid type '{}' for arg '{ALTERNATE_EXCHANGE}' in {}",
            other.type_name(),
            named("exchange", declaration.name, virtual_host)
        ))),
    }
}

/// What the exchange remembers of its messages, if it is to.
fn window(router: &Router<Destination>, arguments: Table<'_>) -> Result<Option<Box<Window>>> {
    let settings = deduplication::Settings::of_exchange(router.deduplicates(), arguments);
    match settings {
        Ok(settings) => Ok(settings.map(|settings| Box::new(Window::new(settings)))),
        Err(bad) => Err(Error::PreconditionFailed(format!(
            "Invalid argument, '{}' must be {}",
            bad.name, bad.wanted
        ))),
    }
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::UnknownType(text) => Error::CommandInvalid(text),
        Refused::BadArgument(text) => Error::PreconditionFailed(text),
    }
}

/// The alternate exchange that an exchange was declared with.
pub(in crate::broker) fn declared_alternate(arguments: Table<'_>) -> Option<Name> {
    match arguments.get(ALTERNATE_EXCHANGE) {
        Some(Value::LongString(name)) => Some(Name::from(name)),
        _ => None,
    }
}

/// What RabbitMQ looks at before anything else.
pub(in crate::broker) fn check_type_and_name(declaration: &ExchangeDeclaration<'_>) -> Result<()> {
    Router::<Destination>::check_type_name(declaration.kind).map_err(refused)?;
    refuse_default(declaration.name)
}

fn refuse_default(name: &[u8]) -> Result<()> {
    if name.is_empty() {
        return Err(not_on_default_exchange());
    }
    Ok(())
}

pub(in crate::broker) fn not_on_default_exchange() -> Error {
    Error::AccessRefused("operation not permitted on the default exchange".to_owned())
}

/// Names that start with `amq.` are the broker's (AMQP 0-9-1 `exchange-name`, `queue-name`).
pub(in crate::broker) fn refuse_reserved(kind: &str, name: &[u8]) -> Result<()> {
    if !name.starts_with(RESERVED_PREFIX) {
        return Ok(());
    }
    Err(Error::AccessRefused(format!(
        "{kind} name '{}' contains reserved prefix 'amq.*'",
        String::from_utf8_lossy(name)
    )))
}

pub(super) fn check_flag(
    name: &str,
    described: &impl Fn() -> String,
    received: bool,
    current: bool,
) -> Result<()> {
    if received == current {
        return Ok(());
    }
    Err(inequivalent(
        name,
        &described(),
        &quoted(received),
        &quoted(current),
    ))
}

/// Compares one argument as RabbitMQ does: integers of any width by value, and so on.
pub(super) fn check_argument(
    name: &str,
    described: &impl Fn() -> String,
    received: Table<'_>,
    current: Table<'_>,
) -> Result<()> {
    let (received, current) = match (received.get(name), current.get(name)) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if received.same_value(&current) => return Ok(()),
        (Some(received), Some(current)) => (quoted(plain(&received)), quoted(plain(&current))),
        (received, current) => (with_type(received), with_type(current)),
    };
    Err(inequivalent(name, &described(), &received, &current))
}

fn inequivalent(name: &str, described: &str, received: &str, current: &str) -> Error {
    Error::PreconditionFailed(format!(
        "inequivalent arg '{name}' for {described}: received {received} but current is {current}"
    ))
}

fn with_type(value: Option<Value<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value {} of type '{}'",
            quoted(plain(&value)),
            value.type_name()
        ),
    }
}

/// A value as RabbitMQ shows it in its texts.
pub(super) fn plain(value: &Value<'_>) -> String {
    match value {
        Value::LongString(text) | Value::Binary(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Bool(flag) => (*flag != 0).to_string(),
        Value::Void => "undefined".to_owned(),
        Value::Timestamp(seconds) => seconds.to_string(),
        other => match (other.as_integer(), other.as_float()) {
            (Some(integer), _) => integer.to_string(),
            (_, Some(float)) => format!("{float:?}"),
            _ => format!("{other:?}"),
        },
    }
}

fn quoted(value: impl std::fmt::Display) -> String {
    format!("'{value}'")
}

pub(super) const RESERVED_PREFIX: &[u8] = b"amq.";
pub(in crate::broker) const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Name, type, internal.
const PREDECLARED: [(&str, &str, bool); 7] = [
    ("", "direct", false),
    ("amq.direct", "direct", false),
    ("amq.fanout", "fanout", false),
    ("amq.topic", "topic", false),
    ("amq.headers", "headers", false),
    ("amq.match", "headers", false),
    ("amq.rabbitmq.trace", "topic", true),
];
