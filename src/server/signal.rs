//! Signals as readable events: the handler raises a flag and writes a byte into a pipe that the loop
//! polls.
//!
//! SIGPIPE needs nothing: the Rust runtime of a program ignores it, and a write to a peer that has
//! gone is an error of that write.

use std::io::{self, Read};
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::{pipe, unregister};

use super::token::Source;

pub(super) struct Signals {
    receiver: UnixStream,
    registrations: Vec<SigId>,
    /// Raised by the handlers.
    flags: [Arc<AtomicBool>; SIGNALS.len()],
    /// The edge came. Without it `take` makes no system call: it is asked every turn.
    pending: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Stop,
    Reload,
    /// The state, into the log.
    Describe,
}

impl Signals {
    pub fn install(registry: &Registry) -> io::Result<Self> {
        let (sender, receiver) = net::UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let mut receiver = UnixStream::from_std(receiver);
        registry.register(&mut receiver, Source::Signals.token(), Interest::READABLE)?;
        let mut signals = Signals {
            receiver,
            registrations: Vec::new(),
            flags: Default::default(),
            pending: false,
        };
        for ((signal, _), flag) in SIGNALS.iter().zip(&signals.flags) {
            // In this order: when the byte is there, the flag is up.
            let flag = signal_hook::flag::register(*signal, Arc::clone(flag))?;
            signals.registrations.push(flag);
            let byte = pipe::register(*signal, sender.try_clone()?)?;
            signals.registrations.push(byte);
        }
        Ok(signals)
    }

    pub fn mark_pending(&mut self) {
        self.pending = true;
    }

    /// What was asked for since the last call, once for each signal. To stop comes last, as nothing is
    /// heard behind it.
    pub fn take(&mut self) -> impl Iterator<Item = Wish> + use<> {
        let mut raised = [false; SIGNALS.len()];
        if std::mem::take(&mut self.pending) {
            let mut buffer = [0; 16];
            while let Ok(1..) = self.receiver.read(&mut buffer) {}
            for (raised, flag) in raised.iter_mut().zip(&self.flags) {
                *raised = flag.swap(false, Ordering::Relaxed);
            }
        }
        let signals = SIGNALS.into_iter().zip(raised);
        signals.filter_map(|((_, wish), raised)| raised.then_some(wish))
    }
}

impl Drop for Signals {
    /// Without this the handler would go on swallowing signals for a loop that has ended.
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}

const SIGNALS: [(i32, Wish); 4] = [
    (SIGUSR1, Wish::Describe),
    (SIGHUP, Wish::Reload),
    (SIGTERM, Wish::Stop),
    (SIGINT, Wish::Stop),
];
