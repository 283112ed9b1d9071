//! `/queues`: lists, and one with its consumers. What changes queues is asked before.

use serde::Serialize;
use serde_json::{Value, json};

use super::consumers::ShownConsumer;
use crate::broker::survey::{PolicySurvey, QueueSurvey, SLOTS_PER_PAGE};
use crate::broker::{QueueCounters, QueueKind, Waits};
use crate::management::call::{Call, virtual_host};
use crate::management::http::Method;
use crate::management::listing::{list, list_shown, one};
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::sight::{Sight, all};
use crate::management::terms::json_of_table;
use crate::management::{Answer, Refusal};

/// A queue in a list.
#[derive(Serialize)]
struct ShownQueue {
    arguments: Value,
    auto_delete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_queue_status: Option<Value>,
    consumer_capacity: f64,
    consumer_utilisation: f64,
    consumers: usize,
    durable: bool,
    #[serde(flatten)]
    policies: ShownPolicies,
    exclusive: bool,
    exclusive_consumer_tag: Option<String>,
    head_message_timestamp: Option<u64>,
    message_bytes: u64,
    message_bytes_ready: u64,
    message_bytes_unacknowledged: u64,
    /// Ours: waiting for their next try.
    messages_retrying: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measured>,
    #[serde(flatten)]
    lengths: Measured,
    name: String,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<ShownOwner>,
    single_active_consumer_tag: Option<String>,
    state: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    vhost: String,
}

/// The policies in force, of queues and exchanges.
#[derive(Serialize)]
pub struct ShownPolicies {
    policy: Option<String>,
    operator_policy: Option<String>,
    effective_policy_definition: Value,
}

/// Whose an exclusive queue is.
#[derive(Serialize)]
struct ShownOwner {
    name: String,
    peer_host: String,
    peer_port: u16,
}

/// A queue by itself.
#[derive(Serialize)]
struct DetailedQueue {
    consumer_details: Vec<ShownConsumer>,
    deliveries: [Value; 0],
    incoming: [Value; 0],
    latency: Latency,
    #[serde(flatten)]
    queue: ShownQueue,
}

/// Ours: how long messages waited for their first consumer, since the queue is there.
#[derive(Serialize)]
struct Latency {
    publish_to_deliver: Percentiles,
}

/// So many waited for less than this, as far as is known: to the next power of two, in milliseconds.
#[derive(Serialize)]
struct Percentiles {
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    count: u64,
}

/// RabbitMQ: `disable_stats=true&enable_queue_totals=true`.
#[derive(Serialize)]
struct PlainQueue {
    arguments: Value,
    auto_delete: bool,
    durable: bool,
    exclusive: bool,
    messages: u64,
    messages_ready: u64,
    messages_unacknowledged: u64,
    name: String,
    node: String,
    state: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    vhost: String,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["queues"] | ["queues", "detailed"] => queues(call, None),
        ["queues", host] => queues(call, Some(host)),
        ["queues", host, name] => match call.method() {
            Method::Get => queue(call, host, name),
            _ => call.not_allowed("HEAD, GET, PUT, DELETE, OPTIONS"),
        },
        _ => return None,
    })
}

fn queues(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let queues = surveys(call, host)?;
    if call.request.parameter("disable_stats") == Some("true") {
        let plain = queues.into_iter().map(|queue| PlainQueue::new(call, queue));
        return list(call, plain.collect());
    }
    list_shown(
        call,
        queues,
        |queue| &queue.name,
        |queue| ShownQueue::new(call, queue),
    )
}

/// By virtual host and name.
pub fn surveys(call: &Call<'_>, host: Option<&str>) -> Result<Vec<QueueSurvey>, Refusal> {
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    let mut queues = all(call, 0, move |hub, from| {
        hub.core
            .survey_queues(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
    })?;
    queues.sort_by(|a, b| (&a.virtual_host, &a.name).cmp(&(&b.virtual_host, &b.name)));
    queues.dedup_by_key(|queue| queue.id);
    Ok(queues)
}

fn queue(call: &Call<'_>, host: &str, name: &str) -> Answer {
    call.enter(host)?;
    let (host, name) = (host.to_owned(), name.to_owned());
    let found = call.ask(move |hub| {
        let host = virtual_host(hub, &host)?;
        let name = name.as_bytes();
        let missing = |_| Refusal::NotFound;
        let queue = hub.core.survey_queue(host, name).map_err(missing)?;
        let consumers = hub
            .core
            .survey_queue_consumers(host, name, CONSUMERS_MAX)
            .map_err(missing)?;
        Ok::<_, Refusal>((queue, consumers))
    })?;
    let (queue, consumers) = found?;
    let consumers = consumers.into_iter();
    let detailed = DetailedQueue {
        consumer_details: consumers
            .map(|consumer| ShownConsumer::new(call, consumer))
            .collect(),
        deliveries: [],
        incoming: [],
        latency: Latency::of(&queue.waits),
        queue: ShownQueue::new(call, queue),
    };
    one(call, &detailed)
}

impl Latency {
    fn of(waits: &Waits) -> Latency {
        let below = |of_thousand| waits.per_mille(of_thousand).map(|bound_ms| bound_ms * 1000);
        Latency {
            publish_to_deliver: Percentiles {
                p50_us: below(500),
                p99_us: below(990),
                p999_us: below(999),
                count: waits.total(),
            },
        }
    }
}

impl ShownQueue {
    fn new(call: &Call<'_>, queue: QueueSurvey) -> ShownQueue {
        let groups = counts(queue.ready, queue.unacked, &queue.counters);
        let is_used = groups[1].values.iter().any(|count| *count > 0);
        let mut measured = measure(call, Subject::Queue(queue.id), groups);
        let stats = measured.pop().filter(|_| is_used);
        let lengths = measured.pop().expect("two groups were measured");
        // Whether it is waited for somebody who can take a message, or not, right now.
        let capacity = match queue.has_taker {
            true => 1.0,
            false => 0.0,
        };
        ShownQueue {
            arguments: json_of_table(queue.arguments.view()),
            auto_delete: queue.auto_delete,
            backing_queue_status: (queue.kind == QueueKind::Classic)
                .then(|| json!({"len": queue.ready, "mode": "default", "version": 2})),
            consumer_capacity: capacity,
            consumer_utilisation: capacity,
            consumers: queue.consumers,
            durable: queue.durable,
            policies: ShownPolicies::new(queue.policies),
            exclusive: queue.owner.is_some(),
            exclusive_consumer_tag: queue.exclusive_consumer,
            head_message_timestamp: None,
            message_bytes: queue.ready_bytes + queue.unacked_bytes,
            message_bytes_ready: queue.ready_bytes,
            message_bytes_unacknowledged: queue.unacked_bytes,
            messages_retrying: queue.retrying,
            message_stats: stats,
            lengths,
            name: queue.name,
            node: call.node().to_owned(),
            owner_pid_details: queue.owner.map(ShownOwner::new),
            single_active_consumer_tag: queue.single_active_consumer,
            state: "running",
            kind: kind_name(queue.kind),
            vhost: queue.virtual_host,
        }
    }
}

/// Lengths and what went through, in the order in which they are measured.
pub fn counts(ready: u64, unacked: u64, counters: &QueueCounters) -> Vec<Group> {
    let stats = vec![
        counters.published,
        counters.delivered_in_all(),
        counters.delivered,
        counters.delivered_no_ack,
        counters.gotten,
        counters.gotten_no_ack,
        counters.get_empty,
        counters.redelivered,
        counters.acked,
    ];
    vec![
        Group {
            names: &LENGTHS,
            values: vec![ready + unacked, ready, unacked],
            range: "lengths",
        },
        Group {
            names: &STATS,
            values: stats,
            range: "msg_rates",
        },
    ]
}

impl PlainQueue {
    fn new(call: &Call<'_>, queue: QueueSurvey) -> PlainQueue {
        PlainQueue {
            arguments: json_of_table(queue.arguments.view()),
            auto_delete: queue.auto_delete,
            durable: queue.durable,
            exclusive: queue.owner.is_some(),
            messages: queue.ready + queue.unacked,
            messages_ready: queue.ready,
            messages_unacknowledged: queue.unacked,
            name: queue.name,
            node: call.node().to_owned(),
            state: "running",
            kind: kind_name(queue.kind),
            vhost: queue.virtual_host,
        }
    }
}

impl ShownPolicies {
    pub fn new(policies: PolicySurvey) -> ShownPolicies {
        ShownPolicies {
            policy: policies.policy,
            operator_policy: policies.operator_policy,
            effective_policy_definition: json_of_table(policies.definition.view()),
        }
    }
}

impl ShownOwner {
    fn new(connection: String) -> ShownOwner {
        let peer = connection.split(" -> ").next().unwrap_or_default();
        let peer = crate::broker::Endpoint::parse(peer);
        ShownOwner {
            name: connection,
            peer_host: peer.host,
            peer_port: peer.port,
        }
    }
}

pub fn kind_name(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    }
}

const LENGTHS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];
const STATS: [&str; 9] = [
    "publish",
    "deliver_get",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
];

/// Shown with one queue; who wants to see more asks for `/consumers`.
const CONSUMERS_MAX: usize = 1_000;
