//! When memory and disk are looked at (RabbitMQ: `vm_memory_monitor`, `rabbit_disk_monitor`). The loop
//! asks, a thread of its own measures, and the loop is woken with what it found.
//!
//! Nothing is asked while nothing happens: an idle broker is not woken for this. After some input memory
//! is measured within a second, after much of it at once; the disk the sooner the less is left. While
//! there is an alarm, both are looked at twice a second, since what ends it need not be ours.
//!
//! Who wants to know what changes over time is called from here, too, now and then: it has no wake-ups of its own.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::control::Handle;
use super::measure::{Gauges, Question};
use crate::protocol::{Hub, Measured};

pub(super) struct Monitor {
    questions: Sender<Question>,
    answers: Receiver<Measured>,
    /// There is a question that was not answered yet; there is only ever one.
    asked: bool,
    /// Somebody wants to know it now.
    wished: bool,
    memory: Schedule,
    disk: Schedule,
    sampler: Arc<OnceLock<Sampler>>,
}

/// Is called on a thread of its own, some seconds after clients have sent something and again while they do.
pub(super) type Sampler = Box<dyn Fn() + Send + Sync>;

/// The calls of the sampler. It waits for the loop, which memory must not wait for, so each has a thread.
#[derive(Default)]
struct Sampling {
    last: Option<(Instant, JoinHandle<()>)>,
}

impl Sampling {
    fn begin_if_due(&mut self, sampler: &Arc<OnceLock<Sampler>>) {
        let is_over = |(at, thread): &(Instant, JoinHandle<()>)| {
            thread.is_finished() && at.elapsed() >= SAMPLE_INTERVAL
        };
        if sampler.get().is_none() || !self.last.as_ref().is_none_or(is_over) {
            return;
        }
        let sampler = Arc::clone(sampler);
        let sample = move || {
            if let Some(sample) = sampler.get() {
                sample();
            }
        };
        let thread = thread::Builder::new().name("sampler".to_owned());
        match thread.stack_size(STACK_BYTES).spawn(sample) {
            Ok(thread) => self.last = Some((Instant::now(), thread)),
            Err(error) => log::warn!("no sample is taken: {error}"),
        }
    }
}

/// When one of them is due.
struct Schedule {
    /// When it was last asked for (monotonic ms).
    asked_at: u64,
    /// Bytes that clients have sent since.
    input_bytes: usize,
    /// With some input, it is due after so long.
    interval_ms: u64,
    /// With that much, it is due at once.
    input_bytes_max: usize,
}

impl Monitor {
    /// Measures for the first time, and starts the thread.
    pub fn start(data_dir: Option<&Path>, hub: &mut Hub, handle: Handle) -> io::Result<Monitor> {
        // Without one there is no limit, but whoever asks is told what is free where we are.
        let mut gauges = Gauges::new(Some(data_dir.unwrap_or(Path::new("."))));
        let first = gauges.read(Question {
            with_disk: true,
            memory_limit: None,
        });
        let (questions, to_measure) = bounded(1);
        let (measured, answers) = bounded(1);
        let sampler: Arc<OnceLock<Sampler>> = Arc::default();
        let sampled_by = Arc::clone(&sampler);
        thread::Builder::new()
            .name("monitor".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let mut sampling = Sampling::default();
                for question in to_measure {
                    if measured.send(gauges.read(question)).is_err() {
                        return;
                    }
                    handle.wake();
                    sampling.begin_if_due(&sampled_by);
                }
            })?;
        let mut monitor = Monitor {
            questions,
            answers,
            asked: false,
            wished: false,
            memory: Schedule::new(MEMORY_INTERVAL_MS),
            disk: Schedule::new(DISK_INTERVAL_MS_MAX),
            sampler,
        };
        monitor.take_in(first, hub);
        hub.log_limits();
        Ok(monitor)
    }

    /// The first who is named here is called from here on.
    pub fn sample_by(&self, sampler: Sampler) {
        let _ = self.sampler.set(sampler);
    }

    /// Clients have sent that much.
    #[inline]
    pub fn on_input(&mut self, bytes: usize) {
        self.memory.input_bytes = self.memory.input_bytes.saturating_add(bytes);
        self.disk.input_bytes = self.disk.input_bytes.saturating_add(bytes);
    }

    /// Once a turn: hands on what was measured, and asks for what is due.
    pub fn serve(&mut self, hub: &mut Hub, now_ms: u64) {
        if self.asked
            && let Ok(measured) = self.answers.try_recv()
        {
            self.asked = false;
            self.take_in(measured, hub);
        }
        self.wished |= hub.take_measuring_wish();
        if self.asked {
            return;
        }
        let alarmed = hub.awaits_measuring();
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now_ms);
        let with_disk = self.wished || is_due(self.disk.due(alarmed));
        if with_disk || is_due(self.memory.due(alarmed)) {
            self.wished = false;
            let question = Question {
                with_disk,
                memory_limit: hub.memory_limit(),
            };
            self.asked = self.questions.try_send(question).is_ok();
            self.memory.restart(now_ms);
            if with_disk {
                self.disk.restart(now_ms);
            }
        }
    }

    /// When [`Monitor::serve`] has something to do (monotonic ms). An answer wakes the loop by itself.
    pub fn next_due(&self, hub: &Hub) -> Option<u64> {
        if self.asked {
            return None;
        }
        let alarmed = hub.awaits_measuring();
        let wished = self.wished.then_some(0);
        let dues = [wished, self.memory.due(alarmed), self.disk.due(alarmed)];
        dues.into_iter().flatten().min()
    }

    fn take_in(&mut self, measured: Measured, hub: &mut Hub) {
        hub.on_measured(measured);
        let left = hub.memory_left().unwrap_or(u64::MAX);
        // Messages take some more than their bytes.
        let eighth = usize::try_from(left / 8).unwrap_or(usize::MAX);
        self.memory.input_bytes_max = eighth.clamp(INPUT_BYTES_MIN, INPUT_BYTES_MAX);
        if measured.disk_free.is_some() {
            self.disk.interval_ms = hub
                .disk_left()
                .map_or(DISK_INTERVAL_MS_MAX, disk_interval_ms);
        }
    }
}

impl Schedule {
    fn new(interval_ms: u64) -> Schedule {
        Schedule {
            asked_at: 0,
            input_bytes: 0,
            interval_ms,
            input_bytes_max: usize::MAX,
        }
    }

    fn due(&self, alarmed: bool) -> Option<u64> {
        let after = if alarmed && self.input_bytes < self.input_bytes_max {
            ALARMED_INTERVAL_MS
        } else if self.input_bytes >= self.input_bytes_max {
            RUSH_INTERVAL_MS
        } else if self.input_bytes >= TRAFFIC_BYTES_MIN {
            self.interval_ms
        } else {
            return None;
        };
        Some(self.asked_at + after)
    }

    fn restart(&mut self, now_ms: u64) {
        self.asked_at = now_ms;
        self.input_bytes = 0;
    }
}

/// As RabbitMQ: half the time in which a fast writer could fill what is left.
fn disk_interval_ms(left: u64) -> u64 {
    (left / (DISK_BYTES_PER_MS * 2)).clamp(DISK_INTERVAL_MS_MIN, DISK_INTERVAL_MS_MAX)
}

/// A little less than RabbitMQ's 5 s, as it is looked at when memory is.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(4900);
/// Heartbeats and the like are no reason to look.
const TRAFFIC_BYTES_MIN: usize = 1024;
/// Between measurements of memory, while there is traffic.
const MEMORY_INTERVAL_MS: u64 = 1000;
/// Between measurements while there is an alarm: it lasts that long at least, and does not flicker.
const ALARMED_INTERVAL_MS: u64 = 500;
/// However much comes in, memory is not measured more often.
const RUSH_INTERVAL_MS: u64 = 10;
/// With less input than this, memory is in no hurry, however little is left of it.
const INPUT_BYTES_MIN: usize = 256 << 10;
/// With more, it is looked at, however much is left.
const INPUT_BYTES_MAX: usize = 64 << 20;
/// RabbitMQ's bounds for the disk.
const DISK_INTERVAL_MS_MIN: u64 = 100;
const DISK_INTERVAL_MS_MAX: u64 = 10_000;
/// What a fast writer writes: 500 MB a second, twice what RabbitMQ reckons with.
const DISK_BYTES_PER_MS: u64 = 500_000;
/// It reads small files.
const STACK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_without_traffic_or_alarm() {
        let mut schedule = Schedule::new(1000);
        schedule.restart(5000);
        assert_eq!(schedule.due(false), None);
        assert_eq!(schedule.due(true), Some(5500));
        schedule.input_bytes = 8;
        assert_eq!(schedule.due(false), None);
    }

    #[test]
    fn much_input_makes_it_due_at_once() {
        let mut schedule = Schedule::new(10_000);
        schedule.restart(5000);
        schedule.input_bytes_max = 1 << 20;
        schedule.input_bytes = 2000;
        assert_eq!(schedule.due(false), Some(15_000));
        schedule.input_bytes = 1 << 20;
        assert_eq!(schedule.due(false), Some(5010));
        assert_eq!(schedule.due(true), Some(5010));
        schedule.restart(5010);
        assert_eq!(schedule.due(false), None);
    }

    #[test]
    fn a_sample_that_takes_long_keeps_nobody_waiting_and_is_the_only_one() {
        let (begin, begun) = bounded(2);
        let (go_on, waiting) = bounded::<()>(0);
        let sampler: Arc<OnceLock<Sampler>> = Arc::default();
        let mut sampling = Sampling::default();
        sampling.begin_if_due(&sampler);
        assert!(sampling.last.is_none(), "there is no sampler yet");
        let sample = move || {
            begin.send(()).unwrap();
            let _ = waiting.recv();
        };
        assert!(sampler.set(Box::new(sample)).is_ok());
        sampling.begin_if_due(&sampler);
        begun.recv().unwrap();
        let (first, _) = sampling.last.as_mut().unwrap();
        *first -= 2 * SAMPLE_INTERVAL;
        sampling.begin_if_due(&sampler);
        drop(go_on);
        let (_, thread) = sampling.last.take().unwrap();
        thread.join().unwrap();
        assert!(begun.is_empty(), "the second waits for the first");
        sampling.begin_if_due(&sampler);
        begun.recv().unwrap();
    }

    #[test]
    fn the_disk_is_watched_more_closely_the_less_is_left() {
        let seconds = [0, 1 << 20, 1 << 30, 5 << 30, 1 << 40].map(disk_interval_ms);
        assert_eq!(seconds, [100, 100, 1073, 5368, 10_000]);
    }
}
