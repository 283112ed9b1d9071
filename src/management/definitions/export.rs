//! All that is there, as a file has it: found out piece by piece, and then sorted.

use serde_json::{Map, Value, json};

use crate::broker::policy::PolicyKind;
use crate::broker::{DeclaredBinding, DeclaredExchange, DeclaredQueue, Place};
use crate::management::api::parameters::{all_globals, parameters_of};
use crate::management::api::policies::policies_of;
use crate::management::api::users::ShownUser;
use crate::management::api::virtual_hosts::shown_metadata;
use crate::management::terms::json_of_table;
use crate::protocol::Hub;

/// A file in the making.
#[derive(Debug, Default)]
pub struct Export {
    /// `None`: all.
    only: Option<String>,
    sections: Map<String, Value>,
    queues: Vec<DeclaredQueue>,
    exchanges: Vec<DeclaredExchange>,
    bindings: Vec<DeclaredBinding>,
}

/// What is to be found out next; each by one look at the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Settings,
    Queues(Place),
    Exchanges(Place),
    Bindings(Place),
}

impl Export {
    /// Of the whole broker, or of one virtual host.
    pub fn of(only: Option<&str>) -> Export {
        Export {
            only: only.map(str::to_owned),
            ..Export::default()
        }
    }

    /// Finds out a piece, and says which is next.
    pub fn take(&mut self, hub: &Hub, piece: Piece) -> Option<Piece> {
        match piece {
            Piece::Settings => {
                self.take_settings(hub);
                Some(Piece::Queues(Place::default()))
            }
            Piece::Queues(from) => {
                let (found, next) = hub.core.declared_queues(from, PIECE_MAX);
                self.queues.extend(found);
                let then = Piece::Exchanges(Place::default());
                Some(next.map_or(then, Piece::Queues))
            }
            Piece::Exchanges(from) => {
                let (found, next) = hub.core.declared_exchanges(from, PIECE_MAX);
                self.exchanges.extend(found);
                let then = Piece::Bindings(Place::default());
                Some(next.map_or(then, Piece::Exchanges))
            }
            Piece::Bindings(from) => {
                let (found, next) = hub.core.declared_bindings(from, PIECE_MAX);
                self.bindings.extend(found);
                next.map(Piece::Bindings)
            }
        }
    }

    /// The file. What goes with a connection is not in it, nor what every virtual host is born with.
    pub fn finish(mut self) -> Value {
        let only = self.only.take();
        let is_wanted = |vhost: &str| only.as_deref().is_none_or(|only| only == vhost);
        self.queues
            .retain(|queue| !queue.exclusive && is_wanted(&queue.virtual_host));
        self.queues
            .sort_by(|a, b| (&a.virtual_host, &a.name).cmp(&(&b.virtual_host, &b.name)));
        self.exchanges.retain(|exchange| {
            let is_own = exchange.name.is_empty() || exchange.name.starts_with("amq.");
            !is_own && is_wanted(&exchange.virtual_host)
        });
        self.exchanges
            .sort_by(|a, b| (&a.virtual_host, &a.name).cmp(&(&b.virtual_host, &b.name)));
        self.bindings
            .retain(|binding| !binding.source.is_empty() && is_wanted(&binding.virtual_host));
        self.bindings.sort_by(|a, b| {
            let key = |binding: &DeclaredBinding| {
                (
                    binding.virtual_host.clone(),
                    binding.source.clone(),
                    binding.to_exchange,
                    binding.destination.clone(),
                    binding.routing_key.clone(),
                    binding.arguments.view().as_bytes().to_vec(),
                )
            };
            key(a).cmp(&key(b))
        });
        let mut file = self.sections;
        let queues = self.queues.iter().map(shown_queue);
        file.insert("queues".to_owned(), queues.collect());
        let exchanges = self.exchanges.iter().map(shown_exchange);
        file.insert("exchanges".to_owned(), exchanges.collect());
        let bindings = self.bindings.iter().map(shown_binding);
        file.insert("bindings".to_owned(), bindings.collect());
        if only.is_some() {
            for section in ["queues", "exchanges", "bindings", "policies", "parameters"] {
                if let Some(Value::Array(entries)) = file.get_mut(section) {
                    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                        entry.remove("vhost");
                    }
                }
            }
        }
        Value::Object(file)
    }

    fn take_settings(&mut self, hub: &Hub) {
        let mut file = json!({
            "rabbit_version": hub.config.server.version,
            "rabbitmq_version": hub.config.server.version,
            "product_name": "leveret",
            "product_version": env!("CARGO_PKG_VERSION"),
        });
        let hosts = hub.core.virtual_hosts();
        let wanted = hosts.iter().filter(|(_, host)| {
            let mut only = self.only.iter();
            only.all(|only| *only.as_bytes() == *host.name)
        });
        let wanted: Vec<_> = wanted.collect();
        let mut policies = Vec::new();
        let mut parameters = Vec::new();
        for (_, host) in &wanted {
            let name = host.name.to_string();
            policies.extend(policies_of(hub, PolicyKind::User, &name));
            parameters.extend(parameters_of(hub, &name));
        }
        file["policies"] = json!(policies);
        file["parameters"] = json!(parameters);
        match wanted.first() {
            Some((_, host)) if self.only.is_some() => {
                file["rabbitmq_definition_format"] = json!("single_virtual_host");
                file["original_vhost_name"] = json!(host.name.to_string());
                file["metadata"] = shown_metadata(&host.metadata);
                file["description"] = json!(host.metadata.description);
            }
            _ => take_globals(hub, &mut file),
        }
        if let Value::Object(file) = file {
            self.sections = file;
        }
    }
}

fn take_globals(hub: &Hub, file: &mut Value) {
    file["rabbitmq_definition_format"] = json!("cluster");
    let globals = all_globals(hub);
    let name = globals.iter().find(|global| global.name == "cluster_name");
    let name = name.and_then(|global| global.value.as_str());
    file["original_cluster_name"] = json!(name.unwrap_or(&hub.config.server.node_name));
    file["global_parameters"] = json!(globals);
    let users = hub.core.users();
    let users = users.map(|(name, user)| ShownUser::new(&name.to_string(), user));
    file["users"] = json!(users.collect::<Vec<_>>());
    let hosts = hub.core.virtual_hosts().into_iter();
    let hosts = hosts.map(|(_, host)| {
        let mut shown = json!({
            "name": host.name.to_string(),
            "description": host.metadata.description,
            "tags": host.metadata.tags,
            "metadata": shown_metadata(&host.metadata),
        });
        if let Some(kind) = &host.metadata.default_queue_type {
            shown["default_queue_type"] = json!(kind);
        }
        shown
    });
    file["vhosts"] = hosts.collect();
    file["permissions"] = json!(hub.listed_permissions());
    file["topic_permissions"] = json!(hub.listed_topic_permissions());
}

fn shown_queue(queue: &DeclaredQueue) -> Value {
    let arguments = json_of_table(queue.arguments.view());
    let kind = arguments.get("x-queue-type").cloned();
    json!({
        "name": queue.name,
        "vhost": queue.virtual_host,
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "type": kind.unwrap_or_else(|| json!("classic")),
        "arguments": arguments,
    })
}

fn shown_exchange(exchange: &DeclaredExchange) -> Value {
    json!({
        "name": exchange.name,
        "vhost": exchange.virtual_host,
        "type": exchange.kind,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": json_of_table(exchange.arguments.view()),
    })
}

fn shown_binding(binding: &DeclaredBinding) -> Value {
    json!({
        "source": binding.source,
        "vhost": binding.virtual_host,
        "destination": binding.destination,
        "destination_type": if binding.to_exchange { "exchange" } else { "queue" },
        "routing_key": binding.routing_key,
        "arguments": json_of_table(binding.arguments.view()),
    })
}

/// Queues, exchanges or bindings looked at in one go: well under a millisecond.
const PIECE_MAX: usize = 500;
