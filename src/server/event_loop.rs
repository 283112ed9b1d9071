//! The event loop: one thread, all sockets, the same stages in the same order every turn.
//!
//! A stage marks what a later one acts on: events mark sockets as ready, reading fills outboxes, a
//! closing socket waits for the reap stage. Every stage is bounded, and what it leaves makes the next
//! poll return at once; with nothing left and no deadline the loop sleeps until somebody speaks.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Waker};

use super::Reload;
use super::address::Address;
use super::arrival::Arrival;
use super::clock::{Clock, whole_us};
use super::control::{COMMANDS_MAX, Command, Handle, Told};
use super::definitions_file;
use super::entropy;
use super::inherited::Inherited;
use super::input::SCRATCH_ROOM;
use super::listener::{Listeners, Newcomer};
use super::log_feed::LogFeed;
use super::monitor::{Monitor, Sampler};
use super::notify::Notifier;
use super::reloader::Reloader;
use super::signal::{Signals, Wish};
use super::socket::{Flushed, Socket};
use super::socket_table::SocketTable;
use super::state_dump::log_state;
use super::store_link::StoreLink;
use super::timer::Timers;
use super::token::Source;
use super::transport::Transport;
use super::watchdog::Watchdog;
use super::web::Renewal;
use crate::config::{Config, Limits};
use crate::log_tap::LogTap;
use crate::protocol::errand::Tell;
use crate::protocol::{Awaited, Hub, Machine, Now, SocketKey};

pub(super) struct EventLoop {
    poll: Poll,
    events: Events,
    clock: Clock,
    limits: Limits,
    /// See [`Config::spin_us`].
    spin: Duration,
    hub: Hub,
    /// None in a broker from which nothing survives.
    store: Option<StoreLink>,
    listeners: Listeners,
    sockets: SocketTable,
    timers: Timers,
    told: Receiver<Told>,
    /// Errands that were done and whose outcome is not told before that is reached.
    untold: Vec<(Tell, Vec<Awaited>)>,
    signals: Option<Signals>,
    reloader: Option<Reloader>,
    /// Takes certificates of the management API. None where that is off.
    https: Option<Renewal>,
    notifier: Arc<Notifier>,
    watchdog: Watchdog,
    monitor: Monitor,
    /// None in a program that keeps its log to itself.
    log_feed: Option<LogFeed>,
    /// It has more.
    feeds: bool,
    /// Another handle to ourselves, for those who work for us.
    handle: Handle,
    /// What every socket reads into.
    scratch: Box<[u8]>,
    /// Sockets with input, each once, served in turn.
    ready: VecDeque<SocketKey>,
    /// Sockets of which not all was read when it was their turn.
    unfinished: VecDeque<SocketKey>,
    /// They had no turn, for others were read.
    passed_over: bool,
    /// Sockets of whom it is not known yet who comes, the same way.
    arriving: VecDeque<SocketKey>,
    /// Machines that somebody else's act concerns.
    woken: Vec<SocketKey>,
    /// Sockets for the flush stage: with bytes to write, writable again, or closing.
    to_flush: Vec<SocketKey>,
    /// Sockets that the flush stage is done with.
    to_reap: Vec<SocketKey>,
    /// Stopping: the end, whoever is still connected (monotonic ms).
    stop_by: Option<u64>,
    /// Counts the turns.
    turns: u64,
}

impl EventLoop {
    pub fn bind(config: Config, inherited: Inherited) -> io::Result<(EventLoop, Handle)> {
        let mut listeners = Listeners::bind(&config, inherited)?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Waker.token())?;
        let (handle, told) = Handle::new(waker);
        let limits = config.limits.clone();
        let mut hub = Hub::new(config.clone(), Box::new(entropy::draw));
        let clock = Clock::start();
        hub.begin_turn(clock.now());
        let store = match &config.data_dir {
            Some(directory) => {
                let handle = handle.clone();
                Some(StoreLink::open(directory, &config, &mut hub, handle)?)
            }
            None => None,
        };
        let monitor = Monitor::start(config.data_dir.as_deref(), &mut hub, handle.clone())?;
        if let Some(path) = &config.load_definitions {
            definitions_file::load(path, &mut hub)?;
        }
        hub.follow_event_exchange();
        listeners.listen(poll.registry())?;
        let event_loop = EventLoop {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            clock,
            scratch: vec![0; limits.read_bytes_max.max(READ_BYTES_MIN) + SCRATCH_ROOM].into(),
            limits,
            spin: Duration::from_micros(config.spin_us),
            hub,
            store,
            listeners,
            sockets: SocketTable::default(),
            timers: Timers::default(),
            told,
            untold: Vec::new(),
            signals: None,
            reloader: None,
            https: None,
            notifier: Arc::default(),
            watchdog: Watchdog::default(),
            monitor,
            log_feed: None,
            feeds: false,
            handle: handle.clone(),
            ready: VecDeque::new(),
            unfinished: VecDeque::new(),
            passed_over: false,
            arriving: VecDeque::new(),
            woken: Vec::new(),
            to_flush: Vec::new(),
            to_reap: Vec::new(),
            stop_by: None,
            turns: 0,
        };
        Ok((event_loop, handle))
    }

    /// Where it listens without TLS, and with it.
    pub fn addresses(&self) -> (Vec<Address>, Vec<Address>) {
        (
            self.listeners.addresses(false),
            self.listeners.addresses(true),
        )
    }

    pub fn obey_signals(&mut self, reload: Reload) -> io::Result<()> {
        self.signals = Some(Signals::install(self.poll.registry())?);
        self.reloader = Some(Reloader::new(reload));
        Ok(())
    }

    pub fn renew_https_by(&mut self, renewal: Renewal) {
        self.https = Some(renewal);
    }

    /// Has samples taken now and then, while clients send something.
    pub fn sample_by(&self, sampler: Sampler) {
        self.monitor.sample_by(sampler);
    }

    pub fn notify(&mut self, notifier: Notifier) {
        self.notifier = Arc::new(notifier);
        self.watchdog = Watchdog::new(Arc::clone(&self.notifier), self.clock.monotonic_ms());
    }

    pub fn publish_log(&mut self, tap: LogTap) {
        let mut feed = LogFeed::new(tap, self.handle.clone());
        // What is logged from here on is published.
        feed.serve(&mut self.hub, self.clock.now());
        self.log_feed = Some(feed);
    }

    /// Turns until stopped.
    pub fn run(mut self) -> io::Result<()> {
        self.notifier.ready();
        while !self.has_stopped() {
            self.turn()?;
        }
        self.drop_remaining();
        if let Some(store) = self.store.take() {
            store.stop(&mut self.hub)?;
        }
        log::info!("stopped");
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.poll()?;
        self.turns += 1;
        let elapsed = self.clock.elapsed();
        let now = self.clock.at(elapsed);
        self.watchdog.fire_due(now.monotonic_ms);
        self.hub.begin_turn(now);
        self.hub.begin_measuring(whole_us(elapsed));
        self.obey(now);
        if self.hub.take_stop_wish() {
            self.stop(self.limits.stop_timeout_ms, now);
        }
        self.hear_from_store();
        self.answer();
        self.accept(now);
        self.read(now);
        self.receive_arrivals(now);
        self.monitor.serve(&mut self.hub, now.monotonic_ms);
        if let Some(feed) = &mut self.log_feed {
            self.feeds = feed.serve(&mut self.hub, now);
        }
        self.hub.settle();
        self.fire_due(now);
        self.wake(now);
        self.submit_to_store();
        self.flush(now, FLUSHES_PER_TURN);
        self.hub.end_measuring(whole_us(self.clock.elapsed()));
        self.reap(now);
        Ok(())
    }

    /// Waits for something to do, and marks whom it concerns.
    fn poll(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        match self.spin(timeout).and_then(|left| match left {
            Left::Events => Ok(()),
            Left::Time(timeout) => self.poll.poll(&mut self.events, timeout),
        }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            match Source::of(event.token()) {
                // The channel is looked at every turn.
                Source::Waker => {}
                Source::Signals => {
                    if let Some(signals) = &mut self.signals {
                        signals.mark_pending();
                    }
                }
                Source::Listener(index) => self.listeners.mark_pending(index),
                Source::Socket(index) => {
                    let Some(socket) = self.sockets.at_index(index) else {
                        continue;
                    };
                    socket.mark_ready(event);
                    if !std::mem::replace(&mut socket.listed, true) {
                        match socket.is_arriving() {
                            true => self.arriving.push_back(socket.key()),
                            false => self.ready.push_back(socket.key()),
                        }
                    }
                    if event.is_writable() {
                        self.to_flush.push(socket.key());
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks for events without sleeping, for as long as the configuration says and somebody may speak
    /// any moment; what that leaves to do.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<Left> {
        if self.spin.is_zero() || timeout == Some(Duration::ZERO) {
            return Ok(Left::Time(timeout));
        }
        let began = Instant::now();
        loop {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            if !self.events.is_empty() {
                return Ok(Left::Events);
            }
            // On few processors those whom it waits for need this one.
            thread::yield_now();
            let elapsed = began.elapsed();
            if elapsed >= timeout.unwrap_or(self.spin).min(self.spin) {
                let left = timeout.map(|timeout| timeout.saturating_sub(elapsed));
                return Ok(Left::Time(left));
            }
        }
    }

    /// Zero if any stage has left something, else up to the next deadline, else for ever.
    fn timeout(&mut self) -> Option<Duration> {
        // Those whom the last stage, releasing the dead, has stirred up.
        self.hub.outboxes.take_dirty(&mut self.to_flush);
        self.hub.take_woken(&mut self.woken);
        let has_more_work = !self.ready.is_empty()
            || !self.unfinished.is_empty()
            || !self.arriving.is_empty()
            || !self.to_flush.is_empty()
            || !self.woken.is_empty()
            || self.listeners.is_pending()
            || self.feeds
            || self.hub.has_more_work();
        if has_more_work {
            return Some(Duration::ZERO);
        }
        let due = self.hub.next_deadline();
        let deadlines = [
            due.map(|unix_ms| self.clock.monotonic_at(unix_ms)),
            self.timers.next_due(),
            self.listeners.next_deadline(),
            self.watchdog.next_due(),
            self.monitor.next_due(&self.hub),
            self.stop_by,
            self.hub.outboxes.next_review(),
        ];
        let deadline = deadlines.into_iter().flatten().min()?;
        let wait_ms = deadline.saturating_sub(self.clock.monotonic_ms());
        Some(Duration::from_millis(wait_ms.min(WAIT_MS_MAX)))
    }

    /// What other threads and the operating system tell us to do.
    fn obey(&mut self, now: Now) {
        let wishes = self.signals.as_mut().map(Signals::take);
        for wish in wishes.into_iter().flatten() {
            match (wish, self.stop_by) {
                (Wish::Stop, None) => self.stop(self.limits.stop_timeout_ms, now),
                (Wish::Stop, Some(_)) => self.stop(0, now),
                (Wish::Reload, _) => self.reload(),
                (Wish::Describe, _) => {
                    log_state(&self.hub, self.sockets.len(), now.monotonic_ms);
                }
            }
        }
        // Who sends more meanwhile wakes us again.
        for _ in 0..COMMANDS_MAX {
            let Ok(told) = self.told.try_recv() else {
                return;
            };
            let command = match told {
                Told::Command(command) => command,
                Told::Errand(errand) => {
                    let (tell, awaited) = self.hub.run(errand);
                    match self.hub.has_reached(&awaited) {
                        true => tell(),
                        false => self.untold.push((tell, awaited)),
                    }
                    continue;
                }
            };
            match command {
                Command::Stop => self.stop(self.limits.stop_timeout_ms, now),
                Command::StopNow => self.stop(0, now),
                Command::Block(reason) => self.hub.set_blocked(Some(&reason)),
                Command::Unblock => self.hub.set_blocked(None),
                Command::Reconfigure(wanted) => {
                    self.hub.reconfigure(&wanted);
                    self.limits = self.hub.config.limits.clone();
                }
                Command::RenewTls(context) => self.listeners.renew_tls(context),
                Command::RenewHttps(context) => {
                    if let Some(https) = &self.https {
                        https.renew(context);
                    }
                }
                Command::Trace { virtual_host, on } => self.trace(&virtual_host, on),
            }
        }
    }

    fn reload(&self) {
        if let Some(reloader) = &self.reloader {
            reloader.start(self.handle.clone(), Arc::clone(&self.notifier));
        }
    }

    fn trace(&mut self, virtual_host: &str, on: bool) {
        match self.hub.core.set_tracing(virtual_host.as_bytes(), on) {
            Ok(()) if on => log::info!("vhost '{virtual_host}': tracing enabled"),
            Ok(()) => log::info!("vhost '{virtual_host}': tracing disabled"),
            Err(error) => log::warn!("tracing: {error}"),
        }
    }

    fn hear_from_store(&mut self) {
        if let Some(store) = &mut self.store {
            store.take_reports(&mut self.hub);
        }
    }

    /// Outcomes are told when what they changed is stored.
    fn answer(&mut self) {
        let hub = &self.hub;
        let reached = |(_, awaited): &mut (Tell, Vec<Awaited>)| hub.has_reached(awaited);
        for (tell, _) in self.untold.extract_if(.., reached) {
            tell();
        }
    }

    /// Before the sockets are written to, so that the disk works meanwhile.
    fn submit_to_store(&mut self) {
        if let Some(store) = &mut self.store {
            store.submit(&mut self.hub);
        }
    }

    fn accept(&mut self, now: Now) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listeners.accept(now.monotonic_ms) {
                Some(newcomer) if self.hub.is_accepting() && !self.hub.is_memory_full() => {
                    self.open(newcomer, now);
                }
                // Better than to be left waiting.
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Reads from those who have said something since they were last read to the end, or else from those
    /// who never come to an end; these have every second turn at least. So who asks for little is answered
    /// before much is done for others, and waits for one short stage of that.
    fn read(&mut self, now: Now) {
        let mut bytes_read = 0;
        self.passed_over =
            !self.ready.is_empty() && !self.unfinished.is_empty() && !self.passed_over;
        if !self.passed_over {
            bytes_read += self.read_from(|it| &mut it.unfinished, UNFINISHED_STAGE_MAX, now);
        }
        bytes_read += self.read_from(|it| &mut it.ready, READ_STAGE_MAX, now);
        self.monitor.on_input(bytes_read);
    }

    /// Reads once from each on a list, as far as there is time. Who has more to read is listed anew.
    fn read_from(
        &mut self,
        list: impl Fn(&mut Self) -> &mut VecDeque<SocketKey>,
        time_max: Duration,
        now: Now,
    ) -> usize {
        let mut bytes_read = 0;
        let started = Instant::now();
        for _ in 0..list(self).len() {
            let Some(key) = list(self).pop_front() else {
                break;
            };
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            socket.listed = false;
            bytes_read += socket.read(&mut self.scratch, &mut self.hub, now);
            self.review(key, now);
            if bytes_read >= self.limits.turn_bytes_max || started.elapsed() >= time_max {
                break;
            }
        }
        bytes_read
    }

    /// A step of a handshake cannot be divided, and one with a signature takes up to a millisecond. So
    /// those who are in do not queue up behind two hundred of them, but behind one or two.
    fn receive_arrivals(&mut self, now: Now) {
        if self.arriving.is_empty() {
            return;
        }
        let started = Instant::now();
        for _ in 0..self.arriving.len().min(ARRIVALS_PER_TURN) {
            let Some(key) = self.arriving.pop_front() else {
                break;
            };
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.listed = false;
                socket.read(&mut self.scratch, &mut self.hub, now);
                self.review(key, now);
            }
            if started.elapsed() >= ARRIVAL_STAGE_MAX {
                break;
            }
        }
    }

    fn fire_due(&mut self, now: Now) {
        for _ in 0..TIMERS_PER_TURN {
            let Some(key) = self.timers.pop_due(now.monotonic_ms) else {
                return;
            };
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.on_timer(&mut self.hub, now);
                self.review(key, now);
            }
        }
    }

    fn wake(&mut self, now: Now) {
        let mut woken = std::mem::take(&mut self.woken);
        self.hub.take_woken(&mut woken);
        let count = woken.len().min(WAKINGS_PER_TURN);
        for key in woken.drain(..count) {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.on_woken(&mut self.hub, now);
                self.review(key, now);
            }
        }
        self.woken = woken;
    }

    /// One write per socket. What does not fit waits for the peer.
    fn flush(&mut self, now: Now, sockets_max: usize) {
        self.hub.outboxes.take_dirty(&mut self.to_flush);
        // By index: a review may append a socket that has just come to its end. Those with more to
        // write than one write takes move to the front and stay for the next turn.
        let mut index = 0;
        let mut unfinished = 0;
        while index < self.to_flush.len().min(sockets_max) {
            let key = self.to_flush[index];
            index += 1;
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            match socket.flush(&mut self.hub.outboxes, self.poll.registry(), self.turns) {
                Flushed::Finished => self.to_reap.push(key),
                Flushed::More => {
                    self.to_flush[unfinished] = key;
                    unfinished += 1;
                    self.review(key, now);
                }
                Flushed::Waiting => self.review(key, now),
            }
        }
        self.to_flush.drain(unfinished..index);
    }

    /// The only place where sockets are freed.
    fn reap(&mut self, now: Now) {
        while let Some(key) = self.to_reap.pop() {
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            socket.release(&mut self.hub);
            if socket.linger(now) {
                self.review(key, now);
                continue;
            }
            self.sockets.remove(key);
            self.timers.cancel(key);
            self.hub.outboxes.close(key);
            self.listeners.on_descriptor_freed();
        }
    }

    /// After anything that may have changed what a socket wants.
    fn review(&mut self, key: SocketKey, now: Now) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let wishes = socket.review(&self.hub, &self.limits, now);
        if wishes.read && !std::mem::replace(&mut socket.listed, true) {
            match socket.is_arriving() {
                true => self.arriving.push_back(key),
                false => self.unfinished.push_back(key),
            }
        }
        if wishes.flush {
            self.to_flush.push(key);
        }
        if let Some(deadline) = wishes.deadline {
            self.timers.arm(key, deadline, now.monotonic_ms);
        }
    }

    fn open(&mut self, newcomer: Newcomer, now: Now) {
        let Newcomer { transport, peer } = newcomer;
        let key = self.hub.outboxes.open();
        let config = &self.hub.config;
        let from_proxy = config.proxy_protocol && !matches!(transport, Transport::Unix(_));
        let deadline = now.monotonic_ms + config.tls.handshake_timeout_ms;
        let arrival = Arrival::expect(&peer, &transport, from_proxy, deadline);
        let machine = Machine::new(key, peer, &self.hub, now);
        let mut socket = Socket::new(key, transport, arrival, machine);
        let registered = socket.register(self.poll.registry());
        if let Err(error) = &registered {
            log::error!("socket {key:?}: could not be registered: {error}");
            socket.give_up();
        }
        self.sockets.insert(socket);
        self.review(key, now);
    }

    fn stop(&mut self, wait_ms: u64, now: Now) {
        let stop_by = now.monotonic_ms + wait_ms;
        if let Some(before) = self.stop_by {
            self.stop_by = Some(stop_by.min(before));
            return;
        }
        log::info!("stopping, with {} connections", self.sockets.len());
        self.notifier.stopping();
        self.stop_by = Some(stop_by);
        self.listeners.close();
        for key in self.sockets.keys() {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.begin_shutdown(&mut self.hub, now, STOP_REASON);
                self.review(key, now);
            }
        }
    }

    fn has_stopped(&self) -> bool {
        self.stop_by
            .is_some_and(|by| self.sockets.is_empty() || by <= self.clock.monotonic_ms())
    }

    /// Those who did not answer in time get one last write.
    fn drop_remaining(&mut self) {
        let now = self.clock.now();
        self.turns += 1;
        self.flush(now, usize::MAX);
        for key in self.sockets.keys() {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.give_up();
                self.to_reap.push(key);
            }
        }
        self.reap(now);
        self.hub.settle();
    }
}

/// What is left of a poll after spinning.
enum Left {
    /// To handle the events that came.
    Events,
    /// To sleep for so long.
    Time(Option<Duration>),
}

/// Events taken from one poll; the rest come with the next.
const EVENTS_PER_TURN: usize = 1024;

/// New connections per turn. More wait in the backlog, so that a storm of them leaves room for those
/// that are open.
const ACCEPTS_PER_TURN: usize = 64;

/// Sockets whose deadline is looked at per turn.
const TIMERS_PER_TURN: usize = 256;

/// Machines told of somebody else's act per turn: a memory alarm concerns all of them.
const WAKINGS_PER_TURN: usize = 256;

/// Sockets written to per turn, at a few microseconds each. A message for ten thousand consumers
/// takes several turns, in which the others are served, too.
const FLUSHES_PER_TURN: usize = 256;

/// The read stage ends after this, so that a turn is about a millisecond of work.
const READ_STAGE_MAX: Duration = Duration::from_micros(700);

/// The same of those who send without a pause.
const UNFINISHED_STAGE_MAX: Duration = Duration::from_micros(100);

/// Sockets per turn whose arrival goes on; the next does not begin after [`ARRIVAL_STAGE_MAX`].
const ARRIVALS_PER_TURN: usize = 16;

/// With RSA keys one signature is more than this, so there is one per turn.
const ARRIVAL_STAGE_MAX: Duration = Duration::from_micros(300);

/// A smaller setting would only cost system calls.
const READ_BYTES_MIN: usize = 4096;

/// About 24 days: what the operating system takes as a timeout.
const WAIT_MS_MAX: u64 = i32::MAX as u64;

/// RabbitMQ's word for why connections end, in the text of `connection.close` (320).
const STOP_REASON: &str = "shutdown";
