//! Randomness from the operating system, for names that nobody can guess.

use crate::protocol::Entropy;

pub(super) fn of_system() -> Entropy {
    Box::new(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system has randomness to give");
        bytes
    })
}
