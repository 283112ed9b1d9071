//! `basic.publish`, confirms and transactions.

use std::rc::Rc;

use leveret::wire::amqp::{Method, Properties, Table, TableBuilder, Value, confirm, tx};

use super::consuming::REPLY_TO;
use super::keeping::Arrival;
use super::routing::Asks;
use super::*;
use crate::Check;

impl Model {
    /// `None` if the method is not about publishing.
    pub(super) fn take_publishing(
        &mut self,
        at: At,
        method: &Method<'_>,
    ) -> Option<Result<(), u16>> {
        Some(match method {
            Method::ConfirmSelect(select) => self.select(at, select.no_wait, true),
            Method::TxSelect(_) => self.select(at, false, false),
            Method::TxCommit(_) => self.commit(at),
            Method::TxRollback(_) => self.roll_back(at),
            _ => return None,
        })
    }

    pub(super) fn take_publish(&mut self, at: At, assembly: Assembly) -> Check<Result<(), u16>> {
        let (block, _) = assembly.header.as_ref().expect("it is complete");
        let properties = Properties::decode(block).map_err(|error| error.to_string())?;
        Ok(self.publish(at, &assembly, properties, block))
    }

    fn publish(
        &mut self,
        at: At,
        assembly: &Assembly,
        properties: Properties<'_>,
        block: &[u8],
    ) -> Result<(), u16> {
        if assembly.immediate {
            return Err(540);
        }
        match self.exchanges.get(&assembly.exchange) {
            None => return Err(404),
            Some(exchange) if exchange.internal => return Err(403),
            Some(_) => {}
        }
        let reply_consumer = match properties.reply_to {
            Some(to) if to == REPLY_TO.as_bytes() => {
                let consumer = self.channel(at).reply_consumer.as_ref();
                Some(consumer.ok_or(406_u16)?.number)
            }
            _ => None,
        };
        let wrong_user = properties.user_id.is_some_and(|user| user != b"guest");
        let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        if wrong_user || properties.expiration.is_some_and(|text| !is_number(text)) {
            return Err(406);
        }
        let headers = properties.headers;
        let mut keys = vec![assembly.routing_key.clone()];
        for name in ["CC", "BCC"] {
            keys.extend(further_keys(headers.unwrap_or_default(), name)?);
        }
        let persistent = properties.delivery_mode == Some(2);
        let asks = Asks::All(persistent);
        let route = self.route(&assembly.exchange, &keys, headers, asks);
        self.end_if(route.is_vague, Beyond::KeysAfterACrash);

        let mut public = TableBuilder::new();
        let mut block = block.to_vec();
        if let Some(headers) = headers.filter(|headers| headers.get("BCC").is_some()) {
            for (name, value) in headers.iter().filter(|(name, _)| *name != b"BCC") {
                public.put(name, value);
            }
            let properties = Properties {
                headers: Some(public.view()),
                ..properties
            };
            block.clear();
            properties.encode(&mut block);
        }
        let expiration_ms = properties.expiration.map(|text| {
            let text = std::str::from_utf8(text).expect("digits");
            text.parse().expect("clients send small numbers")
        });
        let id = self.draw_number();
        let number = crate::message::number(&block, &assembly.body);
        let message = Rc::new(Message {
            id,
            number: number.expect("clients number their messages"),
            exchange: assembly.exchange.clone(),
            routing_key: assembly.routing_key.clone(),
            properties: block,
            reply_consumer,
            body: Rc::from(assembly.body.as_slice()),
            persistent,
            priority: properties.priority.unwrap_or(0).into(),
            expiration_ms,
            delay_ms: None,
            was_delayed: false,
            deaths: Vec::new(),
        });
        let publication = Publication {
            mandatory: assembly.mandatory,
            message,
            queues: route.queues.into_iter().collect(),
            delays: route.delays.into_iter().collect(),
            replies: route.replies.into_iter().collect(),
            news: route.news,
            is_repeat: route.is_repeat,
        };
        match &mut self.channel(at).mode {
            Mode::Transaction { publications, .. } => {
                publications.push(publication);
                return Ok(());
            }
            Mode::Confirm { published, .. } => *published += 1,
            Mode::Plain => {}
        }
        self.counts.published += 1;
        let is_taken = self.carry_out(at, &publication);
        if let Mode::Confirm {
            published, refused, ..
        } = &mut self.channel(at).mode
            && !is_taken
        {
            refused.insert(*published);
        }
        self.step.published.push((at, publication.message));
        Ok(())
    }

    /// Whether no queue refused the message.
    fn carry_out(&mut self, at: At, publication: &Publication) -> bool {
        let message = &publication.message;
        if self.came_before(publication) {
            return true;
        }
        let mut is_taken = true;
        for number in &publication.queues {
            self.remember(message, *number);
            let arrival = Arrival {
                message,
                source: 0,
                lineage: &[],
            };
            is_taken &= self.enqueue(*number, &arrival);
        }
        self.answer_requests(&publication.replies, message);
        for number in &publication.delays {
            self.delay(*number, message, 0, &[]);
        }
        let unroutable = publication.queues.is_empty()
            && publication.replies.is_empty()
            && publication.delays.is_empty()
            && !publication.is_repeat;
        self.counts.dropped += u64::from(unroutable && !publication.mandatory);
        if unroutable && publication.mandatory {
            self.counts.returned += 1;
            self.step.answers.push_back(Answer::Returned {
                channel: at.1,
                message: message.clone(),
            });
        }
        for name in publication.news.iter().filter(|_| is_taken && !unroutable) {
            self.learn_at_exchange(name, message);
        }
        is_taken
    }

    /// Whether the exchange that it was published to has routed another with the same key since the
    /// message was looked at.
    fn came_before(&mut self, publication: &Publication) -> bool {
        let message = &publication.message;
        let name = &message.exchange;
        if !publication.news.contains(name) || !self.exchanges.contains_key(name) {
            return false;
        }
        let properties = Properties::decode(&message.properties).expect("it was looked at before");
        let headers = properties.headers.unwrap_or_default();
        let known = self.is_known_at_exchange(name, (headers, message.persistent));
        known == Some(true)
    }

    /// Messages to reply consumers, by their numbers.
    pub(super) fn answer_requests(&mut self, consumers: &[u64], message: &Shared) {
        for (connection, peer) in self.connections.iter().enumerate() {
            for (number, channel) in &peer.channels {
                let consumer = channel.reply_consumer.as_ref();
                if let Some(consumer) = consumer
                    && consumers.contains(&consumer.number)
                {
                    self.step.replies.push_back(Reply {
                        at: (connection, *number),
                        consumer_tag: consumer.tag.clone(),
                        message: message.clone(),
                        may_be_lost: peer.stalled,
                    });
                }
            }
        }
    }

    fn select(&mut self, at: At, no_wait: bool, confirms: bool) -> Result<(), u16> {
        let mode = &mut self.channel(at).mode;
        match mode {
            Mode::Plain if confirms => {
                *mode = Mode::Confirm {
                    published: 0,
                    confirmed: 0,
                    refused: BTreeSet::new(),
                    holders: BTreeMap::new(),
                };
            }
            Mode::Plain => {
                *mode = Mode::Transaction {
                    publications: Vec::new(),
                    settlements: Vec::new(),
                };
            }
            Mode::Confirm { .. } if confirms => {}
            Mode::Transaction { .. } if !confirms => {}
            _ => return Err(406),
        }
        match confirms {
            true if no_wait => {}
            true => self.answer(at.1, &confirm::SelectOk {}),
            false => self.answer(at.1, &tx::SelectOk {}),
        }
        Ok(())
    }

    fn commit(&mut self, at: At) -> Result<(), u16> {
        let Mode::Transaction {
            publications,
            settlements,
        } = &mut self.channel(at).mode
        else {
            return Err(406);
        };
        let publications = std::mem::take(publications);
        let settlements = std::mem::take(settlements);
        self.step.commits = Some(at);
        let mut is_taken = true;
        for publication in &publications {
            self.counts.published += 1;
            is_taken &= self.carry_out(at, publication);
            self.bury();
        }
        for (settlement, unacked) in settlements {
            self.settle_one(unacked, settlement, at.1.into());
        }
        if !is_taken {
            return Err(406);
        }
        for publication in publications {
            self.step.published.push((at, publication.message));
        }
        self.answer(at.1, &tx::CommitOk {});
        Ok(())
    }

    fn roll_back(&mut self, at: At) -> Result<(), u16> {
        let channel = self.channel(at);
        let Mode::Transaction {
            publications,
            settlements,
        } = &mut channel.mode
        else {
            return Err(406);
        };
        publications.clear();
        let taken = std::mem::take(settlements);
        channel
            .unacked
            .extend(taken.into_iter().map(|(_, unacked)| unacked));
        channel.unacked.sort_by_key(|unacked| unacked.delivery_tag);
        self.answer(at.1, &tx::RollbackOk {});
        Ok(())
    }
}

/// RabbitMQ: sender-selected distribution.
fn further_keys(headers: Table<'_>, name: &str) -> Result<Vec<String>, u16> {
    match headers.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(keys)) => {
            let keys = keys
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned));
            Ok(keys.collect())
        }
        Some(_) => Err(406),
    }
}
