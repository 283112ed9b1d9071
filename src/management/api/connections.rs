//! `/connections`, and closing them.

use serde::Serialize;
use serde_json::Value;

use crate::broker::ConnectionState;
use crate::broker::survey::{ConnectionSurvey, Page, SLOTS_PER_PAGE};
use crate::management::call::{Call, Right};
use crate::management::http::{Method, Response};
use crate::management::listing::{list, list_shown, one};
use crate::management::rates::{Group, Measured, Subject, measure};
use crate::management::sight::{Sight, all};
use crate::management::terms::json_of_table;
use crate::management::{Answer, Refusal};
use crate::protocol::SocketTraffic;

#[derive(Serialize)]
struct ShownConnection {
    auth_mechanism: String,
    channel_max: u16,
    channels: usize,
    client_properties: Value,
    connected_at: u64,
    frame_max: u32,
    host: String,
    name: String,
    node: String,
    #[serde(flatten)]
    octets: Measured,
    peer_cert_issuer: Option<String>,
    peer_cert_subject: Option<String>,
    peer_cert_validity: Option<String>,
    peer_host: String,
    peer_port: u16,
    port: u16,
    protocol: &'static str,
    recv_cnt: u64,
    send_cnt: u64,
    send_pend: u64,
    ssl: bool,
    ssl_cipher: Option<&'static str>,
    ssl_hash: Option<String>,
    ssl_key_exchange: Option<String>,
    ssl_protocol: Option<&'static str>,
    state: &'static str,
    /// Heartbeats, in seconds.
    timeout: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_provided_name: Option<String>,
    user_who_performed_action: String,
    vhost: String,
}

/// As `/connections/username/:user` shows it.
#[derive(Serialize)]
struct BriefConnection {
    name: String,
    vhost: String,
    user: String,
    node: String,
}

/// A connection, what went over it, and whether publishers would be blocked.
type Seen = (ConnectionSurvey, SocketTraffic, bool);

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["connections"] => connections(call, None),
        ["vhosts", host, "connections"] => connections(call, Some(host)),
        ["connections", "username", user] => match call.method() {
            Method::Get => connections_of_user(call, user),
            Method::Delete => close_all_of_user(call, user),
            _ => call.not_allowed("HEAD, GET, DELETE, OPTIONS"),
        },
        ["connections", name] => match call.method() {
            Method::Get => connection(call, name),
            Method::Delete => close(call, name),
            _ => call.not_allowed("HEAD, GET, DELETE, OPTIONS"),
        },
        // Sessions are of AMQP 1.0.
        ["connections", name, "sessions"] => sessions(call, name),
        _ => return None,
    })
}

fn connections(call: &Call<'_>, host: Option<&str>) -> Answer {
    call.only_get()?;
    let sight = match host {
        Some(host) => Sight::into_host(call, host)?,
        None => Sight::of(call)?,
    };
    let seen = seen_connections(call, sight)?;
    list_shown(
        call,
        seen,
        |it| &it.0.name,
        |it| ShownConnection::new(call, it),
    )
}

/// By name.
fn seen_connections(call: &Call<'_>, sight: Sight) -> Result<Vec<Seen>, Refusal> {
    let mut seen = all(call, 0, move |hub, from| {
        let core = &hub.core;
        let page = core.survey_connections(from, SLOTS_PER_PAGE, &|user, host| {
            sight.sees_of(user, host)
        });
        let is_alarmed = hub.alarm().is_some();
        let items = page.items.into_iter().map(|connection| {
            let traffic = hub.outboxes.traffic(connection.socket);
            (connection, traffic, is_alarmed)
        });
        Page {
            items: items.collect(),
            next: page.next,
        }
    })?;
    seen.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    seen.dedup_by_key(|it| it.0.id);
    Ok(seen)
}

fn connection(call: &Call<'_>, name: &str) -> Answer {
    let seen = find(call, name)?;
    one(call, &ShownConnection::new(call, seen))
}

/// # Errors
/// There is none of that name, or it is somebody else's.
fn find(call: &Call<'_>, name: &str) -> Result<Seen, Refusal> {
    let seen = seen_connections(call, Sight::of(call)?)?;
    let mut named = seen.into_iter().filter(|it| it.0.name == name);
    named.next().ok_or(Refusal::NotFound)
}

/// # Errors
/// As [`find`].
pub fn check_exists(call: &Call<'_>, name: &str) -> Result<(), Refusal> {
    find(call, name).map(drop)
}

fn sessions(call: &Call<'_>, name: &str) -> Answer {
    call.only_get()?;
    find(call, name)?;
    list::<Value>(call, Vec::new())
}

fn connections_of_user(call: &Call<'_>, user: &str) -> Answer {
    check_own(call, user)?;
    let mut seen = seen_connections(call, Sight::of(call)?)?;
    seen.retain(|it| it.0.user == user);
    let brief = seen.into_iter().map(|it| BriefConnection {
        name: it.0.name,
        vhost: it.0.virtual_host,
        user: it.0.user,
        node: call.node().to_owned(),
    });
    list(call, brief.collect())
}

/// Users close their own connections, administrators all.
fn close(call: &Call<'_>, name: &str) -> Answer {
    let seen = find(call, name)?;
    check_own(call, &seen.0.user)?;
    let (reason, name) = (reason(call), name.to_owned());
    call.ask(move |hub| {
        hub.core.close_connection_named(name.as_bytes(), &reason);
    })?;
    Ok(Response::empty(204))
}

fn close_all_of_user(call: &Call<'_>, user: &str) -> Answer {
    check_own(call, user)?;
    let (reason, user) = (reason(call), user.to_owned());
    call.ask(move |hub| {
        let user = Some(user.as_bytes());
        hub.core.close_connections(user, None, &reason);
    })?;
    Ok(Response::empty(204))
}

fn check_own(call: &Call<'_>, user: &str) -> Result<(), Refusal> {
    if call.has(Right::Administrator) || (!call.user.is_operator && call.user.name == user) {
        return Ok(());
    }
    let reason = "User not authorised to access object";
    Err(Refusal::NotAuthorized(reason.to_owned()))
}

/// What the client reads behind `CONNECTION_FORCED - `; a short string holds 255 bytes of both.
fn reason(call: &Call<'_>) -> String {
    let given = call.request.header("x-reason").filter(|it| !it.is_empty());
    let mut reason = given.unwrap_or("Closed via management plugin").to_owned();
    while reason.len() > REASON_BYTES_MAX {
        reason.pop();
    }
    reason
}

impl ShownConnection {
    fn new(call: &Call<'_>, (it, traffic, is_alarmed): Seen) -> ShownConnection {
        let group = Group {
            names: &["recv_oct", "send_oct"],
            values: vec![traffic.received_bytes, traffic.sent_bytes],
            range: "data_rates",
        };
        let octets = measure(call, Subject::Connection(it.id), vec![group]).pop();
        let about = it.about;
        let tls = about.tls.as_ref();
        let properties = json_of_table(about.client_properties.view());
        let name = properties.get("connection_name").and_then(Value::as_str);
        ShownConnection {
            user_provided_name: name.map(str::to_owned),
            auth_mechanism: about.mechanism,
            channel_max: about.channel_max,
            channels: it.channels,
            client_properties: properties,
            connected_at: about.connected_ms,
            frame_max: about.frame_max,
            host: about.local.host,
            name: it.name,
            node: call.node().to_owned(),
            octets: octets.expect("one group was measured"),
            peer_cert_issuer: None,
            peer_cert_subject: tls.and_then(|tls| tls.subject.clone()),
            peer_cert_validity: None,
            peer_host: about.peer.host,
            peer_port: about.peer.port,
            port: about.local.port,
            protocol: "AMQP 0-9-1",
            recv_cnt: traffic.reads,
            send_cnt: traffic.writes,
            send_pend: traffic.waiting_bytes,
            ssl: tls.is_some(),
            ssl_cipher: tls.map(|tls| tls.cipher_suite),
            ssl_hash: None,
            ssl_key_exchange: None,
            ssl_protocol: tls.map(|tls| tls.version),
            state: match it.state {
                ConnectionState::Running if is_alarmed => "blocking",
                ConnectionState::Running => "running",
                ConnectionState::Blocked => "blocked",
                ConnectionState::Flow => "flow",
                ConnectionState::Closing => "closing",
            },
            timeout: about.heartbeat_seconds,
            kind: "network",
            user_who_performed_action: it.user.clone(),
            user: it.user,
            vhost: it.virtual_host,
        }
    }
}

const REASON_BYTES_MAX: usize = 200;
