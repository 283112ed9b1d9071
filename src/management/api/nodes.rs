//! The one node there is: `/nodes`, and what is said of the broker as a whole.

use serde::Serialize;
use serde_json::{Value, json};

use super::overview::{contexts, exchange_types};
use crate::broker::Counters;
use crate::management::call::{Call, Right};
use crate::management::http::{Method, Response};
use crate::management::listing::{list, one};
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::refusal::json_response;
use crate::management::{Answer, Refusal, Vitals};
use crate::protocol::{Hub, Resources};

#[derive(Serialize)]
struct Node {
    applications: Vec<Value>,
    auth_mechanisms: Vec<Value>,
    being_drained: bool,
    cluster_links: [Value; 0],
    config_files: Vec<String>,
    contexts: Vec<Value>,
    db_dir: String,
    disk_free_alarm: bool,
    disk_free_limit: u64,
    enabled_plugins: [&'static str; 3],
    exchange_types: Vec<Value>,
    fd_total: u64,
    log_files: Vec<String>,
    mem_alarm: bool,
    mem_calculation_strategy: &'static str,
    mem_limit: u64,
    metrics_gc_queue_length: Value,
    name: String,
    net_ticktime: u64,
    os_pid: String,
    partitions: [Value; 0],
    proc_total: u64,
    processors: u64,
    ra_open_file_metrics: Value,
    rates_mode: &'static str,
    run_queue: u64,
    running: bool,
    sockets_total: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Milliseconds.
    uptime: u64,
    #[serde(flatten)]
    figures: Measured,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["nodes"] => nodes(call),
        ["nodes", name] => node(call, name),
        ["nodes", name, "memory"] => memory(call, name, false),
        ["nodes", name, "memory", "relative"] => memory(call, name, true),
        ["cluster-name"] => show_cluster_name(call),
        ["version"] => fixed(call, json!(call.management.facts.config.server.version)),
        ["extensions"] | ["deprecated-features", "used"] => fixed(call, json!([])),
        ["deprecated-features"] => fixed(call, deprecated_features()),
        ["rebalance", "queues"] => rebalance(call),
        ["feature-flags"] => fixed(call, json!(feature_flags())),
        ["feature-flags", name, "enable"] => enable(call, name),
        ["shovels", ..] | ["federation-links", ..] | ["traces", ..] | ["trace-files", ..] => {
            fixed(call, json!([]))
        }
        ["stream", "connections" | "consumers" | "publishers", ..] => fixed(call, json!([])),
        _ => return None,
    })
}

/// What RabbitMQ 3.13 means to take away and still permits. Here some of it stays, and some never was.
fn deprecated_features() -> Value {
    let all = [
        ("classic_queue_mirroring", "Classic mirrored queues", false),
        ("global_qos", "Global QoS/prefetch counts", true),
        ("ram_node_type", "RAM nodes", false),
        (
            "transient_nonexcl_queues",
            "Transient non-exclusive queues",
            true,
        ),
    ];
    let shown = all.map(|(name, what, is_here)| {
        let (fate, phase, state) = match is_here {
            true => (
                "permitted, and will be",
                "permitted_by_default",
                "permitted",
            ),
            false => ("there are none", "removed", "denied"),
        };
        json!({
            "name": name,
            "desc": format!("{what}: {fate}"),
            "deprecation_phase": phase,
            "doc_url": "",
            "provided_by": "rabbit",
            "state": state,
        })
    });
    json!(shown)
}

/// All flags that there are stay enabled.
fn enable(call: &Call<'_>, name: &str) -> Answer {
    if call.method() != Method::Put {
        return call.not_allowed("PUT, OPTIONS");
    }
    call.require(Right::Administrator)?;
    match FEATURE_FLAGS.iter().any(|(known, ..)| *known == name) {
        true => Ok(Response::empty(204)),
        false => Err(Refusal::bad("unsupported")),
    }
}

/// There is one node, on which all queues are led already.
fn rebalance(call: &Call<'_>) -> Answer {
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    call.require(Right::Administrator)?;
    Ok(Response::empty(204))
}

fn nodes(call: &Call<'_>) -> Answer {
    call.only_get()?;
    call.require(Right::Monitoring)?;
    list(call, vec![shown(call)?])
}

fn node(call: &Call<'_>, name: &str) -> Answer {
    call.only_get()?;
    check(call, name)?;
    one(call, &shown(call)?)
}

/// # Errors
/// The user may not, or it is not our name.
fn check(call: &Call<'_>, name: &str) -> Result<(), Refusal> {
    call.require(Right::Monitoring)?;
    match name == call.node() {
        true => Ok(()),
        false => Err(Refusal::NotFound),
    }
}

fn shown(call: &Call<'_>) -> Result<Node, Refusal> {
    let facts = &call.management.facts;
    let config = &facts.config;
    let vitals = (facts.vitals)();
    let (counters, connections, resources) = call.ask(|hub| {
        let connections = hub.core.connection_count();
        (hub.core.counters, connections, hub.resources())
    })?;
    let figures = measure(
        call,
        Subject::Node,
        vec![figures(&vitals, &resources, &counters, connections)],
    );
    Ok(Node {
        applications: vec![
            application("rabbit", "RabbitMQ", &config.server.version),
            application(
                "rabbitmq_management",
                "RabbitMQ Management Console",
                &config.server.version,
            ),
            application("leveret", "leveret", env!("CARGO_PKG_VERSION")),
        ],
        auth_mechanisms: vec![
            json!({"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true}),
            json!({"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true}),
        ],
        being_drained: false,
        cluster_links: [],
        config_files: Vec::new(),
        contexts: contexts(call),
        db_dir: config
            .data_dir
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string()),
        disk_free_alarm: resources.disk_alarm,
        disk_free_limit: resources.disk_free_limit.unwrap_or(0),
        enabled_plugins: [
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_prometheus",
        ],
        exchange_types: exchange_types(),
        fd_total: vitals.files_max,
        log_files: vec!["<stdout>".to_owned()],
        mem_alarm: resources.memory_alarm,
        mem_calculation_strategy: "rss",
        mem_limit: resources.memory_limit.unwrap_or(0),
        metrics_gc_queue_length: json!({}),
        name: call.node().to_owned(),
        net_ticktime: 60,
        os_pid: facts.pid.to_string(),
        partitions: [],
        proc_total: vitals.files_max,
        processors: vitals.processors,
        ra_open_file_metrics: json!({}),
        rates_mode: "basic",
        run_queue: 0,
        running: true,
        sockets_total: vitals.files_max,
        kind: "disc",
        uptime: call
            .now
            .monotonic_ms
            .saturating_sub(facts.started.monotonic_ms),
        figures: figures.into_iter().next().expect("it was measured"),
    })
}

fn figures(
    vitals: &Vitals,
    resources: &Resources,
    counters: &Counters,
    connections: usize,
) -> Group {
    let measured = &resources.measured;
    Group {
        names: &FIGURES,
        values: vec![
            measured.memory_used.unwrap_or(0),
            vitals.files,
            connections as u64,
            // Every connection is what Erlang has processes for.
            connections as u64,
            measured.disk_free.unwrap_or(0),
            vitals.context_switches,
            counters.connections_opened,
            counters.connections_closed,
            counters.channels_opened,
            counters.channels_closed,
            counters.queues_declared,
            counters.queues_created,
            counters.queues_deleted,
        ],
        range: "node_stats",
    }
}

/// All memory in one account but for messages: there are no processes to tell apart.
fn memory(call: &Call<'_>, name: &str, relative: bool) -> Answer {
    call.only_get()?;
    check(call, name)?;
    let (measured, messages) =
        call.ask(|hub| (hub.resources().measured, hub.core.message_bytes() as u64))?;
    let total = measured.memory_used.unwrap_or(0);
    let other = total.saturating_sub(messages);
    let shown = match relative {
        true => {
            let share = |part: u64| (part as f64 * 100.0 / total.max(1) as f64).ceil() as u64;
            json!({"memory": {
                "binary": share(messages), "other_system": share(other), "strategy": "rss",
                "total": {"rss": 100, "allocated": 100, "erlang": 100},
            }})
        }
        false => json!({"memory": {
            "binary": messages, "other_system": other, "strategy": "rss",
            "total": {"rss": total, "allocated": total, "erlang": total},
        }}),
    };
    one(call, &shown)
}

fn show_cluster_name(call: &Call<'_>) -> Answer {
    if call.method() != crate::management::http::Method::Get {
        return call.not_allowed("HEAD, GET, PUT, OPTIONS");
    }
    let name = call.ask(|hub| cluster_name(hub))?;
    one(call, &json!({"name": name}))
}

/// What an operator called it, or else the configuration.
pub fn cluster_name(hub: &Hub) -> String {
    let set = hub.core.global_parameter(b"cluster_name");
    let set = set.and_then(|value| Some(value.view().as_str()?.to_owned()));
    set.unwrap_or_else(|| hub.config.server.cluster_name.clone())
}

/// What never changes.
fn fixed(call: &Call<'_>, what: Value) -> Answer {
    call.only_get()?;
    Ok(json_response(200, &what))
}

/// All that clients look for is there and stays.
fn feature_flags() -> Vec<Value> {
    let flag = |(name, description, provider): &(&str, &str, &str)| {
        json!({
            "name": name,
            "desc": description,
            "doc_url": "",
            "state": "enabled",
            "stability": "stable",
            "provided_by": provider,
        })
    };
    FEATURE_FLAGS.iter().map(flag).collect()
}

fn application(name: &str, description: &str, version: &str) -> Value {
    json!({"name": name, "description": description, "version": version})
}

const FIGURES: [&str; 13] = [
    "mem_used",
    "fd_used",
    "sockets_used",
    "proc_used",
    "disk_free",
    "context_switches",
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

const FEATURE_FLAGS: [(&str, &str, &str); 9] = [
    (
        "detailed_queues_endpoint",
        "Add a detailed queues HTTP API endpoint",
        "rabbitmq_management",
    ),
    (
        "drop_unroutable_metric",
        "Count unroutable publishes to be dropped in stats",
        "rabbitmq_management_agent",
    ),
    (
        "empty_basic_get_metric",
        "Count AMQP `basic.get` on empty queues in stats",
        "rabbitmq_management_agent",
    ),
    (
        "implicit_default_bindings",
        "Default bindings are now implicit, instead of being stored in the database",
        "rabbit",
    ),
    ("message_containers", "Message containers", "rabbit"),
    ("quorum_queue", "Support queues of type `quorum`", "rabbit"),
    ("stream_queue", "Support queues of type `stream`", "rabbit"),
    (
        "user_limits",
        "Configure connection and channel limits for a user",
        "rabbit",
    ),
    (
        "virtual_host_metadata",
        "Virtual host metadata (description, tags, etc)",
        "rabbit",
    ),
];
