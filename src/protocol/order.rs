//! What administrators order, whichever way it comes: one value in, one out, nothing shared. All of it
//! can cross threads.
//!
//! An order is carried out at once; it is given as an [`Errand`](super::errand::Errand), which tells when
//! it is stored.

use std::fmt;

use serde::Serialize;

use crate::broker::access::{Limit, Limits, LoginRefusal, PasswordHash, Permissions, Refused};
use crate::broker::{Metadata, VirtualHostKey};
use crate::config::Watermark;
use crate::protocol::{Hub, Resources};

/// About users, virtual hosts, permissions and limits, and about the alarms; by RabbitMQ's names of the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    AddUser {
        name: String,
        password: Secret,
    },
    ChangePassword {
        name: String,
        password: Secret,
    },
    /// The user can no longer log in with a password.
    ClearPassword {
        name: String,
    },
    /// Whether that is the password; nobody is let in.
    AuthenticateUser {
        name: String,
        password: Secret,
    },
    DeleteUser {
        name: String,
    },
    SetUserTags {
        name: String,
        tags: Vec<String>,
    },
    /// Those that are not named stay.
    SetUserLimits {
        name: String,
        limits: Vec<(Limit, i64)>,
    },
    /// One, or all.
    ClearUserLimits {
        name: String,
        limit: Option<Limit>,
    },
    ListUsers,
    AddVhost {
        name: String,
        metadata: Metadata,
    },
    UpdateVhost {
        name: String,
        metadata: Metadata,
    },
    DeleteVhost {
        name: String,
    },
    /// Those that are not named stay.
    SetVhostLimits {
        name: String,
        limits: Vec<(Limit, i64)>,
    },
    /// One, or all.
    ClearVhostLimits {
        name: String,
        limit: Option<Limit>,
    },
    ListVhosts,
    SetPermissions {
        user: String,
        vhost: String,
        configure: String,
        write: String,
        read: String,
    },
    ClearPermissions {
        user: String,
        vhost: String,
    },
    ListPermissions,
    SetTopicPermissions {
        user: String,
        vhost: String,
        exchange: String,
        write: String,
        read: String,
    },
    /// For one exchange, or for all.
    ClearTopicPermissions {
        user: String,
        vhost: String,
        exchange: Option<String>,
    },
    ListTopicPermissions,
    /// Until the configuration is read again.
    SetVmMemoryHighWatermark(Watermark),
    /// Until the configuration is read again.
    SetDiskFreeLimit(Watermark),
    /// Memory and disk as last measured, and the alarms (RabbitMQ: in `status`).
    Resources,
}

/// A password that shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Plain(String),
    Hashed(PasswordHash),
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The password does not fit.
    LoginRefused(LoginRefusal),
    Users(Vec<ListedUser>),
    Vhosts(Vec<ListedVhost>),
    Permissions(Vec<ListedPermissions>),
    TopicPermissions(Vec<ListedTopicPermissions>),
    Resources(Resources),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    pub name: String,
    pub password: PasswordHash,
    pub tags: Vec<String>,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVhost {
    pub name: String,
    pub metadata: Metadata,
    pub limits: Limits,
    /// RabbitMQ: firehose.
    pub tracing: bool,
}

/// As management shows it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedPermissions {
    pub user: String,
    pub vhost: String,
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// As management shows it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedTopicPermissions {
    pub user: String,
    pub vhost: String,
    pub exchange: String,
    pub write: String,
    pub read: String,
}

impl Hub {
    /// Carries out an order.
    pub fn obey(&mut self, order: Order) -> Result<Outcome, Refused> {
        match order {
            Order::AddUser { name, password } => {
                let password = self.hashed(password);
                self.core.add_user(name.as_bytes(), password)?;
            }
            Order::ChangePassword { name, password } => {
                let password = self.hashed(password);
                self.core.change_password(name.as_bytes(), password)?;
            }
            Order::ClearPassword { name } => {
                let none = PasswordHash::default();
                self.core.change_password(name.as_bytes(), none)?;
            }
            Order::AuthenticateUser { name, password } => {
                return Ok(self.try_password(&name, &password));
            }
            Order::DeleteUser { name } => self.core.delete_user(name.as_bytes())?,
            Order::SetUserTags { name, tags } => {
                let tags: Vec<_> = tags.iter().map(|tag| tag.as_bytes()).collect();
                self.core.set_user_tags(name.as_bytes(), &tags)?;
            }
            Order::SetUserLimits { name, limits } => {
                for (limit, value) in limits {
                    self.core
                        .set_user_limit(name.as_bytes(), limit, Some(value))?;
                }
            }
            Order::ClearUserLimits { name, limit } => match limit {
                Some(limit) => self.core.set_user_limit(name.as_bytes(), limit, None)?,
                None => self.core.clear_user_limits(name.as_bytes())?,
            },
            Order::ListUsers => return Ok(Outcome::Users(self.listed_users())),
            Order::AddVhost { name, metadata } => {
                let key = self.core.add_virtual_host(name.as_bytes())?;
                self.core.set_virtual_host_metadata(key, metadata);
            }
            Order::UpdateVhost { name, metadata } => {
                let key = self.vhost(&name)?;
                self.core.set_virtual_host_metadata(key, metadata);
            }
            Order::DeleteVhost { name } => self.core.delete_virtual_host(name.as_bytes())?,
            Order::SetVhostLimits { name, limits } => {
                let key = self.vhost(&name)?;
                for (limit, value) in limits {
                    self.core.set_virtual_host_limit(key, limit, Some(value));
                }
            }
            Order::ClearVhostLimits { name, limit } => {
                let key = self.vhost(&name)?;
                match limit {
                    Some(limit) => self.core.set_virtual_host_limit(key, limit, None),
                    None => self.core.clear_virtual_host_limits(key),
                }
            }
            Order::ListVhosts => return Ok(Outcome::Vhosts(self.listed_vhosts())),
            Order::SetPermissions {
                user,
                vhost,
                configure,
                write,
                read,
            } => {
                let permissions = Permissions::new(&configure, &write, &read)?;
                self.core
                    .set_permissions(user.as_bytes(), vhost.as_bytes(), permissions)?;
            }
            Order::ClearPermissions { user, vhost } => {
                self.core
                    .clear_permissions(user.as_bytes(), vhost.as_bytes())?;
            }
            Order::ListPermissions => {
                return Ok(Outcome::Permissions(self.listed_permissions()));
            }
            Order::SetTopicPermissions {
                user,
                vhost,
                exchange,
                write,
                read,
            } => self.core.set_topic_permissions(
                user.as_bytes(),
                vhost.as_bytes(),
                exchange.as_bytes(),
                [&write, &read],
            )?,
            Order::ClearTopicPermissions {
                user,
                vhost,
                exchange,
            } => self.core.clear_topic_permissions(
                user.as_bytes(),
                vhost.as_bytes(),
                exchange.as_deref().map(str::as_bytes),
            )?,
            Order::ListTopicPermissions => {
                return Ok(Outcome::TopicPermissions(self.listed_topic_permissions()));
            }
            Order::SetVmMemoryHighWatermark(watermark) => self.set_memory_watermark(watermark),
            Order::SetDiskFreeLimit(watermark) => self.set_disk_free_limit(watermark),
            Order::Resources => return Ok(Outcome::Resources(self.resources())),
        }
        Ok(Outcome::Done)
    }

    fn hashed(&mut self, password: Secret) -> PasswordHash {
        match password {
            Secret::Plain(password) => PasswordHash::of(password.as_bytes(), self.draw_salt()),
            Secret::Hashed(hash) => hash,
        }
    }

    fn try_password(&mut self, name: &str, password: &Secret) -> Outcome {
        let user = self.core.user(name.as_bytes());
        let fits = user.is_some_and(|user| match password {
            Secret::Plain(password) => user.password.fits(password.as_bytes()),
            Secret::Hashed(hash) => user.password == *hash && !hash.is_none(),
        });
        match fits {
            true => Outcome::Done,
            false => Outcome::LoginRefused(LoginRefusal::InvalidCredentials),
        }
    }

    fn vhost(&self, name: &str) -> Result<VirtualHostKey, Refused> {
        let found = self.core.virtual_host(name.as_bytes());
        found.map_err(|_| Refused::NoSuchVirtualHost(name.to_owned()))
    }

    fn listed_users(&self) -> Vec<ListedUser> {
        let users = self.core.users().map(|(name, user)| ListedUser {
            name: name.to_string(),
            password: user.password.clone(),
            tags: user.tags.iter().map(ToString::to_string).collect(),
            limits: user.limits,
        });
        users.collect()
    }

    fn listed_vhosts(&self) -> Vec<ListedVhost> {
        let hosts = self.core.virtual_hosts().into_iter();
        hosts
            .map(|(_, host)| ListedVhost {
                name: host.name.to_string(),
                metadata: host.metadata.clone(),
                limits: host.limits,
                tracing: host.traced,
            })
            .collect()
    }

    /// By user, then by virtual host.
    pub fn listed_permissions(&self) -> Vec<ListedPermissions> {
        let all = self.core.all_permissions();
        all.map(|(user, vhost, permissions)| {
            let [configure, write, read] = permissions.texts().map(str::to_owned);
            ListedPermissions {
                user: user.to_string(),
                vhost: vhost.to_string(),
                configure,
                write,
                read,
            }
        })
        .collect()
    }

    /// By user, virtual host and exchange.
    pub fn listed_topic_permissions(&self) -> Vec<ListedTopicPermissions> {
        let all = self.core.all_topic_permissions();
        all.map(|(user, vhost, exchange, permissions)| {
            let [write, read] = permissions.texts().map(str::to_owned);
            ListedTopicPermissions {
                user: user.to_string(),
                vhost: vhost.to_string(),
                exchange: exchange.to_string(),
                write,
                read,
            }
        })
        .collect()
    }
}

impl From<&str> for Secret {
    fn from(password: &str) -> Self {
        Secret::Plain(password.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
