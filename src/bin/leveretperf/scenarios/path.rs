//! From publishers through exchanges and queues to consumers: what a load asks for, set up on a broker, or as
//! two sockets on the relay.
//!
//! **Who sends what where.** Every publisher and every queue has at least one line (see `client::ledger`): line `n` goes
//! from publisher `n` to queue `n`, both counted round. Consumer `n` reads queue `n`, in the same manner; if there are
//! fewer consumers than queues, each reads several.

use std::io::Write;

use super::fresh_name;
use crate::client::connection::{Connection, Life};
use crate::client::consumer::Consumer;
use crate::client::failure::{Failure, Result};
use crate::client::ledger::Ledger;
use crate::client::message::{Message, Publish};
use crate::client::publisher::{Pace, Publisher};
use crate::client::wire::Method;
use crate::load::{Load, Routing};
use crate::relay;
use crate::target::{Kind, Target};

pub struct Path {
    pub publishers: Vec<Publisher>,
    pub consumers: Vec<Consumer>,
    pub ledger: Ledger,
    /// Deliveries that each message makes.
    pub fan_out: u64,
    /// Messages of one publisher that may wait for their confirm.
    pub window: u64,
    /// Messages of one publisher that may be on their way to consumers.
    pub in_flight: u64,
    /// Confirms that never come: the relay passes acknowledgements on in their place, and the last few are never due.
    pub unconfirmed_at_end: u64,
}

impl Path {
    /// Publishers write at most `batch_max` messages at a time.
    pub fn open(target: &Target, load: &Load, batch_max: u64) -> Result<Self> {
        match target.kind {
            Kind::Broker => Path::through_broker(target, load, batch_max),
            Kind::Relay => Path::through_relay(target, load, batch_max),
        }
    }

    pub fn close(self) -> Result<()> {
        for publisher in self.publishers {
            publisher.connection.close()?;
        }
        for mut consumer in self.consumers {
            consumer.settle()?;
            consumer.connection.close()?;
        }
        Ok(())
    }

    fn through_broker(target: &Target, load: &Load, batch_max: u64) -> Result<Self> {
        let names = Names::new(load);
        let consumers = open_consumers(target, load, &names)?;
        let lines = load.publishers.max(load.queues);
        let per_publisher = lines.div_ceil(load.publishers) as u64;
        let in_flight = in_flight(load, names.message(load, 0).bytes.len()).max(per_publisher);
        let window = load.confirm.unwrap_or(in_flight).max(per_publisher);
        let pace = Pace {
            window,
            confirms: load.confirm.is_some(),
            batch_max,
        };
        let mut publishers = Vec::new();
        for number in 0..load.publishers {
            let mut connection = Connection::open(&target.endpoint)?;
            if load.confirm.is_some() {
                connection.select_confirms()?;
            }
            let messages = match load.routing {
                Routing::Fanout => vec![(0, names.message_for(load, &connection, 0))],
                _ => (number..lines)
                    .step_by(load.publishers)
                    .map(|line| {
                        (
                            line,
                            names.message_for(load, &connection, line % load.queues),
                        )
                    })
                    .collect(),
            };
            publishers.push(Publisher::new(connection, &messages, pace));
        }
        let sharing = (load.consumers > load.queues).then_some(load.consumers);
        Ok(Path {
            publishers,
            consumers,
            ledger: match load.routing {
                Routing::Fanout => Ledger::by_queue(load.queues, 1),
                _ => Ledger::by_number(lines, load.queues, sharing),
            },
            fan_out: fan_out(load),
            window,
            in_flight,
            unconfirmed_at_end: 0,
        })
    }

    /// The publisher sends what a broker would deliver: the consumer then does the same in both cases.
    fn through_relay(target: &Target, load: &Load, batch_max: u64) -> Result<Self> {
        if (load.publishers, load.consumers) != (1, 1) {
            return Err(Failure::new("the relay has one publisher and one consumer"));
        }
        let copies = fan_out(load);
        let (publisher, consumer, message) = open_relayed(target, load, copies)?;
        let in_flight = in_flight(load, message.bytes.len());
        let window = load.confirm.unwrap_or(in_flight);
        let pace = Pace {
            window,
            confirms: load.confirm.is_some(),
            batch_max,
        };
        Ok(Path {
            publishers: vec![Publisher::new(publisher, &[(0, message)], pace)],
            consumers: vec![Consumer::new(consumer, 0, load.ack)],
            ledger: Ledger::by_queue(1, copies),
            fan_out: copies,
            window,
            in_flight,
            unconfirmed_at_end: load.ack.map_or(0, |every| every - 1),
        })
    }
}

/// A publisher's and a consumer's connection to the relay, and what to send.
pub fn open_relayed(
    target: &Target,
    load: &Load,
    copies: u64,
) -> Result<(Connection, Connection, Message)> {
    let mut publisher = Connection::raw(target.endpoint.address)?;
    let consumer = Connection::raw(target.endpoint.address)?;
    let name = fresh_name();
    let publish = Publish {
        routing_key: &name,
        body_size: load.body_size,
        persistent: load.persistent,
        ..Publish::default()
    };
    let message = publish.delivery();
    let preamble = relay::preamble(copies as u32, message.bytes.len());
    publisher.stream.write_all(&preamble)?;
    Ok((publisher, consumer, message))
}

/// What queues, exchanges and keys are called. Names of one kind are of one length.
struct Names {
    exchange: String,
    queues: Vec<String>,
    /// What messages carry, an encoded field table.
    headers: Vec<u8>,
}

impl Names {
    fn new(load: &Load) -> Self {
        let name = fresh_name();
        let queues = (0..load.queues).map(|number| format!("{name}.{number:04}"));
        Names {
            queues: queues.collect(),
            exchange: name,
            headers: match load.routing {
                Routing::Headers => headers_table("this"),
                _ => Vec::new(),
            },
        }
    }

    fn message(&self, load: &Load, queue: usize) -> Message {
        self.publish(load, &self.key(load, queue)).message()
    }

    fn message_for(&self, load: &Load, connection: &Connection, queue: usize) -> Message {
        let key = self.key(load, queue);
        let publish = Publish {
            frame_max: connection.frame_max,
            ..self.publish(load, &key)
        };
        publish.message()
    }

    fn publish<'a>(&'a self, load: &Load, key: &'a str) -> Publish<'a> {
        Publish {
            exchange: match load.routing {
                Routing::Queue => "",
                _ => &self.exchange,
            },
            routing_key: key,
            headers: &self.headers,
            persistent: load.persistent,
            body_size: load.body_size,
            ..Publish::default()
        }
    }

    fn key(&self, load: &Load, queue: usize) -> String {
        match load.routing {
            Routing::Queue => self.queues[queue].clone(),
            Routing::Fanout => String::new(),
            _ => format!("perf.load.{queue:04}"),
        }
    }

    /// The exchange, bound to its queues and to much else.
    fn declare_exchange(&self, connection: &mut Connection, load: &Load) -> Result<()> {
        let exchange = &self.exchange;
        let kind = match load.routing {
            Routing::Queue => return Ok(()),
            Routing::Direct | Routing::Chain => "direct",
            Routing::Topic => "topic",
            Routing::Headers => "headers",
            Routing::Fanout => "fanout",
        };
        let mut last = exchange.clone();
        connection.declare_exchange(exchange, kind)?;
        if load.routing == Routing::Chain {
            for hop in 0..CHAIN_HOPS {
                let next = format!("{exchange}.hop{hop}");
                connection.declare_exchange(&next, kind)?;
                connection.bind_exchange(&next, &last, &self.key(load, 0))?;
                last = next;
            }
        }
        let others = (0..load.bindings).map(|number| match load.routing {
            Routing::Topic => (format!("other.*.{number:06}.#"), Vec::new()),
            Routing::Headers => (String::new(), headers_table(&format!("other {number}"))),
            _ => (format!("other.{number:06}"), Vec::new()),
        });
        connection.bind_all(&self.queues[0], &last, others)?;
        for (number, queue) in self.queues.iter().enumerate() {
            let key = match load.routing {
                Routing::Topic => format!("perf.*.{number:04}"),
                _ => self.key(load, number),
            };
            connection.bind(queue, &last, &key, &self.headers)?;
        }
        Ok(())
    }
}

fn open_consumers(target: &Target, load: &Load, names: &Names) -> Result<Vec<Consumer>> {
    let life = match (load.persistent, load.consumers) {
        (true, _) => Life::DurableShared,
        (false, 1) => Life::Exclusive,
        (false, _) => Life::Shared,
    };
    let mut connections = Vec::new();
    for _ in 0..load.consumers {
        let mut connection = Connection::open(&target.endpoint)?;
        if load.ack.is_some() {
            connection.set_prefetch(load.prefetch)?;
        }
        connections.push(connection);
    }
    for queue in &names.queues {
        connections[0].declare_queue(queue, life)?;
    }
    names.declare_exchange(&mut connections[0], load)?;
    for number in 0..load.consumers.max(load.queues) {
        let queue = number % load.queues;
        let connection = &mut connections[number % load.consumers];
        connection.consume(&names.queues[queue], queue, load.ack.is_none())?;
    }
    let numbered = connections.into_iter().enumerate();
    Ok(numbered
        .map(|(number, connection)| Consumer::new(connection, number, load.ack))
        .collect())
}

fn fan_out(load: &Load) -> u64 {
    match load.routing {
        Routing::Fanout => load.queues as u64,
        _ => 1,
    }
}

/// What keeps every stage busy and no more; at least what confirms leave room for.
fn in_flight(load: &Load, message_size: usize) -> u64 {
    let by_size = (IN_FLIGHT_BYTES / message_size) as u64;
    let count = by_size.clamp(IN_FLIGHT_MIN, IN_FLIGHT_DELIVERIES) / fan_out(load);
    count.max(load.confirm.unwrap_or(1))
}

fn headers_table(value: &str) -> Vec<u8> {
    let table = Method::empty()
        .short("kind")
        .u8(b'S')
        .long(value.as_bytes());
    table.as_bytes().to_vec()
}

const CHAIN_HOPS: usize = 3;
const IN_FLIGHT_BYTES: usize = 1 << 20;
const IN_FLIGHT_DELIVERIES: u64 = 20_000;
/// Of large messages.
const IN_FLIGHT_MIN: u64 = 16;
