//! Looking into a queue: a bounded piece of its messages at a time, from any place on, without a trace.
//!
//! ```text
//!   ready, as they would be delivered ---> unacked, channel by channel in order of delivery
//!                                     ---> waiting for another try, by the time of that
//! ```
//!
//! Nothing is taken, flagged, counted or kept alive by it. Messages come and go between two pieces: a
//! [`Place`] names a message and not a count, so those that stay where they are, ready or unacked, are
//! met once each. What was requeued meanwhile is met if its place is still to come, and what was
//! delivered meanwhile may be met again among the unacked ones.
//!
//! A message that was paged out is not brought back for it; whoever looks has its page read for
//! themselves ([`Core::read_page`]).

use super::Core;
use super::channel::ChannelKey;
use super::message::{MessageId, OwnedMessage};
use super::queue::{Entry, Queue, QueueKey};

/// Where looking begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the ready messages, with this one or what comes behind it.
    Ready(Entry),
    /// Among the unacked ones, with this delivery or what comes behind it.
    Unacked {
        channel: ChannelKey,
        delivery_tag: u64,
    },
    /// Among those that wait for another try (RabbitMQ: delayed retry), with this one or what comes behind it.
    Retrying {
        /// Milliseconds since 1970.
        at_ms: u64,
        /// Without its priority.
        entry: Entry,
    },
}

impl Place {
    /// Before all.
    pub fn start() -> Place {
        Place::Ready(Entry::with_priority(FIRST, u8::MAX))
    }

    /// Before the first unacked message.
    fn unacked() -> Place {
        Place::Unacked {
            channel: ChannelKey::from_bits(0),
            delivery_tag: 0,
        }
    }

    /// Before the first that waits for another try.
    fn retrying() -> Place {
        Place::Retrying {
            at_ms: 0,
            entry: Entry::new(FIRST),
        }
    }
}

/// What somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub from: Place,
    /// Messages at most; there may be fewer though more follow.
    pub count_max: usize,
    /// Only ready messages with lesser ids.
    pub ready_before: Option<MessageId>,
}

/// A piece of what is in a queue.
#[derive(Debug)]
pub struct Glance {
    pub seen: Vec<Seen>,
    /// Where it goes on; `None` if that was all.
    pub next: Option<Place>,
    /// Above the ids of all messages so far.
    pub end: MessageId,
}

/// A message that somebody looks at.
#[derive(Debug)]
pub struct Seen {
    pub place: Place,
    pub entry: Entry,
    /// `None` if it was paged out, with its block ([`MessageId::block`]).
    pub message: Option<OwnedMessage>,
}

impl Core {
    /// Looks at a piece of a queue's messages; nothing if the queue is gone.
    pub fn browse(&self, queue: QueueKey, wanted: &Wanted) -> Glance {
        let mut look = Look {
            core: self,
            wanted,
            seen: Vec::new(),
            steps: 0,
            bytes: 0,
            blocks: Vec::new(),
        };
        let next = match self.traffic.queues.get(queue) {
            Some(found) => look.run(queue, found),
            None => None,
        };
        Glance {
            seen: look.seen,
            next,
            end: self.messages.end(),
        }
    }

    /// Has a block read that was paged out, without bringing it back: whoever drives the core gets it from
    /// the store with all the others.
    pub fn read_page(&mut self, block: u64) {
        self.messages.read_page(block);
    }
}

/// One piece being looked at.
struct Look<'c> {
    core: &'c Core,
    wanted: &'c Wanted,
    seen: Vec<Seen>,
    /// Places passed, also those where nothing was.
    steps: usize,
    /// Of bodies that were seen, and blocks that are to be read.
    bytes: usize,
    /// To be read.
    blocks: Vec<u64>,
}

impl Look<'_> {
    /// Where it stops, unless at the end.
    fn run(&mut self, key: QueueKey, queue: &Queue) -> Option<Place> {
        let mut from = self.wanted.from;
        if let Place::Ready(entry) = from {
            let next = self.look_at_ready(queue, entry);
            if next.is_some() || self.wanted.ready_before.is_some() {
                return next;
            }
            from = Place::unacked();
        }
        if let Place::Unacked {
            channel,
            delivery_tag,
        } = from
        {
            if queue.unacked > 0 {
                let next = self.look_at_unacked(key, channel, delivery_tag);
                if next.is_some() {
                    return next;
                }
            }
            from = Place::retrying();
        }
        match from {
            Place::Retrying { at_ms, entry } => self.look_at_retrying(queue, at_ms, entry),
            _ => None,
        }
    }

    fn look_at_ready(&mut self, queue: &Queue, mut from: Entry) -> Option<Place> {
        loop {
            let steps = queue.ready.steps_from(from);
            let mut too_late = None;
            for step in steps {
                let place = Place::Ready(step.entry);
                if self.is_full() {
                    return Some(place);
                }
                self.steps += 1;
                let id = step.entry.message();
                if self.wanted.ready_before.is_some_and(|end| id >= end) {
                    too_late = Some(step.entry.priority());
                    break;
                }
                if step.is_here && !self.has_expired(queue, id) && !self.see(place, step.entry) {
                    return Some(place);
                }
            }
            // Those behind it in its priority came even later.
            let lower = too_late?.checked_sub(1)?;
            from = Entry::with_priority(FIRST, lower);
        }
    }

    fn look_at_unacked(&mut self, key: QueueKey, first: ChannelKey, tag: u64) -> Option<Place> {
        let channels = &self.core.traffic.channels;
        for slot in first.index()..channels.slot_count() {
            let Some(channel) = channels.key_at(slot) else {
                self.steps += 1;
                if self.is_full() {
                    return Some(Place::Unacked {
                        channel: ChannelKey::from_bits(slot as u64 + 1),
                        delivery_tag: 0,
                    });
                }
                continue;
            };
            // Another channel may be in the place of one that is gone.
            let tag = if channel == first { tag } else { 0 };
            for (delivery_tag, unacked) in channels[channel].unacked.steps_from(tag) {
                let place = Place::Unacked {
                    channel,
                    delivery_tag,
                };
                if self.is_full() {
                    return Some(place);
                }
                self.steps += 1;
                if let Some(unacked) = unacked
                    && unacked.queue == key
                    && !self.see(place, unacked.entry)
                {
                    return Some(place);
                }
            }
            self.steps += 1;
        }
        None
    }

    fn look_at_retrying(&mut self, queue: &Queue, at_ms: u64, first: Entry) -> Option<Place> {
        let agenda = &queue.retries.as_ref()?.agenda;
        let count_max = self.wanted.count_max - self.seen.len();
        for (at_ms, entry) in agenda.next_from(at_ms, first, count_max + 1) {
            let place = Place::Retrying {
                at_ms,
                entry: Entry::new(entry.message()),
            };
            if self.is_full() {
                return Some(place);
            }
            self.steps += 1;
            if !self.see(place, entry.as_redelivered()) {
                return Some(place);
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= self.wanted.count_max
            || self.steps >= STEPS_MAX
            || self.bytes >= BYTES_MAX
    }

    /// Its time has passed, and nobody came yet to take it out.
    fn has_expired(&self, queue: &Queue, id: MessageId) -> bool {
        let message = self.core.messages.get(id);
        message.is_some_and(|message| queue.has_expired(id, &message, self.core.now_ms))
    }

    /// Whether there was room for it.
    fn see(&mut self, place: Place, entry: Entry) -> bool {
        let messages = &self.core.messages;
        let id = entry.message();
        let message = messages.get(id);
        if message.is_none() {
            if !messages.is_paged_out(id) {
                // It is lost; it will be passed over when its turn comes.
                return true;
            }
            if !self.blocks.contains(&id.block()) {
                if self.blocks.len() >= BLOCKS_MAX {
                    return false;
                }
                self.blocks.push(id.block());
                self.bytes += messages.paged_out_bytes(id.block());
            }
        }
        self.bytes += messages.body_size(id) as usize;
        self.seen.push(Seen {
            place,
            entry,
            message: message.as_ref().map(OwnedMessage::of),
        });
        true
    }
}

const FIRST: MessageId = MessageId::from_bits(0);
/// Places passed in one piece, and bytes seen in it: both are a fraction of a millisecond. One message is
/// always seen, whatever its size; a large body is shared and not copied.
const STEPS_MAX: usize = 4096;
const BYTES_MAX: usize = 1 << 20;
/// Blocks that have to be read for one piece; each has little more than 64 KiB, or one large message.
const BLOCKS_MAX: usize = 8;
