//! Virtual hosts: their names, descriptions and tags, and their protection; tracing.

use serde_json::{Value, json};

use crate::failure::{EX_DATAERR, Failure};
use crate::output::Output;
use crate::session::Session;

use super::{listing, path};

pub fn add(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Adding vhost \"{name}\" ..."))?;
    let mut body = json!({});
    for (field, option) in [
        ("description", "description"),
        ("tags", "tags"),
        ("default_queue_type", "default-queue-type"),
    ] {
        if let Some(text) = session.arguments.text(option) {
            body[field] = text.into();
        }
    }
    // One that is there already keeps what it has.
    if session.find(&path("vhosts", &[&name]))?.is_none() {
        session.put(&path("vhosts", &[&name]), &body)?;
    }
    Ok(Output::Nothing)
}

pub fn delete(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Deleting vhost \"{name}\" ..."))?;
    match session.delete(&path("vhosts", &[&name]))? {
        true => Ok(Output::Nothing),
        false => Err(Failure::no_vhost(&name)),
    }
}

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    session.banner("Listing vhosts ...")?;
    listing::list(session, "/api/vhosts", listing::VIRTUAL_HOSTS, &["name"])
}

pub fn set_tags(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    let tags = session.arguments.words[2..].to_vec();
    session.banner(&format!(
        "Setting tags for virtual host \"{name}\" to [{}] ...",
        tags.join(", ")
    ))?;
    let Some(mut body) = current(session, &name)? else {
        let text = format!("Virtual host \"{name}\" does not exist");
        return Err(Failure::new(EX_DATAERR, text));
    };
    body["tags"] = tags.join(",").into();
    session.put(&path("vhosts", &[&name]), &body)?;
    Ok(Output::Nothing)
}

pub fn update_metadata(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Updating metadata of vhost \"{name}\" ..."))?;
    let mut body = current(session, &name)?.ok_or_else(|| Failure::no_vhost(&name))?;
    for (field, option) in [
        ("description", "description"),
        ("tags", "tags"),
        ("default_queue_type", "default-queue-type"),
    ] {
        if let Some(text) = session.arguments.text(option) {
            body[field] = text.into();
        }
    }
    session.put(&path("vhosts", &[&name]), &body)?;
    Ok(Output::Nothing)
}

pub fn protect(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!(
        "Will enable deletion protection for virtual host '{name}'"
    ))?;
    let protection = format!("{}/deletion/protection", path("vhosts", &[&name]));
    let response = session.request("POST", &protection, None)?;
    accept_for_vhost(&response, &name)
}

pub fn unprotect(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!(
        "Will disable deletion protection for virtual host '{name}'"
    ))?;
    let protection = format!("{}/deletion/protection", path("vhosts", &[&name]));
    let response = session.request("DELETE", &protection, None)?;
    accept_for_vhost(&response, &name)
}

pub fn trace_on(session: &mut Session) -> Result<Output, Failure> {
    let name = session.vhost();
    session.banner(&format!("Starting tracing for vhost \"{name}\" ..."))?;
    trace(session, &name, true)?;
    Ok(Output::text(format!("Trace enabled for vhost {name}")))
}

pub fn trace_off(session: &mut Session) -> Result<Output, Failure> {
    let name = session.vhost();
    session.banner(&format!("Stopping tracing for vhost \"{name}\" ..."))?;
    trace(session, &name, false)?;
    Ok(Output::text(format!("Trace disabled for vhost {name}")))
}

fn trace(session: &mut Session, name: &str, on: bool) -> Result<(), Failure> {
    let mut body = current(session, name)?.ok_or_else(|| Failure::no_vhost(name))?;
    body["tracing"] = on.into();
    session.put(&path("vhosts", &[name]), &body)
}

/// What a virtual host is declared with: said again, so that only what is changed changes.
fn current(session: &mut Session, name: &str) -> Result<Option<Value>, Failure> {
    let found = session.find(&path("vhosts", &[name]))?;
    Ok(found.map(|vhost| declaration(&vhost)))
}

fn declaration(vhost: &Value) -> Value {
    let tags = match &vhost["tags"] {
        Value::Array(tags) => {
            let tags: Vec<_> = tags.iter().filter_map(Value::as_str).collect();
            tags.join(",")
        }
        Value::String(tags) => tags.clone(),
        _ => String::new(),
    };
    let mut body = json!({"tags": tags, "description": "", "tracing": false});
    for field in ["description", "tracing"] {
        if !vhost[field].is_null() {
            body[field] = vhost[field].clone();
        }
    }
    match vhost["default_queue_type"].as_str() {
        None | Some("undefined" | "") => {}
        Some(kind) => body["default_queue_type"] = kind.into(),
    }
    body
}

fn accept_for_vhost(response: &crate::http::Response, name: &str) -> Result<Output, Failure> {
    match response.status {
        200..=299 => Ok(Output::Nothing),
        404 => Err(Failure::no_vhost(name)),
        _ => Err(response.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_is_said_again() {
        let vhost = json!({
            "name": "v", "description": "d", "tags": ["a", "b"], "tracing": true,
            "default_queue_type": "undefined", "messages": 3,
        });
        let expected = json!({"description": "d", "tags": "a,b", "tracing": true});
        assert_eq!(declaration(&vhost), expected);
    }
}
