//! Pages of the program's files that only the start needed, taken out of what counts as the process's memory.
//!
//! Reading a configuration, preparing TLS and starting threads touches most of the code once, and the kernel
//! maps what lies around as well: three megabytes of the program and one of the C library, where an idle loop
//! needs a tenth of that. What is unmapped stays in the system's cache as long as that has room, and whoever
//! comes back to it finds it there for a fraction of a microsecond.

use std::fs;
use std::thread;
use std::time::Duration;

/// Unmaps them once the broker has settled. Nothing depends on it.
pub fn unmap_soon() {
    let unmap = || {
        thread::sleep(SETTLED);
        let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        for mapping in mappings(&maps).filter(Mapping::is_as_in_its_file) {
            unmap(&mapping);
        }
    };
    let thread = thread::Builder::new().name("start-pages".to_owned());
    if let Err(error) = thread.stack_size(STACK_BYTES).spawn(unmap) {
        log::debug!("pages of the start stay: {error}");
    }
}

/// A range of addresses, as `/proc/PID/smaps` describes it (proc_pid_smaps(5)).
#[derive(Debug, PartialEq)]
struct Mapping {
    start: usize,
    end: usize,
    is_readable_only: bool,
    is_of_file: bool,
    /// Pages that differ from the file.
    anonymous_kib: Option<u64>,
}

impl Mapping {
    /// Nothing is in it that would not be read from the file again, and nobody can change that.
    fn is_as_in_its_file(&self) -> bool {
        self.is_of_file && self.is_readable_only && self.anonymous_kib == Some(0)
    }
}

fn mappings(smaps: &str) -> impl Iterator<Item = Mapping> {
    let mut lines = smaps.lines().peekable();
    std::iter::from_fn(move || {
        let mut mapping = lines.by_ref().find_map(read_head)?;
        while let Some(line) = lines.next_if(|line| read_head(line).is_none()) {
            if let Some(size) = line.strip_prefix("Anonymous:") {
                mapping.anonymous_kib =
                    size.trim().strip_suffix(" kB").and_then(|n| n.parse().ok());
            }
        }
        Some(mapping)
    })
}

/// `55d0c8a00000-55d0c8e00000 r-xp 00200000 fe:00 1234    /usr/bin/leveret`
fn read_head(line: &str) -> Option<Mapping> {
    let mut parts = line.split_ascii_whitespace();
    let (start, end) = parts.next()?.split_once('-')?;
    let permissions = parts.next()?;
    let path = parts.nth(3);
    Some(Mapping {
        start: usize::from_str_radix(start, 16).ok()?,
        end: usize::from_str_radix(end, 16).ok()?,
        is_readable_only: permissions.starts_with('r')
            && permissions[1..].starts_with('-')
            && permissions.ends_with('p'),
        is_of_file: path.is_some_and(|path| path.starts_with('/')),
        anonymous_kib: None,
    })
}

fn unmap(mapping: &Mapping) {
    let start = std::ptr::with_exposed_provenance_mut(mapping.start);
    let size = mapping.end - mapping.start;
    // SAFETY: the range is a private mapping of a file that nobody can write to, and no page of it differs from
    // the file, so that whoever reads or runs it later finds what was there before (madvise(2), MADV_DONTNEED).
    #[allow(
        unsafe_code,
        reason = "whether that holds cannot be seen from the types"
    )]
    let result = unsafe { rustix::mm::madvise(start, size, rustix::mm::Advice::LinuxDontNeed) };
    if let Err(error) = result {
        log::debug!("pages of the start stay: {error}");
    }
}

/// The broker is at rest by then, if nobody wants anything of it.
const SETTLED: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c8a00000-55d0c8a9e000 r--p 00000000 fe:00 1234                       /usr/bin/leveret
Size:                632 kB
Rss:                 632 kB
Anonymous:             0 kB
55d0c8a9e000-55d0c8f00000 r-xp 0009e000 fe:00 1234                       /usr/bin/leveret
Rss:                2940 kB
Anonymous:             4 kB
VmFlags: rd ex mr mw me
55d0c9000000-55d0c9019000 rw-p 00500000 fe:00 1234                       /usr/bin/leveret
Anonymous:             0 kB
7ffd1c5b2000-7ffd1c5d3000 rw-p 00000000 00:00 0                          [stack]
Anonymous:           152 kB
7ffd1c5f4000-7ffd1c5f6000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_its_file_is_unmapped() {
        let all: Vec<_> = mappings(SMAPS).collect();
        assert_eq!(all.len(), 5);
        assert_eq!((all[1].start, all[1].end), (0x55d0c8a9e000, 0x55d0c8f00000));
        assert_eq!(all[1].anonymous_kib, Some(4));
        let of = |mapping: &Mapping| mapping.is_as_in_its_file();
        assert_eq!(
            all.iter().map(of).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
    }

    #[test]
    fn everything_goes_on_without_them() {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let clean: Vec<_> = mappings(&smaps)
            .filter(Mapping::is_as_in_its_file)
            .collect();
        assert!(!clean.is_empty());
        clean.iter().for_each(unmap);
        assert_eq!(mappings(SMAPS).count(), 5);
    }
}
