//! One client's connection (AMQP 0-9-1 §2.2.4, §4.2): frames in, in order, to where they belong.
//!
//! ```text
//!  Header -> StartOk -> TuneOk -> Open -> Running ------> Closing -> Finished
//!     |         |          |        |        | (close)       ^          ^
//!     |         v          v        v        |               |          |
//!     |      Refused     (connection exception: connection.close) ------+
//!     +---------+------------------------------------------------------>+
//! ```
//!
//! `Closing` waits for `connection.close-ok` and reads over everything else (§2.2.4). `Refused` waits a
//! while before it hangs up, so that guessing passwords takes time (RabbitMQ).

use crate::broker::access::{Resource, Right};
use crate::broker::{
    ConnectionKey, ConnectionState, Name, OverdueChannel, SocketKey, VirtualHostKey,
};
use crate::protocol::{Hub, Now, Peer};
use crate::wire::amqp::frame::{self, ContentHeader, Frame};
use crate::wire::amqp::method::{Method, basic, channel as channel_class, connection as class};
use crate::wire::amqp::{OwnedTable, PROTOCOL_HEADER, ReplyCode};
use crate::wire::reader::Reader;

use super::channel::Channel;
use super::exception::{Exception, Result};
use super::frame_error::{self, decode_method};
use super::heartbeat::{Due, Heartbeat};
use super::publish::Publication;

/// The machine of one AMQP connection.
pub struct Connection {
    pub(super) socket: SocketKey,
    pub(super) peer: Peer,
    pub(super) state: State,
    /// Limit of the frames that it sends, as negotiated so far.
    pub(super) frame_max: u32,
    pub(super) channel_max: u16,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) client: Client,
    /// Since `connection.open`.
    session: Option<Session>,
    /// Sorted by number. Boxed, so that opening one among thousands moves words and not channels.
    #[expect(
        clippy::vec_box,
        reason = "insertion in the middle moves what is behind"
    )]
    channels: Vec<Box<Channel>>,
    /// Numbers of channels that owe their publisher confirms.
    owing_confirms: Vec<u16>,
    /// Not read while publishers are blocked (RabbitMQ: `connection.blocked`).
    blocked: bool,
    /// Since when it is on the hub's list of the blocked, see [`Hub::list_blocked`].
    blocked_in: u64,
    /// Not read until a message was read back that it asked for.
    awaits_page: bool,
    /// Not read because it publishes faster than the store can write.
    awaits_store: bool,
    /// The hub will wake it when more is stored.
    listens_to_store: bool,
    /// A channel may have part of something.
    has_unfinished: bool,
    /// When the state has lasted too long.
    deadline_ms: Option<u64>,
}

/// In the order in which they are passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Header,
    StartOk,
    TuneOk,
    Open,
    Running,
    /// We sent `connection.close`.
    Closing,
    /// As `Closing`, but what the peer sends can no longer be told apart into frames.
    ClosingGarbled,
    /// Turned away; hangs up when the deadline comes.
    Refused,
    Finished,
}

/// What the client said of itself in `connection.start-ok`.
#[derive(Default)]
pub(super) struct Client {
    pub user: Option<Name>,
    /// The user-provided name (RabbitMQ: `connection_name`).
    pub name: Option<String>,
    pub capabilities: Capabilities,
    /// All that it said.
    pub properties: OwnedTable,
    /// How it logs in.
    pub mechanism: String,
}

/// RabbitMQ: client capabilities.
#[derive(Clone, Copy, Default)]
pub(super) struct Capabilities {
    pub consumer_cancel_notify: bool,
    pub connection_blocked: bool,
    pub authentication_failure_close: bool,
}

/// An open connection, as its channels see it.
pub(super) struct Session {
    pub socket: SocketKey,
    pub connection: ConnectionKey,
    pub virtual_host: VirtualHostKey,
    pub user: Name,
}

impl Session {
    /// Whether its user may do that.
    pub fn check_access(&self, right: Right, resource: Resource<'_>, hub: &Hub) -> Result<()> {
        Ok(hub.core.check_access(self.connection, right, resource)?)
    }
}

impl Connection {
    pub fn new(socket: SocketKey, peer: Peer, hub: &Hub, now: Now) -> Self {
        Connection {
            socket,
            peer,
            state: State::Header,
            frame_max: hub.config.limits.initial_frame_max_bytes,
            channel_max: 0,
            heartbeat: None,
            client: Client::default(),
            session: None,
            channels: Vec::new(),
            owing_confirms: Vec::new(),
            blocked: false,
            blocked_in: 0,
            awaits_page: false,
            awaits_store: false,
            listens_to_store: false,
            has_unfinished: false,
            deadline_ms: Some(now.monotonic_ms + hub.config.limits.handshake_timeout_ms),
        }
    }

    pub fn introduce(&mut self, peer: Peer) {
        self.peer = peer;
    }

    pub fn on_bytes(&mut self, input: &[u8], hub: &mut Hub, now: Now) -> usize {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.on_received(now.monotonic_ms);
        }
        let mut taken = 0;
        while self.wants_read(hub) {
            let rest = &input[taken..];
            let step = match self.state {
                State::Header => self.take_header(rest, hub),
                State::ClosingGarbled => self.read_over(rest),
                State::Refused | State::Finished => rest.len(),
                _ => self.take_frame(rest, hub, now),
            };
            if step == 0 {
                break;
            }
            taken += step;
        }
        taken
    }

    /// Contents and transactions that are not complete.
    pub fn unfinished_bytes(&mut self) -> usize {
        if !self.has_unfinished {
            return 0;
        }
        let bytes = self
            .channels
            .iter()
            .map(|channel| channel.unfinished_bytes())
            .sum();
        self.has_unfinished = bytes > 0;
        bytes
    }

    /// Confirms go out once per channel and turn.
    pub fn on_turn_end(&mut self, hub: &mut Hub) {
        let mut owing = std::mem::take(&mut self.owing_confirms);
        owing.retain(|number| match self.find_channel(*number) {
            Ok(at) => self.channels[at].send_confirms(hub),
            Err(_) => false,
        });
        self.owing_confirms = owing;
        if !self.owing_confirms.is_empty() {
            self.listen_to_store(hub);
        }
    }

    pub fn on_woken(&mut self, hub: &mut Hub, now: Now) {
        self.awaits_page = false;
        if std::mem::take(&mut self.awaits_store) {
            self.show_state(hub);
        }
        self.listens_to_store = false;
        self.on_turn_end(hub);
        if self.close_doomed(hub, now) {
            return;
        }
        if !self.blocked {
            return;
        }
        if hub.alarm().is_some() {
            // Raised again before its turn came.
            self.blocked_in = hub.list_blocked(self.socket, self.blocked_in);
            return;
        }
        self.blocked = false;
        self.show_state(hub);
        if let Some(heartbeat) = &mut self.heartbeat {
            // It was not listened to, so its silence means nothing (RabbitMQ).
            heartbeat.on_received(now.monotonic_ms);
        }
        if self.client.capabilities.connection_blocked && self.state == State::Running {
            hub.outboxes.send(self.socket, 0, &class::Unblocked {});
        }
    }

    pub fn on_timeout(&mut self, hub: &mut Hub, now: Now) {
        if self.deadline_ms.is_some_and(|due| due <= now.monotonic_ms) {
            if self.state < State::Running {
                log::warn!(
                    "{}: handshake_timeout in state {:?}",
                    self.peer.address,
                    self.state
                );
            }
            self.finish(hub);
            return;
        }
        self.time_out_deliveries(hub, now);
        let is_held = self.is_held() || !hub.outboxes.takes_input(self.socket);
        let is_overdue = hub.outboxes.is_overdue(self.socket);
        let sent = hub.outboxes.total(self.socket);
        let Some(heartbeat) = &mut self.heartbeat else {
            return;
        };
        if is_held {
            heartbeat.on_received(now.monotonic_ms);
        } else if is_overdue {
            let taken = sent - hub.outboxes.waiting(self.socket) as u64;
            heartbeat.on_unheard(now.monotonic_ms, taken);
        }
        match heartbeat.on_deadline(now.monotonic_ms, sent) {
            Due::Nothing => {}
            // What waits unread tells the peer as much as another heartbeat would.
            Due::Send if !hub.outboxes.is_empty(self.socket) => {}
            Due::Send => hub.outboxes.send_heartbeat(self.socket),
            Due::Dead => {
                log::warn!(
                    "{}: missed heartbeats from client, timeout: {}s",
                    self.peer.address,
                    heartbeat.interval_seconds()
                );
                self.finish(hub);
            }
        }
    }

    pub fn next_deadline(&self, hub: &Hub) -> Option<u64> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::deadline_ms);
        let ack_deadline = match self.is_held() {
            // Its acks may be there, unread.
            true => None,
            false => hub.core.ack_deadline(self.socket),
        };
        let deadlines = [self.deadline_ms, heartbeat, ack_deadline];
        deadlines.into_iter().flatten().min()
    }

    #[inline]
    pub fn wants_read(&self, hub: &Hub) -> bool {
        !self.is_held()
            && self.state != State::Finished
            && hub.outboxes.takes_input(self.socket)
            && !hub.outboxes.is_overdue(self.socket)
    }

    pub fn wants_close(&self) -> bool {
        self.state == State::Finished
    }

    pub fn on_disconnect(&mut self, hub: &mut Hub) {
        if self.state == State::Running {
            log::warn!(
                "{}: client unexpectedly closed TCP connection",
                self.peer.address
            );
        }
        self.finish(hub);
    }

    pub fn cut_off(&mut self, hub: &mut Hub) {
        let waiting = hub.outboxes.waiting(self.socket);
        let unfinished = self.unfinished_bytes();
        let address = &self.peer.address;
        log::warn!(
            "{address}: cut off, memory is short: {waiting} bytes wait for it to read them, and \
             {unfinished} bytes for it to send the rest"
        );
        self.finish(hub);
    }

    pub fn begin_shutdown(&mut self, hub: &mut Hub, now: Now, reason: &str) {
        match self.state {
            State::Running | State::Open => {
                let text = format!("broker forced connection closure with reason '{reason}'");
                let exception = Exception::new(ReplyCode::ConnectionForced, text);
                self.close(&exception, (0, 0), hub, now);
            }
            State::Closing | State::ClosingGarbled => {}
            _ => self.finish(hub),
        }
    }

    fn take_header(&mut self, input: &[u8], hub: &mut Hub) -> usize {
        let Some(header) = input.first_chunk::<8>() else {
            return 0;
        };
        if is_known_header(header) {
            self.send_start(hub);
            self.state = State::StartOk;
            return header.len();
        }
        log::warn!("{}: {}", self.peer.address, describe_header(header));
        hub.outboxes.send_raw(self.socket, &PROTOCOL_HEADER);
        self.finish(hub);
        input.len()
    }

    /// Takes the next frame, and if it starts a publish that is all there, that.
    #[inline]
    fn take_frame(&mut self, input: &[u8], hub: &mut Hub, now: Now) -> usize {
        if let Some(used) = self.publish_again(input, hub, now) {
            return used;
        }
        let (frame, used) = match Frame::decode(input, self.frame_max) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => return 0,
            Err(malformed) => {
                if self.state != State::Closing {
                    let exception = frame_error::not_a_frame(&malformed, input);
                    self.close(&exception, (0, 0), hub, now);
                }
                self.state = State::ClosingGarbled;
                return self.read_over(input);
            }
        };
        if let Some(used_in_all) = self.publish_in_place(&frame, input, used, hub, now) {
            return used_in_all;
        }
        if let Err(exception) = self.on_frame(&frame, hub, now) {
            self.close(&exception, exception.method.unwrap_or((0, 0)), hub, now);
        }
        // A method that could not be answered yet stays in the input and comes again.
        if self.awaits_page { 0 } else { used }
    }

    /// The shortest way of a publish: it is the one before with another body.
    #[inline]
    fn publish_again(&mut self, input: &[u8], hub: &mut Hub, now: Now) -> Option<usize> {
        let &[frame::METHOD, c0, c1, ..] = input else {
            return None;
        };
        if self.state != State::Running {
            return None;
        }
        let at = self.find_channel(u16::from_be_bytes([c0, c1])).ok()?;
        let used = self.channels[at].publish_again(input, self.frame_max, hub)?;
        self.after_channel(at, Ok(()), PUBLISH, hub, now);
        Some(used)
    }

    /// The next shortest: method, header and the only body frame lie behind each other in the read
    /// buffer and are used from there. `None` leaves everything to the longer way, which
    /// also finds what is wrong.
    #[inline]
    fn publish_in_place(
        &mut self,
        frame: &Frame<'_>,
        input: &[u8],
        method_used: usize,
        hub: &mut Hub,
        now: Now,
    ) -> Option<usize> {
        let behind = &input[method_used..];
        if frame.kind != frame::METHOD || self.state != State::Running {
            return None;
        }
        let arguments = frame.payload.strip_prefix(&PUBLISH_IDS)?;
        let (header_frame, header_used) = Frame::decode(behind, self.frame_max).ok()??;
        if header_frame.kind != frame::HEADER || header_frame.channel != frame.channel {
            return None;
        }
        let header = ContentHeader::decode(header_frame.payload).ok()?;
        if header.body_size > hub.message_size_max() {
            return None;
        }
        let (body, used) = match header.body_size {
            0 => (&[][..], header_used),
            size => {
                let decoded = Frame::decode(&behind[header_used..], self.frame_max);
                let (body_frame, body_used) = decoded.ok()??;
                let fits = body_frame.payload.len() as u64 == size;
                if body_frame.kind != frame::BODY || body_frame.channel != frame.channel || !fits {
                    return None;
                }
                (body_frame.payload, header_used + body_used)
            }
        };
        let mut reader = Reader::new(arguments);
        let method = basic::Publish::decode(&mut reader).ok()?;
        reader.finish().ok()?;
        let at = self.find_channel(frame.channel).ok()?;
        let channel = &mut self.channels[at];
        if header.class != basic::CLASS_ID
            || header.weight != 0
            || !channel.takes_publish_in_place()
        {
            return None;
        }
        let publication = Publication::new(&method, header.properties, body);
        let result = channel.publish(self.session.as_ref()?, &publication, hub);
        let used_by = (method_used, header_used);
        channel
            .route
            .learn(input, used_by, &method, header.properties);
        self.after_channel(at, result, PUBLISH, hub, now);
        Some(method_used + used)
    }

    fn on_frame(&mut self, frame: &Frame<'_>, hub: &mut Hub, now: Now) -> Result<()> {
        if self.state == State::Closing {
            return self.on_frame_while_closing(frame, hub);
        }
        if frame.kind == frame::HEARTBEAT {
            return check_heartbeat(frame);
        }
        match (frame.channel, self.state) {
            (0, _) if frame.kind == frame::METHOD => self.on_connection_frame(frame, hub, now),
            (0, _) => Err(frame_error::unexpected_frame(frame)),
            (_, State::Running) => self.on_channel_frame(frame, hub, now),
            _ => Err(frame_error::unexpected_frame(frame)),
        }
    }

    fn on_connection_frame(&mut self, frame: &Frame<'_>, hub: &mut Hub, now: Now) -> Result<()> {
        let method = decode_method(frame.payload)?;
        let ids = method.ids();
        let result = match (self.state, &method) {
            (State::StartOk, Method::ConnectionStartOk(start_ok)) => {
                self.on_start_ok(start_ok, hub, now)
            }
            (State::TuneOk, Method::ConnectionTuneOk(tune_ok)) => {
                self.on_tune_ok(tune_ok, hub, now)
            }
            (State::Open, Method::ConnectionOpen(open)) => self.on_open(open, hub, now),
            (State::Running, Method::ConnectionUpdateSecret(_)) => {
                // Nothing here is bought with a token that could run out: there is nothing to renew.
                hub.outboxes.send(self.socket, 0, &class::UpdateSecretOk {});
                Ok(())
            }
            (_, Method::ConnectionClose(_)) => {
                self.on_close(hub);
                Ok(())
            }
            (State::Running, _) => Err(Exception::new(
                ReplyCode::ChannelError,
                "unexpected method in connection state running",
            )),
            _ => Err(frame_error::unexpected_frame(frame)),
        };
        result.map_err(|exception| exception.of(ids))
    }

    /// The client says goodbye. What is its alone is gone before it can know (RabbitMQ clients that
    /// come back at once would meet their own exclusive queues otherwise).
    fn on_close(&mut self, hub: &mut Hub) {
        self.on_turn_end(hub);
        self.leave(hub);
        hub.outboxes.send(self.socket, 0, &class::CloseOk {});
        self.state = State::Finished;
        log::info!("{}: closed by client", self.peer.address);
    }

    fn on_frame_while_closing(&mut self, frame: &Frame<'_>, hub: &mut Hub) -> Result<()> {
        if frame.kind == frame::METHOD && frame.channel == 0 {
            match Method::decode(frame.payload) {
                Ok(Method::ConnectionCloseOk(_)) => self.state = State::Finished,
                Ok(Method::ConnectionClose(_)) => {
                    hub.outboxes.send(self.socket, 0, &class::CloseOk {});
                    self.state = State::Finished;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Only the answer to our close still means something. It may come in two pieces.
    fn read_over(&mut self, input: &[u8]) -> usize {
        if input.windows(CLOSE_OK.len()).any(|bytes| bytes == CLOSE_OK) {
            self.state = State::Finished;
            return input.len();
        }
        input.len().saturating_sub(CLOSE_OK.len() - 1)
    }

    fn on_channel_frame(&mut self, frame: &Frame<'_>, hub: &mut Hub, now: Now) -> Result<()> {
        let session = self.session.as_ref().expect("running since it was opened");
        let at = match self.find_channel(frame.channel) {
            Ok(at) => at,
            Err(at) => return self.open_channel(at, frame, hub),
        };
        let channel = &mut self.channels[at];
        if channel.is_closing() {
            if channel.on_frame_while_closing(frame, hub)? {
                self.channels.remove(at);
            }
            return Ok(());
        }
        let (method, result) = channel.on_frame(session, frame, hub);
        self.awaits_page = std::mem::take(&mut channel.asks_again);
        self.has_unfinished |= channel.unfinished_bytes() > 0;
        self.after_channel(at, result, method, hub, now);
        Ok(())
    }

    /// What a channel's method leaves to do: its exception, its confirms, and whether publishers are
    /// blocked by now.
    #[inline]
    fn after_channel(
        &mut self,
        at: usize,
        result: Result<()>,
        method: (u16, u16),
        hub: &mut Hub,
        now: Now,
    ) {
        let channel = &mut self.channels[at];
        match result {
            Ok(()) => {
                if channel.begins_to_owe_confirms() {
                    self.owing_confirms.push(channel.number());
                }
                if channel.is_closed() {
                    self.channels.remove(at);
                }
            }
            Err(exception) => {
                let method = exception.method.unwrap_or(method);
                if exception.code.is_hard() {
                    self.close(&exception, method, hub, now);
                } else {
                    self.log_exception(&exception, self.channels[at].number());
                    self.channels[at].close(&exception, method, hub);
                }
            }
        }
        hub.after_command();
        if method == PUBLISH && hub.holds_publishers() {
            self.hold(hub);
        }
    }

    /// It is not read from, for a reason that is not its own.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.blocked || self.awaits_page || self.awaits_store
    }

    /// RabbitMQ: consumer timeout. What the broker could not just take back costs its channel.
    fn time_out_deliveries(&mut self, hub: &mut Hub, now: Now) {
        let deadline = hub.core.ack_deadline(self.socket);
        let Some(session) = &self.session else {
            return;
        };
        if self.is_held() || deadline.is_none_or(|due| due > now.monotonic_ms) {
            return;
        }
        for channel in hub.core.time_out(session.connection) {
            if let Ok(at) = self.find_channel(channel.number) {
                let exception = acknowledgement_timed_out(&channel);
                self.after_channel(at, Err(exception), (0, 0), hub, now);
            }
        }
        hub.after_command();
    }

    fn open_channel(&mut self, at: usize, frame: &Frame<'_>, hub: &mut Hub) -> Result<()> {
        let session = self.session.as_ref().expect("running since it was opened");
        if frame.kind != frame::METHOD {
            let text = "expected method frame, got non method frame instead";
            return Err(Exception::new(ReplyCode::UnexpectedFrame, text));
        }
        let method = decode_method(frame.payload)?;
        if !matches!(method, Method::ChannelOpen(_)) {
            let text = "expected 'channel.open'";
            return Err(Exception::new(ReplyCode::ChannelError, text).of(method.ids()));
        }
        let count = self.channels.len();
        if self.channel_max > 0 && count >= usize::from(self.channel_max) {
            let text = format!(
                "number of channels opened ({count}) has reached the negotiated channel_max ({})",
                self.channel_max
            );
            return Err(Exception::new(ReplyCode::NotAllowed, text));
        }
        hub.check_memory()?;
        hub.core.check_channel(session.connection)?;
        hub.check_channel_max()?;
        let channel = Channel::open(session, frame.channel, hub);
        self.channels.insert(at, Box::new(channel));
        hub.outboxes.send(
            self.socket,
            frame.channel,
            &channel_class::OpenOk::default(),
        );
        Ok(())
    }

    /// Closes the connection if its user or its virtual host is gone.
    fn close_doomed(&mut self, hub: &mut Hub, now: Now) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        let Some(why) = hub.core.doom(session.connection) else {
            return false;
        };
        let exception = Exception::new(ReplyCode::ConnectionForced, why);
        self.close(&exception, (0, 0), hub, now);
        true
    }

    /// The publisher waits until there is room again.
    #[cold]
    fn hold(&mut self, hub: &mut Hub) {
        if hub.is_congested() && !self.awaits_store && self.state == State::Running {
            self.awaits_store = true;
            self.listen_to_store(hub);
        }
        self.block(hub);
        self.show_state(hub);
    }

    /// Lets management see whether it is read.
    fn show_state(&self, hub: &mut Hub) {
        let state = match (self.blocked, self.awaits_store) {
            (true, _) => ConnectionState::Blocked,
            (false, true) => ConnectionState::Flow,
            (false, false) => ConnectionState::Running,
        };
        if let Some(session) = &self.session {
            hub.core.set_connection_state(session.connection, state);
        }
    }

    /// Asks to be woken when more is stored.
    fn listen_to_store(&mut self, hub: &mut Hub) {
        if !self.listens_to_store {
            self.listens_to_store = true;
            hub.wake_when_stored(self.socket);
        }
    }

    /// The publisher waits for an alarm to end; it is told why if it wants to know.
    fn block(&mut self, hub: &mut Hub) {
        let Some(reason) = hub.alarm().map(str::to_owned) else {
            return;
        };
        if self.blocked || self.state != State::Running {
            return;
        }
        self.blocked = true;
        self.blocked_in = hub.list_blocked(self.socket, 0);
        if self.client.capabilities.connection_blocked {
            let blocked = class::Blocked {
                reason: reason.as_bytes(),
            };
            hub.outboxes.send(self.socket, 0, &blocked);
        }
    }

    pub(super) fn begin_session(&mut self, session: Session) {
        self.session = Some(session);
        self.state = State::Running;
        self.deadline_ms = None;
    }

    pub(super) fn refuse(&mut self, now: Now) {
        self.state = State::Refused;
        self.deadline_ms = Some(now.monotonic_ms + REFUSAL_MS);
    }

    /// A connection exception: says so, lets go of everything, and waits for the answer.
    pub(super) fn close(
        &mut self,
        exception: &Exception,
        (class_id, method_id): (u16, u16),
        hub: &mut Hub,
        now: Now,
    ) {
        self.log_exception(exception, 0);
        self.on_turn_end(hub);
        self.leave(hub);
        let close = class::Close {
            reply_code: exception.code.code(),
            reply_text: &exception.reply_text(),
            class_id,
            method_id,
        };
        hub.outboxes.send(self.socket, 0, &close);
        self.state = State::Closing;
        self.deadline_ms = Some(now.monotonic_ms + hub.config.limits.closing_timeout_ms);
    }

    fn log_exception(&self, exception: &Exception, channel: u16) {
        let text = exception.reply_text();
        let text = String::from_utf8_lossy(&text);
        let code = exception.code.code();
        if exception.code == ReplyCode::ConnectionForced {
            log::info!("{}: {code} {text}", self.peer.address);
        } else {
            log::warn!("{}, channel {channel}: {code} {text}", self.peer.address);
        }
    }

    fn finish(&mut self, hub: &mut Hub) {
        self.leave(hub);
        self.state = State::Finished;
        self.deadline_ms = None;
        self.heartbeat = None;
    }

    /// Gives back all that the connection holds in the broker.
    fn leave(&mut self, hub: &mut Hub) {
        for mut channel in self.channels.drain(..) {
            channel.abandon_transaction(hub);
        }
        self.owing_confirms.clear();
        self.heartbeat = None;
        self.blocked = false;
        self.awaits_page = false;
        self.awaits_store = false;
        if let Some(session) = self.session.take() {
            hub.core.close_connection(session.connection);
            hub.after_command();
        }
    }

    /// Where the channel is, or where it would be.
    #[inline]
    fn find_channel(&self, number: u16) -> std::result::Result<usize, usize> {
        match self.channels.first() {
            Some(first) if first.number() == number => Ok(0),
            _ => self
                .channels
                .binary_search_by_key(&number, |channel| channel.number()),
        }
    }
}

/// 0-9-1, and the forms that older clients use for 0-9 and 0-8 (RabbitMQ).
fn is_known_header(header: &[u8; 8]) -> bool {
    header == &PROTOCOL_HEADER
        || header == b"AMQP\x01\x01\x00\x09"
        || header == b"AMQP\x01\x01\x09\x01"
}

fn acknowledgement_timed_out(overdue: &OverdueChannel) -> Exception {
    let text = format!(
        "delivery acknowledgement on channel {} timed out. Timeout value used: {} ms. This timeout \
         value can be configured, see consumers doc guide to learn more",
        overdue.number, overdue.timeout_ms
    );
    Exception::new(ReplyCode::PreconditionFailed, text)
}

fn describe_header(header: &[u8; 8]) -> String {
    match header {
        [0x16, 0x03, ..] => "looks like TLS on a port without it".to_owned(),
        _ if header.starts_with(b"GET ") || header.starts_with(b"POST ") => {
            "looks like HTTP; the management API is elsewhere".to_owned()
        }
        _ if header.starts_with(b"AMQP") => {
            format!("unsupported protocol version {:?}", &header[4..])
        }
        _ => format!("bad protocol header {header:?}"),
    }
}

fn check_heartbeat(frame: &Frame<'_>) -> Result<()> {
    if frame.channel != 0 {
        return Err(frame_error::unexpected_frame(frame));
    }
    if !frame.payload.is_empty() {
        return Err(frame_error::unknown_frame(frame.kind, frame.payload));
    }
    Ok(())
}

const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);
/// Class and method id of `basic.publish` on the wire.
const PUBLISH_IDS: [u8; 4] = [
    0,
    basic::Publish::CLASS_ID as u8,
    0,
    basic::Publish::METHOD_ID as u8,
];
/// The frame of `connection.close-ok`.
const CLOSE_OK: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, frame::END];
/// How long one who was turned away is kept waiting (RabbitMQ: `SILENT_CLOSE_DELAY`).
const REFUSAL_MS: u64 = 3_000;
