//! What holds for a queue: its arguments, its policy and its operator policy together.

use crate::broker::Core;
use crate::broker::queue::QueueKey;
use crate::broker::queue::arguments::{BadArgument, QueueArguments, QueueKind};
use crate::wire::amqp::field_table::Table;

use super::definition::{Settings, stricter_limit};

impl QueueArguments {
    /// The arguments that a queue was declared with under these settings: of two limits or times the
    /// lesser; of two names or ways the argument. Only the overflow of a quorum queue is the policy's
    /// to say (RabbitMQ).
    ///
    /// # Errors
    /// Arguments that no queue can be declared with.
    pub fn effective(declared: Table<'_>, settings: &Settings) -> Result<Self, BadArgument> {
        let mut arguments = QueueArguments::from_table(declared)?;
        arguments.apply(declared, settings);
        Ok(arguments)
    }

    fn apply(&mut self, declared: Table<'_>, settings: &Settings) {
        limit(&mut self.message_ttl_ms, settings.message_ttl_ms);
        limit(&mut self.expires_ms, settings.expires_ms);
        limit(&mut self.length_max, settings.length_max);
        limit(&mut self.length_bytes_max, settings.length_bytes_max);
        limit(&mut self.consumer_timeout_ms, settings.consumer_timeout_ms);
        self.apply_delivery_limit(declared, settings);
        // What a queue has without being told, and what it was told, look the same once parsed.
        let is_told = |name: &str| declared.get(name).is_some();
        if let Some(overflow) = settings.overflow
            && (self.kind == QueueKind::Quorum || !is_told("x-overflow"))
        {
            self.overflow = overflow;
        }
        if let Some(strategy) = settings.dead_letter_strategy
            && !is_told("x-dead-letter-strategy")
        {
            self.dead_letter_strategy = strategy;
        }
        if let Some(retry_type) = settings.delayed_retry_type
            && !is_told("x-delayed-retry-type")
        {
            self.delayed_retry_type = retry_type;
        }
        fill(
            &mut self.dead_letter_exchange,
            &settings.dead_letter_exchange,
        );
        fill(
            &mut self.dead_letter_routing_key,
            &settings.dead_letter_routing_key,
        );
        fill(
            &mut self.delayed_retry_min_ms,
            &settings.delayed_retry_min_ms,
        );
        fill(
            &mut self.delayed_retry_max_ms,
            &settings.delayed_retry_max_ms,
        );
    }

    /// The default of a quorum queue gives way to a policy, an argument does not.
    fn apply_delivery_limit(&mut self, declared: Table<'_>, settings: &Settings) {
        let Some(limit) = settings.delivery_limit else {
            return;
        };
        let told = declared.get("x-delivery-limit");
        let told = told.and_then(|limit| limit.as_integer());
        let limit = told.map_or(limit, |told| stricter_limit(told, limit));
        self.delivery_limit = u64::try_from(limit).ok();
    }
}

impl Core {
    /// Called after [`QueueArguments`] of a queue changed by a policy: what follows at once from a
    /// lower limit or another time belongs here.
    pub(in crate::broker) fn settings_changed(&mut self, queue: QueueKey) {
        self.traffic.queues[queue].follow_arguments();
        self.renew_lease(queue);
        self.retime_consumers(queue);
        self.drop_excess(queue);
    }
}

fn limit(own: &mut Option<u64>, set: Option<u64>) {
    *own = match (*own, set) {
        (Some(own), Some(set)) => Some(own.min(set)),
        (own, set) => own.or(set),
    };
}

fn fill<T: Clone>(own: &mut Option<T>, set: &Option<T>) {
    if own.is_none() {
        own.clone_from(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Name;
    use crate::broker::queue::arguments::{DeadLetterStrategy, Overflow, RetryType};
    use crate::wire::amqp::field_table::{TableBuilder, Value};

    fn table(entries: &[(&str, Value<'_>)]) -> TableBuilder {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, *value);
        }
        table
    }

    /// The arguments that the queue would have to be declared with to be the same without a policy.
    fn assert_same(
        declared: &[(&str, Value<'_>)],
        settings: &Settings,
        expected: &[(&str, Value<'_>)],
    ) {
        let effective = QueueArguments::effective(table(declared).view(), settings).unwrap();
        let expected = QueueArguments::from_table(table(expected).view()).unwrap();
        assert_eq!(effective, expected, "{declared:?} under {settings:?}");
    }

    #[test]
    fn of_two_limits_the_lesser_holds() {
        let settings = Settings {
            message_ttl_ms: Some(10),
            expires_ms: Some(20),
            length_max: Some(30),
            length_bytes_max: Some(40),
            consumer_timeout_ms: Some(50),
            ..Settings::default()
        };
        let keys = [
            ("x-message-ttl", 10),
            ("x-expires", 20),
            ("x-max-length", 30),
            ("x-max-length-bytes", 40),
            ("x-consumer-timeout", 50),
        ];
        let told = |by: i64| keys.map(|(key, value)| (key, Value::Long(value + by)));
        assert_same(&[], &settings, &told(0));
        assert_same(&told(1), &settings, &told(0));
        assert_same(&told(-1), &settings, &told(-1));
        assert_same(&told(1), Settings::NONE, &told(1));
    }

    #[test]
    fn of_two_names_or_ways_the_argument_holds() {
        let settings = Settings {
            dead_letter_exchange: Some(Name::from("policy")),
            dead_letter_routing_key: Some(Name::from("key")),
            dead_letter_strategy: Some(DeadLetterStrategy::AtLeastOnce),
            overflow: Some(Overflow::RejectPublish),
            delayed_retry_type: Some(RetryType::Failed),
            delayed_retry_min_ms: Some(5),
            delayed_retry_max_ms: Some(6),
            ..Settings::default()
        };
        let policy = [
            ("x-dead-letter-exchange", Value::string("policy")),
            ("x-dead-letter-routing-key", Value::string("key")),
            ("x-dead-letter-strategy", Value::string("at-least-once")),
            ("x-overflow", Value::string("reject-publish")),
            ("x-delayed-retry-type", Value::string("failed")),
            ("x-delayed-retry-min", Value::Long(5)),
            ("x-delayed-retry-max", Value::Long(6)),
        ];
        let arguments = [
            ("x-dead-letter-exchange", Value::string("")),
            ("x-dead-letter-routing-key", Value::string("own")),
            ("x-dead-letter-strategy", Value::string("at-most-once")),
            ("x-overflow", Value::string("drop-head")),
            ("x-delayed-retry-type", Value::string("disabled")),
            ("x-delayed-retry-min", Value::Long(7)),
            ("x-delayed-retry-max", Value::Long(8)),
        ];
        assert_same(&[], &settings, &policy);
        assert_same(&arguments, &settings, &arguments);
    }

    #[test]
    fn the_overflow_of_a_quorum_queue_is_the_policys_to_say() {
        let settings = Settings {
            overflow: Some(Overflow::DropHead),
            ..Settings::default()
        };
        let quorum = ("x-queue-type", Value::string("quorum"));
        let reject = ("x-overflow", Value::string("reject-publish"));
        assert_same(&[quorum, reject], &settings, &[quorum]);
        assert_same(&[quorum, reject], Settings::NONE, &[quorum, reject]);
    }

    #[test]
    fn a_limit_of_deliveries_is_stricter_than_none() {
        let limit = |limit: i64| Value::Long(limit);
        for (told, set, expected) in [
            (None, 3, limit(3)),
            (None, -1, limit(-1)),
            (Some(5), 3, limit(3)),
            (Some(2), 3, limit(2)),
            (Some(-1), 3, limit(3)),
            (Some(5), -1, limit(5)),
        ] {
            let told: Vec<_> = told
                .map(|told| ("x-delivery-limit", limit(told)))
                .into_iter()
                .collect();
            let settings = Settings {
                delivery_limit: Some(set),
                ..Settings::default()
            };
            for kind in ["classic", "quorum"] {
                let kind = ("x-queue-type", Value::string(kind));
                let told: Vec<_> = told.iter().copied().chain([kind]).collect();
                assert_same(&told, &settings, &[("x-delivery-limit", expected), kind]);
            }
        }
    }
}
