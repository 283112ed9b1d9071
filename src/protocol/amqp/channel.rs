//! A channel (AMQP 0-9-1 §2.2.5): its methods in, each to its handler, answers out.

use std::collections::VecDeque;

use crate::broker::{ChannelKey, ChannelMode, Published, SocketKey};
use crate::protocol::Hub;
use crate::wire::amqp::ReplyCode;
use crate::wire::amqp::frame::{self, Frame};
use crate::wire::amqp::method::{EncodeMethod, Method, access, basic, channel as class, confirm};

use super::connection::Session;
use super::content::{Assembled, Assembly};
use super::exception::{Exception, Result};
use super::publish::{Publication, RouteCache};
use super::transaction::Transaction;

/// One open channel of a connection.
pub struct Channel {
    number: u16,
    pub(super) socket: SocketKey,
    /// Its delivery side.
    pub(super) key: ChannelKey,
    state: State,
    assembly: Assembly,
    pub(super) mode: Mode,
    pub(super) route: RouteCache,
    /// What an empty queue name means (AMQP 0-9-1 `queue-name`; RabbitMQ remembers per channel).
    pub(super) last_queue: Vec<u8>,
    /// The last method could not be answered yet and is to be given again.
    pub(super) asks_again: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// We sent `channel.close`; all but the answer is read over.
    Closing,
    /// The client closed it.
    Closed,
}

/// What publishing means on a channel.
pub(super) enum Mode {
    Plain,
    /// RabbitMQ: publisher confirms.
    Confirm(Confirms),
    /// AMQP 0-9-1 §1.9.
    Transaction(Transaction),
    /// Somebody asks what became of the last message.
    Watched(Option<Published>),
}

/// Publisher confirms: numbers drawn, and how far they are confirmed.
#[derive(Default)]
pub(super) struct Confirms {
    published: u64,
    confirmed: u64,
    /// Numbers that wait for the store, in order: up to which, and for which batch. A number that need
    /// not wait stands behind those that do, since numbers are confirmed in order.
    waiting: VecDeque<(u64, u64)>,
    /// Numbers that are to be nacked when it is their turn, in order.
    refused: VecDeque<u64>,
    /// On the connection's list of those that owe.
    listed: bool,
}

impl Confirms {
    /// Draws the number of a message that is stored with the batch, if it is to be stored.
    #[inline]
    pub fn draw(&mut self, batch: Option<u64>) {
        self.published += 1;
        match (self.waiting.back_mut(), batch) {
            (Some((last, waiting)), Some(batch)) if *waiting == batch => *last = self.published,
            (_, Some(batch)) => self.waiting.push_back((self.published, batch)),
            (Some((last, _)), None) => *last = self.published,
            (None, None) => {}
        }
    }

    /// Draws the number of a message that some queue did not take.
    pub fn draw_refused(&mut self) {
        self.draw(None);
        self.refused.push_back(self.published);
    }

    /// The next stretch of numbers to be confirmed on the way up to `upto`: its last, and whether it is
    /// a single one to be nacked.
    fn next_stretch(&mut self, upto: u64) -> Option<(u64, bool)> {
        if self.confirmed >= upto {
            return None;
        }
        match self.refused.front() {
            Some(&refused) if refused == self.confirmed + 1 => {
                self.refused.pop_front();
                Some((refused, true))
            }
            Some(&refused) => Some((upto.min(refused - 1), false)),
            None => Some((upto, false)),
        }
    }

    /// How far can be confirmed when all batches up to `stored` are stored.
    fn confirmable(&mut self, stored: u64) -> u64 {
        let mut upto = self.confirmed;
        while let Some((last, batch)) = self.waiting.front() {
            if *batch > stored {
                return upto;
            }
            upto = *last;
            self.waiting.pop_front();
        }
        self.published
    }
}

impl Channel {
    pub fn open(session: &Session, number: u16, hub: &mut Hub) -> Self {
        Channel {
            number,
            socket: session.socket,
            key: hub.core.open_channel(session.connection, number),
            state: State::Open,
            assembly: Assembly::default(),
            mode: Mode::Plain,
            route: RouteCache::default(),
            last_queue: Vec::new(),
            asks_again: false,
        }
    }

    #[inline]
    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    #[inline]
    pub fn takes_publish_in_place(&self) -> bool {
        self.state == State::Open && self.assembly.is_idle()
    }

    /// The ids of the method that the frame belongs to, and what came of it.
    pub fn on_frame(
        &mut self,
        session: &Session,
        frame: &Frame<'_>,
        hub: &mut Hub,
    ) -> ((u16, u16), Result<()>) {
        let size_max = hub.message_size_max();
        match self.assembly.on_frame(frame, size_max) {
            Ok(Assembled::Method(method)) => (method.ids(), self.on_method(session, &method, hub)),
            Ok(Assembled::Content) => {
                let mut assembly = std::mem::take(&mut self.assembly);
                let content = assembly.take();
                let publication = Publication::of_content(&content);
                let result = self.publish(session, &publication, hub);
                self.assembly = assembly;
                (PUBLISH, result)
            }
            Ok(Assembled::Incomplete) => (NO_METHOD, Ok(())),
            Err(exception) => (NO_METHOD, Err(exception)),
        }
    }

    /// Bytes of a content or a transaction that is not complete.
    #[inline]
    pub fn unfinished_bytes(&self) -> usize {
        let of_transaction = match &self.mode {
            Mode::Transaction(transaction) => transaction.bytes(),
            _ => 0,
        };
        self.assembly.bytes() + of_transaction
    }

    /// Whether it was the answer that ends the closing.
    ///
    /// # Errors
    /// Opening the channel again before that answer, which would otherwise be waited for in vain.
    pub fn on_frame_while_closing(&mut self, frame: &Frame<'_>, hub: &mut Hub) -> Result<bool> {
        if frame.kind != frame::METHOD {
            return Ok(false);
        }
        match Method::decode(frame.payload) {
            Ok(Method::ChannelCloseOk(_)) => Ok(true),
            // Both closed at once (AMQP 0-9-1 §2.2.5): each gets its answer.
            Ok(Method::ChannelClose(_)) => {
                self.send(hub, &class::CloseOk {});
                Ok(false)
            }
            Ok(method @ Method::ChannelOpen(_)) => Err(second_open().of(method.ids())),
            _ => Ok(false),
        }
    }

    /// A channel exception: says so, and gives back all that the channel holds.
    pub fn close(&mut self, exception: &Exception, method: (u16, u16), hub: &mut Hub) {
        self.leave(hub);
        let (class_id, method_id) = method;
        let close = class::Close {
            reply_code: exception.code.code(),
            reply_text: &exception.reply_text(),
            class_id,
            method_id,
        };
        self.send(hub, &close);
        self.state = State::Closing;
        self.assembly = Assembly::default();
        self.mode = Mode::Plain;
    }

    /// Whether the connection must put the channel on its list of those that owe confirms.
    #[inline]
    pub fn begins_to_owe_confirms(&mut self) -> bool {
        match &mut self.mode {
            Mode::Confirm(confirms) if !confirms.listed => {
                confirms.listed = confirms.published > confirms.confirmed;
                confirms.listed
            }
            _ => false,
        }
    }

    /// Confirms all that can be, in one go; whether more waits for the store.
    pub fn send_confirms(&mut self, hub: &mut Hub) -> bool {
        let Mode::Confirm(confirms) = &mut self.mode else {
            return false;
        };
        let upto = confirms.confirmable(hub.stored_up_to());
        confirms.listed = !confirms.waiting.is_empty();
        let waits = confirms.listed;
        while let Some((delivery_tag, is_refused)) = confirms.next_stretch(upto) {
            let multiple = delivery_tag > confirms.confirmed + 1;
            let count = delivery_tag - confirms.confirmed;
            hub.core.count_confirmed(self.key, count);
            confirms.confirmed = delivery_tag;
            if is_refused {
                let nack = basic::Nack {
                    delivery_tag,
                    multiple: false,
                    requeue: false,
                };
                hub.outboxes.send(self.socket, self.number, &nack);
            } else {
                let ack = basic::Ack {
                    delivery_tag,
                    multiple,
                };
                hub.outboxes.send(self.socket, self.number, &ack);
            }
        }
        waits
    }

    pub(super) fn send(&self, hub: &mut Hub, method: &impl EncodeMethod) {
        hub.outboxes.send(self.socket, self.number, method);
    }

    /// Answers a method about what is declared: only when that is stored, whoever declared it.
    pub(super) fn reply_stored(&self, hub: &mut Hub, no_wait: bool, method: &impl EncodeMethod) {
        hub.gate_definitions(self.socket, no_wait);
        self.reply(hub, no_wait, method);
    }

    /// Answers a method that may not want an answer.
    pub(super) fn reply(&self, hub: &mut Hub, no_wait: bool, method: &impl EncodeMethod) {
        if !no_wait {
            self.send(hub, method);
        }
    }

    fn on_method(&mut self, session: &Session, method: &Method<'_>, hub: &mut Hub) -> Result<()> {
        if adds_something(method) {
            hub.check_memory()?;
        }
        match method {
            Method::BasicAck(ack) => self.on_ack(ack, hub),
            Method::BasicNack(nack) => self.on_nack(nack, hub),
            Method::BasicReject(reject) => self.on_reject(reject, hub),
            Method::BasicGet(get) => self.on_get(session, get, hub),
            Method::BasicConsume(consume) => self.on_consume(session, consume, hub),
            Method::BasicCancel(cancel) => self.on_cancel(cancel, hub),
            Method::BasicQos(qos) => self.on_qos(qos, hub),
            Method::BasicRecover(recover) => self.on_recover(recover.requeue, true, hub),
            Method::BasicRecoverAsync(recover) => self.on_recover(recover.requeue, false, hub),
            Method::QueueDeclare(declare) => self.on_queue_declare(session, declare, hub),
            Method::QueueBind(bind) => self.on_queue_bind(session, bind, hub),
            Method::QueueUnbind(unbind) => self.on_queue_unbind(session, unbind, hub),
            Method::QueuePurge(purge) => self.on_queue_purge(session, purge, hub),
            Method::QueueDelete(delete) => self.on_queue_delete(session, delete, hub),
            Method::ExchangeDeclare(declare) => self.on_exchange_declare(session, declare, hub),
            Method::ExchangeDelete(delete) => self.on_exchange_delete(session, delete, hub),
            Method::ExchangeBind(bind) => self.on_exchange_bind(session, bind, hub),
            Method::ExchangeUnbind(unbind) => self.on_exchange_unbind(session, unbind, hub),
            Method::ConfirmSelect(select) => self.on_confirm_select(select, hub),
            Method::TxSelect(_) => self.on_tx_select(hub),
            Method::TxCommit(_) => self.on_tx_commit(hub),
            Method::TxRollback(_) => self.on_tx_rollback(hub),
            Method::ChannelFlow(flow) => self.on_flow(flow, hub),
            Method::ChannelClose(_) => self.on_close(hub),
            Method::ChannelOpen(_) => Err(second_open()),
            Method::AccessRequest(_) => {
                self.send(hub, &access::RequestOk { ticket: 1 });
                Ok(())
            }
            _ => Err(Exception::new(
                ReplyCode::CommandInvalid,
                "unimplemented method",
            )),
        }
    }

    /// Confirms what is owed and gives back all that the channel holds.
    fn leave(&mut self, hub: &mut Hub) {
        self.send_confirms(hub);
        self.abandon_transaction(hub);
        hub.core.close_channel(self.key);
    }

    fn on_close(&mut self, hub: &mut Hub) -> Result<()> {
        self.leave(hub);
        self.send(hub, &class::CloseOk {});
        self.state = State::Closed;
        Ok(())
    }

    /// Deliveries are paced by prefetch; stopping them altogether is not offered (RabbitMQ).
    fn on_flow(&mut self, flow: &class::Flow, hub: &mut Hub) -> Result<()> {
        if !flow.active {
            return Err(Exception::new(ReplyCode::NotImplemented, "active=false"));
        }
        self.send(hub, &class::FlowOk { active: true });
        Ok(())
    }

    fn on_confirm_select(&mut self, select: &confirm::Select, hub: &mut Hub) -> Result<()> {
        match self.mode {
            Mode::Transaction(_) => {
                return Err(Exception::new(
                    ReplyCode::PreconditionFailed,
                    "cannot switch from tx to confirm mode",
                ));
            }
            Mode::Plain => {
                self.mode = Mode::Confirm(Confirms::default());
                hub.core.set_channel_mode(self.key, ChannelMode::Confirm);
            }
            Mode::Confirm(_) | Mode::Watched(_) => {}
        }
        self.reply(hub, select.no_wait, &confirm::SelectOk {});
        Ok(())
    }
}

/// Whether the broker has to keep more for it than a message.
fn adds_something(method: &Method<'_>) -> bool {
    match method {
        Method::QueueDeclare(declare) => !declare.passive,
        Method::ExchangeDeclare(declare) => !declare.passive,
        Method::QueueBind(_) | Method::ExchangeBind(_) | Method::BasicConsume(_) => true,
        _ => false,
    }
}

fn second_open() -> Exception {
    Exception::new(ReplyCode::ChannelError, "second 'channel.open' seen")
}

const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);
const NO_METHOD: (u16, u16) = (0, 0);
