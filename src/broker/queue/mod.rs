//! Queues: messages in order, and whose turn it is to get them.

mod agenda;
pub mod arguments;
mod dispatch;
mod entry;
mod line;
mod packed;
mod ready;

pub use agenda::Agenda;
pub use arguments::QueueArguments;
pub use dispatch::Dispatch;
pub use entry::Entry;
pub use packed::PackedIds;
pub use ready::Ready;

use super::connection::ConnectionKey;
use super::counters::QueueCounters;
use super::journal::QueueId;
use super::name::Name;
use super::topology::BindingSet;
use super::virtual_host::VirtualHostKey;
use crate::slots::Key;
use crate::wire::amqp::field_table::OwnedTable;

pub type QueueKey = Key<Queue>;

/// A message queue (AMQP 0-9-1 §3.1.2).
pub struct Queue {
    pub name: Name,
    pub virtual_host: VirtualHostKey,
    pub durable: bool,
    /// Goes with its last consumer; one that never had any stays (AMQP 0-9-1 §1.7.2.1).
    pub auto_delete: bool,
    /// The only connection that may use it, and with which it goes (`exclusive`).
    pub owner: Option<ConnectionKey>,
    /// As they came: shown, and compared when it is declared again.
    pub declared_arguments: OwnedTable,
    pub arguments: QueueArguments,
    pub bindings: BindingSet,
    pub ready: Ready,
    /// Deliveries of its messages that wait for their ack.
    pub unacked: usize,
    pub dispatch: Dispatch,
    /// An exclusive consumer has it for itself.
    pub exclusively_consumed: bool,
    /// What the store knows it by, if it survives the broker.
    pub id: Option<QueueId>,
    /// The block that its next message is in, while that is read back.
    pub awaited_block: Option<u64>,
    /// On a list of queues to deliver from: it has messages and somebody to take them.
    pub listed: bool,
    /// The last routing pass that came by.
    pub visited: u64,
    pub counters: QueueCounters,
}
