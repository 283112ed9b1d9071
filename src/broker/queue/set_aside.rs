//! Ready messages that stand aside, since the message of their group that comes before them is not
//! settled (see `broker/groups.rs`).
//!
//! Whoever comes to the head of the queue and may not go is set aside once, behind the others of its
//! group, and is not looked at again before its group is free. Then the first of them stands among the
//! `heads`, from where the queue takes it at its place between those that were never set aside.
//!
//! ```text
//!   the queue's lines --- may not go ---> waiting of its group --- group is free ---> heads --> delivered
//! ```
//!
//! They may be millions, so a group's are packed ids of a byte or two, and a bit says which of those are
//! still here. One that leaves out of turn (it expires, or makes room) loses but its bit; its id goes
//! when the group comes to it, or when such ids prevail.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Map;
use crate::broker::message::MessageId;

use super::entry::Entry;
use super::groups::Group;
use super::id_set::IdSet;
use super::packed::PackedIds;

/// Messages that wait for their groups, and for those whose groups are free for a consumer.
#[derive(Default)]
pub struct SetAside {
    /// Who is here, by priority; no set is empty.
    members: BTreeMap<Reverse<u8>, IdSet>,
    len: usize,
    /// Those that may have been delivered before.
    redelivered: IdSet,
    waiting: Map<Group, Waiting>,
    /// The first of each free group, by rank. It may have left meanwhile.
    heads: BTreeSet<(u64, Group)>,
    /// Ids in `waiting`, also of those that left.
    piled: usize,
}

/// Those of one group.
#[derive(Default)]
struct Waiting {
    /// Highest priority first; none is empty.
    piles: Vec<Pile>,
    /// The rank that stands among the heads; none while the group is busy.
    head: Option<u64>,
}

/// Those of one group and one priority.
struct Pile {
    priority: u8,
    ids: PackedIds,
    /// Those that came behind a younger one: they were given back.
    returned: BTreeSet<MessageId>,
}

impl SetAside {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn contains(&self, entry: Entry) -> bool {
        self.len > 0
            && self
                .members
                .get(&Reverse(entry.priority()))
                .is_some_and(|set| set.contains(entry.message()))
    }

    /// In order of delivery, if it were not for the groups.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.members.iter().flat_map(|(Reverse(priority), set)| {
            let ids = set.iter();
            ids.map(|id| self.flagged(Entry::with_priority(id, *priority)))
        })
    }

    /// Those of one priority from this one on, ascending.
    pub fn iter_from(&self, first: Entry) -> impl Iterator<Item = Entry> {
        let set = self.members.get(&Reverse(first.priority()));
        let ids = set
            .into_iter()
            .flat_map(move |set| set.iter_from(first.message()));
        ids.map(move |id| self.flagged(Entry::with_priority(id, first.priority())))
    }

    /// A message of a group that is busy.
    pub fn push(&mut self, entry: Entry, group: Group) {
        let set = self.members.entry(Reverse(entry.priority())).or_default();
        set.insert(entry.message());
        self.len += 1;
        if entry.redelivered() {
            self.redelivered.insert(entry.message());
        }
        let waiting = self.waiting.entry(group).or_default();
        debug_assert!(waiting.head.is_none(), "it was busy");
        waiting.push(entry);
        self.piled += 1;
    }

    /// The first that may be delivered. (`mut`, since it is looked for behind those that left.)
    pub fn next(&mut self) -> Option<Entry> {
        while let Some(&(rank, group)) = self.heads.first() {
            let entry = Entry::from_rank(rank);
            if self.contains(entry) {
                return Some(self.flagged(entry));
            }
            self.hold(group);
            self.release(group);
        }
        None
    }

    /// Whether [`SetAside::next`] may find one.
    pub fn has_next(&self) -> bool {
        !self.heads.is_empty()
    }

    /// Takes [`SetAside::next`]. Unless its group is held now, the next of the group may go.
    pub fn pop_next(&mut self) -> Option<Entry> {
        let entry = self.next()?;
        let &(_, group) = self.heads.first()?;
        self.hold(group);
        self.forget(entry);
        self.release(group);
        Some(entry)
    }

    /// The first, whether it may be delivered or not.
    pub fn first(&self) -> Option<Entry> {
        let (Reverse(priority), set) = self.members.first_key_value()?;
        let entry = Entry::with_priority(set.first()?, *priority);
        Some(self.flagged(entry))
    }

    /// Takes the message out, wherever it stands; none if it is not here.
    pub fn remove(&mut self, entry: Entry) -> Option<Entry> {
        if !self.contains(entry) {
            return None;
        }
        let entry = self.flagged(entry);
        self.forget(entry);
        if self.piled > 2 * self.len + GONE_MAX {
            self.compact();
        }
        Some(entry)
    }

    /// The group is busy: none of it may go.
    pub fn hold(&mut self, group: Group) {
        if let Some(waiting) = self.waiting.get_mut(&group)
            && let Some(rank) = waiting.head.take()
        {
            self.heads.remove(&(rank, group));
        }
    }

    /// The group is free: the first of it may go.
    pub fn release(&mut self, group: Group) {
        let Some(waiting) = self.waiting.get_mut(&group) else {
            return;
        };
        if waiting.head.is_some() {
            return;
        }
        while let Some(entry) = waiting.first() {
            let set = self.members.get(&Reverse(entry.priority()));
            if set.is_some_and(|set| set.contains(entry.message())) {
                waiting.head = Some(entry.rank());
                self.heads.insert((entry.rank(), group));
                return;
            }
            waiting.pop();
            self.piled -= 1;
        }
        self.waiting.remove(&group);
    }

    /// None will be delivered: what is known of groups goes.
    pub fn disband(&mut self) {
        self.waiting = Map::default();
        self.heads = BTreeSet::new();
        self.piled = 0;
    }

    /// The message is not here any more.
    fn forget(&mut self, entry: Entry) {
        let priority = Reverse(entry.priority());
        if let Some(set) = self.members.get_mut(&priority)
            && set.remove(entry.message())
        {
            self.len -= 1;
            if set.is_empty() {
                self.members.remove(&priority);
            }
        }
        self.redelivered.remove(entry.message());
        if self.len == 0 {
            *self = SetAside::default();
        }
    }

    /// Takes the ids of those that left out of all groups. It costs as much as there are, after at least
    /// half as many have left.
    fn compact(&mut self) {
        let members = &self.members;
        let mut piled = 0;
        self.waiting.retain(|_, waiting| {
            for pile in &mut waiting.piles {
                let set = members.get(&Reverse(pile.priority));
                let is_here = |id: &MessageId| set.is_some_and(|set| set.contains(*id));
                pile.ids = pile.ids.iter().filter(is_here).collect();
                pile.returned.retain(is_here);
                piled += pile.len();
            }
            waiting.piles.retain(|pile| pile.len() > 0);
            waiting.head.is_some() || !waiting.piles.is_empty()
        });
        self.piled = piled;
    }

    fn flagged(&self, entry: Entry) -> Entry {
        match self.redelivered.contains(entry.message()) {
            true => entry.as_redelivered(),
            false => entry,
        }
    }
}

impl Waiting {
    fn push(&mut self, entry: Entry) {
        let order = |pile: &Pile| entry.priority().cmp(&pile.priority);
        let at = self.piles.binary_search_by(order).unwrap_or_else(|at| {
            self.piles.insert(at, Pile::new(entry.priority()));
            at
        });
        self.piles[at].push(entry.message());
    }

    fn first(&self) -> Option<Entry> {
        let pile = self.piles.first()?;
        let first = pile.first()?;
        Some(Entry::with_priority(first, pile.priority))
    }

    fn pop(&mut self) {
        if let Some(pile) = self.piles.first_mut() {
            pile.pop();
            if pile.len() == 0 {
                self.piles.remove(0);
            }
        }
    }
}

impl Pile {
    fn new(priority: u8) -> Self {
        Pile {
            priority,
            ids: PackedIds::default(),
            returned: BTreeSet::new(),
        }
    }

    fn len(&self) -> usize {
        self.ids.len() + self.returned.len()
    }

    fn push(&mut self, id: MessageId) {
        if self.ids.is_empty() {
            // It remembers what was taken from it, before which nothing may come.
            self.ids = PackedIds::default();
        }
        match self.ids.last() {
            Some(last) if id <= last => drop(self.returned.insert(id)),
            _ => self.ids.push(id),
        }
    }

    fn first(&self) -> Option<MessageId> {
        let returned = self.returned.first().copied();
        self.ids.first().into_iter().chain(returned).min()
    }

    fn pop(&mut self) {
        let first = self.first();
        if first == self.ids.first() {
            self.ids.pop();
        } else {
            self.returned.pop_first();
        }
    }
}

/// So many that left are left alone.
const GONE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(id: u64, priority: u8) -> Entry {
        Entry::with_priority(MessageId::from_bits(id), priority)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push {
            group: u64,
            priority: u8,
            flag: bool,
        },
        Requeue {
            nth: usize,
        },
        Pop,
        Remove {
            nth: usize,
        },
        Free {
            group: u64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..5u64, 0..3u8, any::<bool>())
                .prop_map(|(group, priority, flag)| Step::Push { group, priority, flag }),
            1 => (0..8usize).prop_map(|nth| Step::Requeue { nth }),
            3 => Just(Step::Pop),
            1 => (0..100usize).prop_map(|nth| Step::Remove { nth }),
            2 => (0..5u64).prop_map(|group| Step::Free { group }),
        ]
    }

    /// The same, one by one.
    #[derive(Default)]
    struct Model {
        here: BTreeMap<u64, (Entry, u64)>,
        free: BTreeSet<u64>,
    }

    impl Model {
        fn next(&self) -> Option<(Entry, u64)> {
            let mut here = self.here.values();
            here.find(|(_, group)| self.free.contains(group)).copied()
        }
    }

    proptest! {
        #[test]
        fn each_group_goes_in_order_and_only_while_it_is_free(
            steps in prop::collection::vec(step(), 0..400),
        ) {
            let mut aside = SetAside::default();
            let mut model = Model::default();
            let mut taken: Vec<(Entry, u64)> = Vec::new();
            let group = Group::from_bits;
            for (id, step) in (1..).zip(steps) {
                let mut push = |entry: Entry, of: u64| {
                    aside.hold(group(of));
                    model.free.remove(&of);
                    aside.push(entry, group(of));
                    model.here.insert(entry.rank(), (entry, of));
                };
                match step {
                    Step::Push { group, priority, flag } => {
                        let entry = entry(id, priority);
                        push(if flag { entry.as_redelivered() } else { entry }, group);
                    }
                    Step::Requeue { nth } => {
                        if nth < taken.len() {
                            let (entry, group) = taken.swap_remove(nth);
                            push(entry.as_redelivered(), group);
                        }
                    }
                    Step::Pop => {
                        let next = model.next();
                        prop_assert_eq!(aside.pop_next(), next.map(|(entry, _)| entry));
                        if let Some((entry, group)) = next {
                            model.here.remove(&entry.rank());
                            taken.push((entry, group));
                        }
                    }
                    Step::Remove { nth } => {
                        if let Some((entry, _)) = model.here.values().nth(nth).copied() {
                            let unflagged = Entry::from_place(entry.to_place());
                            prop_assert_eq!(aside.remove(unflagged), Some(entry));
                            prop_assert_eq!(aside.remove(entry), None);
                            model.here.remove(&entry.rank());
                        }
                    }
                    Step::Free { group: of } => {
                        aside.release(group(of));
                        model.free.insert(of);
                    }
                }
                prop_assert_eq!(aside.len(), model.here.len());
                prop_assert_eq!(aside.next(), model.next().map(|(entry, _)| entry));
                prop_assert_eq!(aside.first(), model.here.values().next().map(|it| it.0));
                prop_assert!(aside.iter().eq(model.here.values().map(|(entry, _)| *entry)));
            }
        }
    }

    #[test]
    fn a_million_of_one_group_take_little_room() {
        let mut aside = SetAside::default();
        for id in 0..1_000_000 {
            aside.push(entry(3 * id + id % 2, 0), Group::from_bits(7));
        }
        let bytes: usize = aside.waiting.values().map(Waiting::size).sum();
        assert!(bytes < 2_500_000, "{bytes}");
    }

    #[test]
    fn those_that_leave_out_of_turn_do_not_pile_up() {
        let mut aside = SetAside::default();
        aside.push(entry(0, 0), Group::from_bits(1));
        for id in 1..100_000 {
            aside.push(entry(id, 0), Group::from_bits(id % 3));
            assert!(aside.remove(entry(id, 0)).is_some());
            assert!(aside.piled <= GONE_MAX + 2);
        }
        assert_eq!(aside.len(), 1);
        aside.release(Group::from_bits(1));
        assert_eq!(aside.pop_next(), Some(entry(0, 0)));
        assert!(aside.waiting.is_empty() && aside.heads.is_empty());
    }

    impl Waiting {
        fn size(&self) -> usize {
            self.piles.iter().map(|pile| pile.ids.size()).sum()
        }
    }
}
