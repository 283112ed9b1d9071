//! SIGTERM and SIGINT as readable events: the handler writes a byte into a pipe that the loop polls.
//!
//! SIGPIPE needs nothing: the Rust runtime of a program ignores it, and a write to a peer that has
//! gone is an error of that write.

use std::io::{self, Read};
use std::os::unix::net;

use mio::net::UnixStream;
use mio::{Interest, Registry};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use super::token::Source;

pub(super) struct Signals {
    receiver: UnixStream,
    registrations: Vec<SigId>,
    /// The edge came. Without it `take` makes no system call: it is asked every turn.
    pending: bool,
}

impl Signals {
    pub fn install(registry: &Registry) -> io::Result<Self> {
        let (sender, receiver) = net::UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let mut receiver = UnixStream::from_std(receiver);
        registry.register(&mut receiver, Source::Signals.token(), Interest::READABLE)?;
        let registrations = vec![
            pipe::register(SIGTERM, sender.try_clone()?)?,
            pipe::register(SIGINT, sender)?,
        ];
        Ok(Signals {
            receiver,
            registrations,
            pending: false,
        })
    }

    pub fn mark_pending(&mut self) {
        self.pending = true;
    }

    /// How many signals came since the last call.
    pub fn take(&mut self) -> usize {
        if !std::mem::take(&mut self.pending) {
            return 0;
        }
        let mut count = 0;
        let mut buffer = [0; 16];
        while let Ok(n @ 1..) = self.receiver.read(&mut buffer) {
            count += n;
        }
        count
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
