//! How many connections, channels and queues there may be, by user and by virtual host.
//!
//! What there is is counted when somebody asks for more and a limit stands against it: that walks over
//! the open connections, and costs nothing where there is no limit.

use crate::broker::Core;
use crate::broker::connection::{Connection, ConnectionKey};
use crate::broker::error::{Error, Result};
use crate::broker::virtual_host::VirtualHostKey;

use super::Refused;

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Of a virtual host or a user.
    MaxConnections,
    /// Of a virtual host.
    MaxQueues,
    /// Of a user.
    MaxChannels,
}

/// The limits of a user or a virtual host. A negative one is kept and limits nothing (RabbitMQ).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub max_connections: Option<i64>,
    pub max_queues: Option<i64>,
    pub max_channels: Option<i64>,
}

impl Limit {
    pub const ALL: [Limit; 3] = [Limit::MaxConnections, Limit::MaxQueues, Limit::MaxChannels];

    /// RabbitMQ's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Limit::MaxConnections => "max-connections",
            Limit::MaxQueues => "max-queues",
            Limit::MaxChannels => "max-channels",
        }
    }

    /// The one with that name.
    pub fn named(name: &[u8]) -> Option<Limit> {
        let mut all = Limit::ALL.into_iter();
        all.find(|limit| limit.name().as_bytes() == name)
    }
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    pub fn get(&self, limit: Limit) -> Option<i64> {
        match limit {
            Limit::MaxConnections => self.max_connections,
            Limit::MaxQueues => self.max_queues,
            Limit::MaxChannels => self.max_channels,
        }
    }

    pub fn set(&mut self, limit: Limit, value: Option<i64>) {
        *match limit {
            Limit::MaxConnections => &mut self.max_connections,
            Limit::MaxQueues => &mut self.max_queues,
            Limit::MaxChannels => &mut self.max_channels,
        } = value;
    }

    /// The limit, if what there is has reached it.
    fn reached(&self, limit: Limit, count: impl FnOnce() -> usize) -> Option<i64> {
        let max = self.get(limit)?;
        let max_count = usize::try_from(max).ok()?;
        (count() >= max_count).then_some(max)
    }
}

impl Core {
    /// Sets one limit of a user, or takes it away.
    ///
    /// # Errors
    /// There is no such user.
    pub fn set_user_limit(
        &mut self,
        name: &[u8],
        limit: Limit,
        value: Option<i64>,
    ) -> std::result::Result<(), Refused> {
        let user = self.user_mut(name)?;
        user.limits.set(limit, value);
        let limits = user.limits;
        self.note_user_limits(name, &limits);
        Ok(())
    }

    /// Takes all limits of a user away.
    ///
    /// # Errors
    /// There is no such user.
    pub fn clear_user_limits(&mut self, name: &[u8]) -> std::result::Result<(), Refused> {
        self.user_mut(name)?.limits = Limits::default();
        self.note_user_limits(name, &Limits::default());
        Ok(())
    }

    /// Sets one limit of a virtual host, or takes it away.
    pub fn set_virtual_host_limit(
        &mut self,
        virtual_host: VirtualHostKey,
        limit: Limit,
        value: Option<i64>,
    ) {
        self.virtual_hosts[virtual_host].limits.set(limit, value);
        self.note_virtual_host_limits(virtual_host);
    }

    /// Takes all limits of a virtual host away.
    pub fn clear_virtual_host_limits(&mut self, virtual_host: VirtualHostKey) {
        self.virtual_hosts[virtual_host].limits = Limits::default();
        self.note_virtual_host_limits(virtual_host);
    }

    /// Whether the user may open another connection to the virtual host: its limit, then the user's.
    pub(super) fn check_connection_limits(
        &self,
        virtual_host: VirtualHostKey,
        user: &[u8],
    ) -> Result<()> {
        let host = &self.virtual_hosts[virtual_host];
        let shown = String::from_utf8_lossy(user);
        let in_host = |connection: &Connection| connection.virtual_host == virtual_host;
        let reached = host
            .limits
            .reached(Limit::MaxConnections, || self.count_connections(in_host));
        if let Some(max) = reached {
            return Err(Error::NotAllowed(format!(
                "access to vhost '{}' refused for user '{shown}': connection limit ({max}) is \
                 reached",
                host.name
            )));
        }
        let limits = self.user(user).map(|user| user.limits).unwrap_or_default();
        let of_user = |connection: &Connection| *connection.user == *user;
        let reached = limits.reached(Limit::MaxConnections, || self.count_connections(of_user));
        if let Some(max) = reached {
            return Err(Error::NotAllowed(format!(
                "connection refused for user '{shown}': user connection limit ({max}) is reached"
            )));
        }
        Ok(())
    }

    /// Whether the connection's user may open another channel.
    pub fn check_channel(&self, connection: ConnectionKey) -> Result<()> {
        let name = &self.connections[connection].user;
        let limits = self.user(name).map(|user| user.limits).unwrap_or_default();
        let reached = limits.reached(Limit::MaxChannels, || {
            let connections = self.connections.iter().map(|(_, connection)| connection);
            let own = connections.filter(|other| other.user == *name);
            own.map(|connection| connection.channels.len()).sum()
        });
        match reached {
            None => Ok(()),
            Some(max) => Err(Error::NotAllowed(format!(
                "number of channels opened for user '{name}' has reached the maximum allowed user \
                 limit of ({max})"
            ))),
        }
    }

    /// Whether the virtual host may have another queue.
    pub(super) fn check_queue_limit(
        &self,
        virtual_host: VirtualHostKey,
        queue: &[u8],
    ) -> Result<()> {
        let host = &self.virtual_hosts[virtual_host];
        let reached = host.limits.reached(Limit::MaxQueues, || host.queues.len());
        match reached {
            None => Ok(()),
            Some(max) => Err(Error::PreconditionFailed(format!(
                "cannot declare queue '{}': queue limit in vhost '{}' ({max}) is reached",
                String::from_utf8_lossy(queue),
                host.name
            ))),
        }
    }

    fn count_connections(&self, counts: impl Fn(&Connection) -> bool) -> usize {
        let connections = self.connections.iter();
        connections
            .filter(|(_, connection)| connection.doom.is_none() && counts(connection))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_reached_at_their_value_unless_it_is_negative() {
        let mut limits = Limits::default();
        assert_eq!(limits.reached(Limit::MaxQueues, || usize::MAX), None);
        for (value, count, expected) in [
            (0, 0, Some(0)),
            (2, 1, None),
            (2, 2, Some(2)),
            (2, 3, Some(2)),
            (-1, usize::MAX, None),
        ] {
            limits.set(Limit::MaxQueues, Some(value));
            assert_eq!(limits.reached(Limit::MaxQueues, || count), expected);
        }
        for limit in Limit::ALL {
            assert_eq!(Limit::named(limit.name().as_bytes()), Some(limit));
        }
        assert_eq!(Limit::named(b"max-foo"), None);
    }
}
