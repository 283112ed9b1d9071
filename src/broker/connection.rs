//! What the core knows of a client's connection: who it is, and what ends with it.

use std::collections::BTreeSet;

use crate::slots::Key;

use super::channel::ChannelKey;
use super::name::Name;
use super::outlet::SocketKey;
use super::queue::QueueKey;
use super::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::OwnedTable;

pub type ConnectionKey = Key<Connection>;

/// An open connection.
pub struct Connection {
    pub socket: SocketKey,
    pub virtual_host: VirtualHostKey,
    pub user: Name,
    /// `127.0.0.1:54321 -> 127.0.0.1:5672`: how operators know it.
    pub name: Name,
    /// In order of opening.
    pub channels: Vec<ChannelKey>,
    /// Queues that only it may use, and that go with it; in order of declaration.
    pub exclusive_queues: BTreeSet<QueueKey>,
    /// RabbitMQ: consumer cancel notification. Whether the client announced that it understands a
    /// `basic.cancel` from the broker.
    pub wants_cancel_notify: bool,
    /// Why it is to be closed: its user or its virtual host is gone, or somebody wanted it.
    pub doom: Option<Box<str>>,
    pub state: ConnectionState,
    /// Only shown.
    pub about: Box<About>,
}

/// What a connection's protocol knows of it, and nothing here depends on.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What the client says of itself (AMQP 0-9-1 `connection.start-ok`).
    pub client_properties: OwnedTable,
    /// How it logged in: `PLAIN`.
    pub mechanism: String,
    pub peer: Endpoint,
    pub local: Endpoint,
    /// Bytes; 0 is no limit.
    pub frame_max: u32,
    /// 0 is no limit.
    pub channel_max: u16,
    /// 0 is none.
    pub heartbeat_seconds: u64,
    /// Milliseconds since 1970.
    pub connected_ms: u64,
    /// `None` without TLS.
    pub tls: Option<AboutTls>,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AboutTls {
    /// `tlsv1.3`
    pub version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`
    pub cipher_suite: &'static str,
    /// Of the client's certificate: `CN=client,O=Example`.
    pub subject: Option<String>,
}

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// An IP address without brackets; `unix` or a path for a Unix socket.
    pub host: String,
    /// 0 for a Unix socket.
    pub port: u16,
}

/// Whether a connection is read (RabbitMQ: connection states).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    #[default]
    Running,
    /// It published while an alarm was in force.
    Blocked,
    /// It publishes faster than the store can write.
    Flow,
    /// It is told to go.
    Closing,
}

impl Endpoint {
    /// `127.0.0.1:5672`, `[::1]:5672`, or what a Unix socket is called.
    pub fn parse(address: &str) -> Endpoint {
        let parts = address.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parsed.unwrap_or((address, 0));
        Endpoint {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (address, host, port) in [
            ("127.0.0.1:5672", "127.0.0.1", 5672),
            ("[::1]:5672", "::1", 5672),
            ("unix", "unix", 0),
            ("unix:/run/leveret.sock", "unix:/run/leveret.sock", 0),
        ] {
            let endpoint = Endpoint::parse(address);
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
        }
    }
}
