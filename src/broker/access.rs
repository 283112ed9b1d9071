//! Who may come in.

use super::Map;
use super::name::Name;

/// The users that the broker knows.
pub struct Users {
    by_name: Map<Name, User>,
}

struct User {
    password: Vec<u8>,
    /// May log in from this machine only (RabbitMQ: `loopback_users`).
    loopback_only: bool,
}

/// Why a login is refused. Clients are not told which; the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    InvalidCredentials,
    /// RabbitMQ: `loopback_users`.
    OnlyFromLoopback,
}

impl Users {
    /// RabbitMQ's default user: `guest` with the password `guest`, from loopback only.
    pub fn with_guest() -> Self {
        let mut by_name = Map::default();
        by_name.insert(
            Name::from("guest"),
            User {
                password: b"guest".to_vec(),
                loopback_only: true,
            },
        );
        Users { by_name }
    }

    /// The user, if name and password fit.
    pub fn log_in(
        &self,
        name: &[u8],
        password: &[u8],
        from_loopback: bool,
    ) -> Result<Name, LoginRefusal> {
        let Some((name, user)) = self.by_name.get_key_value(name) else {
            return Err(LoginRefusal::InvalidCredentials);
        };
        if !same_secret(&user.password, password) {
            return Err(LoginRefusal::InvalidCredentials);
        }
        if user.loopback_only && !from_loopback {
            return Err(LoginRefusal::OnlyFromLoopback);
        }
        Ok(name.clone())
    }
}

/// Compares without telling by its time where the difference is.
fn same_secret(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_comes_in_from_loopback_only() {
        let users = Users::with_guest();
        assert_eq!(
            users.log_in(b"guest", b"guest", true),
            Ok(Name::from("guest"))
        );
        assert_eq!(
            users.log_in(b"guest", b"guest", false),
            Err(LoginRefusal::OnlyFromLoopback)
        );
        for (name, password) in [
            ("guest", ""),
            ("guest", "Guest"),
            ("", ""),
            ("root", "guest"),
        ] {
            assert_eq!(
                users.log_in(name.as_bytes(), password.as_bytes(), true),
                Err(LoginRefusal::InvalidCredentials)
            );
        }
    }
}
