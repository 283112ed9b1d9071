//! Sums for each virtual host.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::shown;
use crate::broker::Core;
use crate::broker::counters::ChannelCounters;
use crate::broker::virtual_host::VirtualHostKey;

/// What a virtual host has, as far as it was walked over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtualHostTotals {
    pub queues: u64,
    pub exchanges: u64,
    pub consumers: u64,
    pub connections: u64,
    pub channels: u64,
    pub ready: u64,
    pub unacked: u64,
    /// Of the channels that are open.
    pub counters: ChannelCounters,
}

impl AddAssign for VirtualHostTotals {
    fn add_assign(&mut self, other: Self) {
        self.queues += other.queues;
        self.exchanges += other.exchanges;
        self.consumers += other.consumers;
        self.connections += other.connections;
        self.channels += other.channels;
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.counters += other.counters;
    }
}

impl Core {
    /// Adds up what is in `max` slots of each table from a place on, by virtual host; and where to go
    /// on, if not all was seen.
    pub fn survey_totals(
        &self,
        from: usize,
        max: usize,
    ) -> (BTreeMap<String, VirtualHostTotals>, Option<usize>) {
        let mut sums: BTreeMap<VirtualHostKey, VirtualHostTotals> = BTreeMap::new();
        let traffic = &self.traffic;
        let end = from.saturating_add(max);
        for at in from..end {
            if let Some(key) = traffic.queues.key_at(at)
                && !traffic.queues[key].is_delay_queue()
            {
                let queue = &traffic.queues[key];
                let sum = sums.entry(queue.virtual_host).or_default();
                sum.queues += 1;
                sum.consumers += queue.dispatch.len() as u64;
                sum.ready += queue.ready.len() as u64;
                sum.unacked += queue.unacked as u64;
            }
            if let Some(key) = self.exchanges.key_at(at) {
                let sum = sums.entry(self.exchanges[key].virtual_host).or_default();
                sum.exchanges += 1;
            }
            if let Some(key) = self.connections.key_at(at) {
                let sum = sums.entry(self.connections[key].virtual_host).or_default();
                sum.connections += 1;
            }
            if let Some(key) = traffic.channels.key_at(at)
                && let Some(connection) = self.connections.get(traffic.channels[key].connection)
            {
                let sum = sums.entry(connection.virtual_host).or_default();
                sum.channels += 1;
                sum.counters += traffic.channels[key].counters;
            }
        }
        let counts = [
            traffic.queues.slot_count(),
            self.exchanges.slot_count(),
            self.connections.slot_count(),
            traffic.channels.slot_count(),
        ];
        let is_more = counts.into_iter().any(|count| end < count);
        let named = sums.into_iter().filter_map(|(key, sum)| {
            let host = self.virtual_hosts.get(key)?;
            Some((shown(&host.name), sum))
        });
        (named.collect(), is_more.then_some(end))
    }
}
