//! What the core knows of a client's connection: who it is, and what ends with it.

use std::collections::BTreeSet;

use crate::slots::Key;

use super::channel::ChannelKey;
use super::name::Name;
use super::outlet::SocketKey;
use super::queue::QueueKey;
use super::virtual_host::VirtualHostKey;

pub type ConnectionKey = Key<Connection>;

/// An open connection.
pub struct Connection {
    pub socket: SocketKey,
    pub virtual_host: VirtualHostKey,
    pub user: Name,
    /// `127.0.0.1:54321 -> 127.0.0.1:5672`: how operators know it.
    pub name: Name,
    /// In order of opening.
    pub channels: Vec<ChannelKey>,
    /// Queues that only it may use, and that go with it; in order of declaration.
    pub exclusive_queues: BTreeSet<QueueKey>,
    /// RabbitMQ: consumer cancel notification. Whether the client announced that it understands a
    /// `basic.cancel` from the broker.
    pub wants_cancel_notify: bool,
    /// Why it is to be closed: its user or its virtual host is gone.
    pub doom: Option<Box<str>>,
}
