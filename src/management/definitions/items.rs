//! One thing that a file defines, read from JSON.

use std::fmt;

use serde_json::{Map, Value};

use crate::broker::access::Limit;
use crate::management::Refusal;
use crate::management::api::policies::wanted_policy;
use crate::management::api::users::WantedUser;
use crate::management::api::virtual_hosts::WantedVhost;
use crate::management::input::Input;
use crate::management::terms::arguments_of;
use crate::wire::amqp::OwnedTable;

/// What a file defines, in the order in which it is to be set.
#[derive(Debug, Default)]
pub struct Definitions {
    pub items: Vec<Item>,
    /// What in the file means nothing here.
    pub remarks: Vec<String>,
}

/// One of them. All of it can cross threads.
#[derive(Clone, Debug)]
pub enum Item {
    User {
        wanted: WantedUser,
        limits: Vec<(Limit, i64)>,
    },
    Vhost {
        name: String,
        wanted: WantedVhost,
    },
    Permissions {
        user: String,
        vhost: String,
        /// Configure, write, read.
        rules: [String; 3],
    },
    TopicPermissions {
        user: String,
        vhost: String,
        exchange: String,
        /// Write, read.
        rules: [String; 2],
    },
    Parameter {
        component: String,
        vhost: String,
        name: String,
        value: Value,
    },
    Global {
        name: String,
        value: Value,
    },
    Policy {
        vhost: String,
        name: String,
        settings: OwnedTable,
    },
    Queue {
        vhost: String,
        name: String,
        durable: bool,
        auto_delete: bool,
        arguments: OwnedTable,
    },
    Exchange {
        vhost: String,
        name: String,
        kind: String,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: OwnedTable,
    },
    Binding {
        vhost: String,
        source: String,
        destination: String,
        to_exchange: bool,
        routing_key: String,
        arguments: OwnedTable,
    },
}

impl Definitions {
    /// Those of another file, behind these.
    pub fn add(&mut self, other: Definitions) {
        self.items.extend(other.items);
        self.remarks.extend(other.remarks);
        // Stable, so that among those of a kind the files' order holds.
        self.items.sort_by_key(Item::rank);
    }

    /// Reads a file. With `only` it is one for a virtual host: all in it goes there, and what is not of a
    /// virtual host is left out.
    ///
    /// # Errors
    /// The text is no JSON object, or something in it is not of the shape that it should be.
    pub fn read(text: &[u8], only: Option<&str>) -> Result<Definitions, Refusal> {
        let file: Map<String, Value> =
            serde_json::from_slice(text).map_err(|_| Refusal::bad("failed_to_parse_json"))?;
        let mut definitions = Definitions::default();
        for (section, read) in SECTIONS {
            if only.is_some() && GLOBAL_SECTIONS.contains(section) {
                continue;
            }
            for (at, entry) in entries(&file, section)?.iter().enumerate() {
                let place = || format!("{section}[{at}]");
                let object = entry.as_object().cloned();
                let object =
                    object.ok_or_else(|| Refusal::bad(format!("{} is no object", place())))?;
                let input = Input::from(object);
                let item = read(&input, only).map_err(|refusal| refusal.at(&place()))?;
                definitions.items.extend(item);
            }
        }
        for name in file.keys() {
            let is_known = SECTIONS.iter().any(|(section, _)| section == name)
                || SAID_ABOUT_FILES.contains(&name.as_str());
            if !is_known {
                let remark = format!("definitions: '{name}' is not known and was left out");
                definitions.remarks.push(remark);
            }
        }
        Ok(definitions)
    }
}

impl Item {
    /// Where it stands among the sections of a file.
    fn rank(&self) -> usize {
        match self {
            Item::User { .. } => 0,
            Item::Vhost { .. } => 1,
            Item::Permissions { .. } => 2,
            Item::TopicPermissions { .. } => 3,
            Item::Parameter { .. } => 4,
            Item::Global { .. } => 5,
            Item::Policy { .. } => 6,
            Item::Queue { .. } => 7,
            Item::Exchange { .. } => 8,
            Item::Binding { .. } => 9,
        }
    }

    /// Its virtual host.
    pub fn virtual_host(&self) -> Option<&str> {
        match self {
            Item::User { .. } | Item::Vhost { .. } | Item::Global { .. } => None,
            Item::Permissions { vhost, .. }
            | Item::TopicPermissions { vhost, .. }
            | Item::Parameter { vhost, .. }
            | Item::Policy { vhost, .. }
            | Item::Queue { vhost, .. }
            | Item::Exchange { vhost, .. }
            | Item::Binding { vhost, .. } => Some(vhost),
        }
    }
}

/// `queue 'q' in vhost '/'`
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::User { wanted, .. } => return write!(f, "user '{}'", wanted.name),
            Item::Vhost { name, .. } => return write!(f, "vhost '{name}'"),
            Item::Global { name, .. } => return write!(f, "global parameter '{name}'"),
            Item::Permissions { user, .. } => write!(f, "permissions of user '{user}'")?,
            Item::TopicPermissions { user, exchange, .. } => {
                write!(
                    f,
                    "topic permissions of user '{user}' on exchange '{exchange}'"
                )?;
            }
            Item::Parameter {
                component, name, ..
            } => write!(f, "parameter '{name}' of component '{component}'")?,
            Item::Policy { name, .. } => write!(f, "policy '{name}'")?,
            Item::Queue { name, .. } => write!(f, "queue '{name}'")?,
            Item::Exchange { name, .. } => write!(f, "exchange '{name}'")?,
            Item::Binding {
                source,
                destination,
                to_exchange,
                routing_key,
                ..
            } => {
                let kind = if *to_exchange { "exchange" } else { "queue" };
                write!(
                    f,
                    "binding from exchange '{source}' to {kind} '{destination}' with key \
                     '{routing_key}'"
                )?;
            }
        }
        write!(f, " in vhost '{}'", self.virtual_host().unwrap_or_default())
    }
}

type Read = fn(&Input, Option<&str>) -> Result<Option<Item>, Refusal>;

/// In the order in which they need each other.
const SECTIONS: &[(&str, Read)] = &[
    ("users", user),
    ("vhosts", vhost),
    ("permissions", permissions),
    ("topic_permissions", topic_permissions),
    ("parameters", parameter),
    ("global_parameters", global),
    ("policies", policy),
    ("queues", queue),
    ("exchanges", exchange),
    ("bindings", binding),
];

/// Not of a virtual host.
const GLOBAL_SECTIONS: &[&str] = &[
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "global_parameters",
];

/// What RabbitMQ and LavinMQ write beside.
const SAID_ABOUT_FILES: &[&str] = &[
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "metadata",
    "description",
    "default_queue_type",
    "limits",
    "lavinmq_version",
];

fn entries<'a>(file: &'a Map<String, Value>, section: &str) -> Result<&'a [Value], Refusal> {
    match file.get(section) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(entries)) => Ok(entries),
        Some(_) => Err(Refusal::bad(format!("{section} is no list"))),
    }
}

fn text(input: &Input, name: &str) -> Result<String, Refusal> {
    Ok(input.required_text(name)?.to_owned())
}

/// A name or key that AMQP can carry.
fn short(input: &Input, name: &str) -> Result<String, Refusal> {
    let text = text(input, name)?;
    match text.len() {
        0..=255 => Ok(text),
        _ => Err(Refusal::bad(format!("{name} has more than 255 bytes"))),
    }
}

fn host(input: &Input, only: Option<&str>) -> Result<String, Refusal> {
    match only {
        Some(only) => Ok(only.to_owned()),
        None => text(input, "vhost"),
    }
}

fn user(input: &Input, _: Option<&str>) -> Result<Option<Item>, Refusal> {
    let name = text(input, "name")?;
    let wanted = WantedUser::read(&name, input)?;
    let mut limits = Vec::new();
    for (limit, value) in input.object("limits")? {
        let known = [Limit::MaxConnections, Limit::MaxChannels];
        let found = known.into_iter().find(|known| known.name() == limit);
        let pair = found.zip(value.as_i64());
        let unknown = || Refusal::bad(format!("limit '{limit}' of user '{name}' is not known"));
        limits.push(pair.ok_or_else(unknown)?);
    }
    Ok(Some(Item::User { wanted, limits }))
}

/// What is said about it stands beside its name, or under `metadata`.
fn vhost(input: &Input, _: Option<&str>) -> Result<Option<Item>, Refusal> {
    let name = text(input, "name")?;
    let mut said = input.object("metadata")?;
    for member in ["description", "tags", "default_queue_type", "tracing"] {
        if let Some(value) = input.get(member) {
            said.insert(member.to_owned(), value.clone());
        }
    }
    let wanted = WantedVhost::read(&Input::from(said))?;
    Ok(Some(Item::Vhost { name, wanted }))
}

fn permissions(input: &Input, _: Option<&str>) -> Result<Option<Item>, Refusal> {
    Ok(Some(Item::Permissions {
        user: text(input, "user")?,
        vhost: text(input, "vhost")?,
        rules: [
            text(input, "configure")?,
            text(input, "write")?,
            text(input, "read")?,
        ],
    }))
}

fn topic_permissions(input: &Input, _: Option<&str>) -> Result<Option<Item>, Refusal> {
    Ok(Some(Item::TopicPermissions {
        user: text(input, "user")?,
        vhost: text(input, "vhost")?,
        exchange: short(input, "exchange")?,
        rules: [text(input, "write")?, text(input, "read")?],
    }))
}

fn parameter(input: &Input, only: Option<&str>) -> Result<Option<Item>, Refusal> {
    input.require(&["value"])?;
    Ok(Some(Item::Parameter {
        component: text(input, "component")?,
        vhost: host(input, only)?,
        name: text(input, "name")?,
        value: input.get("value").cloned().unwrap_or_default(),
    }))
}

/// RabbitMQ writes the id of its cluster; this broker is none of it.
fn global(input: &Input, _: Option<&str>) -> Result<Option<Item>, Refusal> {
    let name = text(input, "name")?;
    if name == "internal_cluster_id" || name == "imported_definition_hash_value" {
        return Ok(None);
    }
    let value = input.get("value").cloned().unwrap_or_default();
    Ok(Some(Item::Global { name, value }))
}

fn policy(input: &Input, only: Option<&str>) -> Result<Option<Item>, Refusal> {
    Ok(Some(Item::Policy {
        vhost: host(input, only)?,
        name: text(input, "name")?,
        settings: wanted_policy(input)?,
    }))
}

fn queue(input: &Input, only: Option<&str>) -> Result<Option<Item>, Refusal> {
    let mut arguments = input.object("arguments")?;
    if let Some(kind) = input.text("type")?
        && kind != "classic"
    {
        let name = "x-queue-type".to_owned();
        arguments.entry(name).or_insert_with(|| kind.into());
    }
    let arguments = arguments_of(&arguments)?;
    Ok(Some(Item::Queue {
        vhost: host(input, only)?,
        name: short(input, "name")?,
        durable: input.flag("durable")?.unwrap_or(true),
        auto_delete: input.flag("auto_delete")?.unwrap_or(false),
        arguments,
    }))
}

fn exchange(input: &Input, only: Option<&str>) -> Result<Option<Item>, Refusal> {
    let name = short(input, "name")?;
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some(Item::Exchange {
        vhost: host(input, only)?,
        name,
        kind: short(input, "type")?,
        durable: input.flag("durable")?.unwrap_or(true),
        auto_delete: input.flag("auto_delete")?.unwrap_or(false),
        internal: input.flag("internal")?.unwrap_or(false),
        arguments: arguments_of(&input.object("arguments")?)?,
    }))
}

/// Those of the default exchange are there by themselves.
fn binding(input: &Input, only: Option<&str>) -> Result<Option<Item>, Refusal> {
    let source = short(input, "source")?;
    if source.is_empty() {
        return Ok(None);
    }
    let to_exchange = match input.text("destination_type")? {
        None | Some("queue") => false,
        Some("exchange") => true,
        Some(other) => {
            return Err(Refusal::bad(format!(
                "destination_type '{other}' is not known"
            )));
        }
    };
    Ok(Some(Item::Binding {
        vhost: host(input, only)?,
        source,
        destination: short(input, "destination")?,
        to_exchange,
        routing_key: input
            .text("routing_key")?
            .map_or(Ok(String::new()), |_| short(input, "routing_key"))?,
        arguments: arguments_of(&input.object("arguments")?)?,
    }))
}
