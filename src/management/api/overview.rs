//! `/overview`, and sums for each virtual host.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::channels::stats;
use crate::broker::exchange::Router;
use crate::broker::survey::VirtualHostTotals;
use crate::broker::{Counters, Histogram};
use crate::management::call::{Call, PATIENCE, Right};
use crate::management::listing::one;
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::sight::Sight;
use crate::management::{Answer, Refusal};
use crate::protocol::errand::{Loop, Unanswered};

#[derive(Serialize)]
struct Overview<'a> {
    management_version: &'a str,
    rates_mode: &'static str,
    sample_retention_policies: Value,
    exchange_types: Vec<Value>,
    product_version: &'a str,
    product_name: &'a str,
    rabbitmq_version: &'a str,
    leveret_version: &'static str,
    cluster_name: String,
    cluster_tags: Value,
    node_tags: Value,
    /// Typed clients want one.
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    release_series_support_status: &'static str,
    disable_stats: bool,
    is_op_policy_updating_enabled: bool,
    enable_queue_totals: bool,
    message_stats: Measured,
    #[serde(skip_serializing_if = "Option::is_none")]
    churn_rates: Option<Measured>,
    queue_totals: Measured,
    object_totals: ObjectTotals,
    statistics_db_event_queue: u64,
    node: String,
    listeners: Vec<Value>,
    contexts: Vec<Value>,
    /// Ours.
    latency: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_unacked_ms: Option<u64>,
}

/// Ours: how long things took since the start.
#[derive(Serialize)]
struct Latency {
    publish_to_deliver: Percentiles,
    publish_to_confirm: Percentiles,
    sync: Percentiles,
    turn: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    count: u64,
}

impl Percentiles {
    fn of(histogram: &Histogram) -> Percentiles {
        Percentiles {
            p50_us: histogram.per_mille(500),
            p99_us: histogram.per_mille(990),
            p999_us: histogram.per_mille(999),
            count: histogram.total(),
        }
    }
}

fn latency(call: &Call<'_>) -> Result<(Latency, Option<u64>), Refusal> {
    let (latencies, waits, oldest) = call.ask(|hub| {
        let oldest = hub.core.oldest_unacked_ms();
        (hub.latencies.clone(), hub.core.waits.clone(), oldest)
    })?;
    let latency = Latency {
        publish_to_deliver: Percentiles::of(&waits.with(&latencies.straight)),
        publish_to_confirm: Percentiles::of(&latencies.publish_to_confirm),
        sync: Percentiles::of(&latencies.sync),
        turn: Percentiles::of(&latencies.turn),
    };
    Ok((latency, oldest))
}

#[derive(Serialize)]
struct ObjectTotals {
    channels: u64,
    connections: u64,
    consumers: u64,
    exchanges: u64,
    queues: u64,
}

/// Messages and rates of a virtual host, beside what it is. Those of channels that are closed are not
/// counted.
#[derive(Serialize)]
pub struct MeasuredHost {
    message_stats: Measured,
    #[serde(flatten)]
    lengths: Measured,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["overview"] => overview(call),
        _ => return None,
    })
}

fn overview(call: &Call<'_>) -> Answer {
    call.only_get()?;
    let sight = Sight::of(call)?;
    let (hosts, counters, cluster_name) = totals(call)?;
    let mut totals = VirtualHostTotals::default();
    for (host, sum) in &hosts {
        if sight.sees(host.as_bytes()) {
            totals += *sum;
        }
    }
    let sees_all = call.has(Right::Monitoring);
    if sees_all {
        totals.counters += counters.gone;
    }
    let mut groups = vec![stats(&totals.counters), lengths(&totals)];
    if sees_all {
        groups.push(churn(&counters));
    }
    let subject = Subject::Overview(sight.whose().map(str::to_owned));
    let mut measured = measure(call, subject, groups).into_iter();
    let message_stats = measured.next().expect("it was measured");
    let queue_totals = measured.next().expect("it was measured");
    let server = &call.management.facts.config.server;
    let (latency, oldest_unacked_ms) = latency(call)?;
    let overview = Overview {
        latency,
        oldest_unacked_ms,
        management_version: &server.version,
        rates_mode: "basic",
        sample_retention_policies: json!({
            "global": [600, 3600], "basic": [600, 3600], "detailed": [600],
        }),
        exchange_types: exchange_types(),
        product_version: &server.version,
        product_name: &server.product,
        rabbitmq_version: &server.version,
        leveret_version: env!("CARGO_PKG_VERSION"),
        cluster_name,
        cluster_tags: json!({}),
        node_tags: json!({}),
        erlang_version: "none",
        erlang_full_version: concat!("none: leveret ", env!("CARGO_PKG_VERSION")),
        release_series_support_status: "supported",
        disable_stats: false,
        is_op_policy_updating_enabled: true,
        enable_queue_totals: false,
        message_stats,
        churn_rates: measured.next(),
        queue_totals,
        object_totals: ObjectTotals {
            channels: totals.channels,
            connections: totals.connections,
            consumers: totals.consumers,
            exchanges: totals.exchanges,
            queues: totals.queues,
        },
        statistics_db_event_queue: 0,
        node: call.node().to_owned(),
        listeners: match sees_all {
            true => listeners(call),
            false => Vec::new(),
        },
        contexts: match sees_all {
            true => contexts(call),
            false => Vec::new(),
        },
    };
    one(call, &overview)
}

type Totals = (BTreeMap<String, VirtualHostTotals>, Counters, String);

/// Sums by virtual host, the broker's own counts, and the cluster's name.
fn totals(call: &Call<'_>) -> Result<Totals, Refusal> {
    Ok(totals_of(&*call.management.broker)?)
}

fn totals_of(broker: &dyn Loop) -> Result<Totals, Unanswered> {
    let mut sums: BTreeMap<String, VirtualHostTotals> = BTreeMap::new();
    let mut next = Some(0);
    let mut last = None;
    while let Some(from) = next {
        let (page, more, counters, name) = broker.run(PATIENCE, move |hub| {
            let (page, more) = hub.core.survey_totals(from, TOTALS_SLOTS);
            let name = super::nodes::cluster_name(hub);
            (page, more, hub.core.counters, name)
        })?;
        for (host, sum) in page {
            *sums.entry(host).or_default() += sum;
        }
        next = more;
        last = Some((counters, name));
    }
    let (counters, name) = last.unwrap_or_default();
    Ok((sums, counters, name))
}

/// What is measured for who sees everything, in that order.
///
/// # Errors
/// The broker has stopped.
pub fn counts_of_all(broker: &dyn Loop) -> Result<Vec<u64>, Unanswered> {
    let (hosts, counters, _) = totals_of(broker)?;
    let mut totals = VirtualHostTotals::default();
    for sum in hosts.into_values() {
        totals += sum;
    }
    totals.counters += counters.gone;
    let groups = [stats(&totals.counters), lengths(&totals), churn(&counters)];
    Ok(groups.into_iter().flat_map(|it| it.values).collect())
}

/// Sums of all virtual hosts.
///
/// # Errors
/// The broker has stopped.
pub fn virtual_host_totals(
    call: &Call<'_>,
) -> Result<BTreeMap<String, VirtualHostTotals>, Refusal> {
    Ok(totals(call)?.0)
}

impl MeasuredHost {
    pub fn new(call: &Call<'_>, name: &str, totals: &VirtualHostTotals) -> MeasuredHost {
        let groups = vec![stats(&totals.counters), lengths(totals)];
        let subject = Subject::VirtualHost(name.to_owned());
        let mut measured = measure(call, subject, groups).into_iter();
        MeasuredHost {
            message_stats: measured.next().expect("it was measured"),
            lengths: measured.next().expect("it was measured"),
        }
    }
}

fn lengths(totals: &VirtualHostTotals) -> Group {
    Group {
        names: &["messages", "messages_ready", "messages_unacknowledged"],
        values: vec![totals.ready + totals.unacked, totals.ready, totals.unacked],
        range: "lengths",
    }
}

fn churn(counters: &Counters) -> Group {
    Group {
        names: &CHURN,
        values: vec![
            counters.channels_closed,
            counters.channels_opened,
            counters.connections_closed,
            counters.connections_opened,
            counters.queues_created,
            counters.queues_declared,
            counters.queues_deleted,
        ],
        range: "churn_rates",
    }
}

/// The types that are offered, as RabbitMQ describes its own.
pub fn exchange_types() -> Vec<Value> {
    let described = |name: &&'static str| {
        let description = match *name {
            "direct" | "fanout" | "headers" | "topic" => {
                format!("AMQP {name} exchange, as per the AMQP specification")
            }
            other => format!("{other} exchange"),
        };
        json!({"name": name, "description": description, "enabled": true})
    };
    Router::<()>::TYPE_NAMES.iter().map(described).collect()
}

pub fn listeners(call: &Call<'_>) -> Vec<Value> {
    let all = call.management.facts.listeners.iter();
    all.filter_map(|listener| {
        Some(json!({
            "node": call.node(),
            "protocol": listener.protocol,
            "ip_address": listener.interface,
            "port": listener.port?,
            "socket_opts": {"backlog": 128, "nodelay": true},
        }))
    })
    .collect()
}

pub fn contexts(call: &Call<'_>) -> Vec<Value> {
    let all = call.management.facts.listeners.iter();
    let served = all.filter(|it| matches!(it.protocol, "http" | "https"));
    served
        .filter_map(|listener| {
            Some(json!({
                "node": call.node(),
                "description": "RabbitMQ Management",
                "path": "/",
                "ip": listener.interface,
                "port": listener.port?.to_string(),
                "protocol": listener.protocol,
                "ssl_opts": [],
            }))
        })
        .collect()
}

const CHURN: [&str; 7] = [
    "channel_closed",
    "channel_created",
    "connection_closed",
    "connection_created",
    "queue_created",
    "queue_declared",
    "queue_deleted",
];

/// Slots of each table that one look adds up: some 100 microseconds.
const TOTALS_SLOTS: usize = 2_000;
