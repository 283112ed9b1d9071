//! From the first byte to an open connection (AMQP 0-9-1 §2.2.4): who is it, what are the limits, and
//! which virtual host.

use crate::broker::access::LoginRefusal;
use crate::broker::{About, AboutTls, Endpoint, Login, Name};
use crate::config::Mechanism;
use crate::protocol::{Hub, Now, Peer};
use crate::wire::amqp::ReplyCode;
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};
use crate::wire::amqp::method::connection as class;

use super::connection::{Capabilities, Client, Connection, Session, State};
use super::exception::{Exception, Result};
use super::heartbeat::Heartbeat;

impl Connection {
    pub(super) fn send_start(&mut self, hub: &mut Hub) {
        let properties = server_properties(hub);
        let mechanisms = offered_mechanisms(hub, &self.peer);
        let start = class::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.view(),
            mechanisms: mechanisms.as_bytes(),
            locales: b"en_US",
        };
        hub.outboxes.send(self.socket, 0, &start);
    }

    pub(super) fn on_start_ok(
        &mut self,
        start_ok: &class::StartOk<'_>,
        hub: &mut Hub,
        now: Now,
    ) -> Result<()> {
        self.client = Client::from_properties(start_ok.client_properties);
        let mechanism = String::from_utf8_lossy(start_ok.mechanism);
        self.client.mechanism = mechanism.clone().into_owned();
        let mut enabled = hub.config.access.mechanisms().iter().copied();
        let chosen = enabled.find(|known| known.name().as_bytes() == start_ok.mechanism);
        let login = match chosen {
            Some(Mechanism::Plain) => {
                let credentials = plain_credentials(start_ok.response);
                self.log_in_with(credentials, &mechanism, hub)
            }
            Some(Mechanism::AmqPlain) => {
                let credentials = amqplain_credentials(start_ok.response);
                self.log_in_with(credentials, &mechanism, hub)
            }
            Some(Mechanism::External) => self.log_in_by_certificate(hub),
            None => {
                let text = format!("unknown authentication mechanism '{mechanism}'");
                return Err(Exception::new(ReplyCode::CommandInvalid, text));
            }
        };
        match login {
            Some(user) => {
                self.client.user = Some(user);
                self.send_tune(hub);
            }
            None => self.refuse_login(&mechanism, hub, now),
        }
        Ok(())
    }

    fn log_in_with(
        &self,
        credentials: Option<(&[u8], &[u8])>,
        mechanism: &str,
        hub: &mut Hub,
    ) -> Option<Name> {
        let (user, password) = credentials?;
        let peer = &self.peer;
        let login = hub
            .core
            .authenticate(user, password, peer.host(), peer.loopback);
        self.tell_login(mechanism, user, login, hub)
    }

    /// SASL EXTERNAL (RFC 4422, appendix A): who it is was found out by TLS, whatever the client says.
    fn log_in_by_certificate(&self, hub: &mut Hub) -> Option<Name> {
        let address = &self.peer.address;
        let Some(certificate) = self.peer.certificate() else {
            log::warn!("{address}: EXTERNAL login refused: no peer certificate");
            return None;
        };
        let Some(user) = &certificate.user else {
            let subject = &certificate.subject;
            log::warn!("{address}: EXTERNAL login refused: no name of a user in '{subject}'");
            return None;
        };
        let peer = &self.peer;
        let user = user.as_bytes();
        let login = hub
            .core
            .authenticate_certified(user, peer.host(), peer.loopback);
        self.tell_login("EXTERNAL", user, login, hub)
    }

    /// Clients that announced it are told; others see the connection end after a while, as they do
    /// with RabbitMQ.
    fn refuse_login(&mut self, mechanism: &str, hub: &mut Hub, now: Now) {
        if !self.client.capabilities.authentication_failure_close {
            self.refuse(now);
            return;
        }
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the \
             broker logfile."
        );
        let exception = Exception::new(ReplyCode::AccessRefused, text);
        self.close(&exception, (0, 0), hub, now);
    }

    /// The user, if let in.
    fn tell_login(
        &self,
        mechanism: &str,
        user: &[u8],
        login: std::result::Result<Name, LoginRefusal>,
        hub: &mut Hub,
    ) -> Option<Name> {
        if let Err(refusal) = login {
            self.log_refusal(mechanism, user, refusal);
        }
        hub.core.tell_login(&Login {
            user,
            mechanism,
            protocol: "{0,9,1}",
            peer: &self.peer.address,
            local: Some(&self.peer.local),
            ssl: self.peer.tls.is_some(),
            error: login.as_ref().err().map(|refusal| reason(*refusal)),
        });
        login.ok()
    }

    fn log_refusal(&self, mechanism: &str, user: &[u8], refusal: LoginRefusal) {
        let user = String::from_utf8_lossy(user);
        let why = reason(refusal);
        let address = &self.peer.address;
        log::warn!("{address}: {mechanism} login refused: user '{user}' - {why}");
    }

    fn send_tune(&mut self, hub: &mut Hub) {
        let limits = &hub.config.limits;
        let tune = class::Tune {
            channel_max: limits.channel_max,
            frame_max: limits.frame_max_bytes,
            heartbeat: limits.heartbeat_seconds,
        };
        hub.outboxes.send(self.socket, 0, &tune);
        self.state = State::TuneOk;
    }

    pub(super) fn on_tune_ok(
        &mut self,
        tune_ok: &class::TuneOk,
        hub: &mut Hub,
        now: Now,
    ) -> Result<()> {
        let limits = &hub.config.limits;
        check_negotiated(
            "channel_max",
            1,
            limits.channel_max.into(),
            tune_ok.channel_max.into(),
        )?;
        check_negotiated(
            "frame_max",
            limits.frame_min_bytes,
            limits.frame_max_bytes,
            tune_ok.frame_max,
        )?;
        self.channel_max = tune_ok.channel_max;
        self.frame_max = tune_ok.frame_max;
        self.heartbeat = Heartbeat::new(tune_ok.heartbeat, now.monotonic_ms);
        hub.outboxes.set_frame_max(self.socket, tune_ok.frame_max);
        self.state = State::Open;
        Ok(())
    }

    pub(super) fn on_open(
        &mut self,
        open: &class::Open<'_>,
        hub: &mut Hub,
        now: Now,
    ) -> Result<()> {
        hub.check_connection_max()?;
        let virtual_host = hub.core.virtual_host(open.virtual_host)?;
        let user = self.client.user.clone().expect("logged in before tuning");
        hub.core.check_open(virtual_host, &user)?;
        let connection = hub.core.open_connection(
            self.socket,
            virtual_host,
            user.clone(),
            Name::from(format!("{} -> {}", self.peer.address, self.peer.local).as_str()),
            self.client.capabilities.consumer_cancel_notify,
        );
        hub.core.describe_connection(connection, self.about(now));
        log::info!(
            "{} -> {}{}: user '{user}' authenticated and granted access to vhost '{}'",
            self.peer.address,
            self.peer.local,
            self.client.shown_name(),
            String::from_utf8_lossy(open.virtual_host)
        );
        self.begin_session(Session {
            socket: self.socket,
            connection,
            virtual_host,
            user,
        });
        hub.outboxes.send(self.socket, 0, &class::OpenOk::default());
        Ok(())
    }

    /// What management shows of it.
    fn about(&mut self, now: Now) -> About {
        let heartbeat = self.heartbeat.as_ref();
        About {
            client_properties: std::mem::take(&mut self.client.properties),
            mechanism: std::mem::take(&mut self.client.mechanism),
            peer: Endpoint::parse(&self.peer.address),
            local: Endpoint::parse(&self.peer.local),
            frame_max: self.frame_max,
            channel_max: self.channel_max,
            heartbeat_seconds: heartbeat.map_or(0, Heartbeat::interval_seconds),
            connected_ms: now.unix_ms,
            tls: self.peer.tls.as_ref().map(|tls| AboutTls {
                version: tls.version,
                cipher_suite: tls.cipher_suite,
                subject: tls.certificate.as_ref().map(|it| it.subject.clone()),
            }),
        }
    }
}

impl Client {
    fn from_properties(properties: Table<'_>) -> Self {
        let capabilities = properties
            .get("capabilities")
            .and_then(|value| value.as_table())
            .unwrap_or(Table::EMPTY);
        let has = |name: &str| {
            let value = capabilities.get(name);
            value.and_then(|value| value.as_bool()) == Some(true)
        };
        let name = properties.get("connection_name");
        Client {
            user: None,
            name: name.and_then(|name| Some(name.as_str()?.to_owned())),
            properties: OwnedTable::from(properties),
            mechanism: String::new(),
            capabilities: Capabilities {
                consumer_cancel_notify: has("consumer_cancel_notify"),
                connection_blocked: has("connection.blocked"),
                authentication_failure_close: has("authentication_failure_close"),
            },
        }
    }

    fn shown_name(&self) -> String {
        let name = self.name.as_deref();
        name.map_or_else(String::new, |name| format!(" - {name}"))
    }
}

fn reason(refusal: LoginRefusal) -> &'static str {
    match refusal {
        LoginRefusal::InvalidCredentials => "invalid credentials",
        LoginRefusal::OnlyFromLoopback => "can only connect via localhost",
    }
}

/// RabbitMQ: server properties. All capabilities named here are kept.
fn server_properties(hub: &Hub) -> TableBuilder {
    let mut capabilities = TableBuilder::new();
    for name in CAPABILITIES {
        capabilities.put(name, true);
    }
    let server = &hub.config.server;
    let mut properties = TableBuilder::new();
    properties
        .put_table("capabilities", &capabilities)
        .put("cluster_name", server.cluster_name.as_str())
        .put("copyright", "Copyright (c) the leveret authors")
        .put("information", INFORMATION)
        .put("leveret_version", env!("CARGO_PKG_VERSION"))
        .put("platform", PLATFORM)
        .put("product", server.product.as_str())
        .put("version", server.version.as_str());
    properties
}

/// Those that are enabled, EXTERNAL only for whom has shown a certificate: the others could do nothing
/// with it, and some clients take the first that they know.
fn offered_mechanisms(hub: &Hub, peer: &Peer) -> String {
    let enabled = hub.config.access.mechanisms().iter();
    let offered = enabled.filter(|mechanism| match mechanism {
        Mechanism::External => peer.certificate().is_some(),
        Mechanism::Plain | Mechanism::AmqPlain => true,
    });
    let names: Vec<_> = offered.map(|mechanism| mechanism.name()).collect();
    names.join(" ")
}

/// SASL PLAIN (RFC 4616): authorization id, user, password, with a zero before the last two. Nobody may
/// act for somebody else, so the first must be empty (RabbitMQ).
fn plain_credentials(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (authorization, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    (authorization.is_empty() && !password.contains(&0)).then_some((user, password))
}

/// AMQP 0-8's own mechanism: the entries of a field table, LOGIN and PASSWORD.
fn amqplain_credentials(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let table = Table::from_encoded(response).ok()?;
    match (table.get("LOGIN")?, table.get("PASSWORD")?) {
        (Value::LongString(user), Value::LongString(password)) => Some((user, password)),
        _ => None,
    }
}

/// Both may set a limit; the client's may not be wider (RabbitMQ). 0 is no limit.
fn check_negotiated(name: &str, min: u32, max: u32, value: u32) -> Result<()> {
    let (relation, bound, limit) = match value {
        0 if max == 0 => return Ok(()),
        0 => ("higher", "maximum", max),
        value if value < min => ("lower", "minimum", min),
        value if max > 0 && value > max => ("higher", "maximum", max),
        _ => return Ok(()),
    };
    let unlimited = if value == 0 { " (no limit)" } else { "" };
    Err(Exception::new(
        ReplyCode::NotAllowed,
        format!(
            "negotiated {name} = {value}{unlimited} is {relation} than the {bound} allowed value \
             ({limit})"
        ),
    ))
}

const INFORMATION: &str = concat!(
    "This is leveret ",
    env!("CARGO_PKG_VERSION"),
    ", a RabbitMQ-compatible broker. Licensed under MIT OR Apache-2.0"
);
const PLATFORM: &str = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"));
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_apart() {
        assert_eq!(
            plain_credentials(b"\0guest\0secret"),
            Some((&b"guest"[..], &b"secret"[..]))
        );
        assert_eq!(
            plain_credentials(b"\0guest\0"),
            Some((&b"guest"[..], &b""[..]))
        );
        for bad in [
            &b""[..],
            b"guest",
            b"\0guest",
            b"\0guest\0secret\0",
            b"admin\0guest\0secret",
        ] {
            assert_eq!(plain_credentials(bad), None);
        }
        let mut table = TableBuilder::new();
        table.put("LOGIN", "guest").put("PASSWORD", "secret");
        let table = table.finish();
        assert_eq!(
            amqplain_credentials(table.view().as_bytes()),
            Some((&b"guest"[..], &b"secret"[..]))
        );
        assert_eq!(amqplain_credentials(b"\x05LOGIN"), None);
    }

    #[test]
    fn limits_are_negotiated_downwards_only() {
        let check = |value| check_negotiated("frame_max", 4096, 131_072, value);
        assert!(check(4096).is_ok() && check(131_072).is_ok());
        assert_eq!(
            check(0).unwrap_err().text,
            "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"
        );
        assert_eq!(
            check(100).unwrap_err().text,
            "negotiated frame_max = 100 is lower than the minimum allowed value (4096)"
        );
        assert_eq!(
            check(200_000).unwrap_err().text,
            "negotiated frame_max = 200000 is higher than the maximum allowed value (131072)"
        );
    }
}
