//! From what a start found in the data directory to the broker as it was.

use std::collections::BTreeMap;

use crate::broker::access::{FirstStart, PasswordHash, SALT_SIZE};
use crate::broker::journal::{Note, NoteKind, QueueId};
use crate::broker::queue::PackedIds;
use crate::broker::{Metadata, RecoveredFailures, RecoveredKeys, RecoveredMessages};
use crate::protocol::Hub;
use crate::store::{Recovered, Redelivered};

impl Hub {
    /// Declares everything again and gives the queues their messages, which stay with the store until
    /// somebody wants them. From then on what must survive is given to the store.
    pub fn recover(&mut self, recovered: Recovered) {
        for damage in &recovered.damage {
            if damage.what.is_loss() {
                log::error!("{damage}");
            } else {
                log::warn!("{damage}");
            }
        }
        let knows_somebody = self.recover_access(&recovered.notes);
        self.is_new = !knows_somebody;
        for note in &recovered.notes {
            if let Err(why) = self.core.recover_setting(note) {
                log::error!("could not set again, {why}: {note:?}");
            }
        }
        for definition in &recovered.definitions {
            if let Err(why) = self.core.recover_definition(definition) {
                log::error!("could not declare again, {why}: {definition:?}");
            }
        }
        self.core.begin_messages(recovered.next_message);
        for references in &recovered.references {
            let counts = references.counts();
            for block in references.blocks() {
                let counts = counts.into_iter().enumerate();
                self.core
                    .recover_block(block, counts.filter(|(_, count)| *count > 0));
            }
        }
        let attributes = recovered.attributes.iter();
        let queues = messages_of(recovered.queues, recovered.redelivered);
        let mut failures = RecoveredFailures::default();
        let mut keys = RecoveredKeys::default();
        for note in &recovered.notes {
            match (note.kind, &note.value) {
                (NoteKind::Failure, Some(value)) => failures.add(&note.key, value),
                (NoteKind::Deduplication, _) => self.core.recover_key(note, &mut keys),
                _ => {}
            }
        }
        self.core
            .recover_messages(queues, attributes, failures, keys);
        self.begin_store(recovered.next_queue);
        if !knows_somebody {
            self.core.note_access();
        }
    }

    /// Users, virtual hosts and what is about them; whether there are any. If not, this is a first
    /// start, with those of the configuration.
    fn recover_access(&mut self, notes: &[Note]) -> bool {
        let is_one = |note: &&Note| matches!(note.kind, NoteKind::VirtualHost | NoteKind::User);
        if !notes.iter().any(|note| is_one(&note)) {
            return false;
        }
        self.core.forget_access();
        // Virtual hosts have the lowest number of these kinds, and notes come in their order.
        for note in notes {
            if let Err(why) = self.core.recover_access(note) {
                log::error!("could not set again, {why}: {:?} {:?}", note.kind, note.key);
            }
        }
        true
    }

    /// The user and the virtual host that the configuration gives a broker that knows nobody.
    pub(super) fn start_first(&mut self) {
        let salt = self.draw_salt();
        let access = &self.config.access;
        let first = FirstStart {
            user: &access.default_user,
            password: PasswordHash::of(access.default_password.as_bytes(), salt),
            tags: &access.default_tags,
            virtual_host: &access.default_virtual_host,
            permissions: [
                &access.default_configure,
                &access.default_write,
                &access.default_read,
            ],
        };
        if let Err(refused) = self.core.start_first(&first) {
            log::error!("default user, virtual host and permissions: {refused}");
        }
        self.core.set_loopback_users(&access.loopback_users);
    }

    /// Forgets everything that was ever declared and set: users, virtual hosts with all that is in them,
    /// global parameters. What is left is what a first start has (RabbitMQ: `reset`).
    pub fn reset(&mut self) {
        log::warn!("everything is deleted: the broker is reset");
        let hosts = self.core.virtual_hosts();
        let hosts: Vec<_> = hosts
            .iter()
            .map(|(key, h)| (*key, h.name.clone()))
            .collect();
        for (key, name) in hosts {
            self.core
                .set_virtual_host_metadata(key, Metadata::default());
            if let Err(refused) = self.core.delete_virtual_host(&name) {
                log::error!("{refused}");
            }
        }
        let users: Vec<_> = self.core.users().map(|(name, _)| name.clone()).collect();
        for name in users {
            if let Err(refused) = self.core.delete_user(&name) {
                log::error!("{refused}");
            }
        }
        let globals = self.core.global_parameters();
        let globals: Vec<_> = globals.map(|(name, _)| name.clone()).collect();
        for name in globals {
            self.core.clear_global_parameter(&name);
        }
        self.start_first();
    }

    /// For a password that is to be hashed.
    pub(super) fn draw_salt(&mut self) -> [u8; SALT_SIZE] {
        let drawn = (self.entropy)();
        std::array::from_fn(|at| drawn[at])
    }
}

fn messages_of(
    queues: Vec<(QueueId, PackedIds)>,
    redelivered: Redelivered,
) -> Vec<RecoveredMessages> {
    let (is_any, exactly) = match redelivered {
        Redelivered::Any => (true, Vec::new()),
        Redelivered::Exactly(all) => (false, all),
    };
    let mut exactly: BTreeMap<_, _> = exactly.into_iter().collect();
    let queues = queues
        .into_iter()
        .map(|(queue, messages)| RecoveredMessages {
            queue,
            redelivered: exactly.remove(&queue).unwrap_or_default(),
            redelivered_up_to: messages.last().filter(|_| is_any),
            messages,
        });
    queues.collect()
}
