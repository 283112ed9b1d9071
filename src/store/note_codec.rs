//! Notes as bytes: kind, key with its size, and the value with one more than its size, or a zero.

use crate::broker::journal::{Note, NoteKind};

use super::number::{read, read_bytes, take, write, write_bytes};

pub(super) fn encode(note: &Note, out: &mut Vec<u8>) {
    out.push(note.kind as u8);
    write_bytes(out, &note.key);
    match &note.value {
        None => write(out, 0),
        Some(value) => {
            write(out, value.len() as u64 + 1);
            out.extend_from_slice(value);
        }
    }
}

/// The first of several; `None` if that is not what the bytes are.
pub(super) fn decode(bytes: &mut &[u8]) -> Option<Note> {
    let kind = NoteKind::from_byte(*bytes.split_off_first()?)?;
    let key = read_bytes(bytes)?.into();
    let value = match read(bytes)? {
        0 => None,
        size => Some(take(bytes, size - 1)?.into()),
    };
    Some(Note { kind, key, value })
}

/// Bytes a note takes, about.
pub(super) fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len() + 3) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_written_and_never_from_less() {
        for value in [None, Some((*b"").into()), Some(vec![7; 300].into())] {
            let note = Note {
                kind: NoteKind::Limit,
                key: (*b"/max-queues").into(),
                value,
            };
            let mut bytes = Vec::new();
            encode(&note, &mut bytes);
            assert_eq!(decode(&mut &bytes[..]), Some(note));
            for size in 0..bytes.len() {
                assert_eq!(decode(&mut &bytes[..size]), None);
            }
        }
        assert_eq!(decode(&mut &[0, 0, 0][..]), None);
    }
}
