//! Who got what: order, turns and limits of deliveries.
//!
//! Which consumer gets a message is the broker's choice within rules, so the rules are checked:
//!
//! - a queue gives its messages away from its front;
//! - one consumer's messages come in the order of the queue;
//! - nobody holds more than a prefetch limit allows;
//! - of a group only one message is with anybody;
//! - of a queue with a single active consumer nobody else gets any;
//! - nobody is passed over: not by one of lower priority, and not twice by one of the same. This
//!   counts for consumers who could have taken a message at any time since, as far as can be known
//!   from outside: their outbox was never full.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Check, ensure};

impl Model {
    /// Takes the deliveries of a call into account, all at once.
    pub(super) fn match_deliveries(&mut self) -> Check {
        let mut by_queue: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
        for delivery in std::mem::take(&mut self.step.deliveries) {
            let queue = self.queue_of(delivery.consumer);
            by_queue.entry(queue).or_default().push(delivery);
        }
        for (name, deliveries) in by_queue {
            self.take_deliveries(&name, &deliveries)
                .map_err(|error| format!("queue {name}: {error}"))?;
        }
        for (name, consumer) in std::mem::take(&mut self.step.served) {
            self.check_turn(&name, consumer)
                .map_err(|error| format!("queue {name}: {error}"))?;
        }
        self.note_who_is_able();
        Ok(())
    }

    /// With nothing left to do, no message is ready for somebody who could have it.
    pub(super) fn check_nobody_waits(&self) -> Check {
        for (name, queue) in self
            .queues
            .iter()
            .filter(|(_, queue)| !queue.ready.is_empty())
        {
            // Its next message is being read back.
            let busy = self.busy_groups(queue);
            let heads = match queue.rules.group_key {
                // What group a message is of is known when it is there.
                Some(_) => queue.ready.iter().collect(),
                None => queue.heads(),
            };
            if heads.iter().any(|head| self.is_paged_out(&head.message)) {
                continue;
            }
            if queue.heads_but(&busy).is_empty() {
                continue;
            }
            let waiting = queue
                .consumers
                .iter()
                .find(|consumer| self.is_able(consumer));
            if let Some(consumer) = waiting {
                return Err(format!(
                    "queue {name}: {} ready, but consumer {} on {:?} gets none",
                    queue.ready.len(),
                    consumer.tag,
                    consumer.at
                ));
            }
        }
        Ok(())
    }

    pub(super) fn queue_of(&self, consumer: u64) -> String {
        let has = |queue: &Queue| queue.consumers.iter().any(|c| c.number == consumer);
        let found = self.queues.iter().find(|(_, queue)| has(queue));
        found.expect("a consumer has a queue").0.clone()
    }

    /// Moves messages from the queue to who got them.
    fn take_deliveries(&mut self, name: &str, deliveries: &[Delivered]) -> Check {
        for delivery in self.order_of(name, deliveries)? {
            self.take_delivery(name, delivery)?;
            self.step.served.push((name.to_owned(), delivery.consumer));
        }
        Ok(())
    }

    pub(super) fn take_delivery(&mut self, name: &str, delivery: &Delivered) -> Check {
        let queue = self.queues.get_mut(name).expect("the caller found it");
        let place = queue.ready.iter().position(|e| e.place == delivery.place);
        let entry = queue
            .ready
            .remove(place.expect("it was found in the queue"));
        ensure!(
            delivery.redelivered == entry.redelivered,
            "{entry:?} was delivered with redelivered={}",
            delivery.redelivered
        );
        let mut consumers = queue.consumers.iter();
        let consumer = consumers.find(|c| c.number == delivery.consumer);
        let consumer = consumer.expect("the caller found it");
        ensure!(
            consumer.is_active,
            "consumer {} is not the active one",
            consumer.tag
        );
        let no_ack = consumer.no_ack;
        let channels = &mut self.connections[delivery.at.0].channels;
        let channel = channels.get_mut(&delivery.at.1).expect("it was told");
        if !no_ack {
            channel.unacked.push(Unacked {
                delivery_tag: delivery.delivery_tag,
                entry,
                queue: queue.number,
                consumer: Some(consumer.number),
                since_ms: self.now_ms,
                timeout_ms: consumer.timeout_ms,
            });
            channel.unacked.sort_by_key(|unacked| unacked.delivery_tag);
        }
        let shared = channel.held_by_consumers();
        ensure!(
            channel.prefetch == 0 || shared <= usize::from(channel.prefetch),
            "{shared} held with a prefetch of {} for the channel",
            channel.prefetch
        );
        let own = channel.held_by(consumer.number);
        ensure!(
            consumer.no_ack || consumer.prefetch == 0 || own <= usize::from(consumer.prefetch),
            "{own} held with a prefetch of {}",
            consumer.prefetch
        );
        self.count_delivery(no_ack, delivery.redelivered);
        Ok(())
    }

    /// The deliveries in the order of the queue, if they are its front and every consumer got its own
    /// in that order.
    fn order_of<'a>(&self, name: &str, deliveries: &'a [Delivered]) -> Check<Vec<&'a Delivered>> {
        let queue = &self.queues[name];
        let mut busy = self.busy_groups(queue);
        let mut ready: Vec<&Entry> = queue.ready.iter().collect();
        let mut left: Vec<&Delivered> = deliveries.iter().collect();
        let mut order = Vec::new();
        while !left.is_empty() {
            let next = (0..left.len()).find_map(|at| {
                let delivery = left[at];
                let is_first = left[..at].iter().all(|other| other.at != delivery.at);
                let place = ready.iter().position(|it| it.place == delivery.place)?;
                let mut free = ready.iter().filter(|it| !queue.is_of(it, &busy));
                let waits = free.any(|it| self.goes_first(it, ready[place]));
                let is_barred = queue.is_of(ready[place], &busy);
                (is_first && !waits && !is_barred).then_some((at, place))
            });
            let Some((at, place)) = next else {
                let entry = |it: &&Delivered| ready.iter().find(|e| e.place == it.place).copied();
                let due: Vec<_> = left.iter().filter_map(entry).collect();
                let front = &ready[..ready.len().min(left.len() + 3)];
                return Err(format!("{due:?} were delivered while {front:?} were first"));
            };
            let delivery = left.remove(at);
            let mut consumers = queue.consumers.iter();
            if consumers.any(|it| it.number == delivery.consumer && !it.no_ack) {
                busy.extend(queue.group_of(ready[place]));
            }
            order.push(delivery);
            ready.remove(place);
        }
        Ok(order)
    }

    /// The groups that wait for a message which somebody has, or which waits for another try.
    pub(super) fn busy_groups(&self, queue: &Queue) -> BTreeSet<String> {
        if queue.rules.group_key.is_none() {
            return BTreeSet::new();
        }
        let channels = self.connections.iter().flat_map(|it| it.channels.values());
        let held = channels.flat_map(Channel::held);
        let held = held.filter(|unacked| unacked.queue == queue.number);
        let held = held.map(|unacked| &unacked.entry);
        let delayed = queue.delayed.iter().map(|(_, entry)| entry);
        let groups = held.chain(delayed).filter_map(|it| queue.group_of(it));
        groups.collect()
    }

    /// Whether the one had to be delivered before the other. A commit first publishes, and messages can
    /// go out at once, and then settles, which can put older ones back.
    fn goes_first(&self, one: &Entry, other: &Entry) -> bool {
        let is_put_back = one.put_back == self.steps && other.step == self.steps;
        one.precedes(other) && !(is_put_back && self.step.commits.is_some())
    }

    /// A consumer got the queue's next message: was it its turn?
    fn check_turn(&mut self, name: &str, number: u64) -> Check {
        let queue = &self.queues[name];
        let find = |number| queue.consumers.iter().find(move |c| c.number == number);
        let served = find(number).expect("the caller found it");
        for other in queue
            .consumers
            .iter()
            .filter(|other| other.number != number)
        {
            let committed = self.step.commits == Some(other.at);
            let Some(since) = other
                .able_since
                .filter(|_| !committed && self.is_able(other))
            else {
                continue;
            };
            ensure!(
                other.priority <= served.priority,
                "consumer {} has a higher priority than {}",
                other.tag,
                served.tag
            );
            let passed_over = other.priority == served.priority
                && served.served.is_some_and(|last| {
                    since <= last && other.served.is_none_or(|others| others < last)
                });
            ensure!(
                !passed_over,
                "consumer {} was served twice, {} on {:?} not once",
                served.tag,
                other.tag,
                other.at
            );
        }
        let queue = self.queues.get_mut(name).expect("the caller found it");
        let consumer = queue.consumers.iter_mut().find(|c| c.number == number);
        consumer.expect("the caller found it").served = Some(queue.clock);
        queue.clock += 1;
        Ok(())
    }

    fn note_who_is_able(&mut self) {
        let mut able = Vec::new();
        for queue in self.queues.values() {
            able.extend(
                queue
                    .consumers
                    .iter()
                    .map(|consumer| self.is_able(consumer)),
            );
        }
        let mut able = able.into_iter();
        for queue in self.queues.values_mut() {
            for consumer in &mut queue.consumers {
                consumer.able_since = match able.next().expect("one for each") {
                    true => consumer.able_since.or(Some(queue.clock)),
                    false => None,
                };
            }
        }
    }

    /// Whether nothing keeps the consumer from taking a message, for all that can be known.
    pub(super) fn is_able(&self, consumer: &Consumer) -> bool {
        !self.connections[consumer.at.0].stalled && self.has_credit(consumer)
    }

    /// Whether its prefetch limits let it have another message.
    pub(super) fn has_credit(&self, consumer: &Consumer) -> bool {
        let channel = &self.connections[consumer.at.0].channels[&consumer.at.1];
        let has_room = |limit: u16, held: usize| limit == 0 || held < usize::from(limit);
        consumer.is_active
            && has_room(channel.prefetch, channel.held_by_consumers())
            && (consumer.no_ack || has_room(consumer.prefetch, channel.held_by(consumer.number)))
    }
}
