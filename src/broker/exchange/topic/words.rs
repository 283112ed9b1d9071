//! The words of keys and patterns, and the numbers that stand for them in the trie.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// The words of a routing key or binding key: what stands between the dots.
///
/// As in RabbitMQ the empty key has no words at all, while `kern.` has two of which the second is
/// empty, and `..` has three empty ones. A key of 255 bytes has at most 256 words.
pub(super) fn split(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = (!key.is_empty()).then(|| key.split(|&byte| byte == b'.'));
    parts.into_iter().flatten()
}

/// Numbers the words in use, so that the trie compares and hashes 4 bytes however long a word is,
/// and a word that no pattern has is recognised once instead of at every node.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    words: HashMap<Box<[u8]>, Word, FixedState>,
    /// Numbers below `next` that no word has at present.
    free: Vec<u32>,
    next: u32,
}

#[derive(Debug)]
struct Word {
    number: u32,
    /// Edges of the trie that bear the word; at least 1.
    uses: u32,
}

impl Dictionary {
    pub(super) fn number(&self, word: &[u8]) -> Option<u32> {
        self.words.get(word).map(|word| word.number)
    }

    /// Counts one more use of the word, which gets a number if it has none.
    pub(super) fn acquire(&mut self, word: &[u8]) -> u32 {
        if let Some(known) = self.words.get_mut(word) {
            known.uses += 1;
            return known.number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.words.insert(word.into(), Word { number, uses: 1 });
        number
    }

    /// Takes one use back; with its last use a word loses its number.
    pub(super) fn release(&mut self, word: &[u8]) {
        let Some(known) = self.words.get_mut(word) else {
            return;
        };
        known.uses -= 1;
        if known.uses == 0 {
            self.free.push(known.number);
            self.words.remove(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_key_has_no_words_and_empty_words_count() {
        let words = |key: &'static str| split(key.as_bytes()).collect::<Vec<_>>();
        assert_eq!(words(""), Vec::<&[u8]>::new());
        assert_eq!(words("kern"), [b"kern"]);
        assert_eq!(words("kern."), [&b"kern"[..], b""]);
        assert_eq!(words(".critical"), [&b""[..], b"critical"]);
        assert_eq!(words(".."), [b"", b"", b""]);
    }

    #[test]
    fn a_number_is_shared_by_all_uses_and_reused_after_the_last() {
        let mut dictionary = Dictionary::default();
        let a = dictionary.acquire(b"a");
        let b = dictionary.acquire(b"b");
        assert_ne!(a, b);
        assert_eq!(dictionary.acquire(b"a"), a);
        dictionary.release(b"a");
        assert_eq!(dictionary.number(b"a"), Some(a));
        dictionary.release(b"a");
        assert_eq!(dictionary.number(b"a"), None);
        assert_eq!(dictionary.acquire(b"c"), a);
    }
}
