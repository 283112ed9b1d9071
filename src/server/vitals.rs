//! What the operating system says of this process and of its disk. Read by whoever asks, never on the loop.

use std::fs;
use std::path::PathBuf;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use crate::management::Vitals;

/// What the process takes up now. Zero for what the operating system does not tell.
pub(super) fn measure(data_dir: Option<&PathBuf>) -> Vitals {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let directory = data_dir.cloned().unwrap_or_else(|| PathBuf::from("."));
    let disk = statvfs(&directory).ok();
    Vitals {
        memory_bytes: number_behind(&status, "VmRSS:") * 1024,
        memory_total_bytes: memory_total(),
        files: files as u64,
        files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        disk_free_bytes: disk.map_or(0, |disk| disk.f_bavail * disk.f_frsize),
        context_switches: number_behind(&status, "voluntary_ctxt_switches:")
            + number_behind(&status, "nonvoluntary_ctxt_switches:"),
        processors: std::thread::available_parallelism().map_or(1, usize::from) as u64,
    }
}

fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    number_behind(&text, "MemTotal:") * 1024
}

/// Of the line that begins like that.
fn number_behind(text: &str, name: &str) -> u64 {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_up_something() {
        let vitals = measure(None);
        assert!(vitals.memory_bytes > 100_000, "{vitals:?}");
        assert!(vitals.files > 2 && vitals.files_max >= vitals.files);
        assert!(vitals.disk_free_bytes > 0);
    }
}
