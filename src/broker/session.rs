//! Connections and channels open and close; what belongs to them goes with them, at once, so that a
//! client that comes back meets nothing of its former self.

use std::collections::{BTreeMap, BTreeSet};

use super::Core;
use super::channel::{Channel, ChannelKey, ChannelMode};
use super::connection::{About, Connection, ConnectionKey, ConnectionState};
use super::counters::ChannelCounters;
use super::error::{Error, Result};
use super::name::Name;
use super::outlet::SocketKey;
use super::settlement::Settlement;
use super::unacked::UnackedRing;
use super::virtual_host::VirtualHostKey;

impl Core {
    /// The virtual host that a client names in `connection.open`.
    pub fn virtual_host(&self, name: &[u8]) -> Result<VirtualHostKey> {
        let found = self.virtual_host_names.get(name).copied();
        found.ok_or_else(|| {
            Error::NotAllowed(format!("vhost {} not found", String::from_utf8_lossy(name)))
        })
    }

    pub fn open_connection(
        &mut self,
        socket: SocketKey,
        virtual_host: VirtualHostKey,
        user: Name,
        name: Name,
        wants_cancel_notify: bool,
    ) -> ConnectionKey {
        let key = self.connections.insert(Connection {
            socket,
            virtual_host,
            user,
            name,
            channels: Vec::new(),
            exclusive_queues: BTreeSet::new(),
            wants_cancel_notify,
            doom: None,
            state: ConnectionState::Running,
            about: Box::default(),
        });
        self.sockets.insert(socket, key);
        self.counters.connections_opened += 1;
        key
    }

    /// Notes what its protocol knows of a connection.
    pub fn describe_connection(&mut self, key: ConnectionKey, about: About) {
        if let Some(connection) = self.connections.get_mut(key) {
            *connection.about = about;
        }
        if self.tells_events() {
            self.act_for(key);
            self.tell_connection_opened(key);
        }
    }

    /// Closes all channels of the connection and deletes its exclusive queues.
    pub fn close_connection(&mut self, key: ConnectionKey) {
        self.act_for(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        for channel in std::mem::take(&mut connection.channels) {
            self.close_channel(channel);
        }
        while let Some(queue) = self.connections[key].exclusive_queues.pop_last() {
            self.remove_queue(queue);
        }
        if self.tells_events() {
            self.tell_connection_goes(key);
        }
        if let Some(connection) = self.connections.remove(key) {
            self.sockets.remove(&connection.socket);
            self.traffic.ack_deadlines.remove(&connection.socket);
            if connection.doom.is_some() {
                self.free_virtual_host(connection.virtual_host);
            }
        }
        self.counters.connections_closed += 1;
    }

    pub fn open_channel(&mut self, connection: ConnectionKey, number: u16) -> ChannelKey {
        let key = self.traffic.channels.insert(Channel {
            connection,
            socket: self.connections[connection].socket,
            number,
            last_delivery_tag: 0,
            unacked: UnackedRing::default(),
            consumer_prefetch: 0,
            prefetch: 0,
            unacked_max: self.traffic.unacked_max,
            consumer_unacked: 0,
            consumers: BTreeSet::new(),
            consumer_tags: BTreeMap::new(),
            ack_clocks: None,
            counters: ChannelCounters::default(),
            mode: ChannelMode::Plain,
            uncommitted: (0, 0),
            reply_consumer: None,
        });
        self.connections[connection].channels.push(key);
        self.counters.channels_opened += 1;
        if self.tells_events() {
            self.act_for(connection);
            self.tell_channel("channel.created", key);
        }
        key
    }

    /// Ends the channel's consumers, then gives back what it holds unacked.
    pub fn close_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.traffic.channels.get_mut(key) else {
            return;
        };
        let connection = channel.connection;
        channel.consumer_tags = BTreeMap::new();
        let consumers = std::mem::take(&mut channel.consumers);
        self.act_for(connection);
        for consumer in consumers {
            self.remove_consumer(consumer);
        }
        self.remove_reply_consumer(key);
        while let Some(taken) = self.traffic.channels[key].unacked.take_oldest(u64::MAX) {
            self.finish(key, &taken, Settlement::Failed);
        }
        if self.tells_events() {
            self.tell_channel("channel.closed", key);
        }
        if let Some(channel) = self.traffic.channels.remove(key) {
            self.counters.gone += channel.counters;
        }
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.channels.retain(|other| *other != key);
        }
        self.counters.channels_closed += 1;
    }

    /// What clients are promised of a channel's messages from here on.
    pub fn set_channel_mode(&mut self, key: ChannelKey, mode: ChannelMode) {
        if let Some(channel) = self.traffic.channels.get_mut(key) {
            channel.mode = mode;
            channel.counters.published_unconfirmed = channel.counters.published;
        }
    }

    /// A client published a message by this channel.
    #[inline]
    pub fn count_published(&mut self, key: ChannelKey, size_bytes: usize) {
        self.counters.sizes.count(size_bytes);
        if let Some(channel) = self.traffic.channels.get_mut(key) {
            channel.counters.published += 1;
        }
    }

    /// No queue wanted a message, and it was sent back or dropped.
    #[cold]
    pub fn count_unroutable(&mut self, key: ChannelKey, is_returned: bool) {
        if let Some(channel) = self.traffic.channels.get_mut(key) {
            match is_returned {
                true => channel.counters.returned += 1,
                false => channel.counters.dropped += 1,
            }
        }
    }

    /// Confirms were sent.
    #[inline]
    pub fn count_confirmed(&mut self, key: ChannelKey, count: u64) {
        if let Some(channel) = self.traffic.channels.get_mut(key) {
            channel.counters.confirmed += count;
        }
    }

    /// What went through all channels, those that are closed included. Walks over the open ones.
    pub fn channel_totals(&self) -> ChannelCounters {
        let mut totals = self.counters.gone;
        for (_, channel) in self.traffic.channels.iter() {
            totals += channel.counters;
        }
        totals
    }

    /// The socket has room again: its consumers may go on.
    pub fn on_room(&mut self, socket: SocketKey) {
        let Some(&key) = self.sockets.get(&socket) else {
            return;
        };
        for channel in &self.connections[key].channels {
            self.traffic.resume_channel(*channel);
        }
    }
}
