//! The disk thread: receive, append, sync once, report, wake.
//!
//! What arrives while a sync runs is the next round, so that batching emerges by itself. Pages are read
//! before the sync of their round, since nobody should wait for a sync who only reads.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::engine::{Engine, Options, is_full};
use super::files::Disk;
use super::spill::Spills;
use super::{Batch, CleanStop, Report};

/// What the loop asks for.
pub(super) enum Request {
    Batch(Batch),
    Stop(CleanStop),
}

pub(super) struct DiskThread<D: Disk> {
    pub engine: Engine<D>,
    pub spills: Spills<D>,
    pub requests: Receiver<Request>,
    pub reports: Sender<Report>,
    pub wake: Box<dyn Fn() + Send>,
    pub sync_interval: Duration,
    pub spin: Duration,
    /// The last request came soon after there was nothing more to do.
    comes_soon: bool,
    /// The last batch that was appended, and the last that was reported stored.
    appended: u64,
    stored: u64,
    /// When what is appended must be stored at the latest.
    deadline: Option<Instant>,
    /// There was no space for the first of these; those behind it wait.
    held: VecDeque<Batch>,
    /// Blocks that could not be read, since there was no space to write what they are made of.
    unread: Vec<u64>,
    /// There was no space to write all that was appended.
    unwritten: bool,
    space_low: bool,
    /// Cleaning up is not done.
    more_work: bool,
    /// The disk says that all of it is stored.
    marked: bool,
    /// There are reports that the loop was not woken for.
    reported: bool,
}

/// What there is to do next.
enum Next {
    Request(Request),
    Nothing,
    /// The loop is gone.
    Gone,
}

impl<D: Disk> DiskThread<D> {
    pub fn new(
        engine: Engine<D>,
        spills: Spills<D>,
        requests: Receiver<Request>,
        reports: Sender<Report>,
        wake: Box<dyn Fn() + Send>,
        options: &Options,
    ) -> Self {
        DiskThread {
            engine,
            spills,
            requests,
            reports,
            wake,
            sync_interval: Duration::from_millis(options.sync_interval_ms),
            spin: options.spin,
            comes_soon: false,
            appended: 0,
            stored: 0,
            deadline: None,
            held: VecDeque::new(),
            unread: Vec::new(),
            unwritten: false,
            space_low: false,
            more_work: true,
            marked: false,
            reported: false,
        }
    }

    /// Serves until the loop stops it or is gone. An error means that the disk cannot be trusted.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            match self.wait() {
                Next::Request(Request::Stop(clean_stop)) => return self.stop(&clean_stop),
                Next::Request(Request::Batch(batch)) => {
                    if let Some(clean_stop) = self.round(batch)? {
                        return self.stop(&clean_stop);
                    }
                }
                Next::Nothing => self.idle()?,
                Next::Gone => {
                    self.store()?;
                    return self.check_stored();
                }
            }
            self.wake_if_reported();
        }
    }

    fn wait(&mut self) -> Next {
        if self.held.len() >= HELD_MAX {
            thread::sleep(SPACE_RETRY);
            return Next::Nothing;
        }
        let timeout = match self.deadline {
            _ if self.more_work => Duration::ZERO,
            _ if self.space_low => SPACE_RETRY,
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None if !self.marked => self.sync_interval,
            None => FOR_EVER,
        };
        let began = Instant::now();
        let received = match self.spin(began) {
            Some(request) => Ok(request),
            None => self.requests.recv_timeout(timeout),
        };
        self.comes_soon = began.elapsed() < SOON;
        match received {
            Ok(request) => Next::Request(request),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    }

    /// A request that comes before it would be worth to sleep. Who waits for a sync has mostly the next
    /// message ready, and to be woken takes as long as to write it.
    fn spin(&self, began: Instant) -> Option<Request> {
        let patience = match self.comes_soon {
            _ if self.more_work => return None,
            true => self.spin.max(PATIENCE),
            false => self.spin,
        };
        while began.elapsed() < patience {
            if let Ok(request) = self.requests.try_recv() {
                return Some(request);
            }
            // Whom it waits for may need this processor.
            thread::yield_now();
        }
        None
    }

    /// Takes in a batch and what is waiting behind it, and stores it if somebody waits.
    fn round(&mut self, first: Batch) -> io::Result<Option<CleanStop>> {
        let mut awaited = first.journal.awaited;
        let mut bytes = first.journal.messages.len();
        let mut stop = None;
        self.marked = false;
        self.take(first)?;
        while self.held.len() < HELD_MAX && bytes < ROUND_BYTES_MAX {
            match self.requests.try_recv() {
                Ok(Request::Batch(batch)) => {
                    awaited |= batch.journal.awaited;
                    bytes += batch.journal.messages.len();
                    self.take(batch)?;
                }
                Ok(Request::Stop(clean_stop)) => {
                    stop = Some(clean_stop);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if awaited || !self.engine.is_dirty() {
            self.store()?;
        } else {
            self.await_sync();
        }
        Ok(stop)
    }

    fn take(&mut self, mut batch: Batch) -> io::Result<()> {
        let is_heavy = batch.is_heavy();
        for block in batch.dropped_spills.drain(..) {
            self.spills.drop_image(self.engine.disk(), block)?;
        }
        for spill in batch.spills.drain(..) {
            let disk = self.engine.disk();
            if !self.spills.keep(disk, spill.block, spill.image)? {
                self.note_space(true);
            }
        }
        for block in batch.fetches.drain(..) {
            if let Some(image) = self.spills.fetch(block)? {
                self.report(Report::SpillPage { block, image });
            }
            self.fetch(block)?;
        }
        // The readers' bytes are on their way while the writers' go to the disk.
        self.wake_if_reported();
        if is_heavy && !batch.is_heavy() {
            self.report(Report::Taken(batch.number));
        }
        if self.held.is_empty() {
            return self.append(batch);
        }
        self.overtake(&mut batch)?;
        self.hold(batch);
        Ok(())
    }

    /// Keeps a batch until there is space for those before it. Only those with messages take a place each:
    /// who has none is not held up by how often, for behind the last place nothing is read either.
    fn hold(&mut self, mut batch: Batch) {
        match self.held.back_mut() {
            Some(last) if last.journal.messages.is_empty() && batch.journal.messages.is_empty() => {
                let (held, more) = (&mut last.journal, &mut batch.journal);
                held.definitions.append(&mut more.definitions);
                held.notes.append(&mut more.notes);
                held.acks.append(&mut more.acks);
                held.awaited |= more.awaited;
                last.number = batch.number;
            }
            _ => self.held.push_back(batch),
        }
    }

    fn fetch(&mut self, block: u64) -> io::Result<()> {
        match self.engine.fetch(block) {
            Ok(messages) => self.report(Report::Page { block, messages }),
            Err(error) if is_full(&error) => {
                self.unread.push(block);
                self.note_space(true);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Stores acks ahead of the messages that wait for space, since they are what makes space: those of
    /// batches without messages, for messages that were appended before.
    fn overtake(&mut self, batch: &mut Batch) -> io::Result<()> {
        if !batch.journal.messages.is_empty() {
            return Ok(());
        }
        let next = self.engine.next_message();
        let acks = &mut batch.journal.acks;
        let mut early: Vec<_> = acks.extract_if(.., |(_, id)| *id < next).collect();
        let result = self.engine.append_acks(&mut early);
        batch.journal.acks.append(&mut early);
        match result {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn append(&mut self, mut batch: Batch) -> io::Result<()> {
        let is_heavy = batch.is_heavy();
        match self.engine.append(&mut batch.journal) {
            Ok(()) => {
                self.appended = batch.number;
                if is_heavy {
                    drop(batch);
                    self.report(Report::Taken(self.appended));
                }
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.note_space(true);
                self.held.push_front(batch);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes everything stored that was appended, tells, and then cleans up.
    fn store(&mut self) -> io::Result<()> {
        self.deadline = None;
        if self.engine.is_dirty() || self.unwritten {
            let started = Instant::now();
            match self.engine.sync() {
                Ok(()) => {
                    self.unwritten = false;
                    self.report(Report::Synced(started.elapsed()));
                }
                // Nothing was synced yet: it can be tried again.
                Err(error) if is_full(&error) => {
                    self.unwritten = true;
                    self.note_space(true);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if self.stored < self.appended {
            self.stored = self.appended;
            self.report(Report::StoredUpTo(self.stored));
        }
        self.wake_if_reported();
        self.tidy()
    }

    fn tidy(&mut self) -> io::Result<()> {
        let limit = Instant::now() + TIDY_TIME;
        self.more_work = true;
        while self.more_work && Instant::now() < limit {
            self.more_work = self.engine.tidy()?;
        }
        let waits = self.unwritten || !self.held.is_empty() || !self.unread.is_empty();
        self.note_space(self.engine.is_space_low() || waits);
        if self.engine.is_dirty() {
            self.await_sync();
        }
        Ok(())
    }

    fn await_sync(&mut self) {
        self.deadline
            .get_or_insert_with(|| Instant::now() + self.sync_interval);
    }

    /// Nothing came for a while, or there is work left.
    fn idle(&mut self) -> io::Result<()> {
        while let Some(batch) = self.held.pop_front() {
            let waiting = self.held.len();
            self.append(batch)?;
            if self.held.len() > waiting {
                break;
            }
        }
        for block in std::mem::take(&mut self.unread) {
            self.fetch(block)?;
        }
        let due = self
            .deadline
            .is_none_or(|deadline| deadline <= Instant::now());
        if due {
            self.store()?;
        } else {
            self.tidy()?;
        }
        if !self.more_work && self.held.is_empty() && !self.engine.is_dirty() {
            self.engine.mark()?;
            self.marked = true;
        }
        Ok(())
    }

    fn stop(mut self, clean_stop: &CleanStop) -> io::Result<()> {
        while let Some(mut batch) = self.held.pop_front() {
            self.engine.append(&mut batch.journal)?;
            self.appended = batch.number;
        }
        self.store()?;
        self.check_stored()?;
        self.engine.stop(&clean_stop.redelivered)
    }

    fn check_stored(&self) -> io::Result<()> {
        if self.unwritten {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn note_space(&mut self, low: bool) {
        if self.space_low != low {
            self.space_low = low;
            if low {
                log::error!("no space left for the log: publishers wait until there is");
            } else {
                log::info!("there is space for the log again");
            }
            self.report(Report::SpaceLow(low));
        }
    }

    fn report(&mut self, report: Report) {
        // Nobody listens any more when the loop is gone.
        let _ = self.reports.send(report);
        self.reported = true;
    }

    fn wake_if_reported(&mut self) {
        if std::mem::take(&mut self.reported) {
            (self.wake)();
        }
    }
}

/// A round ends with this many bytes of messages, so that its sync does not take for ever.
const ROUND_BYTES_MAX: usize = 16 << 20;
/// For work that nobody waits for, between two rounds; a step more or less.
const TIDY_TIME: Duration = Duration::from_millis(1);
/// A request that comes so soon after there was nothing to do comes from who waited for that, and the next will, too.
const SOON: Duration = Duration::from_micros(150);
/// How long it is looked out for then.
const PATIENCE: Duration = Duration::from_micros(100);
const FOR_EVER: Duration = Duration::MAX;
/// How often it is tried again when there is no space.
const SPACE_RETRY: Duration = Duration::from_millis(100);
/// Batches kept while there is no space. Beyond, they stay with the loop.
const HELD_MAX: usize = 64;
