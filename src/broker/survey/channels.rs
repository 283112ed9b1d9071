//! Channels.

use super::{Page, shown, walk};
use crate::broker::Core;
use crate::broker::channel::{Channel, ChannelKey, ChannelMode};
use crate::broker::connection::Connection;
use crate::broker::counters::ChannelCounters;

/// A channel, as management shows it.
#[derive(Clone, Debug)]
pub struct ChannelSurvey {
    /// Names it among all channels that there ever were.
    pub id: u64,
    pub number: u16,
    /// Of its connection.
    pub connection: String,
    pub peer_host: String,
    pub peer_port: u16,
    pub user: String,
    pub virtual_host: String,
    pub mode: ChannelMode,
    pub prefetch: u16,
    /// Shared by its consumers.
    pub global_prefetch: u16,
    pub consumers: usize,
    pub unacked: usize,
    /// Publishes and settlements that wait for `tx.commit`.
    pub uncommitted: (u32, u32),
    pub counters: ChannelCounters,
}

impl ChannelSurvey {
    /// RabbitMQ's name of a channel: `127.0.0.1:54321 -> 127.0.0.1:5672 (1)`
    pub fn name(&self) -> String {
        format!("{} ({})", self.connection, self.number)
    }

    /// Published in confirm mode and not confirmed.
    pub fn unconfirmed(&self) -> u64 {
        let counters = &self.counters;
        let expected = counters.published - counters.published_unconfirmed;
        match self.mode {
            ChannelMode::Confirm => expected.saturating_sub(counters.confirmed),
            ChannelMode::Plain | ChannelMode::Transaction => 0,
        }
    }
}

impl Core {
    /// Channels of users and in virtual hosts that are wanted, by both names.
    pub fn survey_channels(
        &self,
        from: usize,
        max: usize,
        wanted: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Page<ChannelSurvey> {
        walk(&self.traffic.channels, from, max, |key, channel| {
            let connection = self.connections.get(channel.connection)?;
            let host = &self.virtual_hosts[connection.virtual_host].name;
            wanted(&connection.user, host).then(|| self.survey_of_channel(key, channel, connection))
        })
    }

    /// What waits for `tx.commit` in a channel: publishes, and settlements.
    pub fn set_uncommitted(&mut self, key: ChannelKey, (publishes, settlements): (usize, usize)) {
        if let Some(channel) = self.traffic.channels.get_mut(key) {
            let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
            channel.uncommitted = (count(publishes), count(settlements));
        }
    }

    fn survey_of_channel(
        &self,
        key: ChannelKey,
        channel: &Channel,
        connection: &Connection,
    ) -> ChannelSurvey {
        ChannelSurvey {
            id: key.to_bits(),
            number: channel.number,
            connection: shown(&connection.name),
            peer_host: connection.about.peer.host.clone(),
            peer_port: connection.about.peer.port,
            user: shown(&connection.user),
            virtual_host: shown(&self.virtual_hosts[connection.virtual_host].name),
            mode: channel.mode,
            prefetch: channel.consumer_prefetch,
            global_prefetch: channel.prefetch,
            consumers: channel.consumers.len(),
            unacked: channel.unacked.len(),
            uncommitted: channel.uncommitted,
            counters: channel.counters,
        }
    }
}
