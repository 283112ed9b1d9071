//! A disk that loses power: it keeps what was synced, and of the rest any part.
//!
//! What was written since a file's last sync is kept or lost for each sector on its own. A change of
//! size is kept or lost, and so is each change of a folder since its last sync. Everything is decided by
//! the seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::rc::Rc;

use leveret::store::files::{Disk, DiskFile};

use super::random::Random;

#[derive(Clone)]
pub struct SimulatedDisk(Rc<State>);

struct State {
    files: RefCell<Vec<Contents>>,
    names: RefCell<BTreeMap<String, usize>>,
    stable_names: RefCell<BTreeMap<String, usize>>,
    changes: RefCell<Vec<Change>>,
    /// Operations until the power goes.
    power: Cell<Option<u64>>,
    /// Bytes that files may take.
    space: Cell<u64>,
    lie: Cell<Lie>,
    lies_told: Cell<u64>,
    operations: Cell<u64>,
}

#[derive(Default, Clone)]
struct Contents {
    now: Vec<u8>,
    stable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// A change of a folder that is not stable yet: a name goes, or stands for a file.
enum Change {
    Set(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

/// How the disk betrays a store, to prove that the test would notice if the store forgot something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    None,
    /// Some syncs of files do nothing.
    DropsFileSync,
    /// Syncs of folders do nothing.
    DropsFolderSync,
    /// A sync fails.
    FailsSync,
}

impl SimulatedDisk {
    pub fn new() -> Self {
        SimulatedDisk(Rc::new(State {
            files: RefCell::default(),
            names: RefCell::default(),
            stable_names: RefCell::default(),
            changes: RefCell::default(),
            power: Cell::new(None),
            space: Cell::new(u64::MAX),
            lie: Cell::new(Lie::None),
            lies_told: Cell::new(0),
            operations: Cell::new(0),
        }))
    }

    pub fn set_lie(&self, lie: Lie) {
        self.0.lie.set(lie);
    }

    pub fn set_space(&self, bytes: u64) {
        self.0.space.set(bytes);
    }

    pub fn used(&self) -> u64 {
        let files = self.0.files.borrow();
        let names = self.0.names.borrow();
        names
            .values()
            .map(|file| files[*file].now.len() as u64)
            .sum()
    }

    /// The power goes at the operation after so many.
    pub fn cut_power_after(&self, operations: u64) {
        self.0.power.set(Some(operations));
    }

    pub fn has_power(&self) -> bool {
        self.0.power.get() != Some(0)
    }

    /// The program ends, the machine does not: nothing is lost.
    pub fn reopen(&self) {
        self.0.power.set(None);
    }

    /// The machine starts again: what is there now is all that there is.
    pub fn reboot(&self, random: &mut Random) {
        let state = &self.0;
        let mut names = state.stable_names.borrow_mut();
        // Most machines keep changes of folders in their order, some do not.
        let in_order = random.chance(2);
        for change in state.changes.borrow_mut().drain(..) {
            if random.chance(2) {
                change.apply(&mut names);
            } else if in_order {
                break;
            }
        }
        state.changes.borrow_mut().clear();
        *state.names.borrow_mut() = names.clone();
        for (number, file) in state.files.borrow_mut().iter_mut().enumerate() {
            if names.values().any(|named| *named == number) {
                file.lose_power(random);
            } else {
                *file = Contents::default();
            }
        }
        state.power.set(None);
    }

    pub fn names(&self) -> Vec<String> {
        self.0.names.borrow().keys().cloned().collect()
    }

    /// Changes a byte behind the store's back.
    pub fn damage(&self, path: &str, offset: usize, mask: u8) {
        let file = self.0.names.borrow()[path];
        let contents = &mut self.0.files.borrow_mut()[file];
        contents.now[offset] ^= mask;
        contents.stable = contents.now.clone();
        contents.dirty.clear();
    }

    pub fn size_of(&self, path: &str) -> usize {
        let file = self.0.names.borrow()[path];
        self.0.files.borrow()[file].now.len()
    }

    pub fn truncate(&self, path: &str, size: usize) {
        let file = self.0.names.borrow()[path];
        let contents = &mut self.0.files.borrow_mut()[file];
        contents.now.truncate(size);
        contents.stable = contents.now.clone();
        contents.dirty.clear();
    }

    pub fn delete(&self, path: &str) {
        self.0.names.borrow_mut().remove(path);
        self.0.stable_names.borrow_mut().remove(path);
    }

    /// Another disk with the same contents, all of them stable.
    pub fn copy(&self) -> Self {
        let copy = SimulatedDisk::new();
        let names = self.0.names.borrow().clone();
        *copy.0.names.borrow_mut() = names.clone();
        *copy.0.stable_names.borrow_mut() = names;
        let mut files = self.0.files.borrow().clone();
        for file in &mut files {
            file.stable = file.now.clone();
            file.dirty.clear();
        }
        *copy.0.files.borrow_mut() = files;
        copy
    }

    /// All contents, to see whether anything was changed.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.0.files.borrow();
        let names = self.0.names.borrow();
        names
            .iter()
            .map(|(name, file)| (name.clone(), files[*file].now.clone()))
            .collect()
    }

    fn operate(&self) -> io::Result<()> {
        self.0.operations.set(self.0.operations.get() + 1);
        match self.0.power.get() {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => self.0.power.set(Some(left - 1)),
            None => {}
        }
        Ok(())
    }

    fn lies(&self, lie: Lie) -> bool {
        let lies = self.0.lie.get() == lie;
        self.0
            .lies_told
            .set(self.0.lies_told.get() + u64::from(lies));
        lies
    }

    fn change(&self, change: Change) {
        change.apply(&mut self.0.names.borrow_mut());
        self.0.changes.borrow_mut().push(change);
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        let names = self.0.names.borrow();
        names.get(path).copied().ok_or(ErrorKind::NotFound.into())
    }

    fn check_space(&self, more: u64) -> io::Result<()> {
        if self.used() + more > self.0.space.get() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Set(name, file) => drop(names.insert(name.clone(), *file)),
            Change::Remove(name) => drop(names.remove(name)),
            Change::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        let (Change::Set(name, _) | Change::Remove(name) | Change::Rename(_, name, _)) = self;
        name.rsplit_once('/').map_or("", |(folder, _)| folder) == folder
    }
}

impl Contents {
    fn lose_power(&mut self, random: &mut Random) {
        if self.dirty.is_empty() && self.now.len() == self.stable.len() {
            return;
        }
        let size = if random.chance(2) {
            self.now.len()
        } else {
            self.stable.len()
        };
        let mut survived = self.stable.clone();
        survived.resize(size, 0);
        // Sometimes all or nothing of it, mostly any part.
        let luck = random.below(4);
        for page in &self.dirty {
            let whole = random.chance(2);
            let keeps_page = random.chance(2);
            for sector in 0..PAGE / SECTOR {
                let keeps = match luck {
                    0 => false,
                    1 => true,
                    _ if whole => keeps_page,
                    _ => random.chance(2),
                };
                let start = page * PAGE + sector * SECTOR;
                let end = (start + SECTOR).min(size).min(self.now.len());
                if keeps && start < end {
                    survived[start..end].copy_from_slice(&self.now[start..end]);
                }
            }
        }
        self.now = survived.clone();
        self.stable = survived;
        self.dirty.clear();
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.operate()?;
        let prefix = format!("{folder}/");
        let names = self.0.names.borrow();
        let inside = names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside.map(str::to_owned).collect())
    }

    fn open(&self, path: &str) -> io::Result<SimulatedFile> {
        self.operate()?;
        Ok(SimulatedFile {
            disk: self.clone(),
            file: self.file(path)?,
        })
    }

    fn create(&self, path: &str, size: u64) -> io::Result<SimulatedFile> {
        self.operate()?;
        self.check_space(size)?;
        let mut files = self.0.files.borrow_mut();
        files.push(Contents {
            now: vec![0; size as usize],
            ..Contents::default()
        });
        let file = files.len() - 1;
        self.change(Change::Set(path.to_owned(), file));
        Ok(SimulatedFile {
            disk: self.clone(),
            file,
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let file = self.file(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.operate()?;
        self.file(path)?;
        self.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.operate()?;
        if self.lies(Lie::DropsFolderSync) {
            return Ok(());
        }
        let mut stable = self.0.stable_names.borrow_mut();
        self.0.changes.borrow_mut().retain(|change| {
            if change.is_in(folder) {
                change.apply(&mut stable);
                return false;
            }
            true
        });
        Ok(())
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        self.operate()
    }
}

pub struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        act(&mut self.disk.0.files.borrow_mut()[self.file])
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.operate()?;
        Ok(self.with(|contents| contents.now.len() as u64))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let before = self.with(|contents| contents.now.len() as u64);
        self.disk.operate()?;
        self.disk.check_space(size.saturating_sub(before))?;
        self.with(|contents| {
            let pages = before.min(size) as usize / PAGE..=before.max(size) as usize / PAGE;
            contents.dirty.extend(pages);
            contents.now.resize(size as usize, 0);
        });
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.operate()?;
        self.with(|contents| {
            let from = offset as usize;
            let bytes = contents.now.get(from..from + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let size = self.with(|contents| contents.now.len() as u64);
        self.disk.check_space(end.saturating_sub(size))?;
        // Bytes that are written while the power goes may come to the disk.
        let result = self.disk.operate();
        self.with(|contents| {
            let (from, end) = (offset as usize, end as usize);
            contents.now.resize(contents.now.len().max(end), 0);
            contents.now[from..end].copy_from_slice(bytes);
            contents.dirty.extend(from / PAGE..=(end.max(1) - 1) / PAGE);
        });
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate()?;
        if self.disk.lies(Lie::FailsSync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.disk.lies(Lie::DropsFileSync) && self.disk.0.lies_told.get().is_multiple_of(5) {
            return Ok(());
        }
        self.with(|contents| {
            let dirty = std::mem::take(&mut contents.dirty);
            let size = contents.now.len();
            contents.stable.resize(size, 0);
            for page in dirty {
                let range = (page * PAGE).min(size)..((page + 1) * PAGE).min(size);
                contents.stable[range.clone()].copy_from_slice(&contents.now[range]);
            }
        });
        Ok(())
    }
}

const PAGE: usize = 4096;
const SECTOR: usize = 512;
