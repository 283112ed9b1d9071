//! What the broker said, held against what had to be said.

use leveret::wire::amqp::{Properties, Table, TableBuilder, basic};

use super::consuming::REPLY_TO;
use super::*;
use crate::event::{Content, describe};
use crate::{Check, ensure};

impl Model {
    pub(super) fn match_events(&mut self, connection: usize, events: &[Event]) -> Check {
        for (index, event) in events.iter().enumerate() {
            let at = (connection, event.channel);
            self.match_event(at, index, event)
                .map_err(|error| format!("{error}: {connection}:{}", event.describe()))?;
        }
        Ok(())
    }

    fn match_event(&mut self, at: At, index: usize, event: &Event) -> Check {
        match event.method() {
            None => Ok(()),
            Some(Method::BasicDeliver(deliver)) => self.match_delivery(at, index, &deliver, event),
            Some(Method::BasicAck(ack)) => self.match_confirm(at, ack.delivery_tag, ack.multiple),
            Some(Method::BasicNack(nack)) => {
                ensure!(!nack.multiple, "nacks go out one by one");
                self.match_refusal(at, nack.delivery_tag)
            }
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
                let counts = counts_of(&entry);
                return self.match_content(
                    &entry.message,
                    counts,
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
                    None,
                    (returned.exchange, returned.routing_key),
                    event.content.as_ref(),
                );
            }
            _ => false,
        };
        ensure!(fits, "expected {}", describe_answer(answer.as_ref()));
        Ok(())
    }

    fn match_delivery(
        &mut self,
        at: At,
        index: usize,
        deliver: &basic::Deliver<'_>,
        event: &Event,
    ) -> Check {
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
            self.counts.delivered_no_ack += 1;
            ensure!(!deliver.redelivered, "an answer to a request comes once");
            return self.match_content(&reply.message, None, names, event.content.as_ref());
        }
        let bound = self.limits.outbox_bytes_max;
        ensure!(
            event.waiting < bound,
            "the outbox is full: {}",
            event.waiting
        );
        if let Some(message) = self.step.accounted.get(&(at.0, index)).cloned() {
            return self.match_content(&message, None, names, event.content.as_ref());
        }
        let consumer = self.find_consumer(at, &tag).ok_or("no such consumer")?;
        let name = self.queue_of(consumer);
        let content = event.content.as_ref().expect("a delivery has one");
        let number = crate::message::number(&content.properties, &content.body);
        let queue = &self.queues[&name];
        let is_free = |entry: &&Entry| {
            Some(entry.message.number) == number && !self.step.picked.contains(&entry.place)
        };
        let mut same = queue.ready.iter().filter(is_free);
        // A message and its dead letters have the same number.
        let exactly = same.clone().find(|entry| self.is_content_of(entry, event));
        let entry = exactly.or_else(|| same.next()).cloned();
        let entry = entry.ok_or_else(|| format!("not ready in queue {name}"))?;
        let counts = counts_of(&entry);
        self.match_content(&entry.message, counts, names, Some(content))?;
        self.step.picked.insert(entry.place);
        self.step.deliveries.push(Delivered {
            at,
            consumer,
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            place: entry.place,
        });
        Ok(())
    }

    /// A message that a queue did not take is nacked in its turn.
    fn match_refusal(&mut self, at: At, delivery_tag: u64) -> Check {
        let (_, confirmed, refused, holders) = self.owed(at).ok_or("nothing to confirm")?;
        ensure!(
            delivery_tag == *confirmed + 1 && refused.remove(&delivery_tag),
            "{confirmed} confirmed, and no queue refused {delivery_tag}"
        );
        *confirmed = delivery_tag;
        // Nobody was told that the other queues have it.
        holders.remove(&delivery_tag);
        self.counts.confirmed += 1;
        Ok(())
    }

    /// The confirms of a channel, be it open or closed in this call: how many are published, how many
    /// confirmed, which are to be nacked, and what must be stored.
    #[expect(clippy::type_complexity, reason = "they are taken apart at once")]
    fn owed(
        &mut self,
        at: At,
    ) -> Option<(
        u64,
        &mut u64,
        &mut BTreeSet<u64>,
        &mut BTreeMap<u64, Copies>,
    )> {
        let live = self.connections[at.0].channels.get_mut(&at.1);
        match live.map(|channel| &mut channel.mode) {
            Some(Mode::Confirm {
                published,
                confirmed,
                refused,
                holders,
            }) => Some((*published, confirmed, refused, holders)),
            _ => {
                let owed = self.step.owed.get_mut(&at)?;
                Some((
                    owed.published,
                    &mut owed.confirmed,
                    &mut owed.refused,
                    &mut owed.holders,
                ))
            }
        }
    }

    /// Confirms come in order, each once, and only for what was published, taken and stored.
    fn match_confirm(&mut self, at: At, delivery_tag: u64, multiple: bool) -> Check {
        let (published, confirmed, refused, holders) = self.owed(at).ok_or("nothing to confirm")?;
        let first = match multiple {
            true => *confirmed + 1,
            false => delivery_tag,
        };
        ensure!(
            first == *confirmed + 1 && (first..=published).contains(&delivery_tag),
            "{published} published, {confirmed} confirmed"
        );
        *confirmed = delivery_tag;
        let acked = first..=delivery_tag;
        let wrong = refused.iter().find(|number| acked.contains(number));
        ensure!(wrong.is_none(), "a queue refused {wrong:?}");
        let later = holders.split_off(&(delivery_tag + 1));
        let copies = std::mem::replace(holders, later);
        self.counts.confirmed += delivery_tag + 1 - first;
        for copies in copies.into_values() {
            self.check_stored(&copies)?;
        }
        // If the last one has still to be returned, it is too early for its confirm.
        let is_returned = |answer: &Answer| match answer {
            Answer::Returned { channel, .. } => *channel != at.1 || delivery_tag < published,
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
        counts: Option<(u64, u64)>,
        (exchange, routing_key): (&[u8], &[u8]),
        content: Option<&Content>,
    ) -> Check {
        let content = content.expect("the method has one");
        ensure!(
            content.body[..] == message.body[..],
            "not the body of {message:?}"
        );
        ensure!(
            exchange == message.exchange.as_bytes()
                && routing_key == message.routing_key.as_bytes(),
            "not the way of {message:?}"
        );
        let mut expected = match message.reply_consumer {
            None => message.properties.clone(),
            Some(consumer) => self.with_reply_address(message, consumer, &content.properties)?,
        };
        if let Some(counts) = counts {
            expected = with_counts(&expected, counts);
        }
        // The order of headers that the broker writes is its own affair.
        let is_rewritten = counts.is_some() || !message.deaths.is_empty() || message.was_delayed;
        let is_same = match is_rewritten {
            true => are_same(&content.properties, &expected),
            false => content.properties == expected,
        };
        ensure!(
            is_same,
            "properties of {message:?} should be {}",
            expected.escape_ascii()
        );
        Ok(())
    }

    /// Whether a delivery could be of this entry, as far as its properties and its way tell.
    pub(super) fn is_content_of(&self, entry: &Entry, event: &Event) -> bool {
        let message = &entry.message;
        let (Some(content), Some(method)) = (&event.content, event.method()) else {
            return false;
        };
        let (exchange, routing_key) = match &method {
            Method::BasicDeliver(deliver) => (deliver.exchange, deliver.routing_key),
            Method::BasicGetOk(got) => (got.exchange, got.routing_key),
            _ => return false,
        };
        let number = crate::message::number(&content.properties, &content.body);
        if number != Some(message.number)
            || exchange != message.exchange.as_bytes()
            || routing_key != message.routing_key.as_bytes()
        {
            return false;
        }
        let expected = match counts_of(entry) {
            None => message.properties.clone(),
            Some(counts) => with_counts(&message.properties, counts),
        };
        are_same(
            &without_reply_to(&content.properties),
            &without_reply_to(&expected),
        )
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

/// How often a message was given back, where its queue counts.
fn counts_of(entry: &Entry) -> Option<(u64, u64)> {
    (entry.acquired > 0).then_some((entry.failed, entry.acquired))
}

fn with_counts(block: &[u8], (failed, acquired): (u64, u64)) -> Vec<u8> {
    let mut properties = Properties::decode(block).expect("the model looked at it before");
    let mut headers = TableBuilder::new();
    for (name, value) in properties.headers.unwrap_or(Table::EMPTY) {
        headers.put(name, value);
    }
    if failed > 0 {
        headers.put("x-delivery-count", failed as i64);
    }
    headers.put("x-acquired-count", acquired as i64);
    properties.headers = Some(headers.view());
    let mut block = Vec::new();
    properties.encode(&mut block);
    block
}

/// Whether two blocks say the same, in whatever order of headers.
fn are_same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (Properties::decode(one), Properties::decode(other)) else {
        return false;
    };
    let (Some(ours), Some(theirs)) = (one.headers, other.headers) else {
        return false;
    };
    let without_headers = |properties: Properties<'_>| {
        let mut block = Vec::new();
        let headers = None;
        Properties {
            headers,
            ..properties
        }
        .encode(&mut block);
        block
    };
    ours.same_entries(&theirs) && without_headers(one) == without_headers(other)
}

fn without_reply_to(block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(properties) = Properties::decode(block) {
        let reply_to = properties
            .reply_to
            .filter(|to| !to.starts_with(REPLY_TO.as_bytes()));
        Properties {
            reply_to,
            ..properties
        }
        .encode(&mut out);
    }
    out
}
