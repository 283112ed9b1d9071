//! Connections and channels: from the first byte to the last (AMQP 0-9-1 §2.2.4, §2.2.5).

use leveret::wire::amqp::frame::{self, ContentHeader, Frame};
use leveret::wire::amqp::{Method, channel as channel_class, connection as class};

use super::*;
use crate::Check;

impl Model {
    /// Somebody connected; the number of the connection.
    pub fn accept(&mut self, now_ms: u64) -> usize {
        let frame_max = self.limits.initial_frame_max_bytes;
        self.connections.push(Connection::new(frame_max, now_ms));
        self.connections.len() - 1
    }

    pub fn take_protocol_header(&mut self, connection: usize) {
        self.connections[connection].state = State::StartOk;
        self.step
            .answers
            .push_back(Answer::Method("connection.start"));
    }

    /// Bytes that are no frame, or come after such: only the answer to the closing is looked for.
    pub fn take_garbage(&mut self, connection: usize, bytes: &[u8], now_ms: u64) {
        if self.connections[connection].state < State::Closing {
            self.connection_exception(connection, 501, (0, 0), now_ms);
        }
        let close_ok = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, frame::END];
        let is_answered = bytes.windows(close_ok.len()).any(|part| part == close_ok);
        self.connections[connection].state = match is_answered {
            true => State::Finished,
            false => State::Garbled,
        };
    }

    pub fn take_frame(&mut self, connection: usize, frame: &Frame<'_>, now_ms: u64) -> Check {
        let state = self.connections[connection].state;
        if frame.kind == frame::HEARTBEAT || state > State::Garbled {
            return Ok(());
        }
        let method = match frame.kind {
            frame::METHOD => Some(Method::decode(frame.payload).map_err(|e| e.to_string())?),
            _ => None,
        };
        match (state, frame.channel, &method) {
            (State::Closing, ..) => {
                self.take_while_closing(connection, frame.channel, method.as_ref());
            }
            (State::Running, 1.., _) => {
                return self.take_on_channel((connection, frame.channel), frame, method, now_ms);
            }
            (_, _, Some(method)) => self.take_on_connection(connection, method, now_ms),
            _ => return Err("no client sends this".to_owned()),
        }
        Ok(())
    }

    /// The machine's deadline came and it hung up: was it right? A peer that is not read from because
    /// of what it has to read is known by its reading; one that is not read from for another reason
    /// cannot be known.
    pub fn timed_out(&mut self, connection: usize, now_ms: u64, overdue: bool) -> Check {
        let limits = &self.limits;
        let peer = &self.connections[connection];
        let lasted = now_ms - peer.since_ms;
        let heard_ms = match overdue {
            true => peer.heard_ms.max(peer.read_ms),
            false => peer.heard_ms,
        };
        let is_dead =
            peer.heartbeat_ms > 0 && !peer.blocked && now_ms - heard_ms > 2 * peer.heartbeat_ms;
        let right = match peer.state {
            State::Header | State::StartOk | State::TuneOk | State::Open => {
                lasted >= limits.handshake_timeout_ms || is_dead
            }
            State::Closing | State::Garbled => lasted >= limits.closing_timeout_ms,
            State::Refused => lasted >= REFUSAL_MS,
            State::Running => is_dead,
            State::Finished => true,
        };
        if !right {
            return Err(format!(
                "connection {connection} was given up in {:?}",
                peer.state
            ));
        }
        self.disconnected(connection);
        Ok(())
    }

    /// Its deadlines are looked at: should it not have been given up?
    pub fn check_still_welcome(&self, connection: usize, now_ms: u64, step_ms: u64) -> Check {
        let peer = &self.connections[connection];
        let heard = now_ms - peer.heard_ms.max(peer.overdue_ms);
        let spoke = now_ms - peer.spoke_ms.max(peer.read_ms);
        if peer.state != State::Running || peer.heartbeat_ms == 0 || peer.blocked {
            return Ok(());
        }
        if heard > peer.heartbeat_ms * 5 / 2 + step_ms {
            return Err(format!(
                "connection {connection} is dead for {heard} ms and still there"
            ));
        }
        if spoke > peer.heartbeat_ms * 2 + 2 * step_ms {
            return Err(format!(
                "connection {connection} heard nothing for {spoke} ms"
            ));
        }
        Ok(())
    }

    /// The socket is gone, or will be when its outbox is written.
    pub fn disconnected(&mut self, connection: usize) {
        self.leave(connection);
        self.connections[connection].state = State::Finished;
    }

    /// Publishing goes on, or the connection is to end.
    pub fn unblocked(&mut self, connection: usize, now_ms: u64) {
        let peer = &mut self.connections[connection];
        if std::mem::take(&mut peer.is_doomed) && peer.state == State::Running {
            return self.connection_exception(connection, 320, (0, 0), now_ms);
        }
        if self.alarm || !std::mem::take(&mut peer.blocked) {
            return;
        }
        // It was not listened to, so its silence meant nothing.
        peer.heard_ms = now_ms;
        if peer.wants_blocked && peer.state == State::Running {
            self.answer(0, &class::Unblocked {});
        }
    }

    fn take_on_connection(&mut self, connection: usize, method: &Method<'_>, now_ms: u64) {
        let peer = &mut self.connections[connection];
        let ids = method.ids();
        let result = match (peer.state, method) {
            (State::StartOk, Method::ConnectionStartOk(start_ok)) => {
                let properties = start_ok.client_properties;
                let capabilities = properties.get("capabilities").and_then(|v| v.as_table());
                let has = |name| {
                    let value = capabilities.and_then(|table| table.get(name));
                    value.and_then(|value| value.as_bool()) == Some(true)
                };
                peer.wants_cancels = has("consumer_cancel_notify");
                peer.wants_blocked = has("connection.blocked");
                peer.wants_refusals = has("authentication_failure_close");
                let mut words = start_ok.response.split(|byte| *byte == 0).skip(1).map(text);
                let (user, password) = (words.next(), words.next());
                peer.user = user.clone().unwrap_or_default();
                if user == password && self.users.contains(&peer.user) {
                    peer.state = State::TuneOk;
                    self.step
                        .answers
                        .push_back(Answer::Method("connection.tune"));
                    Ok(())
                } else if peer.wants_refusals {
                    return self.connection_exception(connection, 403, (0, 0), now_ms);
                } else {
                    peer.state = State::Refused;
                    peer.since_ms = now_ms;
                    Ok(())
                }
            }
            (State::TuneOk, Method::ConnectionTuneOk(tune_ok)) => {
                let fits = (4096..=self.limits.frame_max_bytes).contains(&tune_ok.frame_max)
                    && (1..=self.limits.channel_max).contains(&tune_ok.channel_max);
                if fits {
                    peer.state = State::Open;
                    peer.frame_max = tune_ok.frame_max;
                    peer.heartbeat_ms = u64::from(tune_ok.heartbeat) * 1000;
                    Ok(())
                } else {
                    Err(530)
                }
            }
            (State::Open, Method::ConnectionOpen(open)) => {
                if open.virtual_host == b"/" && self.permitted.contains(&peer.user) {
                    peer.state = State::Running;
                    self.answer(0, &class::OpenOk::default());
                    Ok(())
                } else {
                    Err(530)
                }
            }
            (State::Running, Method::ConnectionUpdateSecret(_)) => {
                self.answer(0, &class::UpdateSecretOk {});
                Ok(())
            }
            (_, Method::ConnectionClose(_)) => {
                self.leave(connection);
                self.confirms_are_due();
                self.answer(0, &class::CloseOk {});
                self.connections[connection].state = State::Finished;
                Ok(())
            }
            _ => Err(504),
        };
        if let Err(code) = result {
            self.connection_exception(connection, code, ids, now_ms);
        }
    }

    fn take_while_closing(&mut self, connection: usize, channel: u16, method: Option<&Method<'_>>) {
        match method {
            Some(Method::ConnectionCloseOk(_)) if channel == 0 => {
                self.connections[connection].state = State::Finished;
            }
            Some(Method::ConnectionClose(_)) if channel == 0 => {
                self.answer(0, &class::CloseOk {});
                self.connections[connection].state = State::Finished;
            }
            _ => {}
        }
    }

    fn take_on_channel(
        &mut self,
        at: At,
        frame: &Frame<'_>,
        method: Option<Method<'_>>,
        now_ms: u64,
    ) -> Check {
        let (connection, number) = at;
        let Some(channel) = self.connections[connection].channels.get_mut(&number) else {
            match method {
                Some(Method::ChannelOpen(_)) => {
                    let channels = &mut self.connections[connection].channels;
                    channels.insert(number, Channel::new());
                    self.answer(number, &channel_class::OpenOk::default());
                }
                Some(method) => self.connection_exception(connection, 504, method.ids(), now_ms),
                None => self.connection_exception(connection, 505, (0, 0), now_ms),
            }
            return Ok(());
        };
        if channel.closing {
            match method {
                Some(Method::ChannelCloseOk(_)) => {
                    self.connections[connection].channels.remove(&number);
                }
                Some(Method::ChannelClose(_)) => self.answer(number, &channel_class::CloseOk {}),
                Some(method @ Method::ChannelOpen(_)) => {
                    self.connection_exception(connection, 504, method.ids(), now_ms);
                }
                _ => {}
            }
            return Ok(());
        }
        let (ids, result) = match (method, channel.assembly.is_some()) {
            (Some(Method::BasicPublish(publish)), false) => {
                channel.assembly = Some(Assembly {
                    exchange: text(publish.exchange),
                    routing_key: text(publish.routing_key),
                    mandatory: publish.mandatory,
                    immediate: publish.immediate,
                    header: None,
                    body: Vec::new(),
                });
                return Ok(());
            }
            (Some(method), false) => (method.ids(), self.take_method(at, &method)),
            (None, true) => match self.take_content(at, frame)? {
                None => return Ok(()),
                // Refused on its announcement: it blocks nobody.
                Some(Err(TOO_LARGE)) => {
                    self.channel_exception(at, 406, PUBLISH);
                    return Ok(());
                }
                Some(result) => (PUBLISH, result),
            },
            _ => return Err("no client sends this".to_owned()),
        };
        match result {
            Ok(()) => {}
            Err(code) if code >= 500 => self.connection_exception(connection, code, ids, now_ms),
            Err(code) => self.channel_exception(at, code, ids),
        }
        if ids == PUBLISH {
            self.block(connection);
        }
        Ok(())
    }

    /// What becomes of the publish if the content is complete with this frame.
    fn take_content(&mut self, at: At, frame: &Frame<'_>) -> Check<Option<Result<(), u16>>> {
        let size_max = self.limits.message_size_max_bytes;
        let channel = self.channel(at);
        let assembly = channel.assembly.as_mut().expect("the caller looked");
        match &assembly.header {
            None => {
                let header = ContentHeader::decode(frame.payload).map_err(|e| e.to_string())?;
                if header.body_size > size_max {
                    channel.assembly = None;
                    return Ok(Some(Err(TOO_LARGE)));
                }
                assembly.header = Some((header.properties.to_vec(), header.body_size));
            }
            Some(_) => assembly.body.extend_from_slice(frame.payload),
        }
        let size = assembly.header.as_ref().map_or(0, |(_, size)| *size);
        if (assembly.body.len() as u64) < size {
            return Ok(None);
        }
        let assembly = channel.assembly.take().expect("the caller looked");
        self.take_publish(at, assembly).map(Some)
    }

    fn take_method(&mut self, at: At, method: &Method<'_>) -> Result<(), u16> {
        match method {
            Method::ChannelOpen(_) => Err(504),
            Method::ChannelFlow(flow) if flow.active => {
                self.answer(at.1, &channel_class::FlowOk { active: true });
                Ok(())
            }
            Method::ChannelFlow(_) => Err(540),
            Method::ChannelClose(_) => {
                self.close_channel(at);
                self.confirms_are_due();
                self.connections[at.0].channels.remove(&at.1);
                self.answer(at.1, &channel_class::CloseOk {});
                Ok(())
            }
            Method::ChannelFlowOk(_) | Method::BasicCancelOk(_) => Ok(()),
            _ => self
                .take_topology(at, method)
                .or_else(|| self.take_publishing(at, method))
                .or_else(|| self.take_consuming(at, method))
                .unwrap_or(Err(503)),
        }
    }

    /// A client that says goodbye first hears of all that it published.
    fn confirms_are_due(&mut self) {
        for owed in self.step.owed.values_mut() {
            owed.due = !self.stored.is_kept;
        }
    }

    fn connection_exception(
        &mut self,
        connection: usize,
        code: u16,
        method: (u16, u16),
        now_ms: u64,
    ) {
        self.leave(connection);
        let peer = &mut self.connections[connection];
        peer.state = State::Closing;
        peer.since_ms = now_ms;
        self.step.answers.push_back(Answer::Close {
            channel: 0,
            code,
            method,
        });
    }

    pub(super) fn channel_exception(&mut self, at: At, code: u16, method: (u16, u16)) {
        self.close_channel(at);
        let mut closing = Channel::new();
        closing.closing = true;
        self.connections[at.0].channels.insert(at.1, closing);
        self.step.answers.push_back(Answer::Close {
            channel: at.1,
            code,
            method,
        });
    }

    fn block(&mut self, connection: usize) {
        let peer = &mut self.connections[connection];
        if !self.alarm || peer.blocked || peer.state != State::Running {
            return;
        }
        peer.blocked = true;
        if peer.wants_blocked {
            self.step
                .answers
                .push_back(Answer::Method("connection.blocked"));
        }
    }

    /// Everything that is the connection's goes.
    fn leave(&mut self, connection: usize) {
        let numbers: Vec<u16> = self.connections[connection]
            .channels
            .keys()
            .copied()
            .collect();
        for number in numbers {
            self.close_channel((connection, number));
        }
        let peer = &mut self.connections[connection];
        peer.channels.clear();
        peer.blocked = false;
        let owned = |queue: &Queue| queue.owner == Some(connection);
        while let Some((name, _)) = self.queues.iter().find(|(_, queue)| owned(queue)) {
            self.remove_queue(&name.clone());
        }
    }

    /// Consumers end, then what is unacked goes back. The channel stays in its list.
    fn close_channel(&mut self, at: At) {
        let consumers = self.queues.values().flat_map(|queue| &queue.consumers);
        let mut numbers: Vec<u64> = consumers.filter(|c| c.at == at).map(|c| c.number).collect();
        numbers.sort_unstable();
        for number in numbers {
            self.remove_consumer(number);
        }
        let channel = self.channel(at);
        channel.reply_consumer = None;
        let mut held: Vec<Unacked> = channel.held().cloned().collect();
        held.sort_by_key(|unacked| unacked.delivery_tag);
        channel.unacked.clear();
        if let Mode::Confirm {
            published,
            confirmed,
            refused,
            holders,
        } = std::mem::take(&mut channel.mode)
        {
            let owed = Owed {
                published,
                confirmed,
                refused,
                holders,
                due: false,
            };
            self.step.owed.insert(at, owed);
        }
        for unacked in held {
            self.settle_one(unacked, Settlement::Failed, at.1.into());
        }
    }

    pub(super) fn channel(&mut self, (connection, number): At) -> &mut Channel {
        let channels = &mut self.connections[connection].channels;
        channels
            .get_mut(&number)
            .expect("commands come on open channels")
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const PUBLISH: (u16, u16) = (60, 40);
/// Stands for 406 before the content is complete.
const TOO_LARGE: u16 = 0;
const REFUSAL_MS: u64 = 3000;
