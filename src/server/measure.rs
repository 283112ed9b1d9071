//! How much memory the process takes and may take, and what is free on the data directory's disk; from
//! the operating system, so this may wait, and is not for the loop's thread.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::system::sysinfo;

use super::allocator::give_back_free_memory;
use crate::protocol::Measured;

/// Reads the gauges. What one of them cannot tell is logged once, and `None` then.
pub(super) struct Gauges {
    /// `/proc/self/statm`
    statm: Option<File>,
    /// Files that may hold a limit of the control groups we are in.
    limit_files: Vec<PathBuf>,
    data_dir: Option<PathBuf>,
    /// When memory was given back.
    tidied: Option<Instant>,
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub with_disk: bool,
    /// Bytes; `None` if there is no limit.
    pub memory_limit: Option<u64>,
}

impl Gauges {
    /// `data_dir` exists, if there is one.
    pub fn new(data_dir: Option<&Path>) -> Gauges {
        let statm = File::open("/proc/self/statm");
        if let Err(error) = &statm {
            log::warn!("memory is not monitored: /proc/self/statm: {error}");
        }
        // Without them (an old kernel, no /proc) there are no control groups that we could know of.
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Gauges {
            statm: statm.ok(),
            limit_files: limit_files(&groups, &mounts),
            data_dir: data_dir.map(Path::to_owned),
            tidied: None,
        }
    }

    /// Memory, and the disk if wanted. What is free in the process does not count where it would make
    /// an alarm: beyond `memory_limit` it is given back before.
    pub fn read(&mut self, question: Question) -> Measured {
        let mut used = self.memory_used();
        let is_much = question
            .memory_limit
            .is_some_and(|limit| used > Some(limit));
        if is_much && self.tidied.is_none_or(|at| at.elapsed() >= TIDY_INTERVAL) {
            give_back_free_memory();
            self.tidied = Some(Instant::now());
            used = self.memory_used();
        }
        Measured {
            memory_used: used,
            memory_total: Some(self.memory_total()),
            disk_free: if question.with_disk {
                self.disk_free()
            } else {
                None
            },
        }
    }

    fn memory_used(&mut self) -> Option<u64> {
        match resident(self.statm.as_ref()?) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                log::warn!("memory is no longer monitored: /proc/self/statm: {error}");
                self.statm = None;
                None
            }
        }
    }

    /// Of the machine, or what a control group or the limit of the address space leaves of it. Limits
    /// can change while we run.
    fn memory_total(&self) -> u64 {
        let system = sysinfo();
        // Narrower on some machines than on others.
        #[allow(clippy::useless_conversion)]
        let machine = u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit.max(1)));
        let groups = self.limit_files.iter().filter_map(|path| limit_in(path));
        let address_space = getrlimit(Resource::As).current;
        groups.chain(address_space).fold(machine, u64::min)
    }

    fn disk_free(&mut self) -> Option<u64> {
        let directory = self.data_dir.as_deref()?;
        match statvfs(directory) {
            Ok(figures) => Some(figures.f_bavail.saturating_mul(figures.f_frsize)),
            Err(error) => {
                let directory = directory.display();
                log::warn!("free disk space is not monitored: {directory}: {error}");
                self.data_dir = None;
                None
            }
        }
    }
}

/// Giving memory back costs more than measuring it.
const TIDY_INTERVAL: Duration = Duration::from_millis(200);

/// The second number of `statm` counts resident pages.
fn resident(statm: &File) -> io::Result<u64> {
    let mut buffer = [0; 128];
    let count = statm.read_at(&mut buffer, 0)?;
    let text = String::from_utf8_lossy(&buffer[..count]);
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages: u64 = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(page_size() as u64))
}

/// `max`, and whatever else is no number, is no limit.
fn limit_in(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|limit| *limit > 0)
}

/// For each memory controller that is mounted (cgroup v1: `memory`; v2: all), the files of our group and
/// of those above it, since any of them may have the limit.
fn limit_files(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        let Some(group) = group_in(groups, mount.is_v2) else {
            continue;
        };
        // In a container, our group may be named as its host sees it, and mounted as the root.
        let inside = group.strip_prefix(mount.root).unwrap_or("");
        let mut folder = Path::new(mount.place).join(inside.trim_start_matches('/'));
        let names: &[&str] = match mount.is_v2 {
            true => &["memory.max", "memory.high"],
            false => &["memory.limit_in_bytes"],
        };
        loop {
            files.extend(names.iter().map(|name| folder.join(name)));
            if folder == Path::new(mount.place) || !folder.pop() {
                break;
            }
        }
    }
    files.dedup();
    files
}

/// Our group in the hierarchy of the memory controller; lines of `/proc/self/cgroup` are
/// `4:memory:/path`, in v2 `0::/path`.
fn group_in(groups: &str, is_v2: bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let fits = match is_v2 {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|name| name == "memory"),
        };
        (fits && !path.contains("/../")).then_some(path)
    })
}

/// A mounted hierarchy of control groups that may limit memory.
struct Mount<'a> {
    /// What of the hierarchy is mounted, without a slash at its end.
    root: &'a str,
    place: &'a str,
    is_v2: bool,
}

impl Mount<'_> {
    /// A line of `/proc/self/mountinfo`, proc(5).
    fn parse(line: &str) -> Option<Mount<'_>> {
        let (before, behind) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, place) = (before.next()?, before.next()?);
        let mut behind = behind.split(' ');
        let (kind, options) = (behind.next()?, behind.nth(1)?);
        let is_v2 = kind == "cgroup2";
        let is_memory = kind == "cgroup" && options.split(',').any(|name| name == "memory");
        (is_v2 || is_memory).then_some(Mount {
            root: root.trim_end_matches('/'),
            place,
            is_v2,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// Held by tests that take much memory, which would meet each other's in what they measure.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const ALL: Question = Question {
        with_disk: true,
        memory_limit: None,
    };

    fn names(groups: &str, mounts: &str) -> Vec<String> {
        let files = limit_files(groups, mounts).into_iter();
        files.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn what_this_process_takes_is_told() {
        let _alone = alone();
        let place = tempfile::tempdir().unwrap();
        let mut gauges = Gauges::new(Some(place.path()));
        let measured = gauges.read(ALL);
        let (used, total) = (
            measured.memory_used.unwrap(),
            measured.memory_total.unwrap(),
        );
        assert!(used > 100_000 && used < total, "{measured:?}");
        assert!(measured.disk_free.unwrap() > 0);
        // Enough to be seen beside what other tests take and give back meanwhile.
        let ballast = vec![1_u8; 256 << 20];
        let more = gauges.read(Question {
            with_disk: false,
            ..ALL
        });
        assert!(more.memory_used.unwrap() >= used + (128 << 20), "{more:?}");
        assert_eq!(more.disk_free, None);
        drop(ballast);
    }

    #[test]
    fn what_is_free_does_not_count_where_it_would_make_an_alarm() {
        let _alone = alone();
        let mut gauges = Gauges::new(None);
        // Small ones, so that they are not mapped one by one; the last is in the way of the others.
        let mut ballast: Vec<_> = (0..256 << 10).map(|_| vec![1_u8; 1024]).collect();
        let full = gauges.read(ALL).memory_used.unwrap();
        ballast.drain(..ballast.len() - 1);
        let limited = Question {
            memory_limit: Some(0),
            ..ALL
        };
        let tidy = gauges.read(limited).memory_used.unwrap();
        assert!(tidy + (128 << 20) < full, "{tidy} of {full}");
    }

    #[test]
    fn a_directory_that_is_gone_is_not_asked_again() {
        let place = tempfile::tempdir().unwrap();
        let mut gauges = Gauges::new(Some(&place.path().join("nothing")));
        assert_eq!(gauges.read(ALL).disk_free, None);
        assert!(gauges.data_dir.is_none());
    }

    #[test]
    fn the_second_version_of_control_groups_has_one_hierarchy() {
        let groups = "0::/system.slice/leveret.service\n";
        let mounts = "25 1 0:23 / /proc rw - proc proc rw\n\
                      30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            names(groups, mounts),
            [
                "/sys/fs/cgroup/system.slice/leveret.service/memory.max",
                "/sys/fs/cgroup/system.slice/leveret.service/memory.high",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/system.slice/memory.high",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.high",
            ]
        );
    }

    #[test]
    fn the_first_version_has_one_for_memory() {
        let groups = "5:devices:/\n4:cpu,memory:/job\n0::/\n";
        let mounts = "34 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      35 32 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(
            names(groups, mounts),
            [
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn in_a_container_the_group_is_what_is_mounted() {
        let mounts = "35 32 0:30 /docker/f00 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for groups in ["4:memory:/docker/f00\n", "4:memory:/\n"] {
            let files = names(groups, mounts);
            assert_eq!(files, ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
        }
    }

    #[test]
    fn a_limit_is_a_number() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("memory.max");
        assert_eq!(limit_in(&path), None);
        for (text, limit) in [("max\n", None), ("67108864\n", Some(64 << 20)), ("0", None)] {
            fs::write(&path, text).unwrap();
            assert_eq!(limit_in(&path), limit, "{text}");
        }
    }
}
