//! Reads the configuration anew, on a thread that lives as long as that takes: files are not for the
//! loop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Reload;
use super::control::{Command, Handle};
use super::notify::Notifier;
use super::tls;
use crate::config::{Config, TlsOptions};

pub(super) struct Reloader {
    /// Held by the one thread that reads; the next waits for it, and reads what is newer.
    reload: Arc<Mutex<Reload>>,
    /// Threads that read or wait.
    threads: Arc<AtomicUsize>,
}

impl Reloader {
    pub fn new(reload: Reload) -> Reloader {
        Reloader {
            reload: Arc::new(Mutex::new(reload)),
            threads: Arc::default(),
        }
    }

    /// Begins. What comes of it is told to the loop as a command.
    pub fn start(&self, handle: Handle, notifier: Arc<Notifier>) {
        if self.threads.load(Ordering::Acquire) >= THREADS_MAX {
            // Who waits already will see the same files.
            return;
        }
        let (reload, threads) = (Arc::clone(&self.reload), Arc::clone(&self.threads));
        let work = move || {
            notifier.reloading();
            let mut reload = reload.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(config) = reload() {
                renew_certificates(&config, &handle);
                // It does not matter to a loop that has ended.
                handle.send(Command::Reconfigure(Box::new(config)));
            }
            threads.fetch_sub(1, Ordering::Release);
            notifier.ready();
        };
        self.threads.fetch_add(1, Ordering::Relaxed);
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(work);
        if let Err(error) = thread {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            log::error!("the configuration was not read again: {error}");
        }
    }
}

/// The files may have been replaced even if their names have not.
fn renew_certificates(config: &Config, handle: &Handle) {
    if !config.tls.addresses().is_empty()
        && let Some(context) = read_again("TLS", &config.tls.options)
    {
        handle.send(Command::RenewTls(context));
    }
    if config.https.port.is_some()
        && let Some(context) = read_again("HTTPS", config.https_options())
    {
        handle.send(Command::RenewHttps(context));
    }
}

fn read_again(what: &str, options: &TlsOptions) -> Option<tls::Context> {
    match tls::Context::load(options) {
        Ok(context) => {
            log::info!("{what} certificates were read again");
            Some(context)
        }
        Err(error) => {
            log::error!("{error}; {what} goes on with the certificates that it has");
            None
        }
    }
}

/// One reads, one waits.
const THREADS_MAX: usize = 2;
