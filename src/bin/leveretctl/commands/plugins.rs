//! `rabbitmq-plugins`: what is a plugin of RabbitMQ's is built in here, or is not there.

use serde_json::{Value, json};

use crate::failure::{EX_UNAVAILABLE, Failure};
use crate::output::Output;
use crate::session::Session;

/// Those that are always on.
const BUILT_IN: &[&str] = &[
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_message_deduplication",
    "rabbitmq_prometheus",
];

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    let pattern = session.argument(0);
    let shown: Vec<&str> = BUILT_IN
        .iter()
        .copied()
        .filter(|name| name.contains(&pattern))
        .collect();
    session.say(&format!(
        "Listing plugins with pattern \"{}\" ...",
        match pattern.as_str() {
            "" => ".*",
            pattern => pattern,
        }
    ));
    let version = env!("CARGO_PKG_VERSION");
    let text = match session.arguments.has("minimal") {
        true => shown.iter().map(|name| format!("{name}\n")).collect(),
        false => {
            let width = shown.iter().map(|name| name.len()).max().unwrap_or(0);
            let lines: String = shown
                .iter()
                .map(|name| format!("[E*] {name:width$} {version}\n"))
                .collect();
            format!(" Configured: E = built in\n | Status: * = running\n |/\n{lines}")
        }
    };
    let plugins: Vec<Value> = shown
        .iter()
        .map(|name| {
            json!({"name": name, "version": version, "running_version": version, "enabled": "enabled", "running": true})
        })
        .collect();
    Ok(Output::Report {
        text,
        value: json!({"format": "normal", "status": "running", "plugins": plugins}),
    })
}

pub fn enable(session: &mut Session) -> Result<Output, Failure> {
    let names = session.arguments.words[1..].to_vec();
    if session.arguments.has("all") {
        return Ok(Output::text(
            "All of leveret's plugins are built in: there is nothing to enable.",
        ));
    }
    all_built_in(&names)?;
    session.say(&format!("Enabling plugins:\n{}", names.join("\n")));
    Ok(Output::text(
        "They are built in: there is nothing to enable.",
    ))
}

/// Enabling those, and disabling all the others.
pub fn set(session: &mut Session) -> Result<Output, Failure> {
    let names = session.arguments.words[1..].to_vec();
    all_built_in(&names)?;
    Ok(Output::text(
        "They are built in, as are some others: there is nothing to enable or disable.",
    ))
}

pub fn disable(session: &mut Session) -> Result<Output, Failure> {
    let names = session.arguments.words[1..].to_vec();
    let built_in = names.iter().find(|name| BUILT_IN.contains(&name.as_str()));
    match built_in {
        None => Ok(Output::text("Plugin configuration unchanged.")),
        Some(name) => Err(Failure::unavailable(format!(
            "{name} is built in. What it listens on is configured: see management.tcp.port and its like."
        ))),
    }
}

pub fn is_enabled(session: &mut Session) -> Result<Output, Failure> {
    let names = session.arguments.words[1..].to_vec();
    let missing: Vec<_> = missing(&names).collect();
    match missing.is_empty() {
        true => {
            let text = match &names[..] {
                [name] => format!("Plugin {name} is built in"),
                names => format!("Plugins {} are built in", names.join(", ")),
            };
            Ok(Output::text(text))
        }
        false => Err(Failure::new(
            EX_UNAVAILABLE,
            format!(
                "Plugin {} is not enabled. Built in are: {}",
                missing.join(", "),
                BUILT_IN.join(", ")
            ),
        )),
    }
}

pub fn directories(_: &mut Session) -> Result<Output, Failure> {
    Ok(Output::text(
        "Plugins are built in: there is no directory of plugins and no file of enabled ones.",
    ))
}

fn all_built_in(names: &[String]) -> Result<(), Failure> {
    let missing: Vec<_> = missing(names).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(
            crate::failure::EX_SOFTWARE,
            format!("Plugins that leveret does not have: {}", missing.join(", ")),
        )),
    }
}

fn missing(names: &[String]) -> impl Iterator<Item = &str> {
    let names = names.iter().map(String::as_str);
    names.filter(|name| !BUILT_IN.contains(name))
}
