//! The way into the loop for other threads: a channel of commands, and a waker behind it.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;

use crate::config::Config;

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
    /// Begin or end the tracing of a virtual host (RabbitMQ: firehose). One that does not exist is
    /// logged and left alone.
    Trace { virtual_host: String, on: bool },
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

    /// Makes the loop take a turn.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("could not wake the event loop: {error}");
        }
    }
}

/// A sender waits beyond this; the loop empties the channel once a turn.
pub(super) const COMMANDS_MAX: usize = 64;
