//! Keys as notes, and back.
//!
//! ```text
//!   window -> virtual host, exchange                     of a durable exchange
//!   window, number -> key, end, message that brought it  of what it remembers
//!   queue, message -> key, end                           of what a durable queue remembers
//! ```
//!
//! Windows and queues are numbered from the same row, so that no note is taken for another's. What
//! belongs to nobody any more is taken back when the broker has started.

use std::collections::BTreeMap;

use super::key::DedupKey;
use super::window::Kept;
use crate::broker::Core;
use crate::broker::journal::{Note, NoteKind, QueueId};
use crate::broker::message::MessageId;
use crate::broker::topology::exchange::ExchangeKey;

/// Keys that a start found, on their way to who knows them.
#[derive(Default)]
pub struct RecoveredKeys {
    windows: BTreeMap<u64, ExchangeKey>,
    /// For the queues to take, once they know which messages they have.
    of_queues: BTreeMap<(QueueId, MessageId), Kept>,
    /// Of nobody.
    stale: Vec<Box<[u8]>>,
}

impl RecoveredKeys {
    /// The key of a message that is back in its queue.
    pub(in crate::broker) fn take(&mut self, queue: QueueId, message: MessageId) -> Option<Kept> {
        self.of_queues.remove(&(queue, message))
    }

    /// What is left, to be taken back.
    pub(in crate::broker) fn into_outdated(self) -> impl Iterator<Item = Note> {
        let messages = self.of_queues.into_keys();
        let keys = messages.map(|(queue, message)| Note::failure_key(queue, message));
        keys.chain(self.stale).map(|key| Note {
            kind: NoteKind::Deduplication,
            key,
            value: None,
        })
    }
}

impl Core {
    /// Takes a note of [`NoteKind::Deduplication`], in the order of their keys. Exchanges and queues must
    /// have been declared again.
    pub fn recover_key(&mut self, note: &Note, keys: &mut RecoveredKeys) {
        let (Some((window, rest)), Some(value)) = (note.key.split_first_chunk::<8>(), &note.value)
        else {
            return;
        };
        let window = u64::from_be_bytes(*window);
        let is_taken = window <= QueueId::STORED_MAX && {
            self.next_window_id = self.next_window_id.max(window + 1);
            match rest.is_empty() {
                true => self.recover_window(window, value, keys),
                false => self.recover_kept(note, value, keys),
            }
        };
        if !is_taken {
            keys.stale.push(note.key.clone());
        }
    }

    fn recover_window(&mut self, id: u64, value: &[u8], keys: &mut RecoveredKeys) -> bool {
        let Some((virtual_host, name)) = decode_window(value) else {
            return false;
        };
        let virtual_host = self.virtual_host(virtual_host);
        let Ok(key) = virtual_host.and_then(|it| self.exchange(it, name)) else {
            return false;
        };
        let exchange = &mut self.exchanges[key];
        match &mut exchange.window {
            Some(window) if exchange.durable && window.may_survive() && window.id.is_none() => {
                window.id = Some(id);
                keys.windows.insert(id, key);
                true
            }
            _ => false,
        }
    }

    fn recover_kept(&mut self, note: &Note, value: &[u8], keys: &mut RecoveredKeys) -> bool {
        let Some(((owner, message), kept)) =
            Note::read_failure_key(&note.key).zip(decode_kept(value))
        else {
            return false;
        };
        if let Some(exchange) = keys.windows.get(&owner.0) {
            let window = self.exchanges[*exchange].window.as_mut();
            let window = window.expect("it was found to have one");
            window.insert(message.to_bits(), kept);
            return true;
        }
        let has_window = |key| self.traffic.queues[key].window.is_some();
        if self.queue_ids.get(&owner).copied().is_some_and(has_window) {
            keys.of_queues.insert((owner, message), kept);
            return true;
        }
        false
    }

    /// Exchanges that a crash kept from being noted are noted now.
    pub(in crate::broker) fn begin_windows(&mut self) {
        let keys = self.exchanges.iter().filter(|(_, it)| it.window.is_some());
        let keys: Vec<_> = keys.map(|(key, _)| key).collect();
        for key in keys {
            self.begin_window(key);
        }
    }
}

/// Of an exchange that remembers what survives.
pub(super) fn window_note(id: u64, virtual_host: &[u8], exchange: &[u8]) -> Note {
    let mut value = vec![virtual_host.len() as u8];
    value.extend_from_slice(virtual_host);
    value.extend_from_slice(exchange);
    Note {
        kind: NoteKind::Deduplication,
        key: id.to_be_bytes().into(),
        value: Some(value.into()),
    }
}

fn decode_window(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, names) = value.split_first()?;
    names.split_at_checked(usize::from(*size))
}

/// Key (16 bytes), end (8), and the message that brought it (8) if there is one; little endian.
pub(super) fn encode_kept(kept: &Kept, brought_by: Option<MessageId>) -> Box<[u8]> {
    let mut value = Vec::with_capacity(32);
    value.extend_from_slice(&kept.key.to_bytes());
    value.extend_from_slice(&kept.expires_ms.to_le_bytes());
    if let Some(message) = brought_by {
        value.extend_from_slice(&message.to_bits().to_le_bytes());
    }
    value.into()
}

fn decode_kept(value: &[u8]) -> Option<Kept> {
    let (key, rest) = value.split_first_chunk()?;
    let (expires_ms, _) = rest.split_first_chunk()?;
    Some(Kept {
        key: DedupKey::from_bytes(*key),
        expires_ms: u64::from_le_bytes(*expires_ms),
        persistent: true,
        noted: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::Value;

    #[test]
    fn notes_are_read_as_written_and_say_which_message_brought_them() {
        let kept = Kept {
            key: DedupKey::of(&Value::string("k")).unwrap(),
            expires_ms: 1_790_000_000_000,
            persistent: true,
            noted: true,
        };
        for message in [None, Some(MessageId::from_bits(300))] {
            let note = kept.note(7, 5, message);
            let value = note.value.unwrap();
            assert_eq!(Note::brought_by(note.kind, &note.key, &value), message);
            assert_eq!(decode_kept(&value), Some(kept));
            assert_eq!(decode_kept(&value[..23]), None);
        }
        let note = window_note(7, b"/", b"x");
        let value = note.value.unwrap();
        assert_eq!(decode_window(&value), Some((&b"/"[..], &b"x"[..])));
        assert_eq!(decode_window(&[5, b'/']), None);
    }
}
