//! `/health/checks` and their forerunners: 200 and `{"status": "ok"}`, or 503 and what is wrong.

use serde_json::{Map, Value, json};

use crate::management::call::{Call, Right};
use crate::management::refusal::json_response;
use crate::management::time::rfc3339;
use crate::management::{Answer, CertificateFacts, ListenerFacts, Refusal};

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    let check = match path {
        ["health", "checks", check @ ..] => check,
        ["aliveness-test", vhost] => return Some(aliveness(call, vhost)),
        ["healthchecks", "node"] => return Some(node(call, None)),
        ["healthchecks", "node", name] => return Some(node(call, Some(name))),
        _ => return None,
    };
    if let Err(refusal) = call.only_get() {
        return Some(Err(refusal));
    }
    Some(match check {
        ["alarms"] => alarms(call, "There are alarms in effect in the cluster"),
        ["local-alarms"] => alarms(call, "There are local alarms in effect on the node"),
        ["virtual-hosts" | "is-in-service"] => well(call, &[]),
        ["ready-to-serve-clients"] => ready(call),
        ["below-node-connection-limit"] => below_connection_limit(call),
        ["node-is-quorum-critical" | "node-is-mirror-sync-critical"] => {
            well(call, &[("reason", json!("single node cluster"))])
        }
        ["metadata-store", "initialized"] | ["metadata-store", "initialized", "with-data"] => {
            well(call, &[])
        }
        ["quorum-queues-without-elected-leaders", ..] => well(call, &[]),
        ["reached-target-cluster-size"] => well(call, &[]),
        ["port-listener", port] => port_listener(call, port),
        ["protocol-listener", protocol] => protocol_listener(call, protocol),
        ["certificate-expiration", within, unit] => certificates(call, within, unit),
        _ => Err(Refusal::NotFound),
    })
}

/// Asks the loop, so that a broker that hangs is not said to be well.
fn well(call: &Call<'_>, members: &[(&str, Value)]) -> Answer {
    call.ask(|_| ())?;
    let mut body = Map::from_iter([("status".to_owned(), json!("ok"))]);
    let members = members.iter().cloned();
    body.extend(members.map(|(name, value)| (name.to_owned(), value)));
    Ok(json_response(200, &body))
}

fn failed(reason: &str, members: Value) -> Answer {
    let mut body = json!({"status": "failed", "reason": reason});
    if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
        body.extend(members);
    }
    Err(Refusal::Unhealthy(body))
}

/// RabbitMQ makes a queue there and a message go through it. That the loop answers says as much, and
/// leaves nothing behind (RabbitMQ 4 does not do it any more either).
fn aliveness(call: &Call<'_>, vhost: &str) -> Answer {
    call.only_get()?;
    call.enter(vhost)?;
    well(call, &[])
}

fn node(call: &Call<'_>, name: Option<&str>) -> Answer {
    call.only_get()?;
    let own = call.ask(|hub| hub.config.server.node_name.clone())?;
    match name {
        Some(name) if name != own => Err(Refusal::NotFound),
        _ => well(call, &[]),
    }
}

fn alarms(call: &Call<'_>, reason: &str) -> Answer {
    let (alarm, low, node) = call.ask(|hub| {
        let alarm = hub.alarm().map(str::to_owned);
        let node = hub.config.server.node_name.clone();
        (alarm, hub.alarms_in_force(), node)
    })?;
    let Some(alarm) = alarm else {
        return well(call, &[]);
    };
    let mut resources: Vec<&str> = low;
    if resources.is_empty() {
        resources.push(&alarm);
    }
    let alarms = resources
        .iter()
        .map(|resource| json!({"node": node, "resource": resource}));
    failed(reason, json!({"alarms": alarms.collect::<Vec<_>>()}))
}

fn ready(call: &Call<'_>) -> Answer {
    match call.ask(|hub| hub.is_accepting())? {
        true => well(call, &[]),
        false => failed("listeners are suspended", json!({})),
    }
}

fn below_connection_limit(call: &Call<'_>) -> Answer {
    let (open, limit) = call.ask(|hub| {
        let limit = hub.config.limits.connections_max;
        (hub.core.connection_count(), limit)
    })?;
    let shown = limit.map_or(json!("infinity"), |limit| json!(limit));
    let members = json!({"connections": open, "limit": shown});
    match limit.and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) if open >= limit => failed("node connection limit is reached", members),
        _ => well(call, &[("connections", json!(open)), ("limit", shown)]),
    }
}

fn port_listener(call: &Call<'_>, port: &str) -> Answer {
    let wanted = port.parse::<u16>();
    let wanted = wanted.map_err(|_| Refusal::bad("Invalid port"))?;
    let listeners = call.management.facts.listeners.iter();
    let mut ports: Vec<_> = listeners.filter_map(|listener| listener.port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.contains(&wanted) {
        true => well(call, &[("port", json!(wanted))]),
        false => {
            let members = json!({"missing": wanted, "ports": ports});
            failed("No active listener", members)
        }
    }
}

/// By any of the names that RabbitMQ takes.
fn protocol_listener(call: &Call<'_>, wanted: &str) -> Answer {
    let known = match wanted {
        "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp10" | "amqp1.0" | "amqp-1-0" => "amqp",
        "amqps" | "amqp-ssl" | "tls" | "ssl" => "amqp/ssl",
        "prometheus" => "http/prometheus",
        "https" => "https",
        other => other,
    };
    let listeners = call.management.facts.listeners.iter();
    let mut protocols: Vec<_> = listeners.map(|listener| listener.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    match protocols.contains(&known) {
        true => well(call, &[("protocol", json!(known))]),
        false => {
            let members = json!({"missing": known, "protocols": protocols});
            failed("No active listener", members)
        }
    }
}

/// Whether a certificate that is served, or an authority's, expires soon. RabbitMQ's order of complaints.
fn certificates(call: &Call<'_>, within: &str, unit: &str) -> Answer {
    call.require(Right::Management)?;
    let days = match unit {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            let units = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Refusal::bad(units));
        }
    };
    let within: u32 = within
        .parse()
        .map_err(|_| Refusal::bad("Invalid expiration value."))?;
    let now = i64::try_from(call.now.unix_ms / 1000).unwrap_or(i64::MAX);
    let soon = now.saturating_add(i64::from(within) * days * DAY_SECONDS);
    let config = call.ask(|hub| hub.config.clone())?;
    let facts = &call.management.facts;
    let with_tls = facts.listeners.iter().filter_map(|listener| {
        let options = match listener.protocol {
            "amqp/ssl" => &config.tls.options,
            "https" => config.https_options(),
            _ => return None,
        };
        Some((listener, (facts.certificates)(options)))
    });
    let expiring: Vec<Value> = with_tls
        .filter(|(_, found)| {
            let files = [&found.own, &found.authorities].into_iter().flatten();
            files.flat_map(|file| &file.ends).any(|end| *end <= soon)
        })
        .map(|(listener, found)| shown_expiring(call, listener, &found))
        .collect();
    match expiring.is_empty() {
        true => well(call, &[]),
        false => failed("Certificates expiring", json!({"expired": expiring})),
    }
}

fn shown_expiring(call: &Call<'_>, listener: &ListenerFacts, found: &CertificateFacts) -> Value {
    let mut shown = json!({
        "node": call.node(),
        "interface": listener.interface,
        "port": listener.port,
        "protocol": listener.protocol,
    });
    for (name, file) in [("certfile", &found.own), ("cacertfile", &found.authorities)] {
        let Some(file) = file else {
            continue;
        };
        // Those of before 1970 have expired all the same.
        let ends = file.ends.iter().map(|end| {
            let unix_ms = u64::try_from(*end).unwrap_or(0) * 1000;
            rfc3339(unix_ms)[..SECONDS].replace('T', " ")
        });
        shown[name] = json!(file.file);
        shown[format!("{name}_expires_on")] = ends.collect();
    }
    shown
}

const DAY_SECONDS: i64 = 86_400;
/// Of a time's text, up to its seconds.
const SECONDS: usize = "2026-11-20T14:15:25".len();
