//! Who holds a delivery for too long loses it (RabbitMQ: consumer timeout).

use super::*;
use crate::{Check, ensure};

/// Who holds deliveries on a channel: a consumer, or the channel itself what it got by hand from a queue.
/// By their numbers.
pub(super) type Holder = (Option<u64>, u64);

impl Unacked {
    fn holder(&self) -> Holder {
        match self.consumer {
            Some(consumer) => (Some(consumer), 0),
            None => (None, self.queue),
        }
    }

    fn is_overdue(&self, now_ms: u64) -> bool {
        let due_ms = self.timeout_ms.map(|timeout_ms| self.since_ms + timeout_ms);
        due_ms.is_some_and(|due_ms| due_ms <= now_ms)
    }
}

impl Channel {
    /// What is timed is timed by this from now on.
    pub(super) fn retime(&mut self, holder: Holder, timeout_ms: Option<u64>) {
        let held = self.held_mut().filter(|unacked| unacked.holder() == holder);
        for unacked in held.filter(|unacked| unacked.timeout_ms.is_some()) {
            unacked.timeout_ms = timeout_ms;
        }
    }

    /// Consumers in the order of their coming, then the channel itself.
    fn overdue(&self, now_ms: u64) -> Vec<Holder> {
        let overdue = self.held().filter(|unacked| unacked.is_overdue(now_ms));
        let holders: BTreeSet<_> = overdue
            .map(|unacked| (unacked.consumer.is_none(), unacked.holder(), unacked.queue))
            .collect();
        holders.into_iter().map(|(_, holder, _)| holder).collect()
    }

    fn queue_of(&self, holder: Holder) -> Option<u64> {
        let mut held = self.held();
        let found = held.find(|unacked| unacked.holder() == holder);
        found.map(|unacked| unacked.queue)
    }
}

impl Model {
    /// 0 is none, whoever says it.
    pub(super) fn timeout_of(&self, own_ms: Option<u64>, rules: &Rules) -> Option<u64> {
        let told = own_ms.or(rules.consumer_timeout_ms);
        let told = told.or(self.limits.consumer_timeout_ms);
        told.filter(|timeout_ms| *timeout_ms > 0)
    }

    /// The queue's timeout may be another now.
    pub(super) fn retime_consumers(&mut self, name: &str) {
        let timeout_ms = self.timeout_of(None, &self.queues[name].rules);
        let queue = self.queues.get_mut(name).expect("the caller found it");
        let consumers = queue.consumers.iter_mut();
        for consumer in consumers.filter(|it| it.own_timeout_ms.is_none()) {
            consumer.timeout_ms = timeout_ms;
            let channels = &mut self.connections[consumer.at.0].channels;
            let channel = channels.get_mut(&consumer.at.1);
            let channel = channel.expect("a consumer has a channel");
            channel.retime((Some(consumer.number), 0), timeout_ms);
        }
    }

    /// The connection was given the chance to look at its deadlines.
    pub fn time_out_deliveries(&mut self, connection: usize) {
        let channels = &self.connections[connection].channels;
        let mut overdue: Vec<_> = channels
            .iter()
            .map(|(number, channel)| (*number, channel.overdue(self.now_ms)))
            .collect();
        // Which channel is looked at first is the broker's choice.
        let closed = self.closed_channels(connection);
        let place = |number: &u16| closed.iter().position(|it| it == number);
        overdue.sort_by_key(|(number, _)| place(number));
        let mut closing = Vec::new();
        for (number, holders) in overdue {
            let at = (connection, number);
            for holder in holders {
                let queue = self.channel(at).queue_of(holder);
                self.channel(at).retime(holder, None);
                // Nobody waits for the messages of a queue that is gone.
                if queue.and_then(|queue| self.name_of(queue)).is_none() {
                    continue;
                }
                if !self.take_back(at, holder) {
                    closing.push(at);
                    break;
                }
            }
        }
        for at in closing {
            self.channel_exception(at, 406, (0, 0));
        }
    }

    /// The channels of the connection that were closed in this call, in this order.
    fn closed_channels(&self, connection: usize) -> Vec<u16> {
        let outputs = self.step.outputs.iter();
        let own = outputs.filter(|(to, _)| *to == connection);
        let closes = own.flat_map(|(_, events)| events);
        closes
            .filter(|event| event.payload.starts_with(&[0, 20, 0, 40]))
            .map(|event| event.channel)
            .collect()
    }

    /// Ends the consumer and gives back what it holds; whether that was possible.
    fn take_back(&mut self, at: At, (consumer, _): Holder) -> bool {
        let mut all = self.queues.values().flat_map(|queue| &queue.consumers);
        let found = all.find(|it| Some(it.number) == consumer);
        let Some(tag) = found.map(|consumer| consumer.tag.clone()) else {
            return false;
        };
        if !self.connections[at.0].wants_cancels {
            return false;
        }
        self.step.cancels.insert((at, tag));
        self.remove_consumer(consumer.expect("it was found"));
        let channel = self.channel(at);
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut channel.unacked)
            .into_iter()
            .partition(|unacked| unacked.consumer == consumer);
        channel.unacked = kept;
        let tags = taken.iter().map(|unacked| unacked.delivery_tag);
        channel.forgiven.extend(tags);
        for unacked in taken {
            self.settle_one(unacked, Settlement::Failed, at.1.into());
        }
        true
    }

    /// Its deadlines were looked at: nobody holds anything for too long.
    pub fn check_held(&self, connection: usize) -> Check {
        for (number, channel) in &self.connections[connection].channels {
            let overdue = channel
                .held()
                .find(|unacked| unacked.is_overdue(self.now_ms));
            ensure!(
                overdue.is_none_or(|it| self.name_of(it.queue).is_none()),
                "channel {number} of connection {connection} holds {:?} for too long",
                overdue.map(|unacked| &unacked.entry)
            );
        }
        Ok(())
    }
}
