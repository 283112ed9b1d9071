//! Who may come in, and what they may do: users, passwords, tags, permissions, limits.
//!
//! What is asked when:
//!
//! ```text
//!   connection.start-ok   Core::authenticate           name, password, where from
//!   connection.open       Core::check_open             virtual host, limits, any permission there
//!   every operation       Core::check_access           configure, write or read a name
//!     on a topic exchange Core::check_topic_access     write or read a routing key
//!   channel.open          Core::check_channel
//! ```
//!
//! Nothing is copied into connections, so what changes counts for the next operation of everybody. The
//! hot path pays nothing: publishers remember their routes until [`Core::generation`] moves, and a change
//! here moves it. Whoever is not there any more, the user or the virtual host, takes the connections
//! along: they are told with 320, at the latest with their next operation.
//!
//! All of it survives the broker, as notes of the store.

mod check;
mod limits;
mod logins;
mod note;
mod password;
mod permission;
mod refused;
mod users;

use std::collections::BTreeMap;

use super::Core;
use super::name::Name;

pub use check::{Resource, Right};
pub use limits::{Limit, Limits};
pub use logins::LoginCounts;
pub use password::{Hashing, PasswordHash, SALT_SIZE};
pub use permission::{Permissions, TopicPermissions};
pub use refused::Refused;
pub use users::{LoginRefusal, User};

pub(super) use refused::check_name;
pub(super) use users::Users;

/// The tag with which one may publish in the name of another (RabbitMQ: `impersonator`).
const IMPERSONATOR: &[u8] = b"impersonator";

/// By their names.
type ByName<T> = BTreeMap<Name, T>;

/// The user, virtual host and permissions of a broker that knows nobody yet.
pub struct FirstStart<'a> {
    pub user: &'a str,
    pub password: PasswordHash,
    pub tags: &'a [String],
    pub virtual_host: &'a str,
    /// Expressions: configure, write, read.
    pub permissions: [&'a str; 3],
}

impl Core {
    /// Gives a broker that knows nobody its first user and virtual host.
    ///
    /// # Errors
    /// A name or an expression that cannot be.
    pub fn start_first(&mut self, first: &FirstStart<'_>) -> Result<(), Refused> {
        let (user, virtual_host) = (first.user.as_bytes(), first.virtual_host.as_bytes());
        let [configure, write, read] = first.permissions;
        let permissions = Permissions::new(configure, write, read)?;
        let tags: Vec<_> = first.tags.iter().map(|tag| tag.as_bytes()).collect();
        self.add_virtual_host(virtual_host)?;
        self.add_user(user, first.password.clone())?;
        self.set_user_tags(user, &tags)?;
        self.set_permissions(user, virtual_host, permissions)
    }

    /// Forgets what a first start brought: there was an earlier one. Before anything else is there.
    pub fn forget_access(&mut self) {
        self.users.by_name.clear();
        for (key, name) in self
            .virtual_hosts()
            .into_iter()
            .map(|(key, host)| (key, host.name.clone()))
            .collect::<Vec<_>>()
        {
            self.remove_contents(key);
            self.virtual_host_names.remove(&name);
            self.virtual_hosts.remove(key);
        }
    }

    /// Writes down what a first start brought.
    pub fn note_access(&mut self) {
        self.note_all_access();
        self.redefined = false;
    }
}
