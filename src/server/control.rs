//! The way into the loop for other threads: a channel of commands, and a waker behind it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;

use super::tls;
use crate::broker::access::Refused;
use crate::config::Config;
use crate::protocol::errand::{Errand, Loop};
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
    /// The same of the management API.
    RenewHttps(tls::Context),
    /// Begin or end the tracing of a virtual host (RabbitMQ: firehose). One that does not exist is
    /// logged and left alone.
    Trace { virtual_host: String, on: bool },
}

/// What goes through the channel.
pub(super) enum Told {
    Command(Command),
    Errand(Errand),
}

/// Sends commands to a loop on another thread. Cloning is cheap.
#[derive(Clone)]
pub struct Handle {
    told: Sender<Told>,
    waker: Arc<Waker>,
}

impl Handle {
    pub(super) fn new(waker: Waker) -> (Handle, Receiver<Told>) {
        let (told, receiver) = bounded(COMMANDS_MAX);
        let waker = Arc::new(waker);
        (Handle { told, waker }, receiver)
    }

    /// Returns false when the loop has ended, which is no error: nothing is left to command. Waits
    /// while the loop has a full channel before it, so the loop itself must not call this.
    pub fn send(&self, command: Command) -> bool {
        self.tell(Told::Command(command))
    }

    /// Gives an order and waits until it is carried out and stored. `None` if the loop has ended, or
    /// ends before that. The loop itself must not call this.
    pub fn order(&self, order: Order) -> Option<Result<Outcome, Refused>> {
        let broker: &dyn Loop = self;
        broker.run(Duration::MAX, |hub| hub.obey(order)).ok()
    }

    fn tell(&self, told: Told) -> bool {
        let sent = self.told.send(told).is_ok();
        self.wake();
        sent
    }

    /// Makes the loop take a turn.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("could not wake the event loop: {error}");
        }
    }
}

impl Loop for Handle {
    fn submit(&self, errand: Errand) -> bool {
        self.tell(Told::Errand(errand))
    }
}

/// A sender waits beyond this; the loop empties the channel once a turn.
pub(super) const COMMANDS_MAX: usize = 64;
