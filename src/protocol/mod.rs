//! Protocol machines: bytes and the time in, bytes and effects out. No sockets, no clock.
//!
//! A [`Machine`] speaks one client's protocol. All machines share one [`Hub`]: the core, the outboxes
//! they write to, and the configuration. Whoever drives them (the event loop, or a test with a made-up
//! network) follows this order in each turn:
//!
//! ```text
//!   Hub::begin_turn            the time
//!   for each readable socket:  Machine::on_bytes, then Machine::on_turn_end
//!   Hub::settle                deliver from backlogs, carry out effects, look at memory
//!   for each woken socket:     Machine::on_woken
//!   for each due deadline:     Machine::on_timeout
//!   for each dirty outbox:     write, Outboxes::advance
//!   where wants_close:         flush, close, Machine::on_disconnect
//! ```

mod alarms;
pub mod amqp;
pub mod errand;
pub mod events;
mod holdings;
pub mod latency;
mod limits;
mod log_line;
pub mod order;
mod outbox;
pub mod page_readers;
mod progress;
mod recovery;

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::broker::journal::{Journal, QueueId};
use crate::broker::message::{MessageId, PageWork, Traits};
use crate::broker::topology::queue::Purged;
use crate::broker::{Core, Effect, Message, Name, Published, Route};
use crate::config::Config;
use crate::wire::amqp::method::basic;
use alarms::Alarms;
use events::EventListener;
use latency::Latencies;
use page_readers::PageReaders;
use progress::Progress;

pub use crate::broker::{Socket, SocketKey};
pub use alarms::{Measured, Resources};
pub use outbox::{IO_SLICES_MAX, Outboxes, SocketTraffic};
pub use progress::Awaited;

/// The time as the turn began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment before the start; deadlines count in it.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `127.0.0.1:54321`, or `unix`.
    pub address: String,
    /// Our end.
    pub local: String,
    /// Whether it is on this machine (for RabbitMQ's `loopback_users`).
    pub loopback: bool,
    /// `None` without TLS.
    pub tls: Option<Box<TlsPeer>>,
}

/// What is known of a peer that came over TLS.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// `tlsv1.2` or `tlsv1.3`.
    pub version: &'static str,
    /// As registered with IANA: `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// The one that it has shown, if it has; only good ones are let in.
    pub certificate: Option<ClientCertificate>,
}

/// Whom a certificate was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// RFC 4514: `CN=client,O=Example`.
    pub subject: String,
    /// The user that it stands for (RabbitMQ: `ssl_cert_login_from`); none if it lacks that name.
    pub user: Option<String>,
}

impl Peer {
    /// Its address without the port.
    fn host(&self) -> &str {
        let parts = self.address.rsplit_once(':');
        parts.map_or(&*self.address, |(host, _)| host)
    }

    /// The certificate that it has shown.
    fn certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.certificate.as_ref()
    }
}

/// Where generated names come from: unguessable from the operating system, or seeded in a simulation.
pub type Entropy = Box<dyn FnMut() -> [u8; 16]>;

/// What all machines share.
pub struct Hub {
    pub core: Core,
    pub outboxes: Outboxes,
    pub config: Config,
    entropy: Entropy,
    /// Whether memory and disk are low (RabbitMQ: resource alarms).
    alarms: Alarms,
    /// Publishers are blocked for a reason that the hub does not see itself.
    outside_alarm: Option<String>,
    /// Sockets that wait for the alarm to end.
    blocked: Vec<SocketKey>,
    /// Counts how often that list was woken; from 1.
    alarms_ended: u64,
    /// Sockets whose machine is to be asked again.
    woken: Vec<SocketKey>,
    /// Messages can be paged out, and what must survive does.
    has_store: bool,
    /// The number of the batch that the store is given next.
    next_batch: u64,
    progress: Progress,
    /// The last batch that changes what is declared.
    redefined_in: u64,
    /// Batches that are not stored and have messages.
    unstored: VecDeque<Unstored>,
    /// Sockets that wait for that to move.
    awaiting_store: Vec<SocketKey>,
    /// The store has more than it can write for the time being.
    store_is_full: bool,
    /// What the errand that is being done is to be told of after.
    errand_awaits: Vec<Awaited>,
    page_readers: PageReaders,
    /// Nobody was known when it started: users and virtual hosts are those of the configuration.
    is_new: bool,
    pub latencies: Latencies,
    /// When the turn began, for what is measured in finer steps than [`Now`] has (monotonic us).
    turn_us: u64,
    /// Messages published before this turn.
    published_before: u64,
    /// Clients are let in (RabbitMQ: `suspend_listeners`).
    is_accepting: bool,
    /// No message may be larger, for there is not more memory.
    message_share: u64,
    /// When the turn began.
    monotonic_ms: u64,
    /// Somebody wants the broker to stop.
    is_to_stop: bool,
    /// Who is told of what happens.
    event_listeners: Vec<EventListener>,
}

impl Hub {
    pub fn new(config: Config, entropy: Entropy) -> Self {
        let mut core = Core::empty();
        core.consumer_timeout_ms = config.limits.consumer_timeout_ms;
        core.node_name = Name::from(config.server.node_name.as_str());
        let mut hub = Hub {
            core,
            outboxes: Outboxes::new(config.limits.outbox_bytes_max),
            config,
            entropy,
            alarms: Alarms::default(),
            outside_alarm: None,
            blocked: Vec::new(),
            alarms_ended: 1,
            woken: Vec::new(),
            has_store: false,
            next_batch: 1,
            redefined_in: 0,
            progress: Progress::default(),
            unstored: VecDeque::new(),
            awaiting_store: Vec::new(),
            store_is_full: false,
            errand_awaits: Vec::new(),
            page_readers: PageReaders::default(),
            is_new: true,
            latencies: Latencies::default(),
            turn_us: 0,
            published_before: 0,
            is_accepting: true,
            message_share: u64::MAX,
            monotonic_ms: 0,
            is_to_stop: false,
            event_listeners: Vec::new(),
        };
        hub.start_first();
        hub
    }

    /// From now on there is a store behind the broker. Comes after everything was recovered from it.
    fn begin_store(&mut self, next_queue: QueueId) {
        self.core.begin_journal(next_queue);
        self.has_store = true;
    }

    /// The time as the turn begins: what is done in it is done then.
    pub fn begin_turn(&mut self, now: Now) {
        self.core.set_time(now.unix_ms);
        self.core.set_monotonic_time(now.monotonic_ms);
        self.monotonic_ms = now.monotonic_ms;
    }

    /// Whether clients are let in. Those that are there stay.
    pub fn is_accepting(&self) -> bool {
        self.is_accepting
    }

    /// Lets clients in, or no more of them (RabbitMQ: `suspend_listeners`, `resume_listeners`).
    pub fn set_accepting(&mut self, accepting: bool) {
        if self.is_accepting != accepting {
            let now = if accepting {
                "let in again"
            } else {
                "turned away"
            };
            log::warn!("clients are {now}");
        }
        self.is_accepting = accepting;
    }

    /// The broker is to stop as if told by its service manager.
    pub fn wish_to_stop(&mut self) {
        self.is_to_stop = true;
    }

    /// Whether it is to stop since last asked.
    pub fn take_stop_wish(&mut self) -> bool {
        std::mem::take(&mut self.is_to_stop)
    }

    /// Whether this is the first start on its data directory.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The same in finer steps, for [`Hub::latencies`].
    pub fn begin_measuring(&mut self, turn_us: u64) {
        self.turn_us = turn_us;
        self.published_before = self.core.counters.published;
    }

    /// The turn's writes are done.
    pub fn end_measuring(&mut self, now_us: u64) {
        let duration_us = now_us.saturating_sub(self.turn_us);
        self.latencies.turn.count(duration_us);
        if self.core.counters.published != self.published_before {
            self.latencies.straight.count(duration_us);
        }
    }

    /// When [`Hub::settle`] has something to do, in milliseconds since 1970.
    pub fn next_deadline(&self) -> Option<u64> {
        self.core.next_deadline()
    }

    /// The stages of a turn that belong to nobody's connection, each bounded.
    pub fn settle(&mut self) {
        // What is due by itself is nobody's doing.
        self.core.act_as(b"");
        self.core.fire_due();
        self.outboxes
            .review_holdings(self.monotonic_ms, &mut self.woken);
        for socket in self.outboxes.take_relieved() {
            self.core.on_room(socket);
        }
        self.core.deliver_backlogs(&mut self.outboxes);
        self.after_command();
        // Where turns are long, more is freed in each, so that a purge is over in good time.
        let published = self.core.counters.published - self.published_before;
        self.core
            .free_discarded(usize::try_from(published).unwrap_or(usize::MAX));
        self.core.tidy();
        self.review_purges();
        self.hand_on_events();
        if self.has_store {
            let budget = self.bounded(self.config.limits.messages_bytes_budget, 4);
            let unstored = self.unstored.front().map(|batch| batch.first);
            let unstored = unstored.or_else(|| self.core.first_journaled());
            self.core.page_out(budget, unstored);
        }
        self.watch_memory();
    }

    /// Whether [`Hub::settle`] left something: the next poll must not wait.
    pub fn has_more_work(&self) -> bool {
        self.core.has_more_work() || self.outboxes.has_relieved() || self.core.has_events()
    }

    /// Sockets whose machine changed by somebody else's act since last asked.
    pub fn take_woken(&mut self, into: &mut Vec<SocketKey>) {
        into.append(&mut self.woken);
    }

    /// Takes over what may change while the broker runs.
    pub fn reconfigure(&mut self, wanted: &Config) {
        let watermarks = self.config.watermarks.clone();
        let memory_bytes_max = self.config.limits.memory_bytes_max;
        let event_exchange = self.config.event_exchange.clone();
        self.config.reload(wanted);
        if self.config.event_exchange != event_exchange {
            self.follow_event_exchange();
        }
        self.core.consumer_timeout_ms = self.config.limits.consumer_timeout_ms;
        self.core
            .set_loopback_users(&self.config.access.loopback_users);
        if self.config.watermarks != watermarks
            || self.config.limits.memory_bytes_max != memory_bytes_max
        {
            self.log_limits();
            self.review_alarms();
        }
    }

    /// All batches up to the first number are stored, those up to the second were given to the store.
    /// `None` in a broker without one.
    pub fn store_progress(&self) -> Option<(u64, u64)> {
        self.has_store
            .then(|| (self.progress.stored_up_to, self.next_batch - 1))
    }

    /// Whether nobody has to wait for any of it any more; in a broker without a store nobody ever has.
    pub fn has_reached(&self, all: &[Awaited]) -> bool {
        !self.has_store || all.iter().all(|awaited| self.progress.has(*awaited))
    }

    /// What the store is to do next, as one batch; none if there is nothing. In a broker without a
    /// store there never is.
    pub fn take_store_work(&mut self) -> Option<StoreWork> {
        let pages = self.core.take_page_work();
        if !self.core.has_journal() && pages.is_empty() {
            return None;
        }
        let number = self.next_batch;
        self.next_batch += 1;
        let journal = self.core.take_journal();
        let first = journal.first_message();
        self.unstored.extend(first.map(|first| Unstored {
            number,
            first,
            since_us: self.turn_us,
        }));
        Some(StoreWork {
            number,
            journal,
            pages,
        })
    }

    /// All batches up to this one are stored: confirms and answers that waited for them go out.
    pub fn on_stored(&mut self, up_to: u64) {
        self.progress.on_stored(up_to);
        while let Some(batch) = self.unstored.front()
            && batch.number <= up_to
        {
            let waited_us = self.turn_us.saturating_sub(batch.since_us);
            self.latencies.publish_to_confirm.count(waited_us);
            self.unstored.pop_front();
        }
        self.outboxes.open_gates(&self.progress);
        self.woken.append(&mut self.awaiting_store);
    }

    /// A block of messages was read back, encoded as a journal has them.
    pub fn on_page(&mut self, block: u64, encoded: &[u8]) {
        self.show_page(block, encoded);
        let waiting = self.core.page_in(block, encoded);
        self.woken.extend(waiting);
        self.after_command();
    }

    /// The store cannot be given more for now, or can again.
    pub fn set_store_full(&mut self, full: bool) {
        let was_full = std::mem::replace(&mut self.store_is_full, full);
        if was_full && !full {
            self.woken.append(&mut self.awaiting_store);
        }
    }

    /// All batches up to this one are stored.
    fn stored_up_to(&self) -> u64 {
        self.progress.stored_up_to
    }

    /// The number of the batch that has what was just written down; it is stored as soon as can be.
    fn await_batch(&mut self) -> u64 {
        self.core.await_journal();
        self.next_batch
    }

    /// What is put into the outbox from here on waits until what was just written down is stored.
    fn gate(&mut self, socket: SocketKey) {
        let batch = self.await_batch();
        self.gate_until(socket, Awaited::Batch(batch));
    }

    /// The same until that is reached. A guest has no socket: for it, that is the outcome of its errand.
    fn gate_until(&mut self, socket: SocketKey, awaited: Awaited) {
        if socket == SocketKey::NONE {
            self.errand_awaits.push(awaited);
        } else {
            self.outboxes.gate(socket, awaited);
        }
    }

    /// The same until the messages of a purge are gone for good.
    fn gate_purge(&mut self, socket: SocketKey, purged: &Purged) {
        let awaited = purged.number.map(Awaited::Purge);
        if let Some(awaited) = awaited.filter(|it| !self.progress.has(*it)) {
            self.gate_until(socket, awaited);
        }
    }

    /// Has stored that purges are done.
    fn review_purges(&mut self) {
        let done = self.core.purges_done();
        if !self.has_store || !self.progress.has_purged(done) {
            return;
        }
        let batch = match self.core.has_journal() {
            true => self.await_batch(),
            false => self.next_batch - 1,
        };
        self.progress.on_purged(done, batch);
        self.outboxes.open_gates(&self.progress);
    }

    /// The same for an answer that says what is declared. Somebody else may have declared it, and wait for
    /// the store still.
    fn gate_definitions(&mut self, socket: SocketKey, no_wait: bool) {
        if self.core.take_redefined() {
            self.redefined_in = self.await_batch();
        }
        let awaited = Awaited::Batch(self.redefined_in);
        if !no_wait && !self.progress.has(awaited) {
            self.gate_until(socket, awaited);
        }
    }

    /// Publishers of what must be stored, or has no room in memory, are faster than the disk: they are
    /// not read for a while.
    fn is_congested(&self) -> bool {
        let has_backlog =
            self.store_is_full && self.core.bytes_for_store() > self.bounded(JOURNAL_BYTES_MAX, 16);
        has_backlog || self.has_no_room()
    }

    /// Messages behind the first that is not stored cannot be paged out. While the disk stalls they take
    /// twice what is meant for them, and no more.
    #[inline]
    fn has_no_room(&self) -> bool {
        !self.unstored.is_empty()
            && self.core.present_message_bytes() / 2 > self.config.limits.messages_bytes_budget
    }

    #[inline]
    fn holds_publishers(&self) -> bool {
        self.alarms.any() || self.outside_alarm.is_some() || self.is_congested()
    }

    fn wake_when_stored(&mut self, socket: SocketKey) {
        self.awaiting_store.push(socket);
    }

    /// Gives a message to the queues on its route, and where it dies at once, to those of its dead
    /// letters: they have to be stored before it is confirmed.
    #[inline]
    fn publish(&mut self, route: &Route, message: &Message<'_>, traits: &Traits) -> Published {
        let published = self
            .core
            .publish(route, message, traits, &mut self.outboxes);
        if published == Published::Taken && traits.persistent && !self.core.is_settled() {
            self.core.deliver_fresh(&mut self.outboxes);
            if self.core.has_journal() {
                return Published::Journaled;
            }
        }
        published
    }

    /// Carries out what a command meant for others, behind its answer.
    #[inline]
    fn after_command(&mut self) {
        if self.core.is_settled() {
            return;
        }
        self.carry_out_effects();
        self.core.deliver_fresh(&mut self.outboxes);
        // Traces of what was delivered just now; they are not traced again.
        self.carry_out_effects();
    }

    fn carry_out_effects(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::ConsumerCancelled {
                    socket,
                    channel,
                    consumer_tag,
                } => {
                    let cancel = basic::Cancel {
                        consumer_tag: &consumer_tag,
                        no_wait: true,
                    };
                    self.outboxes.send(socket, channel, &cancel);
                }
                Effect::ConnectionDoomed { socket } => self.woken.push(socket),
                Effect::Traced(delivery) => {
                    self.core.trace_delivery(&delivery, &mut self.outboxes);
                }
            }
        }
    }

    /// Sixteen bytes that nobody can guess, as a name can hold them.
    fn generate_name(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", base64_url((self.entropy)()))
    }

    fn wake_unblocked(&mut self) {
        if self.alarm().is_none() {
            self.woken.append(&mut self.blocked);
            self.alarms_ended += 1;
        }
    }

    /// Wakes the socket when no alarm is left, unless it is on the list already: since the alarm
    /// `listed_in`, which this gave when it was listed; 0 if it never was.
    fn list_blocked(&mut self, socket: SocketKey, listed_in: u64) -> u64 {
        if listed_in != self.alarms_ended {
            if self.blocked.len() == self.blocked.capacity() {
                // Those who gave up waiting, so that coming back again and again costs nothing.
                self.blocked.retain(|key| self.outboxes.is_open(*key));
            }
            self.blocked.push(socket);
        }
        self.alarms_ended
    }
}

/// A batch with messages that is not stored yet.
struct Unstored {
    number: u64,
    /// Its first message.
    first: MessageId,
    /// When its turn began (monotonic us).
    since_us: u64,
}

/// One batch for the store.
pub struct StoreWork {
    /// Batches count up; [`Hub::on_stored`] counts in it.
    pub number: u64,
    pub journal: Journal,
    pub pages: PageWork,
}

/// The protocol machine of one socket.
pub enum Machine {
    Amqp(Box<amqp::Connection>),
}

impl Machine {
    pub fn new(socket: SocketKey, peer: Peer, hub: &Hub, now: Now) -> Self {
        Machine::Amqp(Box::new(amqp::Connection::new(socket, peer, hub, now)))
    }

    /// It was found out who the peer is, before its first byte.
    pub fn introduce(&mut self, peer: Peer) {
        match self {
            Machine::Amqp(connection) => connection.introduce(peer),
        }
    }

    /// Takes what is complete from the front of `input`; how many bytes. The rest is to be shown
    /// again, with more behind it.
    pub fn on_bytes(&mut self, input: &[u8], hub: &mut Hub, now: Now) -> usize {
        match self {
            Machine::Amqp(connection) => connection.on_bytes(input, hub, now),
        }
    }

    /// Bytes that it keeps of what the peer has begun and not finished.
    pub fn unfinished_bytes(&mut self) -> usize {
        match self {
            Machine::Amqp(connection) => connection.unfinished_bytes(),
        }
    }

    /// Whether it is not read from for a reason that the peer can do nothing about.
    pub fn is_held(&self) -> bool {
        match self {
            Machine::Amqp(connection) => connection.is_held(),
        }
    }

    /// It held too much while memory was short, and is gone at once.
    pub fn cut_off(&mut self, hub: &mut Hub) {
        match self {
            Machine::Amqp(connection) => connection.cut_off(hub),
        }
    }

    /// After the bytes of a turn: what is said once for all of them.
    pub fn on_turn_end(&mut self, hub: &mut Hub) {
        match self {
            Machine::Amqp(connection) => connection.on_turn_end(hub),
        }
    }

    /// The hub named the socket in [`Hub::take_woken`].
    pub fn on_woken(&mut self, hub: &mut Hub, now: Now) {
        match self {
            Machine::Amqp(connection) => connection.on_woken(hub, now),
        }
    }

    pub fn on_timeout(&mut self, hub: &mut Hub, now: Now) {
        match self {
            Machine::Amqp(connection) => connection.on_timeout(hub, now),
        }
    }

    /// When [`Machine::on_timeout`] is due, in monotonic milliseconds. It may move later unseen.
    pub fn next_deadline(&self, hub: &Hub) -> Option<u64> {
        match self {
            Machine::Amqp(connection) => connection.next_deadline(hub),
        }
    }

    /// Whether more bytes are welcome.
    pub fn wants_read(&self, hub: &Hub) -> bool {
        match self {
            Machine::Amqp(connection) => connection.wants_read(hub),
        }
    }

    /// The conversation is over: write what waits in the outbox, then close the socket.
    pub fn wants_close(&self) -> bool {
        match self {
            Machine::Amqp(connection) => connection.wants_close(),
        }
    }

    /// The socket is gone. Called once, last.
    pub fn on_disconnect(&mut self, hub: &mut Hub) {
        match self {
            Machine::Amqp(connection) => connection.on_disconnect(hub),
        }
    }

    /// The broker stops: say so and end the conversation.
    pub fn begin_shutdown(&mut self, hub: &mut Hub, now: Now, reason: &str) {
        match self {
            Machine::Amqp(connection) => connection.begin_shutdown(hub, now, reason),
        }
    }
}

/// 22 characters, as RabbitMQ's generated names have.
fn base64_url(bytes: [u8; 16]) -> String {
    BASE64.encode(bytes)
}

/// Bytes of messages that wait for a full store before their publishers do.
const JOURNAL_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_base64() {
        assert_eq!(base64_url([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(base64_url([255; 16]), "_____________________w");
        assert_eq!(base64_url(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
    }
}
