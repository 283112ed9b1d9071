//! leveretctl as it is run: what it asks of a broker, what it prints, and how it ends. Mostly the broker is
//! made up, and says what RabbitMQ 3.10 was heard saying; where the two have to fit, it is the real one.

#[allow(dead_code, reason = "this target uses a part of it")]
#[path = "../program/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod broker;
mod listing;
mod node;
mod objects;
mod permissions;
mod questions;
mod served;
mod stopped;
mod tutorials;
mod usage;

use broker::ScriptedBroker;
