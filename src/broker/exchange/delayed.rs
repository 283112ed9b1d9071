//! The delayed message exchange (RabbitMQ: `x-delayed-message`; LavinMQ: the argument
//! `x-delayed-exchange` on any type): routes like another type, which it has inside, but messages with
//! the header `x-delay` wait first.
//!
//! The table does not wait; it says that the exchange does ([`ExchangeType::delays`]), and
//! [`delay_of`] says how long. When a message was delayed and is routed, its `x-delay` is negative, as
//! with RabbitMQ's plugin: consumers see that it was late on purpose, and no further delayed exchange
//! on its way holds it up again.

use super::{Declaration, ExchangeType, NewBinding, Refused, Router};
use crate::wire::amqp::{Properties, Table, Value};

/// The table of a delayed message exchange.
#[derive(Debug)]
pub struct Delayed<D> {
    inner: Box<Router<D>>,
    /// Declared with the inner type's name, which it goes on to have.
    by_argument: bool,
}

impl<D: Copy + Ord> Delayed<D> {
    /// Lets an exchange of any type delay.
    pub(super) fn by_argument(inner: Router<D>) -> Self {
        Delayed {
            inner: Box::new(inner),
            by_argument: true,
        }
    }
}

impl<D: Copy + Ord> ExchangeType<D> for Delayed<D> {
    fn declare(declaration: &Declaration<'_>) -> Result<Self, Refused> {
        let inner_type = declaration.arguments.get(INNER_TYPE);
        let inner = match inner_type.and_then(|value| value.as_bytes()) {
            Some(b"x-delayed-message") => Err(Refused::BadArgument(format!(
                "Invalid argument, 'x-delayed-message' can't be used for '{INNER_TYPE}'"
            ))),
            Some(name) => Router::of_type(name, declaration),
            None => Err(Refused::BadArgument(format!(
                "Invalid argument, '{INNER_TYPE}' must be an existing exchange type"
            ))),
        };
        Ok(Delayed {
            inner: Box::new(inner?),
            by_argument: false,
        })
    }

    fn type_name(&self, listed: &'static str) -> &'static str {
        match self.by_argument {
            true => self.inner.type_name(),
            false => listed,
        }
    }

    fn check_binding(&self, key: &[u8], arguments: Table<'_>) -> Result<(), String> {
        self.inner.check_binding(key, arguments)
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.inner.bind(binding);
    }

    fn unbind(&mut self, key: &[u8], arguments: Table<'_>, destination: D) {
        self.inner.unbind(key, arguments, destination);
    }

    fn route(&mut self, key: &[u8], properties: &Properties<'_>, out: &mut Vec<D>) {
        self.inner.route(key, properties, out);
    }

    fn wants_every_key(&self) -> bool {
        self.inner.wants_every_key()
    }

    fn is_repeatable(&self) -> bool {
        self.inner.is_repeatable()
    }

    fn history_length(&self) -> usize {
        self.inner.history_length()
    }

    fn keeps(&self, properties: &Properties<'_>) -> bool {
        self.inner.keeps(properties)
    }

    fn delays(&self) -> bool {
        true
    }

    fn deduplicates(&self) -> bool {
        self.inner.deduplicates()
    }
}

/// Whether the arguments of an exchange of another type let it delay (LavinMQ).
pub(super) fn is_delayed_by(arguments: Table<'_>) -> bool {
    let argument = arguments.get("x-delayed-exchange");
    argument.and_then(|value| value.as_bool()) == Some(true)
}

/// For how many milliseconds an exchange that delays holds a message with these headers; at least 1.
/// `None` for one that goes on at once: without the header `x-delay`, or with one that is not positive,
/// or no number.
///
/// Like RabbitMQ's plugin this takes numbers of all types, and text with digits. It has no upper limit,
/// where the plugin does not delay at all beyond 2^32 - 1 milliseconds.
pub fn delay_of(headers: Option<Table<'_>>) -> Option<u64> {
    let value = headers?.get("x-delay")?;
    let delay = match value {
        Value::LongString(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        value => match value.as_float() {
            // Saturates, and what is no number becomes 0.
            Some(float) => float as i64,
            None => value.as_integer()?,
        },
    };
    u64::try_from(delay).ok().filter(|delay| *delay > 0)
}

const INNER_TYPE: &str = "x-delayed-type";

#[cfg(test)]
mod tests {
    use super::super::testing::{bind, declared, refused, routed, table};
    use super::*;

    #[test]
    fn it_routes_like_the_type_inside() {
        let arguments = table(&[(INNER_TYPE, "topic".into())]);
        let mut exchange: Delayed<u32> = declared(arguments.view());
        bind(&mut exchange, "a.*", 1);
        bind(&mut exchange, "b", 2);
        assert_eq!(routed(&mut exchange, "a.b"), [1]);
        assert!(exchange.delays() && exchange.wants_every_key() && exchange.is_repeatable());
        assert_eq!(exchange.type_name("x-delayed-message"), "x-delayed-message");
    }

    #[test]
    fn bindings_and_arguments_are_checked_as_the_type_inside_does() {
        let arguments = table(&[(INNER_TYPE, "x-consistent-hash".into())]);
        let exchange: Delayed<u32> = declared(arguments.view());
        assert!(exchange.check_binding(b"1", Table::EMPTY).is_ok());
        assert!(exchange.check_binding(b"no", Table::EMPTY).is_err());
        let arguments = table(&[
            (INNER_TYPE, "x-recent-history".into()),
            ("x-recent-history-length", 0.into()),
        ]);
        assert!(refused::<Delayed<u32>>(arguments.view()).contains("positive integer"));
    }

    #[test]
    fn the_type_inside_must_be_another_that_exists() {
        let text = |entries: &[(&str, Value<'_>)]| refused::<Delayed<u32>>(table(entries).view());
        assert_eq!(
            text(&[]),
            "Invalid argument, 'x-delayed-type' must be an existing exchange type"
        );
        assert_eq!(
            text(&[(INNER_TYPE, 5.into())]),
            "Invalid argument, 'x-delayed-type' must be an existing exchange type"
        );
        assert_eq!(
            text(&[(INNER_TYPE, "x-delayed-message".into())]),
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"
        );
        assert_eq!(
            text(&[(INNER_TYPE, "nosuch".into())]),
            "unknown exchange type 'nosuch'"
        );
    }

    #[test]
    fn any_type_delays_with_the_argument_and_keeps_its_name() {
        let arguments = table(&[("x-delayed-exchange", true.into())]);
        for name in ["direct", "x-random"] {
            let router = Router::<u32>::declare(name.as_bytes(), arguments.view(), 1);
            let router = router.expect("a known type");
            assert!(router.delays());
            assert_eq!(router.type_name(), name);
        }
        let arguments = table(&[("x-delayed-exchange", false.into())]);
        let router = Router::<u32>::declare(b"direct", arguments.view(), 1);
        assert!(!router.expect("a known type").delays());
    }

    #[test]
    fn a_delay_is_a_positive_number() {
        assert_eq!(delay_of(None), None);
        assert_eq!(delay_of(Some(Table::EMPTY)), None);
        for (value, expected) in [
            (Value::SignedInt(5000), Some(5000)),
            (Value::Byte(5), Some(5)),
            (Value::UnsignedInt(u32::MAX), Some(u32::MAX.into())),
            (Value::Long(1 << 40), Some(1 << 40)),
            (Value::string("250"), Some(250)),
            (Value::double(1.9), Some(1)),
            (Value::double(f64::NAN), None),
            (Value::string("soon"), None),
            (Value::SignedInt(0), None),
            (Value::SignedInt(-5000), None),
            (Value::Void, None),
            (Value::from(true), None),
        ] {
            let headers = table(&[("x-delay", value)]);
            assert_eq!(delay_of(Some(headers.view())), expected, "{value:?}");
        }
    }
}
