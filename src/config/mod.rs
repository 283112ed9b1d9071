//! Every default and every limit, in one struct that is passed down and never global.
//!
//! The struct is plain data: an embedding program fills it in. How it is written down is the business of
//! the modules below, which are pure: text in, values out. Reading files is left to the program.
//!
//! ```text
//! section      parts of Config: TLS, TCP, log, access, watermarks
//! table, keys  a row a key: the only place where it is defined
//! values       the kinds of values in it, both ways
//! known        RabbitMQ's keys that have no meaning here
//! syntax       rabbitmq.conf's `key = value`
//! environment  variables that stand for keys
//! sources      settings from everywhere -> one Config, and which value came from where
//! ```

pub mod environment;
mod keys;
mod known;
mod section;
pub mod sources;
pub mod syntax;
mod table;
mod values;

use std::path::PathBuf;

pub use keys::{Change, Effect};
pub use section::{
    Access, CATEGORIES, Category, EventExchange, Format, Https, Log, LoginFrom, Mechanism,
    RevocationCheck, TLS_PORT, TcpOptions, Tls, TlsOptions, TlsVersion, Verify, Watermark,
    Watermarks,
};

/// What the broker is told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses to listen on for AMQP: an IP address or a host name, both with an optional port
    /// (`[::1]:5673`), a port alone for all addresses, or a Unix socket (`unix:/path`, or any path
    /// with a slash). Empty: every IPv4 and IPv6 address.
    pub bind: Vec<String>,
    /// AMQP port of addresses that name none; 0 lets the operating system choose.
    pub port: u16,
    /// Whether AMQP is served without TLS at all (RabbitMQ: `listeners.tcp = none`).
    pub listen_plain: bool,
    /// AMQP over TLS.
    pub tls: Tls,
    /// Options of the sockets of clients.
    pub tcp: TcpOptions,
    /// Connections over TCP begin with the proxy's header (PROXY protocol v1 and v2), and are refused
    /// without one.
    pub proxy_protocol: bool,
    /// Where durable definitions and persistent messages live. Without, nothing survives the broker,
    /// and confirms wait for nothing.
    pub data_dir: Option<PathBuf>,
    /// What nobody waits for is stored after so many milliseconds at the latest.
    pub sync_interval_ms: u64,
    /// For so many microseconds the loop and the disk thread look for more to do before they sleep
    /// (Erlang: busy wait threshold).
    pub spin_us: u64,
    /// Port of the management API.
    pub http_port: Option<u16>,
    /// Its address; without, all of them.
    pub http_ip: Option<String>,
    /// The management API over TLS.
    pub https: Https,
    /// Port of the metrics for Prometheus.
    pub prometheus_port: Option<u16>,
    /// Its address; without, all of them.
    pub prometheus_ip: Option<String>,
    /// Definitions to import at start (RabbitMQ: `load_definitions`).
    pub load_definitions: Option<PathBuf>,
    /// What queues are that do not say, in virtual hosts that do not say either (RabbitMQ).
    pub default_queue_type: Option<String>,
    /// Who may come in, in a broker that knows nobody yet.
    pub access: Access,
    /// When publishers are blocked to save memory and disk.
    pub watermarks: Watermarks,
    /// What the program logs, and where to; an embedded broker leaves that to its host.
    pub log: Log,
    /// What happens, as messages.
    pub event_exchange: EventExchange,
    /// The program writes its process id there, and removes the file at its end.
    pub pid_file: Option<PathBuf>,
    pub limits: Limits,
    pub server: ServerIdentity,
}

/// Bounds. Each says what happens when it is reached.
#[derive(Clone, Debug, PartialEq)]
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
    /// Connections of the whole broker; a client beyond is refused (530).
    pub connections_max: Option<u32>,
    /// Channels of the whole broker (RabbitMQ: `channel_max_per_node`).
    pub channels_max: Option<u32>,
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
    /// Bytes of resident memory that the process stays under, if that is to be less than what there is.
    /// Near it, newcomers and declarations are refused (506).
    pub memory_bytes_max: Option<u64>,
}

/// How the broker introduces itself in `connection.start`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerIdentity {
    /// `RabbitMQ`, because clients choose their behaviour by it: kombu takes any other product for one
    /// where `basic.qos` with global=false changes running consumers, and a Celery worker then
    /// starves behind a handful of tasks with an ETA. Who we are stands in `information` and
    /// `leveret_version`.
    pub product: String,
    /// Clients compare this with RabbitMQ's versions, so it is one.
    pub version: String,
    /// RabbitMQ: cluster name; like RabbitMQ's, the first node's name unless somebody gives another.
    pub cluster_name: String,
    /// RabbitMQ: node name. `rabbit@` something, because tools look for that; it says nothing about the
    /// data, which stays whatever the host is called.
    pub node_name: String,
}

impl Config {
    /// What HTTPS is served with.
    pub fn https_options(&self) -> &TlsOptions {
        match self.https.options.certificate_file {
            Some(_) => &self.https.options,
            None => &self.tls.options,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind: Vec::new(),
            port: 5672,
            listen_plain: true,
            tls: Tls::default(),
            tcp: TcpOptions::default(),
            proxy_protocol: false,
            data_dir: None,
            sync_interval_ms: 100,
            spin_us: 0,
            http_port: None,
            http_ip: None,
            https: Https::default(),
            prometheus_port: None,
            prometheus_ip: None,
            load_definitions: None,
            default_queue_type: None,
            access: Access::default(),
            watermarks: Watermarks::default(),
            log: Log::default(),
            event_exchange: EventExchange::default(),
            pid_file: None,
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
            connections_max: None,
            channels_max: None,
            message_size_max_bytes: 128 << 20,
            consumer_timeout_ms: None,
            outbox_bytes_max: 256 << 10,
            read_bytes_max: 128 << 10,
            turn_bytes_max: 1 << 20,
            stop_timeout_ms: 3_000,
            messages_bytes_budget: 32 << 20,
            messages_bytes_max: 1 << 30,
            memory_bytes_max: None,
        }
    }
}

impl Default for ServerIdentity {
    fn default() -> Self {
        ServerIdentity {
            product: "RabbitMQ".to_owned(),
            version: "3.13.7".to_owned(),
            cluster_name: "rabbit@localhost".to_owned(),
            node_name: "rabbit@localhost".to_owned(),
        }
    }
}
