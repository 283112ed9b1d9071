//! Messages as clients get them.

use leveret::wire::amqp::{Properties, Table, Value};

/// What `basic.deliver` or `basic.get-ok` brought.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Empty for `basic.get`.
    pub consumer_tag: String,
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: String,
    pub routing_key: String,
    /// How many messages `basic.get` left in the queue.
    pub message_count: u32,
    /// Property flags and values as they came.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Delivery {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn properties(&self) -> Properties<'_> {
        Properties::decode(&self.properties).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<Value<'_>> {
        self.properties().headers.unwrap_or(Table::EMPTY).get(name)
    }
}

/// What `basic.return` brought back.
#[derive(Debug, PartialEq, Eq)]
pub struct Returned {
    pub code: u16,
    pub text: String,
    pub exchange: String,
    pub routing_key: String,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}
