//! Connections of clients.

use super::{Page, shown, walk};
use crate::broker::Core;
use crate::broker::connection::{About, Connection, ConnectionKey, ConnectionState};
use crate::broker::outlet::SocketKey;

/// A connection, as management shows it.
#[derive(Clone, Debug)]
pub struct ConnectionSurvey {
    /// Names it among all connections that there ever were.
    pub id: u64,
    /// Its outbox knows what went over it.
    pub socket: SocketKey,
    pub name: String,
    pub user: String,
    pub virtual_host: String,
    pub about: About,
    pub state: ConnectionState,
    pub channels: usize,
}

impl Core {
    /// Connections of users and to virtual hosts that are wanted, by both names.
    pub fn survey_connections(
        &self,
        from: usize,
        max: usize,
        wanted: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Page<ConnectionSurvey> {
        walk(&self.connections, from, max, |key, connection| {
            // What management does for a user is over before anybody can look.
            let host = &self.virtual_hosts[connection.virtual_host].name;
            wanted(&connection.user, host).then(|| self.survey_of_connection(key, connection))
        })
    }

    /// Closes a client's connections for this reason (320).
    pub fn close_connections(&mut self, why: &str, is_one: impl Fn(&str, &str) -> bool) -> usize {
        let before = self.traffic.effects.len();
        self.doom_connections(why, |connection| {
            is_one(
                &String::from_utf8_lossy(&connection.name),
                &String::from_utf8_lossy(&connection.user),
            )
        });
        self.traffic.effects.len() - before
    }

    /// A publisher has to wait, or may go on.
    pub fn set_connection_state(&mut self, key: ConnectionKey, state: ConnectionState) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = state;
        }
    }

    fn survey_of_connection(&self, key: ConnectionKey, it: &Connection) -> ConnectionSurvey {
        ConnectionSurvey {
            id: key.to_bits(),
            socket: it.socket,
            name: shown(&it.name),
            user: shown(&it.user),
            virtual_host: shown(&self.virtual_hosts[it.virtual_host].name),
            about: (*it.about).clone(),
            state: match it.doom {
                Some(_) => ConnectionState::Closing,
                None => it.state,
            },
            channels: it.channels.len(),
        }
    }
}
