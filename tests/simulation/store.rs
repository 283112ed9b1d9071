//! The store behind the broker: the real one on a simulated disk, and slow.
//!
//! Batches are stored after a while and in order, and blocks come back after a while and in any order.

use std::collections::{BTreeMap, VecDeque};

use leveret::broker::journal::StoredMessages;
use leveret::protocol::{Hub, StoreWork};
use leveret::store::Recovered;
use leveret::store::engine::{Engine, Options};

use crate::Check;
use crate::model::Model;
use crate::random::Random;
use crate::store_support::simulated_disk::SimulatedDisk;

pub struct SlowStore {
    disk: SimulatedDisk,
    engine: Engine<SimulatedDisk>,
    options: Options,
    /// Batches that are not stored yet, and the turn in which they will be.
    waiting: VecDeque<(usize, StoreWork)>,
    images: BTreeMap<u64, Vec<u8>>,
    /// Blocks that were read, and the turn in which they come.
    pages: Vec<(usize, u64, Vec<u8>)>,
    /// Blocks that were read back so far.
    pub fetched: usize,
    /// How many turns a batch and a block take at most.
    delay: usize,
}

impl SlowStore {
    pub fn start(random: &mut Random) -> Check<(Self, Recovered)> {
        let options = Options {
            segment_bytes: *random.pick(&[8 << 10, 64 << 10]),
            ..Options::default()
        };
        let delay = *random.pick(&[0, 1, 3, 20]);
        SlowStore::open(SimulatedDisk::new(), options, delay)
    }

    /// What is there when the process ends and starts again.
    pub fn restart(self) -> Check<(Self, Recovered)> {
        self.disk.reopen();
        let (mut store, recovered) = SlowStore::open(self.disk, self.options, self.delay)?;
        store.fetched = self.fetched;
        Ok((store, recovered))
    }

    fn open(disk: SimulatedDisk, options: Options, delay: usize) -> Check<(Self, Recovered)> {
        let opened = Engine::open(disk.clone(), &options);
        let (engine, recovered) = opened.map_err(|error| error.to_string())?;
        if !recovered.damage.is_empty() {
            return Err(format!("damaged: {:?}", recovered.damage));
        }
        let store = SlowStore {
            disk,
            engine,
            options,
            waiting: VecDeque::new(),
            images: BTreeMap::new(),
            pages: Vec::new(),
            fetched: 0,
            delay,
        };
        Ok((store, recovered))
    }

    /// Takes what the hub has for the store at the end of a turn.
    pub fn submit(&mut self, hub: &mut Hub, model: &mut Model, turn: usize, random: &mut Random) {
        let Some(work) = hub.take_store_work() else {
            return;
        };
        for definition in &work.journal.definitions {
            model.note_definition(definition);
        }
        let images = work.pages.outs.iter().map(|out| &out.image);
        for encoded in images.chain([&work.journal.messages]) {
            for stored in StoredMessages::new(encoded) {
                let message = stored.message;
                let id = stored.id.to_bits();
                let body = message.body.as_slice();
                model.stored.note_id(id, message.properties, body);
            }
        }
        let last = self.waiting.back().map_or(turn, |(due, _)| *due);
        let due = last.max(turn + random.between(0, self.delay));
        self.waiting.push_back((due, work));
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.pages.is_empty()
    }

    /// Stores what is due; up to which batch, if any was.
    pub fn store_due(
        &mut self,
        model: &mut Model,
        turn: usize,
        random: &mut Random,
    ) -> Check<Option<u64>> {
        let mut last = None;
        while self.waiting.front().is_some_and(|(due, _)| *due <= turn)
            && let Some((_, work)) = self.waiting.pop_front()
        {
            last = Some(work.number);
            self.store(work, model, turn, random)
                .map_err(|error| error.to_string())?;
        }
        Ok(last)
    }

    fn store(
        &mut self,
        mut work: StoreWork,
        model: &mut Model,
        turn: usize,
        random: &mut Random,
    ) -> std::io::Result<()> {
        for stored in StoredMessages::new(&work.journal.messages) {
            let message = stored.message;
            for queue in stored.queues() {
                let body = message.body.as_slice();
                model.stored.note_copy(message.properties, body, queue.0);
            }
        }
        self.engine.append(&mut work.journal)?;
        self.engine.sync()?;
        for block in work.pages.dropped {
            self.images.remove(&block);
        }
        for out in work.pages.outs {
            self.images.insert(out.block, out.image);
        }
        for block in work.pages.fetches {
            let page = match self.images.get(&block) {
                Some(image) => image.clone(),
                None => self.engine.fetch(block)?,
            };
            self.fetched += 1;
            let due = turn + random.between(0, self.delay);
            self.pages.push((due, block, page));
        }
        if random.percent(30) {
            self.engine.tidy()?;
        }
        Ok(())
    }

    /// A block that was read, if one is due.
    pub fn take_page(&mut self, turn: usize) -> Option<(u64, Vec<u8>)> {
        let at = self.pages.iter().position(|(due, ..)| *due <= turn)?;
        let (_, block, page) = self.pages.remove(at);
        Some((block, page))
    }

    /// The broker ends by itself.
    pub fn stop(&mut self, hub: &Hub) -> Check {
        let stopped = self.engine.stop(&hub.core.redelivered());
        stopped.map_err(|error| error.to_string())
    }
}
