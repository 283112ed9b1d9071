//! Users: their passwords, tags and permissions, and their coming in.

use crate::broker::Core;
use crate::broker::journal::NoteKind;
use crate::broker::name::Name;

use super::refused::{Refused, check_name, shown};
use super::{ByName, Limits, LoginCounts, PasswordHash, Permissions, TopicPermissions};

/// The users that the broker knows.
#[derive(Default)]
pub(in crate::broker) struct Users {
    pub by_name: ByName<User>,
    /// They may come from this machine only (RabbitMQ: `loopback_users`).
    pub loopback_only: Vec<Name>,
    pub logins: LoginCounts,
}

/// One who may come in.
#[derive(Debug, Default)]
pub struct User {
    pub password: PasswordHash,
    /// In the order in which they were given (RabbitMQ: `administrator`, `monitoring`, `policymaker`,
    /// `management`, `impersonator`; others mean nothing here).
    pub tags: Vec<Name>,
    pub limits: Limits,
    /// By virtual host. Without any the user cannot even look in.
    pub(super) permissions: ByName<Permissions>,
    /// By virtual host and exchange.
    pub(super) topics: std::collections::BTreeMap<(Name, Name), TopicPermissions>,
}

/// Why a login is refused. Clients are not told which; the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    InvalidCredentials,
    /// RabbitMQ: `loopback_users`.
    OnlyFromLoopback,
}

impl User {
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.tags.iter().any(|had| **had == *tag)
    }
}

impl Core {
    /// The user of that name, if the password fits. `source` is the address it comes from, for
    /// [`Core::login_counts`]. Takes about as long for a user who does not exist as for one who does.
    pub fn authenticate(
        &mut self,
        name: &[u8],
        password: &[u8],
        source: &str,
        from_loopback: bool,
    ) -> Result<Name, LoginRefusal> {
        let result = self.users.log_in(name, password, from_loopback);
        self.users.logins.count(source, result.is_ok());
        result
    }

    /// The same for one whose name somebody else vouches for: no password is asked for.
    pub fn authenticate_certified(
        &mut self,
        name: &[u8],
        source: &str,
        from_loopback: bool,
    ) -> Result<Name, LoginRefusal> {
        let result = self.users.let_in(name, from_loopback);
        self.users.logins.count(source, result.is_ok());
        result
    }

    /// Adds a user without permissions.
    ///
    /// # Errors
    /// There is one of that name, or a name cannot be like that.
    pub fn add_user(&mut self, name: &[u8], password: PasswordHash) -> Result<(), Refused> {
        check_name("user", name)?;
        if self.users.by_name.contains_key(name) {
            return Err(Refused::UserExists(shown(name)));
        }
        let user = User {
            password,
            ..User::default()
        };
        self.users.by_name.insert(Name::from(name), user);
        self.note_user(name);
        if self.tells_events() {
            self.tell_user("user.created", name);
        }
        Ok(())
    }

    /// Takes a user away with its permissions and limits; its connections are closed (320).
    ///
    /// # Errors
    /// There is none of that name.
    pub fn delete_user(&mut self, name: &[u8]) -> Result<(), Refused> {
        let user = self.users.by_name.remove(name);
        let user = user.ok_or_else(|| Refused::no_user(name))?;
        for virtual_host in user.permissions.keys() {
            self.note(NoteKind::Permission, &[virtual_host, name], None);
        }
        for (virtual_host, exchange) in user.topics.keys() {
            let key: [&[u8]; 3] = [virtual_host, name, exchange];
            self.note(NoteKind::TopicPermission, &key, None);
        }
        if !user.limits.is_empty() {
            self.note_user_limits(name, &Limits::default());
        }
        self.note_user(name);
        let why = format!("user '{}' is deleted", shown(name));
        self.doom_connections(&why, |connection| *connection.user == *name);
        self.on_access_changed();
        if self.tells_events() {
            self.tell_user("user.deleted", name);
        }
        Ok(())
    }

    /// Gives a user another password, or none with [`PasswordHash::default`]. Open connections stay.
    ///
    /// # Errors
    /// There is no such user.
    pub fn change_password(&mut self, name: &[u8], password: PasswordHash) -> Result<(), Refused> {
        let event = match password.is_none() {
            true => "user.password.cleared",
            false => "user.password.changed",
        };
        self.user_mut(name)?.password = password;
        self.note_user(name);
        if self.tells_events() {
            self.tell_user(event, name);
        }
        Ok(())
    }

    /// Replaces the tags.
    ///
    /// # Errors
    /// There is no such user; a tag that cannot be.
    pub fn set_user_tags(&mut self, name: &[u8], tags: &[&[u8]]) -> Result<(), Refused> {
        for tag in tags {
            check_name("tag", tag)?;
        }
        self.user_mut(name)?.tags = tags.iter().map(|tag| Name::from(*tag)).collect();
        self.note_user(name);
        self.on_access_changed();
        if self.tells_events() {
            self.tell_user_tags(name, tags);
        }
        Ok(())
    }

    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.by_name.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&Name, &User)> {
        self.users.by_name.iter()
    }

    /// Who may come in from this machine only (RabbitMQ: `loopback_users`).
    pub fn set_loopback_users(&mut self, names: &[String]) {
        self.users.loopback_only = names.iter().map(|name| Name::from(name.as_str())).collect();
    }

    /// How logins went, by the address they came from.
    pub fn login_counts(&self) -> &LoginCounts {
        &self.users.logins
    }

    /// Forgets them.
    pub fn reset_login_counts(&mut self) {
        self.users.logins = LoginCounts::default();
    }

    pub(in crate::broker) fn user_mut(&mut self, name: &[u8]) -> Result<&mut User, Refused> {
        let user = self.users.by_name.get_mut(name);
        user.ok_or_else(|| Refused::no_user(name))
    }

    /// Somebody may do more or less than before: remembered routes are looked at again.
    pub(in crate::broker) fn on_access_changed(&mut self) {
        self.generation += 1;
    }
}

impl Users {
    fn log_in(
        &self,
        name: &[u8],
        password: &[u8],
        from_loopback: bool,
    ) -> Result<Name, LoginRefusal> {
        let Some(user) = self.by_name.get(name) else {
            // For the time it takes.
            PasswordHash::default().fits(password);
            return Err(LoginRefusal::InvalidCredentials);
        };
        if !user.password.fits(password) {
            return Err(LoginRefusal::InvalidCredentials);
        }
        self.let_in(name, from_loopback)
    }

    fn let_in(&self, name: &[u8], from_loopback: bool) -> Result<Name, LoginRefusal> {
        let known = self.by_name.get_key_value(name);
        let (name, _) = known.ok_or(LoginRefusal::InvalidCredentials)?;
        if !from_loopback && self.loopback_only.contains(name) {
            return Err(LoginRefusal::OnlyFromLoopback);
        }
        Ok(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_comes_in_from_loopback_only() {
        let mut core = Core::new();
        let mut log_in = |name: &str, password: &str, from_loopback| {
            core.authenticate(name.as_bytes(), password.as_bytes(), "test", from_loopback)
        };
        assert_eq!(log_in("guest", "guest", true), Ok(Name::from("guest")));
        assert_eq!(
            log_in("guest", "guest", false),
            Err(LoginRefusal::OnlyFromLoopback)
        );
        for (name, password) in [
            ("guest", ""),
            ("guest", "Guest"),
            ("", ""),
            ("root", "guest"),
        ] {
            let refused = log_in(name, password, true);
            assert_eq!(refused, Err(LoginRefusal::InvalidCredentials));
        }
        let counted: Vec<_> = core.login_counts().iter().collect();
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].1.accepted, counted[0].1.refused), (1, 5));
        let certified = |core: &mut Core, name: &[u8], from_loopback| {
            core.authenticate_certified(name, "test", from_loopback)
        };
        assert!(certified(&mut core, b"guest", true).is_ok());
        assert_eq!(
            certified(&mut core, b"guest", false),
            Err(LoginRefusal::OnlyFromLoopback)
        );
        assert_eq!(
            certified(&mut core, b"root", true),
            Err(LoginRefusal::InvalidCredentials)
        );
        core.set_loopback_users(&[]);
        let anywhere = core.authenticate(b"guest", b"guest", "test", false);
        assert!(anywhere.is_ok());
    }

    #[test]
    fn users_come_go_and_change() {
        let mut core = Core::new();
        let hash = |password: &str| PasswordHash::of(password.as_bytes(), [9; 4]);
        core.add_user(b"alice", hash("one")).unwrap();
        let again = core.add_user(b"alice", hash("two")).unwrap_err();
        assert_eq!(again.to_string(), "User \"alice\" already exists");
        core.set_user_tags(b"alice", &[b"monitoring", b"own"])
            .unwrap();
        assert!(core.user(b"alice").unwrap().has_tag(b"own"));
        core.change_password(b"alice", hash("two")).unwrap();
        assert!(core.authenticate(b"alice", b"one", "", true).is_err());
        assert!(core.authenticate(b"alice", b"two", "", true).is_ok());
        let names: Vec<_> = core.users().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["alice", "guest"]);
        core.delete_user(b"alice").unwrap();
        for refused in [
            core.delete_user(b"alice"),
            core.change_password(b"alice", hash("x")),
            core.set_user_tags(b"alice", &[]),
        ] {
            assert_eq!(refused, Err(Refused::NoSuchUser("alice".to_owned())));
        }
        for bad in [&b""[..], b"\xff", &[b'x'; 256]] {
            assert!(core.add_user(bad, hash("x")).is_err());
        }
    }
}
