//! Setting what a file defines.

use super::items::{Definitions, Item};
use super::standing::{Standing, host, standing};
use crate::broker::policy::PolicyKind;
use crate::broker::topology::binding::BindRequest;
use crate::broker::topology::exchange::ExchangeDeclaration;
use crate::broker::topology::queue::QueueDeclaration;
use crate::broker::{ConnectionKey, VirtualHostKey};
use crate::management::Refusal;
use crate::management::api::parameters::{set_global, set_parameter};
use crate::protocol::Hub;
use crate::protocol::order::Order;

/// What came of it.
#[derive(Debug, Default)]
pub struct Imported {
    /// `add queue 'q' in vhost '/'`
    pub changes: Vec<String>,
    /// What stays as it is although the file says otherwise, or means nothing here.
    pub remarks: Vec<String>,
    /// What cannot be, and why.
    pub failures: Vec<String>,
}

impl Imported {
    pub fn add(&mut self, other: Imported) {
        self.changes.extend(other.changes);
        self.remarks.extend(other.remarks);
        self.failures.extend(other.failures);
    }

    /// The first failures, and how many there were.
    pub fn failure(&self) -> Option<String> {
        let first = self
            .failures
            .get(..self.failures.len().min(SHOWN_FAILURES_MAX))?;
        let left = self.failures.len() - first.len();
        match (first.is_empty(), left) {
            (true, _) => None,
            (false, 0) => Some(first.join("; ")),
            (false, left) => Some(format!("{}; and {left} more", first.join("; "))),
        }
    }
}

/// Sets these, or with `is_trial` only says what it would. A failure keeps nothing else from being set.
pub fn import(hub: &mut Hub, items: Vec<Item>, is_trial: bool) -> Imported {
    let mut imported = Imported::default();
    for item in items {
        let what = item.to_string();
        let verb = match standing(hub, &item) {
            Standing::New => "add",
            Standing::Other => "change",
            Standing::Same => continue,
            Standing::Kept => {
                imported.remarks.push(format!(
                    "{what} is there with other properties, and was kept"
                ));
                continue;
            }
            // In a trial, what is to be added is not there.
            Standing::Loose if is_trial => "add",
            Standing::Loose => {
                imported
                    .remarks
                    .push(format!("{what} was left out: one of its ends is missing"));
                continue;
            }
        };
        if !is_trial && let Err(refusal) = set(hub, item) {
            imported
                .failures
                .push(format!("{what}: {}", refusal.text()));
            continue;
        }
        imported.changes.push(format!("{verb} {what}"));
    }
    imported
}

/// Sets what a file defines in a broker that has just been started. If it knew nobody before, its first
/// user and virtual host go unless the file has them, too, as RabbitMQ does not make them then; but there
/// they go even if the file has no others.
///
/// # Errors
/// What cannot be.
pub fn import_at_start(hub: &mut Hub, definitions: Definitions) -> Result<Imported, String> {
    let has_user = |name: &str| {
        let mut items = definitions.items.iter();
        items.any(|item| matches!(item, Item::User { wanted, .. } if wanted.name == name))
    };
    let has_host = |wanted: &str| {
        let mut items = definitions.items.iter();
        items.any(|item| matches!(item, Item::Vhost { name, .. } if name == wanted))
    };
    let mut items = definitions.items.iter();
    let brings_users = items.any(|item| matches!(item, Item::User { .. }));
    let mut items = definitions.items.iter();
    let brings_hosts = items.any(|item| matches!(item, Item::Vhost { .. }));
    let access = hub.config.access.clone();
    let drops_user = hub.is_new() && brings_users && !has_user(&access.default_user);
    let drops_host = hub.is_new() && brings_hosts && !has_host(&access.default_virtual_host);
    let mut imported = import(hub, definitions.items, false);
    imported.remarks.extend(definitions.remarks);
    if let Some(failure) = imported.failure() {
        return Err(failure);
    }
    let mut orders = Vec::new();
    if drops_user {
        let name = access.default_user;
        orders.push(Order::DeleteUser { name });
    }
    if drops_host {
        let name = access.default_virtual_host;
        orders.push(Order::DeleteVhost { name });
    }
    for order in orders {
        hub.obey(order).map_err(|refused| refused.to_string())?;
    }
    Ok(imported)
}

fn set(hub: &mut Hub, item: Item) -> Result<(), Refusal> {
    if let Some(vhost) = item.virtual_host()
        && host(hub, vhost).is_none()
    {
        return Err(Refusal::bad(format!("no_such_vhost '{vhost}'")));
    }
    match item {
        Item::User { wanted, limits } => {
            let name = wanted.name.clone();
            wanted.put(hub)?;
            if !limits.is_empty() {
                hub.obey(Order::SetUserLimits { name, limits })?;
            }
        }
        Item::Vhost { name, wanted } => drop(wanted.put(&name, hub)?),
        Item::Permissions { user, vhost, rules } => {
            let [configure, write, read] = rules;
            hub.obey(Order::SetPermissions {
                user,
                vhost,
                configure,
                write,
                read,
            })?;
        }
        Item::TopicPermissions {
            user,
            vhost,
            exchange,
            rules,
        } => {
            let [write, read] = rules;
            hub.obey(Order::SetTopicPermissions {
                user,
                vhost,
                exchange,
                write,
                read,
            })?;
        }
        Item::Parameter {
            component,
            vhost,
            name,
            value,
        } => set_parameter(hub, &component, &vhost, &name, &value)?,
        Item::Global { name, value } => drop(set_global(hub, &name, &value)?),
        Item::Policy {
            vhost,
            name,
            settings,
        } => {
            let key = hub.core.virtual_host(vhost.as_bytes())?;
            let (kind, name) = (PolicyKind::User, name.as_bytes());
            hub.core.set_policy(kind, key, name, settings.view())?;
        }
        declared => declare(hub, &declared)?,
    }
    Ok(())
}

fn declare(hub: &mut Hub, item: &Item) -> Result<(), Refusal> {
    let vhost = item.virtual_host().unwrap_or_default();
    let virtual_host: VirtualHostKey = hub.core.virtual_host(vhost.as_bytes())?;
    match item {
        Item::Queue {
            name,
            durable,
            auto_delete,
            arguments,
            ..
        } => {
            hub.core.declare_queue(&QueueDeclaration {
                virtual_host,
                connection: ConnectionKey::NONE,
                name: name.as_bytes(),
                // Some file has one that a broker named.
                generated: true,
                durable: *durable,
                exclusive: false,
                auto_delete: *auto_delete,
                arguments: arguments.view(),
            })?;
        }
        Item::Exchange {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            ..
        } => hub.core.declare_exchange(&ExchangeDeclaration {
            virtual_host,
            name: name.as_bytes(),
            kind: kind.as_bytes(),
            durable: *durable,
            auto_delete: *auto_delete,
            internal: *internal,
            arguments: arguments.view(),
        })?,
        Item::Binding {
            source,
            destination,
            to_exchange,
            routing_key,
            arguments,
            ..
        } => {
            let request = BindRequest {
                virtual_host,
                source: source.as_bytes(),
                routing_key: routing_key.as_bytes(),
                arguments: arguments.view(),
            };
            let destination = destination.as_bytes();
            match to_exchange {
                true => hub.core.bind_exchange(&request, destination)?,
                false => {
                    let nobody = ConnectionKey::NONE;
                    hub.core.bind_queue(&request, nobody, destination)?;
                }
            }
            hub.core.replay(&mut hub.outboxes);
        }
        _ => {}
    }
    Ok(())
}

/// In the text of an answer.
const SHOWN_FAILURES_MAX: usize = 10;
