//! What other threads want of the broker: work that the loop does for them, between two of its stages.
//!
//! An [`Errand`] runs on the loop's thread with everything in reach, so it must be short: a bounded look
//! (see [`broker::survey`](crate::broker::survey)), or one of the broker's doors. What it changed is
//! stored before its outcome is told.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::{Awaited, Hub};

/// Work for the loop. It returns how its outcome is told.
pub type Errand = Box<dyn FnOnce(&mut Hub) -> Tell + Send>;

/// Tells an outcome to whoever waits for it on another thread.
pub type Tell = Box<dyn FnOnce() + Send>;

/// The loop, as other threads see it. They may wait for it; it never waits for them.
pub trait Loop: Send + Sync {
    /// Returns false when the loop has ended. Waits while it has a full channel before it.
    fn submit(&self, errand: Errand) -> bool;
}

/// Why an errand has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The broker has stopped.
    Ended,
    /// It was not stored in time. It may still be.
    Late,
}

impl dyn Loop + '_ {
    /// Has something done and waits for the outcome, and for what it changed to be stored.
    ///
    /// # Errors
    /// [`Unanswered`]
    pub fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Hub) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (sender, told) = bounded(1);
        let errand: Errand = Box::new(move |hub| {
            let outcome = work(hub);
            // Nobody may be there any more; then nobody is told.
            Box::new(move || drop(sender.try_send(outcome)))
        });
        if !self.submit(errand) {
            return Err(Unanswered::Ended);
        }
        told.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Ended,
        })
    }
}

impl Hub {
    /// Does an errand. What is returned is to be called when all of that is reached.
    pub fn run(&mut self, errand: Errand) -> (Tell, Vec<Awaited>) {
        let tell = errand(self);
        if self.core.take_redefined() {
            self.redefined_in = self.await_batch();
            self.errand_awaits.push(Awaited::Batch(self.redefined_in));
        }
        self.after_command();
        (tell, std::mem::take(&mut self.errand_awaits))
    }
}
