//! `basic.publish`: checks, the remembered route, CC and BCC, and what the publisher hears back.

use crate::broker::access::{Resource, Right};
use crate::broker::message::{INLINE_BODY_MAX, OwnedMessage, Traits};
use crate::broker::{Body, Message, Published, REPLY_TO, Route, TracedPublish};
use crate::protocol::Hub;
use crate::wire::amqp::method::basic;
use crate::wire::amqp::properties::{self, Properties, parse_expiration};
use crate::wire::amqp::{ReplyCode, Table, TableBuilder, Value};

use super::channel::{Channel, Mode};
use super::connection::Session;
use super::content::Content;
use super::exception::{Exception, Result};
use super::repeat::{Repeat, is_same};

/// A publish with its content, wherever that lies.
pub struct Publication<'a> {
    mandatory: bool,
    immediate: bool,
    message: Message<'a>,
}

impl<'a> Publication<'a> {
    #[inline]
    pub fn new(method: &basic::Publish<'a>, properties: &'a [u8], body: &'a [u8]) -> Self {
        Publication {
            mandatory: method.mandatory,
            immediate: method.immediate,
            message: Message {
                exchange: method.exchange,
                routing_key: method.routing_key,
                properties,
                body: Body::Slice(body),
                arrived_ms: 0,
            },
        }
    }

    pub fn of_content(content: &'a Content<'_>) -> Self {
        let mut publication = Publication::new(&content.method, content.properties, &content.body);
        if content.body.len() > INLINE_BODY_MAX {
            publication.message.body = Body::Shared(&content.body);
        }
        publication
    }
}

/// Where the channel's last message went. A steady publisher's next one goes there too, without a
/// look-up, until the topology changes.
#[derive(Default)]
pub struct RouteCache {
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    /// The last properties found in order; those of the next message are looked at if they differ.
    properties: Vec<u8>,
    has_headers: bool,
    /// The message named further keys (CC, BCC).
    has_more_keys: bool,
    /// What they say, unless there are none.
    traits: Traits,
    /// Its generation is 0, which the topology's never is, when nothing is remembered.
    route: Route,
    /// How its next one looks, if the last two looked alike.
    repeat: Repeat,
    likeness: Likeness,
}

/// How often in a row a publish came that differs in nothing but its body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Likeness {
    #[default]
    Once,
    Twice,
    /// And [`RouteCache::repeat`] knows it.
    Known,
}

impl RouteCache {
    /// Whether messages with these names go there, if their headers do not send them elsewhere.
    #[inline]
    fn leads(&self, message: &Message<'_>, generation: u64) -> bool {
        self.route.generation == generation
            && is_same(&self.routing_key, message.routing_key)
            && is_same(&self.exchange, message.exchange)
    }

    /// Whether only the same headers are sure to lead there.
    #[inline]
    fn is_by_headers(&self) -> bool {
        self.route.reads_headers || self.has_more_keys
    }

    fn remember(&mut self, message: &Message<'_>, has_more_keys: bool) {
        replace(&mut self.exchange, message.exchange);
        replace(&mut self.routing_key, message.routing_key);
        self.has_more_keys = has_more_keys;
        self.remember_properties(message);
    }

    fn remember_properties(&mut self, message: &Message<'_>) {
        replace(&mut self.properties, message.properties);
        self.has_headers = Properties::flags(message.properties) & properties::HEADERS != 0;
        self.traits = Traits::of(message);
        self.repeat.clear();
        self.likeness = Likeness::Once;
    }

    /// A publish was decoded from `input` ([`Repeat::learn`]). If it is the second of its kind, the third
    /// is to be recognized.
    #[inline]
    pub fn learn(
        &mut self,
        input: &[u8],
        used: (usize, usize),
        method: &basic::Publish<'_>,
        properties: &[u8],
    ) {
        if self.likeness == Likeness::Twice && is_same(&self.properties, properties) {
            self.likeness = Likeness::Known;
            self.repeat.learn(input, used, method, self.traits);
        }
    }

    /// Leads nowhere from now on.
    fn forget(&mut self) {
        self.route.generation = 0;
    }
}

impl Channel {
    /// # Errors
    /// In RabbitMQ's order: `immediate`, no permission, exchange missing or internal, bad properties.
    #[inline]
    pub fn publish(
        &mut self,
        session: &Session,
        publication: &Publication<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let message = &publication.message;
        if publication.immediate {
            return Err(Exception::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        let cached = &self.route;
        if !cached.leads(message, hub.core.generation()) {
            return self.publish_with_care(session, publication, hub);
        }
        if is_same(&cached.properties, message.properties) {
            let traits = cached.traits;
            if cached.likeness == Likeness::Once {
                self.route.likeness = Likeness::Twice;
            }
            self.forward(publication.mandatory, &traits, message, hub);
            return Ok(());
        }
        self.publish_on_route(session, publication, hub)
    }

    /// Publishes the message at the front of `input` if it is the one before with another body; the bytes
    /// that it took.
    #[inline]
    pub fn publish_again(&mut self, input: &[u8], frame_max: u32, hub: &mut Hub) -> Option<usize> {
        if self.route.route.generation != hub.core.generation() || !self.takes_publish_in_place() {
            return None;
        }
        let again = self.route.repeat.recognize(input, frame_max)?;
        if again.message.body.len() as u64 > hub.message_size_max() {
            return None;
        }
        self.forward(again.mandatory, &again.traits, &again.message, hub);
        Some(again.used)
    }

    /// Publishes what came before, but for the body and other properties, on the remembered route if
    /// nothing in them speaks against it.
    fn publish_on_route(
        &mut self,
        session: &Session,
        publication: &Publication<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let message = &publication.message;
        let properties = Properties::decode(message.properties)?;
        let cached = &mut self.route;
        let is_elsewhere = match properties.headers {
            Some(headers) => cached.is_by_headers() || names_keys(headers),
            None => cached.has_headers && cached.is_by_headers(),
        };
        let is_changed = properties
            .reply_to
            .is_some_and(|to| to.starts_with(REPLY_TO));
        if is_elsewhere || is_changed {
            return self.publish_with_care(session, publication, hub);
        }
        check_user_id(&properties, session, hub)?;
        check_expiration(&properties)?;
        cached.remember_properties(message);
        let traits = cached.traits;
        self.forward(publication.mandatory, &traits, message, hub);
        Ok(())
    }

    /// The long way: everything is looked at, and remembered for the next message.
    fn publish_with_care(
        &mut self,
        session: &Session,
        publication: &Publication<'_>,
        hub: &mut Hub,
    ) -> Result<()> {
        let mut message = publication.message;
        session.check_access(Right::Write, Resource::Exchange(message.exchange), hub)?;
        let exchange = hub.core.exchange(session.virtual_host, message.exchange)?;
        hub.core.check_publishable(exchange)?;
        hub.core.check_topic_access(
            session.connection,
            Right::Write,
            exchange,
            message.routing_key,
        )?;
        let mut properties = Properties::decode(message.properties)?;
        let address;
        if properties.reply_to == Some(REPLY_TO) {
            address = hub.core.own_reply_address(self.key)?;
            properties.reply_to = Some(&address);
        }
        check_user_id(&properties, session, hub)?;
        check_expiration(&properties)?;
        let headers = properties.headers.unwrap_or(Table::EMPTY);
        let mut keys = vec![message.routing_key];
        add_routes(headers, "CC", &mut keys)?;
        let public_keys = keys.len();
        add_routes(headers, "BCC", &mut keys)?;

        let cached = &mut self.route;
        cached.remember(&message, names_keys(headers));
        let traits = cached.traits;
        hub.core
            .route(exchange, &keys, &properties, &mut cached.route);

        // What the broker must change about the message: a real reply address, and no sign of BCC.
        let without_bcc;
        let has_bcc = keys.len() > public_keys || headers.get("BCC").is_some();
        let mut changed = Vec::new();
        if has_bcc {
            without_bcc = without(headers, b"BCC");
            properties.headers = Some(without_bcc.view());
        }
        if has_bcc
            || properties
                .reply_to
                .is_some_and(|to| to.starts_with(REPLY_TO))
        {
            properties.encode(&mut changed);
            message.properties = &changed;
            // The block that came is not the block that goes: the route is for this message alone.
            cached.forget();
        }
        if hub.core.is_traced(session.virtual_host) {
            cached.forget();
            let publish = TracedPublish {
                channel: self.key,
                keys: &keys,
                properties: &properties,
                message: &message,
                route: &cached.route,
            };
            hub.core.trace_publish(&publish, &mut hub.outboxes);
        }
        self.forward(publication.mandatory, &traits, &message, hub);
        Ok(())
    }

    /// Gives the message to the broker along the remembered route, now or when its transaction
    /// commits.
    #[inline]
    fn forward(&mut self, mandatory: bool, traits: &Traits, message: &Message<'_>, hub: &mut Hub) {
        let route = &self.route.route;
        if let Mode::Transaction(transaction) = &mut self.mode {
            transaction.add(mandatory, *traits, route, message);
            hub.core.set_uncommitted(self.key, transaction.counts());
            return;
        }
        let published = hub.publish(route, message, traits);
        hub.core.count_published(self.key, message.body.len());
        if published == Published::Unroutable {
            self.on_unroutable(mandatory, message, hub);
        }
        match &mut self.mode {
            Mode::Confirm(confirms) => match published {
                Published::Journaled => confirms.draw(Some(hub.await_batch())),
                Published::Refused => confirms.draw_refused(),
                Published::Taken | Published::Unroutable => confirms.draw(None),
            },
            Mode::Watched(outcome) => *outcome = Some(published),
            Mode::Plain | Mode::Transaction(_) => {}
        }
    }

    /// Sends a mandatory message back that no queue wanted (AMQP 0-9-1 §1.8.3.8).
    #[cold]
    pub(super) fn on_unroutable(&self, mandatory: bool, message: &Message<'_>, hub: &mut Hub) {
        hub.core.count_unroutable(self.key, mandatory);
        if !mandatory {
            return;
        }
        let method = basic::Return {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: ReplyCode::NoRoute.name().as_bytes(),
            exchange: message.exchange,
            routing_key: message.routing_key,
        };
        hub.outboxes
            .send_return(self.socket, self.number(), &method, message);
    }
}

/// RabbitMQ: validated user-id.
fn check_user_id(properties: &Properties<'_>, session: &Session, hub: &Hub) -> Result<()> {
    match properties.user_id {
        Some(user) if *user != *session.user && !hub.core.may_impersonate(session.connection) => {
            Err(Exception::new(
                ReplyCode::PreconditionFailed,
                format!(
                    "user_id property set to '{}' but authenticated user was '{}'",
                    String::from_utf8_lossy(user),
                    session.user
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// RabbitMQ: `expiration` is a number of milliseconds, written in digits.
fn check_expiration(properties: &Properties<'_>) -> Result<()> {
    let Some(expiration) = properties.expiration else {
        return Ok(());
    };
    let Err(reason) = parse_expiration(expiration) else {
        return Ok(());
    };
    Err(Exception::new(
        ReplyCode::PreconditionFailed,
        format!(
            "invalid expiration '{}': {reason}",
            String::from_utf8_lossy(expiration)
        ),
    ))
}

/// RabbitMQ: sender-selected distribution. Further routing keys in an array of strings.
fn add_routes<'a>(headers: Table<'a>, name: &str, keys: &mut Vec<&'a [u8]>) -> Result<()> {
    match headers.get(name) {
        None => Ok(()),
        Some(Value::Array(array)) => {
            keys.extend(array.iter().filter_map(|value| match value {
                Value::LongString(key) => Some(key),
                _ => None,
            }));
            Ok(())
        }
        Some(other) => Err(Exception::new(
            ReplyCode::PreconditionFailed,
            format!(
                "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
                other.type_name()
            ),
        )),
    }
}

/// Whether there is a CC or BCC, whatever is in it.
fn names_keys(headers: Table<'_>) -> bool {
    headers
        .iter()
        .any(|(name, _)| matches!(name, b"CC" | b"BCC"))
}

fn without(table: Table<'_>, name: &[u8]) -> TableBuilder {
    let mut rest = TableBuilder::new();
    for (key, value) in table.iter().filter(|(key, _)| *key != name) {
        rest.put(key, value);
    }
    rest
}

fn replace(buffer: &mut Vec<u8>, with: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(with);
}

/// A message that is kept before it is published (in a transaction).
pub(super) struct OwnedPublication {
    pub mandatory: bool,
    pub traits: Traits,
    pub route: Route,
    message: OwnedMessage,
}

impl OwnedPublication {
    pub fn new(mandatory: bool, traits: Traits, route: &Route, message: &Message<'_>) -> Self {
        OwnedPublication {
            mandatory,
            traits,
            route: route.clone(),
            message: OwnedMessage::of(message),
        }
    }

    pub fn message(&self) -> Message<'_> {
        self.message.message()
    }
}
