//! RabbitMQ: the exchange `amq.rabbitmq.log`, to which lines of the broker's log are published. It is
//! declared when it is first wanted, in one virtual host, and lasts.

use super::Core;
use super::error::Result;
use super::message::{Body, Message, Traits};
use super::outlet::Outlet;
use super::routing::Route;
use super::topology::exchange::ExchangeDeclaration;
use super::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::Value;
use crate::wire::amqp::{Properties, Table, TableBuilder};

impl Core {
    /// Declares the exchange in this virtual host, unless it is there.
    ///
    /// # Errors
    /// There is no such virtual host.
    pub fn declare_log_exchange(&mut self, virtual_host: &[u8]) -> Result<()> {
        let virtual_host = self.virtual_host(virtual_host)?;
        self.declare_log_exchange_in(virtual_host);
        Ok(())
    }

    pub(super) fn declare_log_exchange_in(&mut self, virtual_host: VirtualHostKey) {
        if self.exchange(virtual_host, LOG_EXCHANGE).is_err() {
            self.declare_own_exchange(&ExchangeDeclaration {
                virtual_host,
                name: LOG_EXCHANGE,
                kind: b"topic",
                durable: true,
                auto_delete: false,
                internal: true,
                arguments: Table::EMPTY,
            });
        }
    }

    /// Publishes a line with its level as the routing key, and RabbitMQ's properties.
    ///
    /// # Errors
    /// The virtual host or its exchange is not there.
    pub fn publish_log_line(
        &mut self,
        virtual_host: &[u8],
        level: &str,
        content_type: &str,
        line: &[u8],
        outlet: &mut impl Outlet,
    ) -> Result<()> {
        let virtual_host = self.virtual_host(virtual_host)?;
        let exchange = self.exchange(virtual_host, LOG_EXCHANGE)?;
        let mut headers = TableBuilder::new();
        headers.put("node", Value::LongString(&self.node_name));
        let properties = Properties {
            content_type: Some(content_type.as_bytes()),
            headers: Some(headers.view()),
            timestamp: Some(self.now_ms / 1000),
            ..Properties::default()
        };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let message = Message {
            exchange: LOG_EXCHANGE,
            routing_key: level.as_bytes(),
            properties: &encoded,
            body: Body::Slice(line),
            arrived_ms: self.now_ms,
        };
        let mut route = Route::default();
        self.route(exchange, &[level.as_bytes()], &properties, &mut route);
        self.publish(&route, &message, &Traits::NONE, outlet);
        Ok(())
    }
}

pub(super) const LOG_EXCHANGE: &[u8] = b"amq.rabbitmq.log";
