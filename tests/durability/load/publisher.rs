//! Publishes with confirms or in transactions, and remembers what was answered.

use std::collections::BTreeMap;

use leveret::wire::amqp::{Method, confirm, tx};

use crate::ledger::Ledger;
use crate::peer::{Outcome, Peer};
use crate::random::Random;
use crate::stamp::Stamp;

pub struct Publisher {
    pub id: u32,
    pub routes: Vec<Route>,
    pub pace: Pace,
    pub transient_percent: usize,
    pub random: Random,
}

pub enum Pace {
    /// Confirms, of which so many may be outstanding.
    Window(usize),
    /// So many messages a transaction.
    Transactions(usize),
}

/// Where a message goes, and which queues get it.
pub struct Route {
    pub exchange: &'static str,
    pub routing_key: String,
    pub queues: Vec<String>,
}

impl Publisher {
    /// Publishes until the broker is gone or there was enough.
    pub fn run(mut self, mut peer: Peer) -> Ledger {
        let mut ledger = Ledger::default();
        let outcome = match self.pace {
            Pace::Window(window) => self.publish_confirmed(window, &mut peer, &mut ledger),
            Pace::Transactions(size) => self.publish_committed(size, &mut peer, &mut ledger),
        };
        if outcome.is_ok() {
            // Enough, but the broker is to find us there when it ends.
            while let Ok(received) = peer.receive() {
                panic!("nothing was due, not {received}");
            }
        }
        ledger
    }

    fn publish_confirmed(
        &mut self,
        window: usize,
        peer: &mut Peer,
        ledger: &mut Ledger,
    ) -> Outcome<()> {
        peer.send(&confirm::Select::default())?;
        peer.expect("confirm.select-ok")?;
        let mut outstanding = BTreeMap::new();
        let mut next = 1;
        while next <= MESSAGES_MAX || !outstanding.is_empty() {
            let mut bytes = Vec::new();
            let room = (window - outstanding.len()).min(BURST_MAX);
            for _ in 0..room.min((MESSAGES_MAX + 1 - next) as usize) {
                let (stamp, route) = self.encode_next(next, &mut bytes, ledger);
                outstanding.insert(next, (stamp, route));
                next += 1;
            }
            let sent = peer.send_bytes(&bytes);
            // There may be confirms on the way though nothing can be sent any more.
            if outstanding.len() < window && next <= MESSAGES_MAX && sent.is_ok() {
                continue;
            }
            let received = peer.receive()?;
            let Method::BasicAck(ack) = received.method() else {
                panic!("a confirm was due, not {received}");
            };
            let behind = match ack.multiple {
                true => outstanding.split_off(&(ack.delivery_tag as u32 + 1)),
                false => {
                    let mut others = outstanding.clone();
                    let confirmed = others.remove_entry(&(ack.delivery_tag as u32));
                    outstanding = confirmed.into_iter().collect();
                    others
                }
            };
            for (stamp, route) in outstanding.values() {
                self.confirm(*stamp, *route, ledger);
            }
            outstanding = behind;
        }
        Ok(())
    }

    fn publish_committed(
        &mut self,
        size: usize,
        peer: &mut Peer,
        ledger: &mut Ledger,
    ) -> Outcome<()> {
        peer.send(&tx::Select {})?;
        peer.expect("tx.select-ok")?;
        let mut next = 1;
        while next <= MESSAGES_MAX {
            let mut bytes = Vec::new();
            let mut batch = Vec::new();
            // Until the commit is sent nobody may see them, after a crash neither.
            let mut sketch = Ledger::default();
            for _ in 0..size {
                batch.push(self.encode_next(next, &mut bytes, &mut sketch));
                next += 1;
            }
            peer.send_bytes(&bytes)?;
            if self.random.percent(10) {
                peer.send(&tx::Rollback {})?;
                peer.expect("tx.rollback-ok")?;
                continue;
            }
            ledger.merge(sketch);
            peer.send(&tx::Commit {})?;
            peer.expect("tx.commit-ok")?;
            for (stamp, route) in batch {
                self.confirm(stamp, route, ledger);
            }
        }
        Ok(())
    }

    /// The stamp of the next message, and which route it takes.
    fn encode_next(
        &mut self,
        number: u32,
        out: &mut Vec<u8>,
        ledger: &mut Ledger,
    ) -> (Stamp, usize) {
        let stamp = Stamp {
            publisher: self.id,
            number,
            persistent: !self.random.percent(self.transient_percent),
        };
        let at = self.random.below(self.routes.len());
        let route = &self.routes[at];
        stamp.encode(out, route.exchange, &route.routing_key);
        if stamp.persistent {
            for queue in &route.queues {
                ledger.copy(queue, stamp);
            }
        }
        (stamp, at)
    }

    fn confirm(&self, stamp: Stamp, route: usize, ledger: &mut Ledger) {
        if stamp.persistent {
            for queue in &self.routes[route].queues {
                ledger.copy(queue, stamp).confirmed = true;
            }
        }
    }
}

/// So that a round stays cheap.
const MESSAGES_MAX: u32 = 2000;
/// Messages in one write.
const BURST_MAX: usize = 50;
