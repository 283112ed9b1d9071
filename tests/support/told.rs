//! Queues that were told more than their names, and what their messages tell of it.

use std::time::{Duration, Instant};

use leveret::wire::amqp::{Properties, Table, TableBuilder, Value, basic, queue};

use super::{Delivery, RawClient, eventually};

/// Arguments of a queue.
pub type Arguments<'a> = [(&'a str, Value<'a>)];

pub fn table(arguments: &Arguments<'_>) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, value) in arguments {
        table.put(name, *value);
    }
    table
}

impl RawClient {
    /// Declares a transient queue with arguments.
    #[track_caller]
    pub fn declare_with(&mut self, name: &str, arguments: &Arguments<'_>) {
        let arguments = table(arguments);
        self.call(queue::Declare {
            queue: name.as_bytes(),
            arguments: arguments.view(),
            ..Default::default()
        });
    }

    #[track_caller]
    pub fn declare_durable_with(&mut self, name: &str, arguments: &Arguments<'_>) {
        let arguments = table(arguments);
        self.call(queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            arguments: arguments.view(),
            ..Default::default()
        });
    }

    /// Declares a queue whose dead letters go to the queue `dead`, which is declared too.
    #[track_caller]
    pub fn declare_mortal(&mut self, name: &str, dead: &str, arguments: &Arguments<'_>) {
        self.declare_queue(dead);
        let mut all = to_queue(dead).to_vec();
        all.extend_from_slice(arguments);
        self.declare_with(name, &all);
    }

    pub fn publish_expiring(&mut self, queue: &str, expiration: &str, body: impl AsRef<[u8]>) {
        let properties = Properties {
            expiration: Some(expiration.as_bytes()),
            ..Properties::default()
        };
        self.publish_with("", queue, &properties, body);
    }

    pub fn publish_priority(&mut self, queue: &str, priority: u8, body: impl AsRef<[u8]>) {
        let properties = Properties {
            priority: Some(priority),
            ..Properties::default()
        };
        self.publish_with("", queue, &properties, body);
    }

    pub fn publish_headers(&mut self, queue: &str, headers: Table<'_>, body: impl AsRef<[u8]>) {
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        self.publish_with("", queue, &properties, body);
    }

    /// `basic.reject` without requeue: it goes to the dead letters, if there are any.
    pub fn reject(&mut self, delivery_tag: u64) {
        self.send(&basic::Reject {
            delivery_tag,
            requeue: false,
        });
    }

    pub fn nack(&mut self, delivery_tag: u64, multiple: bool, requeue: bool) {
        self.send(&basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        });
    }

    /// Gets the next message and rejects it.
    #[track_caller]
    pub fn reject_next(&mut self, queue: &str) {
        let delivery = self.await_unacked(queue);
        self.reject(delivery.delivery_tag);
    }

    /// Gets a message as soon as there is one; no ack is due.
    #[track_caller]
    pub fn await_message(&mut self, queue: &str) -> Delivery {
        self.await_as(queue, true)
    }

    /// The same, with an ack to follow.
    #[track_caller]
    pub fn await_unacked(&mut self, queue: &str) -> Delivery {
        self.await_as(queue, false)
    }

    #[track_caller]
    fn await_as(&mut self, queue: &str, no_ack: bool) -> Delivery {
        let mut delivery = None;
        eventually(&format!("a message in {queue}"), || {
            delivery = self.get_as(queue, no_ack);
            delivery.is_some()
        });
        delivery.unwrap()
    }

    /// Waits until the queue has so many ready messages.
    #[track_caller]
    pub fn await_count(&mut self, queue: &str, count: u32) {
        let what = format!("{count} messages in {queue}");
        eventually(&what, || self.counts(queue).0 == count);
    }

    /// Waits until the queue is gone. It is looked for on a channel of its own, which dies of it.
    #[track_caller]
    pub fn await_gone(&mut self, queue: &str) {
        eventually(&format!("{queue} is gone"), || !self.has_queue(queue));
    }

    /// Whether the queue is there, without renewing its lease: by a message that it would get.
    pub fn has_queue(&mut self, queue: &str) -> bool {
        self.publish_mandatory("", queue, "is it there?");
        let came = self.settle();
        let channel = self.channel;
        !came
            .iter()
            .any(|received| received.is(channel, "basic.return"))
    }

    /// Publishes, and says whether the message was acked.
    #[track_caller]
    pub fn publish_confirmed(&mut self, queue: &str, body: impl AsRef<[u8]>) -> bool {
        self.publish("", queue, body);
        self.verdict()
    }

    /// Whether the confirm that comes is an ack.
    #[track_caller]
    pub fn verdict(&mut self) -> bool {
        let received = self.receive();
        if received.is(self.channel, "basic.ack") {
            return true;
        }
        let is_nack = received.is(self.channel, "basic.nack");
        assert!(is_nack, "a confirm was due, and what came was {received}");
        false
    }
}

/// Dead letters go to this queue.
pub fn to_queue(name: &str) -> [(&str, Value<'_>); 2] {
    [
        ("x-dead-letter-exchange", Value::string("")),
        ("x-dead-letter-routing-key", Value::string(name)),
    ]
}

/// An entry of `x-death`: where, why and how often a message died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    pub queue: String,
    pub reason: String,
    pub count: i64,
}

pub fn died(queue: &str, reason: &str, count: i64) -> Died {
    Died {
        queue: queue.to_owned(),
        reason: reason.to_owned(),
        count,
    }
}

impl Delivery {
    /// The entries of `x-death`, as they came.
    pub fn death_tables(&self) -> Vec<Table<'_>> {
        match self.header("x-death") {
            Some(Value::Array(deaths)) => deaths
                .iter()
                .map(|death| death.as_table().expect("a table"))
                .collect(),
            None => Vec::new(),
            Some(other) => panic!("x-death is {other:?}"),
        }
    }

    /// Where, why and how often it died, newest first.
    pub fn deaths(&self) -> Vec<Died> {
        let tables = self.death_tables().into_iter();
        tables
            .map(|death| {
                let text = |name: &str| death.get(name).unwrap().as_str().unwrap().to_owned();
                let Some(Value::Long(count)) = death.get("count") else {
                    panic!("no count: {death:?}");
                };
                Died {
                    queue: text("queue"),
                    reason: text("reason"),
                    count,
                }
            })
            .collect()
    }

    /// A header that is a string.
    pub fn text_header(&self, name: &str) -> Option<&str> {
        self.header(name)
            .map(|value| value.as_str().expect("a string"))
    }

    /// `x-delivery-count`; a message that is not redelivered may have none.
    pub fn delivery_count(&self) -> i64 {
        match self.header("x-delivery-count") {
            None => 0,
            Some(Value::Long(count)) => count,
            Some(other) => panic!("x-delivery-count is {other:?}"),
        }
    }
}

/// Lets this much time pass, where it is the passing of time that is tested.
pub fn let_pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(rest) = until.checked_duration_since(Instant::now()) {
        std::thread::sleep(rest);
    }
}

/// Milliseconds as a duration.
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
