//! Durability: what the core's [`Journal`] says, on stable storage.
//!
//! [`Store`] is the loop's handle. It submits batches and takes reports, never waits and touches no file;
//! all of that is done by a thread of its own, `disk`. A batch is stored when its number is under the
//! watermark ([`Report::StoredUpTo`]).
//!
//! ```text
//!   loop: Store --- Batch (bounded channel) ---> disk: append to the log, sync once for all that came
//!           ^                                      |
//!           +------ Report, and a wake-up ---------+
//! ```
//!
//! # The data directory
//! ```text
//!   lock                         held by the process that uses it (flock)
//!   log/0000000001.seg ...       messages and acks in the order they came, in segments
//!   log/reserve                  space for the acks of a broker that starts on a full disk
//!   definitions/0000000001.log   what is declared and noted; written anew when most of it is history
//!   spill/                       transient messages beyond the memory budget; emptied at start
//!   quarantine/                  damaged bytes, for whoever wants to look at them
//! ```
//! Nothing in it depends on the host's name or the path; it may be moved while no broker runs. Files of
//! another version of the format than this program's are refused, and left untouched.
//!
//! # How it works
//! - **One log** for all queues: a message is written once, whatever the fan-out; what is acked is
//!   appended too, as runs of ids. One sync serves everybody.
//! - **Files are written with `pwrite`, not through a mapping.** Measured on ext4 (Linux 6.18) with
//!   recycled segments of 16 MiB, 128 KiB written and synced, CPU: `pwrite` 86 us with the segment in the
//!   page cache and 125 without; through a mapping 360 and 207; with the range populated for writing by
//!   one `madvise` before the copy, which makes a full disk an error and not a signal, 312 and 203;
//!   populated 2 MiB ahead 366 and 312. `msync` for `fdatasync` changes nothing. The file system is asked
//!   for each page that becomes writable, and a sync makes it read-only again. On a quiet machine the
//!   mapping takes longer too: 0.50 ms against 0.13, and 0.32 against 0.24 into blocks never written.
//! - **Reads are `pread`.** A page-in of 38 KiB, checked and copied out, takes 0.30 s of CPU per GiB from
//!   the page cache and 0.27 from the disk; through a mapping 0.25 and 0.35, where a disk that fails, or a
//!   file that is cut, is a signal that ends the process; with the range populated first, so that it is
//!   an error, 0.29 and 0.45. So no page of a segment counts as the process's memory, and `unsafe` is not
//!   needed at all.
//! - **Segments are recycled**: the file of a dead one becomes the next, as its blocks are written
//!   already. Checksums start from the segment's number and the record's offset, so that nothing left
//!   over is ever taken for a record.
//! - **A full segment gets a footer** with its index, so that a start reads no bodies: which messages it
//!   has, for which queues, when they came, how large they are, how urgent, and when they expire. It is
//!   written when all before it is stored, and so it also proves that.
//! - **Commits say how far the log was stored** when they were written. This tells the tear of a crash,
//!   behind which nothing is believed, from damage in the middle, which costs only what is damaged.
//! - **Space**: the running store counts for each segment the copies of its messages that somebody
//!   needs, and knows which older segments its acks are for. It goes when nobody needs either, and the
//!   log notes that first, so that a missing file is known from a removed one, and one that a crash brings
//!   back from one that is needed. A segment of which less than half may be needed, if the largest
//!   messages were acked first, is looked at, and rewritten in small steps if that is so, by which the
//!   count is checked too.
//! - **Without space** messages wait, and with them what is behind them in the channel; acks of what is
//!   stored go ahead into room that messages leave, since they make space. A start on a full disk finds as
//!   much room in a file that is kept for it, or goes on in a segment as large as there is space for.
//!
//! What this costs: a confirm can wait for one step of rewriting, mostly a millisecond, and for the sync
//! of the new file at its end; a segment that is needed by a few messages stays as a small file; and
//! per 256 messages in the log eight bytes of memory are taken by its index.
//!
//! The store without its thread is [`engine::Engine`], over any [`files::Disk`]; so the tests cut the
//! power of a simulated one between any two operations.

mod attributes;
mod catalog;
mod definition_codec;
mod definitions;
mod disk;
pub mod engine;
mod error;
pub mod files;
mod id_set;
mod index;
mod inspection;
mod log;
mod note_codec;
mod number;
mod position;
mod record;
mod recovered;
mod recovery;
mod runs;
mod segment;
mod spill;
mod survey;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::broker::journal::{Journal, QueueId};
use crate::broker::queue::PackedIds;

pub use attributes::PackedAttributes;
pub use definitions::DefinitionCounters;
pub use engine::Options;
pub use error::OpenError;
pub use inspection::Inspection;
pub use log::LogCounters;
pub use recovered::{Damage, Fault, Recovered, RecoveryStatistics, Redelivered, References};

use disk::{DiskThread, Request};
use engine::Engine;
use files::{Directory, Disk};
use spill::Spills;

/// One turn's work for the disk.
#[derive(Debug, Default)]
pub struct Batch {
    /// Ascending; the watermark counts in it.
    pub number: u64,
    pub journal: Journal,
    /// Blocks to read back. Each is answered by one [`Report::Page`], and before it by a
    /// [`Report::SpillPage`] if an image of it is kept.
    pub fetches: Vec<u64>,
    pub spills: Vec<Spill>,
    /// Blocks whose images are not needed any more.
    pub dropped_spills: Vec<u64>,
}

impl Batch {
    /// Bytes of messages that it carries.
    pub fn bytes(&self) -> usize {
        let spills = self.spills.iter().map(|spill| spill.image.len());
        self.journal.messages.len() + spills.sum::<usize>()
    }

    /// Whether it takes so much memory that not many of its kind should wait for the disk.
    pub fn is_heavy(&self) -> bool {
        self.bytes() >= HEAVY_BYTES
    }
}

/// Transient messages of a block, as whoever spills them has them; kept until they are dropped or the
/// process ends.
#[derive(Debug)]
pub struct Spill {
    pub block: u64,
    pub image: Vec<u8>,
}

/// What the disk thread has to say.
#[derive(Debug)]
pub enum Report {
    /// Every batch up to this number is stored.
    StoredUpTo(u64),
    /// How long the disk took for a sync.
    Synced(Duration),
    /// The messages of this batch do not take memory any more. Said of those that are
    /// [heavy](Batch::is_heavy).
    Taken(u64),
    /// The messages of a block that are on the disk, encoded as by [`Journal::append`], ids ascending;
    /// acked ones may be among them. One that was damaged is not.
    Page { block: u64, messages: Vec<u8> },
    /// See [`Spill`].
    SpillPage { block: u64, image: Vec<u8> },
    /// There is no space for another segment: publishers should wait. `false` when that is over.
    SpaceLow(bool),
}

/// What is stored last by a broker that ends by itself.
#[derive(Debug, Default)]
pub struct CleanStop {
    /// Unacked messages that may have been delivered before.
    pub redelivered: Vec<(QueueId, PackedIds)>,
}

/// A data directory that is locked, recovered and ready.
pub struct Opened<D: Disk = Directory> {
    engine: Engine<D>,
    spills: Spills<D>,
    options: Options,
}

impl Opened {
    /// Opens a data directory, making it if there is none, and recovers what is stored there.
    ///
    /// # Errors
    /// Another process has it, another version wrote it, or it cannot be read or written. Damage is no
    /// error: see [`Recovered::damage`].
    pub fn open(directory: &Path, options: Options) -> Result<(Opened, Recovered), OpenError> {
        let disk = Directory::lock(directory).map_err(|error| refused(directory, error))?;
        Opened::on(disk, options)
    }
}

impl<D: Disk> Opened<D> {
    /// The same on any disk.
    ///
    /// # Errors
    /// As [`Opened::open`], but that nobody else can have it.
    pub fn on(disk: D, options: Options) -> Result<(Opened<D>, Recovered), OpenError> {
        let spills = Spills::start(&disk).map_err(|error| OpenError::io("spill", error))?;
        let (engine, recovered) = Engine::open(disk, &options)?;
        for damage in &recovered.damage {
            if damage.what.is_loss() {
                ::log::error!("{damage}");
            } else {
                ::log::warn!("{damage}");
            }
        }
        let opened = Opened {
            engine,
            spills,
            options,
        };
        Ok((opened, recovered))
    }
}

/// Looks at the data directory of a broker that does not run, and changes nothing.
///
/// # Errors
/// A broker runs there, another version wrote it, or it cannot be read.
pub fn check(directory: &Path) -> Result<Inspection, OpenError> {
    let disk = Directory::inspect(directory).map_err(|error| refused(directory, error))?;
    Inspection::of(&disk)
}

fn refused(directory: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::WouldBlock => OpenError::InUse {
            directory: directory.to_owned(),
        },
        _ => OpenError::io(directory, error),
    }
}

/// The loop's handle to the disk thread.
pub struct Store {
    /// `None` once stopped.
    requests: Option<Sender<Request>>,
    reports: Receiver<Report>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Store {
    /// Starts the disk thread. `wake` is called on it after reports were queued.
    ///
    /// If the disk fails, the thread logs that and ends the process: what was confirmed is stored, and
    /// nothing else may be confirmed.
    pub fn start<D>(opened: Opened<D>, wake: Box<dyn Fn() + Send>) -> Store
    where
        D: Disk<File: Send> + Send + 'static,
    {
        let (requests, received) = bounded(BATCHES_MAX);
        // Bounded by what is asked: a page for each fetch, and a watermark for some batches.
        let (reported, reports) = unbounded();
        let disk = DiskThread::new(
            opened.engine,
            opened.spills,
            received,
            reported,
            wake,
            &opened.options,
        );
        let thread = thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || disk.run().inspect_err(end_process))
            .expect("a thread can be started while the program starts");
        Store {
            requests: Some(requests),
            reports,
            thread: Some(thread),
        }
    }

    /// Hands a batch to the disk thread, or back if too many wait there: then publishers must wait.
    #[expect(clippy::result_large_err, reason = "it is the batch itself")]
    pub fn submit(&mut self, batch: Batch) -> Result<(), Batch> {
        let Some(requests) = &self.requests else {
            return Err(batch);
        };
        match requests.try_send(Request::Batch(batch)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => match request
            {
                Request::Batch(batch) => Err(batch),
                Request::Stop(_) => unreachable!("a batch was sent"),
            },
        }
    }

    /// The next report, if there is one.
    pub fn take_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Waits until everything submitted is stored, notes which messages were delivered, and ends the
    /// thread.
    ///
    /// # Errors
    /// There was no space to do so.
    pub fn stop(mut self, last: CleanStop) -> io::Result<()> {
        if let Some(requests) = self.requests.take() {
            // Fails only if the thread is gone, which joining it tells.
            let _ = requests.send(Request::Stop(last));
        }
        match self.thread.take() {
            Some(thread) => join(thread),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    /// Stores what was submitted and lets go of the directory, without a word about deliveries.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && let Err(error) = join(thread)
        {
            ::log::error!("the disk thread failed: {error}");
        }
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the disk thread panicked")))
}

/// After a failed write or sync nobody knows what is on the disk, and the kernel may have dropped the
/// pages: trying again would only seem to work.
fn end_process(error: &io::Error) {
    if files::is_full(error) {
        return;
    }
    ::log::error!(
        "the disk failed: {error}; ending, so that nothing is confirmed that is not stored"
    );
    std::process::exit(EX_IOERR);
}

/// From here on a batch counts as heavy: those that do not make up a few megabytes at most.
const HEAVY_BYTES: usize = 128 << 10;
/// sysexits.h.
const EX_IOERR: i32 = 74;
/// Batches that wait for the disk thread. Beyond, the loop keeps them, and stops reading publishers.
const BATCHES_MAX: usize = 32;
