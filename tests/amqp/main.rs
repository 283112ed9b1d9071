//! AMQP 0-9-1 over a real socket: a file per topic, a test per rule. What is expected here was seen on
//! the wire from RabbitMQ, except where a test says why not.

#[path = "../support/mod.rs"]
mod support;

mod alarms;
mod bindings;
mod blocked;
mod channels;
mod confirms;
mod consume;
mod consumer_timeout;
mod crowd;
mod dead_letters;
mod deduplication;
mod delayed_messages;
mod delayed_retry;
mod delivery_limit;
mod exchange_types;
mod exchanges;
mod flow_control;
mod frames;
mod get;
mod groups;
mod handshake;
mod headers;
mod heartbeats;
mod limits;
mod node_limits;
mod permissions;
mod priorities;
mod publish;
mod queue_types;
mod queues;
mod reply_to;
mod settle;
mod shutdown;
mod single_active;
mod topics;
mod tracing;
mod transactions;
mod ttl;
mod users;
mod virtual_hosts;
