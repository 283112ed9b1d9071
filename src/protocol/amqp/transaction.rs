//! Transactions (AMQP 0-9-1 §1.9): publishes and acks of one channel, carried out together. As in
//! RabbitMQ there is no isolation, and what a broken connection leaves uncommitted is forgotten.

use crate::broker::{ChannelMode, Published, Settlement, Unacked};
use crate::protocol::Hub;
use crate::wire::amqp::ReplyCode;
use crate::wire::amqp::method::tx;

use super::channel::{Channel, Mode};
use super::exception::{Exception, Result};
use super::publish::OwnedPublication;
use crate::broker::message::Traits;
use crate::broker::{Message, Route};

/// What waits for `tx.commit`.
#[derive(Default)]
pub struct Transaction {
    publications: Vec<OwnedPublication>,
    settlements: Vec<(Settlement, Unacked)>,
    /// Bytes of the publications.
    bytes: usize,
}

impl Transaction {
    /// Keeps a message with its route of now: bindings made before the commit do not change it
    /// (RabbitMQ).
    pub(super) fn add(
        &mut self,
        mandatory: bool,
        traits: Traits,
        route: &Route,
        message: &Message<'_>,
    ) {
        self.bytes += message.body.len()
            + message.properties.len()
            + message.routing_key.len()
            + PUBLICATION_BYTES;
        let publication = OwnedPublication::new(mandatory, traits, route, message);
        self.publications.push(publication);
    }

    /// Bytes of memory that its publishes take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Publishes and settlements in it.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.publications.len(), self.settlements.len())
    }

    pub(super) fn settle(&mut self, settlement: Settlement, taken: Vec<Unacked>) {
        self.settlements
            .extend(taken.into_iter().map(|unacked| (settlement, unacked)));
    }
}

impl Channel {
    pub(super) fn on_tx_select(&mut self, hub: &mut Hub) -> Result<()> {
        match self.mode {
            Mode::Confirm(_) => {
                return Err(Exception::new(
                    ReplyCode::PreconditionFailed,
                    "cannot switch from confirm to tx mode",
                ));
            }
            Mode::Plain => {
                self.mode = Mode::Transaction(Transaction::default());
                hub.core
                    .set_channel_mode(self.key, ChannelMode::Transaction);
            }
            Mode::Transaction(_) | Mode::Watched(_) => {}
        }
        self.send(hub, &tx::SelectOk {});
        Ok(())
    }

    pub(super) fn on_tx_commit(&mut self, hub: &mut Hub) -> Result<()> {
        let transaction = self.take_transaction()?;
        hub.core.set_uncommitted(self.key, (0, 0));
        let mut is_refused = false;
        for publication in &transaction.publications {
            let message = publication.message();
            let published = hub.publish(&publication.route, &message, &publication.traits);
            hub.core.count_published(self.key, message.body.len());
            is_refused |= published == Published::Refused;
            if published == Published::Unroutable {
                self.on_unroutable(publication.mandatory, &message, hub);
            }
        }
        for (settlement, unacked) in &transaction.settlements {
            hub.core.finish(self.key, unacked, *settlement);
        }
        if is_refused {
            // RabbitMQ: what could be done is done.
            return Err(Exception::new(
                ReplyCode::PreconditionFailed,
                "partial tx completion",
            ));
        }
        if hub.core.has_journal() {
            hub.gate(self.socket);
        }
        self.send(hub, &tx::CommitOk {});
        Ok(())
    }

    pub(super) fn on_tx_rollback(&mut self, hub: &mut Hub) -> Result<()> {
        let transaction = self.take_transaction()?;
        hub.core.set_uncommitted(self.key, (0, 0));
        let taken = transaction.settlements.into_iter();
        hub.core
            .restore_unacked(self.key, taken.map(|(_, unacked)| unacked).collect());
        self.send(hub, &tx::RollbackOk {});
        Ok(())
    }

    /// Gives back the deliveries of a transaction that will never be committed.
    pub(super) fn abandon_transaction(&mut self, hub: &mut Hub) {
        if let Ok(transaction) = self.take_transaction() {
            let taken = transaction.settlements.into_iter();
            hub.core
                .restore_unacked(self.key, taken.map(|(_, unacked)| unacked).collect());
        }
    }

    /// A new transaction begins at once (AMQP 0-9-1 §1.9.2.3).
    fn take_transaction(&mut self) -> Result<Transaction> {
        match &mut self.mode {
            Mode::Transaction(transaction) => Ok(std::mem::take(transaction)),
            _ => Err(Exception::new(
                ReplyCode::PreconditionFailed,
                "channel is not transactional",
            )),
        }
    }
}

/// What a publish takes beside its bytes.
const PUBLICATION_BYTES: usize = 200;
