//! What must, may and must not be in the queues when the broker is back.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::stamp::Stamp;

/// One queue's copy of a persistent message, as far as its clients know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copy {
    /// The broker has answered for it.
    pub confirmed: bool,
    pub acked: Acked,
    /// Somebody has seen it.
    pub delivered: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acked {
    #[default]
    No,
    /// The broker may not have read it, or not have stored it.
    Perhaps,
    /// The broker has answered for something that came after it.
    Firmly,
}

/// A message that was moved by a transaction whose commit was not answered: it is in one of the queues.
#[derive(Clone, Debug)]
pub struct Move {
    pub stamp: Stamp,
    pub from: String,
    pub to: String,
}

/// What all clients together know.
#[derive(Default)]
pub struct Ledger {
    queues: BTreeMap<String, HashMap<Stamp, Copy>>,
    moves: Vec<Move>,
}

/// A message found in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub stamp: Stamp,
    pub redelivered: bool,
}

impl Ledger {
    pub fn copy(&mut self, queue: &str, stamp: Stamp) -> &mut Copy {
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.to_owned(), HashMap::new());
        }
        let copies = self.queues.get_mut(queue).expect("it was just put there");
        copies.entry(stamp).or_default()
    }

    /// From here on the message is in one of the two queues, or in both.
    pub fn begin_move(&mut self, moved: Move) {
        self.moves.push(moved);
    }

    /// The last move was answered.
    pub fn end_move(&mut self) {
        self.moves.pop();
    }

    /// Adds what another client knows.
    pub fn merge(&mut self, other: Ledger) {
        for (queue, copies) in other.queues {
            for (stamp, copy) in copies {
                let known = self.copy(&queue, stamp);
                known.confirmed |= copy.confirmed;
                known.delivered |= copy.delivered;
                known.acked = known.acked.max(copy.acked);
            }
        }
        self.moves.extend(other.moves);
    }

    /// How many copies were confirmed and must be found.
    pub fn due(&self) -> usize {
        let copies = self.queues.values().flat_map(HashMap::values);
        copies.filter(|copy| copy.is_due()).count()
    }

    /// Holds what was found against what is known, and makes it what is known from now on: who was
    /// absent once must stay absent.
    pub fn settle(&mut self, found: &BTreeMap<String, Vec<Found>>) -> Vec<String> {
        let mut faults = Vec::new();
        let unsure: HashSet<_> = self.moves.iter().map(|it| (&*it.to, it.stamp)).collect();
        for (queue, messages) in found {
            let none = HashMap::new();
            let known = self.queues.get(queue).unwrap_or(&none);
            let again = |stamp| unsure.contains(&(&**queue, stamp));
            check_queue(queue, messages, known, again, &mut faults);
        }
        for moved in &self.moves {
            let is_in = |queue: &str| {
                let messages = found.get(queue).into_iter().flatten();
                messages.into_iter().any(|found| found.stamp == moved.stamp)
            };
            let origin = self.queues.get(&moved.from);
            let origin = origin.and_then(|copies| copies.get(&moved.stamp));
            // It may have been moved before it was stored, and nobody was told that it was.
            let was_there = origin.is_some_and(|copy| copy.confirmed);
            if was_there && !is_in(&moved.from) && !is_in(&moved.to) {
                faults.push(format!("a transaction lost it: {moved:?}"));
            }
        }
        self.moves.clear();
        self.queues.clear();
        for (queue, messages) in found {
            for found in messages {
                let copy = self.copy(queue, found.stamp);
                copy.confirmed = true;
                copy.delivered = true;
            }
        }
        faults
    }
}

impl Copy {
    fn is_due(&self) -> bool {
        self.confirmed && self.acked == Acked::No
    }
}

fn check_queue(
    queue: &str,
    found: &[Found],
    known: &HashMap<Stamp, Copy>,
    may_be_twice: impl Fn(Stamp) -> bool,
    faults: &mut Vec<String>,
) {
    let mut seen = HashSet::new();
    let mut last: HashMap<u32, u32> = HashMap::new();
    for &Found { stamp, redelivered } in found {
        if !seen.insert(stamp) && !may_be_twice(stamp) {
            faults.push(format!("{queue}: {stamp:?} is there twice"));
        }
        let before = last.insert(stamp.publisher, stamp.number);
        if before.is_some_and(|before| before > stamp.number) {
            faults.push(format!("{queue}: {stamp:?} is behind {before:?}"));
        }
        match known.get(&stamp) {
            None => faults.push(format!("{queue}: {stamp:?} should not be there")),
            Some(copy) if copy.acked == Acked::Firmly => {
                faults.push(format!(
                    "{queue}: {stamp:?} is back, and its ack was stored"
                ));
            }
            Some(copy) if copy.delivered && !redelivered => {
                faults.push(format!("{queue}: {stamp:?} is not flagged redelivered"));
            }
            Some(_) => {}
        }
    }
    let mut lost: Vec<_> = known.iter().filter(|(_, copy)| copy.is_due()).collect();
    lost.retain(|(stamp, _)| !seen.contains(stamp));
    lost.sort_by_key(|(stamp, _)| **stamp);
    for (stamp, copy) in lost {
        faults.push(format!("{queue}: {stamp:?} is lost: {copy:?}"));
    }
}

/// The ledger would find what it is there for.
#[test]
fn a_ledger_finds_what_is_wrong() {
    let stamp = |number| Stamp {
        publisher: 1,
        number,
        persistent: true,
    };
    let found = |numbers: &[u32]| {
        let messages = numbers.iter().map(|number| Found {
            stamp: stamp(*number),
            redelivered: *number == 1,
        });
        BTreeMap::from([("q".to_owned(), messages.collect::<Vec<_>>())])
    };
    let ledger = || {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger.copy("q", stamp(number)).confirmed = true;
        }
        ledger.copy("q", stamp(1)).delivered = true;
        ledger.copy("q", stamp(4)).acked = Acked::Firmly;
        ledger.copy("q", stamp(5)).delivered = true;
        ledger.copy("q", stamp(6)).acked = Acked::Perhaps;
        ledger
    };
    assert_eq!(ledger().due(), 3);
    for sound in [&[1, 2, 3][..], &[1, 2, 3, 6]] {
        assert_eq!(ledger().settle(&found(sound)), [""; 0]);
    }
    for (wrong, fault) in [
        (&[1, 3][..], "is lost"),
        (&[1, 2, 2, 3], "is there twice"),
        (&[1, 3, 2], "is behind"),
        (&[1, 2, 3, 4], "its ack was stored"),
        (&[1, 2, 3, 5], "is not flagged redelivered"),
        (&[1, 2, 3, 7], "should not be there"),
    ] {
        let faults = ledger().settle(&found(wrong));
        assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
    }
}
