//! Bindings, in all the ways in which they can be asked for. What changes them is asked before.

use serde::Serialize;
use serde_json::Value;

use super::exchanges::exchange_name;
use crate::broker::survey::{BindingKind, BindingPlace, BindingSurvey, Page, SLOTS_PER_PAGE};
use crate::management::binding_key::properties_key;
use crate::management::call::{Call, virtual_host};
use crate::management::http::{Method, percent};
use crate::management::listing::{list, one};
use crate::management::sight::{Sight, all};
use crate::management::terms::json_of_table;
use crate::management::{Answer, Refusal};

#[derive(Serialize)]
struct ShownBinding {
    source: String,
    vhost: String,
    destination: String,
    destination_type: &'static str,
    routing_key: String,
    arguments: Value,
    properties_key: String,
}

/// An end of bindings.
#[derive(Clone, Copy)]
enum End<'a> {
    Source(&'a str),
    ToQueue(&'a str),
    ToExchange(&'a str),
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["bindings"] => everywhere(call, None),
        ["bindings", host] => everywhere(call, Some(host)),
        ["queues", host, name, "bindings"] => at_end(call, host, End::ToQueue(name)),
        ["exchanges", host, name, "bindings", "source"] => at_end(call, host, End::Source(name)),
        ["exchanges", host, name, "bindings", "destination"] => {
            at_end(call, host, End::ToExchange(name))
        }
        [
            "bindings",
            host,
            "e",
            source,
            kind @ ("q" | "e"),
            name,
            key @ ..,
        ] if key.len() <= 1 => {
            let kind = match *kind {
                "q" => BindingKind::Queue,
                _ => BindingKind::Exchange,
            };
            between(call, host, source, (kind, name), key.first().copied())
        }
        _ => return None,
    })
}

fn everywhere(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    let bindings = all(call, BindingPlace::default(), move |hub, from| {
        hub.core
            .survey_bindings(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
    })?;
    show(call, bindings)
}

fn at_end(call: &Call<'_>, host: &str, end: End<'_>) -> Answer {
    call.only_get()?;
    call.enter(host)?;
    let bindings = bindings_at(call, host, end)?;
    show(call, bindings)
}

/// An end that is not there has none (RabbitMQ).
fn bindings_at(call: &Call<'_>, host: &str, end: End<'_>) -> Result<Vec<BindingSurvey>, Refusal> {
    if let End::Source(source) = end
        && exchange_name(source).is_empty()
    {
        let sight = Sight::into_host(call, host)?;
        let mut bindings = all(call, BindingPlace::default(), move |hub, from| {
            hub.core
                .survey_bindings(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
        })?;
        bindings.retain(|binding| binding.source.is_empty());
        return Ok(bindings);
    }
    let mut bindings = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let host = host.to_owned();
        let (is_queue, is_source, name) = match end {
            End::Source(name) => (false, true, name),
            End::ToExchange(name) => (false, false, name),
            End::ToQueue(name) => (true, false, name),
        };
        let name = match is_queue {
            true => name.to_owned(),
            false => exchange_name(name).to_owned(),
        };
        let page = call.ask(move |hub| -> Result<Page<BindingSurvey>, Refusal> {
            let host = virtual_host(hub, &host)?;
            let (core, name, max) = (&hub.core, name.as_bytes(), SLOTS_PER_PAGE);
            let page = match is_queue {
                true => core.survey_queue_bindings(host, name, from, max),
                false => core.survey_exchange_bindings(host, name, is_source, from, max),
            };
            let none = Page {
                items: Vec::new(),
                next: None,
            };
            Ok(page.unwrap_or(none))
        })??;
        bindings.extend(page.items);
        next = page.next;
    }
    Ok(bindings)
}

/// Those from an exchange to something, or the one of them with that key. An end that is not there has
/// none (RabbitMQ).
fn between(
    call: &Call<'_>,
    host: &str,
    source: &str,
    (kind, name): (BindingKind, &str),
    key: Option<&str>,
) -> Answer {
    if call.method() != Method::Get {
        return call.not_allowed(match key {
            Some(_) => "HEAD, GET, DELETE, OPTIONS",
            None => "HEAD, GET, POST, OPTIONS",
        });
    }
    call.enter(host)?;
    let end = match kind {
        BindingKind::Queue => End::ToQueue(name),
        BindingKind::Exchange => End::ToExchange(name),
    };
    let mut bindings = bindings_at(call, host, end)?;
    bindings.retain(|binding| binding.source == exchange_name(source));
    let Some(key) = key else {
        return show(call, bindings);
    };
    let shown = bindings.into_iter().map(ShownBinding::new);
    // As it is listed, quoted once more or not, and as it is in a path.
    let forms = |listed: &str| {
        let quoted = percent::decode(listed) == key || percent::decode_query(listed) == key;
        quoted || listed == key
    };
    let mut found = shown.filter(|it| forms(&it.properties_key));
    one(call, &found.next().ok_or(Refusal::NotFound)?)
}

fn show(call: &Call<'_>, mut bindings: Vec<BindingSurvey>) -> Answer {
    bindings.sort_by(|a, b| place(a).cmp(&place(b)));
    bindings.dedup();
    list(call, bindings.into_iter().map(ShownBinding::new).collect())
}

fn place(it: &BindingSurvey) -> (&str, &str, BindingKind, &str, &str, &[u8]) {
    (
        &it.virtual_host,
        &it.source,
        it.kind,
        &it.destination,
        &it.routing_key,
        it.arguments.view().as_bytes(),
    )
}

impl ShownBinding {
    fn new(it: BindingSurvey) -> ShownBinding {
        ShownBinding {
            properties_key: properties_key(it.routing_key.as_bytes(), it.arguments.view()),
            arguments: json_of_table(it.arguments.view()),
            source: it.source,
            vhost: it.virtual_host,
            destination: it.destination,
            destination_type: match it.kind {
                BindingKind::Queue => "queue",
                BindingKind::Exchange => "exchange",
            },
            routing_key: it.routing_key,
        }
    }
}
