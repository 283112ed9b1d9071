//! The lists with columns of one's choice, and where the HTTP API has them.

use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{EX_USAGE, Failure};
use crate::output::{Column, Output, Rows, Shape};
use crate::session::Session;

use super::{array, path};

/// Something that can be asked for by name (RabbitMQ: info items).
pub struct Info {
    pub name: &'static str,
    /// Where the API has it: the first of these that is there. A dot goes into an object. None for
    /// what sources of bindings are, which can be exchanges only.
    fields: &'static [&'static str],
    shape: Shape,
}

pub fn queues(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    // Its own seconds, written as RabbitMQ writes them.
    if let Some(seconds) = session.timeout_seconds(60) {
        session.banner(&format!("Timeout: {seconds}.0 seconds ..."))?;
    }
    session.banner(&format!("Listing queues for vhost {vhost} ..."))?;
    let queues = path("queues", &[&vhost]);
    let output = list(session, &queues, QUEUES, &["name", "messages"])?;
    Ok(match output {
        // All of them are online.
        Output::Rows(mut rows) if session.arguments.has("offline") => {
            rows.rows.clear();
            Output::Rows(rows)
        }
        output => output,
    })
}

pub fn unresponsive_queues(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!(
        "Listing unresponsive queues for vhost {vhost} ..."
    ))?;
    // They all answer, or the broker does not.
    session.has_vhost(&vhost)?;
    Ok(Output::Nothing)
}

pub fn exchanges(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!("Listing exchanges for vhost {vhost} ..."))?;
    let exchanges = path("exchanges", &[&vhost]);
    list(session, &exchanges, EXCHANGES, &["name", "type"])
}

pub fn bindings(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!("Listing bindings for vhost {vhost}..."))?;
    let bindings = path("bindings", &[&vhost]);
    let ordinary = BINDINGS.iter().map(|info| info.name).collect::<Vec<_>>();
    list(session, &bindings, BINDINGS, &ordinary)
}

pub fn connections(session: &mut Session) -> Result<Output, Failure> {
    session.banner("Listing connections ...")?;
    let ordinary = ["user", "peer_host", "peer_port", "state"];
    list(session, "/api/connections", CONNECTIONS, &ordinary)
}

pub fn channels(session: &mut Session) -> Result<Output, Failure> {
    session.banner("Listing channels ...")?;
    let ordinary = ["pid", "user", "consumer_count", "messages_unacknowledged"];
    list(session, "/api/channels", CHANNELS, &ordinary)
}

pub fn consumers(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!("Listing consumers in vhost {vhost} ..."))?;
    let ordinary = [
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ];
    list(session, &path("consumers", &[&vhost]), CONSUMERS, &ordinary)
}

/// Lists what is there, with the columns that the command line names.
pub fn list(
    session: &mut Session,
    from: &str,
    infos: &'static [Info],
    ordinary: &[&str],
) -> Result<Output, Failure> {
    let chosen = choose(&session.arguments, infos, ordinary);
    let mut path = match wanted_fields(&chosen) {
        fields if fields.is_empty() => from.to_owned(),
        fields => format!("{from}?columns={fields}"),
    };
    let is_plain = |info: &&Info| info.fields.iter().all(|field| PLAIN_FIELDS.contains(field));
    if from.starts_with("/api/queues/") && chosen.iter().all(is_plain) {
        // Nobody works out rates that nobody sees.
        path.push_str("&disable_stats=true&enable_queue_totals=true");
    }
    // RabbitMQ's lists of a virtual host that is not there are empty.
    let items = match session.find(&path)? {
        Some(items) => array(items)?,
        None => Vec::new(),
    };
    Ok(Output::Rows(rows(&chosen, &items)))
}

/// Whether all columns that the command line names are known.
fn check(arguments: &Arguments, infos: &[Info]) -> Result<(), (u8, String)> {
    let mut unknown: Vec<_> = asked(arguments)
        .filter(|name| !infos.iter().any(|info| info.name == *name))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort_unstable();
    unknown.dedup();
    let text = format!("Info key(s) {} are not supported", unknown.join(","));
    Err((EX_USAGE, text))
}

pub fn check_queues(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, QUEUES)
}

pub fn check_exchanges(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, EXCHANGES)
}

pub fn check_bindings(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, BINDINGS)
}

pub fn check_connections(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, CONNECTIONS)
}

pub fn check_channels(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, CHANNELS)
}

pub fn check_consumers(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, CONSUMERS)
}

pub fn check_virtual_hosts(arguments: &Arguments) -> Result<(), (u8, String)> {
    check(arguments, VIRTUAL_HOSTS)
}

/// Names of columns: one an argument, or several with commas between them.
fn asked(arguments: &Arguments) -> impl Iterator<Item = &str> {
    let words = arguments.words.iter().skip(1);
    words
        .flat_map(|word| word.split(','))
        .filter(|name| !name.is_empty())
}

fn choose(arguments: &Arguments, infos: &'static [Info], ordinary: &[&str]) -> Vec<&'static Info> {
    let mut names: Vec<&str> = asked(arguments).collect();
    if names.is_empty() {
        names = ordinary.to_vec();
    }
    let mut chosen: Vec<&Info> = Vec::new();
    for name in names {
        let found = infos.iter().find(|info| info.name == name);
        chosen.extend(found.filter(|info| !chosen.iter().any(|it| it.name == info.name)));
    }
    chosen
}

/// For the query: the broker need not tell more.
fn wanted_fields(chosen: &[&Info]) -> String {
    let fields = chosen.iter().flat_map(|info| info.fields);
    fields.copied().collect::<Vec<_>>().join(",")
}

fn rows(chosen: &[&Info], items: &[Value]) -> Rows {
    let columns = chosen.iter().map(|info| Column {
        name: info.name,
        shape: info.shape,
    });
    let row = |item: &Value| chosen.iter().map(|info| value(info, item)).collect();
    Rows {
        is_silent_when_empty: true,
        ..Rows::of(columns.collect(), items.iter().map(row).collect())
    }
}

fn value(info: &Info, item: &Value) -> Value {
    if info.fields.is_empty() {
        return Value::from("exchange");
    }
    let found = info.fields.iter().map(|field| {
        let parts = field.split('.');
        parts.fold(item, |value, part| &value[part])
    });
    let mut found = found.filter(|value| !value.is_null());
    found.next().cloned().unwrap_or(Value::Null)
}

const fn info(name: &'static str, fields: &'static [&'static str]) -> Info {
    Info {
        name,
        fields,
        shape: Shape::Plain,
    }
}

const fn shaped(name: &'static str, fields: &'static [&'static str], shape: Shape) -> Info {
    Info {
        name,
        fields,
        shape,
    }
}

/// What the API says of queues even when it is told to leave statistics out.
const PLAIN_FIELDS: [&str; 9] = [
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "exclusive",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "type",
];

#[rustfmt::skip]
pub const QUEUES: &[Info] = &[
    info("name", &["name"]),
    info("durable", &["durable"]),
    info("auto_delete", &["auto_delete"]),
    shaped("arguments", &["arguments"], Shape::Term),
    info("policy", &["policy"]),
    info("operator_policy", &["operator_policy"]),
    shaped("effective_policy_definition", &["effective_policy_definition"], Shape::Term),
    info("pid", &["pid"]),
    info("owner_pid", &["owner_pid_details.pid", "owner_pid_details.name"]),
    info("exclusive", &["exclusive"]),
    info("exclusive_consumer_pid", &["exclusive_consumer_pid"]),
    info("exclusive_consumer_tag", &["exclusive_consumer_tag"]),
    info("single_active_consumer_tag", &["single_active_consumer_tag"]),
    info("messages_ready", &["messages_ready"]),
    info("messages_unacknowledged", &["messages_unacknowledged"]),
    info("messages", &["messages"]),
    info("messages_ready_ram", &["messages_ready_ram"]),
    info("messages_unacknowledged_ram", &["messages_unacknowledged_ram"]),
    info("messages_ram", &["messages_ram"]),
    info("messages_persistent", &["messages_persistent"]),
    info("messages_paged_out", &["messages_paged_out"]),
    info("message_bytes", &["message_bytes"]),
    info("message_bytes_ready", &["message_bytes_ready"]),
    info("message_bytes_unacknowledged", &["message_bytes_unacknowledged"]),
    info("message_bytes_ram", &["message_bytes_ram"]),
    info("message_bytes_persistent", &["message_bytes_persistent"]),
    info("message_bytes_paged_out", &["message_bytes_paged_out"]),
    info("head_message_timestamp", &["head_message_timestamp"]),
    info("disk_reads", &["message_stats.disk_reads"]),
    info("disk_writes", &["message_stats.disk_writes"]),
    info("consumers", &["consumers"]),
    info("consumer_utilisation", &["consumer_utilisation"]),
    info("consumer_capacity", &["consumer_capacity"]),
    info("memory", &["memory"]),
    info("slave_pids", &["slave_nodes"]),
    info("synchronised_slave_pids", &["synchronised_slave_nodes"]),
    info("mirror_pids", &["slave_nodes"]),
    info("synchronised_mirror_pids", &["synchronised_slave_nodes"]),
    info("state", &["state"]),
    info("type", &["type"]),
    info("leader", &["leader"]),
    shaped("members", &["members"], Shape::Names),
    shaped("online", &["online"], Shape::Names),
];

#[rustfmt::skip]
pub const EXCHANGES: &[Info] = &[
    info("name", &["name"]),
    info("type", &["type"]),
    info("durable", &["durable"]),
    info("auto_delete", &["auto_delete"]),
    info("internal", &["internal"]),
    shaped("arguments", &["arguments"], Shape::Term),
    info("policy", &["policy"]),
];

#[rustfmt::skip]
pub const BINDINGS: &[Info] = &[
    info("source_name", &["source"]),
    info("source_kind", &[]),
    info("destination_name", &["destination"]),
    info("destination_kind", &["destination_type"]),
    info("routing_key", &["routing_key"]),
    shaped("arguments", &["arguments"], Shape::Term),
];

#[rustfmt::skip]
pub const CONNECTIONS: &[Info] = &[
    info("pid", &["pid", "name"]),
    info("name", &["name"]),
    info("port", &["port"]),
    info("host", &["host"]),
    info("peer_port", &["peer_port"]),
    info("peer_host", &["peer_host"]),
    info("ssl", &["ssl"]),
    info("ssl_protocol", &["ssl_protocol"]),
    info("ssl_key_exchange", &["ssl_key_exchange"]),
    info("ssl_cipher", &["ssl_cipher"]),
    info("ssl_hash", &["ssl_hash"]),
    info("peer_cert_subject", &["peer_cert_subject"]),
    info("peer_cert_issuer", &["peer_cert_issuer"]),
    info("peer_cert_validity", &["peer_cert_validity"]),
    info("state", &["state"]),
    info("channels", &["channels"]),
    shaped("protocol", &["protocol"], Shape::Protocol),
    info("auth_mechanism", &["auth_mechanism"]),
    info("user", &["user"]),
    info("vhost", &["vhost"]),
    info("timeout", &["timeout"]),
    info("frame_max", &["frame_max"]),
    info("channel_max", &["channel_max"]),
    shaped("client_properties", &["client_properties"], Shape::Term),
    info("recv_oct", &["recv_oct"]),
    info("recv_cnt", &["recv_cnt"]),
    info("send_oct", &["send_oct"]),
    info("send_cnt", &["send_cnt"]),
    info("send_pend", &["send_pend"]),
    info("connected_at", &["connected_at"]),
    info("user_provided_name", &["user_provided_name"]),
    info("node", &["node"]),
];

#[rustfmt::skip]
pub const CHANNELS: &[Info] = &[
    info("pid", &["pid", "name"]),
    info("connection", &["connection_details.pid", "connection_details.name"]),
    info("name", &["name"]),
    info("number", &["number"]),
    info("user", &["user"]),
    info("vhost", &["vhost"]),
    info("transactional", &["transactional"]),
    info("confirm", &["confirm"]),
    info("consumer_count", &["consumer_count"]),
    info("messages_unacknowledged", &["messages_unacknowledged"]),
    info("messages_uncommitted", &["messages_uncommitted"]),
    info("acks_uncommitted", &["acks_uncommitted"]),
    info("messages_unconfirmed", &["messages_unconfirmed"]),
    info("prefetch_count", &["prefetch_count"]),
    info("global_prefetch_count", &["global_prefetch_count"]),
    info("state", &["state"]),
];

#[rustfmt::skip]
pub const CONSUMERS: &[Info] = &[
    info("queue_name", &["queue.name"]),
    info("channel_pid", &["channel_details.pid", "channel_details.name"]),
    info("consumer_tag", &["consumer_tag"]),
    info("ack_required", &["ack_required"]),
    info("prefetch_count", &["prefetch_count"]),
    info("active", &["active"]),
    info("activity_status", &["activity_status"]),
    info("exclusive", &["exclusive"]),
    shaped("arguments", &["arguments"], Shape::Term),
];

#[rustfmt::skip]
pub const VIRTUAL_HOSTS: &[Info] = &[
    info("name", &["name"]),
    info("tracing", &["tracing"]),
    info("description", &["description"]),
    shaped("tags", &["tags"], Shape::Names),
    info("default_queue_type", &["default_queue_type"]),
    info("protected_from_deletion", &["protected_from_deletion"]),
    shaped("metadata", &["metadata"], Shape::Term),
    shaped("cluster_state", &["cluster_state"], Shape::Term),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    fn names(chosen: &[&'static Info]) -> Vec<&'static str> {
        chosen.iter().map(|info| info.name).collect()
    }

    #[test]
    fn columns_are_chosen_once_each_in_order() {
        let chosen = choose(&arguments("l messages,name name vhost"), QUEUES, &["name"]);
        assert_eq!(names(&chosen), ["messages", "name"]);
        let chosen = choose(&arguments("list"), QUEUES, &["name", "messages"]);
        assert_eq!(names(&chosen), ["name", "messages"]);
    }

    #[test]
    fn unknown_columns_are_named() {
        let (code, text) = check_queues(&arguments("list_queues x name,bad x")).unwrap_err();
        assert_eq!(code, 64);
        assert_eq!(text, "Info key(s) bad,x are not supported");
        assert!(check_queues(&arguments("list_queues name messages")).is_ok());
    }

    #[test]
    fn values_are_found_where_the_api_has_them() {
        let consumer = json!({
            "queue": {"name": "q", "vhost": "/"},
            "channel_details": {"name": "a -> b (1)"},
            "consumer_tag": "t",
        });
        let asked = arguments("l queue_name channel_pid consumer_tag exclusive");
        let chosen = choose(&asked, CONSUMERS, &[]);
        let found = rows(&chosen, &[consumer]);
        assert_eq!(
            found.rows,
            [vec![
                json!("q"),
                json!("a -> b (1)"),
                json!("t"),
                Value::Null
            ]]
        );
    }

    #[test]
    fn sources_of_bindings_are_exchanges() {
        let chosen = choose(&arguments("l source_kind source_name"), BINDINGS, &[]);
        let found = rows(&chosen, &[json!({"source": "amq.topic"})]);
        assert_eq!(found.rows, [vec![json!("exchange"), json!("amq.topic")]]);
        assert_eq!(wanted_fields(&chosen), "source");
    }
}
