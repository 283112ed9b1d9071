//! Queues that look at what comes: limits, times to live, priorities, deliveries that failed.

use super::*;
use crate::event::Event;

/// A copy on its way into a queue.
pub(super) struct Arrival<'a> {
    pub message: &'a Shared,
    /// Copies from one source stay in order.
    pub source: u64,
    /// Queues that it died in.
    pub lineage: &'a [u64],
}

impl Model {
    /// Whether the queue with this number took the message.
    pub(super) fn enqueue(&mut self, number: u64, arrival: &Arrival<'_>) -> bool {
        let (step, now_ms) = (self.steps, self.now_ms);
        let place = self.draw_number();
        let Some(name) = self.name_of(number) else {
            return true;
        };
        let message = arrival.message;
        let queue = self.queues.get_mut(&name).expect("it has this name");
        if queue.sources.0 != step {
            queue.sources = (step, BTreeSet::new());
        }
        queue.sources.1.insert(arrival.source);
        let has_one_source = queue.sources.1.len() == 1;
        let own_ms = message.expiration_ms.into_iter().chain(queue.rules.ttl_ms);
        let entry = Entry {
            place,
            step,
            source: arrival.source,
            put_back: 0,
            message: message.clone(),
            redelivered: false,
            priority: message.priority.min(queue.rules.max_priority),
            expires_ms: own_ms.min().map(|ttl_ms| now_ms + ttl_ms),
            failed: 0,
            acquired: 0,
            until_ms: 0,
            lineage: arrival.lineage.to_vec(),
        };
        if self.is_known_in_queue(&name, message) {
            return true;
        }
        let queue = self.queues.get_mut(&name).expect("it has this name");
        let refuses = queue.rules.overflow != "drop-head";
        if refuses && queue.is_over_with(1, message.body.len()) {
            let dies = queue.rules.overflow == "reject-publish-dlx";
            // Whose copy is the one too many?
            self.end_if(!has_one_source, Beyond::LastOfSeveral);
            if dies {
                self.die(number, entry, "maxlen", 0);
            }
            return false;
        }
        let is_close = refuses && queue.rules.is_limited();
        self.end_if(is_close && !has_one_source, Beyond::LastOfSeveral);
        let queue = &self.queues[&name];
        let has_groups = queue.rules.group_key.is_some();
        let busy = self.busy_groups(queue);
        let is_empty = queue.heads_but(&busy).is_empty();
        let is_free = is_empty && !queue.is_of(&entry, &busy);
        if has_groups && queue.rules.is_limited() {
            let is_vague = self.may_stand_in_line(queue);
            self.end_if(is_vague, Beyond::GroupsWithLimits);
        }
        if is_free && self.hand_over_at_once(&name, &entry) {
            return true;
        }
        if entry.expires_ms.is_some_and(|at| at <= now_ms) {
            self.check_nobody_could_have(&name, is_empty && !has_groups);
            self.die(number, entry, "expired", 0);
            return true;
        }
        let queue = self.queues.get_mut(&name).expect("it has this name");
        queue.ready.push(entry);
        self.learn_in_queue(&name, message, place);
        self.drop_excess(&name, 0);
        true
    }

    /// Whether messages that wait for their group may still be in the way of those that come: they step
    /// aside when somebody who could take them finds them at the head.
    fn may_stand_in_line(&self, queue: &Queue) -> bool {
        let step = self.steps;
        let mut ready = queue.ready.iter();
        let is_fresh = ready
            .any(|it| it.step == step || it.put_back == step || self.is_paged_out(&it.message));
        let is_fresh = is_fresh || (self.step.is_settling && !queue.ready.is_empty());
        is_fresh && queue.consumers.iter().any(|it| self.has_credit(it))
    }

    /// A message that is not kept must go to somebody who waits.
    fn check_nobody_could_have(&mut self, name: &str, is_empty: bool) {
        let queue = &self.queues[name];
        let waiting = queue.consumers.iter().find(|it| self.is_able(it));
        if let Some(waiting) = waiting.filter(|_| is_empty && self.step.commits.is_none()) {
            let fault = format!(
                "queue {name}: expired at once, but consumer {} waits",
                waiting.tag
            );
            self.fault(fault);
        }
    }

    /// What comes to an empty queue whose consumer has credit goes out in the same moment: if the broker
    /// delivered it in this call, it did so now, and the message was never ready.
    fn hand_over_at_once(&mut self, name: &str, entry: &Entry) -> bool {
        let Some((at, index, consumer, delivery_tag)) = self.delivered_now(name, entry) else {
            return false;
        };
        let message = entry.message.clone();
        self.step.accounted.insert((at.0, index), message);
        let queue = self.queues.get_mut(name).expect("the caller found it");
        queue.ready.push(entry.clone());
        let delivered = Delivered {
            at,
            consumer,
            delivery_tag,
            redelivered: false,
            place: entry.place,
        };
        match self.take_delivery(name, &delivered) {
            Ok(()) => {
                let message = entry.message.clone();
                self.learn_in_queue(name, &message, entry.place);
                self.step.served.push((name.to_owned(), consumer));
            }
            Err(error) => self.fault(format!("queue {name}: {error}")),
        }
        true
    }

    /// The delivery of this message, if a consumer got it who could have it now.
    fn delivered_now(&self, name: &str, entry: &Entry) -> Option<(At, usize, u64, u64)> {
        let queue = &self.queues[name];
        let events = self.step.outputs.iter();
        let mut events = events.flat_map(|(to, events)| {
            let numbered = events.iter().enumerate();
            numbered.map(move |(index, event)| (*to, index, event))
        });
        events.find_map(|(to, index, event)| {
            let at = (to, event.channel);
            let Some(Method::BasicDeliver(deliver)) = delivery_of(event) else {
                return None;
            };
            let is_same = self.is_content_of(entry, event);
            if deliver.redelivered || !is_same || self.step.accounted.contains_key(&(to, index)) {
                return None;
            }
            let tag = deliver.consumer_tag;
            let consumer = queue
                .consumers
                .iter()
                .find(|it| it.at == at && it.tag.as_bytes() == tag)?;
            self.has_credit(consumer)
                .then_some((at, index, consumer.number, deliver.delivery_tag))
        })
    }

    /// Drops from the head what is beyond the limits. `by` tells apart who put it there.
    pub(super) fn drop_excess(&mut self, name: &str, by: u64) {
        loop {
            let Some(queue) = self.queues.get_mut(name) else {
                return;
            };
            let drops = queue.rules.overflow == "drop-head" && queue.is_over_with(0, 0);
            if !drops || queue.ready.is_empty() {
                return;
            }
            let heads = queue.heads();
            let (is_vague, place) = (heads.len() > 1, heads[0].place);
            self.end_if(is_vague, Beyond::SeveralHeads);
            let queue = self.queues.get_mut(name).expect("it was looked at");
            let at = queue.ready.iter().position(|it| it.place == place);
            let entry = queue.ready.remove(at.expect("it was found there"));
            let number = queue.number;
            self.die(number, entry, "maxlen", by);
        }
    }

    /// A delivery comes back to its queue.
    pub(super) fn requeue(&mut self, name: &str, mut entry: Entry, failed: bool, by: u64) {
        let queue = &self.queues[name];
        let (number, rules) = (queue.number, queue.rules.clone());
        entry.redelivered = true;
        if rules.counts {
            entry.acquired += 1;
            entry.until_ms = 0;
            entry.failed += u64::from(failed);
            if rules.delivery_limit.is_some_and(|most| entry.failed > most) {
                return self.die(number, entry, "delivery_limit", by);
            }
            let (kind, least, most) = rules.retry.unwrap_or_default();
            let times = match (kind.as_str(), failed) {
                ("all" | "failed", true) | ("all" | "returned", false) => entry.failed.max(1),
                _ => 0,
            };
            let delay_ms = (least * times).min(most);
            if delay_ms > 0 {
                let due_ms = self.now_ms + delay_ms;
                entry.until_ms = due_ms;
                let queue = self.queues.get_mut(name).expect("the caller found it");
                return queue.delayed.push((due_ms, entry));
            }
        }
        self.put_back(name, entry, by);
    }

    /// To its old place, if its time has not passed meanwhile.
    pub(super) fn put_back(&mut self, name: &str, mut entry: Entry, by: u64) {
        let queue = self.queues.get_mut(name).expect("the caller found it");
        if entry.expires_ms.is_some_and(|at| at <= self.now_ms) {
            let number = queue.number;
            return self.die(number, entry, "expired", by);
        }
        entry.put_back = self.steps;
        queue.ready.push(entry);
        queue.ready.sort_by_key(|entry| entry.place);
        self.drop_excess(name, by);
    }

    pub(super) fn name_of(&self, number: u64) -> Option<String> {
        let mut queues = self.queues.iter();
        let found = queues.find(|(_, queue)| queue.number == number);
        found.map(|(name, _)| name.clone())
    }
}

fn delivery_of(event: &Event) -> Option<Method<'_>> {
    // By its ids, since there are many events and few deliveries among them.
    event
        .payload
        .starts_with(&[0, 60, 0, 60])
        .then(|| event.method())?
}
