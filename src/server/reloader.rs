//! Reads the configuration anew, on a thread that lives as long as that takes: files are not for the
//! loop.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Reload;
use super::control::{Command, Handle};
use super::notify::Notifier;

pub(super) struct Reloader {
    /// Held by the one thread that reads; the next waits for it, and reads what is newer.
    reload: Arc<Mutex<Reload>>,
}

impl Reloader {
    pub fn new(reload: Reload) -> Reloader {
        Reloader {
            reload: Arc::new(Mutex::new(reload)),
        }
    }

    /// Begins. What comes of it is told to the loop as a command.
    pub fn start(&self, handle: Handle, notifier: Arc<Notifier>) {
        let reload = Arc::clone(&self.reload);
        let work = move || {
            notifier.reloading();
            let mut reload = reload.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(config) = reload() {
                // It does not matter to a loop that has ended.
                handle.send(Command::Reconfigure(Box::new(config)));
            }
            notifier.ready();
        };
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(work);
        if let Err(error) = thread {
            log::error!("the configuration was not read again: {error}");
        }
    }
}
