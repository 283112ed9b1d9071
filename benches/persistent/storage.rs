//! What the disk under a data directory has to do, and what it can do at best.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::client::failure::{Failure, Result};
use crate::outcome::Figure;

/// A directory on the disk that is measured, gone with the benchmark.
pub struct Storage {
    directory: TempDir,
    /// The block device's `stat`, if there is one and the kernel shows it.
    device: Option<PathBuf>,
}

/// Counters at one moment.
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// Bytes that the process made dirty in the page cache (`/proc/PID/io`).
    by_process: Option<u64>,
    /// Bytes written to the block device and its cache flushes, whoever caused them.
    to_device: Option<(u64, u64)>,
}

/// System calls that make data stable, counted by `perf stat` while it runs.
pub struct SyncCount {
    perf: Child,
    from: Instant,
}

impl Storage {
    /// A directory inside `parent`, or else where temporary files go.
    ///
    /// # Errors
    /// It is held in memory: nothing measured there would mean anything.
    pub fn new(parent: Option<&Path>) -> Result<Self> {
        let directory = match parent {
            Some(parent) => tempfile::tempdir_in(parent)?,
            None => tempfile::tempdir()?,
        };
        let kind = rustix::fs::statfs(directory.path()).map_err(std::io::Error::from)?;
        if MEMORY_FILE_SYSTEMS.contains(&kind.f_type) {
            return Err(Failure::new(format!(
                "{} is held in memory; name a directory on a disk with --data-dir",
                directory.path().display()
            )));
        }
        let number = fs::metadata(directory.path())?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        Ok(Storage {
            directory,
            device: device.exists().then_some(device),
        })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What was written so far.
    pub fn written(&self, process: Option<u32>) -> Written {
        Written {
            by_process: process.and_then(written_by_process),
            to_device: self.device.as_deref().and_then(written_to_device),
        }
    }

    /// Nanoseconds of a bare write and fdatasync of `size` bytes, one behind the other in a file whose
    /// blocks were all written before: the least that the file system can do. Median.
    pub fn floor_ns(&self, size: usize) -> Result<u64> {
        let path = self.path().join("floor");
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).open(&path)?;
        let bytes = vec![b'.'; size];
        let room = FLOOR_FILE_BYTES.max(size as u64);
        for offset in (0..room).step_by(FLOOR_FILL_BYTES) {
            file.write_all_at(&[b'-'; FLOOR_FILL_BYTES], offset)?;
        }
        file.sync_all()?;
        let mut times = Vec::with_capacity(FLOOR_SAMPLES);
        let mut offset = 0;
        for _ in 0..FLOOR_SAMPLES {
            times.push(timed_write(&file, offset, &bytes)?);
            offset += size as u64;
            if offset + size as u64 > room {
                offset = 0;
            }
        }
        fs::remove_file(&path)?;
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

impl Written {
    /// What was written since, for each byte of `payload`, and how often the device was flushed.
    pub fn figures(self, before: Written, payload: f64, seconds: f64) -> Vec<Figure> {
        let since = |after: Option<u64>, before: Option<u64>| {
            let (after, before) = after.zip(before)?;
            Some(after.saturating_sub(before) as f64)
        };
        let by_process = since(self.by_process, before.by_process);
        let bytes = |written: Written| written.to_device.map(|(bytes, _)| bytes);
        let flushes = |written: Written| written.to_device.map(|(_, flushes)| flushes);
        let to_device = since(bytes(self), bytes(before));
        let flushed = since(flushes(self), flushes(before));
        vec![
            Figure::new("written / payload", by_process.map(|it| it / payload)),
            Figure::new("on device / payload", to_device.map(|it| it / payload)),
            Figure::new("device flushes/s", flushed.map(|it| it / seconds)),
        ]
    }
}

impl SyncCount {
    /// Begins to count; `None` where `perf` is not to be had. It makes every system call a little
    /// slower.
    pub fn start(process: Option<u32>) -> Option<Self> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-p", &process?.to_string()]);
        for call in SYNC_CALLS {
            perf.args(["-e", &format!("syscalls:sys_enter_{call}")]);
        }
        let quiet = perf.stdin(Stdio::null()).stdout(Stdio::null());
        let perf = quiet.stderr(Stdio::piped()).spawn().ok()?;
        let from = Instant::now();
        Some(SyncCount { perf, from })
    }

    /// Calls per second since the start.
    pub fn per_second(self) -> Option<f64> {
        let seconds = self.from.elapsed().as_secs_f64();
        let pid = rustix::process::Pid::from_child(&self.perf);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).ok()?;
        let output = self.perf.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let counts = text.lines().filter(|line| line.contains("sys_enter"));
        let count = |line: &str| line.split(',').next()?.parse::<f64>().ok();
        let sum: f64 = counts.map(count).sum::<Option<f64>>()?;
        (sum > 0.0).then(|| sum / seconds)
    }
}

/// Bytes of the blocks that files under `directory` take.
pub fn disk_use(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A broker at work may have removed it meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += metadata.blocks() * BLOCK_BYTES;
        if metadata.is_dir() {
            bytes += disk_use(&entry.path())?;
        }
    }
    Ok(bytes)
}

fn timed_write(file: &File, offset: u64, bytes: &[u8]) -> Result<u64> {
    let start = Instant::now();
    file.write_all_at(bytes, offset)?;
    file.sync_data()?;
    Ok(start.elapsed().as_nanos() as u64)
}

fn written_by_process(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.trim().parse().ok()
}

fn written_to_device(stat: &Path) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(stat).ok()?;
    let fields: Vec<u64> = stat.split_whitespace().flat_map(str::parse).collect();
    let (sectors, flushes) = (fields.get(SECTORS_WRITTEN)?, fields.get(FLUSHES)?);
    Some((sectors * BLOCK_BYTES, *flushes))
}

/// tmpfs and ramfs (statfs(2)).
const MEMORY_FILE_SYSTEMS: [rustix::fs::FsWord; 2] = [0x0102_1994, 0x8584_58f6];
const SYNC_CALLS: [&str; 5] = ["fdatasync", "fsync", "msync", "sync_file_range", "syncfs"];
/// What the kernel calls a sector, and a block of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
/// Places in a block device's `stat` (Documentation/block/stat.rst).
const SECTORS_WRITTEN: usize = 6;
const FLUSHES: usize = 15;
const FLOOR_FILE_BYTES: u64 = 8 << 20;
const FLOOR_FILL_BYTES: usize = 64 << 10;
const FLOOR_SAMPLES: usize = 300;
