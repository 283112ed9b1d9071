//! `/exchanges`: lists, and one. What changes exchanges is asked before.

use serde::Serialize;
use serde_json::Value;

use super::queues::ShownPolicies;
use crate::broker::survey::{ExchangeSurvey, SLOTS_PER_PAGE};
use crate::management::call::{Call, virtual_host};
use crate::management::http::Method;
use crate::management::listing::{list_shown, one};
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::sight::{Sight, all};
use crate::management::terms::json_of_table;
use crate::management::{Answer, Refusal};

#[derive(Serialize)]
struct ShownExchange {
    arguments: Value,
    auto_delete: bool,
    durable: bool,
    internal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measured>,
    name: String,
    #[serde(flatten)]
    policies: Option<ShownPolicies>,
    #[serde(rename = "type")]
    kind: &'static str,
    user_who_performed_action: &'static str,
    vhost: String,
}

#[derive(Serialize)]
struct DetailedExchange {
    incoming: [Value; 0],
    outgoing: [Value; 0],
    #[serde(flatten)]
    exchange: ShownExchange,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["exchanges"] => exchanges(call, None),
        ["exchanges", host] => exchanges(call, Some(host)),
        ["exchanges", host, name] => match call.method() {
            Method::Get => exchange(call, host, name),
            _ => call.not_allowed("HEAD, GET, PUT, DELETE, OPTIONS"),
        },
        _ => return None,
    })
}

fn exchanges(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    let mut exchanges = all(call, 0, move |hub, from| {
        hub.core
            .survey_exchanges(from, SLOTS_PER_PAGE, &|host| sight.sees(host))
    })?;
    exchanges.sort_by(|a, b| (&a.virtual_host, &a.name).cmp(&(&b.virtual_host, &b.name)));
    exchanges.dedup_by_key(|exchange| exchange.id);
    list_shown(
        call,
        exchanges,
        |exchange| &exchange.name,
        |exchange| ShownExchange::new(call, exchange),
    )
}

fn exchange(call: &Call<'_>, host: &str, name: &str) -> Answer {
    call.enter(host)?;
    let (host, name) = (host.to_owned(), exchange_name(name).to_owned());
    let found = call.ask(move |hub| {
        let host = virtual_host(hub, &host)?;
        let found = hub.core.survey_exchange(host, name.as_bytes());
        found.map_err(|_| Refusal::NotFound)
    })?;
    let detailed = DetailedExchange {
        incoming: [],
        outgoing: [],
        exchange: ShownExchange::new(call, found?),
    };
    one(call, &detailed)
}

/// The default exchange has no name of its own; in paths it goes by this one.
pub fn exchange_name(segment: &str) -> &str {
    match segment {
        "amq.default" => "",
        name => name,
    }
}

impl ShownExchange {
    fn new(call: &Call<'_>, it: ExchangeSurvey) -> ShownExchange {
        let values = vec![it.published_in, it.published_out];
        let is_used = values.iter().any(|count| *count > 0);
        let group = Group {
            names: &STATS,
            values,
            range: "msg_rates",
        };
        let stats = measure(call, Subject::Exchange(it.id), vec![group]).pop();
        ShownExchange {
            arguments: json_of_table(it.arguments.view()),
            auto_delete: it.auto_delete,
            durable: it.durable,
            internal: it.internal,
            message_stats: stats.filter(|_| is_used),
            policies: it
                .policies
                .policy
                .is_some()
                .then(|| ShownPolicies::new(it.policies)),
            kind: it.kind,
            // Nobody remembers who declared an exchange.
            user_who_performed_action: match it.name.is_empty() || it.name.starts_with("amq.") {
                true => "rmq-internal",
                false => "none",
            },
            name: it.name,
            vhost: it.virtual_host,
        }
    }
}

const STATS: [&str; 2] = ["publish_in", "publish_out"];
