//! What the operating system says of this process, beside its memory and its disk, which
//! [`monitor`](super::monitor) looks after. Read by whoever asks, never on the loop.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::management::Vitals;

/// What the process takes up now. Zero for what the operating system does not tell.
pub(super) fn measure() -> Vitals {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Vitals {
        files: files as u64,
        files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        context_switches: number_behind(&status, "voluntary_ctxt_switches:")
            + number_behind(&status, "nonvoluntary_ctxt_switches:"),
        processors: std::thread::available_parallelism().map_or(1, usize::from) as u64,
    }
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
        let vitals = measure();
        assert!(vitals.files > 2 && vitals.files_max >= vitals.files);
        assert!(vitals.processors > 0);
    }
}
