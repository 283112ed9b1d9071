//! Queues: purging, deleting, and looking at messages.

use serde_json::{Value, json};

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

/// Looks at a message without taking it out, by its place from 1: the ready ones first, then those that
/// consumers hold.
pub fn peek(session: &mut Session) -> Result<Output, Failure> {
    let (queue, position, vhost) = (session.argument(0), session.argument(1), session.vhost());
    let node = session.node()?;
    session.banner(&format!(
        "Peeking at queue {queue} at position {position} on node {node} ..."
    ))?;
    let messages = path("queues", &[&vhost, &queue]) + "/browse";
    let mut before = position.parse::<u64>().unwrap_or(1).saturating_sub(1);
    let mut after = String::new();
    loop {
        let (count, truncate) = match before {
            0 => (1, SHOWN_BYTES),
            before => (before.min(PAGE), 0),
        };
        let page = format!("{messages}?count={count}&truncate={truncate}&after={after}");
        let Some(page) = session.find(&page)? else {
            let text = format!("Target queue was not found in virtual host '{vhost}'");
            return Err(Failure::unavailable(text));
        };
        let found = page["messages"].as_array().map_or(&[][..], Vec::as_slice);
        if let (0, [Value::Object(message)]) = (before, found) {
            let rows = message.iter().map(|(key, value)| {
                let key = Value::String(key.clone());
                vec![key, value.clone()]
            });
            let columns = vec![plain("keys"), plain("values")];
            return Ok(Output::Rows(Rows::of(columns, rows.collect())));
        }
        before = before.saturating_sub(found.len() as u64);
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    Err(Failure::unavailable(format!(
        "Queue '{queue}' has no message at position {position}"
    )))
}

/// Moves messages: dead letters back to where they died, or any to an exchange.
pub fn redrive(session: &mut Session) -> Result<Output, Failure> {
    let (queue, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!(
        "Moving messages of queue '{queue}' in vhost '{vhost}' ..."
    ))?;
    let arguments = &session.arguments;
    let target = (arguments.text("exchange"), arguments.text("routing-key"));
    let to = match target {
        (None, None) => json!("origin"),
        (exchange, routing_key) => json!({
            "exchange": exchange.unwrap_or_default(),
            "routing_key": routing_key.unwrap_or_default(),
        }),
    };
    let (limit, rate) = (arguments.integer("limit"), arguments.integer("rate"));
    let is_trial = arguments.has("dry-run");
    let mut order = json!({"count": limit, "search": arguments.text("search"), "to": to});
    if is_trial {
        order["dry_run"] = json!(true);
    }
    if let Some(rate) = rate {
        order["rate"] = json!(rate);
    }
    let messages = path("queues", &[&vhost, &queue]) + "/redrive";
    let (mut moved, mut skipped);
    let mut moved_before = 0;
    // At a rate, a request is answered before all is done.
    loop {
        let done = session.post(&messages, &order)?;
        let count = |name: &str| done[name].as_u64().unwrap_or(0);
        (moved, skipped) = (moved_before + count("moved"), count("skipped"));
        if done["more"] != true || count("moved") == 0 {
            break;
        }
        moved_before = moved;
        if let Some(limit) = limit.and_then(|limit| u64::try_from(limit).ok()) {
            order["count"] = json!(limit.saturating_sub(moved));
        }
    }
    let stayed = match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} left: nobody would take them"),
    };
    let would = if is_trial { "would be " } else { "" };
    Ok(Output::text(format!("{moved} {would}moved{stayed}")))
}

pub fn check_redrive(arguments: &Arguments) -> Result<(), (u8, String)> {
    match (arguments.integer("limit"), arguments.integer("rate")) {
        (Some(..=-1), _) => Err(bad_argument("a limit cannot be negative")),
        (_, Some(..=0)) => Err(bad_argument("a rate begins at 1")),
        _ => Ok(()),
    }
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

/// Messages that are passed over at once.
const PAGE: u64 = 200;
/// Of a payload.
const SHOWN_BYTES: usize = 1 << 20;
