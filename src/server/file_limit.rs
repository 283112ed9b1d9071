//! The limit of open files. Each connection is one, and the usual soft limit of 1024 is an old habit
//! for the sake of `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of this process to its hard limit. A program's decision, not a library's:
/// the limit belongs to the whole process.
pub fn raise_file_limit() {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => log::info!(
            "open files: at most {}, raised from {}",
            in_words(before.maximum),
            in_words(before.current)
        ),
        // Some systems refuse a limit beyond what the kernel can do; the old one serves.
        Err(error) => log::warn!(
            "open files: at most {}; raising it to {} failed: {error}",
            in_words(before.current),
            in_words(before.maximum)
        ),
    }
}

fn in_words(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}
