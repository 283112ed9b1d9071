//! The recent history exchange (RabbitMQ: `x-recent-history`): a fanout whose last messages are given
//! to each new binding.
//!
//! The table only says how many messages there are to keep and which; `broker::history` keeps them.

use super::erlang_term::ErlangTerm;
use super::fanout::Fanout;
use super::{Declaration, ExchangeType, NewBinding, Refused};
use crate::wire::amqp::{Properties, Table};

/// The table of a recent history exchange.
#[derive(Debug)]
pub struct RecentHistory<D> {
    bindings: Fanout<D>,
    /// At least 1.
    length: usize,
}

impl<D: Copy + Ord> ExchangeType<D> for RecentHistory<D> {
    fn declare(declaration: &Declaration<'_>) -> Result<Self, Refused> {
        Ok(RecentHistory {
            bindings: Fanout::new(),
            length: length(declaration.arguments)?,
        })
    }

    fn bind(&mut self, binding: &NewBinding<'_, D>) {
        self.bindings.bind(binding.destination);
    }

    fn unbind(&mut self, _: &[u8], _: Table<'_>, destination: D) {
        self.bindings.unbind(destination);
    }

    fn route(&mut self, _: &[u8], _: &Properties<'_>, out: &mut Vec<D>) {
        self.bindings.route(out);
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    fn history_length(&self) -> usize {
        self.length
    }

    fn keeps(&self, properties: &Properties<'_>) -> bool {
        let headers = properties.headers.unwrap_or_default();
        let no_store = headers.get(NO_STORE).and_then(|value| value.as_bool());
        no_store != Some(true)
    }
}

fn length(arguments: Table<'_>) -> Result<usize, Refused> {
    let Some(value) = arguments.get(LENGTH) else {
        return Ok(LENGTH_DEFAULT);
    };
    match value
        .as_integer()
        .and_then(|length| usize::try_from(length).ok())
    {
        Some(length) if length > 0 => Ok(length),
        _ => Err(Refused::BadArgument(format!(
            "Invalid argument {}, '{LENGTH}' must be a positive integer",
            ErlangTerm(value)
        ))),
    }
}

const LENGTH: &str = "x-recent-history-length";
const LENGTH_DEFAULT: usize = 20;
const NO_STORE: &str = "x-recent-history-no-store";

#[cfg(test)]
mod tests {
    use super::super::testing::{bind, declared, refused, routed, table, unbind};
    use super::*;
    use crate::wire::amqp::Value;

    #[test]
    fn it_routes_like_a_fanout() {
        let mut exchange: RecentHistory<u32> = declared(Table::EMPTY);
        bind(&mut exchange, "a", 2);
        bind(&mut exchange, "b", 1);
        assert_eq!(routed(&mut exchange, "c"), [1, 2]);
        unbind(&mut exchange, "a", 2);
        assert_eq!(routed(&mut exchange, "c"), [1]);
    }

    #[test]
    fn the_length_is_a_positive_integer_and_20_if_not_given() {
        let length = |entries: &[(&str, Value<'_>)]| {
            declared::<RecentHistory<u32>>(table(entries).view()).history_length()
        };
        assert_eq!(length(&[]), 20);
        assert_eq!(length(&[(LENGTH, 3.into())]), 3);
        let text = |value| refused::<RecentHistory<u32>>(table(&[(LENGTH, value)]).view());
        assert_eq!(
            text(0.into()),
            "Invalid argument 0, 'x-recent-history-length' must be a positive integer"
        );
        assert_eq!(
            text("5".into()),
            "Invalid argument <<\"5\">>, 'x-recent-history-length' must be a positive integer"
        );
        assert_eq!(
            text(true.into()),
            "Invalid argument true, 'x-recent-history-length' must be a positive integer"
        );
    }

    #[test]
    fn a_message_can_ask_not_to_be_kept() {
        let exchange: RecentHistory<u32> = declared(Table::EMPTY);
        assert!(exchange.keeps(&Properties::default()));
        for (value, kept) in [(Value::string("true"), true), (true.into(), false)] {
            let headers = table(&[(NO_STORE, value)]);
            let properties = Properties {
                headers: Some(headers.view()),
                ..Properties::default()
            };
            assert_eq!(exchange.keeps(&properties), kept, "{value:?}");
        }
    }
}
