//! Queues.

use super::{Page, PolicySurvey, shown, walk};
use crate::broker::counters::QueueCounters;
use crate::broker::queue::{Queue, QueueKey, QueueKind, Waits};
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Error};
use crate::wire::amqp::field_table::OwnedTable;

/// A queue, as management shows it.
#[derive(Clone, Debug)]
pub struct QueueSurvey {
    /// Names it among all queues that there ever were.
    pub id: u64,
    pub name: String,
    pub virtual_host: String,
    pub kind: QueueKind,
    pub durable: bool,
    pub auto_delete: bool,
    /// The name of the connection that has it for itself.
    pub owner: Option<String>,
    pub arguments: OwnedTable,
    pub policies: PolicySurvey,
    pub ready: u64,
    pub unacked: u64,
    /// Bytes of the bodies of messages that are ready.
    pub ready_bytes: u64,
    /// The same of those that are unacked.
    pub unacked_bytes: u64,
    /// Messages that wait for their next try (RabbitMQ: delayed retry); they are neither ready nor unacked.
    pub retrying: u64,
    /// From the arrival of messages to their first delivery to a consumer.
    pub waits: Waits,
    pub consumers: usize,
    /// Somebody could take a message right now.
    pub has_taker: bool,
    /// The tag of the consumer that has it for itself (AMQP 0-9-1 `basic.consume`, `exclusive`).
    pub exclusive_consumer: Option<String>,
    /// The tag of the only consumer that gets messages (RabbitMQ: single active consumer).
    pub single_active_consumer: Option<String>,
    pub counters: QueueCounters,
}

/// What a queue's counts are.
#[derive(Clone, Debug)]
pub struct QueueCounts {
    /// As [`QueueSurvey::id`].
    pub id: u64,
    pub ready: u64,
    pub unacked: u64,
    pub counters: QueueCounters,
}

impl Core {
    /// Of a piece of all queues, those that changed since they were last asked for this.
    pub fn changed_queues(&mut self, from: usize, max: usize) -> Page<QueueCounts> {
        let queues = &mut self.traffic.queues;
        let count = queues.slot_count();
        let end = from.saturating_add(max).min(count);
        let mut items = Vec::new();
        for at in from..end {
            let Some(key) = queues.key_at(at) else {
                continue;
            };
            let queue = &mut queues[key];
            let mark = queue.mark();
            if queue.is_delay_queue() || std::mem::replace(&mut queue.seen_mark, mark) == mark {
                continue;
            }
            items.push(QueueCounts {
                id: key.to_bits(),
                ready: queue.ready.len() as u64,
                unacked: queue.unacked as u64,
                counters: queue.counters,
            });
        }
        Page {
            items,
            next: (end < count).then_some(end),
        }
    }

    /// Queues of virtual hosts that are wanted, by name.
    pub fn survey_queues(
        &self,
        from: usize,
        max: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Page<QueueSurvey> {
        walk(&self.traffic.queues, from, max, |key, queue| {
            let host = &self.virtual_hosts[queue.virtual_host].name;
            let is_shown = !queue.is_delay_queue() && wanted(host);
            is_shown.then(|| self.survey_of_queue(key, queue))
        })
    }

    /// One queue.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn survey_queue(&self, host: VirtualHostKey, name: &[u8]) -> Result<QueueSurvey, Error> {
        let key = self.shown_queue(host, name)?;
        Ok(self.survey_of_queue(key, &self.traffic.queues[key]))
    }

    pub(super) fn shown_queue(&self, host: VirtualHostKey, name: &[u8]) -> Result<QueueKey, Error> {
        let found = self.virtual_hosts[host].queues.get(name).copied();
        found
            .filter(|key| !self.traffic.queues[*key].is_delay_queue())
            .ok_or_else(|| {
                let host = &self.virtual_hosts[host].name;
                crate::broker::topology::binding::missing("queue", name, host)
            })
    }

    fn survey_of_queue(&self, key: QueueKey, queue: &Queue) -> QueueSurvey {
        let tag = |key| {
            let consumer = self.traffic.consumers.get(key)?;
            Some(shown(&consumer.tag))
        };
        let owner = queue.owner.and_then(|owner| self.connections.get(owner));
        let exclusive = queue.dispatch.consumers().next();
        QueueSurvey {
            id: key.to_bits(),
            name: shown(&queue.name),
            virtual_host: shown(&self.virtual_hosts[queue.virtual_host].name),
            kind: queue.arguments.kind,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            owner: owner.map(|owner| shown(&owner.name)),
            arguments: queue.declared_arguments.clone(),
            policies: PolicySurvey::of(&queue.policies),
            ready: queue.ready.len() as u64,
            unacked: queue.unacked as u64,
            ready_bytes: queue.ready.body_bytes,
            unacked_bytes: queue.unacked_bytes,
            retrying: queue.retrying() as u64,
            waits: queue.waits_in_all(),
            consumers: queue.dispatch.len(),
            has_taker: queue.dispatch.next().is_some(),
            exclusive_consumer: exclusive
                .filter(|_| queue.exclusively_consumed)
                .and_then(tag),
            single_active_consumer: queue.dispatch.active().and_then(tag),
            counters: queue.counters,
        }
    }
}
