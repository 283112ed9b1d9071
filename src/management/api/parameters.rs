//! `/parameters`, `/global-parameters`, and the name of the cluster, which is one of these.
//!
//! RabbitMQ keeps limits and operator policies among the parameters of virtual hosts. Here they have a
//! place of their own, and are shown and taken as parameters as well.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::policies::{policies_of, wanted_policy};
use super::users::shown_limits;
use crate::broker::access::{Limit, Limits};
use crate::broker::policy::PolicyKind;
use crate::management::call::{Call, Right, virtual_host};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::listing::{list, one};
use crate::management::terms::{json_of, json_of_table, with_value};
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::protocol::order::Order;

#[derive(Clone, Debug, Serialize)]
pub struct ShownParameter {
    pub value: Value,
    pub vhost: String,
    pub component: String,
    pub name: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ShownGlobal {
    pub name: String,
    pub value: Value,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["parameters"] => parameters(call, None, None),
        ["parameters", component] => parameters(call, Some(component), None),
        ["parameters", component, vhost] => parameters(call, Some(component), Some(vhost)),
        ["parameters", component, vhost, name] => parameter(call, component, vhost, name),
        ["global-parameters"] => globals(call),
        ["global-parameters", name] => global(call, name),
        ["cluster-name"] if call.method() == Method::Put => name_cluster(call),
        _ => return None,
    })
}

/// All parameters of a virtual host, by component and name.
pub fn parameters_of(hub: &Hub, vhost: &str) -> Vec<ShownParameter> {
    let Ok(key) = hub.core.virtual_host(vhost.as_bytes()) else {
        return Vec::new();
    };
    let shown = |component: &str, name: &str, value| ShownParameter {
        value,
        vhost: vhost.to_owned(),
        component: component.to_owned(),
        name: name.to_owned(),
    };
    let parameters = hub.core.parameters(key);
    let parameters = parameters.iter().map(|p| {
        let value = json_of(p.value.view());
        shown(&p.component.to_string(), &p.name.to_string(), value)
    });
    let operator = policies_of(hub, PolicyKind::Operator, vhost).into_iter();
    let operator = operator.map(|mut policy| {
        let name = policy["name"].as_str().unwrap_or_default().to_owned();
        if let Some(policy) = policy.as_object_mut() {
            policy.retain(|member, _| member != "name" && member != "vhost");
        }
        shown(OPERATOR_POLICY, &name, policy)
    });
    let limits = limits_of(hub, vhost);
    let limits = (!limits.is_empty()).then(|| {
        let value = Value::Object(shown_limits(&limits));
        shown(VHOST_LIMITS, LIMITS, value)
    });
    let mut all: Vec<_> = parameters.chain(operator).chain(limits).collect();
    all.sort_by(|a, b| (&a.component, &a.name).cmp(&(&b.component, &b.name)));
    all
}

/// The value of one parameter, wherever it is kept.
pub fn current_parameter(hub: &Hub, vhost: &str, component: &str, name: &str) -> Option<Value> {
    let key = hub.core.virtual_host(vhost.as_bytes()).ok()?;
    match component {
        VHOST_LIMITS => {
            let limits = limits_of(hub, vhost);
            let is_there = name == LIMITS && !limits.is_empty();
            is_there.then(|| Value::Object(shown_limits(&limits)))
        }
        OPERATOR_POLICY => {
            let policy = hub
                .core
                .policy(PolicyKind::Operator, key, name.as_bytes())?;
            Some(json_of_table(policy.to_table().view()))
        }
        _ => {
            let (component, name) = (component.as_bytes(), name.as_bytes());
            let value = hub.core.parameter(key, component, name)?;
            Some(json_of(value.view()))
        }
    }
}

/// All global parameters, by name.
pub fn all_globals(hub: &Hub) -> Vec<ShownGlobal> {
    let all = hub.core.global_parameters();
    all.map(|(name, value)| ShownGlobal {
        name: name.to_string(),
        value: json_of(value.view()),
    })
    .collect()
}

/// Sets a parameter, wherever it is kept.
///
/// # Errors
/// In RabbitMQ's words: the value makes no sense, or there is no such virtual host.
pub fn set_parameter(
    hub: &mut Hub,
    component: &str,
    vhost: &str,
    name: &str,
    value: &Value,
) -> Result<(), Refusal> {
    let key = virtual_host(hub, vhost).map_err(|_| Refusal::no_virtual_host())?;
    match component {
        VHOST_LIMITS => {
            let limits = limits_in(value)?;
            let name = vhost.to_owned();
            hub.obey(Order::ClearVhostLimits {
                name: name.clone(),
                limit: None,
            })?;
            hub.obey(Order::SetVhostLimits { name, limits })?;
        }
        OPERATOR_POLICY => {
            let object = value.as_object().cloned().unwrap_or_default();
            let settings = wanted_policy(&Input::from(object))?;
            let settings = settings.view();
            let kind = PolicyKind::Operator;
            hub.core.set_policy(kind, key, name.as_bytes(), settings)?;
        }
        _ => with_value(value, |value| {
            let (component, name) = (component.as_bytes(), name.as_bytes());
            hub.core.set_parameter(key, component, name, value)
        })??,
    }
    Ok(())
}

fn clear_parameter(hub: &mut Hub, component: &str, vhost: &str, name: &str) -> Result<(), Refusal> {
    let key = virtual_host(hub, vhost)?;
    let existed = match component {
        VHOST_LIMITS => {
            let existed = name == LIMITS && !limits_of(hub, vhost).is_empty();
            if existed {
                hub.core.clear_virtual_host_limits(key);
            }
            existed
        }
        OPERATOR_POLICY => hub
            .core
            .clear_policy(PolicyKind::Operator, key, name.as_bytes()),
        _ => hub
            .core
            .clear_parameter(key, component.as_bytes(), name.as_bytes()),
    };
    existed.then_some(()).ok_or(Refusal::NotFound)
}

/// Sets a global parameter; whether it is new.
///
/// # Errors
/// The name is too long, or no field table can hold the value.
pub fn set_global(hub: &mut Hub, name: &str, value: &Value) -> Result<bool, Refusal> {
    let is_new = hub.core.global_parameter(name.as_bytes()).is_none();
    with_value(value, |value| {
        hub.core.set_global_parameter(name.as_bytes(), value)
    })??;
    Ok(is_new)
}

/// The limits that an object names, and nothing else.
///
/// # Errors
/// In RabbitMQ's words.
fn limits_in(value: &Value) -> Result<Vec<(Limit, i64)>, Refusal> {
    let empty = Map::new();
    let object = match value {
        Value::Object(object) => object,
        Value::Array(list) if list.is_empty() => &empty,
        _ => return Err(invalid("limits should be an object")),
    };
    let mut limits = Vec::new();
    for (name, value) in object {
        let known = [Limit::MaxConnections, Limit::MaxQueues];
        let limit = known.into_iter().find(|limit| limit.name() == name);
        let limit = limit.ok_or_else(|| {
            let text = format!("Unrecognised terms [{{<<\"{name}\">>,{value}}}] in limits");
            invalid(&text)
        })?;
        let number = value
            .as_i64()
            .ok_or_else(|| invalid(&format!("{name} should be a number, actually was {value}")))?;
        limits.push((limit, number));
    }
    Ok(limits)
}

fn limits_of(hub: &Hub, vhost: &str) -> Limits {
    let hosts = hub.core.virtual_hosts();
    let mut found = hosts
        .iter()
        .filter(|(_, host)| *host.name == *vhost.as_bytes());
    found
        .next()
        .map(|(_, host)| host.limits)
        .unwrap_or_default()
}

fn parameters(call: &Call<'_>, component: Option<&str>, vhost: Option<&str>) -> Answer {
    call.require(Right::Policymaker)?;
    call.only_get()?;
    let vhosts = match vhost {
        Some(vhost) => {
            call.enter(vhost)?;
            vec![vhost.to_owned()]
        }
        None => call.visible_virtual_hosts()?,
    };
    let mut shown = Vec::new();
    for vhost in vhosts {
        shown.extend(call.ask(move |hub| parameters_of(hub, &vhost))?);
    }
    if let Some(component) = component {
        shown.retain(|parameter| parameter.component == component);
    }
    list(call, shown)
}

fn parameter(call: &Call<'_>, component: &str, vhost: &str, name: &str) -> Answer {
    call.require(Right::Policymaker)?;
    match (call.enter(vhost), call.method()) {
        (Err(Refusal::NotFound), Method::Put) => return Err(Refusal::no_virtual_host()),
        (result, _) => result?,
    }
    let [component, vhost, name] = [component, vhost, name].map(str::to_owned);
    match call.method() {
        Method::Get => {
            let shown = call.ask(move |hub| {
                let value = current_parameter(hub, &vhost, &component, &name)?;
                Some(ShownParameter {
                    value,
                    vhost,
                    component,
                    name,
                })
            })?;
            one(call, &shown.ok_or(Refusal::NotFound)?)
        }
        Method::Put => {
            let input = Input::of(call)?;
            input.require(&["value"])?;
            check_settable(call, &component)?;
            let value = input.get("value").cloned().unwrap_or_default();
            let is_new = call.ask(move |hub| {
                let is_new = current_parameter(hub, &vhost, &component, &name).is_none();
                set_parameter(hub, &component, &vhost, &name, &value).map(|()| is_new)
            })??;
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            check_settable(call, &component)?;
            call.ask(move |hub| clear_parameter(hub, &component, &vhost, &name))??;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

/// What RabbitMQ with its usual plugins knows; what a broker like this one was not built for is refused
/// here, while files may bring it.
fn check_settable(call: &Call<'_>, component: &str) -> Result<(), Refusal> {
    match component {
        "policy" | OPERATOR_POLICY => {
            Err(Refusal::bad("policies may not be set using this method"))
        }
        VHOST_LIMITS => call.require(Right::Policymaker),
        "federation-upstream" | "federation-upstream-set" | "shovel" => Ok(()),
        other => Err(invalid(&format!("component {other} not found"))),
    }
}

fn invalid(text: &str) -> Refusal {
    Refusal::bad(format!("Validation failed\n\n{text}\n"))
}

fn globals(call: &Call<'_>) -> Answer {
    call.require(Right::Policymaker)?;
    call.only_get()?;
    list(call, call.ask(|hub| all_globals(hub))?)
}

fn global(call: &Call<'_>, name: &str) -> Answer {
    call.require(Right::Policymaker)?;
    let wanted = name.to_owned();
    match call.method() {
        Method::Get => {
            let mut all = call.ask(|hub| all_globals(hub))?;
            all.retain(|global| global.name == wanted);
            one(call, &all.pop().ok_or(Refusal::NotFound)?)
        }
        Method::Put => {
            let input = Input::of(call)?;
            input.require(&["value"])?;
            let value = input.get("value").cloned().unwrap_or_default();
            let is_new = call.ask(move |hub| set_global(hub, &wanted, &value))??;
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            let existed =
                call.ask(move |hub| hub.core.clear_global_parameter(wanted.as_bytes()))?;
            existed.then_some(()).ok_or(Refusal::NotFound)?;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

fn name_cluster(call: &Call<'_>) -> Answer {
    call.require(Right::Administrator)?;
    let name = json!(Input::of(call)?.required_text("name")?);
    call.ask(move |hub| set_global(hub, CLUSTER_NAME, &name))??;
    Ok(Response::empty(204))
}

/// RabbitMQ's names.
const CLUSTER_NAME: &str = "cluster_name";
const VHOST_LIMITS: &str = "vhost-limits";
const LIMITS: &str = "limits";
const OPERATOR_POLICY: &str = "operator_policy";
