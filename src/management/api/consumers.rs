//! `/consumers`

use serde::Serialize;
use serde_json::Value;

use crate::broker::survey::{Activity, ConsumerSurvey, SLOTS_PER_PAGE};
use crate::management::Answer;
use crate::management::call::Call;
use crate::management::listing::list;
use crate::management::sight::{Sight, all};
use crate::management::terms::json_of_table;

/// A consumer in a list, and with its queue or channel.
#[derive(Serialize)]
pub struct ShownConsumer {
    arguments: Value,
    ack_required: bool,
    active: bool,
    activity_status: &'static str,
    channel_details: ShownChannelOf,
    consumer_tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_timeout: Option<u64>,
    exclusive: bool,
    prefetch_count: u16,
    queue: ShownQueueOf,
}

#[derive(Serialize)]
struct ShownChannelOf {
    connection_name: String,
    name: String,
    node: String,
    number: u16,
    peer_host: String,
    peer_port: u16,
    user: String,
}

#[derive(Serialize)]
struct ShownQueueOf {
    name: String,
    vhost: String,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["consumers"] => consumers(call, None),
        ["consumers", host] => consumers(call, Some(host)),
        _ => return None,
    })
}

fn consumers(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    let mut consumers = all(call, 0, move |hub, from| {
        hub.core
            .survey_consumers(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
    })?;
    let place = |it: &ConsumerSurvey| (it.connection.clone(), it.channel_number, it.tag.clone());
    consumers.sort_by_cached_key(place);
    let shown = consumers.into_iter();
    list(call, shown.map(|it| ShownConsumer::new(call, it)).collect())
}

impl ShownConsumer {
    pub fn new(call: &Call<'_>, it: ConsumerSurvey) -> ShownConsumer {
        ShownConsumer {
            arguments: json_of_table(it.arguments.view()),
            ack_required: !it.no_ack,
            active: it.activity != Activity::Waiting,
            activity_status: match it.activity {
                Activity::Up => "up",
                Activity::SingleActive => "single_active",
                Activity::Waiting => "waiting",
            },
            channel_details: ShownChannelOf {
                name: format!("{} ({})", it.connection, it.channel_number),
                connection_name: it.connection,
                node: call.node().to_owned(),
                number: it.channel_number,
                peer_host: it.peer_host,
                peer_port: it.peer_port,
                user: it.user,
            },
            consumer_tag: it.tag,
            consumer_timeout: it.timeout_ms,
            exclusive: it.exclusive,
            prefetch_count: it.prefetch,
            queue: ShownQueueOf {
                name: it.queue,
                vhost: it.virtual_host,
            },
        }
    }
}
