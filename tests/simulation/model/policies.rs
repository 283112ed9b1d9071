//! Policies: which are in force for what, and what follows from that at once.

use leveret::broker::journal::{Note, NoteKind};
use leveret::broker::policy::PolicyKind;
use leveret::wire::amqp::{OwnedTable, Table};

use super::connection::text;
use super::*;
use crate::{Check, ensure};

/// As it was set: `pattern`, `definition`, `priority` and `apply-to`.
pub type Settings = OwnedTable;

/// What all policies together say about one exchange or queue.
#[derive(Default)]
pub struct InForce {
    user: Settings,
    operator: Settings,
}

/// Policies by the order in which they are tried: operators' or not, priority, name.
pub(super) type Policies = BTreeMap<(bool, std::cmp::Reverse<i64>, String), Settings>;

impl Model {
    pub fn set_policy(&mut self, kind: PolicyKind, name: &str, settings: Settings) {
        self.forget_policy(kind, name);
        let key = key(kind, name, settings.view());
        self.policies.insert(key, settings);
        self.apply_policies();
    }

    pub fn clear_policy(&mut self, kind: PolicyKind, name: &str) {
        self.forget_policy(kind, name);
        self.apply_policies();
    }

    fn forget_policy(&mut self, kind: PolicyKind, name: &str) {
        let is_operators = kind == PolicyKind::Operator;
        let is_same = |key: &(bool, _, String)| key.0 == is_operators && key.2 == name;
        self.policies.retain(|key, _| !is_same(key));
    }

    /// Everything is looked at again. Messages keep the time to live that they came with.
    fn apply_policies(&mut self) {
        let names: Vec<String> = self.queues.keys().cloned().collect();
        for name in names {
            let queue = &self.queues[&name];
            let rules = self.rules_for(&name, queue.arguments.view());
            if rules == queue.rules {
                continue;
            }
            let queue = self.queues.get_mut(&name).expect("it has this name");
            queue.rules = rules;
            self.renew_lease(&name);
            self.retime_consumers(&name);
            self.drop_excess(&name, 996);
        }
    }

    /// What holds for a queue with these arguments.
    pub(super) fn rules_for(&self, name: &str, arguments: Table<'_>) -> Rules {
        if name.starts_with(delays::DELAY_QUEUES) {
            return Rules::of(arguments, &InForce::default());
        }
        let is_quorum = topology::is_quorum(arguments);
        let kind = match is_quorum {
            true => "quorum_queues",
            false => "classic_queues",
        };
        Rules::of(arguments, &self.in_force(name, &["all", "queues", kind]))
    }

    /// The exchange that is asked for what this one leads nowhere.
    pub(super) fn alternate_of(&self, name: &str) -> Option<String> {
        let own = self.exchanges[name].alternate.clone();
        own.or_else(|| {
            let in_force = self.in_force(name, &["all", "exchanges"]);
            in_force.text("alternate-exchange")
        })
    }

    fn in_force(&self, name: &str, kinds: &[&str]) -> InForce {
        let of = |operators: bool| {
            let mut policies = self.policies.iter();
            let found = policies.find(|((is_operators, ..), settings)| {
                let field =
                    |key: &str| settings.view().get(key).map(|it| it.as_str().unwrap_or(""));
                *is_operators == operators
                    && kinds.contains(&field("apply-to").unwrap_or("all"))
                    && is_match(field("pattern").unwrap_or(""), name)
            });
            let definition = found.and_then(|(_, settings)| {
                let table = settings.view().get("definition")?.as_table()?;
                Some(OwnedTable::from(table))
            });
            definition.unwrap_or_default()
        };
        InForce {
            user: of(false),
            operator: of(true),
        }
    }

    /// Those that the store had. If it had everything, they are those that there were.
    pub(super) fn recover_policies(&mut self, notes: &[Note], must_be_all: bool) -> Check {
        let mut found = Policies::new();
        for note in notes {
            let kind = match note.kind {
                NoteKind::Policy => PolicyKind::User,
                NoteKind::OperatorPolicy => PolicyKind::Operator,
                _ => continue,
            };
            let value = note.value.as_deref().ok_or("a policy that is none")?;
            let settings = Table::from_encoded(value).map_err(|error| error.to_string())?;
            // The virtual host and the name, each behind its size.
            let name = text(&note.key[3..]);
            found.insert(key(kind, &name, settings), OwnedTable::from(settings));
        }
        let is_same = found.len() == self.policies.len()
            && found
                .iter()
                .zip(&self.policies)
                .all(|(one, other)| one.0 == other.0 && say_the_same(one.1.view(), other.1.view()));
        ensure!(
            is_same || !must_be_all,
            "{found:?} was recovered, it should be {:?}",
            self.policies
        );
        self.policies = found;
        Ok(())
    }
}

impl InForce {
    /// An operator's word counts.
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.operator.view().get(key);
        let value = value.or(self.user.view().get(key))?;
        Some(value.as_str()?.to_owned())
    }

    /// Of two, the less.
    pub fn least(&self, key: &str) -> Option<u64> {
        let values = [self.user.view().get(key), self.operator.view().get(key)];
        let numbers = values
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_integer());
        numbers.min().map(|least| least as u64)
    }

    /// Of two, the less that is a limit; a negative one is none.
    pub fn strictest(&self, key: &str) -> Option<i64> {
        let values = [self.user.view().get(key), self.operator.view().get(key)];
        let numbers = values
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_integer());
        numbers.reduce(stricter)
    }
}

pub fn stricter(one: i64, other: i64) -> i64 {
    match (one, other) {
        (0.., 0..) => one.min(other),
        _ => one.max(other),
    }
}

/// Whatever is left out or written another way.
fn say_the_same(one: Table<'_>, other: Table<'_>) -> bool {
    let word = |table: Table<'_>, name: &str| {
        let word = table.get(name).and_then(|it| Some(it.as_str()?.to_owned()));
        word.unwrap_or_else(|| "all".to_owned())
    };
    let definition = |table: Table<'_>| {
        table
            .get("definition")
            .and_then(|it| it.as_table().map(OwnedTable::from))
    };
    let definitions = definition(one).zip(definition(other));
    ["pattern", "apply-to"]
        .iter()
        .all(|name| word(one, name) == word(other, name))
        && definitions.is_some_and(|(one, other)| one.view().same_entries(&other.view()))
}

fn key(
    kind: PolicyKind,
    name: &str,
    settings: Table<'_>,
) -> (bool, std::cmp::Reverse<i64>, String) {
    let priority = settings.get("priority").and_then(|it| it.as_integer());
    let priority = std::cmp::Reverse(priority.unwrap_or(0));
    (kind == PolicyKind::Operator, priority, name.to_owned())
}

/// Only as much of regular expressions as the patterns of a run have.
fn is_match(pattern: &str, name: &str) -> bool {
    match pattern {
        ".*" => true,
        "^q[01]$" => matches!(name, "q0" | "q1"),
        pattern => match (pattern.strip_prefix('^'), pattern.strip_suffix('$')) {
            (Some(start), _) => name.starts_with(start),
            (_, Some(end)) => name.ends_with(end),
            _ => name.contains(pattern),
        },
    }
}
