//! Virtual hosts: worlds of exchanges and queues that do not see each other.

use crate::slots::Key;

use super::access::{Limits, Refused};
use super::connection::{Connection, ConnectionKey};
use super::name::Name;
use super::outlet::Effect;
use super::policy::{Parameters, Policies};
use super::queue::QueueKey;
use super::topology::exchange::ExchangeKey;
use super::{Core, Map};

pub type VirtualHostKey = Key<VirtualHost>;

pub struct VirtualHost {
    pub name: Name,
    pub exchanges: Map<Name, ExchangeKey>,
    pub queues: Map<Name, QueueKey>,
    pub metadata: Metadata,
    pub limits: Limits,
    pub(super) policies: Policies,
    pub(super) parameters: Parameters,
    /// RabbitMQ: firehose.
    pub traced: bool,
}

/// What people say about a virtual host, and what holds for it as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub description: String,
    pub tags: Vec<String>,
    /// RabbitMQ: `default_queue_type`.
    pub default_queue_type: Option<String>,
    /// It is not deleted before this is taken back (RabbitMQ: deletion protection).
    pub is_protected: bool,
}

impl VirtualHost {
    pub fn new(name: Name) -> Self {
        VirtualHost {
            name,
            exchanges: Map::default(),
            queues: Map::default(),
            metadata: Metadata::default(),
            limits: Limits::default(),
            policies: Policies::default(),
            parameters: Parameters::new(),
            traced: false,
        }
    }
}

impl Core {
    /// Adds a virtual host with its predeclared exchanges. Nobody has permissions there yet.
    ///
    /// # Errors
    /// There is one of that name, or a name cannot be like that.
    pub fn add_virtual_host(&mut self, name: &[u8]) -> Result<VirtualHostKey, Refused> {
        super::access::check_name("virtual host", name)?;
        let owned = Name::from(name);
        if self.virtual_host_names.contains_key(&owned) {
            return Err(Refused::VirtualHostExists(owned.to_string()));
        }
        let key = self.virtual_hosts.insert(VirtualHost::new(owned.clone()));
        self.virtual_host_names.insert(owned, key);
        self.predeclare_exchanges(key);
        self.note_virtual_host(key);
        if self.tells_events() {
            self.tell_virtual_host("vhost.created", name);
        }
        Ok(key)
    }

    /// Deletes a virtual host with all that is in it and about it; its connections are closed (320).
    ///
    /// All of it goes at once, however long that takes (some microseconds a queue): half a virtual host
    /// would be a state that everything else had to know of. Messages are freed later, bit by bit.
    ///
    /// # Errors
    /// There is none of that name, or it is protected.
    pub fn delete_virtual_host(&mut self, name: &[u8]) -> Result<(), Refused> {
        let key = self.virtual_host_names.get(name).copied();
        let key = key.ok_or_else(|| Refused::no_virtual_host(name))?;
        if self.virtual_hosts[key].metadata.is_protected {
            return Err(Refused::Protected(self.virtual_hosts[key].name.to_string()));
        }
        // First of all, so that nobody hears of what goes but that everything goes.
        let why = format!("vhost '{}' is deleted", self.virtual_hosts[key].name);
        self.doom_connections(&why, |connection| connection.virtual_host == key);
        self.remove_contents(key);
        self.clear_all_permissions(name);
        self.clear_virtual_host_limits(key);
        self.clear_virtual_host_settings(key);
        self.virtual_host_names.remove(name);
        self.note_virtual_host(key);
        self.on_access_changed();
        self.free_virtual_host(key);
        if self.tells_events() {
            self.tell_virtual_host("vhost.deleted", name);
        }
        Ok(())
    }

    /// Replaces what is said about a virtual host.
    pub fn set_virtual_host_metadata(&mut self, key: VirtualHostKey, metadata: Metadata) {
        self.virtual_hosts[key].metadata = metadata;
        self.note_virtual_host(key);
    }

    /// What a queue is there that does not say (RabbitMQ: `default_queue_type`).
    pub fn default_queue_type(&self, key: VirtualHostKey) -> Option<&str> {
        self.virtual_hosts[key]
            .metadata
            .default_queue_type
            .as_deref()
    }

    /// All virtual hosts, by name.
    pub fn virtual_hosts(&self) -> Vec<(VirtualHostKey, &VirtualHost)> {
        let keys = self.virtual_host_names.values();
        let mut all: Vec<_> = keys.map(|key| (*key, &self.virtual_hosts[*key])).collect();
        all.sort_by_key(|(_, host)| &host.name);
        all
    }

    /// Closes connections (320), all of them or those of a user, in a virtual host, or both; how many. They
    /// can do nothing more, and are gone when their clients have answered.
    pub fn close_connections(
        &mut self,
        user: Option<&[u8]>,
        virtual_host: Option<&[u8]>,
        why: &str,
    ) -> usize {
        let host = match virtual_host {
            None => None,
            Some(name) => match self.virtual_host_names.get(name) {
                Some(key) => Some(*key),
                None => return 0,
            },
        };
        let is_meant = |connection: &Connection| {
            connection.doom.is_none()
                && user.is_none_or(|user| *connection.user == *user)
                && host.is_none_or(|host| connection.virtual_host == host)
        };
        let connections = self.connections.iter();
        let count = connections.filter(|(_, open)| is_meant(open)).count();
        self.doom_connections(why, is_meant);
        count
    }

    /// Clients that have opened a virtual host.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub fn channel_count(&self) -> usize {
        self.traffic.channels.len()
    }

    /// Why the connection is to be closed, if it is.
    pub fn doom(&self, connection: ConnectionKey) -> Option<&str> {
        self.connections.get(connection)?.doom.as_deref()
    }

    /// Ends connections for this reason: they can do nothing more, and their sockets are told to look
    /// ([`Effect::ConnectionDoomed`]).
    pub(super) fn doom_connections(&mut self, why: &str, is_one: impl Fn(&Connection) -> bool) {
        for key in self.connections.keys() {
            let connection = &mut self.connections[key];
            if connection.doom.is_none() && is_one(connection) {
                connection.doom = Some(why.into());
                let socket = connection.socket;
                let effects = &mut self.traffic.effects;
                effects.push(Effect::ConnectionDoomed { socket });
            }
        }
    }

    /// A deleted virtual host stays, without name and content, until its last connection has left.
    pub(super) fn free_virtual_host(&mut self, key: VirtualHostKey) {
        let Some(host) = self.virtual_hosts.get(key) else {
            return;
        };
        let is_deleted = self.virtual_host_names.get(&host.name) != Some(&key);
        let mut connections = self.connections.iter();
        if is_deleted && !connections.any(|(_, connection)| connection.virtual_host == key) {
            self.virtual_hosts.remove(key);
        }
    }

    pub(super) fn remove_contents(&mut self, key: VirtualHostKey) {
        let mut queues: Vec<_> = self.virtual_hosts[key].queues.values().copied().collect();
        queues.sort();
        for queue in queues {
            self.remove_queue(queue);
        }
        let mut exchanges: Vec<_> = self.virtual_hosts[key]
            .exchanges
            .values()
            .copied()
            .collect();
        exchanges.sort();
        for exchange in exchanges {
            self.remove_exchange(exchange);
        }
    }
}

/// The virtual host of those who name none.
pub const DEFAULT_VIRTUAL_HOST: &str = "/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_hosts_come_and_go() {
        let mut core = Core::new();
        let key = core.add_virtual_host(b"test").unwrap();
        let exists = core.add_virtual_host(b"test").unwrap_err();
        assert_eq!(exists.to_string(), "Virtual host 'test' already exists");
        let names: Vec<_> = core
            .virtual_hosts()
            .iter()
            .map(|(_, host)| host.name.to_string())
            .collect();
        assert_eq!(names, ["/", "test"]);
        let protected = Metadata {
            is_protected: true,
            ..Metadata::default()
        };
        core.set_virtual_host_metadata(key, protected);
        let refused = core.delete_virtual_host(b"test").unwrap_err();
        assert_eq!(refused, Refused::Protected("test".to_owned()));
        core.set_virtual_host_metadata(key, Metadata::default());
        let before = core.inventory().exchanges;
        core.delete_virtual_host(b"test").unwrap();
        assert_eq!(core.inventory().exchanges, before / 2);
        assert!(core.virtual_hosts.get(key).is_none());
        let gone = core.delete_virtual_host(b"test").unwrap_err();
        assert_eq!(gone, Refused::NoSuchVirtualHost("test".to_owned()));
    }
}
