//! Threads that answer requests. Answering may mean waiting, for the loop or for the disk behind it, so it
//! is not done on the thread that serves the sockets. A thread is started when a request finds none
//! free, and ends when it has had nothing to do for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::Waker;
use rustix::process::setpriority_process;

use super::News;
use crate::management::Management;
use crate::management::http::{Caller, Request, Response};
use crate::server::clock::Clock;

pub(super) struct Workers {
    shared: Shared,
    /// Takes a job only while a thread waits for one.
    jobs: Sender<Job>,
    /// Jobs for which there was no thread.
    backlog: VecDeque<Job>,
}

/// What every worker has.
#[derive(Clone)]
struct Shared {
    management: Arc<Management>,
    jobs: Receiver<Job>,
    /// A token for each thread there is.
    threads: (Sender<()>, Receiver<()>),
    news: Sender<News>,
    waker: Arc<Waker>,
    clock: Clock,
}

/// A request to be answered.
pub(super) struct Job {
    pub socket: usize,
    pub request: Box<Request>,
    pub caller: Caller,
}

impl Workers {
    pub fn new(management: Arc<Management>, news: Sender<News>, waker: Arc<Waker>) -> Workers {
        let (jobs, waiting) = bounded(0);
        let shared = Shared {
            management,
            jobs: waiting,
            threads: bounded(THREADS_MAX),
            news,
            waker,
            clock: Clock::start(),
        };
        Workers {
            shared,
            jobs,
            backlog: VecDeque::new(),
        }
    }

    /// Has a request answered.
    ///
    /// # Errors
    /// What to answer when too many wait already.
    pub fn take(&mut self, job: Job) -> Result<(), Response> {
        let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(job)
        else {
            return Ok(());
        };
        if self.backlog.len() >= JOBS_MAX {
            let busy = Response::text(503, "too many requests wait for an answer\n");
            return Err(busy.with("retry-after", "1"));
        }
        self.backlog.push_back(job);
        self.start_thread();
        Ok(())
    }

    /// A thread has answered: it may take another.
    pub fn on_answered(&mut self) {
        if let Some(job) = self.backlog.pop_front()
            && let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
                self.jobs.try_send(job)
        {
            // It has not come back to wait yet, or has ended.
            self.backlog.push_front(job);
            self.start_thread();
        }
    }

    /// Whether jobs wait that [`Workers::on_answered`] could give to somebody.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Starts one for the oldest job, if there are not enough.
    fn start_thread(&mut self) {
        if self.shared.threads.0.try_send(()).is_err() {
            return;
        }
        let Some(first) = self.backlog.pop_front() else {
            let _ = self.shared.threads.1.try_recv();
            return;
        };
        let shared = self.shared.clone();
        let socket = first.socket;
        let started = thread::Builder::new()
            .name("management worker".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                stand_back();
                shared.work(first);
            });
        if let Err(error) = started {
            let _ = self.shared.threads.1.try_recv();
            log::error!("management: no thread for a request: {error}");
            let response = Response::text(503, "no thread for the request\n");
            let _ = self
                .shared
                .news
                .try_send(News::Answered { socket, response });
        }
    }
}

impl Shared {
    fn work(self, first: Job) {
        let mut next = Ok(first);
        while let Ok(job) = next {
            let now = self.clock.now();
            let response = self.management.answer(&job.request, &job.caller, now);
            let socket = job.socket;
            if self.news.send(News::Answered { socket, response }).is_err() {
                break;
            }
            if let Err(error) = self.waker.wake() {
                log::error!("management: {error}");
            }
            next = self.jobs.recv_timeout(IDLE);
        }
        let _ = self.threads.1.try_recv();
    }
}

/// Where there is more to do than processors, messages go first: a large answer is rendered beside them.
fn stand_back() {
    // Of this thread alone, on Linux. Not being allowed to is no harm.
    let _ = setpriority_process(None, NICENESS);
}

/// A third of the time that the loop's thread gets where both want all of it.
const NICENESS: i32 = 5;

/// Who waits for a disk that stalls shall not keep the others from looking.
const THREADS_MAX: usize = 4;

/// Requests that wait for a thread.
const JOBS_MAX: usize = 64;

const IDLE: Duration = Duration::from_secs(10);

/// Patterns are compiled and JSON is read on it.
const STACK_BYTES: usize = 512 << 10;
