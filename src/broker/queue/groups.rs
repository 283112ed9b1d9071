//! Which group a message belongs to, and which groups of a queue are busy (`x-group-key`; see
//! `broker/groups.rs`).

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::broker::Map;
use crate::broker::message::{Message, MessageId};
use crate::broker::name::Name;
use crate::wire::amqp::field_table::Value;
use crate::wire::amqp::properties::PropertyBlock;

/// What tells groups apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// The routing key that a message was published with.
    RoutingKey,
    /// The value of this header.
    Header(Name),
}

/// All messages of a queue with the same value of its group key: a hash of that. Should two values ever
/// have the same hash, they are one group, whose messages wait for each other for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u64);

/// The groups of a queue that are busy, and with what.
pub struct Groups {
    pub key: GroupKey,
    busy: HashSet<Group, FixedState>,
    /// Messages that their consumers have or that wait for another try: at most one of each group.
    held: Map<MessageId, Group>,
    /// Messages that waited for another try when the broker was stopped, and until when: of what group
    /// they are is known when they come to the head of the queue.
    put_off: BTreeMap<MessageId, u64>,
}

impl GroupKey {
    /// By the word or the header's name, neither of them empty.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        match name {
            b"" => None,
            b"routing-key" => Some(GroupKey::RoutingKey),
            header => Some(GroupKey::Header(Name::from(header))),
        }
    }

    /// None if the message does not have such a header, or nothing in it. An integer is the same in
    /// every type, and so is a string.
    pub fn group_of(&self, message: &Message<'_>) -> Option<Group> {
        let value = match self {
            GroupKey::RoutingKey => Value::LongString(message.routing_key),
            GroupKey::Header(name) => {
                let headers = PropertyBlock::new(message.properties).headers();
                headers.ok()??.get(name.as_bytes())?
            }
        };
        Some(match value {
            Value::Void => return None,
            value => match (value.as_integer(), value.as_bytes()) {
                (Some(integer), _) => Group::hash(integer),
                (_, Some(bytes)) => Group::hash(bytes),
                _ => Group::hash(value),
            },
        })
    }
}

impl Group {
    fn hash(value: impl Hash) -> Self {
        Group(FixedState::default().hash_one(value))
    }

    #[cfg(test)]
    pub fn from_bits(bits: u64) -> Self {
        Group(bits)
    }
}

impl Groups {
    pub fn new(key: GroupKey) -> Self {
        Groups {
            key,
            busy: HashSet::default(),
            held: Map::default(),
            put_off: BTreeMap::new(),
        }
    }

    pub fn is_busy(&self, group: Group) -> bool {
        self.busy.contains(&group)
    }

    /// The group is busy with this message from here on.
    pub fn occupy(&mut self, group: Group, message: MessageId) {
        let was_free = self.busy.insert(group);
        debug_assert!(was_free, "one after the other");
        self.held.insert(message, group);
    }

    /// The message is done with, or ready again. The group that is free now, if it was busy with it.
    pub fn vacate(&mut self, message: MessageId) -> Option<Group> {
        let group = self.held.remove(&message)?;
        self.busy.remove(&group);
        if self.held.is_empty() && self.held.capacity() > KEPT_CAPACITY {
            (self.held, self.busy) = (Map::default(), HashSet::default());
        }
        Some(group)
    }

    /// The message is not to be tried again before that time.
    pub fn put_off(&mut self, message: MessageId, until_ms: u64) {
        self.put_off.insert(message, until_ms);
    }

    /// Whether the message is not to be tried yet, and until when.
    pub fn is_put_off(&self, message: MessageId, now_ms: u64) -> Option<u64> {
        let until_ms = *self.put_off.get(&message)?;
        (until_ms > now_ms).then_some(until_ms)
    }

    /// It is known of the message from here on that it waits, or it is not there any more.
    pub fn forget_put_off(&mut self, message: MessageId) {
        if !self.put_off.is_empty() {
            self.put_off.remove(&message);
        }
    }
}

/// Tables that were emptied keep room for so many; more goes back.
const KEPT_CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::Body;
    use crate::wire::amqp::TableBuilder;
    use crate::wire::amqp::properties::{NO_PROPERTIES, Properties};

    fn group_of(key: &GroupKey, value: Option<Value<'_>>) -> Option<Group> {
        let mut headers = TableBuilder::new();
        headers.put("other", "x");
        if let Some(value) = value {
            headers.put("customer", value);
        }
        let mut block = Vec::new();
        Properties {
            content_type: Some(b"text/plain"),
            headers: Some(headers.view()),
            priority: Some(3),
            ..Properties::default()
        }
        .encode(&mut block);
        key.group_of(&message(&block))
    }

    fn message(properties: &[u8]) -> Message<'_> {
        Message {
            exchange: b"",
            routing_key: b"q",
            properties,
            body: Body::Slice(b""),
            arrived_ms: 0,
        }
    }

    #[test]
    fn a_group_is_a_value_whatever_its_type() {
        let key = GroupKey::by_name(b"customer").unwrap();
        let of = |value| group_of(&key, Some(value)).unwrap();
        assert_eq!(of(Value::Byte(5)), of(Value::Long(5)));
        assert_eq!(of(Value::string("a")), of(Value::Binary(b"a")));
        let all = [
            of(Value::Long(5)),
            of(Value::Long(6)),
            of(Value::string("5")),
            of(Value::string("")),
            of(Value::bool(true)),
            of(Value::double(5.0)),
        ];
        let distinct: HashSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_message_without_the_header_belongs_to_no_group() {
        let key = GroupKey::by_name(b"customer").unwrap();
        assert_eq!(group_of(&key, None), None);
        assert_eq!(group_of(&key, Some(Value::Void)), None);
        assert_eq!(key.group_of(&message(&NO_PROPERTIES)), None);
        assert_eq!(
            key.group_of(&message(b"")),
            None,
            "no property block at all"
        );
    }

    #[test]
    fn the_routing_key_may_tell_groups_apart() {
        let key = GroupKey::by_name(b"routing-key").unwrap();
        let a = key.group_of(&message(&NO_PROPERTIES));
        let b = Message {
            routing_key: b"other",
            ..message(&NO_PROPERTIES)
        };
        assert!(a.is_some() && a != key.group_of(&b));
        assert_eq!(GroupKey::by_name(b""), None);
    }

    #[test]
    fn a_group_is_busy_with_one_message_at_a_time() {
        let mut groups = Groups::new(GroupKey::RoutingKey);
        let (group, message) = (Group(1), MessageId::from_bits(5));
        groups.occupy(group, message);
        assert!(groups.is_busy(group) && !groups.is_busy(Group(2)));
        assert_eq!(groups.vacate(MessageId::from_bits(6)), None);
        assert_eq!(groups.vacate(message), Some(group));
        assert_eq!(groups.vacate(message), None);
        assert!(!groups.is_busy(group));
    }
}
