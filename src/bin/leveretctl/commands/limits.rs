//! Limits of virtual hosts and of users.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::{Output, Rows};
use crate::session::Session;

use super::{array, parse_json, path, plain};

pub fn set_of_vhost(session: &mut Session) -> Result<Output, Failure> {
    let (definition, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!(
        "Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."
    ))?;
    let limits = parse_limits(&definition)?;
    if !session.has_vhost(&vhost)? {
        return Err(Failure::no_vhost(&vhost));
    }
    // What is not named any more is no limit any more.
    let old = current(session, "vhost-limits", &vhost)?;
    let gone = old.keys().filter(|name| !limits.contains_key(*name));
    let gone: Vec<String> = gone.cloned().collect();
    set(session, "vhost-limits", &vhost, limits)?;
    for name in gone {
        session.delete(&path("vhost-limits", &[&vhost, &name]))?;
    }
    Ok(Output::Nothing)
}

pub fn clear_of_vhost(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!("Clearing vhost \"{vhost}\" limits ..."))?;
    let limits = current(session, "vhost-limits", &vhost)?;
    if limits.is_empty() {
        return Err(Failure::unavailable("Parameter does not exist"));
    }
    for name in limits.keys() {
        session.delete(&path("vhost-limits", &[&vhost, name]))?;
    }
    Ok(Output::Nothing)
}

pub fn list_of_vhost(session: &mut Session) -> Result<Output, Failure> {
    if session.arguments.has("global") {
        session.banner("Listing limits for all vhosts ...")?;
        return list_all(session, "vhost-limits", "vhost");
    }
    let vhost = session.vhost();
    session.banner(&format!("Listing limits for vhost \"{vhost}\" ..."))?;
    let limits = current(session, "vhost-limits", &vhost)?;
    if limits.is_empty() {
        if !session.has_vhost(&vhost)? {
            return Err(Failure::no_vhost(&vhost));
        }
        return Ok(Output::Report {
            text: "\n".to_owned(),
            value: json!([]),
        });
    }
    Ok(Output::Text(Value::Object(limits).to_string()))
}

pub fn set_of_user(session: &mut Session) -> Result<Output, Failure> {
    let (user, definition) = (session.argument(0), session.argument(1));
    session.banner(&format!(
        "Setting user limits to \"{definition}\" for user \"{user}\" ..."
    ))?;
    let limits = parse_limits(&definition)?;
    must_exist(session, &user)?;
    set(session, "user-limits", &user, limits)?;
    Ok(Output::Nothing)
}

pub fn clear_of_user(session: &mut Session) -> Result<Output, Failure> {
    let (user, limit) = (session.argument(0), session.argument(1));
    let names = match limit.as_str() {
        "all" => {
            session.banner(&format!("Clearing all limits for user \"{user}\" ..."))?;
            must_exist(session, &user)?;
            let limits = current(session, "user-limits", &user)?;
            limits.keys().cloned().collect()
        }
        _ => {
            session.banner(&format!(
                "Clearing \"{limit}\" limit for user \"{user}\" ..."
            ))?;
            must_exist(session, &user)?;
            vec![limit]
        }
    };
    for name in names {
        session.delete(&path("user-limits", &[&user, &name]))?;
    }
    Ok(Output::Nothing)
}

pub fn list_of_user(session: &mut Session) -> Result<Output, Failure> {
    if session.arguments.has("global") {
        session.banner("Listing limits for all users ...")?;
        return list_all(session, "user-limits", "user");
    }
    let user = session.arguments.text("user").unwrap_or("guest");
    let user = user.to_owned();
    session.banner(&format!("Listing limits for user \"{user}\" ..."))?;
    must_exist(session, &user)?;
    let limits = current(session, "user-limits", &user)?;
    Ok(Output::Text(Value::Object(limits).to_string()))
}

fn must_exist(session: &mut Session, user: &str) -> Result<(), Failure> {
    match session.find(&path("users", &[user]))? {
        Some(_) => Ok(()),
        None => Err(Failure::no_user(user)),
    }
}

fn set(
    session: &mut Session,
    resource: &str,
    name: &str,
    limits: Map<String, Value>,
) -> Result<(), Failure> {
    for (limit, value) in limits {
        let limit = path(resource, &[name, &limit]);
        session.put(&limit, &json!({"value": value}))?;
    }
    Ok(())
}

fn current(
    session: &mut Session,
    resource: &str,
    name: &str,
) -> Result<Map<String, Value>, Failure> {
    let found = session.find(&path(resource, &[name]))?;
    let items = array(found.unwrap_or_else(|| json!([])))?;
    let limits = items
        .into_iter()
        .next()
        .map(|mut item| item["value"].take());
    Ok(match limits {
        Some(Value::Object(limits)) => limits,
        _ => Map::new(),
    })
}

fn list_all(session: &mut Session, resource: &str, whose: &'static str) -> Result<Output, Failure> {
    let items = array(session.get(&format!("/api/{resource}"))?)?;
    let rows = items.iter().map(|item| {
        let limits = match &item["value"] {
            // Nothing at all is an empty list in the API.
            Value::Array(_) | Value::Null => "{}".to_owned(),
            limits => limits.to_string(),
        };
        vec![item[whose].clone(), Value::String(limits)]
    });
    let columns = vec![plain(whose), plain("limits")];
    Ok(Output::Rows(Rows::of(columns, rows.collect())))
}

fn parse_limits(definition: &str) -> Result<Map<String, Value>, Failure> {
    match parse_json(definition)? {
        Value::Object(limits) => Ok(limits),
        _ => Err(Failure::unavailable(
            "Validation failed\n\nlimits should be a JSON object\n",
        )),
    }
}
