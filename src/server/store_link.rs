//! Between the loop and the disk thread: one batch a turn down, reports up.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::clock::whole_us;
use super::control::Handle;
use crate::config::Config;
use crate::protocol::{Hub, StoreWork};
use crate::store::{Batch, CleanStop, Opened, Options, Report, Spill, Store};

pub(super) struct StoreLink {
    store: Store,
    /// A batch that the store could not take: it has enough to do for the time being.
    pending: Option<Batch>,
    /// Heavy batches that it has not taken in yet, and their bytes.
    waiting: Vec<(u64, usize)>,
    /// The block whose image was the last page to come. What the log has of it comes next, and is not
    /// needed: the image is complete, and by then the block may have been paged out again.
    imaged: Option<u64>,
}

impl StoreLink {
    /// Opens the data directory, brings back into the hub what is in it, and starts the disk thread.
    pub fn open(
        directory: &Path,
        config: &Config,
        hub: &mut Hub,
        handle: Handle,
    ) -> io::Result<StoreLink> {
        let options = Options {
            sync_interval_ms: config.sync_interval_ms,
            spin: Duration::from_micros(config.spin_us),
            ..Options::default()
        };
        let started = Instant::now();
        log::info!("opening the data directory {}", directory.display());
        let (opened, recovered) = Opened::open(directory, options).map_err(io::Error::other)?;
        let statistics = recovered.statistics;
        let queues = recovered.queues.len();
        hub.recover(recovered);
        log::info!(
            "recovered {} messages in {queues} queues, from {} segments of {} MiB, in {} ms",
            statistics.messages,
            statistics.segments,
            statistics.log_bytes >> 20,
            started.elapsed().as_millis()
        );
        let store = Store::start(opened, Box::new(move || handle.wake()));
        Ok(StoreLink {
            store,
            pending: None,
            waiting: Vec::new(),
            imaged: None,
        })
    }

    /// Tells the hub what the disk thread has done since.
    pub fn take_reports(&mut self, hub: &mut Hub) {
        while let Some(report) = self.store.take_report() {
            match report {
                Report::StoredUpTo(number) => hub.on_stored(number),
                Report::Synced(duration) => hub.latencies.sync.count(whole_us(duration)),
                Report::Taken(number) => self.waiting.retain(|(batch, _)| *batch != number),
                Report::SpillPage { block, image } => {
                    self.imaged = Some(block);
                    hub.on_page(block, &image);
                }
                Report::Page { block, messages } => {
                    if self.imaged.take() != Some(block) {
                        hub.on_page(block, &messages);
                    }
                }
                Report::SpaceLow(low) => hub.set_disk_alarm(low),
            }
        }
    }

    /// Gives the disk thread this turn's work. If it has too much already, the work waits here and the
    /// next turn's with the hub.
    pub fn submit(&mut self, hub: &mut Hub) {
        let Some(batch) = self.pending.take().or_else(|| next_batch(hub)) else {
            return;
        };
        let waiting: usize = self.waiting.iter().map(|(_, bytes)| bytes).sum();
        let heavy = batch.is_heavy().then(|| (batch.number, batch.bytes()));
        let submitted = match heavy {
            Some(_) if waiting > hub.bounded(WAITING_BYTES_MAX, 8) => Err(batch),
            _ => self.store.submit(batch),
        };
        match submitted {
            Ok(()) => self.waiting.extend(heavy),
            Err(batch) => self.pending = Some(batch),
        }
        hub.set_store_full(self.pending.is_some());
    }

    /// Stores everything, also which messages may have been delivered before.
    pub fn stop(mut self, hub: &mut Hub) -> io::Result<()> {
        hub.core.free_discarded(usize::MAX);
        let last = self.pending.take().into_iter().chain(next_batch(hub));
        for mut batch in last {
            while let Err(refused) = self.store.submit(batch) {
                batch = refused;
                thread::sleep(FULL_STORE_WAIT);
            }
        }
        self.store.stop(CleanStop {
            redelivered: hub.core.redelivered(),
        })
    }
}

/// Heavy batches may take this much memory while they wait for the disk; more are not given to it, and
/// publishers wait.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How long to wait at the end for a store that has too much to do.
const FULL_STORE_WAIT: Duration = Duration::from_millis(1);

fn next_batch(hub: &mut Hub) -> Option<Batch> {
    let StoreWork {
        number,
        journal,
        pages,
    } = hub.take_store_work()?;
    let spills = pages.outs.into_iter().map(|out| Spill {
        block: out.block,
        image: out.image,
    });
    Some(Batch {
        number,
        journal,
        fetches: pages.fetches,
        spills: spills.collect(),
        dropped_spills: pages.dropped,
    })
}
