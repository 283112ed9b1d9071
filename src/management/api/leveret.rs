//! `/leveret`: what RabbitMQ's API has no words for, for administrators and the command line.

use serde_json::{Value, json};

use crate::broker::SIZE_BOUNDS;
use crate::broker::access::LoginRefusal;
use crate::config::Watermark;
use crate::management::call::{Call, Right};
use crate::management::host::Host;
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::refusal::json_response;
use crate::management::{Answer, Refusal};
use crate::protocol::order::{Order, Outcome, Secret};

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    let ["leveret", path @ ..] = path else {
        return None;
    };
    if let Err(refusal) = call.require(Right::Administrator) {
        return Some(Err(refusal));
    }
    let (wanted, answer): (Method, fn(&Call<'_>) -> Answer) = match path {
        ["status"] => (Method::Get, status),
        ["environment"] => (Method::Get, environment),
        ["message-sizes"] => (Method::Get, message_sizes),
        ["stop"] => (Method::Post, stop),
        ["authenticate"] => (Method::Post, authenticate),
        ["close-connections"] => (Method::Post, close_connections),
        ["listeners"] => (Method::Post, listeners),
        ["reset"] => (Method::Post, reset),
        ["watermark"] => (Method::Post, watermark),
        ["log-level"] => (Method::Post, log_level),
        ["rotate-logs"] => (Method::Post, rotate_logs),
        _ => return None,
    };
    Some(match (call.method() == wanted, wanted) {
        (true, _) => answer(call),
        (false, Method::Get) => call.not_allowed("GET, HEAD, OPTIONS"),
        (false, _) => call.not_allowed("POST, OPTIONS"),
    })
}

fn host<'a>(call: &Call<'a>) -> Result<&'a dyn Host, Refusal> {
    let host = call.management.facts.host.as_deref();
    host.ok_or(Refusal::NotImplemented(
        "this broker runs inside another program, which this is up to",
    ))
}

fn status(call: &Call<'_>) -> Answer {
    let facts = &call.management.facts;
    let listeners = facts.listeners.iter().map(|listener| {
        json!({
            "interface": listener.interface,
            "port": listener.port,
            "protocol": listener.protocol,
            "purpose": purpose(listener.protocol),
        })
    });
    let listeners: Vec<_> = listeners.collect();
    let mut status = call.ask(|hub| {
        let there = hub.core.inventory();
        let raised = hub.alarms_in_force().into_iter();
        let resources = hub.resources();
        let node = hub.config.server.node_name.clone();
        let alarms = raised.map(|source| json!({"source": source, "node": node}));
        json!({
            "alarms": alarms.collect::<Vec<_>>(),
            "node": node,
            "cluster_name": hub.config.server.cluster_name,
            "vhosts": hub.core.virtual_hosts().len(),
            "is_under_maintenance": !hub.is_accepting(),
            "totals": {
                "connections": there.connections,
                "channels": there.channels,
                "consumers": there.consumers,
                "queues": there.queues,
                "exchanges": there.exchanges,
                "messages": there.messages,
            },
            "memory": {
                "messages": hub.core.message_bytes(),
                "messages_limit": hub.config.limits.messages_bytes_max,
                "resident": resources.measured.memory_used,
                "total": resources.measured.memory_total,
                "limit": resources.memory_limit,
                "alarm": resources.memory_alarm,
            },
            "disk": {
                "free": resources.measured.disk_free,
                "limit": resources.disk_free_limit,
                "alarm": resources.disk_alarm,
            },
            "events": {
                "listeners": hub.event_listeners(),
                "told": hub.core.counters.events,
                "lost": hub.core.counters.events_lost,
            },
        })
    })?;
    let vitals = (facts.vitals)();
    status["file_descriptors"] = json!({"used": vitals.files, "limit": vitals.files_max});
    status["pid"] = json!(facts.pid);
    status["version"] = json!(env!("CARGO_PKG_VERSION"));
    status["rabbitmq_version"] = json!(facts.config.server.version);
    status["os"] = json!(std::env::consts::OS);
    let uptime = call.now.unix_ms.saturating_sub(facts.started.unix_ms);
    status["uptime_ms"] = json!(uptime);
    let directory = facts.config.data_dir.as_ref();
    status["data_directory"] = json!(directory.map(|path| path.display().to_string()));
    status["listeners"] = json!(listeners);
    let host = facts.host.as_deref();
    status["config_files"] = json!(host.map_or_else(Vec::new, Host::configuration_files));
    status["log_files"] = json!(host.map_or_else(Vec::new, Host::log_files));
    Ok(json_response(200, &status))
}

fn purpose(protocol: &str) -> &'static str {
    match protocol {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        _ => "command line tools",
    }
}

fn environment(call: &Call<'_>) -> Answer {
    let text = host(call)?.configuration();
    Ok(json_response(200, &json!({"configuration": text})))
}

/// How many messages were published of which size, since the start (RabbitMQ: `message_size_stats`).
fn message_sizes(call: &Call<'_>) -> Answer {
    let sizes = call.ask(|hub| hub.core.counters.sizes)?;
    let bounds = SIZE_BOUNDS.iter().map(|bound| json!(bound));
    let bounds = bounds.chain([json!("infinity")]).zip(sizes.counts);
    let buckets: Vec<_> = bounds
        .map(|(bound, count)| json!({"up_to": bound, "messages": count}))
        .collect();
    let shown = json!({"buckets": buckets, "bytes": sizes.sum_bytes});
    Ok(json_response(200, &shown))
}

/// The answer goes out before the broker is gone: whoever wants to wait does so until the connection ends.
fn stop(call: &Call<'_>) -> Answer {
    let by = match call.user.is_operator {
        true => "the operator".to_owned(),
        false => format!("user '{}'", call.user.name),
    };
    log::info!("{by} stops the broker");
    call.ask(|hub| hub.wish_to_stop())?;
    Ok(Response::empty(204))
}

fn authenticate(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    let name = input.required_text("username")?.to_owned();
    let password = Secret::Plain(input.required_text("password")?.to_owned());
    let order = Order::AuthenticateUser { name, password };
    let outcome = call.ask(move |hub| hub.obey(order))??;
    let reason = match outcome {
        Outcome::LoginRefused(LoginRefusal::InvalidCredentials) => "invalid credentials",
        Outcome::LoginRefused(LoginRefusal::OnlyFromLoopback) => "only via localhost",
        _ => {
            return Ok(json_response(
                200,
                &json!({"ok": true, "reason": Value::Null}),
            ));
        }
    };
    Ok(json_response(200, &json!({"ok": false, "reason": reason})))
}

/// All, or those of a user or in a virtual host.
fn close_connections(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    let user = input.text("user")?.map(str::to_owned);
    let vhost = input.text("vhost")?.map(str::to_owned);
    let reason = input.text("reason")?.unwrap_or("closed by an operator");
    let reason = reason.to_owned();
    let closed = call.ask(move |hub| {
        let user = user.as_deref().map(str::as_bytes);
        let vhost = vhost.as_deref().map(str::as_bytes);
        hub.core.close_connections(user, vhost, &reason)
    })?;
    Ok(json_response(200, &json!({"closed": closed})))
}

/// Whether AMQP clients are let in (RabbitMQ: `suspend_listeners`).
fn listeners(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    input.require(&["accepting"])?;
    let accepting = input.flag("accepting")?.unwrap_or(true);
    call.ask(move |hub| hub.set_accepting(accepting))?;
    Ok(Response::empty(204))
}

/// Everything but the configuration is gone then.
fn reset(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    let is_forced = input.flag("force")?.unwrap_or(false);
    let reset = call.ask(move |hub| {
        let is_busy = hub.core.connection_count() > 0;
        if is_busy && !is_forced {
            return false;
        }
        hub.reset();
        true
    })?;
    match reset {
        true => Ok(Response::empty(204)),
        false => Err(Refusal::bad("there are connections; only with force")),
    }
}

/// When publishers are blocked, until the configuration is read again (RabbitMQ:
/// `set_vm_memory_high_watermark`, `set_disk_free_limit`). Values as in the configuration; all or nothing.
fn watermark(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    let relative = |name: &str| {
        let share = input.get(name).map(|value| {
            let share = match value {
                Value::String(text) => text.parse().ok(),
                value => value.as_f64(),
            };
            share.and_then(Watermark::relative)
        });
        wanted(name, share, "a number of 0 or more, as 0.4")
    };
    let absolute = |name: &str| {
        let size = input.get(name).map(|value| match value {
            Value::String(text) => Watermark::absolute(text),
            value => value.as_u64().map(Watermark::Absolute),
        });
        wanted(name, size, "a size, as 100MB, 64MiB or 1000000")
    };
    // Where both are given, the share wins, as in the configuration.
    let memory = relative("memory_relative")?.or(absolute("memory_absolute")?);
    let disk = relative("disk_relative")?.or(absolute("disk_absolute")?);
    if memory.is_none() && disk.is_none() {
        return Err(Refusal::bad(
            "one of memory_relative, memory_absolute, disk_relative and disk_absolute is wanted",
        ));
    }
    call.ask(move |hub| {
        if let Some(memory) = memory {
            hub.set_memory_watermark(memory);
        }
        if let Some(disk) = disk {
            hub.set_disk_free_limit(disk);
        }
    })?;
    Ok(Response::empty(204))
}

/// `given` is `None` if there is no such value, and `Some(None)` if it makes no sense.
fn wanted(
    name: &str,
    given: Option<Option<Watermark>>,
    wants: &str,
) -> Result<Option<Watermark>, Refusal> {
    match given {
        Some(None) => Err(Refusal::bad(format!("{name} wants {wants}"))),
        given => Ok(given.flatten()),
    }
}

fn log_level(call: &Call<'_>) -> Answer {
    let input = Input::of(call)?;
    let level = input.required_text("level")?;
    let category = input.text("category")?;
    let changed = host(call)?.set_log_level(category, level);
    changed.map_err(Refusal::bad)?;
    Ok(Response::empty(204))
}

fn rotate_logs(call: &Call<'_>) -> Answer {
    host(call)?.reopen_logs().map_err(Refusal::Unavailable)?;
    Ok(Response::empty(204))
}
