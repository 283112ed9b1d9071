//! The binding argument `x-match`.

use super::predicate::Kind;
use crate::broker::exchange::erlang_term::ErlangTerm;
use crate::wire::amqp::{Table, Value};

/// What `x-match` says; `all` when it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct XMatch {
    pub(super) kind: Kind,
    /// Whether arguments whose names begin with `x-` are conditions too.
    with_x: bool,
}

impl XMatch {
    /// The error is RabbitMQ's text for 406 PRECONDITION_FAILED.
    pub(super) fn of(arguments: Table<'_>) -> Result<Self, String> {
        let (kind, with_x) = match arguments.get(NAME) {
            None | Some(Value::LongString(b"all")) => (Kind::All, false),
            Some(Value::LongString(b"any")) => (Kind::Any, false),
            Some(Value::LongString(b"all-with-x")) => (Kind::All, true),
            Some(Value::LongString(b"any-with-x")) => (Kind::Any, true),
            Some(value @ Value::LongString(_)) => {
                return Err(format!(
                    "Invalid x-match field value {}; \
                     expected all, any, all-with-x, or any-with-x",
                    ErlangTerm(value)
                ));
            }
            Some(value) => {
                return Err(format!(
                    "Invalid x-match field type {} (value {}); expected longstr",
                    value.type_name(),
                    ErlangTerm(value)
                ));
            }
        };
        Ok(XMatch { kind, with_x })
    }

    /// Whether the argument of this name is a condition.
    pub(super) fn counts(self, name: &[u8]) -> bool {
        name != NAME && (self.with_x || !name.starts_with(b"x-"))
    }
}

impl Default for XMatch {
    fn default() -> Self {
        XMatch {
            kind: Kind::All,
            with_x: false,
        }
    }
}

/// Whether a headers exchange takes a binding with these arguments; if not, RabbitMQ's text for
/// 406 PRECONDITION_FAILED.
pub(super) fn check_arguments(arguments: Table<'_>) -> Result<(), String> {
    XMatch::of(arguments).map(|_| ())
}

const NAME: &[u8] = b"x-match";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::TableBuilder;

    fn checked<'a>(value: impl Into<Value<'a>>) -> Result<(), String> {
        check_arguments(TableBuilder::new().put("x-match", value).view())
    }

    #[test]
    fn the_four_kinds_and_none_are_taken() {
        for kind in ["all", "any", "all-with-x", "any-with-x"] {
            assert_eq!(checked(kind), Ok(()));
        }
        assert_eq!(check_arguments(Table::EMPTY), Ok(()));
    }

    #[test]
    fn other_values_are_refused_in_rabbitmqs_words() {
        assert_eq!(
            checked("bogus").unwrap_err(),
            r#"Invalid x-match field value <<"bogus">>; expected all, any, all-with-x, or any-with-x"#
        );
        assert_eq!(
            checked(Value::Byte(1)).unwrap_err(),
            "Invalid x-match field type byte (value 1); expected longstr"
        );
        assert_eq!(
            checked(Value::Binary(b"all")).unwrap_err(),
            r#"Invalid x-match field type binary (value <<"all">>); expected longstr"#
        );
    }
}
