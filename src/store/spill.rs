//! Transient messages that memory has no room for: images of blocks, thrown away at the next start.
//!
//! They are appended to files that go when their last image is dropped; nothing is ever synced.

use std::collections::{BTreeMap, HashMap};
use std::io;

use foldhash::fast::FixedState;

use super::files::{Disk, DiskFile, is_full};

pub(super) struct Spills<D: Disk> {
    places: HashMap<u64, Place, FixedState>,
    files: BTreeMap<u64, SpillFile<D::File>>,
    next_file: u64,
}

enum Place {
    File {
        file: u64,
        offset: u64,
        size: usize,
    },
    /// There was no space for it.
    Memory(Vec<u8>),
}

struct SpillFile<F> {
    file: F,
    end: u64,
    images: u64,
}

impl<D: Disk> Spills<D> {
    /// Throws away what the last run left.
    pub fn start(disk: &D) -> io::Result<Self> {
        disk.create_folder(FOLDER)?;
        for name in disk.list(FOLDER)? {
            disk.remove(&format!("{FOLDER}/{name}"))?;
        }
        Ok(Spills {
            places: HashMap::default(),
            files: BTreeMap::new(),
            next_file: 0,
        })
    }

    /// Keeps a block's image, in memory if there is no space; whether there was.
    pub fn keep(&mut self, disk: &D, block: u64, image: Vec<u8>) -> io::Result<bool> {
        self.drop_image(disk, block)?;
        let (place, had_space) = match self.write(disk, &image) {
            Ok(place) => (place, true),
            Err(error) if is_full(&error) => (Place::Memory(image), false),
            Err(error) => return Err(error),
        };
        self.places.insert(block, place);
        Ok(had_space)
    }

    fn write(&mut self, disk: &D, image: &[u8]) -> io::Result<Place> {
        let size = image.len() as u64;
        let full = |file: &SpillFile<D::File>| file.end > 0 && file.end + size > FILE_BYTES;
        if self
            .files
            .last_key_value()
            .is_none_or(|(_, file)| full(file))
        {
            let file = disk.create(&path(self.next_file), FILE_BYTES.max(size))?;
            let (end, images) = (0, 0);
            self.files
                .insert(self.next_file, SpillFile { file, end, images });
            self.next_file += 1;
        }
        let mut last = self.files.last_entry().expect("there is one now");
        let number = *last.key();
        let file = last.get_mut();
        let offset = file.end;
        if size > FILE_BYTES {
            file.file.set_size(offset + size)?;
        }
        file.file.write_at(offset, image)?;
        file.end += size;
        file.images += 1;
        Ok(Place::File {
            file: number,
            offset,
            size: image.len(),
        })
    }

    /// The image of a block, if it was kept here.
    pub fn fetch(&self, block: u64) -> io::Result<Option<Vec<u8>>> {
        match self.places.get(&block) {
            None => Ok(None),
            Some(Place::Memory(image)) => Ok(Some(image.clone())),
            Some(Place::File { file, offset, size }) => {
                let mut image = vec![0; *size];
                self.files[file].file.read_at(*offset, &mut image)?;
                Ok(Some(image))
            }
        }
    }

    pub fn drop_image(&mut self, disk: &D, block: u64) -> io::Result<()> {
        let Some(Place::File { file: number, .. }) = self.places.remove(&block) else {
            return Ok(());
        };
        let Some(file) = self.files.get_mut(&number) else {
            return Ok(());
        };
        file.images -= 1;
        if file.images == 0 {
            self.files.remove(&number);
            disk.remove(&path(number))?;
        }
        Ok(())
    }
}

fn path(number: u64) -> String {
    format!("{FOLDER}/{number:010}")
}

const FOLDER: &str = "spill";
/// Size of a file, unless an image is larger.
const FILE_BYTES: u64 = 4 << 20;
