//! `exchange.*` and `queue.*`: from methods to the broker's doors and back.

use std::borrow::Cow;

use crate::broker::REPLY_TO;
use crate::broker::access::{Resource, Right};
use crate::broker::queue::arguments::QUEUE_TYPE;
use crate::broker::topology::binding::BindRequest;
use crate::broker::topology::exchange::ExchangeDeclaration;
use crate::broker::topology::queue::{QueueCounts, QueueDeclaration};
use crate::protocol::Hub;
use crate::wire::amqp::method::{exchange, queue};
use crate::wire::amqp::{ReplyCode, Table, TableBuilder};

use super::channel::Channel;
use super::connection::Session;
use super::exception::{Exception, Result};

impl Channel {
    pub(super) fn on_queue_declare(
        &mut self,
        session: &Session,
        declare: &queue::Declare<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        check_text(declare.queue)?;
        let given = without_line_ends(declare.queue);
        let (name, counts) = if given.starts_with(REPLY_TO) {
            let counts = hub.core.check_reply_address(session.virtual_host, &given)?;
            (given.into_owned(), counts)
        } else if declare.passive {
            // An empty name is no queue's here: RabbitMQ does not look back at the last declared one.
            let counts = hub
                .core
                .check_queue(session.virtual_host, session.connection, &given)?;
            (given.into_owned(), counts)
        } else {
            declare_queue(session, declare, &given, hub)?
        };
        let ok = queue::DeclareOk {
            queue: &name,
            message_count: saturated(counts.messages),
            consumer_count: saturated(counts.consumers),
        };
        self.reply_stored(hub, declare.no_wait, &ok);
        self.last_queue = name;
        Ok(())
    }

    pub(super) fn on_queue_bind(
        &mut self,
        session: &Session,
        bind: &queue::Bind<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        check_text(bind.routing_key)?;
        let name = without_line_ends(bind.queue);
        let queue = self.queue_name(&name)?;
        // RabbitMQ: no queue and no key means that the last declared queue's name is both.
        let routing_key = match (&*name, bind.routing_key) {
            (b"", b"") => &*queue,
            (_, key) => key,
        };
        let source = without_line_ends(bind.exchange);
        let request = bind_request(session, &source, routing_key, bind.arguments);
        let destination = Resource::Queue(&queue);
        hub.core
            .check_binding(session.connection, &request, destination)?;
        hub.core.bind_queue(&request, session.connection, &queue)?;
        self.reply_stored(hub, bind.no_wait, &queue::BindOk {});
        hub.core.replay(&mut hub.outboxes);
        Ok(())
    }

    pub(super) fn on_queue_unbind(
        &mut self,
        session: &Session,
        unbind: &queue::Unbind<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let name = without_line_ends(unbind.queue);
        let queue = self.queue_name(&name)?;
        let routing_key = match (&*name, unbind.routing_key) {
            (b"", b"") => &*queue,
            (_, key) => key,
        };
        let source = without_line_ends(unbind.exchange);
        let request = bind_request(session, &source, routing_key, unbind.arguments);
        let destination = Resource::Queue(&queue);
        hub.core
            .check_binding(session.connection, &request, destination)?;
        hub.core
            .unbind_queue(&request, session.connection, &queue)?;
        self.reply_stored(hub, false, &queue::UnbindOk {});
        Ok(())
    }

    pub(super) fn on_queue_purge(
        &mut self,
        session: &Session,
        purge: &queue::Purge<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let name = without_line_ends(purge.queue);
        let queue = self.queue_name(&name)?;
        session.check_access(Right::Read, Resource::Queue(&queue), hub)?;
        let purged = hub
            .core
            .purge_queue(session.virtual_host, session.connection, &queue)?;
        let ok = queue::PurgeOk {
            message_count: saturated(purged.count),
        };
        if !purge.no_wait {
            hub.gate_purge(self.socket, &purged);
        }
        self.reply(hub, purge.no_wait, &ok);
        Ok(())
    }

    pub(super) fn on_queue_delete(
        &mut self,
        session: &Session,
        delete: &queue::Delete<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let name = without_line_ends(delete.queue);
        let queue = self.queue_name(&name)?;
        session.check_access(Right::Configure, Resource::Queue(&queue), hub)?;
        let count = hub.core.delete_queue(
            session.virtual_host,
            session.connection,
            &queue,
            delete.if_unused,
            delete.if_empty,
        )?;
        let ok = queue::DeleteOk {
            message_count: saturated(count),
        };
        self.reply_stored(hub, delete.no_wait, &ok);
        Ok(())
    }

    pub(super) fn on_exchange_declare(
        &mut self,
        session: &Session,
        declare: &exchange::Declare<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        check_text(declare.exchange)?;
        let name = without_line_ends(declare.exchange);
        if declare.passive {
            hub.core.check_exchange(session.virtual_host, &name)?;
        } else {
            let declaration = ExchangeDeclaration {
                virtual_host: session.virtual_host,
                name: &name,
                kind: declare.kind,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments,
            };
            hub.core
                .check_exchange_declaration(session.connection, &declaration)?;
            hub.core.act_for(session.connection);
            hub.core.declare_exchange(&declaration)?;
        }
        self.reply_stored(hub, declare.no_wait, &exchange::DeclareOk {});
        Ok(())
    }

    pub(super) fn on_exchange_delete(
        &mut self,
        session: &Session,
        delete: &exchange::Delete<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let name = without_line_ends(delete.exchange);
        hub.core
            .check_exchange_deletion(session.connection, &name)?;
        hub.core.act_for(session.connection);
        hub.core
            .delete_exchange(session.virtual_host, &name, delete.if_unused)?;
        self.reply_stored(hub, delete.no_wait, &exchange::DeleteOk {});
        Ok(())
    }

    pub(super) fn on_exchange_bind(
        &mut self,
        session: &Session,
        bind: &exchange::Bind<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        check_text(bind.routing_key)?;
        let source = without_line_ends(bind.source);
        let destination = without_line_ends(bind.destination);
        let request = bind_request(session, &source, bind.routing_key, bind.arguments);
        hub.core.check_binding(
            session.connection,
            &request,
            Resource::Exchange(&destination),
        )?;
        hub.core.act_for(session.connection);
        hub.core.bind_exchange(&request, &destination)?;
        self.reply_stored(hub, bind.no_wait, &exchange::BindOk {});
        hub.core.replay(&mut hub.outboxes);
        Ok(())
    }

    pub(super) fn on_exchange_unbind(
        &mut self,
        session: &Session,
        unbind: &exchange::Unbind<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let source = without_line_ends(unbind.source);
        let destination = without_line_ends(unbind.destination);
        let request = bind_request(session, &source, unbind.routing_key, unbind.arguments);
        hub.core.check_binding(
            session.connection,
            &request,
            Resource::Exchange(&destination),
        )?;
        hub.core.act_for(session.connection);
        hub.core.unbind_exchange(&request, &destination)?;
        self.reply_stored(hub, unbind.no_wait, &exchange::UnbindOk {});
        Ok(())
    }

    /// The queue that a method means: an empty name is the last one declared on the channel.
    pub(super) fn queue_name<'a>(&self, given: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        match (given.is_empty(), self.last_queue.is_empty()) {
            (false, _) => Ok(Cow::Borrowed(given)),
            (true, false) => Ok(Cow::Owned(self.last_queue.clone())),
            (true, true) => Err(Exception::new(
                ReplyCode::NotFound,
                "no previously declared queue",
            )),
        }
    }
}

fn declare_queue(
    session: &Session,
    declare: &queue::Declare<'_>,
    given: &[u8],
    hub: &mut Hub,
) -> Result<(Vec<u8>, QueueCounts)> {
    let generated = given.is_empty();
    let name = if generated {
        hub.generate_name("amq.gen-").into_bytes()
    } else {
        given.to_vec()
    };
    let typed;
    let arguments = match default_type(session, declare, hub) {
        None => declare.arguments,
        Some(kind) => {
            typed = with_type(declare.arguments, kind);
            typed.view()
        }
    };
    let declaration = QueueDeclaration {
        virtual_host: session.virtual_host,
        connection: session.connection,
        name: &name,
        generated,
        // What goes with its connection cannot outlive the broker (RabbitMQ).
        durable: declare.durable && !declare.exclusive,
        exclusive: declare.exclusive,
        auto_delete: declare.auto_delete,
        arguments,
    };
    hub.core.check_queue_declaration(&declaration)?;
    let counts = hub.core.declare_queue(&declaration)?;
    Ok((name, counts))
}

/// The type of the virtual host, or of the broker, for a queue that says none and can be of that type
/// (RabbitMQ: `default_queue_type`).
fn default_type<'a>(
    session: &Session,
    declare: &queue::Declare<'_>,
    hub: &'a Hub,
) -> Option<&'a str> {
    let of_host = hub.core.default_queue_type(session.virtual_host);
    let kind = of_host.or(hub.config.default_queue_type.as_deref())?;
    let fits = match kind {
        "classic" => true,
        "quorum" | "stream" => declare.durable && !declare.exclusive && !declare.auto_delete,
        _ => false,
    };
    (fits && declare.arguments.get(QUEUE_TYPE).is_none()).then_some(kind)
}

fn with_type(arguments: Table<'_>, kind: &str) -> TableBuilder {
    let mut typed = TableBuilder::from_table(arguments);
    typed.put(QUEUE_TYPE, kind);
    typed
}

fn bind_request<'a>(
    session: &Session,
    source: &'a [u8],
    routing_key: &'a [u8],
    arguments: Table<'a>,
) -> BindRequest<'a> {
    BindRequest {
        virtual_host: session.virtual_host,
        source,
        routing_key,
        arguments,
    }
}

/// New names must be UTF-8 (RabbitMQ), since they are shown to people and travel as JSON. What names
/// nothing new is only looked up.
pub(super) fn check_text(name: &[u8]) -> Result<()> {
    if std::str::from_utf8(name).is_ok() {
        return Ok(());
    }
    let exception = Exception::new(ReplyCode::FrameError, "Malformed UTF-8 in shortstr");
    Err(exception.of((0, 0)))
}

/// RabbitMQ takes line ends out of names.
pub(super) fn without_line_ends(name: &[u8]) -> Cow<'_, [u8]> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !name.iter().any(is_line_end) {
        return Cow::Borrowed(name);
    }
    let kept = name.iter().copied().filter(|byte| !is_line_end(byte));
    Cow::Owned(kept.collect())
}

/// Counts on the wire have 32 bits.
fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
