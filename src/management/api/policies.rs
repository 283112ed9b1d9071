//! `/policies` and `/operator-policies`.

use serde_json::{Value, json};

use crate::broker::policy::{Policy, PolicyKind};
use crate::management::call::{Call, Right, virtual_host};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::listing::{list, one};
use crate::management::terms::{json_of_table, table_of};
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::wire::amqp::OwnedTable;

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    let kind = match *path.first()? {
        "policies" => PolicyKind::User,
        "operator-policies" => PolicyKind::Operator,
        _ => return None,
    };
    Some(match &path[1..] {
        [] => policies(call, kind, None),
        [vhost] => policies(call, kind, Some(vhost)),
        [vhost, name] => policy(call, kind, vhost, name),
        _ => return None,
    })
}

/// As the API and files have it.
pub fn shown_policy(vhost: &str, policy: &Policy) -> Value {
    let mut shown = json!({"vhost": vhost, "name": policy.name.to_string()});
    let settings = json_of_table(policy.to_table().view());
    if let (Some(shown), Value::Object(settings)) = (shown.as_object_mut(), settings) {
        shown.extend(settings);
    }
    shown
}

/// What the broker's door takes.
///
/// # Errors
/// Something is missing, or no field table can hold it.
pub fn wanted_policy(input: &Input) -> Result<OwnedTable, Refusal> {
    input.require(&["pattern", "definition"])?;
    let members = ["pattern", "definition", "priority", "apply-to"];
    let given = members
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), input.get(name)?.clone())));
    table_of(&given.collect())
}

/// All policies of a kind in a virtual host, by name.
pub fn policies_of(hub: &Hub, kind: PolicyKind, vhost: &str) -> Vec<Value> {
    let Ok(key) = hub.core.virtual_host(vhost.as_bytes()) else {
        return Vec::new();
    };
    let mut policies = hub.core.policies(kind, key).to_vec();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = policies.iter().map(|policy| shown_policy(vhost, policy));
    shown.collect()
}

fn policies(call: &Call<'_>, kind: PolicyKind, vhost: Option<&str>) -> Answer {
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
        shown.extend(call.ask(move |hub| policies_of(hub, kind, &vhost))?);
    }
    list(call, shown)
}

fn policy(call: &Call<'_>, kind: PolicyKind, vhost: &str, name: &str) -> Answer {
    let is_change = call.method() != Method::Get;
    match kind {
        PolicyKind::User if is_change => call.require(Right::Policymaker)?,
        PolicyKind::Operator if is_change => call.require(Right::Administrator)?,
        _ => {}
    }
    match (call.enter(vhost), call.method()) {
        (Err(Refusal::NotFound), Method::Put) => return Err(Refusal::no_virtual_host()),
        (result, _) => result?,
    }
    let (host, name) = (vhost.to_owned(), name.to_owned());
    match call.method() {
        Method::Get => {
            let shown = call.ask(move |hub| {
                let key = virtual_host(hub, &host)?;
                let found = hub.core.policy(kind, key, name.as_bytes());
                found
                    .map(|policy| shown_policy(&host, policy))
                    .ok_or(Refusal::NotFound)
            })??;
            one(call, &shown)
        }
        Method::Put => {
            let settings = wanted_policy(&Input::of(call)?)?;
            let is_new = call.ask(move |hub| {
                let key = virtual_host(hub, &host)?;
                let is_new = hub.core.policy(kind, key, name.as_bytes()).is_none();
                let settings = settings.view();
                hub.core.set_policy(kind, key, name.as_bytes(), settings)?;
                Ok::<_, Refusal>(is_new)
            })??;
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            let existed = call.ask(move |hub| {
                let key = virtual_host(hub, &host)?;
                Ok::<_, Refusal>(hub.core.clear_policy(kind, key, name.as_bytes()))
            })??;
            existed.then_some(()).ok_or(Refusal::NotFound)?;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}
