//! What survives of policies and parameters: notes for the store, and back.
//!
//! A note's key is a list of names, each behind its size in one byte. The value of a policy is the table
//! that [`Policy::from_table`](super::Policy::from_table) reads; that of a parameter is its value.

use crate::broker::Core;
use crate::broker::journal::{Note, NoteKind};
use crate::broker::virtual_host::VirtualHostKey;
use crate::wire::amqp::field_table::Table;

use super::{OwnedValue, Policy, PolicyKind};

impl Core {
    /// Puts a policy or a parameter back that was there when the broker was stopped; other notes are
    /// others'. Before the definitions, so that queues are declared under their policies. `Err` says
    /// what does not fit.
    pub fn recover_setting(&mut self, note: &Note) -> Result<(), String> {
        debug_assert!(self.journal.is_none(), "it would be written down again");
        let (NoteKind::Policy
        | NoteKind::OperatorPolicy
        | NoteKind::Parameter
        | NoteKind::GlobalParameter) = note.kind
        else {
            return Ok(());
        };
        let names = decode_key(&note.key).ok_or("its key is damaged")?;
        let value = note.value.as_deref().ok_or("it was taken back")?;
        let table = || Table::from_encoded(value).map_err(|error| error.to_string());
        let parameter = || OwnedValue::from_bytes(value).ok_or("its value is damaged");
        let host = |name| self.virtual_host(name).map_err(|error| error.to_string());
        match (note.kind, &*names) {
            (NoteKind::Policy, &[host_name, name]) => {
                let host = host(host_name)?;
                self.set_policy(PolicyKind::User, host, name, table()?)
            }
            (NoteKind::OperatorPolicy, &[host_name, name]) => {
                let host = host(host_name)?;
                self.set_policy(PolicyKind::Operator, host, name, table()?)
            }
            (NoteKind::Parameter, &[host_name, component, name]) => {
                let host = host(host_name)?;
                self.set_parameter(host, component, name, parameter()?.view())
            }
            (NoteKind::GlobalParameter, &[name]) => {
                self.set_global_parameter(name, parameter()?.view())
            }
            _ => return Err("its key is another's".to_owned()),
        }
        .map_err(|invalid| invalid.to_string())
    }

    pub(super) fn note_policy(
        &mut self,
        kind: PolicyKind,
        virtual_host: VirtualHostKey,
        name: &[u8],
        policy: Option<&Policy>,
    ) {
        let kind = match kind {
            PolicyKind::User => NoteKind::Policy,
            PolicyKind::Operator => NoteKind::OperatorPolicy,
        };
        let virtual_host = self.virtual_hosts[virtual_host].name.clone();
        let table = policy.map(Policy::to_table);
        let value = table.as_ref().map(|table| table.view().as_bytes());
        self.note(kind, &[&virtual_host, name], value);
    }

    /// Writes down what is there now under these names; `None` is nothing any more.
    pub(in crate::broker) fn note(
        &mut self,
        kind: NoteKind,
        names: &[&[u8]],
        value: Option<&[u8]>,
    ) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        journal.notes.push(Note {
            kind,
            key: encode_key(names),
            value: value.map(Box::from),
        });
        journal.awaited = true;
        self.redefined = true;
    }
}

/// Each name has at most 255 bytes.
fn encode_key(names: &[&[u8]]) -> Box<[u8]> {
    let mut key = Vec::new();
    for name in names {
        debug_assert!(name.len() <= 255);
        key.push(name.len() as u8);
        key.extend_from_slice(name);
    }
    key.into()
}

/// `None` if that is not what the bytes are.
pub(in crate::broker) fn decode_key(mut key: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Vec::new();
    while let Some((&size, rest)) = key.split_first() {
        let (name, rest) = rest.split_at_checked(size.into())?;
        names.push(name);
        key = rest;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_written_and_never_from_less() {
        let long = [7; 255];
        let names: [&[u8]; 3] = [b"/", b"", &long];
        let key = encode_key(&names);
        assert_eq!(decode_key(&key), Some(names.to_vec()));
        for size in 4..key.len() {
            assert_eq!(
                decode_key(&key[..size - 1]).filter(|names| names.len() > 2),
                None
            );
        }
        assert_eq!(decode_key(&[]), Some(vec![]));
    }
}
