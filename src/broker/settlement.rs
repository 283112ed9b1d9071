//! What clients say of the messages they hold: ack, reject, nack, recover.

use super::Core;
use super::attempts::Return;
use super::channel::ChannelKey;
use super::dead_letter::Reason;
use super::error::{Error, Result};
use super::journal::QueueId;
use super::message::MessageId;
use super::queue::QueueKey;
use super::unacked::Unacked;

/// What is to happen with settled messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Processed: the message is done with.
    Acked,
    /// Back to its place in the queue: not processed, for no fault of the message (RabbitMQ:
    /// `basic.nack` with requeue, `basic.recover`).
    Returned,
    /// The same, and processing failed (`basic.reject` with requeue, or the channel ended).
    Failed,
    /// Refused for good.
    Rejected,
}

impl Core {
    /// Settles the delivery with this tag, or with `multiple` all up to it; tag 0 with `multiple`
    /// means all there are (AMQP 0-9-1 §1.8.3.13). A tag that is not outstanding is a
    /// `PRECONDITION_FAILED`, also with `multiple`, as RabbitMQ has it.
    #[inline]
    pub fn settle(
        &mut self,
        channel: ChannelKey,
        delivery_tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<()> {
        if !multiple {
            let taken = self.traffic.channels[channel].unacked.take(delivery_tag);
            match taken {
                Some(taken) => self.finish(channel, &taken, settlement),
                None if self.is_forgiven(channel, delivery_tag) => {}
                None => return Err(unknown_delivery_tag(delivery_tag)),
            }
            return Ok(());
        }
        let last = self.last_tag(channel, delivery_tag)?;
        while let Some(taken) = self.traffic.channels[channel].unacked.take_oldest(last) {
            self.finish(channel, &taken, settlement);
        }
        Ok(())
    }

    /// Like [`Core::settle`], but only takes the deliveries out, for a transaction to finish or to
    /// put back.
    pub fn take_unacked(
        &mut self,
        channel: ChannelKey,
        delivery_tag: u64,
        multiple: bool,
        into: &mut Vec<Unacked>,
    ) -> Result<()> {
        let last = self.last_tag(channel, delivery_tag);
        let unacked = &mut self.traffic.channels[channel].unacked;
        if !multiple {
            match unacked.take(delivery_tag) {
                Some(taken) => into.push(taken),
                None if self.is_forgiven(channel, delivery_tag) => {}
                None => return Err(unknown_delivery_tag(delivery_tag)),
            }
            return Ok(());
        }
        let last = last?;
        into.extend(std::iter::from_fn(|| unacked.take_oldest(last)));
        Ok(())
    }

    /// Gives a rolled back transaction its deliveries back.
    pub fn restore_unacked(&mut self, channel: ChannelKey, taken: Vec<Unacked>) {
        self.traffic.channels[channel].unacked.restore(taken);
    }

    /// Requeues everything that the channel holds (`basic.recover` with requeue).
    pub fn recover(&mut self, channel: ChannelKey) {
        while let Some(taken) = self.traffic.channels[channel].unacked.take_oldest(u64::MAX) {
            self.finish(channel, &taken, Settlement::Returned);
        }
    }

    /// Carries out the settlement of a delivery that was taken out of its channel's ring.
    #[inline]
    pub fn finish(&mut self, channel: ChannelKey, taken: &Unacked, settlement: Settlement) {
        match self.traffic.queues.get_mut(taken.queue) {
            Some(queue) => match settlement {
                Settlement::Acked => {
                    queue.counters.acked += 1;
                    let (id, has_memory) = (queue.id, queue.has_memory);
                    if has_memory {
                        self.forget_message(taken.queue, taken.entry.message());
                    }
                    self.let_go(id, taken.entry.message());
                }
                Settlement::Rejected => {
                    self.forget_message(taken.queue, taken.entry.message());
                    self.die(taken.queue, taken.entry, Reason::Rejected);
                }
                Settlement::Returned => self.requeue(taken.queue, taken.entry, Return::Unused),
                Settlement::Failed => self.requeue(taken.queue, taken.entry, Return::Failed),
            },
            // Its queue is gone, which leaves nothing to go back to.
            None => {
                let id = self.grave(taken.queue);
                self.let_go(id, taken.entry.message());
            }
        }
        self.traffic
            .give_credit(channel, taken, settlement == Settlement::Acked);
        if matches!(settlement, Settlement::Returned | Settlement::Failed) {
            self.traffic.list(taken.queue);
        }
    }

    /// One queue less holds the message, and the store hears of it if it has to.
    #[inline]
    pub(super) fn let_go(&mut self, queue: Option<QueueId>, message: MessageId) {
        let stored = self.messages.release(message);
        if stored
            && let Some(queue) = queue
            && let Some(journal) = &mut self.journal
        {
            journal.acks.push((queue, message));
        }
    }

    /// What the store called a queue that was deleted while its deliveries were out.
    fn grave(&mut self, queue: QueueKey) -> Option<QueueId> {
        let (id, unacked) = self.graves.get_mut(&queue)?;
        let id = *id;
        *unacked -= 1;
        if *unacked == 0 {
            self.graves.remove(&queue);
        }
        Some(id)
    }

    /// The last tag that `multiple` with this tag means.
    fn last_tag(&self, channel: ChannelKey, delivery_tag: u64) -> Result<u64> {
        match delivery_tag {
            0 => Ok(u64::MAX),
            tag if self.traffic.channels[channel].unacked.contains(tag) => Ok(tag),
            tag if self.is_forgiven(channel, tag) => Ok(tag),
            tag => Err(unknown_delivery_tag(tag)),
        }
    }
}

fn unknown_delivery_tag(delivery_tag: u64) -> Error {
    Error::PreconditionFailed(format!("unknown delivery tag {delivery_tag}"))
}
