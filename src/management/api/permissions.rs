//! `/permissions` and `/topic-permissions`, and those of one user or one virtual host.

use crate::broker::access::Refused;
use crate::management::call::{Call, Right};
use crate::management::http::{Method, Response};
use crate::management::input::Input;
use crate::management::listing::{list, one};
use crate::management::{Answer, Refusal};
use crate::protocol::Hub;
use crate::protocol::order::{ListedPermissions, ListedTopicPermissions, Order};

/// Which of all.
#[derive(Clone, Debug, Default)]
struct Filter {
    user: Option<String>,
    vhost: Option<String>,
    exchange: Option<String>,
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    let user = |name: &str| Filter {
        user: Some(name.to_owned()),
        ..Filter::default()
    };
    let vhost = |name: &str| Filter {
        vhost: Some(name.to_owned()),
        ..Filter::default()
    };
    Some(match path {
        ["permissions"] => permissions(call, Filter::default()),
        ["users", name, "permissions"] => permissions(call, user(name)),
        ["vhosts", name, "permissions"] => permissions(call, vhost(name)),
        ["permissions", vhost, user] => permission(call, vhost, user),
        ["topic-permissions"] => topics(call, Filter::default()),
        ["users", name, "topic-permissions"] => topics(call, user(name)),
        ["vhosts", name, "topic-permissions"] => topics(call, vhost(name)),
        ["topic-permissions", vhost, user] => topic(call, vhost, user, None),
        ["topic-permissions", vhost, user, exchange] => topic(call, vhost, user, Some(exchange)),
        _ => return None,
    })
}

impl Filter {
    /// # Errors
    /// What it names is not there.
    fn check(&self, hub: &Hub) -> Result<(), Refusal> {
        let has_user = |name: &String| hub.core.user(name.as_bytes()).is_some();
        let has_host = |name: &String| hub.core.virtual_host(name.as_bytes()).is_ok();
        let is_there =
            self.user.as_ref().is_none_or(has_user) && self.vhost.as_ref().is_none_or(has_host);
        is_there.then_some(()).ok_or(Refusal::NotFound)
    }

    fn takes(&self, user: &str, vhost: &str) -> bool {
        self.user.as_deref().is_none_or(|wanted| wanted == user)
            && self.vhost.as_deref().is_none_or(|wanted| wanted == vhost)
    }

    fn permissions(&self, hub: &Hub) -> Vec<ListedPermissions> {
        let shown = hub.listed_permissions().into_iter();
        shown.filter(|p| self.takes(&p.user, &p.vhost)).collect()
    }

    fn topics(&self, hub: &Hub) -> Vec<ListedTopicPermissions> {
        let shown = hub.listed_topic_permissions().into_iter();
        let exchange = |name: &str| self.exchange.as_deref().is_none_or(|wanted| wanted == name);
        shown
            .filter(|p| self.takes(&p.user, &p.vhost) && exchange(&p.exchange))
            .collect()
    }
}

fn permissions(call: &Call<'_>, filter: Filter) -> Answer {
    call.require(Right::Administrator)?;
    call.only_get()?;
    let shown = call.ask(move |hub| {
        filter.check(hub)?;
        Ok::<_, Refusal>(filter.permissions(hub))
    })??;
    list(call, shown)
}

fn permission(call: &Call<'_>, vhost: &str, user: &str) -> Answer {
    call.require(Right::Administrator)?;
    let filter = Filter {
        user: Some(user.to_owned()),
        vhost: Some(vhost.to_owned()),
        exchange: None,
    };
    let (user, vhost) = (user.to_owned(), vhost.to_owned());
    match call.method() {
        Method::Get => {
            let shown = call.ask(move |hub| filter.permissions(hub).pop())?;
            one(call, &shown.ok_or(Refusal::NotFound)?)
        }
        Method::Put => {
            let input = Input::of(call)?;
            input.require(&["configure", "write", "read"])?;
            let order = Order::SetPermissions {
                user,
                vhost,
                configure: input.required_text("configure")?.to_owned(),
                write: input.required_text("write")?.to_owned(),
                read: input.required_text("read")?.to_owned(),
            };
            let is_new = call.ask(move |hub| {
                let is_new = filter.permissions(hub).is_empty();
                hub.obey(order).map(|_| is_new).map_err(refusal)
            })??;
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            call.ask(move |hub| {
                let is_there = !filter.permissions(hub).is_empty();
                is_there.then_some(()).ok_or(Refusal::NotFound)?;
                hub.obey(Order::ClearPermissions { user, vhost })?;
                Ok::<_, Refusal>(())
            })??;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

fn topics(call: &Call<'_>, filter: Filter) -> Answer {
    call.require(Right::Administrator)?;
    call.only_get()?;
    let shown = call.ask(move |hub| {
        filter.check(hub)?;
        Ok::<_, Refusal>(filter.topics(hub))
    })??;
    list(call, shown)
}

fn topic(call: &Call<'_>, vhost: &str, user: &str, exchange: Option<&str>) -> Answer {
    call.require(Right::Administrator)?;
    let filter = Filter {
        user: Some(user.to_owned()),
        vhost: Some(vhost.to_owned()),
        exchange: exchange.map(str::to_owned),
    };
    let (user, vhost) = (user.to_owned(), vhost.to_owned());
    match call.method() {
        Method::Get => {
            let shown = call.ask(move |hub| filter.topics(hub))?;
            if shown.is_empty() {
                return Err(Refusal::NotFound);
            }
            list(call, shown)
        }
        Method::Put => {
            let input = Input::of(call)?;
            input.require(&["exchange", "write", "read"])?;
            let exchange = input.required_text("exchange")?.to_owned();
            let order = Order::SetTopicPermissions {
                user,
                vhost,
                exchange: exchange.clone(),
                write: input.required_text("write")?.to_owned(),
                read: input.required_text("read")?.to_owned(),
            };
            let filter = Filter {
                exchange: Some(exchange),
                ..filter
            };
            let is_new = call.ask(move |hub| {
                let is_new = filter.topics(hub).is_empty();
                hub.obey(order).map(|_| is_new).map_err(refusal)
            })??;
            Ok(Response::empty(if is_new { 201 } else { 204 }))
        }
        Method::Delete => {
            let exchange = filter.exchange.clone();
            call.ask(move |hub| {
                let is_there = !filter.topics(hub).is_empty();
                is_there.then_some(()).ok_or(Refusal::NotFound)?;
                let order = Order::ClearTopicPermissions {
                    user,
                    vhost,
                    exchange,
                };
                hub.obey(order)?;
                Ok::<_, Refusal>(())
            })??;
            Ok(Response::empty(204))
        }
        _ => call.not_allowed("GET, PUT, DELETE, HEAD, OPTIONS"),
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NoSuchUser(_) | Refused::NoSuchVirtualHost(_) => {
            Refusal::bad("vhost_or_user_not_found")
        }
        other => other.into(),
    }
}
