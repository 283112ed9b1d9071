//! Dead letters (RabbitMQ: dead letter exchanges): why messages leave their queues unconsumed, and what
//! is written on them on their way to another.

pub mod history;

/// Why a message leaves its queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A consumer refused it (`basic.reject` or `basic.nack`) and did not want it requeued.
    Rejected,
    /// Its time to live ended before somebody took it.
    Expired,
    /// The queue is at its limit of messages or bytes, and this one made room or was not let in.
    MaxLength,
    /// It was given back more often than the queue allows.
    DeliveryLimit,
}

impl Reason {
    /// RabbitMQ's word for it, which consumers read in `x-death` and the headers beside it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}
