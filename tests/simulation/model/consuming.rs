//! `basic.consume`, `get`, `qos`, and what clients say of what they got.

use leveret::wire::amqp::{Method, basic};

use super::connection::text;
use super::*;

impl Model {
    /// `None` if the method is not about consuming.
    pub(super) fn take_consuming(
        &mut self,
        at: At,
        method: &Method<'_>,
    ) -> Option<Result<(), u16>> {
        Some(match method {
            Method::BasicConsume(consume) => self.consume(at, consume),
            Method::BasicCancel(cancel) => {
                self.cancel(at, cancel);
                Ok(())
            }
            Method::BasicGet(get) => self.get(at, get),
            Method::BasicQos(qos) => self.set_prefetch(at, qos),
            Method::BasicAck(ack) => {
                self.settle(at, ack.delivery_tag, ack.multiple, Settlement::Acked)
            }
            Method::BasicNack(nack) => {
                let settlement = match nack.requeue {
                    true => Settlement::Returned,
                    false => Settlement::Rejected,
                };
                self.settle(at, nack.delivery_tag, nack.multiple, settlement)
            }
            Method::BasicReject(reject) => {
                let settlement = match reject.requeue {
                    true => Settlement::Failed,
                    false => Settlement::Rejected,
                };
                self.settle(at, reject.delivery_tag, false, settlement)
            }
            Method::BasicRecover(recover) => self.recover(at, recover.requeue, true),
            Method::BasicRecoverAsync(recover) => self.recover(at, recover.requeue, false),
            _ => return None,
        })
    }

    fn consume(&mut self, at: At, consume: &basic::Consume<'_>) -> Result<(), u16> {
        let tag = match consume.consumer_tag {
            b"" => self.made_up(at, "amq.ctag-", |method| match method {
                Method::BasicConsumeOk(ok) => Some(ok.consumer_tag),
                _ => None,
            }),
            given => text(given),
        };
        let number = self.draw_number();
        if consume.queue == REPLY_TO.as_bytes() {
            if !consume.no_ack {
                return Err(406);
            }
            self.check_tag(at, &tag)?;
            let channel = self.channel(at);
            if channel.reply_consumer.is_some() {
                return Err(406);
            }
            channel.reply_consumer = Some(ReplyConsumer {
                number,
                tag: tag.clone(),
                address: None,
            });
        } else {
            let name = self.queue_name(at, consume.queue)?;
            let priority = match consume.arguments.get("x-priority") {
                None => 0,
                Some(value) => value.as_integer().ok_or(406_u16)?,
            };
            self.check_tag(at, &tag)?;
            self.check_access(at.0, &name)?;
            let own_timeout_ms = consume.arguments.get("x-consumer-timeout");
            let own_timeout_ms = own_timeout_ms.and_then(|it| Some(it.as_integer()? as u64));
            let timeout_ms = self.timeout_of(own_timeout_ms, &self.queues[&name].rules);
            let prefetch = self.channel(at).consumer_prefetch;
            let queue = self.queues.get_mut(&name).expect("access was checked");
            let taken = queue.consumers.iter().any(|consumer| consumer.exclusive);
            let is_single = queue.rules.single_active;
            if taken || (consume.exclusive && (is_single || !queue.consumers.is_empty())) {
                return Err(403);
            }
            queue.consumers.push(Consumer {
                number,
                at,
                tag: tag.clone(),
                no_ack: consume.no_ack,
                exclusive: consume.exclusive,
                priority,
                prefetch,
                own_timeout_ms,
                timeout_ms,
                is_active: !is_single || queue.consumers.is_empty(),
                served: None,
                able_since: None,
            });
            self.renew_lease(&name);
        }
        if !consume.no_wait {
            let consumer_tag = tag.as_bytes();
            self.answer(at.1, &basic::ConsumeOk { consumer_tag });
        }
        Ok(())
    }

    fn cancel(&mut self, at: At, cancel: &basic::Cancel<'_>) {
        let tag = text(cancel.consumer_tag);
        let channel = self.channel(at);
        if channel
            .reply_consumer
            .as_ref()
            .is_some_and(|consumer| consumer.tag == tag)
        {
            channel.reply_consumer = None;
        } else if let Some(number) = self.find_consumer(at, &tag) {
            self.remove_consumer(number);
        }
        if !cancel.no_wait {
            let consumer_tag = cancel.consumer_tag;
            self.answer(at.1, &basic::CancelOk { consumer_tag });
        }
    }

    fn get(&mut self, at: At, get: &basic::Get<'_>) -> Result<(), u16> {
        let name = self.queue_name(at, get.queue)?;
        self.check_access(at.0, &name)?;
        self.renew_lease(&name);
        let Some(place) = self.next_of(at, &name) else {
            self.counts.get_empty += 1;
            self.answer(at.1, &basic::GetEmpty::default());
            return Ok(());
        };
        let queue = self.queues.get_mut(&name).expect("access was checked");
        let entry = queue.ready.remove(place);
        let (left, queue) = (queue.ready.len(), queue.number);
        self.count_get(get.no_ack, entry.redelivered);
        let timeout_ms = self.timeout_of(None, &self.queues[&name].rules);
        let since_ms = self.now_ms;
        let channel = self.channel(at);
        if !get.no_ack {
            channel.retime((None, queue), timeout_ms);
            channel.unacked.push(Unacked {
                delivery_tag: channel.last_delivery_tag + 1,
                entry: entry.clone(),
                queue,
                consumer: None,
                since_ms,
                timeout_ms,
            });
        }
        self.step.answers.push_back(Answer::Got {
            channel: at.1,
            entry,
            left,
        });
        Ok(())
    }

    /// The index of the queue's next message; where several may be, the one that was given.
    fn next_of(&self, at: At, name: &str) -> Option<usize> {
        let queue = &self.queues[name];
        let heads = queue.heads_but(&self.busy_groups(queue));
        let outputs = self.step.outputs.iter().filter(|(to, _)| *to == at.0);
        let mut got = outputs
            .flat_map(|(_, events)| events)
            .filter(|event| event.payload.starts_with(&[0, 60, 0, 71]));
        let given = got.find_map(|event| {
            let mut heads = heads.iter();
            heads.find(|head| self.is_content_of(head, event))
        });
        let place = given.or(heads.first())?.place;
        queue.ready.iter().position(|entry| entry.place == place)
    }

    fn set_prefetch(&mut self, at: At, qos: &basic::Qos) -> Result<(), u16> {
        if qos.prefetch_size != 0 {
            return Err(540);
        }
        let channel = self.channel(at);
        if qos.global {
            channel.prefetch = qos.prefetch_count;
        } else {
            channel.consumer_prefetch = qos.prefetch_count;
        }
        self.answer(at.1, &basic::QosOk {});
        Ok(())
    }

    fn settle(
        &mut self,
        at: At,
        delivery_tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<(), u16> {
        let channel = self.channel(at);
        let known = channel
            .unacked
            .iter()
            .any(|u| u.delivery_tag == delivery_tag);
        let all = multiple && delivery_tag == 0;
        if !known && !all && !channel.forgiven.contains(&delivery_tag) {
            return Err(406);
        }
        let meant = |unacked: &Unacked| match multiple {
            true => all || unacked.delivery_tag <= delivery_tag,
            false => unacked.delivery_tag == delivery_tag,
        };
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut channel.unacked)
            .into_iter()
            .partition(meant);
        channel.unacked = kept;
        if let Mode::Transaction { settlements, .. } = &mut channel.mode {
            settlements.extend(taken.into_iter().map(|unacked| (settlement, unacked)));
            return Ok(());
        }
        for unacked in taken {
            self.settle_one(unacked, settlement, at.1.into());
        }
        Ok(())
    }

    fn recover(&mut self, at: At, requeue: bool, answer: bool) -> Result<(), u16> {
        if !requeue {
            return Err(540);
        }
        for unacked in std::mem::take(&mut self.channel(at).unacked) {
            self.settle_one(unacked, Settlement::Returned, at.1.into());
        }
        if answer {
            self.answer(at.1, &basic::RecoverOk {});
        }
        Ok(())
    }

    /// A message that was taken out of its channel.
    pub(super) fn settle_one(&mut self, unacked: Unacked, settlement: Settlement, by: u64) {
        self.step.is_settling = true;
        self.counts.acked += u64::from(settlement == Settlement::Acked);
        let Some(name) = self.name_of(unacked.queue) else {
            return;
        };
        match settlement {
            Settlement::Acked => {}
            Settlement::Rejected => self.die(unacked.queue, unacked.entry, "rejected", by),
            Settlement::Returned => self.requeue(&name, unacked.entry, false, by),
            Settlement::Failed => self.requeue(&name, unacked.entry, true, by),
        }
    }

    pub(super) fn find_consumer(&self, at: At, tag: &str) -> Option<u64> {
        let mut consumers = self.queues.values().flat_map(|queue| &queue.consumers);
        let found = consumers.find(|consumer| consumer.at == at && consumer.tag == tag);
        found.map(|consumer| consumer.number)
    }

    /// Takes a consumer out of its queue, which may go with it.
    pub(super) fn remove_consumer(&mut self, number: u64) {
        let has = |queue: &Queue| queue.consumers.iter().any(|c| c.number == number);
        let Some((name, queue)) = self.queues.iter_mut().find(|(_, queue)| has(queue)) else {
            return;
        };
        queue.consumers.retain(|consumer| consumer.number != number);
        queue.promote();
        if queue.auto_delete && queue.consumers.is_empty() {
            let name = name.clone();
            self.remove_queue(&name);
        } else {
            let name = name.clone();
            self.renew_lease(&name);
        }
    }

    fn check_tag(&mut self, at: At, tag: &str) -> Result<(), u16> {
        let reply_consumer = self.channel(at).reply_consumer.as_ref();
        let taken = reply_consumer.is_some_and(|consumer| consumer.tag == tag)
            || self.find_consumer(at, tag).is_some();
        if taken { Err(530) } else { Ok(()) }
    }

    /// The name that the broker made up in its answer; it must be a new one.
    pub(super) fn made_up(
        &mut self,
        at: At,
        prefix: &str,
        name_in: impl for<'a> Fn(&Method<'a>) -> Option<&'a [u8]>,
    ) -> String {
        let mut events = self
            .step
            .outputs
            .iter()
            .filter(|(to, _)| *to == at.0)
            .flat_map(|(_, e)| e);
        let name = events.find_map(|event| {
            let method = event.method().filter(|_| event.channel == at.1)?;
            name_in(&method).map(text)
        });
        match name {
            Some(name) if name.starts_with(prefix) && self.generated.insert(name.clone()) => name,
            // Does not fit what was said, and is found out when that is looked at.
            other => format!("a name beginning with {prefix}, not {other:?}"),
        }
    }
}

pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
