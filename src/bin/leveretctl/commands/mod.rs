//! The commands: what they are called, what they take, and what they do. [`table`] has them all; help,
//! completion and the check of the command line are made from it.

mod connections;
mod definitions;
mod diagnostics;
mod limits;
mod listing;
mod local;
mod node;
mod parameters;
mod permissions;
mod plugins;
mod policies;
mod queues;
mod status;
mod streams;
mod table;
mod users;
mod virtual_hosts;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{EX_DATAERR, Failure};
use crate::help::Tool;
use crate::http::segment;
use crate::output::{Column, Output, Rows, Shape};
use crate::session::Session;

pub use listing::Info;

pub struct Command {
    pub name: &'static str,
    /// Arguments and options, as help shows them.
    pub usage: &'static str,
    /// A sentence without its full stop.
    pub summary: &'static str,
    pub group: Group,
    /// Under which names help shows it; leveretctl shows them all.
    pub tools: &'static [Tool],
    /// How many arguments at least and at most.
    pub arguments: (usize, usize),
    /// Beyond those that all commands have.
    pub options: &'static [&'static str],
    /// Arguments from this one on are not repeated in errors.
    pub secret_from: Option<usize>,
    /// What may be asked for by name.
    pub columns: Option<&'static [Info]>,
    pub details: &'static [(&'static str, &'static str)],
    /// What is wrong with the arguments, if something is, and the exit status for it.
    pub check: Option<Check>,
    pub run: fn(&mut Session) -> Result<Output, Failure>,
}

/// What is wrong with arguments, and the exit status for it.
pub type Check = fn(&Arguments) -> Result<(), (u8, String)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Help,
    Nodes,
    Cluster,
    Users,
    Access,
    Monitoring,
    Parameters,
    Policies,
    VirtualHosts,
    Configuration,
    Definitions,
    Operations,
    Queues,
    Plugins,
    Deprecated,
}

/// In the order in which help shows them.
pub const GROUPS: &[Group] = &[
    Group::Help,
    Group::Nodes,
    Group::Cluster,
    Group::Users,
    Group::Access,
    Group::Monitoring,
    Group::Parameters,
    Group::Policies,
    Group::VirtualHosts,
    Group::Configuration,
    Group::Definitions,
    Group::Operations,
    Group::Queues,
    Group::Plugins,
    Group::Deprecated,
];

impl Group {
    pub fn title(self) -> &'static str {
        match self {
            Group::Help => "Help",
            Group::Nodes => "Nodes",
            Group::Cluster => "Cluster",
            Group::Users => "Users",
            Group::Access => "Access Control",
            Group::Monitoring => "Monitoring, observability and health checks",
            Group::Parameters => "Parameters",
            Group::Policies => "Policies",
            Group::VirtualHosts => "Virtual hosts",
            Group::Configuration => "Configuration and Environment",
            Group::Definitions => "Definitions",
            Group::Operations => "Operations",
            Group::Queues => "Queues",
            Group::Plugins => "Plugin Management",
            Group::Deprecated => "Deprecated",
        }
    }
}

impl Command {
    pub fn is_shown_by(&self, tool: Tool) -> bool {
        match tool {
            // The names of these say nothing outside of rabbitmq-plugins.
            Tool::Leveretctl => self.group != Group::Plugins,
            tool => self.tools.contains(&tool),
        }
    }
}

pub fn all() -> impl Iterator<Item = &'static Command> {
    table::COMMANDS.iter()
}

/// The command with that name. All but those about plugins answer to all names of the program.
pub fn named(tool: Tool, name: &str) -> Option<&'static Command> {
    all().find(|command| {
        command.name == name && (command.group != Group::Plugins || tool == Tool::Plugins)
    })
}

/// Why a command of RabbitMQ's is none here.
pub fn meaningless(name: &str) -> Option<&'static str> {
    let found = table::MEANINGLESS
        .iter()
        .find(|(names, _)| names.contains(&name));
    found.map(|(_, reason)| *reason)
}

/// `/api/a/b`, of encoded names.
fn path(resource: &str, names: &[&str]) -> String {
    let mut path = format!("/api/{resource}");
    for name in names {
        path.push('/');
        path.push_str(&segment(name));
    }
    path
}

/// A column whose values need no care.
const fn plain(name: &'static str) -> Column {
    Column {
        name,
        shape: Shape::Plain,
    }
}

/// A table of fields that are named as the columns.
fn rows_of(columns: &[Column], items: &[Value]) -> Rows {
    let row = |item: &Value| {
        let cells = columns.iter().map(|column| item[column.name].clone());
        cells.collect::<Vec<_>>()
    };
    Rows::of(columns.to_vec(), items.iter().map(row).collect())
}

fn array(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Failure::unavailable("the answer is not a list")),
    }
}

/// The text as JSON.
fn parse_json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::not_json(&error))
}

fn bad_argument(problem: impl Into<String>) -> (u8, String) {
    let problem = problem.into();
    let text = match problem.is_empty() {
        true => "Bad argument.".to_owned(),
        false => format!("Bad argument: {problem}"),
    };
    (EX_DATAERR, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|command| command.name).collect();
        let meaningless = table::MEANINGLESS.iter();
        names.extend(meaningless.flat_map(|(names, _)| names.iter().copied()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn summaries_are_sentences_without_an_end() {
        for command in all() {
            assert!(!command.summary.ends_with('.'), "{}", command.name);
            assert!(command.arguments.0 <= command.arguments.1);
        }
    }

    #[test]
    fn paths_are_encoded() {
        assert_eq!(path("queues", &["/", "a b"]), "/api/queues/%2F/a%20b");
    }
}
