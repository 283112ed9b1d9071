//! `/vhosts` and `/vhost-limits`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::overview::{MeasuredHost, virtual_host_totals};
use super::users::{limit_value, shown_limits};
use crate::broker::access::{Limit, Limits, Refused};
use crate::broker::survey::VirtualHostTotals;
use crate::broker::{Metadata, VirtualHost, VirtualHostKey};
use crate::management::call::{Call, Right, virtual_host};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::listing::{list, one};
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::protocol::order::Order;

#[derive(Serialize)]
struct ShownVhost {
    name: String,
    description: String,
    tags: Vec<String>,
    default_queue_type: String,
    metadata: Value,
    tracing: bool,
    protected_from_deletion: bool,
    cluster_state: Map<String, Value>,
    #[serde(flatten)]
    figures: Option<MeasuredHost>,
}

#[derive(Serialize)]
struct ShownLimits {
    vhost: String,
    value: Map<String, Value>,
}

/// What `PUT /vhosts/:vhost` says; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct WantedVhost {
    description: Option<String>,
    tags: Option<Vec<String>>,
    /// The inner one: no type.
    default_queue_type: Option<Option<String>>,
    is_protected: Option<bool>,
    /// RabbitMQ: firehose.
    pub tracing: Option<bool>,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["vhosts"] => vhosts(call),
        ["vhosts", name] => vhost(call, name),
        ["vhosts", name, "deletion", "protection"] => protection(call, name),
        ["vhosts", name, "start", node] => start(call, name, node),
        ["vhost-limits"] => all_limits(call),
        ["vhost-limits", name] => limits_of(call, name),
        ["vhost-limits", name, limit] => change_limit(call, name, limit),
        _ => return None,
    })
}

impl ShownVhost {
    fn new(host: &VirtualHost, node: &str) -> ShownVhost {
        let Metadata {
            description,
            tags,
            default_queue_type,
            is_protected,
        } = &host.metadata;
        ShownVhost {
            name: host.name.to_string(),
            description: description.clone(),
            tags: tags.clone(),
            default_queue_type: default_queue_type.clone().unwrap_or_else(no_type),
            metadata: shown_metadata(&host.metadata),
            tracing: host.traced,
            protected_from_deletion: *is_protected,
            cluster_state: Map::from_iter([(node.to_owned(), json!("running"))]),
            figures: None,
        }
    }

    fn measure(&mut self, call: &Call<'_>, totals: &BTreeMap<String, VirtualHostTotals>) {
        let none = VirtualHostTotals::default();
        let totals = totals.get(&self.name).unwrap_or(&none);
        self.figures = Some(MeasuredHost::new(call, &self.name, totals));
    }
}

/// As files and RabbitMQ's API have it.
pub fn shown_metadata(metadata: &Metadata) -> Value {
    let mut shown = json!({"description": metadata.description, "tags": metadata.tags});
    if let Some(kind) = &metadata.default_queue_type {
        shown["default_queue_type"] = json!(kind);
    }
    if metadata.is_protected {
        shown["protected_from_deletion"] = json!(true);
    }
    shown
}

impl WantedVhost {
    /// # Errors
    /// A truth value, a list or a queue type that is none.
    pub fn read(input: &Input) -> Result<WantedVhost, Refusal> {
        let kind = match input.text("default_queue_type")? {
            None => None,
            Some("undefined" | "") => Some(None),
            Some(kind @ ("classic" | "quorum" | "stream")) => Some(Some(kind.to_owned())),
            Some(other) => {
                let reason = format!("Unsupported default queue type: {other}");
                return Err(Refusal::bad(reason));
            }
        };
        let tracing = input.flag("tracing")?;
        Ok(WantedVhost {
            description: input.text("description")?.map(str::to_owned),
            tags: input.texts("tags")?,
            default_queue_type: kind,
            is_protected: input.flag("protected_from_deletion")?,
            tracing,
        })
    }

    /// What is left when this is said about one of which that was said before.
    pub fn over(&self, before: &Metadata) -> Metadata {
        let WantedVhost {
            description,
            tags,
            default_queue_type,
            is_protected,
            ..
        } = self.clone();
        Metadata {
            description: description.unwrap_or_else(|| before.description.clone()),
            tags: tags.unwrap_or_else(|| before.tags.clone()),
            default_queue_type: default_queue_type
                .unwrap_or_else(|| before.default_queue_type.clone()),
            is_protected: is_protected.unwrap_or(before.is_protected),
        }
    }

    /// Adds the virtual host, or changes the one of that name; whether it is new.
    ///
    /// # Errors
    /// A name that cannot be.
    pub fn put(self, name: &str, hub: &mut Hub) -> Result<bool, Refusal> {
        let existing = hub.core.virtual_host(name.as_bytes()).ok();
        let before = existing.map(|key| metadata(hub, key)).unwrap_or_default();
        let metadata = self.over(&before);
        let name = name.to_owned();
        match existing {
            None => drop(hub.obey(Order::AddVhost {
                name: name.clone(),
                metadata,
            })?),
            Some(_) if metadata == before => {}
            Some(_) => drop(hub.obey(Order::UpdateVhost {
                name: name.clone(),
                metadata,
            })?),
        }
        if let Some(on) = self.tracing {
            hub.core.set_tracing(name.as_bytes(), on)?;
        }
        Ok(existing.is_none())
    }
}

fn metadata(hub: &Hub, key: VirtualHostKey) -> Metadata {
    let hosts = hub.core.virtual_hosts();
    let found = hosts.into_iter().find(|(other, _)| *other == key);
    found.map_or_else(Metadata::default, |(_, host)| host.metadata.clone())
}

fn vhosts(call: &Call<'_>) -> Answer {
    call.only_get()?;
    let visible = call.visible_virtual_hosts()?;
    let mut shown = call.ask(move |hub| {
        let node = &hub.config.server.node_name;
        let hosts = hub.core.virtual_hosts().into_iter();
        let seen = hosts.filter(|(_, host)| visible.contains(&host.name.to_string()));
        seen.map(|(_, host)| ShownVhost::new(host, node))
            .collect::<Vec<_>>()
    })?;
    let totals = virtual_host_totals(call)?;
    for host in &mut shown {
        host.measure(call, &totals);
    }
    list(call, shown)
}

fn vhost(call: &Call<'_>, name: &str) -> Answer {
    match call.method() {
        Method::Get => {
            call.enter(name)?;
            let wanted = name.to_owned();
            let shown = call.ask(move |hub| {
                let hosts = hub.core.virtual_hosts();
                let found = hosts
                    .into_iter()
                    .find(|(_, host)| *host.name == *wanted.as_bytes());
                found.map(|(_, host)| ShownVhost::new(host, &hub.config.server.node_name))
            })?;
            let mut shown = shown.ok_or(Refusal::NotFound)?;
            shown.measure(call, &virtual_host_totals(call)?);
            one(call, &shown)
        }
        Method::Put => put_vhost(call, name),
        Method::Delete => {
            call.require(Right::Administrator)?;
            let order = Order::DeleteVhost {
                name: name.to_owned(),
            };
            let deleted = call.ask(move |hub| hub.obey(order))?;
            deleted.map_err(|refused| match refused {
                Refused::Protected(_) => Refusal::Precondition(refused.to_string()),
                other => other.into(),
            })?;
            log::info!("vhost '{name}' deleted by '{}'", call.user.name);
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

/// Who adds a virtual host may do everything there (RabbitMQ).
fn put_vhost(call: &Call<'_>, name: &str) -> Answer {
    call.require(Right::Administrator)?;
    let wanted = WantedVhost::read(&Input::of(call)?)?;
    let (vhost, user) = (name.to_owned(), call.user.clone());
    let is_new = call.ask(move |hub| {
        let is_new = wanted.put(&vhost, hub)?;
        if is_new && !user.is_operator {
            let all = || ".*".to_owned();
            hub.obey(Order::SetPermissions {
                user: user.name,
                vhost,
                configure: all(),
                write: all(),
                read: all(),
            })?;
        }
        Ok::<_, Refusal>(is_new)
    })??;
    Ok(Response::empty(if is_new { 201 } else { 204 }))
}

/// RabbitMQ: deletion protection.
fn protection(call: &Call<'_>, name: &str) -> Answer {
    call.require(Right::Administrator)?;
    let is_protected = match call.method() {
        Method::Post => true,
        Method::Delete => false,
        _ => return call.not_allowed("POST, DELETE, OPTIONS"),
    };
    let name = name.to_owned();
    call.ask(move |hub| {
        virtual_host(hub, &name)?;
        let wanted = WantedVhost {
            is_protected: Some(is_protected),
            ..WantedVhost::default()
        };
        wanted.put(&name, hub)
    })??;
    Ok(Response::empty(204))
}

/// Virtual hosts run whenever the broker does.
fn start(call: &Call<'_>, name: &str, node: &str) -> Answer {
    call.require(Right::Administrator)?;
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    let name = name.to_owned();
    let own = call.ask(move |hub| {
        virtual_host(hub, &name)?;
        Ok::<_, Refusal>(hub.config.server.node_name.clone())
    })??;
    if node != own {
        let reason = format!("Request to node {node} failed with nodedown");
        return Err(Refusal::bad(reason));
    }
    Ok(Response::empty(204))
}

fn all_limits(call: &Call<'_>) -> Answer {
    call.only_get()?;
    let visible = call.visible_virtual_hosts()?;
    let limits = call.ask(move |hub| {
        let hosts = hub.core.virtual_hosts().into_iter();
        let limited = hosts.filter(|(_, host)| {
            !host.limits.is_empty() && visible.contains(&host.name.to_string())
        });
        let shown = limited.map(|(_, host)| shown(&host.name.to_string(), &host.limits));
        shown.collect::<Vec<_>>()
    })?;
    list(call, limits)
}

fn limits_of(call: &Call<'_>, name: &str) -> Answer {
    call.only_get()?;
    call.enter(name)?;
    let wanted = name.to_owned();
    let limits = call.ask(move |hub| {
        let hosts = hub.core.virtual_hosts();
        let mut found = hosts
            .iter()
            .filter(|(_, h)| *h.name == *wanted.as_bytes() && !h.limits.is_empty());
        found.next().map(|(_, host)| shown(&wanted, &host.limits))
    })?;
    list(call, limits.into_iter().collect())
}

fn shown(vhost: &str, limits: &Limits) -> ShownLimits {
    ShownLimits {
        vhost: vhost.to_owned(),
        value: shown_limits(limits),
    }
}

fn change_limit(call: &Call<'_>, name: &str, limit: &str) -> Answer {
    call.require(Right::Administrator)?;
    let known = [Limit::MaxConnections, Limit::MaxQueues];
    let found = known.into_iter().find(|known| known.name() == limit);
    let vhost = name.to_owned();
    let order = match call.method() {
        Method::Put => {
            let value = limit_value(&Input::of(call)?, limit)?;
            let found = found.ok_or_else(|| {
                Refusal::bad(format!(
                    "Validation failed\n\nUnrecognised terms [{{<<\"{limit}\">>,{value}}}] in limits\n"
                ))
            })?;
            Order::SetVhostLimits {
                name: vhost,
                limits: vec![(found, value)],
            }
        }
        Method::Delete => Order::ClearVhostLimits {
            name: vhost,
            limit: Some(found.ok_or(Refusal::NotFound)?),
        },
        _ => return call.not_allowed("PUT, DELETE, OPTIONS"),
    };
    let done = call.ask(move |hub| hub.obey(order))?;
    done.map_err(|refused| match refused {
        Refused::NoSuchVirtualHost(_) => Refusal::no_virtual_host(),
        other => other.into(),
    })?;
    Ok(Response::empty(204))
}

/// RabbitMQ's word where there is none.
fn no_type() -> String {
    "undefined".to_owned()
}
