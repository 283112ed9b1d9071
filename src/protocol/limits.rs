//! How many connections and channels the whole broker may have. Limits of users and virtual hosts are the
//! core's.

use super::Hub;
use crate::broker::Error;

impl Hub {
    /// Whether another connection may be opened (RabbitMQ: `connection_max`). Those that have not logged
    /// in do not count, nor does management.
    pub(super) fn check_connection_max(&self) -> Result<(), Error> {
        match reached(
            self.config.limits.connections_max,
            self.core.connection_count(),
        ) {
            None => Ok(()),
            Some(max) => Err(Error::NotAllowed(format!(
                "connection refused: node connection limit ({max}) is reached"
            ))),
        }
    }

    /// Whether another channel may be opened (RabbitMQ: `channel_max_per_node`).
    pub(super) fn check_channel_max(&self) -> Result<(), Error> {
        match reached(self.config.limits.channels_max, self.core.channel_count()) {
            None => Ok(()),
            Some(max) => Err(Error::NotAllowed(format!(
                "number of channels opened on node '{}' has reached the maximum allowed limit of {max}",
                self.config.server.node_name
            ))),
        }
    }
}

/// The limit, if there are as many.
fn reached(max: Option<u32>, count: usize) -> Option<u32> {
    max.filter(|max| usize::try_from(*max).is_ok_and(|max| count >= max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_at_its_value() {
        for (max, count, expected) in [
            (None, usize::MAX, None),
            (Some(0), 0, Some(0)),
            (Some(2), 1, None),
            (Some(2), 2, Some(2)),
        ] {
            assert_eq!(reached(max, count), expected);
        }
    }
}
