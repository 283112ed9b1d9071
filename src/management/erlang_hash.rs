//! Erlang's `phash2` of a field table, as RabbitMQ names bindings by it. The hash is the same in all
//! releases of Erlang, so that a name that a tool was told by RabbitMQ names the same binding here.
//!
//! A table is a list of `{Name, Type, Value}`; its terms are hashed one behind the other, the list's first
//! and a tuple's first element first, each mixed into what came before.

use crate::wire::amqp::field_table::{Array, Table, Value};

/// `erlang:phash2(Table, 1 bsl 32)`
pub fn phash2(table: Table<'_>) -> u32 {
    let mut hash = Hash(0);
    hash.table(table);
    hash.0
}

struct Hash(u32);

impl Hash {
    fn table(&mut self, table: Table<'_>) {
        for (name, value) in table.iter() {
            self.tuple(3);
            self.binary(name);
            self.atom(kind(value));
            self.value(value);
        }
        self.nil();
    }

    fn array(&mut self, array: Array<'_>) {
        for value in array.iter() {
            self.tuple(2);
            self.atom(kind(value));
            self.value(value);
        }
        self.nil();
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Table(table) => self.table(table),
            Value::Array(array) => self.array(array),
            Value::LongString(bytes) | Value::Binary(bytes) => self.binary(bytes),
            Value::Timestamp(seconds) => self.natural(seconds, false),
            Value::Void => self.atom("undefined"),
            Value::Decimal { scale, value } => {
                self.tuple(2);
                self.integer(scale.into());
                self.integer(value.into());
            }
            other => match (other.as_bool(), other.as_float(), other.as_integer()) {
                (Some(flag), _, _) => self.atom(if flag { "true" } else { "false" }),
                (_, Some(float), _) => self.float(float),
                (_, _, Some(number)) => self.integer(number),
                _ => self.nil(),
            },
        }
    }

    fn tuple(&mut self, arity: u32) {
        self.mix(arity, 0, constant(9));
    }

    fn nil(&mut self) {
        match self.0 {
            0 => self.0 = 3_468_870_702,
            _ => self.mix(2, 0, constant(2)),
        }
    }

    fn atom(&mut self, name: &str) {
        let hashed = atom_hash(name);
        match self.0 {
            0 => self.0 = hashed,
            _ => self.mix(hashed, 0, constant(3)),
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        let seed = constant(13).wrapping_add(self.0);
        self.0 = match bytes.is_empty() {
            true => seed,
            false => block_hash(bytes, seed),
        };
    }

    fn integer(&mut self, number: i64) {
        const SMALL: std::ops::Range<i64> = -(1 << 27)..1 << 27;
        if !SMALL.contains(&number) {
            self.natural(number.unsigned_abs(), number < 0);
            return;
        }
        if number < 0 {
            self.mix(number.unsigned_abs() as u32, 0, constant(1));
        }
        self.mix(number as u32, 0, constant(1));
    }

    /// One that Erlang does not hold in 28 bits.
    fn natural(&mut self, number: u64, is_negative: bool) {
        if !is_negative && number < 1 << 27 {
            self.mix(number as u32, 0, constant(1));
            return;
        }
        let constant = constant(if is_negative { 10 } else { 11 });
        self.mix(number as u32, (number >> 32) as u32, constant);
    }

    fn float(&mut self, number: f64) {
        let bits = if number == 0.0 { 0 } else { number.to_bits() };
        self.mix((bits >> 32) as u32, bits as u32, constant(12));
    }

    fn mix(&mut self, first: u32, second: u32, constant: u32) {
        let a = constant.wrapping_add(first);
        let b = constant.wrapping_add(second);
        self.0 = mixed(a, b, self.0).2;
    }
}

/// RabbitMQ's names of types.
fn kind(value: Value<'_>) -> &'static str {
    value.type_name()
}

/// Multiples of the golden ratio tell kinds of terms apart.
fn constant(number: u32) -> u32 {
    number.wrapping_mul(GOLDEN_RATIO)
}

/// PJW's hash of the name.
fn atom_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xF000_0000;
        hash ^ (high >> 24) ^ high
    })
}

/// Bob Jenkins' hash of 1996, twelve bytes at a time.
fn block_hash(bytes: &[u8], seed: u32) -> u32 {
    let (mut a, mut b, mut c) = (GOLDEN_RATIO, GOLDEN_RATIO, seed);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        a = a.wrapping_add(word(&block[..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..]));
        (a, b, c) = mixed(a, b, c);
    }
    let mut rest = [0; 12];
    let tail = blocks.remainder();
    rest[..tail.len()].copy_from_slice(tail);
    a = a.wrapping_add(word(&rest[..4]));
    b = b.wrapping_add(word(&rest[4..8]));
    // Its lowest byte is for the length.
    c = c.wrapping_add(word(&rest[8..]) << 8);
    c = c.wrapping_add(bytes.len() as u32);
    mixed(a, b, c).2
}

/// Of up to four bytes, the first being the lowest.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn mixed(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (x, y, z) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> x);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << y);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> z);
    }
    (a, b, c)
}

const GOLDEN_RATIO: u32 = 0x9E37_79B9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::field_table::{ArrayBuilder, TableBuilder};

    /// What Erlang 25 says.
    #[test]
    fn hashes_are_erlangs() {
        assert_eq!(phash2(Table::EMPTY), 3_468_870_702);
        let mut flag = TableBuilder::new();
        flag.put("foo", true);
        assert_eq!(phash2(flag.view()), 3_505_580_078);
        let mut headers = TableBuilder::new();
        headers
            .put("bar", "z")
            .put("foo", Value::SignedInt(1))
            .put("x-match", "all");
        assert_eq!(phash2(headers.view()), 1_631_850_418);
    }

    #[test]
    fn every_type_is_hashed_as_erlang_does() {
        let (mut inner, mut array) = (TableBuilder::new(), ArrayBuilder::new());
        inner.put("i", Value::SignedInt(-7));
        array.push(Value::SignedInt(300_000_000)).push("");
        let mut table = TableBuilder::new();
        table
            .put("a", Value::Long(-5_000_000_000))
            .put("a long key of more than 12", Value::double(1.5))
            .put("n", Value::Void)
            .put_table("t", &inner)
            .put_array("u", &array);
        assert_eq!(phash2(table.view()), 984_842_197);
    }
}
