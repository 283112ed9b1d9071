//! Consumes and acks; publishes a marker now and then, whose confirm tells that the acks before it are
//! stored.

use leveret::wire::amqp::{Method, Properties, basic, confirm};

use super::MARKERS;
use crate::ledger::{Acked, Ledger};
use crate::peer::{Outcome, Peer};
use crate::random::Random;
use crate::stamp::{Stamp, encode_publish};

/// Consumes until the broker is gone.
pub fn run(mut peer: Peer, queue: &str, random: Random) -> Ledger {
    let mut consumer = Consumer {
        queue,
        random,
        ledger: Ledger::default(),
        held: Vec::new(),
        loose: Vec::new(),
        markers: 0,
    };
    let outcome = consumer.consume(&mut peer);
    assert!(outcome.is_err(), "only the broker's end ends it");
    consumer.ledger
}

struct Consumer<'a> {
    queue: &'a str,
    random: Random,
    ledger: Ledger,
    /// Delivered and not acked.
    held: Vec<(u64, Stamp)>,
    /// Acked before the marker with this number.
    loose: Vec<(u64, Stamp)>,
    markers: u64,
}

impl Consumer<'_> {
    fn consume(&mut self, peer: &mut Peer) -> Outcome<()> {
        peer.send(&confirm::Select::default())?;
        peer.expect("confirm.select-ok")?;
        peer.send(&basic::Qos {
            prefetch_size: 0,
            prefetch_count: *self.random.pick(&[1, 10, 100]),
            global: false,
        })?;
        peer.expect("basic.qos-ok")?;
        peer.send(&basic::Consume {
            queue: self.queue.as_bytes(),
            consumer_tag: b"consumer",
            ..Default::default()
        })?;
        peer.expect("basic.consume-ok")?;
        loop {
            let received = peer.receive()?;
            if let Method::BasicAck(ack) = received.method() {
                self.on_marker(ack.delivery_tag);
                continue;
            }
            let came = peer.content(&received)?;
            let stamp = Stamp::read(&came.body, &came.properties).unwrap();
            if stamp.persistent {
                let copy = self.ledger.copy(self.queue, stamp);
                assert!(came.redelivered || !copy.delivered, "{stamp:?} comes again");
                copy.delivered = true;
            }
            self.held.push((came.delivery_tag, stamp));
            self.act(peer)?;
        }
    }

    fn act(&mut self, peer: &mut Peer) -> Outcome<()> {
        match self.random.below(20) {
            0 => {
                let at = self.random.below(self.held.len());
                let (delivery_tag, _) = self.held.remove(at);
                peer.send(&basic::Reject {
                    delivery_tag,
                    requeue: true,
                })?;
            }
            1..5 => {
                let last = self.held.last().expect("one was just delivered").0;
                let all = std::mem::take(&mut self.held);
                self.ack(peer, last, true, &all)?;
            }
            _ => {
                let one = self.held.swap_remove(self.random.below(self.held.len()));
                self.ack(peer, one.0, false, &[one])?;
            }
        }
        if self.random.below(20) == 0 {
            self.mark(peer)?;
        }
        Ok(())
    }

    fn ack(
        &mut self,
        peer: &mut Peer,
        delivery_tag: u64,
        multiple: bool,
        acked: &[(u64, Stamp)],
    ) -> Outcome<()> {
        for (_, stamp) in acked.iter().filter(|(_, stamp)| stamp.persistent) {
            self.ledger.copy(self.queue, *stamp).acked = Acked::Perhaps;
            self.loose.push((self.markers + 1, *stamp));
        }
        peer.send(&basic::Ack {
            delivery_tag,
            multiple,
        })
    }

    fn mark(&mut self, peer: &mut Peer) -> Outcome<()> {
        let mut properties = Vec::new();
        Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }
        .encode(&mut properties);
        let mut bytes = Vec::new();
        encode_publish(&mut bytes, "", MARKERS, &properties, b"marker");
        self.markers += 1;
        peer.send_bytes(&bytes)
    }

    /// What was acked before this marker is stored.
    fn on_marker(&mut self, marker: u64) {
        for (_, stamp) in self.loose.extract_if(.., |(before, _)| *before <= marker) {
            self.ledger.copy(self.queue, stamp).acked = Acked::Firmly;
        }
    }
}
