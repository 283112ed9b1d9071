//! `status`, `cluster_status`, `environment` and `report`: all that the broker says of itself.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::help::bold;
use crate::output::{Form, Output, Rows, Shape, cell};
use crate::session::Session;
use crate::target::{Target, data_directory};

use super::{listing, parameters, permissions, plain, policies, users, virtual_hosts};

pub fn status(session: &mut Session) -> Result<Output, Failure> {
    if let Err(failure) = session.connect() {
        return Err(stopped(session, failure));
    }
    let status = session.status()?;
    session.say(&format!("Status of node {} ...", text(&status["node"])));
    Ok(Output::Report {
        text: status_text(&status),
        value: status_value(&status),
    })
}

/// Without a broker there may be its data: then it was there, and is not running.
fn stopped(session: &Session, mut failure: Failure) -> Failure {
    let directory = data_directory(&session.arguments);
    if matches!(session.target(), Target::Socket(_)) && directory.is_dir() {
        let note = format!(
            "\nThe data directory {} is there, but no broker is running on it.\n\
             See 'leveretctl check' for what it holds.\n",
            directory.display()
        );
        failure.text.push_str(&note);
    }
    failure
}

pub fn cluster_status(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let name = session.find("/api/cluster-name")?.unwrap_or_default();
    let node = text(&status["node"]).to_owned();
    session.say(&format!("Cluster status of node {node} ..."));
    let version = text(&status["version"]);
    let maintenance = match status["is_under_maintenance"] == true {
        true => "under maintenance",
        false => "not under maintenance",
    };
    let sections = [
        ("Basics", format!("Cluster name: {}\n", text(&name["name"]))),
        ("Disk Nodes", format!("{node}\n")),
        ("Running Nodes", format!("{node}\n")),
        ("Versions", format!("{node}: leveret {version}\n")),
        (
            "Maintenance status",
            format!("Node: {node}, status: {maintenance}\n"),
        ),
        ("Alarms", alarm_lines(&status)),
        ("Network Partitions", "(none)\n".to_owned()),
        (
            "Listeners",
            listener_lines(&status, &format!("Node: {node}, interface")),
        ),
    ];
    Ok(Output::Report {
        text: in_sections(&sections),
        value: json!({
            "cluster_name": name["name"],
            "disk_nodes": [node],
            "ram_nodes": [],
            "running_nodes": [node],
            "versions": {&node: {"leveret_version": version}},
            "maintenance_status": {&node: maintenance},
            "alarms": status["alarms"],
            "partitions": {},
            "listeners": {&node: status["listeners"]},
            "feature_flags": [],
        }),
    })
}

/// The configuration that is in effect, and where each value came from.
pub fn environment(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Application environment of node {node} ..."))?;
    let value = session.get("/api/leveret/environment")?;
    let text = text(&value["configuration"]).to_owned();
    Ok(Output::Report { text, value })
}

/// All of it in one go, for whoever helps from afar.
pub fn report(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Reporting server status of node {node} ...\n"))?;
    session.arguments.set("quiet", "true");
    let mut text = String::new();
    for (title, command) in [
        ("Status", status as fn(&mut Session) -> _),
        ("Cluster status", cluster_status),
        ("Application environment", environment),
        ("Connections", listing::connections),
        ("Channels", listing::channels),
        ("Users", users::list),
        ("Virtual hosts", virtual_hosts::list),
        ("Global parameters", parameters::list_global),
    ] {
        push_section(session, &mut text, title, command);
    }
    let vhosts = session.get("/api/vhosts?columns=name")?;
    let vhosts = vhosts.as_array().cloned().unwrap_or_default();
    for vhost in vhosts.iter().filter_map(|vhost| vhost["name"].as_str()) {
        session.arguments.set("vhost", vhost);
        for (title, command) in [
            ("Queues", listing::queues as fn(&mut Session) -> _),
            ("Exchanges", listing::exchanges),
            ("Bindings", listing::bindings),
            ("Consumers", listing::consumers),
            ("Permissions", permissions::list),
            ("Policies", policies::list),
            ("Operator policies", policies::list_operator),
            ("Parameters", parameters::list),
        ] {
            push_section(session, &mut text, &format!("{title} of {vhost}"), command);
        }
    }
    Ok(Output::Text(text))
}

fn push_section(
    session: &mut Session,
    text: &mut String,
    title: &str,
    command: fn(&mut Session) -> Result<Output, Failure>,
) {
    text.push_str(&format!("{}\n\n", bold(title)));
    match command(session) {
        Ok(output) => {
            let shown = output.render(Form::Table, true);
            text.push_str(&String::from_utf8_lossy(&shown));
        }
        // A report without a part of it is better than none.
        Err(failure) => text.push_str(&failure.message()),
    }
    text.push('\n');
}

pub fn alarms(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]).to_owned();
    session.say(&format!(
        "Asking node {node} to report any known resource alarms ..."
    ));
    let text = match has_alarms(&status) {
        true => alarm_lines(&status),
        false => format!("Node {node} reported no alarms, local or clusterwide\n"),
    };
    Ok(Output::Report {
        text,
        value: json!({"result": "ok", "node": node, "alarms": status["alarms"]}),
    })
}

pub fn memory_breakdown(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]).to_owned();
    session.say(&format!("Reporting memory breakdown on node {node}..."));
    let unit = session.arguments.text("unit").unwrap_or("gb").to_owned();
    let memory = &status["memory"];
    let resident = memory["resident"].as_f64().unwrap_or(0.0);
    let parts = memory.as_object().into_iter().flatten();
    let mut parts: Vec<(&str, f64)> = parts
        .filter(|(name, _)| !["resident", "limit", "strategy", "total"].contains(&name.as_str()))
        .filter_map(|(name, bytes)| Some((name.as_str(), bytes.as_f64()?)))
        .collect();
    // What nobody counts: code, stacks, and what the allocator keeps.
    let counted: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    parts.push(("other", (resident - counted).max(0.0)));
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let share = |bytes: f64| round(100.0 * bytes / resident.max(1.0), 2);
    let lines = parts.iter().map(|(name, bytes)| {
        let size = in_unit(*bytes, &unit);
        format!("{name}: {size} ({}%)\n", share(*bytes))
    });
    let values = parts.iter().map(|(name, bytes)| {
        let value = json!({"bytes": *bytes as u64, "percentage": share(*bytes)});
        ((*name).to_owned(), value)
    });
    Ok(Output::Report {
        text: lines.collect(),
        value: Value::Object(values.collect()),
    })
}

pub fn listeners(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]).to_owned();
    session.say(&format!(
        "Asking node {node} to report its protocol listeners ..."
    ));
    Ok(Output::Report {
        text: listener_lines(&status, "Interface"),
        value: json!({"result": "ok", "node": node, "listeners": status["listeners"]}),
    })
}

pub fn log_location(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]).to_owned();
    session.say(&format!("Log file location(s) on node {node} ..."));
    Ok(Output::Report {
        text: bare_lines(&status["log_files"]),
        value: json!({"result": "ok", "node_name": node, "paths": status["log_files"]}),
    })
}

pub fn server_version(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = text(&status["node"]);
    session.say(&format!("Asking node {node} for its version..."));
    Ok(Output::Report {
        text: format!("{}\n", text(&status["version"])),
        value: json!({"result": "ok", "value": status["version"]}),
    })
}

pub fn auth_attempts(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Listing authentication attempts for node \"{node}\" ..."
    ))?;
    let attempts = session.get(&super::path("auth/attempts", &[&node]))?;
    let columns = [
        "protocol",
        "auth_attempts",
        "auth_attempts_failed",
        "auth_attempts_succeeded",
    ];
    Ok(Output::Rows(super::rows_of(
        &columns.map(plain),
        &super::array(attempts)?,
    )))
}

/// How large the messages were that were published.
pub fn message_sizes(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Gathering message size statistics of node {node} ..."
    ))?;
    let value = session.get("/api/leveret/message-sizes")?;
    let buckets = super::array(value["buckets"].clone())?;
    let total: u64 = buckets
        .iter()
        .filter_map(|it| it["messages"].as_u64())
        .sum();
    let rows = buckets.iter().map(|bucket| {
        let messages = bucket["messages"].as_u64().unwrap_or(0);
        let share = round(100.0 * messages as f64 / total.max(1) as f64, 2);
        vec![bucket["up_to"].clone(), messages.into(), share.into()]
    });
    let columns = ["message_bytes_up_to", "messages", "percentage"].map(plain);
    Ok(Output::Rows(Rows::of(columns.to_vec(), rows.collect())))
}

fn status_text(status: &Value) -> String {
    let (memory, disk, files) = (
        &status["memory"],
        &status["disk"],
        &status["file_descriptors"],
    );
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let known = |value: &Value| match value {
        Value::Null => "unknown".to_owned(),
        value => cell(value, Shape::Plain),
    };
    let bytes = |value: &Value| match value.as_f64() {
        Some(bytes) => in_unit(bytes, "gb"),
        None => "unknown".to_owned(),
    };
    let totals = &status["totals"];
    in_sections(&[
        (
            "Runtime",
            format!(
                "OS PID: {}\nOS: {}\nUptime (seconds): {}\nIs under maintenance?: {}\nleveret version: {}\nNode name: {}\n",
                number(&status["pid"]),
                text(&status["os"]),
                number(&status["uptime_ms"]) / 1000,
                status["is_under_maintenance"] == true,
                text(&status["version"]),
                text(&status["node"]),
            ),
        ),
        (
            "Data directory",
            format!("Node data directory: {}\n", text(&status["data_directory"])),
        ),
        ("Config files", lines(&status["config_files"])),
        ("Log file(s)", lines(&status["log_files"])),
        ("Alarms", alarm_lines(status)),
        (
            "Memory",
            format!(
                "Total memory used: {}\nMemory high watermark: {}\n",
                bytes(&memory["resident"]),
                bytes(&memory["limit"])
            ),
        ),
        (
            "File Descriptors",
            format!(
                "Total: {}, limit: {}\n",
                known(&files["used"]),
                known(&files["limit"])
            ),
        ),
        (
            "Free Disk Space",
            format!(
                "Low free disk space watermark: {}\nFree disk space: {}\n",
                bytes(&disk["limit"]),
                bytes(&disk["free"])
            ),
        ),
        (
            "Totals",
            format!(
                "Connection count: {}\nQueue count: {}\nVirtual host count: {}\n",
                number(&totals["connections"]),
                number(&totals["queues"]),
                vhost_count(status)
            ),
        ),
        ("Listeners", listener_lines(status, "Interface")),
    ])
}

/// With RabbitMQ's names, and ours that it has none for.
fn status_value(status: &Value) -> Value {
    let (memory, disk, files) = (
        &status["memory"],
        &status["disk"],
        &status["file_descriptors"],
    );
    json!({
        "node": status["node"],
        "pid": status["pid"],
        "os": status["os"],
        "uptime": status["uptime_ms"].as_u64().unwrap_or(0) / 1000,
        "is_under_maintenance": status["is_under_maintenance"],
        "leveret_version": status["version"],
        "product_name": "leveret",
        "product_version": status["version"],
        "data_directory": status["data_directory"],
        "config_files": status["config_files"],
        "log_files": status["log_files"],
        "alarms": status["alarms"],
        "listeners": status["listeners"],
        "memory": memory,
        "vm_memory_high_watermark_limit": memory["limit"],
        "disk_free": disk["free"],
        "disk_free_limit": disk["limit"],
        "file_descriptors": {"total_used": files["used"], "total_limit": files["limit"]},
        "totals": {
            "connection_count": status["totals"]["connections"],
            "queue_count": status["totals"]["queues"],
            "virtual_host_count": vhost_count(status),
        },
        "active_plugins": [],
    })
}

/// A number, or a list of names.
fn vhost_count(status: &Value) -> u64 {
    match &status["vhosts"] {
        Value::Array(names) => names.len() as u64,
        count => count.as_u64().unwrap_or(0),
    }
}

fn in_sections(sections: &[(&str, String)]) -> String {
    let sections = sections.iter();
    let shown = sections.map(|(title, text)| format!("{}\n\n{text}", bold(title)));
    shown.collect::<Vec<_>>().join("\n")
}

fn lines(list: &Value) -> String {
    let items: Vec<_> = list.as_array().into_iter().flatten().collect();
    match items.is_empty() {
        true => "(none)\n".to_owned(),
        false => items
            .iter()
            .map(|it| format!(" * {}\n", text(it)))
            .collect(),
    }
}

fn bare_lines(list: &Value) -> String {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| format!("{}\n", text(item))).collect()
}

pub fn has_alarms(status: &Value) -> bool {
    status["alarms"]
        .as_array()
        .is_some_and(|alarms| !alarms.is_empty())
}

/// What RabbitMQ says about each.
pub fn alarm_lines(status: &Value) -> String {
    let alarms = status["alarms"].as_array().into_iter().flatten();
    let lines: String = alarms
        .map(|alarm| {
            let node = match &alarm["node"] {
                Value::Null => text(&status["node"]),
                node => text(node),
            };
            match text(&alarm["source"]) {
                "memory" => format!("Memory alarm on node {node}\n"),
                "disk" => format!("Free disk space alarm on node {node}\n"),
                other => format!("{other} alarm on node {node}\n"),
            }
        })
        .collect();
    match lines.is_empty() {
        true => "(none)\n".to_owned(),
        false => lines,
    }
}

fn listener_lines(status: &Value, begin: &str) -> String {
    let listeners = status["listeners"].as_array().into_iter().flatten();
    listeners
        .map(|listener| {
            format!(
                "{begin}: {}, port: {}, protocol: {}, purpose: {}\n",
                text(&listener["interface"]),
                cell(&listener["port"], Shape::Plain),
                text(&listener["protocol"]),
                text(&listener["purpose"])
            )
        })
        .collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Bytes in RabbitMQ's units: thousands, with at most four places.
fn in_unit(bytes: f64, unit: &str) -> String {
    let divisor = match unit {
        "bytes" => return format!("{bytes} bytes"),
        "kb" => 1e3,
        "mb" => 1e6,
        "tb" => 1e12,
        _ => 1e9,
    };
    format!("{:?} {unit}", round(bytes / divisor, 4))
}

fn round(number: f64, places: i32) -> f64 {
    let shift = 10_f64.powi(places);
    (number * shift).round() / shift
}

pub fn check_unit(arguments: &crate::arguments::Arguments) -> Result<(), (u8, String)> {
    match arguments.text("unit") {
        None | Some("bytes" | "kb" | "mb" | "gb" | "tb") => Ok(()),
        Some(unit) => Err(super::bad_argument(format!(
            "unit '{unit}' is not supported"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Value {
        json!({
            "node": "leveret@host", "pid": 7, "version": "0.1.0", "os": "Linux",
            "uptime_ms": 61_500, "data_directory": "/data", "config_files": [],
            "log_files": ["/log/a", "<stderr>"], "is_under_maintenance": false,
            "alarms": [{"source": "memory", "node": "leveret@host"}, {"source": "disk"}],
            "listeners": [{"interface": "[::]", "port": 5672, "protocol": "amqp", "purpose": "AMQP 0-9-1"}],
            "memory": {"resident": 10_000_000, "limit": 4_000_000_000_u64, "messages": 2_500_000},
            "disk": {"free": 58_359_554_048_u64, "limit": 50_000_000},
            "file_descriptors": {"used": 28, "limit": 1024},
            "totals": {"connections": 3, "queues": 4}, "vhosts": ["/", "a"],
        })
    }

    #[test]
    fn a_status_is_read_as_rabbitmqs() {
        let text = status_text(&recorded());
        for line in [
            "OS PID: 7",
            "Uptime (seconds): 61",
            " * /log/a",
            "(none)",
            "Memory alarm on node leveret@host",
            "Free disk space alarm on node leveret@host",
            "Total memory used: 0.01 gb",
            "Low free disk space watermark: 0.05 gb",
            "Free disk space: 58.3596 gb",
            "Virtual host count: 2",
            "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }

    #[test]
    fn programs_find_rabbitmqs_names() {
        let value = status_value(&recorded());
        assert_eq!(value["uptime"], 61);
        assert_eq!(value["disk_free_limit"], 50_000_000);
        assert_eq!(value["totals"]["virtual_host_count"], 2);
        assert_eq!(value["file_descriptors"]["total_limit"], 1024);
    }

    #[test]
    fn units_are_thousands() {
        assert_eq!(in_unit(84_316_160.0, "gb"), "0.0843 gb");
        assert_eq!(in_unit(84_316_160.0, "mb"), "84.3162 mb");
        assert_eq!(in_unit(0.0, "gb"), "0.0 gb");
        assert_eq!(in_unit(12.0, "bytes"), "12 bytes");
    }
}
