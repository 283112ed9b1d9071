//! Messages keep the time to live that they came with, whatever a policy says later (RabbitMQ).

use crate::broker::message::MessageId;

/// What the queue's message TTL was before it changed, oldest first: up to which message, and what.
///
/// Nothing of it survives a restart: what holds then holds for all messages that are there.
#[derive(Default)]
pub struct FormerTtls(Vec<(MessageId, Option<u64>)>);

impl FormerTtls {
    /// Messages before `next` came under this TTL, those from there on come under another.
    pub fn end(&mut self, ttl_ms: Option<u64>, next: MessageId) {
        if self.0.last().is_some_and(|(end, _)| *end >= next) {
            // Nobody came under it.
            return;
        }
        if self.0.len() >= KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((next, ttl_ms));
    }

    /// The TTL that the message came under, if it is not that of now.
    pub fn of(&self, message: MessageId) -> Option<Option<u64>> {
        let found = self.0.iter().find(|(end, _)| message < *end);
        found.map(|(_, ttl_ms)| *ttl_ms)
    }
}

/// Changes that are remembered. Messages from before count with those of the oldest.
const KEPT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u64) -> MessageId {
        MessageId::from_bits(bits)
    }

    #[test]
    fn a_message_has_the_ttl_that_was_in_force_when_it_came() {
        let mut former = FormerTtls::default();
        assert_eq!(former.of(id(0)), None);
        former.end(None, id(10));
        former.end(Some(5), id(20));
        former.end(Some(6), id(20));
        assert_eq!(former.of(id(9)), Some(None));
        assert_eq!(former.of(id(10)), Some(Some(5)));
        assert_eq!(former.of(id(20)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut former = FormerTtls::default();
        for at in 0..100 {
            former.end(Some(at), id(at + 1));
        }
        assert_eq!(former.0.len(), KEPT_MAX);
        assert_eq!(former.of(id(99)), Some(Some(99)));
        assert_eq!(former.of(id(0)), Some(Some(84)));
    }
}
