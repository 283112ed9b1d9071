//! What a scenario is told: sizes, counts and bounds.

use std::time::Duration;

/// Everything has a bound, so that every scenario stops by itself.
#[derive(Clone)]
pub struct Load {
    /// Bytes; at least [`SEQUENCE_SIZE`](crate::client::message::SEQUENCE_SIZE).
    pub body_size: usize,
    pub publishers: usize,
    pub consumers: usize,
    pub queues: usize,
    /// Publisher confirms, with so many messages of each publisher under way.
    pub confirm: Option<u64>,
    /// Consumers acknowledge every so many deliveries.
    pub ack: Option<u64>,
    /// Only with acknowledgements.
    pub prefetch: u16,
    pub persistent: bool,
    /// Messages a second, all publishers together.
    pub rate: Option<f64>,
    /// How long to measure, where a scenario goes by time.
    pub duration: Duration,
    /// Messages at which it is over all the same.
    pub messages: Option<u64>,
    /// Connections to open, queues to declare.
    pub count: Option<u64>,
    pub routing: Routing,
    /// Bindings beside those that match.
    pub bindings: usize,
    /// Where the management API is.
    pub http_port: u16,
}

/// How messages find their queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The default exchange.
    Queue,
    Direct,
    Topic,
    Headers,
    /// A chain of exchanges, each bound to the next.
    Chain,
    /// Every queue gets every message.
    Fanout,
}

impl Load {
    pub fn messages_max(&self) -> u64 {
        self.messages.unwrap_or(MESSAGES_MAX)
    }
}

impl Default for Load {
    fn default() -> Self {
        Load {
            body_size: 100,
            publishers: 1,
            consumers: 1,
            queues: 1,
            confirm: None,
            ack: None,
            prefetch: 1000,
            persistent: false,
            rate: None,
            duration: Duration::from_secs(5),
            messages: None,
            count: None,
            routing: Routing::Queue,
            bindings: 0,
            http_port: HTTP_PORT,
        }
    }
}

/// Ends a scenario early that is faster than anything known.
const MESSAGES_MAX: u64 = 1_000_000_000;
const HTTP_PORT: u16 = 15672;
