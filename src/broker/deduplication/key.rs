//! What a message is known by: the value of a header, as 128 bits.
//!
//! The bits are noted on disk, so they must be the same in every version and on every machine: FNV-1a,
//! which is pinned by its description. Two of a million different values have the same bits with odds of
//! one in 10^26. Who wants to make such a pair can, and gains nothing by it: whoever may publish with one
//! value may publish with the other as well.

use crate::wire::amqp::Value;

/// Stands for the value of a message's deduplication header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DedupKey(u128);

impl DedupKey {
    /// Of any value but tables, arrays and nothing at all. Integers of all widths are the same by value,
    /// and so are text and binary of the same bytes; 5, 5.0, "5" and true all differ.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        if let Some(integer) = value.as_integer() {
            return Some(DedupKey::new(b'i', &integer.to_be_bytes()));
        }
        if let Some(float) = value.as_float() {
            return Some(DedupKey::new(b'f', &float.to_bits().to_be_bytes()));
        }
        match value {
            Value::Bool(octet) => Some(DedupKey::new(b'b', &[u8::from(*octet != 0)])),
            Value::Timestamp(seconds) => Some(DedupKey::new(b't', &seconds.to_be_bytes())),
            Value::Decimal { scale, value } => {
                let [a, b, c, d] = value.to_be_bytes();
                Some(DedupKey::new(b'd', &[*scale, a, b, c, d]))
            }
            value => Some(DedupKey::new(b's', value.as_bytes()?)),
        }
    }

    fn new(kind: u8, bytes: &[u8]) -> Self {
        DedupKey(fnv_1a([kind].iter().chain(bytes)))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        DedupKey(u128::from_le_bytes(bytes))
    }
}

fn fnv_1a<'a>(bytes: impl Iterator<Item = &'a u8>) -> u128 {
    bytes.fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = (1 << 88) + 0x13b;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::TableBuilder;

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [
            ("", 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128),
            ("a", 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964),
            ("foobar", 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18),
        ] {
            assert_eq!(fnv_1a(text.as_bytes().iter()), hash, "{text}");
        }
    }

    #[test]
    fn integers_and_bytes_are_known_by_their_value_and_all_else_by_its_type_too() {
        let same = [
            [Value::Byte(5), Value::Long(5)],
            [Value::string("5"), Value::Binary(b"5")],
            [Value::Float(0.5_f32.to_bits()), Value::double(0.5)],
            [Value::Bool(1), Value::Bool(2)],
        ];
        for [one, other] in same {
            assert_eq!(DedupKey::of(&one), DedupKey::of(&other));
        }
        let different = [
            Value::Byte(1),
            Value::bool(true),
            Value::double(1.0),
            Value::string("1"),
            Value::Timestamp(1),
            Value::Decimal { scale: 0, value: 1 },
            Value::string(""),
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[..at] {
                assert_ne!(DedupKey::of(one), DedupKey::of(other));
            }
        }
        let table = TableBuilder::new().finish();
        for value in [Value::Void, Value::Table(table.view())] {
            assert_eq!(DedupKey::of(&value), None);
        }
    }

    #[test]
    fn bytes_are_read_as_written() {
        let key = DedupKey::of(&Value::string("k")).unwrap();
        assert_eq!(DedupKey::from_bytes(key.to_bytes()), key);
    }
}
