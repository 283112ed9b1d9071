//! leveretctl as it is run: what it asks of a broker, what it prints, and how it ends. The broker is made
//! up: it says what RabbitMQ 3.10 was heard saying.

mod broker;
mod listing;
mod node;
mod objects;
mod usage;

use broker::ScriptedBroker;
