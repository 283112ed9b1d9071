//! Exchange types that pick one of their bindings by a hash. The hashes are part of what the broker
//! promises, since they decide over restarts and versions which queue a key has.

use leveret::wire::amqp::{Table, Value};

use super::{Binding, Destination};

/// The bindings in order of the hashes of what they lead to; that of the key, modulo their count,
/// picks one.
pub(super) fn by_modulus<'b>(bindings: &[&'b Binding], key: &str) -> Option<&'b Destination> {
    let mut destinations: Vec<_> = bindings.iter().map(|b| &b.destination).collect();
    destinations.sort_by_key(|destination| identity(destination));
    let place = hash(key.as_bytes()).checked_rem(destinations.len() as u64)?;
    Some(destinations[place as usize])
}

/// The greatest hash of destination and key together. All clients of this simulation bind with weight
/// 1, and each destination once, or else it would not be so easy.
pub(super) fn by_rendezvous<'b>(bindings: &[&'b Binding], key: u64) -> Option<&'b Destination> {
    let destinations = bindings.iter().map(|binding| &binding.destination);
    destinations.max_by_key(|destination| scramble(identity(destination) ^ key))
}

/// What a consistent hash exchange looks at: a header, or the routing key.
pub(super) fn hashed(header: Option<&str>, key: &str, headers: Table<'_>) -> u64 {
    match header.map(|name| headers.get(name)) {
        None => hash(key.as_bytes()),
        Some(None) => 0,
        Some(Some(Value::LongString(text))) => hash(text),
        Some(Some(Value::SignedInt(number))) => hash(format!("{number}\0").as_bytes()),
        Some(Some(_)) => hash(b"undefined\0"),
    }
}

fn identity(destination: &Destination) -> u64 {
    let (kind, name) = match destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    scramble(hash(kind.as_bytes()) ^ hash(name.as_bytes()))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut state = scramble(bytes.len() as u64);
    let padded = bytes.len() / 8 * 8 + 8;
    for at in (0..padded).step_by(8) {
        let mut word = 0;
        for place in 0..8 {
            let byte = bytes.get(at + place).copied().unwrap_or(0);
            word |= u64::from(byte) << (8 * place);
        }
        state = scramble(state ^ word);
    }
    state
}

/// SplitMix64.
fn scramble(input: u64) -> u64 {
    let mut bits = input.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
