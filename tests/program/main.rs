//! The broker as a program: what it prints and logs, how it is configured and told what to do, how it
//! ends.

#[path = "../support/mod.rs"]
mod support;

mod background;
mod configuration;
mod log_exchange;
mod process;
mod reload;
mod service_manager;
mod signals;
mod start;
