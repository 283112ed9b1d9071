//! Queues: purging, deleting, and looking at messages.

use serde_json::Value;

use crate::failure::{EX_USAGE, Failure};
use crate::output::{Output, Rows};
use crate::session::Session;

use super::{Arguments, bad_argument, path, plain};

pub fn purge(session: &mut Session) -> Result<Output, Failure> {
    let (queue, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!("Purging queue '{queue}' in vhost '{vhost}' ..."))?;
    let contents = format!("{}/contents", path("queues", &[&vhost, &queue]));
    match session.delete(&contents)? {
        true => Ok(Output::Nothing),
        false => Err(Failure::unavailable("not_found")),
    }
}

pub fn delete(session: &mut Session) -> Result<Output, Failure> {
    let (queue, vhost) = (session.argument(0), session.vhost());
    let (if_empty, if_unused) = (
        session.arguments.has("if-empty"),
        session.arguments.has("if-unused"),
    );
    let (condition, query) = match (if_empty, if_unused) {
        (false, false) => ("", ""),
        (true, false) => (" if queue is empty", "?if-empty=true"),
        (false, true) => (" if queue is unused", "?if-unused=true"),
        (true, true) => (
            " if queue is empty and if queue is unused",
            "?if-empty=true&if-unused=true",
        ),
    };
    session.banner(&format!(
        "Deleting queue '{queue}' on vhost '{vhost}'{condition} ..."
    ))?;
    let not_found = || Failure::new(EX_USAGE, "Queue not found");
    let queue = path("queues", &[&vhost, &queue]);
    let found = session.find(&format!("{queue}?columns=messages_ready"))?;
    let ready = found.ok_or_else(not_found)?["messages_ready"].as_u64();
    let response = session.request("DELETE", &format!("{queue}{query}"), None)?;
    let reason = || response.reason();
    match response.status {
        200..=299 => Ok(Output::text(format!(
            "Queue was successfully deleted with {} ready messages",
            ready.unwrap_or(0)
        ))),
        404 => Err(not_found()),
        _ if reason().contains("not empty") => Err(Failure::new(EX_USAGE, "Queue is not empty")),
        _ if reason().contains("in use") => Err(Failure::new(EX_USAGE, "Queue is in use")),
        _ => Err(response.refusal()),
    }
}

/// Looks at a message without taking it out, by its place from 1.
pub fn peek(session: &mut Session) -> Result<Output, Failure> {
    let (queue, position, vhost) = (session.argument(0), session.argument(1), session.vhost());
    let node = session.node()?;
    session.banner(&format!(
        "Peeking at queue {queue} at position {position} on node {node} ..."
    ))?;
    let message = path("leveret/peek", &[&vhost, &queue, &position]);
    let response = session.request("GET", &message, None)?;
    if response.status == 404 {
        let text = match session.find(&path("queues", &[&vhost, &queue]))? {
            Some(_) => format!("Queue '{queue}' has no message at position {position}"),
            None => format!("Target queue was not found in virtual host '{vhost}'"),
        };
        return Err(Failure::unavailable(text));
    }
    let Value::Object(message) = response.accepted()?.json()? else {
        return Err(Failure::unavailable("the answer is not a message"));
    };
    let rows = message
        .into_iter()
        .map(|(key, value)| vec![Value::String(key), value]);
    let columns = vec![plain("keys"), plain("values")];
    Ok(Output::Rows(Rows::of(columns, rows.collect())))
}

pub fn check_peek(arguments: &Arguments) -> Result<(), (u8, String)> {
    let position = arguments
        .words
        .get(2)
        .and_then(|word| word.parse::<u64>().ok());
    match position {
        Some(1..) => Ok(()),
        _ => Err(bad_argument("pos value must be a positive integer")),
    }
}
