//! The store behind the broker: the real one on a simulated disk, slow and not to be relied on.
//!
//! Batches are stored after a while and in order, and blocks come back after a while and in any order.
//! The disk is full for a time, a sync fails, the power goes in the middle of a write.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use leveret::broker::journal::StoredMessages;
use leveret::protocol::{Hub, StoreWork};
use leveret::store::Recovered;
use leveret::store::engine::{Engine, Options, is_full};

use crate::Check;
use crate::model::Model;
use crate::random::Random;
use crate::store_support::random::Random as DiskRandom;
use crate::store_support::simulated_disk::{Lie, SimulatedDisk};

pub struct SlowStore {
    disk: SimulatedDisk,
    engine: Engine<SimulatedDisk>,
    options: Options,
    /// Batches that are not stored yet.
    waiting: VecDeque<Batch>,
    images: BTreeMap<u64, Vec<u8>>,
    /// Blocks that were read, and the turn in which they come.
    pages: Vec<(usize, u64, Vec<u8>)>,
    /// Blocks that could not be read on a full disk.
    unread: Vec<u64>,
    /// The disk has no room until this turn.
    full_until: usize,
    /// The next sync fails.
    is_failing: bool,
    /// Blocks that were read back so far.
    pub fetched: usize,
    /// How often the disk was full, a sync failed, and the power went.
    pub mishaps: [usize; 3],
    /// How many turns a batch and a block take at most.
    delay: usize,
}

struct Batch {
    /// The turn in which it will be stored.
    due: usize,
    work: StoreWork,
    /// Numbers of its messages and the store's numbers of their queues.
    copies: Vec<(u64, u64)>,
}

/// What became of the batches that were due.
pub enum Storing {
    /// Up to this one they are stored, if any was.
    Stored(Option<u64>),
    /// A sync failed: nothing is known of them, and the broker ends.
    Failed,
}

impl SlowStore {
    pub fn start(random: &mut Random) -> Check<(Self, Recovered)> {
        let options = Options {
            segment_bytes: *random.pick(&[8 << 10, 64 << 10]),
            ..Options::default()
        };
        let delay = *random.pick(&[0, 1, 3, 20]);
        SlowStore::open(SimulatedDisk::new(), options, delay, |_| false)
    }

    /// What is there when the process ends and starts again.
    pub fn restart(self) -> Check<(Self, Recovered)> {
        self.disk.reopen();
        let (mut store, recovered) =
            SlowStore::open(self.disk, self.options, self.delay, |_| false)?;
        (store.fetched, store.mishaps) = (self.fetched, self.mishaps);
        Ok((store, recovered))
    }

    /// What is there when the machine starts again, after the power went in the middle of something.
    pub fn restart_after_power_loss(mut self, random: &mut Random) -> Check<(Self, Recovered)> {
        let count = random.between(0, self.waiting.len());
        if random.percent(80) {
            self.disk.cut_power_after(random.below(40) as u64);
        }
        for batch in self.waiting.iter_mut().take(count) {
            let mut go_on = || -> io::Result<()> {
                self.engine.append(&mut batch.work.journal)?;
                if random.percent(50) {
                    self.engine.sync()?;
                    self.engine.tidy()?;
                }
                Ok(())
            };
            if go_on().is_err() {
                break;
            }
        }
        self.disk.set_lie(Lie::None);
        self.disk.set_space(u64::MAX);
        self.disk.reboot(&mut DiskRandom::new(random.bits()));
        let is_loss = |recovered: &Recovered| {
            let mut damage = recovered.damage.iter();
            !damage.any(|damage| damage.what.is_loss())
        };
        let (mut store, recovered) = SlowStore::open(self.disk, self.options, self.delay, is_loss)?;
        (store.fetched, store.mishaps) = (self.fetched, self.mishaps);
        store.mishaps[2] += 1;
        Ok((store, recovered))
    }

    fn open(
        disk: SimulatedDisk,
        options: Options,
        delay: usize,
        may_be_damaged: impl Fn(&Recovered) -> bool,
    ) -> Check<(Self, Recovered)> {
        let opened = Engine::open(disk.clone(), &options);
        let (engine, recovered) = opened.map_err(|error| error.to_string())?;
        if !recovered.damage.is_empty() && !may_be_damaged(&recovered) {
            return Err(format!("damaged: {:?}", recovered.damage));
        }
        let store = SlowStore {
            disk,
            engine,
            options,
            waiting: VecDeque::new(),
            images: BTreeMap::new(),
            pages: Vec::new(),
            unread: Vec::new(),
            full_until: 0,
            is_failing: false,
            fetched: 0,
            mishaps: [0; 3],
            delay,
        };
        Ok((store, recovered))
    }

    /// Something goes wrong with the disk.
    pub fn fail(&mut self, turn: usize, random: &mut Random) {
        if random.percent(25) {
            self.is_failing = true;
            self.disk.set_lie(Lie::FailsSync);
        } else if self.full_until == 0 {
            self.full_until = turn + random.between(1, 40);
            self.mishaps[0] += 1;
            let room = random.below(20_000) as u64;
            self.disk.set_space(self.disk.used() + room);
        }
    }

    /// Nothing goes wrong any more, and there is room.
    pub fn heal(&mut self) {
        self.full_until = 0;
        self.is_failing = false;
        self.disk.set_space(u64::MAX);
        self.disk.set_lie(Lie::None);
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
        let mut copies = Vec::new();
        for stored in StoredMessages::new(&work.journal.messages) {
            let message = stored.message;
            let number = crate::message::number(message.properties, message.body.as_slice());
            let queues = number.iter().flat_map(|_| stored.queues());
            copies.extend(queues.map(|queue| (number.unwrap_or(0), queue.0)));
        }
        let last = self.waiting.back().map_or(turn, |batch| batch.due);
        let due = last.max(turn + random.between(0, self.delay));
        self.waiting.push_back(Batch { due, work, copies });
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.pages.is_empty() && self.unread.is_empty()
    }

    /// Stores what is due.
    pub fn store_due(
        &mut self,
        model: &mut Model,
        turn: usize,
        random: &mut Random,
    ) -> Check<Storing> {
        if self.full_until > 0 && self.full_until <= turn {
            self.full_until = 0;
            self.disk.set_space(u64::MAX);
        }
        let mut last = None;
        for block in std::mem::take(&mut self.unread) {
            self.fetch(block, turn, random)?;
        }
        while self.waiting.front().is_some_and(|batch| batch.due <= turn)
            && let Some(mut batch) = self.waiting.pop_front()
        {
            match self.store(&mut batch, turn, random) {
                Ok(()) => {
                    last = Some(batch.work.number);
                    model.stored.note_copies(&batch.copies);
                }
                // Nothing is lost: it is tried again.
                Err(error) if is_full(&error) => {
                    self.waiting.push_front(batch);
                    break;
                }
                Err(_) if self.is_failing => {
                    // The engine is not to be trusted any more.
                    self.waiting.clear();
                    self.mishaps[1] += 1;
                    return Ok(Storing::Failed);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Storing::Stored(last))
    }

    fn store(&mut self, batch: &mut Batch, turn: usize, random: &mut Random) -> io::Result<()> {
        let work = &mut batch.work;
        self.engine.append(&mut work.journal)?;
        self.engine.sync()?;
        for block in work.pages.dropped.drain(..) {
            self.images.remove(&block);
        }
        for out in work.pages.outs.drain(..) {
            self.images.insert(out.block, out.image);
        }
        for block in std::mem::take(&mut work.pages.fetches) {
            self.fetch(block, turn, random).map_err(io::Error::other)?;
        }
        if random.percent(30) {
            self.engine.tidy()?;
        }
        Ok(())
    }

    fn fetch(&mut self, block: u64, turn: usize, random: &mut Random) -> Check {
        let page = match self.images.get(&block) {
            Some(image) => image.clone(),
            None => match self.engine.fetch(block) {
                Ok(page) => page,
                Err(error) if is_full(&error) => {
                    self.unread.push(block);
                    return Ok(());
                }
                Err(error) => return Err(error.to_string()),
            },
        };
        self.fetched += 1;
        let due = turn + random.between(0, self.delay);
        self.pages.push((due, block, page));
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
