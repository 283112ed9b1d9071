//! Consumers.

use super::{Page, shown, walk};
use crate::broker::consumer::{Consumer, ConsumerKey};
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Error};
use crate::wire::amqp::field_table::OwnedTable;

/// A consumer, as management shows it.
#[derive(Clone, Debug)]
pub struct ConsumerSurvey {
    pub tag: String,
    pub queue: String,
    pub virtual_host: String,
    pub no_ack: bool,
    pub exclusive: bool,
    pub prefetch: u16,
    pub activity: Activity,
    pub arguments: OwnedTable,
    /// How long it may hold a delivery (RabbitMQ: consumer timeout).
    pub timeout_ms: Option<u64>,
    pub channel_number: u16,
    /// Of its connection.
    pub connection: String,
    pub peer_host: String,
    pub peer_port: u16,
    pub user: String,
}

/// Whether a consumer gets messages (RabbitMQ: `activity_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// As all of its queue's do.
    Up,
    /// It alone.
    SingleActive,
    /// Another one alone does.
    Waiting,
}

impl Core {
    /// Consumers in virtual hosts that are wanted, by name.
    pub fn survey_consumers(
        &self,
        from: usize,
        max: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Page<ConsumerSurvey> {
        walk(&self.traffic.consumers, from, max, |key, consumer| {
            let queue = self.traffic.queues.get(consumer.queue)?;
            let is_wanted = wanted(&self.virtual_hosts[queue.virtual_host].name);
            is_wanted.then(|| self.survey_of_consumer(key, consumer))?
        })
    }

    /// The first `max` consumers of a queue.
    ///
    /// # Errors
    /// There is no queue of that name.
    pub fn survey_queue_consumers(
        &self,
        host: VirtualHostKey,
        name: &[u8],
        max: usize,
    ) -> Result<Vec<ConsumerSurvey>, Error> {
        let queue = &self.traffic.queues[self.shown_queue(host, name)?];
        let some = queue.dispatch.consumers().take(max);
        Ok(some
            .filter_map(|key| {
                let consumer = self.traffic.consumers.get(key)?;
                self.survey_of_consumer(key, consumer)
            })
            .collect())
    }

    fn survey_of_consumer(&self, key: ConsumerKey, it: &Consumer) -> Option<ConsumerSurvey> {
        let queue = self.traffic.queues.get(it.queue)?;
        let channel = self.traffic.channels.get(it.channel)?;
        let connection = self.connections.get(channel.connection)?;
        let activity = match queue.dispatch.is_single_active() {
            false => Activity::Up,
            true if queue.dispatch.active() == Some(key) => Activity::SingleActive,
            true => Activity::Waiting,
        };
        Some(ConsumerSurvey {
            tag: shown(&it.tag),
            queue: shown(&queue.name),
            virtual_host: shown(&self.virtual_hosts[queue.virtual_host].name),
            no_ack: it.no_ack,
            exclusive: it.exclusive,
            prefetch: it.prefetch,
            activity,
            arguments: it.arguments.clone(),
            timeout_ms: it.timeout_ms,
            channel_number: it.channel_number,
            connection: shown(&connection.name),
            peer_host: connection.about.peer.host.clone(),
            peer_port: connection.about.peer.port,
            user: shown(&connection.user),
        })
    }
}
