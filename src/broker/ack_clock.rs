//! RabbitMQ: consumer timeout (delivery acknowledgement timeout). Who holds a delivery for too long
//! loses it.
//!
//! A channel has a clock for each of its consumers with a timeout, and for each queue with one that it
//! gets messages from by hand. A clock does not know its deliveries one by one: it marks the first one
//! of each turn of the loop and counts how many of those up to the next mark are still unacked. So the
//! oldest is known without a walk over them, and where nothing is timed nothing is done. An ack counts
//! when it is carried out, which in a transaction is at its commit.
//!
//! Each socket has at most one deadline, which may come too early ([`Core::ack_deadline`]); whoever
//! drives its protocol machine then calls [`Core::time_out`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Core;
use super::channel::ChannelKey;
use super::connection::ConnectionKey;
use super::consumer::ConsumerKey;
use super::outlet::{Effect, SocketKey};
use super::queue::arguments::consumer_timeout;
use super::queue::{Queue, QueueKey};
use super::settlement::Settlement;
use super::traffic::Traffic;
use super::unacked::Unacked;

/// The clocks of one channel.
#[derive(Default)]
pub struct AckClocks {
    clocks: BTreeMap<Holder, AckClock>,
    /// Deliveries that were taken back from their consumer, which may not know yet: its acks for them
    /// mean nothing and are no error. At most [`FORGIVEN_MAX`], the latest.
    forgiven: BTreeSet<u64>,
}

/// Who is to settle a delivery in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Consumer(ConsumerKey),
    /// The channel itself, what it got from this queue by hand.
    Queue(QueueKey),
}

/// A channel with a delivery that is overdue and cannot be taken back: it is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverdueChannel {
    pub number: u16,
    pub timeout_ms: u64,
}

struct AckClock {
    queue: QueueKey,
    timeout_ms: u64,
    /// By tag and by time. Neither the first nor the last is empty.
    marks: VecDeque<Mark>,
    empty: usize,
}

/// The deliveries from one tag on, to the tag of the next mark.
struct Mark {
    first_tag: u64,
    /// When they were made (monotonic ms).
    at_ms: u64,
    unacked: usize,
}

/// What a clock is to be started for.
pub(super) struct Timed {
    pub channel: ChannelKey,
    pub queue: QueueKey,
    /// `Key::NONE` for `basic.get`.
    pub consumer: ConsumerKey,
    pub delivery_tag: u64,
    pub timeout_ms: u64,
}

impl Core {
    /// When a delivery to this socket may become overdue (monotonic ms); it may be later, but not
    /// earlier. `None` where nothing is timed.
    #[inline]
    pub fn ack_deadline(&self, socket: SocketKey) -> Option<u64> {
        self.traffic.ack_deadlines.get(&socket).copied()
    }

    /// Ends the connection's consumers that hold a delivery for too long, and takes back what they
    /// hold, if the client understands that (RabbitMQ: consumer cancel notification). Where it does
    /// not, or where there is no consumer to be ended, the channel is named, for its closing.
    pub fn time_out(&mut self, key: ConnectionKey) -> Vec<OverdueChannel> {
        let Some(connection) = self.connections.get(key) else {
            return Vec::new();
        };
        let (socket, notifies) = (connection.socket, connection.wants_cancel_notify);
        let mut to_close = Vec::new();
        self.traffic.ack_deadlines.remove(&socket);
        for channel_key in connection.channels.clone() {
            let overdue = self.traffic.take_overdue(channel_key);
            for (holder, clock) in overdue {
                // Nobody waits for the messages of a queue that is gone.
                if !self.traffic.queues.contains(clock.queue) {
                    continue;
                }
                match holder {
                    Holder::Consumer(consumer)
                        if notifies && self.traffic.consumers.contains(consumer) =>
                    {
                        self.take_back(channel_key, consumer, clock.timeout_ms);
                    }
                    _ => {
                        to_close.push(OverdueChannel {
                            number: self.traffic.channels[channel_key].number,
                            timeout_ms: clock.timeout_ms,
                        });
                        break;
                    }
                }
            }
        }
        to_close
    }

    /// A message was got by hand, and is to be settled in time if its queue says so.
    #[inline]
    pub(super) fn time_gotten(&mut self, channel: ChannelKey, queue: QueueKey, delivery_tag: u64) {
        let timeout_ms = ack_timeout(None, &self.traffic.queues[queue], self.consumer_timeout_ms);
        let clocks = &mut self.traffic.channels[channel].ack_clocks;
        if timeout_ms.is_none()
            && let Some(clocks) = clocks
        {
            clocks.retime(Holder::Queue(queue), None);
        }
        if let Some(timeout_ms) = timeout_ms {
            self.traffic.start_clock(&Timed {
                channel,
                queue,
                consumer: ConsumerKey::NONE,
                delivery_tag,
                timeout_ms,
            });
        }
    }

    /// The queue's timeout may have changed: so does that of its consumers without one of their own,
    /// also for what they hold. Deliveries that were not timed stay so.
    pub(super) fn retime_consumers(&mut self, queue_key: QueueKey) {
        let queue = &self.traffic.queues[queue_key];
        let timeout_ms = ack_timeout(None, queue, self.consumer_timeout_ms);
        for key in queue.dispatch.consumers() {
            let consumer = &mut self.traffic.consumers[key];
            let own_timeout = consumer_timeout(consumer.arguments.view());
            if consumer.timeout_ms == timeout_ms || own_timeout != Ok(None) {
                continue;
            }
            consumer.set_timeout(timeout_ms);
            let channel = &mut self.traffic.channels[consumer.channel];
            let Some(clocks) = &mut channel.ack_clocks else {
                continue;
            };
            let deadline = clocks.retime(Holder::Consumer(key), timeout_ms);
            list_deadline(&mut self.traffic.ack_deadlines, channel.socket, deadline);
        }
    }

    /// Cancels the consumer, and gives its deliveries back to their queue.
    fn take_back(&mut self, channel_key: ChannelKey, key: ConsumerKey, timeout_ms: u64) {
        let consumer = &self.traffic.consumers[key];
        log::warn!(
            "consumer '{}' on channel {} of {}, queue '{}': delivery acknowledgement timed out. \
             Timeout value used: {timeout_ms} ms",
            consumer.tag,
            consumer.channel_number,
            self.connections[self.traffic.channels[channel_key].connection].name,
            self.traffic.queues[consumer.queue].name,
        );
        let cancelled = Effect::ConsumerCancelled {
            socket: consumer.socket,
            channel: consumer.channel_number,
            consumer_tag: consumer.tag.clone(),
        };
        let channel = &mut self.traffic.channels[channel_key];
        channel.consumer_tags.remove(&consumer.tag);
        channel.consumers.remove(&key);
        self.traffic.effects.push(cancelled);
        self.remove_consumer(key);
        let channel = &mut self.traffic.channels[channel_key];
        let taken = channel.unacked.take_all_of(key);
        let clocks = channel.ack_clocks.get_or_insert_default();
        clocks.forgive(taken.iter().map(|unacked| unacked.delivery_tag));
        for unacked in &taken {
            self.finish(channel_key, unacked, Settlement::Failed);
        }
    }

    /// Whether the delivery with this tag was taken back, so that it is no error to settle it.
    #[cold]
    pub(super) fn is_forgiven(&self, channel: ChannelKey, delivery_tag: u64) -> bool {
        let clocks = self.traffic.channels[channel].ack_clocks.as_ref();
        clocks.is_some_and(|clocks| clocks.forgiven.contains(&delivery_tag))
    }
}

impl Traffic {
    /// A delivery was made that is to be settled in time.
    #[cold]
    pub fn start_clock(&mut self, timed: &Timed) {
        let now_ms = self.monotonic_ms;
        let channel = &mut self.channels[timed.channel];
        let clocks = channel.ack_clocks.get_or_insert_default();
        let clock = clocks.clocks.entry(holder(timed.consumer, timed.queue));
        let clock = clock.or_insert_with(|| AckClock::new(timed.queue, timed.timeout_ms));
        let is_shorter = clock.timeout_ms > timed.timeout_ms;
        clock.timeout_ms = timed.timeout_ms;
        if clock.start(timed.delivery_tag, now_ms) || is_shorter {
            list_deadline(&mut self.ack_deadlines, channel.socket, clock.deadline());
        }
    }

    /// Takes out the channel's clocks that have run down, and sees to it that the others are looked
    /// at again.
    fn take_overdue(&mut self, key: ChannelKey) -> Vec<(Holder, AckClock)> {
        let now_ms = self.monotonic_ms;
        let Some(channel) = self.channels.get_mut(key) else {
            return Vec::new();
        };
        let Some(clocks) = &mut channel.ack_clocks else {
            return Vec::new();
        };
        let is_overdue = |clock: &AckClock| clock.deadline().is_some_and(|due| due <= now_ms);
        let holders = clocks.clocks.iter();
        let holders: Vec<_> = holders
            .filter_map(|(holder, clock)| is_overdue(clock).then_some(*holder))
            .collect();
        let taken = holders.into_iter();
        let overdue = taken
            .filter_map(|holder| Some((holder, clocks.clocks.remove(&holder)?)))
            .collect();
        let next = clocks.clocks.values().filter_map(AckClock::deadline).min();
        list_deadline(&mut self.ack_deadlines, channel.socket, next);
        overdue
    }
}

impl AckClocks {
    /// The delivery is settled, or will be by somebody else.
    #[cold]
    pub(super) fn stop(&mut self, unacked: &Unacked) {
        let holder = holder(unacked.consumer, unacked.queue);
        let Some(clock) = self.clocks.get_mut(&holder) else {
            return;
        };
        clock.stop(unacked.delivery_tag);
        if clock.marks.is_empty() {
            self.clocks.remove(&holder);
        }
    }

    /// The new deadline, if there is one.
    fn retime(&mut self, holder: Holder, timeout_ms: Option<u64>) -> Option<u64> {
        let Some(timeout_ms) = timeout_ms else {
            self.clocks.remove(&holder);
            return None;
        };
        let clock = self.clocks.get_mut(&holder)?;
        clock.timeout_ms = timeout_ms;
        clock.deadline()
    }

    fn forgive(&mut self, tags: impl Iterator<Item = u64>) {
        self.forgiven.extend(tags);
        while self.forgiven.len() > FORGIVEN_MAX {
            self.forgiven.pop_first();
        }
    }
}

impl AckClock {
    fn new(queue: QueueKey, timeout_ms: u64) -> Self {
        AckClock {
            queue,
            timeout_ms,
            marks: VecDeque::new(),
            empty: 0,
        }
    }

    /// When the oldest delivery becomes overdue (monotonic ms).
    fn deadline(&self) -> Option<u64> {
        let oldest = self.marks.front()?;
        Some(oldest.at_ms.saturating_add(self.timeout_ms))
    }

    /// Delivery tags and times come in increasing order. Whether this delivery is the oldest now.
    fn start(&mut self, delivery_tag: u64, now_ms: u64) -> bool {
        match self.marks.back_mut() {
            Some(mark) if mark.at_ms == now_ms => {
                mark.unacked += 1;
                false
            }
            _ => {
                self.marks.push_back(Mark {
                    first_tag: delivery_tag,
                    at_ms: now_ms,
                    unacked: 1,
                });
                self.marks.len() == 1
            }
        }
    }

    /// The delivery must not have been stopped before; one from before the first mark was never timed.
    fn stop(&mut self, delivery_tag: u64) {
        let is_timed = |first: &Mark| first.first_tag <= delivery_tag;
        if !self.marks.front().is_some_and(is_timed) {
            return;
        }
        let after = match self.marks.get(1) {
            // Mostly it is one of the oldest.
            Some(second) if second.first_tag > delivery_tag => 1,
            _ => self
                .marks
                .partition_point(|mark| mark.first_tag <= delivery_tag),
        };
        let Some(mark) = after.checked_sub(1).and_then(|at| self.marks.get_mut(at)) else {
            return;
        };
        debug_assert!(mark.unacked > 0);
        mark.unacked = mark.unacked.saturating_sub(1);
        if mark.unacked == 0 {
            self.empty += 1;
            self.drop_empty();
        }
    }

    /// Empty marks go from both ends, and from the middle when they prevail: there are never many
    /// more marks than deliveries.
    fn drop_empty(&mut self) {
        while self.marks.front().is_some_and(|mark| mark.unacked == 0) {
            self.marks.pop_front();
            self.empty -= 1;
        }
        while self.marks.back().is_some_and(|mark| mark.unacked == 0) {
            self.marks.pop_back();
            self.empty -= 1;
        }
        if self.empty > EMPTY_MAX && self.empty > self.marks.len() / 2 {
            self.marks.retain(|mark| mark.unacked > 0);
            self.empty = 0;
        }
    }
}

/// How long a delivery may be held: by the consumer's word, else the queue's, else the broker's. 0 is
/// none.
pub(super) fn ack_timeout(own: Option<u64>, queue: &Queue, broker: Option<u64>) -> Option<u64> {
    let told = own.or(queue.arguments.consumer_timeout_ms).or(broker);
    told.filter(|timeout_ms| *timeout_ms > 0)
}

fn holder(consumer: ConsumerKey, queue: QueueKey) -> Holder {
    if consumer == ConsumerKey::NONE {
        Holder::Queue(queue)
    } else {
        Holder::Consumer(consumer)
    }
}

/// Makes the socket's deadline this one unless it has an earlier one.
fn list_deadline(
    deadlines: &mut super::Map<SocketKey, u64>,
    socket: SocketKey,
    deadline: Option<u64>,
) {
    if let Some(deadline) = deadline {
        let listed = deadlines.entry(socket).or_insert(deadline);
        *listed = deadline.min(*listed);
    }
}

/// Tags remembered per channel; who acks even later than that is told that they are unknown.
const FORGIVEN_MAX: usize = 1 << 16;
/// Marks with no more empty ones among them than this are left alone.
const EMPTY_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::{Body, Traits};
    use crate::broker::outlet::{Delivery, Outlet};
    use crate::broker::policy::PolicyKind;
    use crate::broker::topology::queue::QueueDeclaration;
    use crate::broker::{ConsumeRequest, Message, Name, Route};
    use crate::wire::amqp::properties::NO_PROPERTIES;
    use crate::wire::amqp::{OwnedTable, Table, TableBuilder};

    /// Takes everything.
    struct Sink;

    impl Outlet for Sink {
        fn has_room(&mut self, _: SocketKey) -> bool {
            true
        }

        fn is_flooded(&self, _: SocketKey) -> bool {
            false
        }

        fn deliver(&mut self, _: &Delivery<'_>) {}
    }

    /// A queue `q` with one consumer, and what it takes to publish there.
    struct Bench {
        core: Core,
        socket: SocketKey,
        connection: ConnectionKey,
        channel: ChannelKey,
    }

    impl Bench {
        fn new() -> Bench {
            let mut core = Core::new();
            let virtual_host = core.virtual_host(b"/").unwrap();
            let socket = SocketKey::from_bits(7);
            let name = Name::from("guest");
            let connection = core.open_connection(socket, virtual_host, name.clone(), name, true);
            let channel = core.open_channel(connection, 1);
            let declaration = QueueDeclaration {
                virtual_host,
                connection,
                name: b"q",
                generated: false,
                durable: false,
                exclusive: false,
                auto_delete: false,
                arguments: Table::EMPTY,
            };
            core.declare_queue(&declaration).unwrap();
            let request = ConsumeRequest {
                tag: b"c",
                no_ack: false,
                exclusive: false,
                arguments: OwnedTable::default(),
            };
            core.consume(channel, b"q", request).unwrap();
            Bench {
                core,
                socket,
                connection,
                channel,
            }
        }

        fn deliver_at(&mut self, now_ms: u64) {
            self.core.set_monotonic_time(now_ms);
            let virtual_host = self.core.virtual_host(b"/").unwrap();
            let queue = self.core.queue_for(virtual_host, self.connection, b"q");
            let route = Route {
                queues: vec![queue.unwrap()],
                ..Route::default()
            };
            let message = Message {
                exchange: b"",
                routing_key: b"q",
                properties: &NO_PROPERTIES,
                body: Body::Slice(b""),
                arrived_ms: 0,
            };
            self.core
                .publish(&route, &message, &Traits::NONE, &mut Sink);
        }

        fn set_policy(&mut self, timeout_ms: i32) {
            let mut definition = TableBuilder::new();
            definition.put("consumer-timeout", timeout_ms);
            let mut settings = TableBuilder::new();
            settings.put("pattern", "q");
            settings.put_table("definition", &definition);
            let virtual_host = self.core.virtual_host(b"/").unwrap();
            let settings = settings.view();
            self.core
                .set_policy(PolicyKind::User, virtual_host, b"p", settings)
                .unwrap();
            self.core.tidy();
        }

        fn clear_policy(&mut self) {
            let virtual_host = self.core.virtual_host(b"/").unwrap();
            self.core.clear_policy(PolicyKind::User, virtual_host, b"p");
            self.core.tidy();
        }

        fn deadline(&self) -> Option<u64> {
            self.core.ack_deadline(self.socket)
        }
    }

    #[test]
    fn a_policy_holds_for_what_its_consumers_hold_already() {
        let mut bench = Bench::new();
        bench.deliver_at(10);
        assert_eq!(bench.deadline(), None, "nothing is timed");
        bench.set_policy(1000);
        bench.deliver_at(20);
        bench.deliver_at(30);
        assert_eq!(bench.deadline(), Some(1020));
        bench.set_policy(100);
        assert_eq!(bench.deadline(), Some(120));
        bench.set_policy(500);
        bench.core.set_monotonic_time(120);
        assert_eq!(bench.core.time_out(bench.connection), []);
        assert_eq!(bench.deadline(), Some(520));
        bench.clear_policy();
        bench.core.set_monotonic_time(520);
        assert_eq!(bench.core.time_out(bench.connection), []);
        assert_eq!(bench.deadline(), None);
        assert!(bench.core.take_effects().is_empty());
    }

    #[test]
    fn all_that_a_timed_out_consumer_holds_is_taken_back() {
        let mut bench = Bench::new();
        bench.deliver_at(10);
        bench.set_policy(100);
        bench.deliver_at(20);
        bench.deliver_at(90);
        bench.core.set_monotonic_time(120);
        assert_eq!(bench.core.time_out(bench.connection), []);
        assert_eq!(bench.deadline(), None);
        assert_eq!(bench.core.take_effects().len(), 1);
        assert!(
            bench.core.traffic.channels[bench.channel]
                .unacked
                .is_empty()
        );
        for tag in 1..=3 {
            assert!(bench.core.is_forgiven(bench.channel, tag));
            let settlement = Settlement::Acked;
            let settled = bench.core.settle(bench.channel, tag, false, settlement);
            assert_eq!(settled, Ok(()));
        }
    }

    fn clock() -> AckClock {
        AckClock::new(QueueKey::NONE, 1000)
    }

    #[test]
    fn the_oldest_unacked_delivery_counts() {
        let mut clock = clock();
        assert_eq!(clock.deadline(), None);
        assert!(clock.start(1, 10));
        assert!(!clock.start(2, 10));
        assert!(!clock.start(5, 20));
        assert!(!clock.start(9, 30));
        assert_eq!(clock.marks.len(), 3);
        clock.stop(5);
        clock.stop(1);
        assert_eq!(clock.deadline(), Some(1010));
        clock.stop(2);
        assert_eq!(clock.deadline(), Some(1030));
        clock.stop(9);
        assert_eq!(clock.deadline(), None);
        assert!(clock.start(10, 40));
        assert_eq!(clock.deadline(), Some(1040));
    }

    #[test]
    fn a_mark_of_the_same_turn_is_joined_only_while_it_is_there() {
        let mut clock = clock();
        clock.start(1, 10);
        clock.start(2, 20);
        clock.stop(2);
        clock.start(3, 20);
        clock.stop(1);
        assert_eq!(clock.deadline(), Some(1020));
        clock.stop(3);
        assert_eq!(clock.deadline(), None);
    }

    #[test]
    fn marks_do_not_pile_up_behind_one_old_delivery() {
        let mut clock = clock();
        clock.start(1, 0);
        for tag in 2..10_000 {
            clock.start(tag, tag);
        }
        for tag in 2..9_999 {
            clock.stop(tag);
        }
        assert!(clock.marks.len() <= 2 + 2 * EMPTY_MAX);
        assert_eq!(clock.deadline(), Some(1000));
        clock.stop(1);
        assert_eq!(clock.deadline(), Some(10_999));
        clock.stop(9_999);
        assert!(clock.marks.is_empty() && clock.empty == 0);
    }

    #[test]
    fn deliveries_of_before_the_clock_do_not_count() {
        let mut clock = clock();
        clock.start(10, 0);
        clock.start(20, 1);
        clock.stop(5);
        clock.stop(20);
        assert_eq!(clock.deadline(), Some(1000));
    }

    #[test]
    fn only_the_latest_are_forgiven() {
        let mut clocks = AckClocks::default();
        clocks.forgive(1..=FORGIVEN_MAX as u64 + 1);
        assert_eq!(clocks.forgiven.len(), FORGIVEN_MAX);
        assert!(!clocks.forgiven.contains(&1));
    }
}
