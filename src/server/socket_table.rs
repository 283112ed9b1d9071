//! All sockets, under the index of their keys. The keys are given out with the outboxes, so this table
//! has no order of its own; the key stored in each socket tells a stale one apart.

use super::socket::Socket;
use crate::protocol::SocketKey;

#[derive(Default)]
pub(super) struct SocketTable {
    /// Boxed, so that the table grows by eight bytes a slot and moves nobody.
    slots: Vec<Option<Box<Socket>>>,
    count: usize,
}

impl SocketTable {
    pub fn insert(&mut self, socket: Socket) {
        let index = socket.key().index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let before = self.slots[index].replace(Box::new(socket));
        debug_assert!(before.is_none(), "a key is closed after its socket");
        self.count += 1;
    }

    pub fn remove(&mut self, key: SocketKey) {
        if self.get_mut(key).is_some() {
            self.slots[key.index()] = None;
            self.count -= 1;
        }
    }

    pub fn get_mut(&mut self, key: SocketKey) -> Option<&mut Socket> {
        self.at_index(key.index())
            .filter(|socket| socket.key() == key)
    }

    /// Whoever is in the slot now: for events, which are only hints.
    pub fn at_index(&mut self, index: usize) -> Option<&mut Socket> {
        self.slots.get_mut(index)?.as_deref_mut()
    }

    pub fn keys(&self) -> Vec<SocketKey> {
        self.slots.iter().flatten().map(|s| s.key()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn len(&self) -> usize {
        self.count
    }
}
