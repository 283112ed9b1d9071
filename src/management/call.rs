//! One request, and what who asks may see and do.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;

use super::http::{Caller, Door, Method, Request};
use super::sessions::{is_from_page, token};
use super::{Answer, Management, Refusal, locked};
use crate::broker::access::LoginRefusal;
use crate::broker::{Login, VirtualHostKey};
use crate::protocol::{Hub, Now};

/// A request that was let in.
pub struct Call<'a> {
    pub management: &'a Management,
    pub request: &'a Request,
    pub user: User,
    pub now: Now,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub tags: Vec<String>,
    /// By the Unix socket: may do everything, and is none of the broker's users.
    pub is_operator: bool,
}

/// What a user must be for some of the API. Each may do what those before it may (RabbitMQ: user tags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Look at what it has permissions for.
    Management,
    /// Set policies and parameters there.
    Policymaker,
    /// Look at everything.
    Monitoring,
    Administrator,
}

impl<'a> Call<'a> {
    /// Finds out who asks.
    ///
    /// # Errors
    /// Nobody that we know, or nobody who may use the API at all.
    pub fn admit(
        management: &'a Management,
        request: &'a Request,
        caller: &Caller,
        now: Now,
    ) -> Result<Call<'a>, Refusal> {
        let user = management.identify(request, caller, now)?;
        let call = Call {
            management,
            request,
            user,
            now,
        };
        call.require(Right::Management)?;
        Ok(call)
    }

    /// HEAD is answered as GET, without the body.
    pub fn method(&self) -> Method {
        match self.request.method {
            Method::Head => Method::Get,
            method => method,
        }
    }

    /// # Errors
    /// This user may not.
    pub fn require(&self, right: Right) -> Result<(), Refusal> {
        if self.has(right) {
            return Ok(());
        }
        let reason = match right {
            Right::Management => "Not management user",
            Right::Policymaker => "User not authorised to access object",
            Right::Monitoring => "Not monitor user",
            Right::Administrator => "Not administrator user",
        };
        Err(Refusal::NotAuthorized(reason.to_owned()))
    }

    pub fn has(&self, right: Right) -> bool {
        let sufficient: &[&str] = match right {
            Right::Management => &["management", "policymaker", "monitoring", "administrator"],
            Right::Policymaker => &["policymaker", "administrator"],
            Right::Monitoring => &["monitoring", "administrator"],
            Right::Administrator => &["administrator"],
        };
        let mut tags = self.user.tags.iter();
        self.user.is_operator || tags.any(|tag| sufficient.contains(&tag.as_str()))
    }

    /// RabbitMQ's name for a broker.
    pub fn node(&self) -> &'a str {
        &self.management.facts.config.server.node_name
    }

    /// Looks at the broker, or uses one of its doors. The loop waits meanwhile, so it must be short.
    ///
    /// # Errors
    /// The broker has stopped, or what was changed is not stored in time.
    pub fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hub) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let user = match self.user.is_operator {
            true => OPERATOR.to_owned(),
            false => self.user.name.clone(),
        };
        Ok(self.management.broker.run(PATIENCE, move |hub| {
            hub.core.act_as(user.as_bytes());
            let outcome = work(hub);
            hub.core.act_as(b"");
            outcome
        })?)
    }

    /// Whether the user may look into a virtual host: it has permissions there, or may look everywhere.
    pub fn sees(&self, hub: &Hub, virtual_host: &[u8]) -> bool {
        self.has(Right::Monitoring)
            || hub
                .core
                .permissions(self.user.name.as_bytes(), virtual_host)
                .is_some()
    }

    /// The virtual hosts that the user may look into, by name.
    pub fn visible_virtual_hosts(&self) -> Result<Vec<String>, Refusal> {
        let sees_all = self.has(Right::Monitoring);
        let user = self.user.name.clone();
        self.ask(move |hub| {
            let hosts = hub.core.virtual_hosts();
            let seen = hosts.iter().filter(|(_, host)| {
                sees_all || hub.core.permissions(user.as_bytes(), &host.name).is_some()
            });
            let mut names: Vec<_> = seen.map(|(_, host)| host.name.to_string()).collect();
            names.sort();
            names
        })
    }

    /// # Errors
    /// There is no such virtual host, or this user may not look into it.
    pub fn enter(&self, virtual_host: &str) -> Result<(), Refusal> {
        let host = virtual_host.to_owned();
        let user = self.user.name.clone();
        let sees_all = self.has(Right::Monitoring);
        let (exists, may) = self.ask(move |hub| {
            let exists = hub.core.virtual_host(host.as_bytes()).is_ok();
            let permissions = hub.core.permissions(user.as_bytes(), host.as_bytes());
            (exists, sees_all || permissions.is_some())
        })?;
        match (exists, may) {
            (false, _) => Err(Refusal::NotFound),
            (true, true) => Ok(()),
            (true, false) => {
                let reason = "User not authorised to access virtual host";
                Err(Refusal::NotAuthorized(reason.to_owned()))
            }
        }
    }

    /// # Errors
    /// The body is no JSON of that shape.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        body(self.request)
    }

    /// For methods that a resource does not know; `allowed` as in `GET, PUT`.
    pub fn not_allowed(&self, allowed: &'static str) -> Answer {
        Err(Refusal::MethodNotAllowed(allowed))
    }

    /// # Errors
    /// The request does more than look.
    pub fn only_get(&self) -> Result<(), Refusal> {
        match self.method() {
            Method::Get => Ok(()),
            _ => Err(Refusal::MethodNotAllowed("GET, HEAD, OPTIONS")),
        }
    }
}

/// In a hub, the virtual host that a path names.
///
/// # Errors
/// There is none.
pub fn virtual_host(hub: &Hub, name: &str) -> Result<VirtualHostKey, Refusal> {
    let found = hub.core.virtual_host(name.as_bytes());
    found.map_err(|_| Refusal::NotFound)
}

/// # Errors
/// The body is no JSON of that shape. An empty one is an empty object.
pub fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    let text = match request.body.trim_ascii() {
        b"" => b"{}",
        text => text,
    };
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::bad(error.to_string()),
        _ => Refusal::bad("failed_to_decode_body: the body is not valid JSON"),
    })
}

impl Management {
    fn identify(&self, request: &Request, caller: &Caller, now: Now) -> Result<User, Refusal> {
        if caller.door == Door::Control {
            return Ok(User {
                name: String::new(),
                tags: vec!["administrator".to_owned()],
                is_operator: true,
            });
        }
        if let Some((name, password)) = credentials(request)? {
            return self.log_in(&name, &password, caller);
        }
        let token = token(request).ok_or(Refusal::NotLoggedIn("Login failed"))?;
        let name = locked(&self.sessions).user(token, now);
        let name = name.ok_or(Refusal::NotLoggedIn("Session expired"))?;
        // A browser sends cookies with whatever page asks; our header it does not.
        if !request.method.is_safe() && !is_from_page(request) {
            return Err(Refusal::Forged);
        }
        let found = self.broker.run(PATIENCE, move |hub| user_of(hub, name))?;
        found.ok_or(Refusal::NotLoggedIn("Login failed"))
    }

    /// # Errors
    /// The password does not fit, or the user may not come from there.
    pub(super) fn log_in(
        &self,
        name: &str,
        password: &str,
        caller: &Caller,
    ) -> Result<User, Refusal> {
        let (name, password) = (name.to_owned(), password.to_owned());
        let address = caller.address.clone();
        let (from_loopback, encrypted) = (caller.loopback, caller.encrypted);
        let found = self.broker.run(PATIENCE, move |hub| {
            let source = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
            let (user, secret) = (name.as_bytes(), password.as_bytes());
            hub.core
                .authenticate(user, secret, source, from_loopback)
                .inspect_err(|_| {
                    let error = "invalid credentials";
                    log::warn!("HTTP access denied: user '{name}' - {error}");
                    // Every request comes with a password: only those that fail are worth telling.
                    hub.core.tell_login(&Login {
                        user,
                        mechanism: "http",
                        protocol: "http",
                        peer: &address,
                        local: None,
                        ssl: encrypted,
                        error: Some(error),
                    });
                })
                .map(|name| user_of(hub, name.to_string()))
        })?;
        match found {
            Ok(Some(user)) => Ok(user),
            Ok(None) | Err(LoginRefusal::InvalidCredentials) => {
                Err(Refusal::NotLoggedIn("Login failed"))
            }
            Err(LoginRefusal::OnlyFromLoopback) => {
                Err(Refusal::NotLoggedIn("User can only log in via localhost"))
            }
        }
    }
}

fn user_of(hub: &mut Hub, name: String) -> Option<User> {
    let tags = hub.core.user(name.as_bytes())?.tags.iter();
    Some(User {
        tags: tags.map(ToString::to_string).collect(),
        name,
        is_operator: false,
    })
}

/// RFC 7617. `None` if the request has none of that kind.
fn credentials(request: &Request) -> Result<Option<(String, String)>, Refusal> {
    let Some(header) = request.header("authorization") else {
        return Ok(None);
    };
    let malformed = || Refusal::bad("the authorization header is not understood");
    let (scheme, encoded) = header.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let decoded = BASE64.decode(encoded.trim()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (name, password) = decoded.split_once(':').ok_or_else(malformed)?;
    Ok(Some((name.to_owned(), password.to_owned())))
}

/// RabbitMQ's name for who works on the command line.
const OPERATOR: &str = "rmq-cli";

/// A disk that takes longer to store a change than this is told about; the change may still be stored.
pub const PATIENCE: Duration = Duration::from_secs(20);
