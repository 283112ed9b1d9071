//! Who is read from next: three lists of sockets, each served in turn.
//!
//! Sockets of whom it is not known yet who comes wait apart, because a step of a handshake may be long.
//! Of the others, those that ask for much wait apart, so that who asks for little does not stand behind
//! forty of them, but behind the one that is being served.

use std::collections::VecDeque;

use super::socket::Socket;
use crate::protocol::SocketKey;

/// Every socket is on one list at most, and once.
#[derive(Default)]
pub(super) struct ReadLists {
    pub ready: VecDeque<SocketKey>,
    /// See [`Socket::asks_much`].
    pub demanding: VecDeque<SocketKey>,
    pub arriving: VecDeque<SocketKey>,
}

impl ReadLists {
    /// Puts it at the end of its list, unless it is on one.
    pub fn add(&mut self, socket: &mut Socket) {
        if std::mem::replace(&mut socket.listed, true) {
            return;
        }
        let list = match (socket.is_arriving(), socket.asks_much) {
            (true, _) => &mut self.arriving,
            (false, false) => &mut self.ready,
            (false, true) => &mut self.demanding,
        };
        list.push_back(socket.key());
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.demanding.is_empty() && self.arriving.is_empty()
    }
}
