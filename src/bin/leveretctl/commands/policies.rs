//! Policies, and what operators put over them.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

use super::{array, parse_json, path, plain, rows_of};

/// The two kinds differ by their words only.
struct Kind {
    resource: &'static str,
    one: &'static str,
    cleared: &'static str,
    listed: &'static str,
}

const POLICY: Kind = Kind {
    resource: "policies",
    one: "policy",
    cleared: "policy",
    listed: "policies",
};

const OPERATOR: Kind = Kind {
    resource: "operator-policies",
    one: "operator policy override",
    cleared: "operator policy",
    listed: "operator policy overrides",
};

pub fn set(session: &mut Session) -> Result<Output, Failure> {
    set_kind(session, &POLICY)
}

pub fn clear(session: &mut Session) -> Result<Output, Failure> {
    clear_kind(session, &POLICY)
}

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    list_kind(session, &POLICY)
}

pub fn set_operator(session: &mut Session) -> Result<Output, Failure> {
    set_kind(session, &OPERATOR)
}

pub fn clear_operator(session: &mut Session) -> Result<Output, Failure> {
    clear_kind(session, &OPERATOR)
}

pub fn list_operator(session: &mut Session) -> Result<Output, Failure> {
    list_kind(session, &OPERATOR)
}

fn set_kind(session: &mut Session, kind: &Kind) -> Result<Output, Failure> {
    let (name, pattern, definition) = (
        session.argument(0),
        session.argument(1),
        session.argument(2),
    );
    let (vhost, priority) = (
        session.vhost(),
        session.arguments.integer("priority").unwrap_or(0),
    );
    session.banner(&format!(
        "Setting {} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ...",
        kind.one
    ))?;
    let body = json!({
        "pattern": pattern,
        "definition": parse_json(&definition)?,
        "priority": priority,
        "apply-to": session.arguments.text("apply-to").unwrap_or("all"),
    });
    let response = session.request("PUT", &path(kind.resource, &[&vhost, &name]), Some(&body))?;
    match response.status {
        404 => Err(Failure::no_vhost(&vhost)),
        _ => response.accepted().map(|_| Output::Nothing),
    }
}

fn clear_kind(session: &mut Session, kind: &Kind) -> Result<Output, Failure> {
    let (name, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!(
        "Clearing {} \"{name}\" on vhost \"{vhost}\" ...",
        kind.cleared
    ))?;
    match session.delete(&path(kind.resource, &[&vhost, &name]))? {
        true => Ok(Output::Nothing),
        false => Err(Failure::unavailable("Parameter does not exist")),
    }
}

fn list_kind(session: &mut Session, kind: &Kind) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!(
        "Listing {} for vhost \"{vhost}\" ...",
        kind.listed
    ))?;
    let found = session.find(&path(kind.resource, &[&vhost]))?;
    let items = array(found.ok_or_else(|| Failure::no_vhost(&vhost))?)?;
    let columns = [
        "vhost",
        "name",
        "pattern",
        "apply-to",
        "definition",
        "priority",
    ];
    let mut rows = rows_of(&columns.map(plain), &items);
    for row in &mut rows.rows {
        // As JSON in every form, as RabbitMQ has it.
        row[4] = Value::String(row[4].to_string());
    }
    Ok(Output::Rows(rows))
}
