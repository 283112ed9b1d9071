//! Closing connections.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

use super::{array, path};

/// By the name of the connection, or what `list_connections pid` shows.
pub fn close(session: &mut Session) -> Result<Output, Failure> {
    let (connection, reason) = (session.argument(0), session.argument(1));
    session.banner(&format!(
        "Closing connection {connection}, reason: {reason}..."
    ))?;
    if !connection.starts_with('<') {
        return match close_named(session, &connection, &reason)? {
            true => Ok(Output::Nothing),
            false => Err(Failure::unavailable(format!(
                "Connection {connection} was not found"
            ))),
        };
    }
    let connections = array(session.get("/api/connections?columns=name,pid")?)?;
    let found = connections
        .iter()
        .find(|it| it["pid"] == connection.as_str());
    // One that is gone is closed: so it is with RabbitMQ's processes.
    if let Some(name) = found.and_then(|it| it["name"].as_str()) {
        close_named(session, name, &reason)?;
    }
    Ok(Output::Nothing)
}

pub fn close_all(session: &mut Session) -> Result<Output, Failure> {
    let reason = session.argument(0);
    let vhost = match session.arguments.has("global") {
        true => None,
        false => Some(session.vhost()),
    };
    match &vhost {
        Some(vhost) => session.banner(&format!(
            "Closing all connections in vhost {vhost}, reason: {reason}..."
        ))?,
        None => {
            let node = session.node()?;
            session.banner(&format!(
                "Closing all connections to node {node} (across all vhosts), reason: {reason}..."
            ))?;
        }
    }
    let limit = session.arguments.integer("limit").unwrap_or(0);
    let delay = session
        .arguments
        .integer("per-connection-delay")
        .unwrap_or(0);
    let closed = match (limit, delay) {
        (..=0, ..=0) => close_at_once(session, None, vhost.as_deref(), &reason)?,
        _ => {
            let delay = Duration::from_millis(delay.try_into().unwrap_or(0));
            let limit = match usize::try_from(limit) {
                Ok(0) | Err(_) => usize::MAX,
                Ok(limit) => limit,
            };
            close_slowly(session, vhost.as_deref(), &reason, limit, delay)?
        }
    };
    Ok(Output::text(format!("Closed {closed} connections")))
}

pub fn close_all_of_user(session: &mut Session) -> Result<Output, Failure> {
    let (user, reason) = (session.argument(0), session.argument(1));
    session.banner(&format!(
        "Closing connections of user {user}, reason: {reason}..."
    ))?;
    close_at_once(session, Some(&user), None, &reason)?;
    Ok(Output::Nothing)
}

fn close_at_once(
    session: &mut Session,
    user: Option<&str>,
    vhost: Option<&str>,
    reason: &str,
) -> Result<u64, Failure> {
    let body = json!({"user": user, "vhost": vhost, "reason": reason});
    let answer = session.post("/api/leveret/close-connections", &body)?;
    Ok(answer["closed"].as_u64().unwrap_or(0))
}

fn close_slowly(
    session: &mut Session,
    vhost: Option<&str>,
    reason: &str,
    limit: usize,
    delay: Duration,
) -> Result<u64, Failure> {
    let mut connections = array(session.get("/api/connections?columns=name,vhost")?)?;
    if let Some(vhost) = vhost {
        connections.retain(|it| it["vhost"] == vhost);
    }
    let names = connections.iter().filter_map(|it| it["name"].as_str());
    let mut closed = 0;
    for name in names.take(limit) {
        closed += u64::from(close_named(session, name, reason)?);
        thread::sleep(delay);
    }
    Ok(closed)
}

/// Whether there was one.
fn close_named(session: &mut Session, name: &str, reason: &str) -> Result<bool, Failure> {
    let connection = path("connections", &[name]);
    let headers = [("X-Reason", reason)];
    let no_body: Option<&Value> = None;
    let response = session.request_with("DELETE", &connection, &headers, no_body)?;
    match response.status {
        404 => Ok(false),
        _ => response.accepted().map(|_| true),
    }
}
