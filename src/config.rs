//! Every default and every limit, in one struct that is passed down and never global.

use std::path::PathBuf;

/// What the broker is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on for AMQP: an IP address or a host name, both with an optional port
    /// (`[::1]:5673`), or a Unix socket (`unix:/path`, or any path with a slash). Empty: every IPv4
    /// and IPv6 address.
    pub bind: Vec<String>,
    /// AMQP port; 0 lets the operating system choose.
    pub port: u16,
    /// Where durable definitions and persistent messages live. Without, nothing survives the broker,
    /// and confirms wait for nothing.
    pub data_dir: Option<PathBuf>,
    /// What nobody waits for is stored after so many milliseconds at the latest.
    pub sync_interval_ms: u64,
    /// Port of the management API.
    pub http_port: Option<u16>,
    pub limits: Limits,
    pub server: ServerIdentity,
}

/// Bounds. Each says what happens when it is reached.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Highest channel number; a client that asks for more is refused (530).
    pub channel_max: u16,
    /// Largest frame in bytes, header and end marker included; a larger one is refused (501).
    pub frame_max_bytes: u32,
    /// Smallest frame size a client may negotiate (AMQP 0-9-1 §4.2.3 `frame-min-size`).
    pub frame_min_bytes: u32,
    /// Largest frame before tuning (RabbitMQ: `initial_frame_max`).
    pub initial_frame_max_bytes: u32,
    /// Heartbeat interval proposed to clients, in seconds; 0 turns heartbeats off.
    pub heartbeat_seconds: u16,
    /// A connection that is not open after this is dropped (RabbitMQ: `handshake_timeout`).
    pub handshake_timeout_ms: u64,
    /// A peer that does not answer `connection.close` within this is dropped.
    pub closing_timeout_ms: u64,
    /// Largest message body; a larger one closes its channel (406; RabbitMQ: `max_message_size`).
    pub message_size_max_bytes: u64,
    /// A delivery that is unacked for longer ends its consumer, or its channel (RabbitMQ:
    /// `consumer_timeout`). Queues and consumers may say otherwise (`x-consumer-timeout`).
    pub consumer_timeout_ms: Option<u64>,
    /// Bytes waiting for one socket beyond which it gets no more deliveries and is not read.
    pub outbox_bytes_max: usize,
    /// Bytes read from one socket in one turn of the loop; the rest waits on the ready list.
    pub read_bytes_max: usize,
    /// Bytes read from all sockets in one turn of the loop; the rest waits on the ready list.
    pub turn_bytes_max: usize,
    /// A broker that stops waits this long for its peers to say goodbye; then it closes their
    /// sockets.
    pub stop_timeout_ms: u64,
    /// Bytes of messages in memory beyond which they are paged out, if there is a store. With the
    /// default the whole broker stays within 64 MiB.
    pub messages_bytes_budget: usize,
    /// Bytes of messages in memory beyond which publishers are blocked.
    pub messages_bytes_max: usize,
}

/// How the broker introduces itself in `connection.start`.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// `RabbitMQ`, because clients choose their behaviour by it: kombu takes any other product for one
    /// where `basic.qos` with global=false changes running consumers, and a Celery worker then
    /// starves behind a handful of tasks with an ETA. Who we are stands in `information` and
    /// `leveret_version`.
    pub product: String,
    /// Clients compare this with RabbitMQ's versions, so it is one.
    pub version: String,
    pub cluster_name: String,
    /// RabbitMQ: node name, as traces show it.
    pub node_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind: Vec::new(),
            port: 5672,
            data_dir: None,
            sync_interval_ms: 100,
            http_port: None,
            limits: Limits::default(),
            server: ServerIdentity::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            channel_max: 2047,
            frame_max_bytes: 131_072,
            frame_min_bytes: 4096,
            initial_frame_max_bytes: 8192,
            heartbeat_seconds: 60,
            handshake_timeout_ms: 10_000,
            closing_timeout_ms: 30_000,
            message_size_max_bytes: 128 << 20,
            consumer_timeout_ms: None,
            outbox_bytes_max: 256 << 10,
            read_bytes_max: 128 << 10,
            turn_bytes_max: 1 << 20,
            stop_timeout_ms: 5_000,
            messages_bytes_budget: 32 << 20,
            messages_bytes_max: 1 << 30,
        }
    }
}

impl Default for ServerIdentity {
    fn default() -> Self {
        ServerIdentity {
            product: "RabbitMQ".to_owned(),
            version: "3.13.7".to_owned(),
            cluster_name: "leveret".to_owned(),
            node_name: "leveret@localhost".to_owned(),
        }
    }
}
