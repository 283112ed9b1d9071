//! What the kernel has on record about a process: CPU time and resident memory, from `/proc`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// CPU time, user and system, of all threads of `pid`; `None` if the kernel does not say.
///
/// `schedstat` counts nanoseconds, but a thread that ends takes its count along. `stat` keeps
/// everything, rounded down to ticks of 10 ms, too coarse for a broker that is nearly idle. Neither
/// ever says too much.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    cpu_time_of_threads(pid).max(cpu_time_in_ticks(pid))
}

/// Resident memory of `pid` in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The state of affairs at one moment.
#[derive(Clone, Copy)]
pub struct Mark {
    pub at: Instant,
    /// Messages (deliveries, calls, connections) counted so far.
    pub count: u64,
    pub broker_cpu: Option<Duration>,
    pub client_cpu: Option<Duration>,
}

impl Mark {
    pub fn now(broker: Option<u32>, count: u64) -> Self {
        Mark {
            at: Instant::now(),
            count,
            broker_cpu: broker.and_then(cpu_time),
            client_cpu: cpu_time(std::process::id()),
        }
    }
}

/// What happened between two marks.
#[derive(Clone, Copy)]
pub struct Span {
    pub from: Mark,
    pub to: Mark,
}

impl Span {
    /// Counted things per second.
    pub fn rate(&self) -> f64 {
        self.count() / (self.to.at - self.from.at).as_secs_f64()
    }

    /// Microseconds of the broker's CPU for each thing counted.
    pub fn broker_cpu(&self) -> Option<f64> {
        self.each(self.from.broker_cpu, self.to.broker_cpu)
    }

    /// The same for the benchmark itself.
    pub fn client_cpu(&self) -> Option<f64> {
        self.each(self.from.client_cpu, self.to.client_cpu)
    }

    fn each(&self, before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
        let spent = after?.saturating_sub(before?);
        Some(spent.as_secs_f64() * 1e6 / self.count())
    }

    fn count(&self) -> f64 {
        (self.to.count - self.from.count).max(1) as f64
    }
}

/// The machine's load of the last minutes, as the kernel words it.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

pub fn thread_count(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/task")).ok()?.count())
}

/// Keeps the main thread of `pid` on one processor (util-linux `taskset`); says whether it did.
///
/// Unpinned, client and broker change places and at times share one processor, taking turns; the
/// relay's CPU per message was then seen to vary threefold from one round to the next.
pub fn pin(pid: u32, cpu: usize) -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args(["-cp", &cpu.to_string(), &pid.to_string()]);
    let status = taskset.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Asks the kernel to wake this process's sleepers on time; the default lets them lie for 50 µs more.
pub fn sharpen_timers() {
    // Where this is not allowed, latencies include the delay, for every broker alike.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn cpu_time_of_threads(pid: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += schedstat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

fn cpu_time_in_ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(UTIME_AFTER_NAME);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((utime + stime) * TICK_MS))
}

const UTIME_AFTER_NAME: usize = 11;
/// USER_HZ is 100 on every Linux that matters here.
const TICK_MS: u64 = 10;
