//! What is told of each event. Whoever calls has asked [`Core::tells_events`] before, and calls while what
//! is told about is there: after it has come, before it goes.

use std::rc::Rc;

use crate::broker::access::Permissions;
use crate::broker::channel::ChannelKey;
use crate::broker::connection::{Connection, ConnectionKey, Endpoint};
use crate::broker::consumer::ConsumerKey;
use crate::broker::outlet::SocketKey;
use crate::broker::policy::OwnedValue;
use crate::broker::queue::QueueKey;
use crate::broker::topology::binding::{Binding, Destination};
use crate::broker::topology::exchange::ExchangeKey;
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Name};
use crate::wire::amqp::field_table::{ArrayBuilder, Table, TableBuilder, Value};

/// How a login went.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    pub user: &'a [u8],
    /// `PLAIN`, or `http`.
    pub mechanism: &'a str,
    /// `{0,9,1}`, or `http`.
    pub protocol: &'static str,
    /// The peer's address with its port, or `unix`.
    pub peer: &'a str,
    /// Ours, if it is known.
    pub local: Option<&'a str>,
    /// It came over TLS.
    pub ssl: bool,
    /// `None`: the user was let in.
    pub error: Option<&'a str>,
}

impl Core {
    #[cold]
    pub(in crate::broker) fn tell_queue_created(&mut self, key: QueueKey) {
        let queue = &self.traffic.queues[key];
        let mut told = self.named(&queue.name, queue.virtual_host);
        told.put("durable", queue.durable)
            .put("auto_delete", queue.auto_delete)
            .put("exclusive", queue.owner.is_some())
            .put("arguments", queue.declared_arguments.view());
        let owner = queue.owner.and_then(|owner| self.connections.get(owner));
        if let Some(owner) = owner {
            told.put("owner_pid", &*owner.name);
        }
        self.tell("queue.created", told);
    }

    /// With what goes along: consumers and bindings.
    #[cold]
    pub(in crate::broker) fn tell_queue_goes(&mut self, key: QueueKey) {
        let Some(queue) = self.traffic.queues.get(key) else {
            return;
        };
        // The queue of an exchange that delays is nobody's business.
        if queue.is_delay_queue() {
            return;
        }
        let told = self.named(&queue.name, queue.virtual_host);
        let consumers: Vec<_> = queue.dispatch.consumers().collect();
        let bindings: Vec<_> = queue.bindings.iter().cloned().collect();
        for consumer in consumers {
            self.tell_consumer_goes(consumer);
        }
        self.tell_bindings_go(bindings);
        self.tell("queue.deleted", told);
    }

    #[cold]
    pub(in crate::broker) fn tell_exchange_created(&mut self, key: ExchangeKey) {
        let exchange = &self.exchanges[key];
        let mut told = self.named(&exchange.name, exchange.virtual_host);
        told.put("type", exchange.router.type_name())
            .put("durable", exchange.durable)
            .put("auto_delete", exchange.auto_delete)
            .put("internal", exchange.internal)
            .put("arguments", exchange.arguments.view());
        self.tell("exchange.created", told);
    }

    /// With the bindings that go along.
    #[cold]
    pub(in crate::broker) fn tell_exchange_goes(&mut self, key: ExchangeKey) {
        let Some(exchange) = self.exchanges.get(key) else {
            return;
        };
        let told = self.named(&exchange.name, exchange.virtual_host);
        let bindings = exchange.outgoing.iter().chain(&exchange.incoming);
        let bindings: Vec<_> = bindings.cloned().collect();
        self.tell_bindings_go(bindings);
        self.tell("exchange.deleted", told);
    }

    #[cold]
    pub(in crate::broker) fn tell_binding(&mut self, name: &'static str, binding: &Binding) {
        let (Some(source), Some((destination, kind))) = (
            self.exchanges.get(binding.source),
            self.destination(binding.destination),
        ) else {
            return;
        };
        let mut told = TableBuilder::new();
        told.put("vhost", self.host(source.virtual_host))
            .put("source_name", &*source.name)
            .put("source_kind", "exchange")
            .put("destination_name", &**destination)
            .put("destination_kind", kind)
            .put("routing_key", &*binding.routing_key)
            .put("arguments", binding.arguments.view());
        self.tell(name, told);
    }

    #[cold]
    pub(in crate::broker) fn tell_connection_opened(&mut self, key: ConnectionKey) {
        let Some(told) = self.connections.get(key).filter(is_client) else {
            return;
        };
        let about = &told.about;
        let number = |number: u64| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
        let mut properties = TableBuilder::new();
        properties
            .put("pid", &*told.name)
            .put("name", &*told.name)
            .put("port", i64::from(about.local.port))
            .put("peer_port", i64::from(about.peer.port))
            .put("host", about.local.host.as_str())
            .put("peer_host", about.peer.host.as_str())
            .put("ssl", about.tls.is_some())
            .put("auth_mechanism", about.mechanism.as_str())
            .put("protocol", "{0,9,1}")
            .put("user", &*told.user)
            .put("vhost", self.host(told.virtual_host))
            .put("timeout", number(about.heartbeat_seconds))
            .put("frame_max", i64::from(about.frame_max))
            .put("channel_max", i64::from(about.channel_max))
            .put("client_properties", about.client_properties.view())
            .put("connected_at", number(about.connected_ms))
            .put("node", &*self.node_name);
        self.tell("connection.created", properties);
    }

    #[cold]
    pub(in crate::broker) fn tell_connection_goes(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key).filter(is_client) else {
            return;
        };
        let mut told = TableBuilder::new();
        told.put("pid", &*connection.name)
            .put("name", &*connection.name)
            .put("user", &*connection.user)
            .put("vhost", self.host(connection.virtual_host))
            .put("node", &*self.node_name);
        self.tell("connection.closed", told);
    }

    #[cold]
    pub(in crate::broker) fn tell_channel(&mut self, name: &'static str, key: ChannelKey) {
        let Some(channel) = self.traffic.channels.get(key) else {
            return;
        };
        let connection = self.connections.get(channel.connection).filter(is_client);
        let Some(connection) = connection else {
            return;
        };
        let shown = channel_name(&connection.name, channel.number);
        let mut told = TableBuilder::new();
        told.put("pid", shown.as_slice())
            .put("name", shown.as_slice())
            .put("connection", &*connection.name)
            .put("number", i64::from(channel.number))
            .put("user", &*connection.user)
            .put("vhost", self.host(connection.virtual_host));
        self.tell(name, told);
    }

    #[cold]
    pub(in crate::broker) fn tell_consumer_came(&mut self, key: ConsumerKey) {
        let Some(mut told) = self.consumer(key) else {
            return;
        };
        let consumer = &self.traffic.consumers[key];
        told.put("exclusive", consumer.exclusive)
            .put("ack_required", !consumer.no_ack)
            .put("prefetch_count", i64::from(consumer.prefetch))
            .put("arguments", consumer.arguments.view());
        self.tell("consumer.created", told);
    }

    #[cold]
    pub(in crate::broker) fn tell_consumer_goes(&mut self, key: ConsumerKey) {
        if let Some(told) = self.consumer(key) {
            self.tell("consumer.deleted", told);
        }
    }

    /// `policy.set` with its settings, or `policy.cleared` without.
    #[cold]
    pub(in crate::broker) fn tell_policy(
        &mut self,
        virtual_host: VirtualHostKey,
        policy: &[u8],
        settings: Option<Table<'_>>,
    ) {
        let mut told = self.named(policy, virtual_host);
        for (name, value) in settings.iter().flat_map(Table::iter) {
            told.put(name, value);
        }
        let is_set = settings.is_some();
        let name = if is_set {
            "policy.set"
        } else {
            "policy.cleared"
        };
        self.tell(name, told);
    }

    /// `parameter.set` with its value, or `parameter.cleared` without. Global ones are in no virtual host.
    #[cold]
    pub(in crate::broker) fn tell_parameter(
        &mut self,
        virtual_host: Option<VirtualHostKey>,
        component: &[u8],
        parameter: &[u8],
        value: Option<&OwnedValue>,
    ) {
        let mut told = TableBuilder::new();
        told.put("component", component).put("name", parameter);
        if let Some(host) = virtual_host {
            told.put("vhost", self.host(host));
        }
        if let Some(value) = value {
            told.put("value", value.view());
        }
        let name = match value {
            Some(_) => "parameter.set",
            None => "parameter.cleared",
        };
        self.tell(name, told);
    }

    #[cold]
    pub(in crate::broker) fn tell_virtual_host(&mut self, name: &'static str, host: &[u8]) {
        let mut told = TableBuilder::new();
        told.put("name", host);
        self.tell(name, told);
    }

    #[cold]
    pub(in crate::broker) fn tell_user(&mut self, name: &'static str, user: &[u8]) {
        let mut told = TableBuilder::new();
        told.put("name", user);
        self.tell(name, told);
    }

    #[cold]
    pub(in crate::broker) fn tell_user_tags(&mut self, user: &[u8], tags: &[&[u8]]) {
        let mut list = ArrayBuilder::new();
        for tag in tags {
            list.push(*tag);
        }
        let mut told = TableBuilder::new();
        told.put("name", user).put_array("tags", &list);
        self.tell("user.tags.set", told);
    }

    /// `permission.created` with what is permitted, or `permission.deleted` without.
    #[cold]
    pub(in crate::broker) fn tell_permissions(&mut self, user: &[u8], virtual_host: &[u8]) {
        let mut told = TableBuilder::new();
        told.put("user", user).put("vhost", virtual_host);
        let permissions = self.permissions(user, virtual_host);
        let name = match permissions.map(Permissions::texts) {
            Some([configure, write, read]) => {
                told.put("configure", configure)
                    .put("write", write)
                    .put("read", read);
                "permission.created"
            }
            None => "permission.deleted",
        };
        self.tell(name, told);
    }

    /// The same about topics.
    #[cold]
    pub(in crate::broker) fn tell_topic_permissions(
        &mut self,
        user: &[u8],
        virtual_host: &[u8],
        exchange: &[u8],
        texts: Option<[&str; 2]>,
    ) {
        let mut told = TableBuilder::new();
        told.put("user", user)
            .put("vhost", virtual_host)
            .put("exchange", exchange);
        let name = match texts {
            Some([write, read]) => {
                told.put("write", write).put("read", read);
                "topic.permission.created"
            }
            None => "topic.permission.deleted",
        };
        self.tell(name, told);
    }

    /// `user.authentication.success` or `user.authentication.failure`.
    pub fn tell_login(&mut self, login: &Login<'_>) {
        if !self.tells_events() {
            return;
        }
        let peer = Endpoint::parse(login.peer);
        let mut told = TableBuilder::new();
        told.put("connection_type", "network")
            .put("name", login.user)
            .put("peer_host", peer.host.as_str())
            .put("peer_port", i64::from(peer.port))
            .put("protocol", login.protocol)
            .put("auth_mechanism", login.mechanism)
            .put("ssl", login.ssl);
        if let Some(local) = login.local {
            let name = format!("{} -> {local}", login.peer);
            told.put("connection_name", name.as_str())
                .put("host", Endpoint::parse(local).host.as_str());
        }
        if let Some(error) = login.error {
            told.put("error", error);
        }
        let name = match login.error {
            None => "user.authentication.success",
            Some(_) => "user.authentication.failure",
        };
        self.events.actor = None;
        self.tell(name, told);
    }

    /// `alarm.set` or `alarm.cleared`; `resource` is `memory` or `disk`.
    pub fn tell_alarm(&mut self, resource: &str, is_set: bool) {
        if !self.tells_events() {
            return;
        }
        let mut told = TableBuilder::new();
        told.put("source", resource).put("node", &*self.node_name);
        self.events.actor = None;
        self.tell(if is_set { "alarm.set" } else { "alarm.cleared" }, told);
    }

    fn tell_bindings_go(&mut self, bindings: Vec<Rc<Binding>>) {
        for binding in bindings {
            self.tell_binding("binding.deleted", &binding);
        }
    }

    fn named(&self, name: &[u8], virtual_host: VirtualHostKey) -> TableBuilder {
        let mut told = TableBuilder::new();
        told.put("name", name).put("vhost", self.host(virtual_host));
        told
    }

    fn consumer(&self, key: ConsumerKey) -> Option<TableBuilder> {
        let consumer = self.traffic.consumers.get(key)?;
        let queue = self.traffic.queues.get(consumer.queue)?;
        let channel = self.traffic.channels.get(consumer.channel)?;
        let connection = self.connections.get(channel.connection)?;
        let mut told = TableBuilder::new();
        told.put("consumer_tag", &*consumer.tag)
            .put("queue", &*queue.name)
            .put("vhost", self.host(queue.virtual_host));
        let shown = channel_name(&connection.name, channel.number);
        told.put("channel", shown.as_slice());
        Some(told)
    }

    fn destination(&self, destination: Destination) -> Option<(&Name, &'static str)> {
        match destination {
            Destination::Queue(key) => Some((&self.traffic.queues.get(key)?.name, "queue")),
            Destination::Exchange(key) => Some((&self.exchanges.get(key)?.name, "exchange")),
        }
    }

    fn host(&self, key: VirtualHostKey) -> &[u8] {
        self.virtual_hosts.get(key).map_or(b"", |host| &host.name)
    }
}

/// One with a socket of its own.
fn is_client(connection: &&Connection) -> bool {
    connection.socket != SocketKey::NONE
}

/// RabbitMQ: `127.0.0.1:54321 -> 127.0.0.1:5672 (1)`.
fn channel_name(connection: &[u8], number: u16) -> Vec<u8> {
    [connection, format!(" ({number})").as_bytes()].concat()
}
