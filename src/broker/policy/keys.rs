//! The keys that a definition may have.

use crate::broker::queue::arguments::QueueKind::{self, Classic, Quorum, Stream};

/// A key of a definition (RabbitMQ: policy validators and merge strategies).
pub(super) struct Key {
    pub name: &'static str,
    pub check: Check,
    /// What RabbitMQ says behind a value that it does not take.
    pub fault: &'static str,
    pub merge: Merge,
    /// Queues that do not understand it, so that no policy with it is theirs.
    pub not_for: &'static [QueueKind],
    is_for_operators: bool,
}

/// What values a key takes.
pub(super) enum Check {
    Any,
    /// Of an exchange, or a routing key: at most 255 bytes.
    Name,
    Flag,
    Number {
        least: i64,
    },
    NumberOf(&'static [i64]),
    OneOf(&'static [&'static str]),
    Age,
}

/// Which value counts where a policy and an operator policy have the same key.
#[derive(Clone, Copy)]
pub(super) enum Merge {
    Least,
    /// The least that is a limit at all.
    StricterLimit,
    Operator,
}

impl Key {
    pub fn for_operators(&self) -> bool {
        self.is_for_operators
    }

    const fn new(name: &'static str, check: Check, fault: &'static str) -> Key {
        Key {
            name,
            check,
            fault,
            merge: Merge::Operator,
            not_for: &[],
            is_for_operators: false,
        }
    }

    /// Operators may set it, too.
    const fn merged(self, merge: Merge) -> Key {
        Key {
            merge,
            is_for_operators: true,
            ..self
        }
    }

    const fn not_for(self, not_for: &'static [QueueKind]) -> Key {
        Key { not_for, ..self }
    }
}

const COUNT: Check = Check::Number { least: 0 };
const POSITIVE: Check = Check::Number { least: 1 };

/// RabbitMQ knows `delivery-limit`, `dead-letter-strategy` and those of delayed retry for quorum queues
/// only. Here they work for classic ones, so policies with them apply to these.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "alternate-exchange",
        Check::Name,
        "is not a valid alternate exchange name",
    ),
    Key::new("consumer-timeout", COUNT, "is not a valid consumer timeout"),
    Key::new(
        "consumer-disconnected-timeout",
        COUNT,
        "is not a valid consumer disconnected timeout",
    ),
    Key::new(
        "dead-letter-exchange",
        Check::Name,
        "is not a valid dead letter exchange name",
    )
    .not_for(&[Stream]),
    Key::new(
        "dead-letter-routing-key",
        Check::Name,
        "is not a valid dead letter routing key",
    )
    .not_for(&[Stream]),
    Key::new(
        "dead-letter-strategy",
        Check::OneOf(&["at-most-once", "at-least-once"]),
        "is not a valid dead letter strategy",
    )
    .not_for(&[Stream]),
    Key::new(
        "delayed-retry-type",
        Check::OneOf(&["disabled", "all", "failed", "returned"]),
        "is not a valid delayed retry type",
    )
    .not_for(&[Stream]),
    Key::new(
        "delayed-retry-min",
        COUNT,
        "is not a valid delayed retry minimum",
    )
    .not_for(&[Stream]),
    Key::new(
        "delayed-retry-max",
        COUNT,
        "is not a valid delayed retry maximum",
    )
    .not_for(&[Stream]),
    // LavinMQ's.
    Key::new(
        "delayed-message",
        Check::Flag,
        "is not a valid delayed-message value",
    ),
    Key::new(
        "delivery-limit",
        Check::Number { least: i64::MIN },
        "is not a valid delivery limit",
    )
    .merged(Merge::StricterLimit)
    .not_for(&[Stream]),
    Key::new("expires", POSITIVE, "is not a valid queue expiry")
        .merged(Merge::Least)
        .not_for(&[Stream]),
    Key::new(
        "federation-upstream",
        Check::Name,
        "is not a valid federation upstream name",
    ),
    Key::new(
        "federation-upstream-pattern",
        Check::Name,
        "is not a valid federation upstream pattern",
    ),
    Key::new(
        "federation-upstream-set",
        Check::Name,
        "is not a valid federation upstream set name",
    ),
    // Mirroring is gone from RabbitMQ, but not from the files that people import.
    Key::new(
        "ha-mode",
        Check::OneOf(&["all", "exactly", "nodes"]),
        "is not a valid ha-mode value",
    )
    .not_for(NOT_MIRRORED),
    Key::new("ha-params", Check::Any, "").not_for(NOT_MIRRORED),
    Key::new("ha-promote-on-failure", Check::Any, "").not_for(NOT_MIRRORED),
    Key::new("ha-promote-on-shutdown", Check::Any, "").not_for(NOT_MIRRORED),
    Key::new("ha-sync-batch-size", Check::Any, ""),
    Key::new("ha-sync-mode", Check::Any, "").not_for(NOT_MIRRORED),
    Key::new("initial-cluster-size", COUNT, "is not a valid cluster size")
        .not_for(&[Classic, Quorum]),
    Key::new("max-age", Check::Age, "is not a valid max age").not_for(&[Classic, Quorum]),
    Key::new(
        "max-in-memory-bytes",
        COUNT,
        "is not a valid maximum memory in bytes",
    )
    .merged(Merge::Least)
    .not_for(&[Stream]),
    Key::new(
        "max-in-memory-length",
        COUNT,
        "is not a valid maximum memory in bytes",
    )
    .merged(Merge::Least)
    .not_for(&[Stream]),
    Key::new("max-length", COUNT, "is not a valid maximum length")
        .merged(Merge::Least)
        .not_for(&[Stream]),
    Key::new(
        "max-length-bytes",
        COUNT,
        "is not a valid maximum length in bytes",
    )
    .merged(Merge::Least),
    Key::new("message-ttl", COUNT, "is not a valid message TTL")
        .merged(Merge::Least)
        .not_for(&[Stream]),
    Key::new(
        "overflow",
        Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "is not a valid overflow value",
    )
    .merged(Merge::Operator)
    .not_for(&[Stream]),
    Key::new(
        "queue-leader-locator",
        Check::OneOf(&["client-local", "balanced", "random", "least-leaders"]),
        "is not a valid queue leader locator value",
    ),
    Key::new(
        "queue-master-locator",
        Check::OneOf(&["min-masters", "client-local", "random"]),
        "invalid queue-master-locator value",
    )
    .not_for(NOT_MIRRORED),
    Key::new(
        "queue-mode",
        Check::OneOf(&["default", "lazy"]),
        "is not a valid queue-mode value",
    )
    .not_for(&[Quorum, Stream]),
    Key::new(
        "queue-version",
        Check::NumberOf(&[1, 2]),
        "is not a valid queue-version value",
    )
    .merged(Merge::Operator),
    Key::new(
        "stream-filter-size-bytes",
        COUNT,
        "is not a valid filter size",
    )
    .not_for(&[Classic, Quorum]),
    Key::new(
        "stream-max-segment-size-bytes",
        COUNT,
        "is not a valid segment size",
    )
    .not_for(&[Classic, Quorum]),
    Key::new(
        "target-group-size",
        COUNT,
        "is not a valid target group size",
    )
    .not_for(&[Stream]),
];

const NOT_MIRRORED: &[QueueKind] = &[Quorum, Stream];
