//! What ordered message groups cost: messages through one queue, published, delivered and acked, without
//! sockets. Run with `cargo bench --bench groups`.

use leveret::broker::message::Traits;
use leveret::broker::topology::queue::QueueDeclaration;
use leveret::broker::{
    Body, ChannelKey, ConnectionKey, ConsumeRequest, Core, Delivery, Message, Name, Outlet, Route,
    Settlement, SocketKey,
};
use leveret::wire::amqp::{OwnedTable, Properties, TableBuilder};
use rustix::time::{ClockId, clock_gettime};

/// Notes whom to send acks for.
#[derive(Default)]
struct Taken(Vec<(SocketKey, u64)>);

impl Outlet for Taken {
    fn has_room(&mut self, _: SocketKey) -> bool {
        true
    }

    fn is_flooded(&self, _: SocketKey) -> bool {
        false
    }

    fn deliver(&mut self, delivery: &Delivery<'_>) {
        self.0.push((delivery.socket, delivery.delivery_tag));
    }
}

struct Bench {
    core: Core,
    route: Route,
    /// By socket, from 1.
    channels: Vec<ChannelKey>,
    taken: Taken,
}

fn main() {
    println!("{:<44} {:>9} {:>9}", "queue", "flow ns", "deep ns");
    for (what, group_key, groups) in [
        ("plain", None, 1),
        ("groups, but no message has one", Some("other"), 1),
        ("100,000 groups", Some("group"), 100_000),
        ("1,000 groups", Some("group"), 1_000),
        ("50 groups, fewer than may be out", Some("group"), 50),
        ("1 group", Some("group"), 1),
    ] {
        let messages: Vec<_> = (0..groups).map(properties_of).collect();
        let flow = Bench::new(group_key).flow(&messages);
        let deep = Bench::new(group_key).deep(&messages);
        println!("{what:<44} {flow:>9} {deep:>9}");
    }
}

impl Bench {
    fn new(group_key: Option<&str>) -> Bench {
        let mut core = Core::new();
        let virtual_host = core.virtual_host(b"/").expect("it is always there");
        let mut arguments = TableBuilder::new();
        if let Some(group_key) = group_key {
            arguments.put("x-group-key", group_key);
        }
        let declaration = QueueDeclaration {
            virtual_host,
            connection: ConnectionKey::NONE,
            name: b"q",
            generated: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.view(),
        };
        core.declare_queue(&declaration).expect("it is valid");
        let queue = core.queue_for(virtual_host, ConnectionKey::NONE, b"q");
        let route = Route {
            queues: vec![queue.expect("it was declared")],
            ..Route::default()
        };
        Bench {
            core,
            route,
            channels: Vec::new(),
            taken: Taken::default(),
        }
    }

    fn consume(&mut self) {
        let virtual_host = self.core.virtual_host(b"/").expect("it is always there");
        for number in 1..=CONSUMERS {
            let socket = SocketKey::from_bits(number);
            let name = Name::from("guest");
            let connection =
                self.core
                    .open_connection(socket, virtual_host, name.clone(), name, true);
            let channel = self.core.open_channel(connection, 1);
            self.core.set_prefetch(channel, PREFETCH, false);
            let request = ConsumeRequest {
                tag: b"c",
                no_ack: false,
                exclusive: false,
                arguments: OwnedTable::default(),
            };
            let consumed = self.core.consume(channel, b"q", request);
            consumed.expect("the queue is there");
            self.channels.push(channel);
        }
    }

    fn publish(&mut self, properties: &[u8]) {
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            properties,
            body: Body::Slice(&[0; 100]),
            arrived_ms: 0,
        };
        let traits = &Traits::default();
        self.core
            .publish(&self.route, &message, traits, &mut self.taken);
        self.deliver();
    }

    fn deliver(&mut self) {
        if !self.core.is_settled() {
            self.core.deliver_fresh(&mut self.taken);
        }
    }

    /// Acks what was delivered; how many that were.
    fn ack(&mut self) -> usize {
        let taken = std::mem::take(&mut self.taken.0);
        for &(socket, tag) in &taken {
            let channel = self.channels[socket.to_bits() as usize - 1];
            let settled = self.core.settle(channel, tag, false, Settlement::Acked);
            settled.expect("it was delivered");
            self.deliver();
        }
        taken.len()
    }

    fn drain(&mut self, mut left: usize) {
        while left > 0 {
            self.core.deliver_fresh(&mut self.taken);
            self.core.deliver_backlogs(&mut self.taken);
            left -= self.ack();
        }
    }

    /// Consumers ack every hundred messages. Nanoseconds of processor time for each.
    fn flow(mut self, messages: &[Vec<u8>]) -> i64 {
        self.consume();
        let started = cpu_ns();
        let mut left = 0;
        for (number, properties) in (1..=COUNT).zip(messages.iter().cycle()) {
            self.publish(properties);
            left += 1;
            if number % 100 == 0 {
                left -= self.ack();
            }
        }
        self.drain(left);
        (cpu_ns() - started) / COUNT as i64
    }

    /// Consumers come when all messages are there. Nanoseconds of processor time for each.
    fn deep(mut self, messages: &[Vec<u8>]) -> i64 {
        let started = cpu_ns();
        for (_, properties) in (0..COUNT).zip(messages.iter().cycle()) {
            self.publish(properties);
        }
        self.consume();
        self.drain(COUNT);
        (cpu_ns() - started) / COUNT as i64
    }
}

/// Processor time that this process took.
fn cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn properties_of(group: usize) -> Vec<u8> {
    let mut headers = TableBuilder::new();
    headers.put("group", group.to_string().as_str());
    let mut block = Vec::new();
    let properties = Properties {
        headers: Some(headers.view()),
        ..Properties::default()
    };
    properties.encode(&mut block);
    block
}

const COUNT: usize = 1_000_000;
const CONSUMERS: u64 = 10;
const PREFETCH: u16 = 100;
