//! Permissions: three expressions for each user in each virtual host, found anywhere in a name; and two
//! for each topic exchange, found in routing keys.
//!
//! Expressions are compiled when they are set. After that a match takes a tenth of a microsecond, which
//! is what a cache of answers would take. A compiled expression has kilobytes, though, and brokers have
//! thousands of users, so the common ones (everything, nothing, a beginning) are told apart.

use crate::broker::Core;
use crate::broker::name::Name;
use crate::broker::policy::Pattern;
use crate::broker::virtual_host::VirtualHostKey;

use super::Refused;
use super::refused::check_name;

/// What a user may do in a virtual host.
#[derive(Debug)]
pub struct Permissions {
    /// Declare and delete.
    pub(super) configure: Rule,
    /// Publish to exchanges, bind queues.
    pub(super) write: Rule,
    /// Consume from queues, bind to exchanges.
    pub(super) read: Rule,
}

/// Which routing keys of a topic exchange a user may use. Without such permissions it is every key.
#[derive(Debug)]
pub struct TopicPermissions {
    pub(super) write: Rule,
    pub(super) read: Rule,
}

/// An expression with what it means.
#[derive(Debug)]
pub(super) struct Rule {
    text: Box<str>,
    means: Means,
}

#[derive(Debug)]
enum Means {
    /// `.*`, which most permissions are.
    Everything,
    /// `^$`, or nothing at all: names are not empty (routing keys may be).
    Empty,
    /// `^app-` and `^app-.*`, or `^app-.*$`, which fits one line only.
    Begins {
        with: Box<[u8]>,
        one_line: bool,
    },
    Matches(Pattern),
}

impl Permissions {
    /// # Errors
    /// An expression that cannot be matched with.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Permissions, Refused> {
        Ok(Permissions {
            configure: Rule::new(configure)?,
            write: Rule::new(write)?,
            read: Rule::new(read)?,
        })
    }

    /// The expressions as they were given: configure, write, read.
    pub fn texts(&self) -> [&str; 3] {
        [&self.configure.text, &self.write.text, &self.read.text]
    }
}

impl TopicPermissions {
    /// # Errors
    /// An expression that cannot be matched with.
    fn new(user: &[u8], host: &[u8], write: &str, read: &str) -> Result<Self, Refused> {
        Ok(TopicPermissions {
            write: Rule::expanded(write, user, host)?,
            read: Rule::expanded(read, user, host)?,
        })
    }

    /// The expressions as they were given: write, read.
    pub fn texts(&self) -> [&str; 2] {
        [&self.write.text, &self.read.text]
    }
}

impl Rule {
    fn new(text: &str) -> Result<Rule, Refused> {
        Rule::compiled(text, text)
    }

    /// With `{username}` and `{vhost}` filled in. What they stand for is taken literally, so that nobody
    /// gets rights by a name that is an expression. `{client_id}` belongs to connections that have one,
    /// which AMQP's have not: it stays as it is.
    fn expanded(text: &str, user: &[u8], host: &[u8]) -> Result<Rule, Refused> {
        let literal = |name| regex::escape(&String::from_utf8_lossy(name));
        let expanded = text
            .replace("{username}", &literal(user))
            .replace("{vhost}", &literal(host))
            .replace("{client_id}", "\\{client_id\\}");
        Rule::compiled(text, &expanded)
    }

    fn compiled(text: &str, expression: &str) -> Result<Rule, Refused> {
        // Too long ones are refused in any case.
        let pattern = Pattern::compile(expression).map_err(|fault| Refused::BadPattern {
            pattern: expression.to_owned(),
            fault,
        })?;
        let means = match expression {
            ".*" => Means::Everything,
            // RabbitMQ: no expression is one that no name fits.
            "" | "^$" => Means::Empty,
            expression => beginning(expression).unwrap_or(Means::Matches(pattern)),
        };
        Ok(Rule {
            text: text.into(),
            means,
        })
    }

    pub fn fits(&self, name: &[u8]) -> bool {
        match &self.means {
            Means::Everything => true,
            Means::Empty => name.is_empty(),
            Means::Begins { with, one_line } => {
                let rest = name.strip_prefix(&**with);
                rest.is_some_and(|rest| !one_line || !rest.contains(&b'\n'))
            }
            Means::Matches(pattern) => pattern.is_match(name),
        }
    }
}

impl Core {
    /// Sets what a user may do in a virtual host.
    ///
    /// # Errors
    /// There is no such user or virtual host.
    pub fn set_permissions(
        &mut self,
        user: &[u8],
        virtual_host: &[u8],
        permissions: Permissions,
    ) -> Result<(), Refused> {
        let host = self.host_named(virtual_host)?;
        let name = self.virtual_hosts[host].name.clone();
        let permitted = &mut self.user_mut(user)?.permissions;
        permitted.insert(name, permissions);
        self.note_permissions(user, virtual_host);
        self.on_access_changed();
        if self.tells_events() {
            self.tell_permissions(user, virtual_host);
        }
        Ok(())
    }

    /// Takes it away: the user cannot come into the virtual host any more. Topic permissions stay.
    ///
    /// # Errors
    /// There is no such user or virtual host.
    pub fn clear_permissions(&mut self, user: &[u8], virtual_host: &[u8]) -> Result<(), Refused> {
        self.host_named(virtual_host)?;
        if self
            .user_mut(user)?
            .permissions
            .remove(virtual_host)
            .is_some()
        {
            self.note_permissions(user, virtual_host);
            self.on_access_changed();
            if self.tells_events() {
                self.tell_permissions(user, virtual_host);
            }
        }
        Ok(())
    }

    /// What a user may do in a virtual host, if anything.
    pub fn permissions(&self, user: &[u8], virtual_host: &[u8]) -> Option<&Permissions> {
        self.user(user)?.permissions.get(virtual_host)
    }

    /// All permissions as user, virtual host and expressions; by user, then by virtual host.
    pub fn all_permissions(&self) -> impl Iterator<Item = (&Name, &Name, &Permissions)> {
        self.users().flat_map(|(name, user)| {
            let permissions = user.permissions.iter();
            permissions.map(move |(host, permissions)| (name, host, permissions))
        })
    }

    /// Sets which routing keys of a topic exchange, which need not exist, a user may use.
    ///
    /// # Errors
    /// There is no such user or virtual host; an expression that cannot be matched with.
    pub fn set_topic_permissions(
        &mut self,
        user: &[u8],
        virtual_host: &[u8],
        exchange: &[u8],
        [write, read]: [&str; 2],
    ) -> Result<(), Refused> {
        let host = self.host_named(virtual_host)?;
        let name = self.virtual_hosts[host].name.clone();
        if !exchange.is_empty() {
            check_name("exchange", exchange)?;
        }
        let permissions = TopicPermissions::new(user, virtual_host, write, read)?;
        let topics = &mut self.user_mut(user)?.topics;
        topics.insert((name, Name::from(exchange)), permissions);
        self.note_topic_permissions(user, virtual_host, exchange);
        self.on_access_changed();
        if self.tells_events() {
            self.tell_topic_permissions(user, virtual_host, exchange, Some([write, read]));
        }
        Ok(())
    }

    /// Takes them away, for one exchange or for all of the virtual host.
    ///
    /// # Errors
    /// There is no such user or virtual host.
    pub fn clear_topic_permissions(
        &mut self,
        user: &[u8],
        virtual_host: &[u8],
        exchange: Option<&[u8]>,
    ) -> Result<(), Refused> {
        self.host_named(virtual_host)?;
        let topics = &mut self.user_mut(user)?.topics;
        let goes = |(host, of): &(Name, Name)| {
            **host == *virtual_host && exchange.is_none_or(|exchange| **of == *exchange)
        };
        let gone: Vec<_> = topics.keys().filter(|key| goes(key)).cloned().collect();
        topics.retain(|key, _| !goes(key));
        for (_, exchange) in &gone {
            self.note_topic_permissions(user, virtual_host, exchange);
            if self.tells_events() {
                self.tell_topic_permissions(user, virtual_host, exchange, None);
            }
        }
        if !gone.is_empty() {
            self.on_access_changed();
        }
        Ok(())
    }

    /// All topic permissions as user, virtual host, exchange and expressions, in this order.
    pub fn all_topic_permissions(
        &self,
    ) -> impl Iterator<Item = (&Name, &Name, &Name, &TopicPermissions)> {
        self.users().flat_map(|(name, user)| {
            let topics = user.topics.iter();
            topics.map(move |((host, exchange), permissions)| (name, host, exchange, permissions))
        })
    }

    /// Takes all permissions in a virtual host away, which is about to be deleted.
    pub(in crate::broker) fn clear_all_permissions(&mut self, virtual_host: &[u8]) {
        let names: Vec<_> = self.users.by_name.keys().cloned().collect();
        for name in names {
            let cleared = self
                .clear_permissions(&name, virtual_host)
                .and_then(|()| self.clear_topic_permissions(&name, virtual_host, None));
            debug_assert!(cleared.is_ok(), "both are there");
        }
    }

    fn host_named(&self, name: &[u8]) -> Result<VirtualHostKey, Refused> {
        let found = self.virtual_host_names.get(name).copied();
        found.ok_or_else(|| Refused::no_virtual_host(name))
    }
}

/// What the expression means if it only asks how a name begins.
fn beginning(expression: &str) -> Option<Means> {
    let rest = expression.strip_prefix('^')?;
    let (rest, one_line) = match (rest.strip_suffix(".*$"), rest.strip_suffix(".*")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => (rest, false),
    };
    let mut with = Vec::new();
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        with.push(match byte {
            b'\\' => bytes.next().filter(u8::is_ascii_punctuation)?,
            b'.' | b'*' | b'+' | b'?' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|' | b'^'
            | b'$' => return None,
            byte => byte,
        });
    }
    Some(Means::Begins {
        with: with.into(),
        one_line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str, name: &str) -> bool {
        Rule::new(text).unwrap().fits(name.as_bytes())
    }

    #[test]
    fn expressions_are_found_anywhere_and_nothing_fits_nothing() {
        for (text, name, expected) in [
            (".*", "q", true),
            ("", "q", false),
            ("^$", "q", false),
            ("", "", true),
            ("ord", "the-orders", true),
            ("^ord", "the-orders", false),
            ("^(amq\\.gen.*|amq\\.default)$", "amq.default", true),
            ("^(?!amq\\.)", "amq.topic", false),
            ("^app-.*", "app-x", true),
            ("^app-.*", "an-app-x", false),
            ("^a\\.b\\-c.*$", "a.b-cd", true),
            ("^a\\.b.*$", "a.b\nc", false),
            ("^a\\.b.*", "a.b\nc", true),
            ("^a\\.b", "axb", false),
            ("^a\\d", "a1", true),
            ("^a\\d", "ad", false),
            ("^a\\.*", "a", true),
            ("^a|b", "xb", true),
            ("^", "any", true),
        ] {
            assert_eq!(fits(text, name), expected, "{text} in {name}");
        }
        let refused = Permissions::new("*", "", "").unwrap_err();
        assert!(matches!(&refused, Refused::BadPattern { pattern, .. } if pattern == "*"));
    }

    #[test]
    fn names_in_topic_expressions_are_taken_literally() {
        let rule = |user: &str| {
            let text = "^{vhost}/{username}\\.{client_id}";
            Rule::expanded(text, user.as_bytes(), b"v.h").unwrap()
        };
        assert!(rule("bob").fits(b"v.h/bob.{client_id}"));
        assert!(!rule("bob").fits(b"vxh/bob.{client_id}"));
        assert!(!rule(".*").fits(b"v.h/bob.{client_id}"));
    }

    #[test]
    fn permissions_are_of_users_and_virtual_hosts_that_exist() {
        let mut core = Core::new();
        let all = || Permissions::new(".*", ".*", ".*").unwrap();
        let no_user = core.set_permissions(b"nobody", b"/", all()).unwrap_err();
        assert_eq!(no_user, Refused::NoSuchUser("nobody".to_owned()));
        let no_host = core.set_permissions(b"guest", b"x", all()).unwrap_err();
        assert_eq!(no_host, Refused::NoSuchVirtualHost("x".to_owned()));
        core.set_topic_permissions(b"guest", b"/", b"amq.topic", ["^a", "^b"])
            .unwrap();
        core.set_topic_permissions(b"guest", b"/", b"other", ["", ""])
            .unwrap();
        let listed: Vec<_> = core.all_topic_permissions().collect();
        assert_eq!(listed[0].3.texts(), ["^a", "^b"]);
        core.clear_topic_permissions(b"guest", b"/", Some(b"other"))
            .unwrap();
        assert_eq!(core.all_topic_permissions().count(), 1);
        core.clear_topic_permissions(b"guest", b"/", None).unwrap();
        assert_eq!(core.all_topic_permissions().count(), 0);
        assert_eq!(
            core.permissions(b"guest", b"/").unwrap().texts(),
            [".*", ".*", ".*"]
        );
        core.clear_permissions(b"guest", b"/").unwrap();
        assert_eq!(core.all_permissions().count(), 0);
    }
}
