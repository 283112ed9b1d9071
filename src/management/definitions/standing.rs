//! How a definition stands to what is there.

use super::items::Item;
use crate::broker::access::Permissions;
use crate::broker::policy::{Policy, PolicyKind};
use crate::broker::topology::binding::Destination;
use crate::broker::{Metadata, VirtualHostKey};
use crate::management::api::parameters::current_parameter;
use crate::management::terms::json_of;
use crate::protocol::Hub;
use crate::protocol::order::Secret;
use crate::wire::amqp::{OwnedTable, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    /// There is one of that name that is not like that, and will be.
    Other,
    /// The same, and it stays as it is (RabbitMQ): it would have to be deleted first.
    Kept,
    Same,
    /// What it connects is not there.
    Loose,
}

/// In a virtual host that is not there everything is new.
pub(super) fn standing(hub: &Hub, item: &Item) -> Standing {
    let host = item.virtual_host().map(|name| host(hub, name));
    let Some(host) = host else {
        return standing_of_globals(hub, item);
    };
    let Some(host) = host else {
        return Standing::New;
    };
    standing_in(hub, host, item)
}

fn standing_of_globals(hub: &Hub, item: &Item) -> Standing {
    match item {
        Item::User { wanted, limits } => {
            let Some(user) = hub.core.user(wanted.name.as_bytes()) else {
                return Standing::New;
            };
            let has_password = match &wanted.password {
                None => user.password.is_none(),
                Some(Secret::Hashed(hash)) => user.password == *hash,
                Some(Secret::Plain(password)) => user.password.fits(password.as_bytes()),
            };
            let tags = user.tags.iter().map(|tag| tag.as_bytes());
            let has_tags = tags.eq(wanted.tags.iter().map(|tag| tag.as_bytes()));
            let mut limits = limits.iter();
            let has_limits = limits.all(|(limit, value)| user.limits.get(*limit) == Some(*value));
            same_if(has_password && has_tags && has_limits)
        }
        Item::Vhost { name, wanted } => match host(hub, name) {
            None => Standing::New,
            Some(key) => {
                let metadata = metadata(hub, key);
                let is_same = wanted.over(&metadata) == metadata
                    && wanted
                        .tracing
                        .is_none_or(|on| on == hub.core.is_traced(key));
                same_if(is_same)
            }
        },
        Item::Global { name, value } => match hub.core.global_parameter(name.as_bytes()) {
            None => Standing::New,
            Some(current) => same_if(json_of(current.view()) == *value),
        },
        _ => Standing::New,
    }
}

fn standing_in(hub: &Hub, host: VirtualHostKey, item: &Item) -> Standing {
    match item {
        Item::Permissions { user, vhost, rules } => {
            let current = hub.core.permissions(user.as_bytes(), vhost.as_bytes());
            same_or_new(current.map(|current: &Permissions| current.texts() == *rules))
        }
        Item::TopicPermissions {
            user,
            vhost,
            exchange,
            rules,
        } => {
            let mut all = hub.core.all_topic_permissions();
            let current = all.find(|(a_user, a_host, an_exchange, _)| {
                a_user.as_bytes() == user.as_bytes()
                    && a_host.as_bytes() == vhost.as_bytes()
                    && an_exchange.as_bytes() == exchange.as_bytes()
            });
            same_or_new(current.map(|(.., current)| current.texts() == *rules))
        }
        Item::Parameter {
            component,
            vhost,
            name,
            value,
        } => {
            let current = current_parameter(hub, vhost, component, name);
            same_or_new(current.map(|current| current == *value))
        }
        Item::Policy { name, settings, .. } => {
            let kind = PolicyKind::User;
            let current = hub.core.policy(kind, host, name.as_bytes());
            let wanted = Policy::from_table(kind, name.as_bytes(), settings.view());
            same_or_new(current.map(|current| {
                wanted.is_ok_and(|wanted| {
                    let (one, other) = (current.to_table(), wanted.to_table());
                    one.view().same_entries(&other.view())
                })
            }))
        }
        Item::Queue { .. } | Item::Exchange { .. } => standing_of_declared(hub, host, item),
        Item::Binding {
            source,
            destination,
            to_exchange,
            routing_key,
            arguments,
            ..
        } => {
            let ends = ends(hub, host, source, destination, *to_exchange);
            let Some((source, destination)) = ends else {
                return Standing::Loose;
            };
            let mut bindings = hub.core.bindings_between(source, destination).into_iter();
            let is_there = bindings.any(|binding| {
                *binding.routing_key == *routing_key.as_bytes()
                    && same(&binding.arguments, arguments.view())
            });
            if is_there {
                Standing::Same
            } else {
                Standing::New
            }
        }
        _ => Standing::New,
    }
}

fn standing_of_declared(hub: &Hub, host: VirtualHostKey, item: &Item) -> Standing {
    let is_same = match item {
        Item::Queue {
            name,
            durable,
            auto_delete,
            arguments,
            ..
        } => {
            let key = hub.core.find_queue(host, name.as_bytes());
            let current = key.and_then(|key| hub.core.declared_queue(key));
            current.map(|current| {
                (current.durable, current.auto_delete) == (*durable, *auto_delete)
                    && same(&current.arguments, arguments.view())
            })
        }
        Item::Exchange {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            ..
        } => {
            let key = hub.core.exchange(host, name.as_bytes()).ok();
            let current = key.and_then(|key| hub.core.declared_exchange(key));
            current.map(|current| {
                current.kind == kind
                    && (current.durable, current.auto_delete) == (*durable, *auto_delete)
                    && current.internal == *internal
                    && same(&current.arguments, arguments.view())
            })
        }
        _ => None,
    };
    match is_same {
        None => Standing::New,
        Some(true) => Standing::Same,
        Some(false) => Standing::Kept,
    }
}

fn ends(
    hub: &Hub,
    host: VirtualHostKey,
    source: &str,
    destination: &str,
    to_exchange: bool,
) -> Option<(crate::broker::topology::exchange::ExchangeKey, Destination)> {
    let source = hub.core.exchange(host, source.as_bytes()).ok()?;
    let name = destination.as_bytes();
    let destination = match to_exchange {
        true => Destination::Exchange(hub.core.exchange(host, name).ok()?),
        false => Destination::Queue(hub.core.find_queue(host, name)?),
    };
    Some((source, destination))
}

pub(super) fn host(hub: &Hub, name: &str) -> Option<VirtualHostKey> {
    hub.core.virtual_host(name.as_bytes()).ok()
}

fn metadata(hub: &Hub, key: VirtualHostKey) -> Metadata {
    let hosts = hub.core.virtual_hosts();
    let found = hosts.into_iter().find(|(other, _)| *other == key);
    found.map_or_else(Metadata::default, |(_, host)| host.metadata.clone())
}

fn same(current: &OwnedTable, wanted: Table<'_>) -> bool {
    current.view().same_entries(&wanted)
}

fn same_if(is_same: bool) -> Standing {
    if is_same {
        Standing::Same
    } else {
        Standing::Other
    }
}

fn same_or_new(is_same: Option<bool>) -> Standing {
    is_same.map_or(Standing::New, same_if)
}
