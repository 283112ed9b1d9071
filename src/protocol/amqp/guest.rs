//! A user who is there for one errand only: what an AMQP client could do on a channel, without a socket.
//! The same handlers do it, so permissions, their order and all texts are those of AMQP.

use bytes::Bytes;
use crossbeam_channel::Receiver;

use crate::broker::browse::{Glance, Wanted};
use crate::broker::message::OwnedMessage;
use crate::broker::queue::Entry;
use crate::broker::redrive::{Earnest, Redriven, Target};
use crate::broker::topology::exchange::ExchangeKey;
use crate::broker::{Getting, Got, Name, Published, QueueKey, Settlement, SocketKey};
use crate::protocol::Hub;
use crate::protocol::page_readers::Page;
use crate::wire::amqp::method::{basic, exchange, queue};
use crate::wire::amqp::{ReplyCode, Table};

use super::channel::{Channel, Mode};
use super::connection::Session;
use super::content::Content;
use super::exception::{Exception, Result};
use super::publish::Publication;
use crate::broker::access::{Resource, Right};

/// A connection with one channel, from the beginning of an errand to its end.
pub struct Guest<'h> {
    hub: &'h mut Hub,
    session: Session,
    channel: Channel,
}

/// The two ends of a binding, and what is between them.
#[derive(Clone, Copy)]
pub struct GuestBinding<'a> {
    pub source: &'a [u8],
    pub destination: &'a [u8],
    /// The destination is an exchange (RabbitMQ: exchange to exchange bindings).
    pub to_exchange: bool,
    pub routing_key: &'a [u8],
    pub arguments: Table<'a>,
}

/// What became of messages that were to be moved. Others had left their queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedriveCounts {
    pub moved: usize,
    /// Nobody took them: they are where they were.
    pub stayed: usize,
}

impl Hub {
    /// Does work as a user in a virtual host; an empty name is the operator's, who may do everything.
    /// What it leaves unsettled goes back to its queues, and the errand's outcome is told when what was
    /// changed is stored.
    ///
    /// # Errors
    /// There is no such virtual host, or the user may not come in; else what the work says.
    pub fn as_guest<T>(
        &mut self,
        user: &str,
        virtual_host: &str,
        work: impl FnOnce(&mut Guest<'_>) -> Result<T>,
    ) -> Result<T> {
        let key = self.core.virtual_host(virtual_host.as_bytes())?;
        self.core.check_open(key, user.as_bytes())?;
        let user = Name::from(user);
        let name = Name::from("management");
        let connection = self
            .core
            .open_connection(SocketKey::NONE, key, user.clone(), name, false);
        let session = Session {
            socket: SocketKey::NONE,
            connection,
            virtual_host: key,
            user,
        };
        let channel = Channel::open(&session, 1, self);
        let mut guest = Guest {
            hub: self,
            session,
            channel,
        };
        let outcome = work(&mut guest);
        self.core.close_connection(connection);
        outcome
    }
}

impl Guest<'_> {
    /// `queue.declare`
    pub fn declare_queue(
        &mut self,
        name: &[u8],
        durable: bool,
        auto_delete: bool,
        arguments: Table<'_>,
    ) -> Result<()> {
        let declare = queue::Declare {
            queue: name,
            durable,
            auto_delete,
            arguments,
            ..queue::Declare::default()
        };
        self.channel
            .on_queue_declare(&self.session, &declare, self.hub)
    }

    /// `queue.delete`
    pub fn delete_queue(&mut self, name: &[u8], if_unused: bool, if_empty: bool) -> Result<()> {
        let delete = queue::Delete {
            queue: name,
            if_unused,
            if_empty,
            ..queue::Delete::default()
        };
        self.channel
            .on_queue_delete(&self.session, &delete, self.hub)
    }

    /// `queue.purge`
    pub fn purge_queue(&mut self, name: &[u8]) -> Result<()> {
        let purge = queue::Purge {
            queue: name,
            ..queue::Purge::default()
        };
        self.channel.on_queue_purge(&self.session, &purge, self.hub)
    }

    /// `exchange.declare`
    pub fn declare_exchange(&mut self, declare: &exchange::Declare<'_>) -> Result<()> {
        self.channel
            .on_exchange_declare(&self.session, declare, self.hub)
    }

    /// `exchange.delete`
    pub fn delete_exchange(&mut self, name: &[u8], if_unused: bool) -> Result<()> {
        let delete = exchange::Delete {
            exchange: name,
            if_unused,
            ..exchange::Delete::default()
        };
        self.channel
            .on_exchange_delete(&self.session, &delete, self.hub)
    }

    /// `queue.bind` or `exchange.bind`
    pub fn bind(&mut self, binding: &GuestBinding<'_>) -> Result<()> {
        if binding.to_exchange {
            let bind = exchange::Bind {
                destination: binding.destination,
                source: binding.source,
                routing_key: binding.routing_key,
                arguments: binding.arguments,
                ..exchange::Bind::default()
            };
            return self
                .channel
                .on_exchange_bind(&self.session, &bind, self.hub);
        }
        let bind = queue::Bind {
            queue: binding.destination,
            exchange: binding.source,
            routing_key: binding.routing_key,
            arguments: binding.arguments,
            ..queue::Bind::default()
        };
        self.channel.on_queue_bind(&self.session, &bind, self.hub)
    }

    /// `queue.unbind` or `exchange.unbind`
    pub fn unbind(&mut self, binding: &GuestBinding<'_>) -> Result<()> {
        if binding.to_exchange {
            let unbind = exchange::Unbind {
                destination: binding.destination,
                source: binding.source,
                routing_key: binding.routing_key,
                arguments: binding.arguments,
                ..exchange::Unbind::default()
            };
            return self
                .channel
                .on_exchange_unbind(&self.session, &unbind, self.hub);
        }
        let unbind = queue::Unbind {
            queue: binding.destination,
            exchange: binding.source,
            routing_key: binding.routing_key,
            arguments: binding.arguments,
            ..queue::Unbind::default()
        };
        self.channel
            .on_queue_unbind(&self.session, &unbind, self.hub)
    }

    /// `basic.publish` with confirms. A guest does not wait: while publishers are blocked it is refused.
    pub fn publish(
        &mut self,
        exchange: &[u8],
        routing_key: &[u8],
        properties: &[u8],
        body: Bytes,
    ) -> Result<Published> {
        if body.len() as u64 > self.hub.message_size_max() {
            let size_max = self.hub.message_size_max();
            let text = format!(
                "message size {} is larger than configured max size {size_max}",
                body.len()
            );
            return Err(Exception::new(ReplyCode::PreconditionFailed, text));
        }
        self.check_unblocked()?;
        let content = Content {
            method: basic::Publish {
                exchange,
                routing_key,
                ..basic::Publish::default()
            },
            properties,
            body,
        };
        self.channel.mode = Mode::Watched(None);
        let publication = Publication::of_content(&content);
        self.channel
            .publish(&self.session, &publication, self.hub)?;
        let published = match self.channel.mode {
            Mode::Watched(Some(published)) => published,
            _ => Published::Taken,
        };
        if published == Published::Journaled {
            self.hub.gate(SocketKey::NONE);
        }
        Ok(published)
    }

    /// `basic.get`
    pub fn get(
        &mut self,
        queue: &[u8],
        no_ack: bool,
        answer: impl FnOnce(Got<'_>),
    ) -> Result<Getting> {
        self.session
            .check_access(Right::Read, Resource::Queue(queue), self.hub)?;
        let hub = &mut *self.hub;
        Ok(hub.core.get(self.channel.key, queue, no_ack, answer)?)
    }

    /// Looks into a queue without a trace. What was paged out comes as pages, one for each block.
    ///
    /// # Errors
    /// As [`Guest::get`].
    pub fn browse(&mut self, queue: &[u8], wanted: &Wanted) -> Result<(Glance, Receiver<Page>)> {
        let key = self.readable_queue(queue)?;
        let glance = self.hub.core.browse(key, wanted);
        let absent = glance.seen.iter().filter(|seen| seen.message.is_none());
        let mut blocks: Vec<u64> = absent.map(|seen| seen.entry.message().block()).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let pages = self.hub.read_pages(&blocks);
        Ok((glance, pages))
    }

    /// Moves messages that were seen in a queue ([`Guest::browse`]), in their order: through an exchange,
    /// or with `None` back to where they died. The errand's outcome is told when they are stored there.
    ///
    /// # Errors
    /// As [`Guest::get`] for the queue, and as [`Guest::publish`] for the target: the default exchange,
    /// where they go back.
    pub fn redrive(
        &mut self,
        queue: &[u8],
        messages: &[(Entry, OwnedMessage)],
        to: Option<(&[u8], Option<&[u8]>)>,
        earnest: Earnest,
    ) -> Result<RedriveCounts> {
        let key = self.readable_queue(queue)?;
        let (exchange, routing_key) = to.unwrap_or_default();
        self.session
            .check_access(Right::Write, Resource::Exchange(exchange), self.hub)?;
        let core = &self.hub.core;
        let exchange_key = core.exchange(self.session.virtual_host, exchange)?;
        core.check_publishable(exchange_key)?;
        if let Some(routing_key) = routing_key {
            self.check_topic(exchange_key, routing_key)?;
        }
        self.check_unblocked()?;
        let target = match to {
            None => Target::Source,
            Some(_) => Target::Exchange {
                key: exchange_key,
                name: exchange,
                routing_key,
            },
        };
        let mut counts = RedriveCounts::default();
        for (entry, message) in messages {
            let message = message.message();
            let own_key = routing_key.unwrap_or(message.routing_key);
            let redriven = match self.check_topic(exchange_key, own_key) {
                Ok(()) => {
                    let Hub { core, outboxes, .. } = &mut *self.hub;
                    core.redrive(key, *entry, &message, (target, earnest), outboxes)
                }
                Err(_) => Redriven::Stays,
            };
            match redriven {
                Redriven::Moved => counts.moved += 1,
                Redriven::Stays => counts.stayed += 1,
                Redriven::Gone => {}
            }
        }
        if self.hub.core.has_journal() && earnest == Earnest::Done {
            self.hub.gate(SocketKey::NONE);
        }
        Ok(counts)
    }

    fn check_topic(&self, exchange: ExchangeKey, routing_key: &[u8]) -> Result<()> {
        let connection = self.session.connection;
        let core = &self.hub.core;
        Ok(core.check_topic_access(connection, Right::Write, exchange, routing_key)?)
    }

    /// The queue of that name, if the user may read it and nobody else has it for himself.
    fn readable_queue(&self, name: &[u8]) -> Result<QueueKey> {
        self.session
            .check_access(Right::Read, Resource::Queue(name), self.hub)?;
        let Session {
            virtual_host,
            connection,
            ..
        } = self.session;
        Ok(self.hub.core.queue_for(virtual_host, connection, name)?)
    }

    /// A guest does not wait.
    fn check_unblocked(&self) -> Result<()> {
        if !self.hub.holds_publishers() {
            return Ok(());
        }
        let why = self.hub.alarm().unwrap_or("the disk is behind").to_owned();
        Err(Exception::new(ReplyCode::ResourceError, why))
    }

    /// Settles all that was got.
    pub fn settle_all(&mut self, settlement: Settlement) -> Result<()> {
        let channel = self.channel.key;
        match self.hub.core.settle(channel, 0, true, settlement) {
            Err(error) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    }
}
