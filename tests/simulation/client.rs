//! An AMQP client that does as it likes, and mostly keeps to the rules.
//!
//! It knows only what arrived: whether its channels are open, what it holds unacked, who waits for an
//! answer. So its commands can be out of date when they arrive, as those of real clients.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use leveret::wire::amqp::frame;
use leveret::wire::amqp::{
    EncodeMethod, Method, PROTOCOL_HEADER, TableBuilder, channel as channel_class,
    connection as class,
};

use crate::commands::Binding;
use crate::event::Event;
use crate::random::Random;
use crate::wares::Wares;

pub struct Client {
    pub random: Random,
    pub habits: Habits,
    /// Bytes to be sent.
    pub out: Vec<u8>,
    pub channels: BTreeMap<u16, Channel>,
    phase: Phase,
    pub frame_max: usize,
    heartbeat_ms: u64,
    sent_ms: u64,
    /// The broker asked it to stop publishing.
    blocked: bool,
    /// What it bound, or unbound, lately.
    pub bound: Vec<Binding>,
    /// Addresses at which others wait for an answer.
    pub requesters: Vec<String>,
    /// Numbers of the messages it publishes: no other client has them.
    pub next_message: u64,
}

/// What kind of client it is.
pub struct Habits {
    /// How often it does what; see `commands.rs`.
    pub weights: Vec<usize>,
    pub body_max: usize,
    /// How many messages it publishes at once, at most.
    pub flood: usize,
    /// How many messages of a hundred want to survive.
    pub persistent: usize,
    /// It declares queues that survive.
    pub is_durable: bool,
    pub wares: Rc<Wares>,
    pub heartbeat_seconds: u16,
    pub wants_cancels: bool,
    pub wants_blocked: bool,
    pub wants_refusals: bool,
    /// Something goes wrong during the handshake.
    pub mistake: Option<Mistake>,
    /// It breaks a rule that costs it its connection, now and then.
    pub reckless: bool,
    /// Whose password is its name.
    pub user: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Password,
    FrameMax,
    VirtualHost,
    Silence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Running,
    /// Said goodbye, or was told it.
    Closing,
}

/// A channel as its client sees it.
#[derive(Default)]
pub struct Channel {
    /// It asked to close it.
    pub closing: bool,
    /// `basic.recover` is on its way: what it holds is not its own any more.
    pub recovering: bool,
    pub mode: Mode,
    /// Delivery tags that it holds.
    pub held: Vec<u64>,
    /// Delivery tags settled in the transaction.
    pub settled: Vec<u64>,
    /// Tags of consumers, and whether they must ack.
    pub consumers: Vec<(String, bool)>,
    /// Whether what comes for each `basic.get` and nameless `basic.consume` must be acked.
    pub gets: VecDeque<bool>,
    pub nameless: VecDeque<bool>,
    pub waits_for_replies: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Plain,
    Confirm,
    Transaction,
}

impl Client {
    pub fn new(random: Random, habits: Habits, number: usize) -> Self {
        Client {
            random,
            habits,
            out: PROTOCOL_HEADER.to_vec(),
            channels: BTreeMap::new(),
            phase: Phase::Handshake,
            frame_max: 4096,
            heartbeat_ms: 0,
            sent_ms: 0,
            blocked: false,
            bound: Vec::new(),
            requesters: Vec::new(),
            next_message: (number as u64 + 1) << 20,
        }
    }

    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Does something, if it is in the mood.
    pub fn act(&mut self, now_ms: u64) {
        if self.phase == Phase::Running && self.out.len() < OUT_BYTES_MAX {
            let count = match self.blocked {
                true => 1,
                false => self.random.between(0, 4),
            };
            for _ in 0..count {
                if self.phase == Phase::Running {
                    self.command();
                }
            }
        }
        self.keep_alive(now_ms);
    }

    /// Sends a heartbeat in time.
    pub fn keep_alive(&mut self, now_ms: u64) {
        if !self.out.is_empty() {
            self.sent_ms = now_ms;
        } else if self.heartbeat_ms > 0 && now_ms - self.sent_ms >= self.heartbeat_ms / 2 {
            frame::encode_heartbeat(&mut self.out);
            self.sent_ms = now_ms;
        }
    }

    pub fn say_goodbye(&mut self) {
        if self.phase != Phase::Closing {
            let close = class::Close {
                reply_code: 200,
                reply_text: b"bye",
                ..class::Close::default()
            };
            self.send(0, &close);
            self.phase = Phase::Closing;
        }
    }

    /// Sends nothing more.
    pub fn fall_silent(&mut self) {
        self.phase = Phase::Closing;
    }

    pub fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        frame::encode_method(&mut self.out, channel, method);
    }

    /// Something arrived.
    pub fn receive(&mut self, event: &Event) {
        let Some(method) = event.method() else {
            return;
        };
        match method {
            Method::ConnectionStart(_) if self.habits.mistake != Some(Mistake::Silence) => {
                self.log_in();
            }
            Method::ConnectionTune(tune) => self.tune(&tune),
            Method::ConnectionOpenOk(_) => self.phase = Phase::Running,
            Method::ConnectionClose(_) => {
                self.send(0, &class::CloseOk {});
                self.phase = Phase::Closing;
            }
            Method::ConnectionCloseOk(_) => self.phase = Phase::Closing,
            Method::ConnectionBlocked(_) => self.blocked = true,
            Method::ConnectionUnblocked(_) => self.blocked = false,
            Method::ChannelClose(_) => {
                self.send(event.channel, &channel_class::CloseOk {});
                // If it asked to close it, too, the answer to that is still to come.
                let asked = self.channels.get(&event.channel).is_some_and(|c| c.closing);
                if !asked {
                    self.channels.remove(&event.channel);
                }
            }
            Method::ChannelCloseOk(_) => drop(self.channels.remove(&event.channel)),
            _ => {
                if let Some(channel) = self.channels.get_mut(&event.channel) {
                    channel.receive(&method);
                }
                self.note_requester(event);
            }
        }
    }

    fn log_in(&mut self) {
        let mut capabilities = TableBuilder::new();
        capabilities
            .put("consumer_cancel_notify", self.habits.wants_cancels)
            .put("connection.blocked", self.habits.wants_blocked)
            .put("authentication_failure_close", self.habits.wants_refusals);
        let mut properties = TableBuilder::new();
        properties.put_table("capabilities", &capabilities);
        let user = self.habits.user;
        let password = match self.habits.mistake {
            Some(Mistake::Password) => "tseug",
            _ => user,
        };
        let response = format!("\0{user}\0{password}");
        let start_ok = class::StartOk {
            client_properties: properties.view(),
            mechanism: b"PLAIN",
            response: response.as_bytes(),
            locale: b"en_US",
        };
        self.send(0, &start_ok);
    }

    fn tune(&mut self, tune: &class::Tune) {
        self.frame_max = *self
            .random
            .pick(&[4096, 4096, 8192, 65536, tune.frame_max as usize]);
        if self.habits.mistake == Some(Mistake::FrameMax) {
            self.frame_max = 4095;
        }
        self.heartbeat_ms = u64::from(self.habits.heartbeat_seconds) * 1000;
        let tune_ok = class::TuneOk {
            channel_max: tune.channel_max,
            frame_max: self.frame_max as u32,
            heartbeat: self.habits.heartbeat_seconds,
        };
        self.send(0, &tune_ok);
        let virtual_host = match self.habits.mistake {
            Some(Mistake::VirtualHost) => b"nowhere".as_slice(),
            _ => b"/",
        };
        self.send(
            0,
            &class::Open {
                virtual_host,
                ..class::Open::default()
            },
        );
    }

    /// Who asks for answers gets some.
    fn note_requester(&mut self, event: &Event) {
        let Some(content) = &event.content else {
            return;
        };
        let properties = leveret::wire::amqp::Properties::decode(&content.properties);
        if let Ok(properties) = properties
            && let Some(to) = properties.reply_to
        {
            self.requesters
                .push(String::from_utf8_lossy(to).into_owned());
            if self.requesters.len() > 8 {
                self.requesters.remove(0);
            }
        }
    }
}

impl Channel {
    fn receive(&mut self, method: &Method<'_>) {
        match method {
            Method::BasicDeliver(deliver) => {
                let tag = String::from_utf8_lossy(deliver.consumer_tag);
                let consumer = self.consumers.iter().find(|(known, _)| *known == tag);
                if consumer.is_none_or(|(_, acks)| *acks) {
                    self.held.push(deliver.delivery_tag);
                }
            }
            Method::BasicGetOk(got) => {
                let acks = self.gets.pop_front() == Some(true);
                if acks {
                    self.held.push(got.delivery_tag);
                }
            }
            Method::BasicGetEmpty(_) => drop(self.gets.pop_front()),
            Method::BasicConsumeOk(ok) => {
                let tag = String::from_utf8_lossy(ok.consumer_tag).into_owned();
                if tag.starts_with("amq.ctag-")
                    && let Some(acks) = self.nameless.pop_front()
                {
                    self.consumers.push((tag, acks));
                }
            }
            Method::BasicCancelOk(basic) => self.forget(basic.consumer_tag),
            Method::BasicCancel(basic) => self.forget(basic.consumer_tag),
            Method::BasicRecoverOk(_) => {
                self.recovering = false;
                self.held.clear();
            }
            Method::TxCommitOk(_) => self.settled.clear(),
            Method::TxRollbackOk(_) => {
                self.held.append(&mut self.settled);
                self.held.sort_unstable();
            }
            _ => {}
        }
    }

    fn forget(&mut self, tag: &[u8]) {
        self.consumers.retain(|(known, _)| known.as_bytes() != tag);
    }
}

/// It waits with more while so much is not sent.
const OUT_BYTES_MAX: usize = 64 << 10;
