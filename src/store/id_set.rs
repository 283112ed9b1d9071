//! Sets of ids, as small as they can be while acks are matched with messages: per 65,536 ids a sorted
//! list of two bytes each, or a bitmap when that is smaller.

use std::collections::BTreeMap;

use super::runs::Run;

#[derive(Default)]
pub(super) struct IdSet {
    chunks: BTreeMap<u64, Chunk>,
}

enum Chunk {
    Sorted(Vec<u16>),
    Bitmap(Box<Bitmap>),
}

type Bitmap = [u64; CHUNK_IDS / 64];

impl IdSet {
    pub fn insert_run(&mut self, run: Run) {
        let mut rest = Some(run);
        while let Some(run) = rest {
            let number = run.first / CHUNK_IDS as u64;
            let count = run.count_up_to(number * CHUNK_IDS as u64 + (CHUNK_IDS as u64 - 1));
            let chunk = self
                .chunks
                .entry(number)
                .or_insert(Chunk::Sorted(Vec::new()));
            chunk.insert(Run { count, ..run });
            rest = run.skip(count);
        }
    }

    pub fn contains(&self, id: u64) -> bool {
        let chunk = self.chunks.get(&(id / CHUNK_IDS as u64));
        chunk.is_some_and(|chunk| chunk.contains(id as u16))
    }

    /// In ascending order.
    pub fn for_each(&self, mut act: impl FnMut(u64)) {
        for (number, chunk) in &self.chunks {
            let base = number * CHUNK_IDS as u64;
            match chunk {
                Chunk::Sorted(ids) => ids.iter().for_each(|id| act(base + u64::from(*id))),
                Chunk::Bitmap(_) => (0..=u16::MAX)
                    .filter(|id| chunk.contains(*id))
                    .for_each(|id| act(base + u64::from(id))),
            }
        }
    }

    /// For questions in ascending order.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            set: self,
            number: u64::MAX,
            chunk: None,
        }
    }
}

impl Chunk {
    fn insert(&mut self, run: Run) {
        if let Chunk::Sorted(ids) = self {
            if ids.len() + run.count as usize <= SORTED_IDS_MAX {
                insert_sorted(ids, run);
                return;
            }
            let mut bitmap = Box::new([0; CHUNK_IDS / 64]);
            for id in ids {
                set(&mut bitmap, *id);
            }
            *self = Chunk::Bitmap(bitmap);
        }
        if let Chunk::Bitmap(bitmap) = self {
            run.ids().for_each(|id| set(bitmap, id as u16));
        }
    }

    fn contains(&self, id: u16) -> bool {
        match self {
            Chunk::Sorted(ids) => ids.binary_search(&id).is_ok(),
            Chunk::Bitmap(bitmap) => bitmap[usize::from(id) / 64] >> (id % 64) & 1 == 1,
        }
    }
}

fn insert_sorted(ids: &mut Vec<u16>, run: Run) {
    let ascending = ids.last().is_none_or(|last| *last < run.first as u16);
    ids.extend(run.ids().map(|id| id as u16));
    if !ascending {
        ids.sort_unstable();
        ids.dedup();
    }
}

fn set(bitmap: &mut Bitmap, id: u16) {
    bitmap[usize::from(id) / 64] |= 1 << (id % 64);
}

/// Remembers the chunk of the last question.
pub(super) struct Reader<'a> {
    set: &'a IdSet,
    number: u64,
    chunk: Option<&'a Chunk>,
}

impl Reader<'_> {
    #[inline]
    pub fn contains(&mut self, id: u64) -> bool {
        let number = id / CHUNK_IDS as u64;
        if number != self.number {
            self.number = number;
            self.chunk = self.set.chunks.get(&number);
        }
        self.chunk.is_some_and(|chunk| chunk.contains(id as u16))
    }
}

const CHUNK_IDS: usize = 1 << 16;
/// Beyond, a bitmap is smaller.
const SORTED_IDS_MAX: usize = CHUNK_IDS / 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_has_what_was_put_in(runs in prop::collection::vec((0..200_000u64, 1..50u64, 1..6000u64), 0..6)) {
            let mut set = IdSet::default();
            let mut model = BTreeSet::new();
            for (first, stride, count) in runs {
                let run = Run { first, stride, count };
                set.insert_run(run);
                model.extend(run.ids());
            }
            let mut reader = set.reader();
            let mut all = Vec::new();
            set.for_each(|id| all.push(id));
            prop_assert!(all.iter().eq(model.iter()));
            for id in (0..200_000).step_by(7) {
                prop_assert_eq!(reader.contains(id), model.contains(&id));
            }
        }
    }
}
