//! What changes queues, exchanges and bindings. Everything is done as the user who asks, as if over AMQP.

use serde_json::json;

use crate::broker::VirtualHostKey;
use crate::broker::topology::binding::Destination;
use crate::management::binding_key::{properties_key, quote};
use crate::management::call::{Call, User, virtual_host};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::terms::arguments_of;
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::protocol::amqp::{Exception, Guest, GuestBinding};
use crate::wire::amqp::method::exchange;
use crate::wire::amqp::{OwnedTable, ReplyCode};

/// Looking at the same things is done elsewhere.
pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    use Method::{Delete, Post, Put};
    Some(match (call.method(), path) {
        (Put, ["queues", vhost, name]) => put_queue(call, vhost, name),
        (Delete, ["queues", vhost, name]) => delete_queue(call, vhost, name),
        (Delete, ["queues", vhost, name, "contents"]) => purge_queue(call, vhost, name),
        (Post, ["queues", vhost, name, "actions"]) => act_on_queue(call, vhost, name),
        (Put, ["exchanges", vhost, name]) => put_exchange(call, vhost, name),
        (Delete, ["exchanges", vhost, name]) => delete_exchange(call, vhost, name),
        (Post, ["bindings", vhost, "e", source, kind @ ("q" | "e"), to]) => {
            bind(call, vhost, source, to, *kind == "e")
        }
        (Delete, ["bindings", vhost, "e", source, kind @ ("q" | "e"), to, key]) => {
            unbind(call, vhost, source, to, *kind == "e", key)
        }
        _ => return None,
    })
}

/// Does work as the user who asks, who must be permitted something in the virtual host.
///
/// # Errors
/// There is no such virtual host, or the user has no permissions there; what the work says.
pub fn as_user<T: Send + 'static>(
    call: &Call<'_>,
    vhost: &str,
    refuse: impl FnOnce(Exception) -> Refusal + Send + 'static,
    work: impl FnOnce(&mut Guest<'_>) -> Result<T, Exception> + Send + 'static,
) -> Result<T, Refusal> {
    let (user, vhost) = (call.user.clone(), vhost.to_owned());
    call.ask(move |hub| {
        check_entry(hub, &user, &vhost)?;
        hub.as_guest(&user.name, &vhost, work).map_err(refuse)
    })?
}

/// # Errors
/// There is no such virtual host, or the user has no permissions there. To look everywhere is not enough.
fn check_entry(hub: &Hub, user: &User, vhost: &str) -> Result<VirtualHostKey, Refusal> {
    let key = virtual_host(hub, vhost).map_err(|_| Refusal::no_virtual_host())?;
    let permissions = hub.core.permissions(user.name.as_bytes(), vhost.as_bytes());
    if user.is_operator || permissions.is_some() {
        return Ok(key);
    }
    let reason = "User not authorised to access virtual host";
    Err(Refusal::NotAuthorized(reason.to_owned()))
}

/// How RabbitMQ's API says what a channel exception would.
fn refusal(exception: Exception) -> Refusal {
    match exception.code {
        ReplyCode::AccessRefused | ReplyCode::NotAllowed => Refusal::AccessRefused,
        ReplyCode::NotFound => Refusal::Missing(exception.text),
        ReplyCode::ResourceError => Refusal::Unavailable(exception.text),
        _ => Refusal::bad(exception.text),
    }
}

/// The default exchange's name in paths.
pub fn exchange_name(name: &str) -> &str {
    match name {
        "amq.default" => "",
        name => name,
    }
}

/// # Errors
/// AMQP has no longer ones (§4.2.5.3).
pub fn check_short(name: &str) -> Result<(), Refusal> {
    match name.len() {
        0..=255 => Ok(()),
        _ => Err(Refusal::bad("a name has at most 255 bytes")),
    }
}

fn queue_exists(hub: &Hub, vhost: VirtualHostKey, name: &str) -> bool {
    hub.core.find_queue(vhost, name.as_bytes()).is_some()
}

fn exchange_exists(hub: &Hub, vhost: VirtualHostKey, name: &str) -> bool {
    hub.core.exchange(vhost, name.as_bytes()).is_ok()
}

/// Whether what the path names is there, and the user may come in where it would be.
fn exists(
    call: &Call<'_>,
    vhost: &str,
    name: &str,
    look: fn(&Hub, VirtualHostKey, &str) -> bool,
) -> Result<bool, Refusal> {
    check_short(name)?;
    let (user, vhost, name) = (call.user.clone(), vhost.to_owned(), name.to_owned());
    call.ask(move |hub| {
        let key = check_entry(hub, &user, &vhost)?;
        Ok(look(hub, key, &name))
    })?
}

fn put_queue(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let existed = exists(call, vhost, name, queue_exists)?;
    if name.is_empty() {
        return Err(Refusal::bad("a queue's name cannot be empty"));
    }
    let input = Input::of(call)?;
    let durable = input.flag("durable")?.unwrap_or(true);
    let auto_delete = input.flag("auto_delete")?.unwrap_or(false);
    let arguments = arguments_of(&input.object("arguments")?)?;
    let name = name.to_owned();
    as_user(call, vhost, refusal, move |guest| {
        guest.declare_queue(name.as_bytes(), durable, auto_delete, arguments.view())
    })?;
    Ok(Response::empty(if existed { 204 } else { 201 }))
}

fn delete_queue(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let is_there = exists(call, vhost, name, queue_exists)?;
    is_there.then_some(()).ok_or(Refusal::NotFound)?;
    let is_asked = |name| call.request.parameter(name) == Some("true");
    let (if_unused, if_empty) = (is_asked("if-unused"), is_asked("if-empty"));
    let name = name.to_owned();
    as_user(call, vhost, refusal, move |guest| {
        guest.delete_queue(name.as_bytes(), if_unused, if_empty)
    })?;
    Ok(Response::empty(204))
}

fn purge_queue(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let is_there = exists(call, vhost, name, queue_exists)?;
    is_there.then_some(()).ok_or(Refusal::NotFound)?;
    let name = name.to_owned();
    as_user(call, vhost, refusal, move |guest| {
        guest.purge_queue(name.as_bytes())
    })?;
    Ok(Response::empty(204))
}

/// Mirrors are synchronized where there are any: here there is nothing to do.
fn act_on_queue(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let is_there = exists(call, vhost, name, queue_exists)?;
    is_there.then_some(()).ok_or(Refusal::NotFound)?;
    match Input::of(call)?.required_text("action")? {
        "sync" | "cancel_sync" => Ok(Response::empty(204)),
        other => Err(Refusal::said(json!(["unknown", other]))),
    }
}

fn put_exchange(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let name = exchange_name(name).to_owned();
    let existed = exists(call, vhost, &name, exchange_exists)?;
    let input = Input::of(call)?;
    let kind = input.text("type")?.unwrap_or("direct").to_owned();
    check_short(&kind)?;
    let durable = input.flag("durable")?.unwrap_or(true);
    let auto_delete = input.flag("auto_delete")?.unwrap_or(false);
    let internal = input.flag("internal")?.unwrap_or(false);
    let arguments = arguments_of(&input.object("arguments")?)?;
    as_user(call, vhost, refusal, move |guest| {
        guest.declare_exchange(&exchange::Declare {
            exchange: name.as_bytes(),
            kind: kind.as_bytes(),
            durable,
            auto_delete,
            internal,
            arguments: arguments.view(),
            ..exchange::Declare::default()
        })
    })?;
    Ok(Response::empty(if existed { 204 } else { 201 }))
}

fn delete_exchange(call: &Call<'_>, vhost: &str, name: &str) -> Answer {
    let name = exchange_name(name).to_owned();
    let is_there = exists(call, vhost, &name, exchange_exists)?;
    is_there.then_some(()).ok_or(Refusal::NotFound)?;
    let if_unused = call.request.parameter("if-unused") == Some("true");
    as_user(call, vhost, refusal, move |guest| {
        guest.delete_exchange(name.as_bytes(), if_unused)
    })?;
    Ok(Response::empty(204))
}

/// A binding as the path and the body name it.
struct WantedBinding {
    source: String,
    destination: String,
    to_exchange: bool,
    routing_key: Vec<u8>,
    arguments: OwnedTable,
}

impl WantedBinding {
    fn view(&self) -> GuestBinding<'_> {
        GuestBinding {
            source: self.source.as_bytes(),
            destination: self.destination.as_bytes(),
            to_exchange: self.to_exchange,
            routing_key: &self.routing_key,
            arguments: self.arguments.view(),
        }
    }
}

fn bind(call: &Call<'_>, vhost: &str, source: &str, to: &str, to_exchange: bool) -> Answer {
    let input = Input::of(call)?;
    let routing_key = input.text("routing_key")?.unwrap_or_default();
    for name in [source, to, routing_key] {
        check_short(name)?;
    }
    let wanted = WantedBinding {
        source: exchange_name(source).to_owned(),
        destination: destination_name(to, to_exchange).to_owned(),
        to_exchange,
        routing_key: routing_key.as_bytes().to_vec(),
        arguments: arguments_of(&input.object("arguments")?)?,
    };
    if !to_exchange && to.is_empty() {
        return Err(Refusal::NotFound);
    }
    let key = properties_key(&wanted.routing_key, wanted.arguments.view());
    as_user(call, vhost, refusal, move |guest| {
        guest.bind(&wanted.view())
    })?;
    let location = format!("{}/{}", quote(to.as_bytes()), quoted_key(&key));
    Ok(Response::empty(201).with("location", location))
}

fn unbind(
    call: &Call<'_>,
    vhost: &str,
    source: &str,
    to: &str,
    to_exchange: bool,
    key: &str,
) -> Answer {
    let source = exchange_name(source).to_owned();
    let destination = destination_name(to, to_exchange).to_owned();
    let (host, user, key) = (vhost.to_owned(), call.user.clone(), key.to_owned());
    let wanted = call.ask(move |hub| {
        let virtual_host = check_entry(hub, &user, &host)?;
        let found = find_binding(
            hub,
            virtual_host,
            (&source, &destination, to_exchange),
            &key,
        );
        let (routing_key, arguments) = found.ok_or(Refusal::NotFound)?;
        Ok::<_, Refusal>(WantedBinding {
            source,
            destination,
            to_exchange,
            routing_key,
            arguments,
        })
    })??;
    as_user(call, vhost, refusal, move |guest| {
        guest.unbind(&wanted.view())
    })?;
    Ok(Response::empty(204))
}

fn find_binding(
    hub: &Hub,
    virtual_host: VirtualHostKey,
    (source, destination, to_exchange): (&str, &str, bool),
    key: &str,
) -> Option<(Vec<u8>, OwnedTable)> {
    let core = &hub.core;
    let source = core.exchange(virtual_host, source.as_bytes()).ok()?;
    let destination = match to_exchange {
        true => Destination::Exchange(core.exchange(virtual_host, destination.as_bytes()).ok()?),
        false => {
            let queue = core.find_queue(virtual_host, destination.as_bytes())?;
            Destination::Queue(queue)
        }
    };
    let mut bindings = core.bindings_between(source, destination).into_iter();
    let found = bindings.find(|binding| {
        let own = properties_key(&binding.routing_key, binding.arguments.view());
        // Not every client quotes a key that is quoted already.
        own == key || own == quote(key.as_bytes())
    })?;
    Some((found.routing_key.to_vec(), found.arguments.clone()))
}

fn destination_name(name: &str, is_exchange: bool) -> &str {
    match is_exchange {
        true => exchange_name(name),
        false => name,
    }
}

/// Once more, as a segment of a path; its `~` stays as it is.
fn quoted_key(key: &str) -> String {
    let parts = key.split('~').map(|part| quote(part.as_bytes()));
    parts.collect::<Vec<_>>().join("~")
}
