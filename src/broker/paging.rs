//! Messages that are not in memory: who waits for them, and what happens when they come.

use super::Core;
use super::dead_letter::Reason;
use super::message::{MessageId, PageWork};
use super::outlet::SocketKey;
use super::queue::{Entry, QueueKey};

/// Who waits for a block to be read back.
#[derive(Default)]
pub(super) struct PageWaiters {
    queues: Vec<QueueKey>,
    /// Clients that want a message by hand.
    sockets: Vec<SocketKey>,
}

impl Core {
    /// Pages messages out until those in memory fit the budget, a few blocks at a time. From `unstored`
    /// on, what was written down may not be stored yet, so that it could not be read back.
    pub fn page_out(&mut self, budget_bytes: usize, unstored: Option<MessageId>) {
        let unstored = unstored.map_or(u64::MAX, MessageId::block);
        self.messages.page_out(budget_bytes, unstored);
    }

    /// What the store is to do for paging.
    pub fn take_page_work(&mut self) -> PageWork {
        std::mem::take(&mut self.messages.page_work)
    }

    /// Bytes of messages that the store has not taken: written down, or paged out.
    pub fn bytes_for_store(&self) -> usize {
        self.journal_bytes() + self.messages.page_work.image_bytes()
    }

    /// A block was read back. Its queues go on delivering with the next
    /// [`deliver_fresh`](Core::deliver_fresh); the sockets returned are to ask again.
    pub fn page_in(&mut self, block: u64, encoded: &[u8]) -> Vec<SocketKey> {
        self.messages.page_in(block, encoded);
        let waiters = self.page_waiters.remove(&block).unwrap_or_default();
        self.morgue.on_block(block);
        for key in waiters.queues {
            if let Some(queue) = self.traffic.queues.get_mut(key) {
                queue.awaited_block = None;
                self.traffic.list(key);
            }
        }
        waiters.sockets
    }

    /// The next message cannot be delivered now: it must be read back, or is lost and passed over.
    /// Whether the queue can go on at once.
    pub(super) fn pass_absent(&mut self, key: QueueKey, entry: Entry) -> bool {
        if !self.messages.is_paged_out(entry.message()) {
            self.pass_lost(key, entry);
            return true;
        }
        self.messages.request(entry.message());
        let block = entry.message().block();
        let queue = &mut self.traffic.queues[key];
        queue.listed = false;
        if queue.awaited_block != Some(block) {
            queue.awaited_block = Some(block);
            self.page_waiters.entry(block).or_default().queues.push(key);
        }
        false
    }

    /// The queue's next message that is in memory; if it must be read back first, its block.
    pub(super) fn next_present(&mut self, key: QueueKey) -> Result<Option<Entry>, u64> {
        while let Some(entry) = self.traffic.queues[key].ready.peek() {
            if let Some(message) = self.messages.get(entry.message()) {
                let queue = &self.traffic.queues[key];
                if !queue.has_expired(entry.message(), &message, self.now_ms) {
                    return Ok(Some(entry));
                }
                self.pass_expired(key, entry);
                continue;
            }
            if self.messages.is_paged_out(entry.message()) {
                self.messages.request(entry.message());
                return Err(entry.message().block());
            }
            self.pass_lost(key, entry);
        }
        Ok(None)
    }

    pub(super) fn await_block(&mut self, block: u64, socket: SocketKey) {
        self.page_waiters
            .entry(block)
            .or_default()
            .sockets
            .push(socket);
    }

    /// The queue's next message has expired, and nobody came yet to take it out.
    pub(super) fn pass_expired(&mut self, key: QueueKey, entry: Entry) {
        self.traffic.queues[key].ready.pop();
        self.uncount_body(key, entry.message());
        self.forget_message(key, entry.message());
        self.die(key, entry, Reason::Expired);
    }

    /// Lets go of a message that the store could not give back.
    fn pass_lost(&mut self, key: QueueKey, entry: Entry) {
        let queue = &mut self.traffic.queues[key];
        queue.ready.pop();
        let id = queue.id;
        self.forget_message(key, entry.message());
        self.let_go(id, entry.message());
    }
}
