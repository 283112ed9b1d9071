//! A disk in memory that can be used from several threads, has space for so many writes, and fails when
//! it is told to.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use leveret::store::files::{Disk, DiskFile};

#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, MemoryFile>,
    /// Operations that may take space.
    writes: u64,
    /// How many of these are let through, if not all.
    room: Option<u64>,
    refused: u64,
    fails_syncs: bool,
}

#[derive(Clone, Default)]
pub struct MemoryFile {
    disk: MemoryDisk,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryDisk {
    /// Has space for so many more writes, of whatever size.
    pub fn fill_after(&self, writes: u64) {
        self.state().room = Some(writes);
    }

    pub fn has_space_again(&self) {
        self.state().room = None;
    }

    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Writes for which there was no space.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    pub fn fail_syncs(&self) {
        self.state().fails_syncs = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn take_space(&self) -> io::Result<()> {
        let mut state = self.state();
        state.writes += 1;
        match &mut state.room {
            Some(0) => {
                state.refused += 1;
                Err(ErrorKind::StorageFull.into())
            }
            Some(room) => {
                *room -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self.state().fails_syncs {
            true => Err(io::Error::from_raw_os_error(5)),
            false => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let names = state.names.keys();
        let inside = names.filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
        Ok(inside.map(str::to_owned).collect())
    }

    fn open(&self, path: &str) -> io::Result<MemoryFile> {
        let state = self.state();
        Ok(state.names.get(path).ok_or(ErrorKind::NotFound)?.clone())
    }

    fn create(&self, path: &str, size: u64) -> io::Result<MemoryFile> {
        self.take_space()?;
        let file = MemoryFile {
            disk: self.clone(),
            bytes: Arc::new(Mutex::new(vec![0; size as usize])),
        };
        self.state().names.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.take_space()?;
        let mut state = self.state();
        let file = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let removed = self.state().names.remove(path);
        removed.map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        self.sync()
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        self.take_space()
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        if size > self.size()? {
            self.disk.take_space()?;
        }
        self.bytes.lock().unwrap().resize(size as usize, 0);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let from = offset as usize;
        let read = bytes.get(from..from + buffer.len());
        buffer.copy_from_slice(read.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.take_space()?;
        let mut all = self.bytes.lock().unwrap();
        let (from, end) = (offset as usize, offset as usize + bytes.len());
        let size = all.len().max(end);
        all.resize(size, 0);
        all[from..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}
