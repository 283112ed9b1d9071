//! From what a survey found to the state of the broker: acks are matched with messages.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::broker::DEFAULT_VIRTUAL_HOST;
use crate::broker::journal::{Definition, QueueId, StoredQueue};
use crate::broker::message::{BLOCK_MESSAGES, MessageId};
use crate::broker::queue::PackedIds;
use crate::wire::amqp::{OwnedTable, Table};

use super::attributes::{AttributeReader, AttributeRuns, PackedAttributes};
use super::error::OpenError;
use super::files::Disk;
use super::id_set::{IdSet, Reader};
use super::index::{Bodies, MessageRuns};
use super::recovered::{Recovered, RecoveryStatistics, Redelivered, ReferenceCounter, References};
use super::runs::Runs;
use super::segment::{Section, Segment, Weight, log_path};
use super::survey::{Survey, Surveyed};

/// Finds out who needs which messages, and what the running store must know of each segment.
pub(super) fn recover<D: Disk>(
    disk: &D,
    survey: &mut Survey,
) -> Result<(Recovered, Vec<Segment>), OpenError> {
    let (recovered, segments) = match_acks(disk, survey)?;
    // Whoever lost a queue's declaration to damage still wants its messages.
    for (queue, _) in &recovered.queues {
        if !survey.catalog.has_queue(*queue) {
            survey.catalog.apply(stand_in(*queue));
        }
    }
    Ok((recovered, segments))
}

/// A declaration for a queue of which only messages are left.
fn stand_in(id: QueueId) -> Definition {
    Definition::QueueDeclared(StoredQueue {
        id,
        virtual_host: DEFAULT_VIRTUAL_HOST.as_bytes().into(),
        name: format!("leveret.recovered.{}", id.0).into_bytes().into(),
        auto_delete: false,
        arguments: OwnedTable::from(Table::EMPTY),
    })
}

fn match_acks<D: Disk>(disk: &D, survey: &Survey) -> Result<(Recovered, Vec<Segment>), OpenError> {
    let acked = read_acks(disk, survey)?;
    let mut tally = Tally::new(survey, &acked);
    let mut segments = Vec::new();
    for found in &survey.segments {
        let messages = section(disk, found, Section::Messages)?;
        let attributes = section(disk, found, Section::Attributes)?;
        let ack_bytes = acked.bytes.get(&found.number).copied().unwrap_or_default();
        let records = found.data_end.saturating_sub(ack_bytes);
        let (live, weight) = tally.count(&messages, &attributes, records);
        segments.push(Segment {
            number: found.number,
            ids: found.ids,
            live,
            weight,
            blocks: found.blocks.clone(),
            data_end: found.data_end,
            unreadable: false,
            ack_bytes,
            targets: acked
                .targets
                .get(&found.number)
                .cloned()
                .unwrap_or_default(),
        });
    }
    let next = survey.end_of_messages();
    let next = next.next_multiple_of(BLOCK_MESSAGES as u64);
    let next_queue = survey.catalog.next_queue.max(tally.next_queue);
    let statistics = RecoveryStatistics {
        segments: segments.len() as u64,
        scanned: survey
            .segments
            .iter()
            .filter(|it| it.index.is_some())
            .count() as u64,
        messages: tally.counter.messages,
        log_bytes: segments.iter().map(|segment| segment.data_end).sum(),
    };
    let attributes = std::mem::take(&mut tally.attributes);
    let (queues, references) = tally.finish();
    let recovered = Recovered {
        definitions: Vec::new(),
        notes: Vec::new(),
        queues,
        references,
        attributes,
        redelivered: redelivered(survey),
        next_message: MessageId::from_bits(next),
        next_queue: QueueId(next_queue),
        damage: survey.damage.clone(),
        statistics,
    };
    Ok((recovered, segments))
}

/// Acks of all segments, by queue.
#[derive(Default)]
struct Acked {
    queues: HashMap<QueueId, IdSet, FixedState>,
    /// For each segment the older ones it has acks for.
    targets: BTreeMap<u64, Vec<u64>>,
    /// Bytes of its acks, for each segment.
    bytes: BTreeMap<u64, u64>,
    next_queue: u64,
}

fn read_acks<D: Disk>(disk: &D, survey: &Survey) -> Result<Acked, OpenError> {
    let starts: BTreeMap<u64, (u64, u64)> = survey
        .segments
        .iter()
        .filter_map(|segment| {
            segment
                .ids
                .map(|(first, last)| (first, (last, segment.number)))
        })
        .collect();
    let mut acked = Acked::default();
    let end = survey.end_of_messages();
    for segment in &survey.segments {
        let bytes = section(disk, segment, Section::Acks)?;
        acked.bytes.insert(segment.number, bytes.len() as u64);
        let mut targets = Vec::new();
        for (queue, run) in Runs::new(&bytes) {
            acked.next_queue = acked.next_queue.max(end_of_queue(queue));
            let Some(run) = run.before(end) else {
                continue;
            };
            let mut at = run.first;
            // The segment of the first id, and those of the others.
            if let Some((first, _)) = starts.range(..=run.first).next_back() {
                at = *first;
            }
            for (_, (last, number)) in starts.range(at..=run.last()) {
                if *last >= run.first && *number < segment.number {
                    targets.push(*number);
                }
            }
            if survey.holds_queue(queue) {
                acked.queues.entry(queue).or_default().insert_run(run);
            }
        }
        targets.sort_unstable();
        targets.dedup();
        acked.targets.insert(segment.number, targets);
    }
    Ok(acked)
}

/// Goes through all messages in their order.
struct Tally<'a> {
    survey: &'a Survey,
    acked: &'a Acked,
    slots: HashMap<QueueId, usize, FixedState>,
    queues: Vec<Copies<'a>>,
    counter: ReferenceCounter,
    attributes: PackedAttributes,
    next_queue: u64,
    /// Above all ids so far.
    next_message: u64,
}

/// A queue's share.
struct Copies<'a> {
    queue: QueueId,
    acked: Option<Reader<'a>>,
    unacked: PackedIds,
}

impl<'a> Tally<'a> {
    fn new(survey: &'a Survey, acked: &'a Acked) -> Self {
        Tally {
            survey,
            acked,
            slots: HashMap::default(),
            queues: Vec::new(),
            counter: ReferenceCounter::default(),
            attributes: PackedAttributes::default(),
            next_queue: acked.next_queue,
            next_message: 0,
        }
    }

    /// Counts a segment's copies that are needed, and finds out what they weigh. Its messages take so many
    /// bytes.
    fn count(&mut self, messages: &[u8], attributes: &[u8], bytes: u64) -> (u64, Weight) {
        let mut live = 0;
        let (mut all, mut needed) = (Bodies::default(), Bodies::default());
        let Some(mut runs) = MessageRuns::decode(messages) else {
            return (0, Weight::default());
        };
        let mut attributes = AttributeReader::new(AttributeRuns::new(attributes));
        let sets: Vec<Vec<usize>> = std::mem::take(&mut runs.sets)
            .iter()
            .map(|set| self.slots_of(set))
            .collect();
        for run in runs {
            let slots = &sets[run.set];
            for n in 0..run.count {
                let id = run.first + n * run.stride;
                let attributes = attributes.read();
                all.add(attributes.body_size);
                if id < self.next_message {
                    // Segments that were not written one after the other.
                    continue;
                }
                self.next_message = id + 1;
                let mut count = 0;
                for slot in slots {
                    let copies = &mut self.queues[*slot];
                    if !copies
                        .acked
                        .as_mut()
                        .is_some_and(|acked| acked.contains(id))
                    {
                        copies.unacked.push(MessageId::from_bits(id));
                        count += 1;
                    }
                }
                if count > 0 {
                    needed.add(attributes.body_size);
                    self.counter.add(id, count);
                    self.attributes.push(MessageId::from_bits(id), attributes);
                    live += u64::from(count);
                }
            }
        }
        (live, Weight::of(needed, live, all, bytes))
    }

    /// The queues of a set that still exist.
    fn slots_of(&mut self, set: &[QueueId]) -> Vec<usize> {
        let mut slots = Vec::new();
        for queue in set {
            self.next_queue = self.next_queue.max(end_of_queue(*queue));
            if !self.survey.holds_queue(*queue) {
                continue;
            }
            let slot = *self.slots.entry(*queue).or_insert_with(|| {
                self.queues.push(Copies {
                    queue: *queue,
                    acked: self.acked.queues.get(queue).map(IdSet::reader),
                    unacked: PackedIds::default(),
                });
                self.queues.len() - 1
            });
            slots.push(slot);
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn finish(self) -> (Vec<(QueueId, PackedIds)>, Vec<References>) {
        let mut queues: Vec<_> = self
            .queues
            .into_iter()
            .filter(|copies| !copies.unacked.is_empty())
            .map(|copies| (copies.queue, copies.unacked))
            .collect();
        queues.sort_unstable_by_key(|(queue, _)| *queue);
        (queues, self.counter.finish())
    }
}

/// Above this id, unless no queue can have it.
fn end_of_queue(queue: QueueId) -> u64 {
    match queue.0 <= QueueId::STORED_MAX {
        true => queue.0 + 1,
        false => 0,
    }
}

fn redelivered(survey: &Survey) -> Redelivered {
    if survey.segments.is_empty() {
        return Redelivered::Exactly(Vec::new());
    }
    let Some(clean_stop) = &survey.clean_stop else {
        return Redelivered::Any;
    };
    let mut queues: Vec<(QueueId, PackedIds)> = Vec::new();
    let mut runs = Runs::new(clean_stop);
    let end = survey.end_of_messages();
    let mut is_ordered = true;
    for (queue, run) in runs.by_ref() {
        let Some(run) = run.before(end) else {
            continue;
        };
        let ids = run.ids().map(MessageId::from_bits);
        match queues.last_mut() {
            Some((last, packed)) if *last == queue => {
                is_ordered &= packed.last().is_none_or(|id| id.to_bits() < run.first);
                if is_ordered {
                    packed.extend(ids);
                }
            }
            _ => queues.push((queue, ids.collect())),
        }
    }
    if runs.malformed || !is_ordered {
        return Redelivered::Any;
    }
    Redelivered::Exactly(queues)
}

fn section<D: Disk>(disk: &D, found: &Surveyed, section: Section) -> Result<Vec<u8>, OpenError> {
    found
        .section(disk, section)
        .map_err(|error| OpenError::io(log_path(found.number), error))
}
