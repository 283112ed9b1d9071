//! Policies, and which one is an exchange's or a queue's.

use std::cmp::Reverse;
use std::rc::Rc;

use crate::broker::Name;
use crate::broker::queue::arguments::QueueKind;
use crate::wire::amqp::field_table::{OwnedTable, Table, TableBuilder, Value};

use super::definition::{Definition, Settings};
use super::pattern::Pattern;
use super::value::Shown;
use super::{Invalid, PolicyKind};

/// Settings for all things of a virtual host whose names match (RabbitMQ: policies).
#[derive(Debug)]
pub struct Policy {
    pub name: Name,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    /// Of the policies that match, that with the highest is applied.
    pub priority: i64,
    pub definition: Definition,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyTo {
    All,
    Exchanges,
    Queues,
    QueuesOf(QueueKind),
}

/// What a policy may apply to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Exchange(&'a [u8]),
    Queue(&'a [u8], QueueKind),
}

/// The policies of a virtual host.
#[derive(Default)]
pub(in crate::broker) struct Policies {
    user: Vec<Rc<Policy>>,
    operator: Vec<Rc<Policy>>,
    /// What pairs of them say together, so that it is worked out once and not for each queue.
    merged: Vec<Applied>,
    /// Moves with every change: what was applied at another may be another policy's now.
    pub(super) revision: u64,
}

/// The policies that are in force for one exchange or queue.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    user: Option<Rc<Policy>>,
    operator: Option<Rc<Policy>>,
    /// Both together, if there are both.
    merged: Option<Rc<Definition>>,
}

impl Policy {
    /// Reads what RabbitMQ's doors call a policy: `pattern` and `definition`, and where they are not
    /// left out `priority` (0 otherwise) and `apply-to` (`all`).
    pub fn from_table(
        kind: PolicyKind,
        name: &[u8],
        settings: Table<'_>,
    ) -> Result<Policy, Invalid> {
        if name.len() > NAME_SIZE_MAX {
            let text = format!("the name of a policy has at most {NAME_SIZE_MAX} bytes");
            return Err(Invalid(text));
        }
        let wanted = |key: &str| {
            settings.get(key).ok_or_else(|| {
                let name = String::from_utf8_lossy(name);
                Invalid(format!("Key \"{key}\" not found in {name}"))
            })
        };
        Ok(Policy {
            name: Name::from(name),
            priority: settings.get("priority").map_or(Ok(0), priority)?,
            pattern: Pattern::parse(wanted("pattern")?)?,
            apply_to: settings
                .get("apply-to")
                .map_or(Ok(ApplyTo::All), apply_to)?,
            definition: Definition::parse(kind, wanted("definition")?)?,
        })
    }

    /// What [`Policy::from_table`] reads, nothing left out.
    pub fn to_table(&self) -> OwnedTable {
        let mut table = TableBuilder::new();
        table
            .put("pattern", self.pattern.as_str())
            .put("definition", self.definition.table())
            .put("priority", self.priority)
            .put("apply-to", self.apply_to.name());
        table.finish()
    }

    fn applies_to(&self, subject: Subject<'_>) -> bool {
        let (is_meant, name) = match subject {
            Subject::Exchange(name) => (
                matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges),
                name,
            ),
            Subject::Queue(name, kind) => {
                let is_meant = match self.apply_to {
                    ApplyTo::All | ApplyTo::Queues => true,
                    ApplyTo::QueuesOf(meant) => meant == kind,
                    ApplyTo::Exchanges => false,
                };
                (is_meant && self.definition.suits(kind), name)
            }
        };
        is_meant && self.pattern.is_match(name)
    }
}

impl ApplyTo {
    /// As RabbitMQ's doors call it.
    pub fn name(self) -> &'static str {
        let known = APPLY_TO.iter().find(|(_, known)| *known == self);
        known.map_or("all", |(name, _)| name)
    }

    fn by_name(name: &str) -> Option<ApplyTo> {
        let known = APPLY_TO.iter().find(|(known, _)| *known == name);
        known.map(|(_, apply_to)| *apply_to)
    }
}

impl Policies {
    /// In the order in which they are tried: by priority from the highest. RabbitMQ promises no order
    /// among equals; here it is that of their names.
    pub fn list(&self, kind: PolicyKind) -> &[Rc<Policy>] {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    pub fn get(&self, kind: PolicyKind, name: &[u8]) -> Option<&Rc<Policy>> {
        self.list(kind).iter().find(|policy| &*policy.name == name)
    }

    /// In the place of the one of that name.
    pub fn set(&mut self, kind: PolicyKind, policy: Policy) {
        self.clear(kind, &policy.name);
        let list = self.list_mut(kind);
        let rank = |policy: &Policy| (Reverse(policy.priority), policy.name.clone());
        let at = list.partition_point(|other| rank(other) < rank(&policy));
        list.insert(at, Rc::new(policy));
        self.change();
    }

    /// Whether there was one.
    pub fn clear(&mut self, kind: PolicyKind, name: &[u8]) -> bool {
        let list = self.list_mut(kind);
        let Some(at) = list.iter().position(|policy| &*policy.name == name) else {
            return false;
        };
        list.remove(at);
        self.change();
        true
    }

    /// The policies for an exchange or a queue. `tried` counts the patterns that were looked at.
    pub(super) fn applied(&mut self, subject: Subject<'_>, tried: &mut usize) -> Applied {
        let mut first = |list: &[Rc<Policy>]| {
            let found = list.iter().position(|policy| policy.applies_to(subject));
            *tried += found.map_or(list.len(), |at| at + 1);
            found.map(|at| list[at].clone())
        };
        let applied = Applied {
            user: first(&self.user),
            operator: first(&self.operator),
            merged: None,
        };
        self.merge(applied)
    }

    fn merge(&mut self, mut applied: Applied) -> Applied {
        let (Some(user), Some(operator)) = (&applied.user, &applied.operator) else {
            return applied;
        };
        if let Some(known) = self.merged.iter().find(|known| known.is_same(&applied)) {
            return known.clone();
        }
        let merged = Definition::merge(&user.definition, &operator.definition);
        applied.merged = Some(Rc::new(merged));
        if self.merged.len() >= MERGED_MAX {
            self.merged.clear();
        }
        self.merged.push(applied.clone());
        applied
    }

    fn change(&mut self) {
        self.merged.clear();
        self.revision += 1;
    }

    fn list_mut(&mut self, kind: PolicyKind) -> &mut Vec<Rc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }
}

impl Applied {
    /// What management shows as `policy`.
    pub fn policy(&self) -> Option<&Rc<Policy>> {
        self.user.as_ref()
    }

    /// What management shows as `operator_policy`.
    pub fn operator_policy(&self) -> Option<&Rc<Policy>> {
        self.operator.as_ref()
    }

    /// What management shows as `effective_policy_definition`.
    pub fn definition(&self) -> Option<&Definition> {
        let single = self.user.as_ref().or(self.operator.as_ref());
        let single = single.map(|policy| &policy.definition);
        self.merged.as_deref().or(single)
    }

    pub fn settings(&self) -> &Settings {
        self.definition()
            .map_or(Settings::NONE, Definition::settings)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.operator.is_none()
    }

    /// Whether it is the same policies, not only policies that say the same.
    pub(super) fn is_same(&self, other: &Applied) -> bool {
        let same = |one: &Option<Rc<Policy>>, other: &Option<Rc<Policy>>| match (one, other) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same(&self.user, &other.user) && same(&self.operator, &other.operator)
    }
}

fn priority(value: Value<'_>) -> Result<i64, Invalid> {
    value.as_integer().ok_or_else(|| {
        let text = format!("priority should be a number, actually was {}", Shown(value));
        Invalid(text)
    })
}

fn apply_to(value: Value<'_>) -> Result<ApplyTo, Invalid> {
    let name = value.as_bytes().map(String::from_utf8_lossy);
    let name = name.unwrap_or_else(|| Shown(value).to_string().into());
    ApplyTo::by_name(&name).ok_or_else(|| {
        Invalid(format!(
            "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues', \
             'quorum_queues', 'streams', 'exchanges', or 'all'"
        ))
    })
}

pub(super) const NAME_SIZE_MAX: usize = 255;
/// Pairs of policies remembered; beyond, they are worked out again.
const MERGED_MAX: usize = 64;

const APPLY_TO: [(&str, ApplyTo); 6] = [
    ("all", ApplyTo::All),
    ("exchanges", ApplyTo::Exchanges),
    ("queues", ApplyTo::Queues),
    ("classic_queues", ApplyTo::QueuesOf(QueueKind::Classic)),
    ("quorum_queues", ApplyTo::QueuesOf(QueueKind::Quorum)),
    ("streams", ApplyTo::QueuesOf(QueueKind::Stream)),
];
