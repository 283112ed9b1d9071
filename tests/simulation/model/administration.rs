//! What administrators do beside policies: users come and go, queues are emptied and deleted.

use leveret::broker::journal::{Note, NoteKind};

use super::connection::text;
use super::*;
use crate::{Check, ensure};

impl Model {
    /// By somebody who may do everything; but an exclusive queue is its owner's.
    pub fn purge_by_order(&mut self, name: &str) {
        let queue = self.queues.get_mut(name);
        if let Some(queue) = queue.filter(|queue| queue.owner.is_none()) {
            queue.ready.clear();
        }
    }

    pub fn delete_by_order(&mut self, name: &str) {
        if self.queues.get(name).is_some_and(|it| it.owner.is_none()) {
            self.remove_queue(name);
        }
    }

    /// Unless there is one, who may do everything then.
    pub fn add_user(&mut self, name: &str) {
        if self.users.insert(name.to_owned()) {
            self.permitted.insert(name.to_owned());
        }
    }

    /// Its connections end.
    pub fn delete_user(&mut self, name: &str) {
        self.users.remove(name);
        self.permitted.remove(name);
        let own = self.connections.iter_mut().filter(|it| it.user == name);
        for peer in own.filter(|it| it.state == State::Running) {
            peer.is_doomed = true;
        }
    }

    pub fn has_doomed(&self) -> bool {
        self.connections.iter().any(|it| it.is_doomed)
    }

    /// Those that the store had. If it had everything, they are those that there were.
    pub(super) fn recover_users(&mut self, notes: &[Note], must_be_all: bool) -> Check {
        let of_kind = |kind: NoteKind| notes.iter().filter(move |note| note.kind == kind);
        // Names stand behind their sizes; permissions begin with the virtual host's.
        let users: BTreeSet<_> = of_kind(NoteKind::User)
            .map(|note| text(&note.key[1..]))
            .collect();
        let permitted: BTreeSet<_> = of_kind(NoteKind::Permission)
            .map(|note| text(&note.key[3..]))
            .collect();
        ensure!(
            !must_be_all || (users == self.users && permitted == self.permitted),
            "{users:?} and {permitted:?} were recovered of {:?} and {:?}",
            self.users,
            self.permitted
        );
        (self.users, self.permitted) = (users, permitted);
        if self.users.is_empty() {
            // Nothing was stored: it begins anew.
            self.users.insert(USERS[0].to_owned());
            self.permitted.insert(USERS[0].to_owned());
        }
        Ok(())
    }
}
