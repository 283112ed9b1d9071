//! Hashes that decide where messages go.
//!
//! They are the same on every machine, after every restart and in every later version, since a key
//! must keep its queue. That is why they are not those of a hash table.

/// What a destination is known by over restarts, other than its place in a table: its kind and name,
/// hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u64);

impl Identity {
    /// `kind` tells a queue from an exchange of the same name.
    pub fn new(kind: &str, name: &[u8]) -> Self {
        Identity(scramble(hash(kind.as_bytes()) ^ hash(name)))
    }

    /// The hash of a message's key together with the destination.
    pub(super) fn meets(self, key: u64) -> u64 {
        scramble(self.0 ^ key)
    }
}

/// Every bit depends on every bit of `bytes`.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let start = scramble(bytes.len() as u64);
    let state = words.iter().fold(start, |state, word| {
        scramble(state ^ u64::from_le_bytes(*word))
    });
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    scramble(state ^ u64::from_le_bytes(last))
}

/// A step of the generator SplitMix64: one to one, and without a visible pattern for inputs that have
/// one.
pub(super) fn scramble(input: u64) -> u64 {
    let mut bits = input.wrapping_add(GOLDEN_RATIO);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// 2^64 divided by the golden ratio: steps of it cover all numbers evenly.
pub(super) const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_all_versions() {
        assert_eq!(scramble(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(hash(b""), 0xA706_DD2F_4D19_7E6F);
        assert_eq!(hash(b"key"), 0xD835_C7CF_1DAB_C737);
        assert_eq!(
            hash(b"a key of more than eight bytes"),
            0x7857_BD5E_1255_B4E5
        );
        assert_eq!(
            Identity::new("queue", b"q"),
            Identity(0xBF6D_E9A5_CE82_D87A)
        );
    }

    #[test]
    fn kind_name_length_and_every_byte_count() {
        assert_ne!(
            Identity::new("queue", b"x"),
            Identity::new("exchange", b"x")
        );
        let inputs: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"12345678", b"12345678\0", b"12345679"];
        for (at, one) in inputs.iter().enumerate() {
            for other in &inputs[at + 1..] {
                assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn consecutive_names_fall_evenly_into_buckets() {
        let mut counts = [0_u32; 10];
        for number in 0..100_000 {
            counts[(hash(format!("key-{number}").as_bytes()) % 10) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 400));
    }
}
