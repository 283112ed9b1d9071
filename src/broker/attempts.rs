//! How often a message was given back (RabbitMQ: delivery count, delivery limit, delayed retry), on every
//! type of queue.
//!
//! What counts as a failure is what RabbitMQ 4.3 counts: `basic.reject` with requeue, and a channel or
//! connection that ends with the message in its hands. `basic.nack` with requeue says that the consumer
//! did not try: the message was acquired, and did not fail.

use super::Core;
use super::dead_letter::Reason;
use super::journal::{Note, NoteKind};
use super::message::{Message, MessageId};
use super::queue::{Entry, QueueKey, Ready, RetryType};
use super::schedule::Task;
use crate::wire::amqp::properties::Properties;
use crate::wire::amqp::{Table, TableBuilder};

/// What became of the deliveries of a message so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// `x-delivery-count`: deliveries that failed.
    pub failed: u32,
    /// `x-acquired-count`: deliveries that ended without an ack, failed or not.
    pub acquired: u32,
}

/// How a message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// Its consumer did not try.
    Unused,
    /// Its consumer failed.
    Failed,
}

impl Core {
    /// A consumer's message goes back to its place in the queue, at once or after a while, or dies if
    /// it has come back too often or too late.
    pub(super) fn requeue(&mut self, key: QueueKey, entry: Entry, how: Return) {
        let entry = entry.as_redelivered();
        let queue = &mut self.traffic.queues[key];
        queue.counters.requeued += 1;
        if queue.counts_attempts {
            let attempts = queue.attempts.entry(entry.message()).or_default();
            attempts.acquired = attempts.acquired.saturating_add(1);
            attempts.failed = attempts
                .failed
                .saturating_add(u32::from(how == Return::Failed));
            let attempts = *attempts;
            let limit = queue.arguments.delivery_limit;
            if limit.is_some_and(|limit| u64::from(attempts.failed) > limit) {
                self.forget_message(key, entry.message());
                return self.die(key, entry, Reason::DeliveryLimit);
            }
            if let Some(delay_ms) = self.retry_delay(key, attempts, how) {
                return self.put_off(key, entry, delay_ms);
            }
            self.note_attempts(key, entry.message(), attempts, 0);
        }
        self.put_back(key, entry);
    }

    /// Back to its place.
    fn put_back(&mut self, key: QueueKey, entry: Entry) {
        let now_ms = self.now_ms;
        let queue = &mut self.traffic.queues[key];
        if let Some(lifetimes) = &mut queue.lifetimes
            && !lifetimes.take_back(entry, now_ms, &queue.ready)
        {
            self.forget_message(key, entry.message());
            return self.die(key, entry, Reason::Expired);
        }
        queue.ready.put_back(entry);
        queue.ready.body_bytes += u64::from(self.messages.body_size(entry.message()));
        let is_plain = queue.is_plain;
        // It may be the first whose time is known here.
        self.schedule_expiry(key);
        if !is_plain {
            self.free_group(key, entry.message());
            self.drop_excess(key);
        }
    }

    /// How long the message has to wait before the next try, if the queue says so.
    fn retry_delay(&self, key: QueueKey, attempts: Attempts, how: Return) -> Option<u64> {
        let arguments = &self.traffic.queues[key].arguments;
        let applies = match arguments.delayed_retry_type {
            RetryType::Disabled => false,
            RetryType::All => true,
            RetryType::Failed => how == Return::Failed,
            RetryType::Returned => how == Return::Unused,
        };
        if !applies {
            return None;
        }
        // RabbitMQ: only failures make the delay longer; what never failed waits the least.
        let times = attempts.failed;
        let min_ms = arguments.delayed_retry_min_ms.unwrap_or(RETRY_MIN_MS);
        let max_ms = arguments.delayed_retry_max_ms.unwrap_or(u64::MAX);
        let delay_ms = min_ms.saturating_mul(u64::from(times.max(1)));
        Some(delay_ms.min(max_ms)).filter(|delay_ms| *delay_ms > 0)
    }

    fn put_off(&mut self, key: QueueKey, entry: Entry, delay_ms: u64) {
        let at_ms = self.now_ms.saturating_add(delay_ms);
        let attempts = self.traffic.queues[key].attempts.get(&entry.message());
        let attempts = attempts.copied().unwrap_or_default();
        self.wait_until(key, entry, at_ms);
        self.note_attempts(key, entry.message(), attempts, at_ms);
    }

    /// The message is ready again at that time.
    pub(super) fn wait_until(&mut self, key: QueueKey, entry: Entry, at_ms: u64) {
        let queue = &mut self.traffic.queues[key];
        let retries = queue.retries.get_or_insert_default();
        retries.agenda.insert(at_ms, entry);
        let next = retries.agenda.next_ms();
        self.schedule
            .set(&mut retries.scheduled_ms, Task::Retry(key), next);
    }

    /// Messages of the queue have waited long enough.
    pub(super) fn retry_due(&mut self, key: QueueKey) {
        let now_ms = self.now_ms;
        for _ in 0..RETRIES_PER_TASK {
            let Some(queue) = self.traffic.queues.get_mut(key) else {
                return;
            };
            let Some(retries) = &mut queue.retries else {
                return;
            };
            retries.scheduled_ms = None;
            let Some(entry) = retries.agenda.pop_due(now_ms) else {
                break;
            };
            self.put_back(key, entry.as_redelivered());
        }
        if let Some(retries) = &mut self.traffic.queues[key].retries {
            let next = retries.agenda.next_ms();
            self.schedule
                .set(&mut retries.scheduled_ms, Task::Retry(key), next);
        }
        self.traffic.list(key);
    }

    /// Writes down what became of a message that survives. `until_ms`: it is not ready before then.
    fn note_attempts(
        &mut self,
        key: QueueKey,
        message: MessageId,
        attempts: Attempts,
        until_ms: u64,
    ) {
        let value = NotedAttempts { attempts, until_ms };
        self.note_failure(key, message, Some(value.encode()));
    }

    fn note_failure(&mut self, key: QueueKey, message: MessageId, value: Option<Box<[u8]>>) {
        let Some(queue) = self.traffic.queues[key].id else {
            return;
        };
        if let Some(journal) = &mut self.journal
            && self.messages.is_stored(message)
        {
            journal.notes.push(Note {
                kind: NoteKind::Failure,
                key: Note::failure_key(queue, message),
                value,
            });
        }
    }

    /// The ready messages are done with.
    pub(super) fn forget_attempts(&mut self, key: QueueKey, ready: &Ready) {
        self.forget_ready_keys(key, ready);
        if self.traffic.queues[key].attempts.is_empty() {
            return;
        }
        for entry in ready.iter() {
            self.forget_message(key, entry.message());
        }
    }

    /// The message is done with: what the queue knew of its deliveries goes.
    pub(super) fn forget_message(&mut self, key: QueueKey, message: MessageId) {
        let queue = &mut self.traffic.queues[key];
        if let Some(lifetimes) = &mut queue.lifetimes {
            lifetimes.forget(message);
        }
        if !queue.attempts.is_empty() && queue.attempts.remove(&message).is_some() {
            self.note_failure(key, message, None);
        }
        self.free_group(key, message);
        self.forget_key(key, message);
    }
}

/// What a start finds about a message that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotedAttempts {
    pub attempts: Attempts,
    /// It waits until then (RabbitMQ: delayed retry), in milliseconds since 1970; zero if it does not.
    pub until_ms: u64,
}

impl NotedAttempts {
    /// Little endian: failed (4 bytes), acquired (4), until (8).
    fn encode(self) -> Box<[u8]> {
        let mut value = Vec::with_capacity(16);
        value.extend_from_slice(&self.attempts.failed.to_le_bytes());
        value.extend_from_slice(&self.attempts.acquired.to_le_bytes());
        value.extend_from_slice(&self.until_ms.to_le_bytes());
        value.into()
    }

    pub fn decode(value: &[u8]) -> Option<Self> {
        let (failed, rest) = value.split_first_chunk()?;
        let (acquired, rest) = rest.split_first_chunk()?;
        Some(NotedAttempts {
            attempts: Attempts {
                failed: u32::from_le_bytes(*failed),
                acquired: u32::from_le_bytes(*acquired),
            },
            until_ms: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// The properties of a message that was given back before, with its counts among the headers.
pub(super) fn with_counts(message: &Message<'_>, attempts: Attempts) -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(mut properties) = Properties::decode(message.properties) else {
        return message.properties.to_vec();
    };
    let mut headers = TableBuilder::new();
    let old = properties.headers.unwrap_or(Table::EMPTY);
    for (name, value) in old
        .iter()
        .filter(|(name, _)| ![DELIVERY_COUNT, ACQUIRED_COUNT].contains(name))
    {
        headers.put(name, value);
    }
    if attempts.failed > 0 {
        headers.put(DELIVERY_COUNT, i64::from(attempts.failed));
    }
    headers.put(ACQUIRED_COUNT, i64::from(attempts.acquired));
    properties.headers = Some(headers.view());
    properties.encode(&mut out);
    out
}

const DELIVERY_COUNT: &[u8] = b"x-delivery-count";
const ACQUIRED_COUNT: &[u8] = b"x-acquired-count";
/// What a retry takes at least if nobody says.
const RETRY_MIN_MS: u64 = 1000;
/// Messages of one queue that become ready again in one go.
const RETRIES_PER_TASK: usize = 256;
