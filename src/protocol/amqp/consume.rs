//! Getting messages and settling them: `basic.consume`, `get`, `qos`, `ack` and their kin.

use crate::broker::access::{Resource, Right};
use crate::broker::{ConsumeRequest, Getting, Name, REPLY_TO, Settlement};
use crate::protocol::Hub;
use crate::wire::amqp::method::basic;
use crate::wire::amqp::{OwnedTable, ReplyCode};

use super::channel::{Channel, Mode};
use super::connection::Session;
use super::exception::{Exception, Result};
use super::topology::{check_text, without_line_ends};

impl Channel {
    pub(super) fn on_consume(
        &mut self,
        session: &Session,
        consume: &basic::Consume<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        check_text(consume.consumer_tag)?;
        let tag = match consume.consumer_tag {
            b"" => hub.generate_name("amq.ctag-").into_bytes(),
            given => given.to_vec(),
        };
        if consume.queue == REPLY_TO {
            self.consume_replies(consume, &tag, hub)?;
        } else {
            let name = without_line_ends(consume.queue);
            let queue = self.queue_name(&name)?;
            session.check_access(Right::Read, Resource::Queue(&queue), hub)?;
            let request = ConsumeRequest {
                tag: &tag,
                no_ack: consume.no_ack,
                exclusive: consume.exclusive,
                arguments: OwnedTable::from(consume.arguments),
            };
            hub.core.consume(self.key, &queue, request)?;
        }
        let ok = basic::ConsumeOk { consumer_tag: &tag };
        self.reply(hub, consume.no_wait, &ok);
        Ok(())
    }

    /// RabbitMQ: direct reply-to.
    fn consume_replies(
        &mut self,
        consume: &basic::Consume<'_>,
        tag: &[u8],
        hub: &mut Hub,
    ) -> Result<()> {
        if !consume.no_ack {
            return Err(Exception::new(
                ReplyCode::PreconditionFailed,
                "reply consumer cannot acknowledge",
            ));
        }
        let address = hub.generate_name("amq.rabbitmq.reply-to.");
        hub.core
            .consume_replies(self.key, tag, Name::from(address.as_str()))?;
        Ok(())
    }

    pub(super) fn on_cancel(&mut self, cancel: &basic::Cancel<'_>, hub: &mut Hub) -> Result<()> {
        hub.core.cancel(self.key, cancel.consumer_tag);
        let ok = basic::CancelOk {
            consumer_tag: cancel.consumer_tag,
        };
        self.reply(hub, cancel.no_wait, &ok);
        Ok(())
    }

    pub(super) fn on_get(
        &mut self,
        session: &Session,
        get: &basic::Get<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let name = without_line_ends(get.queue);
        let queue = self.queue_name(&name)?;
        session.check_access(Right::Read, Resource::Queue(&queue), hub)?;
        let (socket, number) = (self.socket, self.number());
        let outboxes = &mut hub.outboxes;
        let getting = hub.core.get(self.key, &queue, get.no_ack, |got| {
            outboxes.send_got(socket, number, &got);
        })?;
        match getting {
            Getting::Got => {}
            Getting::Empty => self.send(hub, &basic::GetEmpty::default()),
            Getting::Later => self.asks_again = true,
            Getting::Again => {
                self.asks_again = true;
                hub.woken.push(socket);
            }
        }
        Ok(())
    }

    /// Only the count means something, as in RabbitMQ.
    pub(super) fn on_qos(&mut self, qos: &basic::Qos, hub: &mut Hub) -> Result<()> {
        if qos.prefetch_size != 0 {
            return Err(Exception::new(
                ReplyCode::NotImplemented,
                format!("prefetch_size!=0 ({})", qos.prefetch_size),
            ));
        }
        hub.core
            .set_prefetch(self.key, qos.prefetch_count, qos.global);
        self.send(hub, &basic::QosOk {});
        Ok(())
    }

    #[inline]
    pub(super) fn on_ack(&mut self, ack: &basic::Ack, hub: &mut Hub) -> Result<()> {
        self.settle(ack.delivery_tag, ack.multiple, Settlement::Acked, hub)
    }

    pub(super) fn on_nack(&mut self, nack: &basic::Nack, hub: &mut Hub) -> Result<()> {
        let settlement = match nack.requeue {
            true => Settlement::Returned,
            false => Settlement::Rejected,
        };
        self.settle(nack.delivery_tag, nack.multiple, settlement, hub)
    }

    pub(super) fn on_reject(&mut self, reject: &basic::Reject, hub: &mut Hub) -> Result<()> {
        let settlement = match reject.requeue {
            true => Settlement::Failed,
            false => Settlement::Rejected,
        };
        self.settle(reject.delivery_tag, false, settlement, hub)
    }

    pub(super) fn on_recover(&mut self, requeue: bool, answer: bool, hub: &mut Hub) -> Result<()> {
        if !requeue {
            return Err(Exception::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        hub.core.recover(self.key);
        if answer {
            self.send(hub, &basic::RecoverOk {});
        }
        Ok(())
    }

    #[inline]
    fn settle(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        settlement: Settlement,
        hub: &mut Hub,
    ) -> Result<()> {
        if let Mode::Transaction(transaction) = &mut self.mode {
            let mut taken = Vec::new();
            hub.core
                .take_unacked(self.key, delivery_tag, multiple, &mut taken)?;
            transaction.settle(settlement, taken);
            hub.core.set_uncommitted(self.key, transaction.counts());
            return Ok(());
        }
        hub.core
            .settle(self.key, delivery_tag, multiple, settlement)?;
        Ok(())
    }
}
