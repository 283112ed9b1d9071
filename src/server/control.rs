//! The way into the loop for other threads: a channel of commands, and a waker behind it.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;

use super::tls;
use crate::broker::access::Refused;
use crate::config::Config;
use crate::protocol::order::{Order, Outcome};

/// What other threads may ask of the loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Stop listening, say goodbye to every peer, wait for their answers within
    /// `limits.stop_timeout_ms`, end.
    Stop,
    /// The same without waiting for anybody.
    StopNow,
    /// Block publishers for this reason (RabbitMQ: `connection.blocked`), as a memory alarm does.
    Block(String),
    /// Take the block back.
    Unblock,
    /// Take over what may change while the broker runs ([`Effect::Reload`](crate::config::Effect));
    /// the rest stays as it was.
    Reconfigure(Box<Config>),
    /// Show new connections these certificates; those that are open stay. For nothing in a server that
    /// was not bound with any.
    RenewTls(tls::Context),
    /// Begin or end the tracing of a virtual host (RabbitMQ: firehose). One that does not exist is
    /// logged and left alone.
    Trace { virtual_host: String, on: bool },
    /// Carry out an administrator's order ([`Handle::order`]).
    Order { order: Box<Order>, answer: Answer },
}

/// Where what came of an order is awaited. It is told when it is stored.
#[derive(Clone, Debug)]
pub struct Answer(Sender<Result<Outcome, Refused>>);

impl Answer {
    /// Nobody may be there any more; then nobody is told.
    pub(super) fn tell(&self, result: Result<Outcome, Refused>) {
        let _ = self.0.try_send(result);
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// Sends commands to a loop on another thread. Cloning is cheap.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Handle {
    pub(super) fn new(waker: Waker) -> (Handle, Receiver<Command>) {
        let (commands, receiver) = bounded(COMMANDS_MAX);
        let waker = Arc::new(waker);
        (Handle { commands, waker }, receiver)
    }

    /// Returns false when the loop has ended, which is no error: nothing is left to command. Waits
    /// while the loop has a full channel before it, so the loop itself must not call this.
    pub fn send(&self, command: Command) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.wake();
        sent
    }

    /// Gives an order and waits until it is carried out and stored. `None` if the loop has ended, or
    /// ends before that. The loop itself must not call this.
    pub fn order(&self, order: Order) -> Option<Result<Outcome, Refused>> {
        let (sender, told) = bounded(1);
        let order = Box::new(order);
        let answer = Answer(sender);
        if !self.send(Command::Order { order, answer }) {
            return None;
        }
        told.recv().ok()
    }

    /// Makes the loop take a turn.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("could not wake the event loop: {error}");
        }
    }
}

/// A sender waits beyond this; the loop empties the channel once a turn.
pub(super) const COMMANDS_MAX: usize = 64;
