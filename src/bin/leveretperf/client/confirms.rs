//! Which messages of a channel are confirmed (RabbitMQ: publisher confirms).

use super::failure::{Failure, Result};

/// Confirms may come singly and in any order, or for all up to one.
pub struct Confirms {
    /// Every number up to this one is confirmed.
    pub low: u64,
    /// Those above `low` that were confirmed singly, at their number modulo the ring's length.
    above: Vec<bool>,
}

impl Confirms {
    /// For a channel with up to `window` messages under way.
    pub fn new(window: u64) -> Self {
        Confirms {
            low: 0,
            above: vec![false; window as usize + 1],
        }
    }

    /// Takes note of a confirm and names every message that it is the first for.
    pub fn on_confirm(
        &mut self,
        number: u64,
        multiple: bool,
        published: u64,
        mut on_confirmed: impl FnMut(u64),
    ) -> Result<()> {
        if number <= self.low || number > published {
            return Err(Failure::promise(format!(
                "confirm of {number}, with all up to {} confirmed and {published} published",
                self.low
            )));
        }
        let ring = self.above.len() as u64;
        if multiple {
            while self.low < number {
                self.low += 1;
                if !std::mem::take(&mut self.above[(self.low % ring) as usize]) {
                    on_confirmed(self.low);
                }
            }
        } else {
            let confirmed = &mut self.above[(number % ring) as usize];
            if std::mem::replace(confirmed, true) {
                return Err(Failure::promise(format!("second confirm of {number}")));
            }
            on_confirmed(number);
        }
        while std::mem::take(&mut self.above[((self.low + 1) % ring) as usize]) {
            self.low += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_come_singly_or_for_all_up_to_one() {
        let mut confirms = Confirms::new(4);
        let mut seen = Vec::new();
        for (number, multiple) in [(2, false), (1, false), (4, true)] {
            let noted = confirms.on_confirm(number, multiple, 4, |number| seen.push(number));
            assert!(noted.is_ok());
        }
        assert_eq!((confirms.low, seen), (4, vec![2, 1, 3, 4]));
        assert!(confirms.on_confirm(4, false, 4, |_| {}).is_err());
    }
}
