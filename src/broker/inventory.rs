//! How much of everything there is: for management, and for tests that look for leaks.

use super::Core;

/// Counts of what the broker holds at one moment, all virtual hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub connections: usize,
    pub channels: usize,
    pub consumers: usize,
    /// Channels that wait for answers (RabbitMQ: direct reply-to).
    pub reply_consumers: usize,
    /// With those that every virtual host is born with.
    pub exchanges: usize,
    pub queues: usize,
    /// Without those of the default exchange, which every queue has.
    pub bindings: usize,
    /// Messages in memory, each once however many queues have it; those of a purged or deleted queue
    /// until [`Core::tidy`] is done with them.
    pub messages: usize,
    /// In queues, for anybody to take.
    pub messages_ready: usize,
    /// Delivered and not settled, as the queues count them: without those whose queue is gone.
    pub messages_unacked: usize,
}

impl Core {
    /// Counts what there is. Walks over queues, exchanges and message blocks, but over no message.
    pub fn inventory(&self) -> Inventory {
        let queues = || self.traffic.queues.iter().map(|(_, queue)| queue);
        let exchanges = || self.exchanges.iter().map(|(_, exchange)| exchange);
        Inventory {
            connections: self.connections.len(),
            channels: self.traffic.channels.len(),
            consumers: self.traffic.consumers.len(),
            reply_consumers: self.reply_addresses.len(),
            exchanges: self.exchanges.len(),
            queues: self.traffic.queues.len(),
            bindings: exchanges().map(|exchange| exchange.outgoing.len()).sum(),
            messages: self.messages.count(),
            messages_ready: queues().map(|queue| queue.ready.len()).sum(),
            messages_unacked: queues().map(|queue| queue.unacked).sum(),
        }
    }

    /// Blocks of messages that only the store has at the moment, ascending.
    pub fn paged_out_blocks(&self) -> Vec<u64> {
        self.messages.paged_out_blocks()
    }
}
