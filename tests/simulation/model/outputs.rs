//! What the broker said, held against what had to be said.

use leveret::wire::amqp::{Method, Properties, basic};

use super::consuming::REPLY_TO;
use super::*;
use crate::event::{Content, describe};
use crate::{Check, ensure};

impl Model {
    pub(super) fn match_events(&mut self, connection: usize, events: &[Event]) -> Check {
        for event in events {
            let at = (connection, event.channel);
            self.match_event(at, event)
                .map_err(|error| format!("{error}: {connection}:{}", event.describe()))?;
        }
        Ok(())
    }

    fn match_event(&mut self, at: At, event: &Event) -> Check {
        match event.method() {
            None => Ok(()),
            Some(Method::BasicDeliver(deliver)) => self.match_delivery(at, &deliver, event),
            Some(Method::BasicAck(ack)) => self.match_confirm(at, &ack),
            Some(Method::BasicCancel(cancel)) => {
                let is_answered =
                    self.step.connection != Some(at.0) || self.step.answers.is_empty();
                ensure!(is_answered, "a cancel before the answer");
                let tag = connection::text(cancel.consumer_tag);
                let expected = self.step.cancels.remove(&(at, tag));
                ensure!(expected, "nothing cancelled this consumer");
                Ok(())
            }
            Some(method) => self.match_answer(at, &method, event),
        }
    }

    fn match_answer(&mut self, at: At, method: &Method<'_>, event: &Event) -> Check {
        ensure!(self.step.connection == Some(at.0), "nobody asked");
        let answer = self.step.answers.pop_front();
        let fits = match (&answer, method) {
            (Some(Answer::Exactly(channel, payload)), _) => {
                *channel == at.1 && *payload == event.payload
            }
            (Some(Answer::Method(name)), _) => at.1 == 0 && method.name() == *name,
            (
                Some(Answer::Close {
                    channel,
                    code,
                    method: ids,
                }),
                Method::ChannelClose(close),
            ) => {
                *channel == at.1
                    && *channel > 0
                    && close.reply_code == *code
                    && (close.class_id, close.method_id) == *ids
            }
            (
                Some(Answer::Close {
                    channel: 0,
                    code,
                    method: ids,
                }),
                Method::ConnectionClose(close),
            ) => {
                at.1 == 0 && close.reply_code == *code && (close.class_id, close.method_id) == *ids
            }
            (
                Some(Answer::Got {
                    channel,
                    entry,
                    left,
                }),
                Method::BasicGetOk(got),
            ) => {
                let (entry, left) = (entry.clone(), *left);
                ensure!(*channel == at.1, "wrong channel");
                self.draw_delivery_tag(at, got.delivery_tag)?;
                ensure!(
                    got.message_count == left as u32 && got.redelivered == entry.redelivered,
                    "expected {entry:?}, {left} left"
                );
                return self.match_content(
                    &entry.message,
                    (got.exchange, got.routing_key),
                    event.content.as_ref(),
                );
            }
            (Some(Answer::Returned { channel, message }), Method::BasicReturn(returned)) => {
                let message = message.clone();
                ensure!(
                    *channel == at.1 && returned.reply_code == 312,
                    "expected {message:?}"
                );
                return self.match_content(
                    &message,
                    (returned.exchange, returned.routing_key),
                    event.content.as_ref(),
                );
            }
            _ => false,
        };
        ensure!(fits, "expected {}", describe_answer(answer.as_ref()));
        Ok(())
    }

    fn match_delivery(&mut self, at: At, deliver: &basic::Deliver<'_>, event: &Event) -> Check {
        let consume_ok = [0, 60, 0, 21];
        if let Some(Answer::Exactly(_, payload)) = self.step.answers.front() {
            let early = self.step.connection == Some(at.0) && payload.starts_with(&consume_ok);
            ensure!(!early, "a delivery before consume-ok");
        }
        self.draw_delivery_tag(at, deliver.delivery_tag)?;
        let tag = connection::text(deliver.consumer_tag);
        let names = (deliver.exchange, deliver.routing_key);
        let is_reply = |reply: &Reply| reply.at == at && reply.consumer_tag == tag;
        if let Some(place) = self.step.replies.iter().position(is_reply) {
            let reply = self.step.replies.remove(place).expect("it was found");
            ensure!(!deliver.redelivered, "an answer to a request comes once");
            return self.match_content(&reply.message, names, event.content.as_ref());
        }
        let bound = self.limits.outbox_bytes_max;
        ensure!(
            event.waiting < bound,
            "the outbox is full: {}",
            event.waiting
        );
        let consumer = self.find_consumer(at, &tag).ok_or("no such consumer")?;
        let queue = self.queue_of(consumer);
        let content = event.content.as_ref().expect("a delivery has one");
        let number = crate::message::number(&content.properties, &content.body);
        let ready = &self.queues[&queue].ready;
        let entry = ready
            .iter()
            .find(|entry| Some(entry.message.number) == number);
        let message = entry.map(|entry| entry.message.clone());
        let message = message.ok_or_else(|| format!("not ready in queue {queue}"))?;
        self.match_content(&message, names, Some(content))?;
        self.step.deliveries.push(Delivered {
            at,
            consumer,
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            message: message.number,
        });
        Ok(())
    }

    /// Confirms come in order, each once, and only for what was published.
    fn match_confirm(&mut self, at: At, ack: &basic::Ack) -> Check {
        let live = self.connections[at.0].channels.get_mut(&at.1);
        let owed = self
            .step
            .owed
            .get_mut(&at)
            .map(|owed| (owed.published, &mut owed.confirmed));
        let (published, confirmed) = match live.map(|channel| &mut channel.mode) {
            Some(Mode::Confirm {
                published,
                confirmed,
            }) => (*published, confirmed),
            _ => owed.ok_or("nothing to confirm")?,
        };
        let first = match ack.multiple {
            true => *confirmed + 1,
            false => ack.delivery_tag,
        };
        ensure!(
            first == *confirmed + 1 && (first..=published).contains(&ack.delivery_tag),
            "{published} published, {confirmed} confirmed"
        );
        *confirmed = ack.delivery_tag;
        // If the last one has still to be returned, it is too early for its confirm.
        let is_returned = |answer: &Answer| match answer {
            Answer::Returned { channel, .. } => *channel != at.1 || ack.delivery_tag < published,
            _ => true,
        };
        ensure!(
            self.step.connection != Some(at.0) || self.step.answers.iter().all(is_returned),
            "confirmed before it was returned"
        );
        Ok(())
    }

    /// Delivery tags count up from 1 in each channel.
    fn draw_delivery_tag(&mut self, at: At, delivery_tag: u64) -> Check {
        let channel = self.connections[at.0].channels.get_mut(&at.1);
        let channel = channel.filter(|c| !c.closing).ok_or("no such channel")?;
        channel.last_delivery_tag += 1;
        let expected = channel.last_delivery_tag;
        ensure!(delivery_tag == expected, "expected delivery tag {expected}");
        Ok(())
    }

    fn match_content(
        &mut self,
        message: &Message,
        (exchange, routing_key): (&[u8], &[u8]),
        content: Option<&Content>,
    ) -> Check {
        let content = content.expect("the method has one");
        ensure!(content.body == message.body, "not the body of {message:?}");
        ensure!(
            exchange == message.exchange.as_bytes()
                && routing_key == message.routing_key.as_bytes(),
            "not the way of {message:?}"
        );
        let expected = match message.reply_consumer {
            None => message.properties.clone(),
            Some(consumer) => self.with_reply_address(message, consumer, &content.properties)?,
        };
        ensure!(
            content.properties == expected,
            "properties of {message:?} should be {}",
            expected.escape_ascii()
        );
        Ok(())
    }

    /// The properties with the address that the broker put in, which is learnt when first seen.
    fn with_reply_address(
        &mut self,
        message: &Message,
        consumer: u64,
        seen: &[u8],
    ) -> Check<Vec<u8>> {
        let seen = Properties::decode(seen).map_err(|error| error.to_string())?;
        let seen = connection::text(seen.reply_to.ok_or("no reply-to")?);
        let unguessable = seen
            .strip_prefix(REPLY_TO)
            .is_some_and(|rest| rest.len() > 20);
        ensure!(unguessable, "a reply-to like {seen}");
        let mut channels = self
            .connections
            .iter_mut()
            .flat_map(|c| c.channels.values_mut());
        let consumer = channels.find_map(|channel| {
            let found = channel.reply_consumer.as_mut();
            found.filter(|found| found.number == consumer)
        });
        let address = match consumer {
            Some(consumer) => consumer.address.get_or_insert(seen).clone(),
            // Gone since: any address will do, for nobody is there.
            None => seen,
        };
        let mut properties = Properties::decode(&message.properties).map_err(|e| e.to_string())?;
        properties.reply_to = Some(address.as_bytes());
        let mut block = Vec::new();
        properties.encode(&mut block);
        Ok(block)
    }
}

fn describe_answer(answer: Option<&Answer>) -> String {
    match answer {
        None => "nothing".to_owned(),
        Some(Answer::Exactly(channel, payload)) => format!("{channel}: {}", describe(payload)),
        Some(other) => format!("{other:?}"),
    }
}
