//! Exponentially distributed waiting times out of hashes, in integers: a floating-point logarithm may
//! differ in its last bits from one machine to the next, and with it a route.

/// Minus the binary logarithm of the hash as a fraction of 2^64, in units of 2^-32. From 1 to 2^38;
/// the smaller the hash, the longer.
pub(super) fn waiting_time(hash: u64) -> u64 {
    // Zero would take for ever.
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // What follows the highest bit: of 1.f, the f.
    let fraction = (hash << zeros << 1) >> 32;
    (u64::from(zeros + 1) << 32) - logarithm(fraction)
}

/// The binary logarithm of 1 + `fraction` / 2^32, in units of 2^-32; below 2^32.
fn logarithm(fraction: u64) -> u64 {
    let index = (fraction >> STEP_BITS) as usize;
    let rest = fraction & ((1 << STEP_BITS) - 1);
    let (low, high) = (LOGARITHMS[index], LOGARITHMS[index + 1]);
    low + (((high - low) * rest) >> STEP_BITS)
}

/// Between neighbours in the table the curve is almost a straight line: less than 3 millionths off.
const LOGARITHMS: [u64; STEPS + 1] = logarithms();
const STEPS: usize = 256;
const STEP_BITS: u32 = 32 - STEPS.trailing_zeros();

const fn logarithms() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut index = 0;
    while index < STEPS {
        table[index] = bits_of_logarithm(index as u64);
        index += 1;
    }
    table[STEPS] = 1 << 32;
    table
}

/// Bit by bit: the logarithm of a square is twice that of its root.
const fn bits_of_logarithm(index: u64) -> u64 {
    let one = 1_u128 << 62;
    let mut number = one + (one / STEPS as u128) * index as u128;
    let mut bits = 0;
    let mut bit = 0;
    while bit < 32 {
        number = (number * number) >> 62;
        bits <<= 1;
        if number >= 2 * one {
            number >>= 1;
            bits |= 1;
        }
        bit += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::hash::scramble;

    #[test]
    fn it_is_the_logarithm() {
        for input in 0..10_000 {
            let hash = scramble(input);
            let exact = -(hash as f64 / 2_f64.powi(64)).log2();
            let ours = waiting_time(hash) as f64 / 2_f64.powi(32);
            assert!((exact - ours).abs() < 3e-6, "{hash}: {exact} {ours}");
        }
    }

    #[test]
    fn it_falls_from_end_to_end() {
        assert_eq!(waiting_time(0), 64 << 32);
        assert_eq!(waiting_time(1 << 63), 1 << 32);
        assert_eq!(waiting_time(u64::MAX), 1);
        let ends = (1..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        let times: Vec<u64> = ends.map(waiting_time).collect();
        assert!(times.iter().rev().is_sorted());
    }
}
