//! Randomness from the operating system, for names that nobody can guess.

pub(super) fn draw() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has randomness to give");
    bytes
}
