//! Lines of the broker's log as messages (RabbitMQ: `log.exchange`).

use super::Hub;
use crate::config::Format;
use crate::log_tap::LogLine;

impl Hub {
    /// Declares the exchange for the log in the default virtual host; without that, there is none.
    pub fn declare_log_exchange(&mut self) {
        let virtual_host = &self.config.access.default_virtual_host;
        match self.core.declare_log_exchange(virtual_host.as_bytes()) {
            Ok(()) => {
                log::info!(
                    "Logging to exchange 'amq.rabbitmq.log' in vhost '{virtual_host}' ready"
                );
            }
            Err(error) => log::error!("log.exchange: {error}"),
        }
    }

    /// Publishes a line. It has RabbitMQ's form: the level is the routing key, the body is the line.
    pub fn publish_log_line(&mut self, line: &LogLine) {
        let level = line.level_name();
        let content_type = match self.config.log.exchange_format {
            Format::Text => "text/plain",
            Format::Json => "application/json",
        };
        let virtual_host = self.config.access.default_virtual_host.as_bytes();
        let body = [line.text.as_bytes(), b"\n"].concat();
        let published = self.core.publish_log_line(
            virtual_host,
            level,
            content_type,
            &body,
            &mut self.outboxes,
        );
        // The virtual host was deleted: there is nobody to tell it to.
        if published.is_ok() {
            self.after_command();
        }
    }
}
