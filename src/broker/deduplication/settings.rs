//! The arguments by which an exchange or a queue is told to drop duplicates.

use crate::broker::name::Name;
use crate::wire::amqp::{Table, Value};

/// How to tell duplicates, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `x-deduplication-header`: the header that has the key, if it is not the one of that name.
    header: Option<Name>,
    /// `x-cache-size`: keys that are remembered, at least 1.
    pub size_max: usize,
    /// `x-cache-ttl`: how long a key is remembered, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// `x-cache-persistence`: the keys are not to survive the broker, even if their owner does.
    pub in_memory: bool,
}

/// An argument that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSetting {
    pub name: &'static str,
    /// What it must be.
    pub wanted: &'static str,
}

impl Settings {
    /// Of an exchange with these arguments; `None` if it takes duplicates. The type
    /// `x-message-deduplication` drops them without being told, but must be told its size (RabbitMQ's
    /// plugin).
    pub fn of_exchange(by_type: bool, arguments: Table<'_>) -> Result<Option<Self>, BadSetting> {
        if by_type {
            let size = arguments.get(SIZE).ok_or(BAD_SIZE)?;
            positive(&size).ok_or(BAD_SIZE)?;
        } else if !is_asked(arguments) {
            return Ok(None);
        }
        Settings::read(arguments, EXCHANGE_SIZE).map(Some)
    }

    /// Of a queue with these arguments.
    pub fn of_queue(arguments: Table<'_>) -> Result<Option<Self>, BadSetting> {
        match arguments.get(ASKED) {
            None => Ok(None),
            Some(Value::Bool(0)) => Ok(None),
            Some(Value::Bool(_)) => Settings::read(arguments, QUEUE_SIZE).map(Some),
            Some(_) => Err(BadSetting {
                name: ASKED,
                wanted: "a boolean",
            }),
        }
    }

    fn read(arguments: Table<'_>, size: u64) -> Result<Self, BadSetting> {
        let size = match arguments.get(SIZE) {
            None => size,
            Some(value) => positive(&value).ok_or(BAD_SIZE)?,
        };
        let ttl_ms = match arguments.get(TTL) {
            None => None,
            Some(value) => Some(positive(&value).ok_or(BAD_TTL)?),
        };
        let header = match arguments.get(HEADER) {
            None => None,
            Some(Value::LongString(name)) => Some(Name::from(name)),
            Some(_) => return Err(BAD_HEADER),
        };
        let in_memory = match arguments.get(PERSISTENCE) {
            None | Some(Value::LongString(b"disk")) => false,
            Some(Value::LongString(b"memory")) => true,
            Some(_) => return Err(BAD_PERSISTENCE),
        };
        Ok(Settings {
            header,
            size_max: usize::try_from(size.min(SIZE_MAX)).unwrap_or(usize::MAX),
            ttl_ms,
            in_memory,
        })
    }

    /// What a message with these headers is known by.
    pub fn key_value<'a>(&self, headers: Table<'a>) -> Option<Value<'a>> {
        match &self.header {
            Some(name) => headers.get(name.as_bytes()),
            None => headers.get(HEADER),
        }
    }

    /// For how many milliseconds it is known: what its header `x-cache-ttl` says, or else what holds for
    /// all.
    pub fn ttl_of(&self, headers: Table<'_>) -> Option<u64> {
        match headers.get(TTL).as_ref().and_then(number) {
            Some(own) => Some(u64::try_from(own).unwrap_or(0)),
            None => self.ttl_ms,
        }
    }
}

fn is_asked(arguments: Table<'_>) -> bool {
    let asked = arguments.get(ASKED).and_then(|value| value.as_bool());
    asked == Some(true)
}

fn positive(value: &Value<'_>) -> Option<u64> {
    let number = number(value)?;
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// An integer, or text with one, which RabbitMQ's plugin takes as well.
fn number(value: &Value<'_>) -> Option<i64> {
    match value.as_str() {
        Some(text) => text.parse().ok(),
        None => value.as_integer(),
    }
}

/// By which other types ask for it, and the name of the type itself.
const ASKED: &str = "x-message-deduplication";
const HEADER: &str = "x-deduplication-header";
const SIZE: &str = "x-cache-size";
const TTL: &str = "x-cache-ttl";
const PERSISTENCE: &str = "x-cache-persistence";

const BAD_SIZE: BadSetting = BadSetting {
    name: SIZE,
    wanted: "an integer greater than 0",
};
const BAD_TTL: BadSetting = BadSetting {
    name: TTL,
    wanted: "an integer greater than 0",
};
const BAD_HEADER: BadSetting = BadSetting {
    name: HEADER,
    wanted: "a string",
};
const BAD_PERSISTENCE: BadSetting = BadSetting {
    name: PERSISTENCE,
    wanted: "either 'disk' or 'memory'",
};

/// Keys of an exchange that does not say how many: 10 MB when they are all there.
const EXCHANGE_SIZE: u64 = 100_000;
/// Keys of a queue that does not say how many: 100 MB when it has so many messages.
const QUEUE_SIZE: u64 = 1_000_000;
/// Whatever it says. The disk writes all keys anew from time to time, and the loop drops them at once
/// when their owner goes: a million take a fraction of a second.
const SIZE_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::{OwnedTable, TableBuilder};

    fn table(entries: &[(&str, Value<'_>)]) -> OwnedTable {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, *value);
        }
        table.finish()
    }

    fn queue(entries: &[(&str, Value<'_>)]) -> Result<Option<Settings>, BadSetting> {
        Settings::of_queue(table(entries).view())
    }

    #[test]
    fn who_is_not_asked_takes_duplicates() {
        for entries in [
            &[][..],
            &[(ASKED, false.into())],
            &[(SIZE, 5.into()), (TTL, Value::string("no"))],
        ] {
            assert_eq!(queue(entries), Ok(None));
            let exchange = Settings::of_exchange(false, table(entries).view());
            assert_eq!(exchange, Ok(None));
        }
    }

    #[test]
    fn sizes_have_defaults_and_an_end() {
        let asked = (ASKED, true.into());
        let size = |entries: &[_]| queue(entries).unwrap().unwrap().size_max;
        assert_eq!(size(&[asked]), 1_000_000);
        assert_eq!(size(&[asked, (SIZE, 5.into())]), 5);
        assert_eq!(size(&[asked, (SIZE, "7".into())]), 7);
        assert_eq!(size(&[asked, (SIZE, 1_000_000_000.into())]), 1_000_000);
        let exchange = Settings::of_exchange(false, table(&[asked]).view());
        assert_eq!(exchange.unwrap().unwrap().size_max, 100_000);
    }

    #[test]
    fn the_type_wants_to_know_its_size() {
        assert_eq!(Settings::of_exchange(true, Table::EMPTY), Err(BAD_SIZE));
        let arguments = table(&[(SIZE, 5.into()), (TTL, 1000.into())]);
        let settings = Settings::of_exchange(true, arguments.view());
        assert_eq!(settings.unwrap().unwrap().ttl_ms, Some(1000));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (name, value) in [
            (SIZE, Value::from(0)),
            (SIZE, "many".into()),
            (TTL, (-1).into()),
            (TTL, true.into()),
            (HEADER, 5.into()),
            (PERSISTENCE, "tape".into()),
        ] {
            let bad = queue(&[(ASKED, true.into()), (name, value)]).unwrap_err();
            assert_eq!(bad.name, name);
        }
        assert_eq!(queue(&[(ASKED, "true".into())]).unwrap_err().name, ASKED);
    }

    #[test]
    fn the_header_and_the_time_can_be_chosen() {
        let named = [(ASKED, true.into()), (HEADER, "id".into())];
        let headers = table(&[(HEADER, 1.into()), ("id", 2.into()), (TTL, 50.into())]);
        let plain = queue(&[(ASKED, true.into())]).unwrap().unwrap();
        assert_eq!(plain.key_value(headers.view()), Some(1.into()));
        let named = queue(&named).unwrap().unwrap();
        assert_eq!(named.key_value(headers.view()), Some(2.into()));
        assert_eq!(named.ttl_of(headers.view()), Some(50));
        assert_eq!(named.ttl_of(Table::EMPTY), None);
        assert_eq!(named.ttl_of(table(&[(TTL, (-1).into())]).view()), Some(0));
    }
}
