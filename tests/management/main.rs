//! The management API over a real socket: a file for each group of resources, a test per rule. Shapes
//! and texts were seen from RabbitMQ, except where a test says why not.

#[path = "../support/mod.rs"]
mod support;

mod asking;
mod bindings;
mod browse;
mod connections;
mod dashboard;
mod definitions;
mod events;
mod exchanges;
mod health;
mod hostile;
mod messages;
mod overview;
mod permissions;
mod policies;
mod queues;
mod session;
mod sight;
mod topology;
mod users;
mod virtual_hosts;
