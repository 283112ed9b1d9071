//! The way out of the core: where deliveries go, and what it asks of others.
//!
//! A delivery is written at once, straight into the outbox of the consumer's socket, while the
//! message may still lie in the publisher's read buffer (cut-through, DESIGN §3). So the core is
//! handed an [`Outlet`] with every command that can cause deliveries, and knows nothing of frames.

use crate::slots::Key;

use super::message::Message;
use super::name::Name;
use super::trace::TracedDelivery;

/// Names a socket, its protocol machine and its outbox alike.
pub type SocketKey = Key<Socket>;

/// Only a type tag: sockets live in `server/`, outboxes in `protocol/`.
pub struct Socket;

/// One message on its way to one consumer (or to who asked with `basic.get`).
pub struct Delivery<'a> {
    pub socket: SocketKey,
    pub channel: u16,
    pub consumer_tag: &'a [u8],
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub message: Message<'a>,
}

/// Writes deliveries towards sockets; implemented by the outboxes.
pub trait Outlet {
    /// Whether the socket may get another delivery. After a `false` the outlet reports the socket
    /// once it has room again (`Core::on_room`).
    fn has_room(&mut self, socket: SocketKey) -> bool;

    /// Whether so much waits for the socket that even what cannot wait elsewhere must be dropped.
    fn is_flooded(&self, socket: SocketKey) -> bool;

    /// Takes the delivery, room or not.
    fn deliver(&mut self, delivery: &Delivery<'_>);
}

/// What a command caused beyond its own answer. Collected while it runs, carried out right after
/// its answer was written, so that a client reads `queue.delete-ok` before `basic.cancel`.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The consumer is gone because its queue is (RabbitMQ: consumer cancel notification).
    ConsumerCancelled {
        socket: SocketKey,
        channel: u16,
        consumer_tag: Name,
    },
    /// The connection is to be closed ([`super::Core::doom`] says why).
    ConnectionDoomed { socket: SocketKey },
    /// A delivery was made that is to be traced (RabbitMQ: firehose; [`super::Core::trace_delivery`]).
    Traced(Box<TracedDelivery>),
}
