//! The patterns with wildcards, as a trie of words.
//!
//! ```text
//!   lazy.#     root --lazy--> n1 --#--> n2 (Q2)
//!   *.*.rabbit root --*--> n3 --*--> n4 --rabbit--> n5 (Q2)
//! ```
//! Routing walks the words of the key once and keeps the set of nodes reached so far, as a
//! nondeterministic automaton does. A node is reached at most once per word: a child has one parent,
//! and a `#` node, once reached, stays reached whatever follows, so it is entered once and never left.
//! Patterns like `#.#.#.a` therefore cost the number of their words times that of the key's, nothing
//! recurses, and after the first messages nothing allocates.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::super::destinations::{self, Destinations};
use super::words::{self, Dictionary};

/// Patterns and their destinations. The maps are only asked for single keys: no hash order shows.
#[derive(Debug)]
pub(super) struct Trie<D> {
    nodes: Vec<Node<D>>,
    /// Nodes cut off by `unbind`, to be used again.
    free: Vec<u32>,
    /// (node, number of a word) -> node. One map for all nodes: most have a single child, for which
    /// a map each would be too much.
    literals: HashMap<(u32, u32), u32, FixedState>,
    dictionary: Dictionary,
    scan: Scan,
}

#[derive(Debug)]
struct Node<D> {
    /// Of the patterns that end here.
    destinations: Option<Destinations<D>>,
    /// The child for `*`, or `NONE`.
    star: u32,
    /// The child for `#`, or `NONE`.
    hash: u32,
    /// How many children `Trie::literals` has for this node.
    literal_count: u32,
    /// Of a `#` node: entered by the route in progress. False between routes.
    entered: bool,
}

/// What one route keeps, empty between routes; here so that its memory is used again.
#[derive(Debug, Default)]
struct Scan {
    /// Nodes, other than `#` nodes, whose patterns match the words seen so far.
    reached: Vec<u32>,
    /// The same with one word more, while it is collected.
    reached_next: Vec<u32>,
    /// All `#` nodes entered.
    entered: Vec<u32>,
    /// Those of them that patterns continue from: they try every further word.
    waiting: Vec<u32>,
}

/// The way from a node to its child.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Star,
    Hash,
    Literal(&'a [u8]),
}

impl<D: Copy + Ord> Trie<D> {
    pub(super) fn new() -> Self {
        Trie {
            nodes: vec![Node::new()],
            free: Vec::new(),
            literals: HashMap::default(),
            dictionary: Dictionary::default(),
            scan: Scan::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.node(ROOT).is_bare()
    }

    pub(super) fn bind(&mut self, pattern: &[u8], destination: D) {
        let mut node = ROOT;
        for step in steps(pattern) {
            node = match self.child(node, step) {
                Some(child) => child,
                None => self.grow(node, step),
            };
        }
        destinations::insert(&mut self.node_mut(node).destinations, destination);
    }

    /// Cuts off the nodes that no pattern needs any more. A binding that is not there is no error.
    pub(super) fn unbind(&mut self, pattern: &[u8], destination: D) {
        let mut path = Vec::new();
        let mut node = ROOT;
        for step in steps(pattern) {
            let Some(child) = self.child(node, step) else {
                return;
            };
            path.push((node, step));
            node = child;
        }
        destinations::remove(&mut self.node_mut(node).destinations, destination);
        while self.node(node).is_bare()
            && let Some((parent, step)) = path.pop()
        {
            self.cut(parent, step, node);
            node = parent;
        }
        if self.is_empty() {
            // A table that was large once gives its memory back.
            *self = Trie::new();
        }
    }

    /// Appends the destinations of every matching pattern: in the order of the nodes reached, which
    /// follows from the bindings made and nothing else.
    pub(super) fn route(&mut self, key: &[u8], out: &mut Vec<D>) {
        self.reach(ROOT, out);
        for word in words::split(key) {
            self.advance(word, out);
            if self.scan.reached.is_empty() && self.scan.waiting.is_empty() {
                break;
            }
        }
        for &node in &self.scan.reached {
            if let Some(destinations) = &self.nodes[node as usize].destinations {
                destinations.append_to(out);
            }
        }
        self.end_route();
    }

    /// Goes on by one word from every node reached.
    fn advance(&mut self, word: &[u8], out: &mut Vec<D>) {
        let word = self.dictionary.number(word);
        let reached = std::mem::take(&mut self.scan.reached);
        // What this word lets in may only try the next one.
        let waiting_count = self.scan.waiting.len();
        for &node in &reached {
            self.step_from(node, word, out);
        }
        for index in 0..waiting_count {
            self.step_from(self.scan.waiting[index], word, out);
        }
        self.scan.reached = std::mem::replace(&mut self.scan.reached_next, reached);
        self.scan.reached_next.clear();
    }

    fn step_from(&mut self, node: u32, word: Option<u32>, out: &mut Vec<D>) {
        let Node {
            star,
            literal_count,
            ..
        } = *self.node(node);
        if star != NONE {
            self.reach_next(star, out);
        }
        if literal_count > 0
            && let Some(word) = word
            && let Some(&child) = self.literals.get(&(node, word))
        {
            self.reach_next(child, out);
        }
    }

    fn reach(&mut self, node: u32, out: &mut Vec<D>) {
        self.scan.reached.push(node);
        self.enter_hash(node, out);
    }

    fn reach_next(&mut self, node: u32, out: &mut Vec<D>) {
        self.scan.reached_next.push(node);
        self.enter_hash(node, out);
    }

    /// Enters the `#` child of a node just reached, since `#` needs no word, and its `#` child in turn.
    /// Patterns that end there match whatever follows, so that they are answered at once.
    fn enter_hash(&mut self, node: u32, out: &mut Vec<D>) {
        let mut hash = self.node(node).hash;
        while hash != NONE {
            let node = &mut self.nodes[hash as usize];
            if node.entered {
                return;
            }
            node.entered = true;
            self.scan.entered.push(hash);
            if node.star != NONE || node.literal_count > 0 {
                self.scan.waiting.push(hash);
            }
            if let Some(destinations) = &node.destinations {
                destinations.append_to(out);
            }
            hash = node.hash;
        }
    }

    fn end_route(&mut self) {
        for &node in &self.scan.entered {
            self.nodes[node as usize].entered = false;
        }
        self.scan.entered.clear();
        self.scan.waiting.clear();
        self.scan.reached.clear();
    }

    fn child(&self, node: u32, step: Step) -> Option<u32> {
        let child = match step {
            Step::Star => self.node(node).star,
            Step::Hash => self.node(node).hash,
            Step::Literal(word) => {
                let word = self.dictionary.number(word)?;
                self.literals.get(&(node, word)).copied().unwrap_or(NONE)
            }
        };
        (child != NONE).then_some(child)
    }

    fn grow(&mut self, parent: u32, step: Step) -> u32 {
        let child = self.allocate();
        match step {
            Step::Star => self.node_mut(parent).star = child,
            Step::Hash => self.node_mut(parent).hash = child,
            Step::Literal(word) => {
                let word = self.dictionary.acquire(word);
                self.literals.insert((parent, word), child);
                self.node_mut(parent).literal_count += 1;
            }
        }
        child
    }

    fn cut(&mut self, parent: u32, step: Step, child: u32) {
        match step {
            Step::Star => self.node_mut(parent).star = NONE,
            Step::Hash => self.node_mut(parent).hash = NONE,
            Step::Literal(word) => {
                if let Some(number) = self.dictionary.number(word) {
                    self.literals.remove(&(parent, number));
                    self.node_mut(parent).literal_count -= 1;
                }
                self.dictionary.release(word);
            }
        }
        self.free.push(child);
    }

    fn allocate(&mut self) -> u32 {
        // Nodes were bare when they were cut off.
        self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.nodes.len()).expect("memory ends before 2^32 nodes");
            self.nodes.push(Node::new());
            index
        })
    }

    fn node(&self, index: u32) -> &Node<D> {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node<D> {
        &mut self.nodes[index as usize]
    }
}

impl<D> Node<D> {
    fn new() -> Self {
        Node {
            destinations: None,
            star: NONE,
            hash: NONE,
            literal_count: 0,
            entered: false,
        }
    }

    /// Neither does a pattern end here nor continue.
    fn is_bare(&self) -> bool {
        self.destinations.is_none()
            && self.star == NONE
            && self.hash == NONE
            && self.literal_count == 0
    }
}

fn steps(pattern: &[u8]) -> impl Iterator<Item = Step<'_>> {
    words::split(pattern).map(|word| match word {
        b"*" => Step::Star,
        b"#" => Step::Hash,
        word => Step::Literal(word),
    })
}

const ROOT: u32 = 0;
/// No child: the root is nobody's.
const NONE: u32 = ROOT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbinding_leaves_no_node_no_edge_and_no_word_behind() {
        let mut trie = Trie::new();
        trie.bind(b"*.stays", 0);
        let patterns: [&[u8]; 6] = [b"a.b.#", b"a.*", b"a.b.#.c", b"#", b"*.stays.#", b"#.#.a"];
        for pattern in patterns {
            trie.bind(pattern, 1);
        }
        for pattern in patterns {
            trie.unbind(pattern, 1);
        }
        assert_eq!(trie.nodes.len() - trie.free.len(), 3);
        assert_eq!(trie.literals.len(), 1);
        assert_eq!(trie.dictionary.number(b"a"), None);
        assert!(trie.dictionary.number(b"stays").is_some());
        trie.unbind(b"*.stays", 0);
        assert!(trie.is_empty());
        assert_eq!(trie.nodes.len(), 1);
    }

    #[test]
    fn nodes_cut_off_are_used_again() {
        let mut trie = Trie::new();
        trie.bind(b"#", 0);
        for round in 0..100 {
            let pattern = format!("a.{round}.#");
            trie.bind(pattern.as_bytes(), 1);
            trie.unbind(pattern.as_bytes(), 1);
        }
        assert_eq!(trie.nodes.len(), 5);
        assert!(trie.dictionary.acquire(b"new") < 2);
    }

    #[test]
    fn unbinding_what_is_not_bound_changes_nothing() {
        let mut trie = Trie::new();
        trie.bind(b"a.*.c", 1);
        for pattern in [&b"a.*.c"[..], b"a.*", b"a.*.c.d", b"x", b"#"] {
            trie.unbind(pattern, 2);
        }
        let mut out = Vec::new();
        trie.route(b"a.b.c", &mut out);
        assert_eq!(out, [1]);
    }

    #[test]
    fn many_hashes_cost_no_more_than_nodes_times_words() {
        let mut trie = Trie::new();
        let pattern = ["#"; 127].join(".") + ".a";
        trie.bind(pattern.as_bytes(), 1);
        trie.bind(b"#.a.#.a.#.a.#.a.#.a.#.b", 2);
        let key = ["a"; 128].join(".");
        let mut out = Vec::new();
        trie.route(key.as_bytes(), &mut out);
        out.dedup();
        assert_eq!(out, [1]);
        // Each is entered once per route and left for the next one to enter.
        out.clear();
        trie.route((key + ".b").as_bytes(), &mut out);
        assert_eq!(out, [2]);
    }

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node<[u32; 2]>>(), 32);
    }
}
