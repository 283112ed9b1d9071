//! Virtual hosts: worlds of exchanges and queues that do not see each other.

use crate::slots::Key;

use super::Map;
use super::name::Name;
use super::policy::{Parameters, Policies};
use super::queue::QueueKey;
use super::topology::exchange::ExchangeKey;

pub type VirtualHostKey = Key<VirtualHost>;

pub struct VirtualHost {
    pub name: Name,
    pub exchanges: Map<Name, ExchangeKey>,
    pub queues: Map<Name, QueueKey>,
    pub(super) policies: Policies,
    pub(super) parameters: Parameters,
    /// RabbitMQ: firehose.
    pub traced: bool,
}

impl VirtualHost {
    pub fn new(name: Name) -> Self {
        VirtualHost {
            name,
            exchanges: Map::default(),
            queues: Map::default(),
            policies: Policies::default(),
            parameters: Parameters::new(),
            traced: false,
        }
    }
}

/// The virtual host of those who name none.
pub const DEFAULT_VIRTUAL_HOST: &str = "/";
