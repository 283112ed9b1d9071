//! What survives of users, permissions, limits and virtual hosts: notes for the store, and back.
//!
//! Values are tables, so that what is added later finds room. Keys are names: the user's; virtual host
//! and user; these and the exchange; what is limited and its name.

use crate::broker::Core;
use crate::broker::journal::{Note, NoteKind};
use crate::broker::name::Name;
use crate::broker::policy::decode_key;
use crate::broker::virtual_host::{Metadata, VirtualHostKey};
use crate::wire::amqp::field_table::{ArrayBuilder, OwnedTable, Table, TableBuilder, Value};

use super::{Hashing, Limit, Limits, PasswordHash, Permissions};

impl Core {
    /// Puts back what was there when the broker was stopped; other notes are others'. Virtual hosts come
    /// first, then the rest in the order of [`NoteKind`]: permissions need users. `Err` says what does not fit.
    pub fn recover_access(&mut self, note: &Note) -> Result<(), String> {
        debug_assert!(self.journal.is_none(), "it would be written down again");
        let (NoteKind::VirtualHost
        | NoteKind::User
        | NoteKind::Permission
        | NoteKind::TopicPermission
        | NoteKind::Limit) = note.kind
        else {
            return Ok(());
        };
        let names = decode_key(&note.key).ok_or("its key is damaged")?;
        let value = note.value.as_deref().ok_or("it was taken back")?;
        let value = Table::from_encoded(value).map_err(|error| error.to_string())?;
        match (note.kind, &*names) {
            (NoteKind::VirtualHost, &[name]) => {
                self.recover_virtual_host(name, value).map_err(text)
            }
            (NoteKind::User, &[name]) => self.recover_user(name, value),
            (NoteKind::Permission, &[host, user]) => {
                let [configure, write, read] =
                    [CONFIGURE, WRITE, READ].map(|key| string(value, key));
                let permissions = Permissions::new(configure, write, read).map_err(text)?;
                self.set_permissions(user, host, permissions).map_err(text)
            }
            (NoteKind::TopicPermission, &[host, user, exchange]) => {
                let texts = [WRITE, READ].map(|key| string(value, key));
                self.set_topic_permissions(user, host, exchange, texts)
                    .map_err(text)
            }
            (NoteKind::Limit, &[USER, name]) => {
                self.user_mut(name).map_err(text)?.limits = limits_of(value);
                Ok(())
            }
            (NoteKind::Limit, &[VIRTUAL_HOST, name]) => {
                let host = self.virtual_host(name).map_err(text)?;
                self.virtual_hosts[host].limits = limits_of(value);
                Ok(())
            }
            _ => Err("its key is another's".to_owned()),
        }
    }

    /// Writes all of it down: it was made before the store was there.
    pub(in crate::broker) fn note_all_access(&mut self) {
        for host in self.virtual_hosts.keys() {
            self.note_virtual_host(host);
        }
        let names: Vec<_> = self.users.by_name.keys().cloned().collect();
        for name in names {
            self.note_user(&name);
            let hosts: Vec<_> = self.users.by_name[&name]
                .permissions
                .keys()
                .cloned()
                .collect();
            for host in hosts {
                self.note_permissions(&name, &host);
            }
        }
    }

    pub(super) fn note_user(&mut self, name: &[u8]) {
        let value = self.user(name).map(|user| {
            let mut tags = ArrayBuilder::new();
            for tag in &user.tags {
                tags.push(Value::LongString(tag));
            }
            let mut value = TableBuilder::new();
            value
                .put(HASH, Value::LongString(user.password.as_bytes()))
                .put(HASHING, user.password.hashing().name())
                .put_array(TAGS, &tags);
            value.finish()
        });
        self.note_table(NoteKind::User, &[name], value);
    }

    pub(super) fn note_permissions(&mut self, user: &[u8], host: &[u8]) {
        let value = self.permissions(user, host).map(|permissions| {
            let [configure, write, read] = permissions.texts();
            let mut value = TableBuilder::new();
            value
                .put(CONFIGURE, configure)
                .put(WRITE, write)
                .put(READ, read);
            value.finish()
        });
        self.note_table(NoteKind::Permission, &[host, user], value);
    }

    pub(super) fn note_topic_permissions(&mut self, user: &[u8], host: &[u8], exchange: &[u8]) {
        let topics = self.user(user).map(|user| &user.topics);
        let key = (Name::from(host), Name::from(exchange));
        let permissions = topics.and_then(|topics| topics.get(&key));
        let value = permissions.map(|permissions| {
            let [write, read] = permissions.texts();
            let mut value = TableBuilder::new();
            value.put(WRITE, write).put(READ, read);
            value.finish()
        });
        self.note_table(NoteKind::TopicPermission, &[host, user, exchange], value);
    }

    pub(super) fn note_user_limits(&mut self, name: &[u8], limits: &Limits) {
        self.note_table(NoteKind::Limit, &[USER, name], limit_table(limits));
    }

    pub(in crate::broker) fn note_virtual_host_limits(&mut self, host: VirtualHostKey) {
        let host = &self.virtual_hosts[host];
        let (name, limits) = (host.name.clone(), host.limits);
        self.note_table(
            NoteKind::Limit,
            &[VIRTUAL_HOST, &name],
            limit_table(&limits),
        );
    }

    pub(in crate::broker) fn note_virtual_host(&mut self, key: VirtualHostKey) {
        let host = &self.virtual_hosts[key];
        let (name, metadata) = (host.name.clone(), &host.metadata);
        let exists = self.virtual_host_names.get(&*name) == Some(&key);
        let value = exists.then(|| {
            let mut tags = ArrayBuilder::new();
            for tag in &metadata.tags {
                tags.push(Value::string(tag));
            }
            let mut value = TableBuilder::new();
            value.put(DESCRIPTION, &*metadata.description);
            value.put_array(TAGS, &tags);
            if let Some(kind) = &metadata.default_queue_type {
                value.put(DEFAULT_QUEUE_TYPE, &**kind);
            }
            value.put(PROTECTED, metadata.is_protected);
            value.finish()
        });
        self.note_table(NoteKind::VirtualHost, &[&name], value);
    }

    fn note_table(&mut self, kind: NoteKind, names: &[&[u8]], value: Option<OwnedTable>) {
        let value = value.as_ref().map(|value| value.view().as_bytes());
        self.note(kind, names, value);
    }

    fn recover_virtual_host(
        &mut self,
        name: &[u8],
        value: Table<'_>,
    ) -> Result<(), super::Refused> {
        let key = self.add_virtual_host(name)?;
        let kind = value.get(DEFAULT_QUEUE_TYPE).and_then(|kind| kind.as_str());
        self.virtual_hosts[key].metadata = Metadata {
            description: string(value, DESCRIPTION).to_owned(),
            tags: strings(value, TAGS).map(str::to_owned).collect(),
            default_queue_type: kind.map(str::to_owned),
            is_protected: value.get(PROTECTED).and_then(|flag| flag.as_bool()) == Some(true),
        };
        Ok(())
    }

    fn recover_user(&mut self, name: &[u8], value: Table<'_>) -> Result<(), String> {
        let hashing = Hashing::named(string(value, HASHING)).ok_or("unknown hashing")?;
        let hash = value.get(HASH).and_then(|hash| hash.as_bytes());
        let password = PasswordHash::from_bytes(hash.unwrap_or_default(), hashing).map_err(text)?;
        self.add_user(name, password).map_err(text)?;
        let tags: Vec<_> = strings(value, TAGS).map(str::as_bytes).collect();
        self.set_user_tags(name, &tags).map_err(text)
    }
}

fn limit_table(limits: &Limits) -> Option<OwnedTable> {
    let mut table = TableBuilder::new();
    for limit in Limit::ALL {
        if let Some(value) = limits.get(limit) {
            table.put(limit.name(), Value::Long(value));
        }
    }
    (!limits.is_empty()).then(|| table.finish())
}

fn limits_of(table: Table<'_>) -> Limits {
    let mut limits = Limits::default();
    for limit in Limit::ALL {
        let value = table.get(limit.name());
        limits.set(limit, value.and_then(|value| value.as_integer()));
    }
    limits
}

fn string<'a>(table: Table<'a>, key: &str) -> &'a str {
    let value = table.get(key).and_then(|value| value.as_str());
    value.unwrap_or_default()
}

fn strings<'a>(table: Table<'a>, key: &str) -> impl Iterator<Item = &'a str> {
    let array = table.get(key).and_then(|value| value.as_array());
    let values = array.into_iter().flat_map(|array| array.iter());
    values.filter_map(|value| value.as_str())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

const USER: &[u8] = b"user";
const VIRTUAL_HOST: &[u8] = b"vhost";
const HASH: &str = "hash";
const HASHING: &str = "hashing";
const TAGS: &str = "tags";
const CONFIGURE: &str = "configure";
const WRITE: &str = "write";
const READ: &str = "read";
const DESCRIPTION: &str = "description";
const DEFAULT_QUEUE_TYPE: &str = "default-queue-type";
const PROTECTED: &str = "protected";
