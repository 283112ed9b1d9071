//! `/channels`

use serde::Serialize;
use serde_json::Value;

use super::consumers::ShownConsumer;
use crate::broker::survey::{ChannelSurvey, SLOTS_PER_PAGE};
use crate::broker::{ChannelCounters, ChannelMode};
use crate::management::call::Call;
use crate::management::listing::{list, one};
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::sight::{Sight, all};
use crate::management::{Answer, Refusal};

#[derive(Serialize)]
struct ShownChannel {
    acks_uncommitted: u32,
    confirm: bool,
    connection_details: ShownConnectionOf,
    consumer_count: usize,
    global_prefetch_count: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measured>,
    messages_unacknowledged: usize,
    messages_uncommitted: u32,
    messages_unconfirmed: u64,
    name: String,
    node: String,
    number: u16,
    pending_raft_commands: u32,
    prefetch_count: u16,
    state: &'static str,
    transactional: bool,
    user: String,
    user_who_performed_action: String,
    vhost: String,
}

#[derive(Serialize)]
struct ShownConnectionOf {
    name: String,
    peer_host: String,
    peer_port: u16,
}

#[derive(Serialize)]
struct DetailedChannel {
    consumer_details: Vec<ShownConsumer>,
    deliveries: [Value; 0],
    publishes: [Value; 0],
    #[serde(flatten)]
    channel: ShownChannel,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["channels"] => channels(call, None),
        ["vhosts", host, "channels"] => channels(call, Some(host)),
        ["channels", name] => channel(call, name),
        ["connections", name, "channels"] => channels_of(call, name),
        _ => return None,
    })
}

fn channels(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    show(call, surveys(call, sight)?)
}

fn channels_of(call: &Call<'_>, connection: &str) -> Answer {
    call.only_get()?;
    let mut channels = surveys(call, Sight::of(call)?)?;
    channels.retain(|it| it.connection == connection);
    if channels.is_empty() {
        super::connections::check_exists(call, connection)?;
    }
    show(call, channels)
}

fn channel(call: &Call<'_>, name: &str) -> Answer {
    call.only_get()?;
    let sight = Sight::of(call)?;
    let mut channels = surveys(call, sight.clone())?.into_iter();
    let found = channels.find(|it| it.name() == name);
    let channel = found.ok_or(Refusal::NotFound)?;
    let mut consumers = all(call, 0, move |hub, from| {
        hub.core
            .survey_consumers(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
    })?;
    consumers
        .retain(|it| it.connection == channel.connection && it.channel_number == channel.number);
    let consumers = consumers.into_iter();
    let detailed = DetailedChannel {
        consumer_details: consumers.map(|it| ShownConsumer::new(call, it)).collect(),
        deliveries: [],
        publishes: [],
        channel: ShownChannel::new(call, channel),
    };
    one(call, &detailed)
}

/// By connection and number.
fn surveys(call: &Call<'_>, sight: Sight) -> Result<Vec<ChannelSurvey>, Refusal> {
    let mut channels = all(call, 0, move |hub, from| {
        hub.core
            .survey_channels(from, SLOTS_PER_PAGE, &|user, host| {
                sight.sees_of(user, host)
            })
    })?;
    channels.sort_by(|a, b| (&a.connection, a.number).cmp(&(&b.connection, b.number)));
    channels.dedup_by_key(|channel| channel.id);
    Ok(channels)
}

fn show(call: &Call<'_>, channels: Vec<ChannelSurvey>) -> Answer {
    let shown = channels.into_iter();
    list(call, shown.map(|it| ShownChannel::new(call, it)).collect())
}

impl ShownChannel {
    fn new(call: &Call<'_>, it: ChannelSurvey) -> ShownChannel {
        let group = stats(&it.counters);
        let is_used = group.values.iter().any(|count| *count > 0);
        let stats = measure(call, Subject::Channel(it.id), vec![group]).pop();
        ShownChannel {
            acks_uncommitted: it.uncommitted.1,
            confirm: it.mode == ChannelMode::Confirm,
            messages_unconfirmed: it.unconfirmed(),
            name: it.name(),
            connection_details: ShownConnectionOf {
                name: it.connection,
                peer_host: it.peer_host,
                peer_port: it.peer_port,
            },
            consumer_count: it.consumers,
            global_prefetch_count: it.global_prefetch,
            message_stats: stats.filter(|_| is_used),
            messages_unacknowledged: it.unacked,
            messages_uncommitted: it.uncommitted.0,
            node: call.node().to_owned(),
            number: it.number,
            pending_raft_commands: 0,
            prefetch_count: it.prefetch,
            state: "running",
            transactional: it.mode == ChannelMode::Transaction,
            user_who_performed_action: it.user.clone(),
            user: it.user,
            vhost: it.virtual_host,
        }
    }
}

/// What went through channels, of one or of many.
pub fn stats(counters: &ChannelCounters) -> Group {
    Group {
        names: &STATS,
        values: vec![
            counters.published,
            counters.confirmed,
            counters.returned,
            counters.dropped,
            counters.gotten,
            counters.gotten_no_ack,
            counters.get_empty,
            counters.delivered,
            counters.delivered_no_ack,
            counters.delivered_in_all(),
            counters.redelivered,
            counters.acked,
        ],
        range: "msg_rates",
    }
}

const STATS: [&str; 12] = [
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver",
    "deliver_no_ack",
    "deliver_get",
    "redeliver",
    "ack",
];
