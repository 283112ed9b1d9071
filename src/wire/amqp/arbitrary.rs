//! Random field tables and arguments for tests. Bytes are put together by hand here and not by the
//! code under test.

use proptest::collection::vec;
use proptest::prelude::*;

/// Encoded entries of a table with values of every type, nested up to five deep.
pub fn table() -> impl Strategy<Value = Vec<u8>> {
    let leaf = vec((name(), scalar()), 0..6).prop_map(concat_entries);
    leaf.prop_recursive(4, 40, 4, |inner| {
        let nested = prop_oneof![
            scalar(),
            inner.clone().prop_map(|entries| sized(b'F', &entries)),
            vec(
                prop_oneof![scalar(), inner.prop_map(|entries| sized(b'F', &entries))],
                0..4
            )
            .prop_map(|values| sized(b'A', &values.concat())),
        ];
        vec((name(), nested), 0..4).prop_map(concat_entries)
    })
}

/// A short string with its size octet.
pub fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 255)].prop_map(|name| {
        let mut out = vec![name.len() as u8];
        out.extend_from_slice(&name);
        out
    })
}

/// A size in four octets and that many bytes.
pub fn long_string() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| with_size(&bytes))
}

/// `bytes` with their count before them, in four octets.
pub fn with_size(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

/// A tag and a value of any type that holds no other.
fn scalar() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        (b't', 1),
        (b'b', 1),
        (b'B', 1),
        (b's', 2),
        (b'u', 2),
        (b'I', 4),
        (b'i', 4),
        (b'l', 8),
        (b'L', 8),
        (b'f', 4),
        (b'd', 8),
        (b'D', 5),
        (b'T', 8),
        (b'V', 0),
    ]);
    prop_oneof![
        3 => (fixed, any::<[u8; 8]>()).prop_map(|((tag, size), bytes)| {
            let mut out = vec![tag];
            out.extend_from_slice(&bytes[..size]);
            out
        }),
        1 => (prop::bool::ANY, long_string()).prop_map(|(binary, string)| {
            let mut out = vec![if binary { b'x' } else { b'S' }];
            out.extend_from_slice(&string);
            out
        }),
    ]
}

fn sized(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&with_size(bytes));
    out
}

fn concat_entries(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    entries
        .into_iter()
        .flat_map(|(name, value)| [name, value].concat())
        .collect()
}
