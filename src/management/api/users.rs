//! `/users`, `/user-limits`, `/auth`: who there is, and who tried to come in.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::broker::access::{Hashing, Limit, Limits, PasswordHash, Refused, User};
use crate::management::call::{Call, Right};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::listing::{list, one};
use crate::management::refusal::json_response;
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::protocol::order::{Order, Secret};

#[derive(Clone, Debug, Serialize)]
pub struct ShownUser {
    pub name: String,
    pub password_hash: String,
    pub hashing_algorithm: &'static str,
    pub tags: Vec<String>,
    pub limits: Map<String, Value>,
}

#[derive(Serialize)]
struct ShownLimits {
    user: String,
    value: Map<String, Value>,
}

/// What `PUT /users/:user` says.
#[derive(Clone, Debug)]
pub struct WantedUser {
    pub name: String,
    /// `None` for one who cannot log in with a password.
    pub password: Option<Secret>,
    pub tags: Vec<String>,
    permissions: Vec<Order>,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["users"] => users(call),
        ["users", "bulk-delete"] => bulk_delete(call),
        ["users", "without-permissions"] => without_permissions(call),
        ["users", name] => user(call, name),
        ["user-limits"] => all_limits(call),
        ["user-limits", name] => limits_of(call, name),
        ["user-limits", name, limit] => change_limit(call, name, limit),
        ["auth", "hash_password", password] => hash_password(call, password),
        ["auth", "attempts", _] => attempts(call, false),
        ["auth", "attempts", _, "source"] => attempts(call, true),
        _ => return None,
    })
}

impl ShownUser {
    pub fn new(name: &str, user: &User) -> ShownUser {
        ShownUser {
            name: name.to_owned(),
            password_hash: user.password.to_base64(),
            hashing_algorithm: user.password.hashing().name(),
            tags: user.tags.iter().map(ToString::to_string).collect(),
            limits: shown_limits(&user.limits),
        }
    }
}

/// As an object, with those that there are.
pub fn shown_limits(limits: &Limits) -> Map<String, Value> {
    let set = Limit::ALL
        .into_iter()
        .filter_map(|limit| Some((limit.name().to_owned(), json!(limits.get(limit)?))));
    set.collect()
}

fn users(call: &Call<'_>) -> Answer {
    call.require(Right::Administrator)?;
    call.only_get()?;
    let users = call.ask(|hub| shown_users(hub, |_| true))?;
    list(call, users)
}

fn without_permissions(call: &Call<'_>) -> Answer {
    call.require(Right::Administrator)?;
    call.only_get()?;
    let users = call.ask(|hub| {
        let mut all = hub.core.all_permissions();
        let permitted: std::collections::BTreeSet<String> =
            std::iter::from_fn(|| all.next().map(|(user, ..)| user.to_string())).collect();
        shown_users(hub, |name| !permitted.contains(name))
    })?;
    list(call, users)
}

fn shown_users(hub: &Hub, is_wanted: impl Fn(&str) -> bool) -> Vec<ShownUser> {
    let users = hub
        .core
        .users()
        .map(|(name, user)| ShownUser::new(&name.to_string(), user));
    users.filter(|user| is_wanted(&user.name)).collect()
}

fn bulk_delete(call: &Call<'_>) -> Answer {
    call.require(Right::Administrator)?;
    if call.method() != Method::Post {
        return call.not_allowed("POST, OPTIONS");
    }
    let input = Input::of(call)?;
    input.require(&["users"])?;
    let names = input.texts("users")?.unwrap_or_default();
    for name in names {
        delete_user(call, &name)?.map_err(|refused| refused_by_name(&name, refused))?;
    }
    Ok(Response::empty(204))
}

fn user(call: &Call<'_>, name: &str) -> Answer {
    call.require(Right::Administrator)?;
    match call.method() {
        Method::Get => {
            let wanted = name.to_owned();
            let found = call.ask(move |hub| {
                let user = hub.core.user(wanted.as_bytes());
                user.map(|user| ShownUser::new(&wanted, user))
            })?;
            one(call, &found.ok_or(Refusal::NotFound)?)
        }
        Method::Put => {
            let wanted = WantedUser::read(name, &Input::of(call)?)?;
            let is_new = call.ask(move |hub| wanted.put(hub))??;
            log::info!("user '{name}' set by '{}'", call.user.name);
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            delete_user(call, name)??;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

fn delete_user(call: &Call<'_>, name: &str) -> Result<Result<(), Refused>, Refusal> {
    let name = name.to_owned();
    call.ask(move |hub| hub.obey(Order::DeleteUser { name }).map(drop))
}

fn refused_by_name(name: &str, refused: Refused) -> Refusal {
    match refused {
        Refused::NoSuchUser(_) => Refusal::said(json!(["no_such_user", name])),
        other => other.into(),
    }
}

impl WantedUser {
    /// # Errors
    /// In RabbitMQ's words: no tags, two passwords, a hash that is none.
    pub fn read(name: &str, input: &Input) -> Result<WantedUser, Refusal> {
        let tags = match (input.texts("tags")?, input.flag("administrator")?) {
            (Some(tags), _) => tags,
            // From before there were tags.
            (None, Some(true)) => vec!["administrator".to_owned()],
            (None, Some(false)) => Vec::new(),
            (None, None) => return Err(Refusal::bad("tags_not_present")),
        };
        let mut permissions = Vec::new();
        for (vhost, value) in input.object("permissions")? {
            let value = Input::from(value.as_object().cloned().unwrap_or_default());
            value.require(&["configure", "write", "read"])?;
            permissions.push(Order::SetPermissions {
                user: name.to_owned(),
                vhost,
                configure: value.required_text("configure")?.to_owned(),
                write: value.required_text("write")?.to_owned(),
                read: value.required_text("read")?.to_owned(),
            });
        }
        Ok(WantedUser {
            name: name.to_owned(),
            password: password(input)?,
            tags,
            permissions,
        })
    }

    /// Adds the user, or changes the one of that name; whether it is new.
    ///
    /// # Errors
    /// A name, a tag or an expression that cannot be.
    pub fn put(self, hub: &mut Hub) -> Result<bool, Refusal> {
        let WantedUser {
            name,
            password,
            tags,
            permissions,
        } = self;
        for permission in &permissions {
            if let Order::SetPermissions { vhost, .. } = permission {
                let found = hub.core.virtual_host(vhost.as_bytes());
                found.map_err(|_| Refusal::said(json!(["no_such_vhost", vhost])))?;
            }
        }
        let is_new = hub.core.user(name.as_bytes()).is_none();
        let order = match (is_new, password) {
            (true, password) => Order::AddUser {
                name: name.clone(),
                password: password.unwrap_or(Secret::Hashed(PasswordHash::default())),
            },
            (false, Some(password)) => Order::ChangePassword {
                name: name.clone(),
                password,
            },
            (false, None) => Order::ClearPassword { name: name.clone() },
        };
        hub.obey(order)?;
        hub.obey(Order::SetUserTags { name, tags })?;
        for permission in permissions {
            hub.obey(permission)?;
        }
        Ok(is_new)
    }
}

fn password(input: &Input) -> Result<Option<Secret>, Refusal> {
    match (input.text("password")?, input.text("password_hash")?) {
        (Some(_), Some(_)) => Err(Refusal::bad("both_password_and_password_hash_are_provided")),
        (Some(password), None) => Ok(Some(Secret::Plain(password.to_owned()))),
        (None, Some("")) | (None, None) => Ok(None),
        (None, Some(hash)) => {
            let hashing = match input.text("hashing_algorithm")? {
                None => Hashing::of_length(hash),
                named => hashing(named)?,
            };
            let hash = PasswordHash::from_base64(hash, hashing)
                .map_err(|_| Refusal::said(json!(["not_base64", hash])))?;
            Ok(Some(Secret::Hashed(hash)))
        }
    }
}

/// By RabbitMQ's name, or LavinMQ's.
fn hashing(name: Option<&str>) -> Result<Hashing, Refusal> {
    let Some(name) = name else {
        return Ok(Hashing::default());
    };
    let short = match name {
        "SHA256" => Some(Hashing::Sha256),
        "SHA512" => Some(Hashing::Sha512),
        "MD5" => Some(Hashing::Md5),
        name => Hashing::named(name),
    };
    short.ok_or_else(|| Refusal::bad(format!("hashing algorithm '{name}' is not known")))
}

/// Those who may not look everywhere see their own.
fn all_limits(call: &Call<'_>) -> Answer {
    call.only_get()?;
    let own = (!call.has(Right::Monitoring)).then(|| call.user.name.clone());
    let limits = call.ask(move |hub| {
        let users = hub.core.users().filter(|(name, user)| {
            let is_seen = own.as_ref().is_none_or(|own| *own.as_bytes() == ***name);
            is_seen && !user.limits.is_empty()
        });
        let limits = users.map(|(name, user)| ShownLimits {
            user: name.to_string(),
            value: shown_limits(&user.limits),
        });
        limits.collect::<Vec<_>>()
    })?;
    list(call, limits)
}

fn limits_of(call: &Call<'_>, name: &str) -> Answer {
    if call.user.name != name {
        call.require(Right::Monitoring)?;
    }
    call.only_get()?;
    let user = name.to_owned();
    let limits = call.ask(move |hub| hub.core.user(user.as_bytes()).map(|user| user.limits))?;
    let limits = limits.ok_or(Refusal::NotFound)?;
    let shown = ShownLimits {
        user: name.to_owned(),
        value: shown_limits(&limits),
    };
    list(
        call,
        if limits.is_empty() {
            vec![]
        } else {
            vec![shown]
        },
    )
}

fn change_limit(call: &Call<'_>, name: &str, limit: &str) -> Answer {
    call.require(Right::Administrator)?;
    let known = [Limit::MaxConnections, Limit::MaxChannels];
    let found = known.into_iter().find(|known| known.name() == limit);
    let user = name.to_owned();
    let order = match call.method() {
        Method::Put => {
            let input = Input::of(call)?;
            let value = limit_value(&input, limit)?;
            let found = found.ok_or_else(|| {
                Refusal::bad(format!(
                    "Unrecognised terms [{{<<\"{limit}\">>,{value}}}] in user-limits"
                ))
            })?;
            Order::SetUserLimits {
                name: user,
                limits: vec![(found, value)],
            }
        }
        Method::Delete => Order::ClearUserLimits {
            name: user,
            limit: Some(found.ok_or(Refusal::NotFound)?),
        },
        _ => return call.not_allowed("PUT, DELETE, OPTIONS"),
    };
    let done = call.ask(move |hub| hub.obey(order))?;
    done.map_err(|refused| refused_by_name(name, refused))?;
    Ok(Response::empty(204))
}

/// The number in `{"value": 10}`.
///
/// # Errors
/// It is missing, or no number.
pub fn limit_value(input: &Input, limit: &str) -> Result<i64, Refusal> {
    input.require(&["value"])?;
    input
        .integer("value")
        .map_err(|_| {
            let given = input.get("value").cloned().unwrap_or_default();
            let shown = match given {
                Value::String(text) => format!("<<\"{text}\">>"),
                other => other.to_string(),
            };
            Refusal::bad(format!(
                "Validation failed\n\n{limit} should be a number, actually was {shown}\n"
            ))
        })?
        .ok_or_else(|| Refusal::bad("[{key_missing,value}]"))
}

fn hash_password(call: &Call<'_>, password: &str) -> Answer {
    call.require(Right::Administrator)?;
    call.only_get()?;
    let drawn = call.management.draw();
    let salt = std::array::from_fn(|at| drawn[at]);
    let hash = PasswordHash::of(password.as_bytes(), salt);
    Ok(json_response(200, &json!({"ok": hash.to_base64()})))
}

/// How logins went. RabbitMQ counts by protocol; ours are all counted as one.
fn attempts(call: &Call<'_>, by_source: bool) -> Answer {
    match call.method() {
        Method::Get => call.require(Right::Monitoring)?,
        Method::Delete => {
            call.require(Right::Administrator)?;
            call.ask(|hub| hub.core.reset_login_counts())?;
            return Ok(Response::empty(204));
        }
        _ => return call.not_allowed("GET, DELETE, HEAD, OPTIONS"),
    }
    let counts = call.ask(|hub| {
        let counts = hub.core.login_counts().iter();
        let counts = counts.map(|(source, count)| (source.to_owned(), *count));
        counts.collect::<Vec<_>>()
    })?;
    let shown = |failed: u64, succeeded: u64| {
        json!({
            "protocol": "amqp091",
            "auth_attempts": failed + succeeded,
            "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    };
    if !by_source {
        let failed = counts.iter().map(|(_, count)| count.refused).sum();
        let succeeded = counts.iter().map(|(_, count)| count.accepted).sum();
        return list(call, vec![shown(failed, succeeded)]);
    }
    let counts = counts.into_iter().map(|(source, count)| {
        let mut shown = shown(count.refused, count.accepted);
        shown["remote_address"] = json!(source);
        shown["username"] = json!("");
        shown
    });
    list(call, counts.collect())
}
