//! The management thread: HTTP connections of users, their tools and their pages. It is no part of the
//! loop and holds none of its truth; what a request wants is found out by [`Management`], on one of a few
//! [`workers`] that may wait for the loop.
//!
//! Connections are bounded in number, requests in size and in time, so that neither many idle clients
//! nor very slow ones keep the others out. With nobody connected the thread sleeps.
//!
//! ```text
//! mod       the thread: poll, accept, read, answer, time out
//! socket    one connection: what it is doing, and until when it may
//! workers   threads that come when requests do, and go when none do
//! ```

mod socket;
mod workers;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::address::Address;
use super::listener::{Bound, Listeners, Newcomer};
use super::tls;
use crate::config::Config;
use crate::management::Management;
use crate::management::http::{Door, Response};
use socket::{Socket, Wish};
use workers::{Job, Workers};

/// Bound, and not served yet.
pub(super) struct Web {
    poll: Poll,
    doors: Vec<(Door, Bound)>,
    held_bytes_max: usize,
}

/// The running thread; stopped when dropped.
pub(super) struct WebThread {
    news: Sender<News>,
    waker: Arc<Waker>,
    /// `None` once joined.
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
enum News {
    /// A request was answered.
    Answered {
        socket: usize,
        response: Response,
    },
    RenewTls(tls::Context),
    Stop,
}

/// Gives the thread other certificates.
#[derive(Clone)]
pub(super) struct Renewal {
    news: Sender<News>,
    waker: Arc<Waker>,
}

struct Loop {
    poll: Poll,
    doors: Vec<(Door, Listeners)>,
    sockets: Slab<Socket>,
    workers: Workers,
    news: Receiver<News>,
    started: Instant,
    /// Bytes of unfinished requests beyond which no more of them is read.
    held_bytes_max: usize,
    /// What sockets read into.
    scratch: Box<[u8]>,
}

impl Web {
    /// Takes the ports; `None` if there are none to take.
    ///
    /// # Errors
    /// `could not bind [::]:15672: Address already in use`
    pub fn bind(config: &Config) -> io::Result<Option<Web>> {
        let mut doors = Vec::new();
        let ports = [
            (Door::Api, config.http_port, &config.http_ip, None),
            (
                Door::Api,
                config.https.port,
                &config.https.ip,
                Some(config.https_options()),
            ),
            (
                Door::Metrics,
                config.prometheus_port,
                &config.prometheus_ip,
                None,
            ),
        ];
        for (door, port, ip, tls) in ports {
            if let Some(port) = port {
                let bound = Bound::on(ip.as_deref(), port, &config.tcp, tls)?;
                doors.push((door, bound));
            }
        }
        let poll = Poll::new()?;
        Ok(
            (!doors.is_empty() || config.data_dir.is_some()).then_some(Web {
                poll,
                doors,
                held_bytes_max: held_bytes_max(config.limits.memory_bytes_max),
            }),
        )
    }

    /// The Unix socket in the data directory, for who may open it. The directory is ours by now.
    pub fn bind_control(&mut self, config: &Config) -> io::Result<()> {
        if let Some(directory) = &config.data_dir {
            let path = directory.join(CONTROL_SOCKET);
            let bound = Bound::on_private_file(path, &config.tcp)?;
            self.doors.push((Door::Control, bound));
        }
        Ok(())
    }

    /// Opens the ports, which were only taken so far: who comes from here on is served when
    /// [`Web::start`] is.
    ///
    /// # Errors
    /// Somebody else was faster on the same port.
    pub fn listen(&mut self) -> io::Result<()> {
        let mut first = 0;
        for (_, bound) in &mut self.doors {
            bound.listen(self.poll.registry(), |index| Token(first + index))?;
            first += LISTENERS_PER_DOOR;
        }
        Ok(())
    }

    /// Over TLS or without.
    pub fn addresses(&self) -> Vec<(Door, Address)> {
        let all = self.protocols().into_iter();
        all.map(|(door, _, address)| (door, address)).collect()
    }

    /// The same, and by what protocol in RabbitMQ's words.
    pub fn protocols(&self) -> Vec<(Door, &'static str, Address)> {
        let all = self.doors.iter();
        all.flat_map(|(door, bound)| {
            let protocol = match (door, bound.has_tls()) {
                (Door::Api, false) => "http",
                (Door::Api, true) => "https",
                (Door::Metrics, _) => "http/prometheus",
                (Door::Control, _) => "control",
            };
            let addresses = bound.addresses().into_iter();
            addresses.map(move |address| (*door, protocol, address))
        })
        .collect()
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// No thread.
    pub fn start(self, management: Arc<Management>) -> io::Result<WebThread> {
        let waker = Arc::new(Waker::new(self.poll.registry(), WAKER)?);
        let (sender, news) = bounded(NEWS_MAX);
        let workers = Workers::new(management, sender.clone(), Arc::clone(&waker));
        let serve = move || {
            let doors = self.doors.into_iter();
            let running = Loop {
                poll: self.poll,
                doors: doors
                    .map(|(door, bound)| (door, bound.into_listeners()))
                    .collect(),
                sockets: Slab::new(),
                workers,
                news,
                started: Instant::now(),
                held_bytes_max: self.held_bytes_max,
                scratch: vec![0; READ_BYTES].into(),
            };
            running.run();
        };
        let thread = thread::Builder::new()
            .name("management".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(serve)?;
        Ok(WebThread {
            news: sender,
            waker,
            thread: Some(thread),
        })
    }
}

impl WebThread {
    pub fn renewal(&self) -> Renewal {
        Renewal {
            news: self.news.clone(),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl Renewal {
    /// Who comes from now on over TLS is shown these. Nobody waits for it.
    pub fn renew(&self, context: tls::Context) {
        if self.news.try_send(News::RenewTls(context)).is_err() {
            log::error!("management: HTTPS goes on with the certificates that it has");
        } else if let Err(error) = self.waker.wake() {
            log::error!("management: {error}");
        }
    }
}

impl Drop for WebThread {
    fn drop(&mut self) {
        let _ = self.news.send(News::Stop);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the management thread panicked");
        }
    }
}

impl Loop {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    log::error!("management: polling failed: {error}");
                    return;
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(number) if number < FIRST_SOCKET => self.mark_pending(number),
                    Token(number) => {
                        if let Some(socket) = self.sockets.get_mut(number - FIRST_SOCKET) {
                            socket.mark_ready(event);
                        }
                    }
                }
            }
            events.clear();
            if !self.hear() {
                return;
            }
            self.accept();
            self.serve();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// For ever, if nobody is there.
    fn timeout(&self) -> Option<Duration> {
        let now = self.now_ms();
        let pending = self.doors.iter().any(|(_, door)| door.is_pending());
        let is_waiting = pending && self.sockets.len() < CONNECTIONS_MAX;
        if is_waiting || self.sockets.iter().any(|(_, socket)| socket.has_work()) {
            return Some(Duration::ZERO);
        }
        let sockets = self.sockets.iter().map(|(_, socket)| socket.due_ms(now));
        let doors = self.doors.iter().filter_map(|(_, l)| l.next_deadline());
        // A worker that has just answered may not be back when its news are heard.
        let retry = self.workers.has_backlog().then_some(now + RETRY_MS);
        let due = sockets.chain(doors).chain(retry).min()?;
        Some(Duration::from_millis(due.saturating_sub(now)))
    }

    fn mark_pending(&mut self, number: usize) {
        let (door, index) = (number / LISTENERS_PER_DOOR, number % LISTENERS_PER_DOOR);
        if let Some((_, listeners)) = self.doors.get_mut(door) {
            listeners.mark_pending(index);
        }
    }

    /// Returns false when it is time to end.
    fn hear(&mut self) -> bool {
        self.workers.on_answered();
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Stop => return false,
                News::RenewTls(context) => {
                    for (_, listeners) in &mut self.doors {
                        listeners.renew_tls(context.clone());
                    }
                }
                News::Answered { socket, response } => {
                    let now = self.now_ms();
                    // Never another's: the slot is kept until its answer comes.
                    if let Some(socket) = self.sockets.get_mut(socket) {
                        socket.answer(response, now);
                    }
                    self.workers.on_answered();
                }
            }
        }
        true
    }

    fn accept(&mut self) {
        let now = self.now_ms();
        for (door, listeners) in &mut self.doors {
            for _ in 0..ACCEPTS_PER_TURN {
                if self.sockets.len() >= CONNECTIONS_MAX
                    && !make_room(&mut self.sockets, &self.poll)
                {
                    return;
                }
                let Some(Newcomer { transport, peer }) = listeners.accept(now) else {
                    break;
                };
                let entry = self.sockets.vacant_entry();
                let token = Token(FIRST_SOCKET + entry.key());
                let mut socket = Socket::new(transport, peer, *door, self.held_bytes_max, now);
                let both = Interest::READABLE | Interest::WRITABLE;
                match socket.register(self.poll.registry(), token, both) {
                    Ok(()) => drop(entry.insert(socket)),
                    Err(error) => log::error!("management: {error}"),
                }
            }
        }
    }

    fn serve(&mut self) {
        let now = self.now_ms();
        let held: usize = self.sockets.iter().map(|(_, s)| s.held_bytes()).sum();
        let is_crowded = held > self.held_bytes_max;
        let largest = match is_crowded {
            true => self
                .sockets
                .iter()
                .max_by_key(|(_, s)| s.held_bytes())
                .map(|(key, _)| key),
            false => None,
        };
        let mut gone = Vec::new();
        for (key, socket) in &mut self.sockets {
            // The nearest to its end goes on, and who asks for little is not kept waiting by others' uploads.
            let waits = is_crowded && Some(key) != largest && socket.held_bytes() > LITTLE_BYTES;
            match socket.serve(&mut self.scratch, waits, now) {
                Wish::Nothing => {}
                Wish::Work(request) => {
                    let caller = socket.caller().clone();
                    let job = Job {
                        socket: key,
                        request,
                        caller,
                    };
                    if let Err(response) = self.workers.take(job) {
                        socket.answer(response, now);
                    }
                }
                Wish::Close => gone.push(key),
            }
        }
        for key in gone {
            remove(&mut self.sockets, key, &self.poll);
        }
        if self.sockets.is_empty() && self.sockets.capacity() > KEPT_SOCKETS {
            self.sockets = Slab::new();
        }
    }
}

/// The connection that has been idle for longest goes; false if none is idle.
fn make_room(sockets: &mut Slab<Socket>, poll: &Poll) -> bool {
    let idle = sockets.iter().filter(|(_, socket)| socket.is_idle());
    let Some((key, _)) = idle.min_by_key(|(_, socket)| socket.deadline_ms()) else {
        return false;
    };
    remove(sockets, key, poll);
    true
}

fn remove(sockets: &mut Slab<Socket>, key: usize, poll: &Poll) {
    let mut socket = sockets.remove(key);
    socket.deregister(poll.registry());
}

/// Beside the store's files; only its owner may open it.
const CONTROL_SOCKET: &str = "leveret.sock";

/// Connections at a time.
const CONNECTIONS_MAX: usize = 1024;
const KEPT_SOCKETS: usize = 64;
const ACCEPTS_PER_TURN: usize = 16;
const EVENTS_PER_TURN: usize = 128;
const READ_BYTES: usize = 16 << 10;

/// Of requests that have not come to their end, all together; beyond, large ones wait for each other.
const HELD_BYTES_MAX: usize = 64 << 20;

/// The same where memory is little: a part of it.
fn held_bytes_max(memory_bytes_max: Option<u64>) -> usize {
    let part = memory_bytes_max.map_or(usize::MAX, |ceiling| {
        usize::try_from(ceiling / 16).unwrap_or(usize::MAX)
    });
    HELD_BYTES_MAX.min(part)
}

/// Of one request, what is read in any case.
const LITTLE_BYTES: usize = 16 << 10;

/// More news than connections never wait.
const NEWS_MAX: usize = CONNECTIONS_MAX + 1;

/// Nothing deep happens on it.
const STACK_BYTES: usize = 128 << 10;

const RETRY_MS: u64 = 1;

const WAKER: Token = Token(FIRST_SOCKET - 1);
const LISTENERS_PER_DOOR: usize = 16;
const FIRST_SOCKET: usize = 4 * LISTENERS_PER_DOOR + 1;
