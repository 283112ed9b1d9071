//! Health checks: nothing wrong is success, everything else has an exit status.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::target::Target;

use super::bad_argument;
use super::status::{alarm_lines, has_alarms, text};

pub fn check_alarms(session: &mut Session) -> Result<Output, Failure> {
    alarms(session, "no alarms, local or clusterwide")
}

pub fn check_local_alarms(session: &mut Session) -> Result<Output, Failure> {
    alarms(session, "no local alarms")
}

fn alarms(session: &mut Session, none: &str) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]);
    session.say(&format!(
        "Asking node {node} to report any local resource alarms ..."
    ));
    match has_alarms(&status) {
        true => Err(Failure::bare(
            crate::failure::EX_UNAVAILABLE,
            alarm_lines(&status).trim_end(),
        )),
        false => Ok(passed(format!("Node {node} reported {none}"), json!({}))),
    }
}

pub fn check_running(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Checking if leveret is running on node {node} ..."
    ))?;
    running(session)
}

pub fn is_running(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Asking node {node} for its status ..."))?;
    running(session)
}

/// It answers, so it runs; also when it lets in nobody, which is for an operator to decide.
fn running(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let message = format!("leveret on node {node} is fully booted and running");
    Ok(passed(message.clone(), json!({"message": message})))
}

pub fn is_booting(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Asking node {node} for its boot status ..."))?;
    // It answers when it is ready, and not before.
    let message = format!("leveret on node {node} is fully booted (check with is_running)");
    Ok(passed(message.clone(), json!({"message": message})))
}

pub fn check_virtual_hosts(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Checking if all vhosts are running on node {node} ..."
    ))?;
    session.get("/api/health/checks/virtual-hosts")?;
    let message = format!("Node {node} reported all vhosts as running");
    Ok(passed(message, json!({})))
}

pub fn check_certificates(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Checking certificate expiration on node {node} ..."
    ))?;
    let within = session.arguments.integer("within").unwrap_or(4);
    let unit = session.arguments.text("unit").unwrap_or("weeks");
    let named = match within {
        1 => unit.trim_end_matches('s').to_owned(),
        _ => unit.to_owned(),
    };
    session.get(&format!(
        "/api/health/checks/certificate-expiration/{within}/{unit}"
    ))?;
    let message = format!("No certificates are expiring within {within} {named}.");
    Ok(passed(message, json!({})))
}

pub fn check_certificate_arguments(arguments: &Arguments) -> Result<(), (u8, String)> {
    if arguments.integer("within").is_some_and(|within| within < 0) {
        return Err(bad_argument("--within must be a positive integer"));
    }
    match arguments.text("unit") {
        None | Some("days" | "weeks" | "months" | "years") => Ok(()),
        Some(unit) => Err(bad_argument(format!(
            "unit '{unit}' is not supported. Please use one of: days, weeks, months, years"
        ))),
    }
}

pub fn check_port_listener(session: &mut Session) -> Result<Output, Failure> {
    let port = session.argument(0);
    let status = session.status()?;
    let node = text(&status["node"]);
    session.say(&format!(
        "Asking node {node} if there's an active listener on port {port} ..."
    ));
    let ports: Vec<String> = ports(&status).map(|port| port.to_string()).collect();
    match ports.contains(&port) {
        true => Ok(passed(
            format!("A listener for port {port} is running on node {node}."),
            json!({"node": node, "port": port}),
        )),
        false => Err(Failure::bare(
            crate::failure::EX_UNAVAILABLE,
            format!(
                "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
                ports.join(", ")
            ),
        )),
    }
}

pub fn check_port(arguments: &Arguments) -> Result<(), (u8, String)> {
    let port = arguments
        .words
        .get(1)
        .and_then(|word| word.parse::<u64>().ok());
    match port {
        Some(1..) => Ok(()),
        _ => Err(bad_argument("Argument must be a positive integer")),
    }
}

pub fn check_protocol_listener(session: &mut Session) -> Result<Output, Failure> {
    let protocol = session.argument(0);
    let status = session.status()?;
    let node = text(&status["node"]);
    session.say(&format!(
        "Asking node {node} if there's an active listener for protocol {protocol} ..."
    ));
    let mut found: Vec<&str> = listeners(&status).map(|it| text(&it["protocol"])).collect();
    found.sort_unstable();
    found.dedup();
    // RabbitMQ knows each by several names.
    let lowercase = protocol.to_ascii_lowercase();
    let wanted = match lowercase.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp10" | "amqp1.0" => "amqp",
        "amqps" => "amqp/ssl",
        "mqtts" => "mqtt/ssl",
        "stomps" => "stomp/ssl",
        other => other,
    };
    match found.contains(&wanted) {
        true => Ok(passed(
            format!("A listener for protocol {protocol} is running on node {node}."),
            json!({"node": node, "protocol": protocol}),
        )),
        false => Err(Failure::unavailable(format!(
            "No listener for protocol {protocol} is active on node {node}. Found listeners for the following protocols: {}",
            found.join(", ")
        ))),
    }
}

/// Connects to each port of the broker, as clients do.
pub fn check_port_connectivity(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]);
    session.say(&format!(
        "Testing TCP connections to all active listeners on node {node} ..."
    ));
    let patience = Duration::from_secs(session.timeout_seconds(10).unwrap_or(10));
    let (mut reached, mut failed) = (Vec::new(), Vec::new());
    for listener in listeners(&status) {
        let Some(port) = port(listener) else {
            continue;
        };
        let host = host_of(text(&listener["interface"]), session.target());
        match can_connect(&host, port, patience) {
            true => reached.push(port.to_string()),
            false => failed.push(format!("{host}:{port}")),
        }
    }
    match failed.is_empty() {
        true => Ok(passed(
            format!(
                "Successfully connected to ports {} on node {node}.",
                reached.join(", ")
            ),
            json!({"node": node}),
        )),
        false => Err(Failure::unavailable(format!(
            "Connection to ports of the following listeners on node {node} failed: {}",
            failed.join(", ")
        ))),
    }
}

/// Where clients find what listens on this address.
fn host_of(interface: &str, target: &Target) -> String {
    let interface = interface.trim_start_matches('[').trim_end_matches(']');
    match (interface, target) {
        ("" | "::" | "0.0.0.0", Target::Tcp { host, .. }) => host.clone(),
        ("" | "::" | "0.0.0.0", Target::Socket(_)) => "localhost".to_owned(),
        (address, _) => address.to_owned(),
    }
}

fn can_connect(host: &str, port: u16, patience: Duration) -> bool {
    let addresses = (host, port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, patience).is_ok())
    })
}

/// RabbitMQ's old check, and what it checked.
pub fn node_health_check(session: &mut Session) -> Result<Output, Failure> {
    session.say("This command is DEPRECATED: see check_running, check_local_alarms and check_virtual_hosts instead");
    let node = session.node()?;
    session.banner(&format!("Checking health of node {node} ..."))?;
    running(session)?;
    let status = session.status()?;
    match has_alarms(&status) {
        true => Err(Failure::unavailable(format!(
            "Error: health check failed. Message: resource alarm(s) in effect:\n{}",
            alarm_lines(&status).trim_end()
        ))),
        false => Ok(Output::text("Health check passed")),
    }
}

/// Checks for copies on other nodes, of which there are none.
pub fn check_copies(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Checking if node {node} is critical for any queues ..."
    ))?;
    let message = format!(
        "Node {node} seems to be the only one in a single node cluster, the check does not apply"
    );
    Ok(passed(message, json!({})))
}

fn passed(message: String, mut value: Value) -> Output {
    value["result"] = "ok".into();
    Output::Report {
        text: message,
        value,
    }
}

fn listeners(status: &Value) -> impl Iterator<Item = &Value> {
    status["listeners"].as_array().into_iter().flatten()
}

fn ports(status: &Value) -> impl Iterator<Item = u16> {
    listeners(status).filter_map(port)
}

/// Those on Unix sockets have none.
fn port(listener: &Value) -> Option<u16> {
    let port = listener["port"].as_u64()?.try_into().ok()?;
    (port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_found_where_the_broker_is() {
        let here = Target::Socket("x".into());
        assert_eq!(host_of("[::]", &here), "localhost");
        assert_eq!(host_of("127.0.0.1", &here), "127.0.0.1");
        assert_eq!(host_of("[::1]", &here), "::1");
        let there = Target::Tcp {
            host: "h".to_owned(),
            port: 1,
            user: String::new(),
            password: String::new(),
            tls: None,
        };
        assert_eq!(host_of("0.0.0.0", &there), "h");
    }
}
