//! How logins went, for whom it may concern: who tries passwords shows here. They are slowed down by
//! waiting, not by this.

use std::collections::BTreeMap;

/// Logins by the address they came from (RabbitMQ: authentication attempts).
#[derive(Debug, Default)]
pub struct LoginCounts {
    by_source: BTreeMap<Box<str>, LoginCount>,
    /// Counts the logins.
    clock: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginCount {
    pub accepted: u64,
    pub refused: u64,
    /// Which of all logins was the last from there.
    last: u64,
}

impl LoginCounts {
    /// By address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &LoginCount)> {
        self.by_source
            .iter()
            .map(|(source, count)| (&**source, count))
    }

    /// When there are too many addresses, the one that was silent longest is forgotten.
    pub(super) fn count(&mut self, source: &str, accepted: bool) {
        self.clock += 1;
        if !self.by_source.contains_key(source) {
            if self.by_source.len() >= SOURCES_MAX {
                self.forget_one();
            }
            self.by_source.insert(source.into(), LoginCount::default());
        }
        if let Some(count) = self.by_source.get_mut(source) {
            count.last = self.clock;
            match accepted {
                true => count.accepted += 1,
                false => count.refused += 1,
            }
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.by_source.iter().min_by_key(|(_, count)| count.last);
        if let Some(source) = oldest.map(|(source, _)| source.clone()) {
            self.by_source.remove(&source);
        }
    }
}

/// Addresses that are remembered.
const SOURCES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut counts = LoginCounts::default();
        for source in 0..SOURCES_MAX + 10 {
            counts.count("first", false);
            counts.count(&source.to_string(), true);
        }
        assert_eq!(counts.iter().len(), SOURCES_MAX);
        let first = counts.iter().find(|(source, _)| *source == "first");
        assert_eq!(first.unwrap().1.refused, SOURCES_MAX as u64 + 10);
        assert!(!counts.iter().any(|(source, _)| source == "0"));
    }
}
