//! A tap at the log: whoever wants its lines in the program itself gets them here, the exchange
//! `amq.rabbitmq.log` and a page that shows a live log.
//!
//! Lines come from any thread, the loop's included, so adding one waits for nothing but another line.
//! Subscribers that do not keep up lose lines, which are counted.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::Level;

use crate::config::Category;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub category: Category,
    /// RFC 3339, with milliseconds.
    pub time: Box<str>,
    /// What it says, without time and level.
    pub said: Box<str>,
    /// As it is written elsewhere, without its end.
    pub text: String,
}

impl LogLine {
    /// RabbitMQ's name of the level.
    pub fn level_name(&self) -> &'static str {
        match self.level {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        }
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.said.len()
    }
}

/// Takes lines and hands them on. Cloning is cheap, and clones are the same tap.
#[derive(Clone, Default)]
pub struct LogTap(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    recent: VecDeque<Arc<LogLine>>,
    /// Of their texts.
    recent_bytes: usize,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    lines: Sender<Arc<LogLine>>,
    lost: Arc<AtomicU64>,
    wake: Option<Arc<Wake>>,
}

/// Tells a subscriber that there is something.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Lines as they come, from when this was made until it is dropped.
pub struct Subscription {
    lines: Receiver<Arc<LogLine>>,
    lost: Arc<AtomicU64>,
}

impl LogTap {
    /// Keeps the line for who comes later, and hands it to all who are there.
    pub fn add(&self, line: LogLine) {
        let line = Arc::new(line);
        let mut to_wake = Vec::new();
        {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.keep(Arc::clone(&line));
            if !IS_QUIET.get() {
                inner.hand_on(&line, &mut to_wake);
            }
        }
        // Without the lock, as this may be logged.
        for wake in to_wake {
            wake();
        }
    }

    /// The last lines, oldest first: at most [`RECENT_LINES`] and [`RECENT_BYTES`].
    pub fn recent(&self) -> Vec<Arc<LogLine>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent.iter().cloned().collect()
    }

    /// The last lines, and all that come after them. `wake` is called when there are some for a
    /// subscriber that had none.
    pub fn subscribe(&self, wake: Option<Wake>) -> (Vec<Arc<LogLine>>, Subscription) {
        let (sender, lines) = bounded(WAITING_LINES);
        let lost = Arc::<AtomicU64>::default();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.subscribers.push(Subscriber {
            lines: sender,
            lost: Arc::clone(&lost),
            wake: wake.map(Arc::new),
        });
        let recent = inner.recent.iter().cloned().collect();
        (recent, Subscription { lines, lost })
    }
}

impl Subscription {
    /// The next line, if there is one.
    pub fn next(&self) -> Option<Arc<LogLine>> {
        self.lines.try_recv().ok()
    }

    /// For a thread that has nothing else to do: it ends with the tap.
    pub fn lines(&self) -> &Receiver<Arc<LogLine>> {
        &self.lines
    }

    /// How many lines were not handed on, because too many waited.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Does something whose lines no subscriber gets: what handing on a line logs would be handed on again.
pub fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let before = IS_QUIET.replace(true);
    let result = act();
    IS_QUIET.set(before);
    result
}

impl Inner {
    fn keep(&mut self, line: Arc<LogLine>) {
        self.recent_bytes += line.bytes();
        self.recent.push_back(line);
        while self.recent.len() > RECENT_LINES || self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= oldest.bytes();
        }
    }

    fn hand_on(&mut self, line: &Arc<LogLine>, to_wake: &mut Vec<Arc<Wake>>) {
        self.subscribers.retain(|subscriber| {
            let had_none = subscriber.lines.is_empty();
            match subscriber.lines.try_send(Arc::clone(line)) {
                Ok(()) => {
                    if had_none {
                        to_wake.extend(subscriber.wake.clone());
                    }
                    true
                }
                Err(TrySendError::Full(_)) => {
                    subscriber.lost.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Lines that are kept for who comes later.
pub const RECENT_LINES: usize = 200;
/// And their bytes.
pub const RECENT_BYTES: usize = 64 << 10;
/// Lines that may wait for a subscriber; more are lost.
const WAITING_LINES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: impl Into<String>) -> LogLine {
        LogLine {
            level: Level::Info,
            category: Category::Default,
            time: "2026-01-02T03:04:05.678Z".into(),
            said: "".into(),
            text: text.into(),
        }
    }

    #[test]
    fn the_last_lines_are_kept_within_bounds() {
        let tap = LogTap::default();
        for n in 0..300 {
            tap.add(line(n.to_string()));
        }
        let recent = tap.recent();
        assert_eq!((recent.len(), &*recent[0].text), (RECENT_LINES, "100"));
        tap.add(line("x".repeat(RECENT_BYTES - 9)));
        assert_eq!(tap.recent().len(), 4);
        tap.add(line("x".repeat(RECENT_BYTES + 1)));
        assert!(tap.recent().is_empty());
    }

    #[test]
    fn subscribers_get_what_comes_and_are_woken_for_it() {
        let tap = LogTap::default();
        tap.add(line("before"));
        let (sender, woken) = bounded(9);
        let wake = Box::new(move || sender.try_send(()).unwrap());
        let (recent, subscription) = tap.subscribe(Some(wake));
        assert_eq!(recent.len(), 1);
        for text in ["one", "two"] {
            tap.add(line(text));
        }
        assert_eq!(woken.len(), 1);
        let texts = std::iter::from_fn(|| subscription.next()).map(|line| line.text.clone());
        assert_eq!(texts.collect::<Vec<_>>(), ["one", "two"]);
        tap.add(line("three"));
        assert_eq!(woken.len(), 2);
    }

    #[test]
    fn who_does_not_keep_up_loses_lines_and_who_is_gone_is_forgotten() {
        let tap = LogTap::default();
        let (_, subscription) = tap.subscribe(None);
        for n in 0..WAITING_LINES + 7 {
            tap.add(line(n.to_string()));
        }
        assert_eq!(
            (subscription.lines().len(), subscription.lost()),
            (WAITING_LINES, 7)
        );
        drop(subscription);
        tap.add(line("x"));
        assert!(tap.0.lock().unwrap().subscribers.is_empty());
    }

    #[test]
    fn what_is_done_quietly_reaches_no_subscriber() {
        let tap = LogTap::default();
        let (_, subscription) = tap.subscribe(None);
        quietly(|| tap.add(line("a")));
        tap.add(line("b"));
        assert_eq!(subscription.next().unwrap().text, "b");
        assert_eq!(tap.recent().len(), 2);
    }
}
