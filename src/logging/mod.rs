//! The log of the program: lines to standard error, to a file, or both, as the configuration says, and
//! as it says next after a reload.

mod line;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use leveret::Config;
use leveret::config::{CATEGORIES, Category, Format, Log};
use log::{LevelFilter, Metadata, Record};

/// Opens what the configuration names. From here on there is a log, and a panic is a line of it.
///
/// # Errors
/// The file cannot be opened.
pub fn start(config: &Config) -> io::Result<()> {
    change(config)?;
    // Fails only if there is a logger already.
    let _ = log::set_logger(&LOGGER);
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        // The state is unknown: whatever thread it was, and whatever the profile says of unwinding.
        std::process::abort();
    }));
    Ok(())
}

/// Opens it anew, also the file of before, which may have been moved away.
///
/// # Errors
/// The file cannot be opened; everything stays as it was.
pub fn change(config: &Config) -> io::Result<()> {
    let setup = Setup::open(config)?;
    log::set_max_level(setup.max_level());
    *LOGGER.setup.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(setup));
    Ok(())
}

struct Logger {
    /// `None` until started.
    setup: Mutex<Option<Arc<Setup>>>,
}

static LOGGER: Logger = Logger {
    setup: Mutex::new(None),
};

/// Where lines go.
struct Setup {
    sinks: Vec<Sink>,
}

struct Sink {
    /// `None`: standard error.
    file: Option<File>,
    format: Format,
    levels: [LevelFilter; CATEGORIES],
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.setup()
            .is_some_and(|setup| setup.sinks.iter().any(|sink| sink.wants(metadata)))
    }

    fn log(&self, record: &Record<'_>) {
        // The lock is let go before anything is formatted, as that can panic, and a panic is logged.
        let Some(setup) = self.setup() else {
            return;
        };
        for sink in &setup.sinks {
            if sink.wants(record.metadata()) {
                sink.write(&line::format(record, sink.format));
            }
        }
    }

    fn flush(&self) {}
}

impl Logger {
    fn setup(&self) -> Option<Arc<Setup>> {
        let setup = self.setup.lock();
        setup.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Setup {
    fn open(config: &Config) -> io::Result<Setup> {
        let log = &config.log;
        let mut sinks = Vec::new();
        if log.console.unwrap_or(log.file.is_none()) {
            sinks.push(Sink {
                file: None,
                format: log.console_format,
                levels: levels(log, log.console_level),
            });
        }
        if let Some(name) = &log.file {
            let folder = log.dir.as_deref().or(config.data_dir.as_deref());
            let path = folder.map_or_else(|| name.clone(), |folder| folder.join(name));
            sinks.push(Sink {
                file: Some(open(&path).map_err(|error| could_not_open(&path, &error))?),
                format: log.file_format,
                levels: levels(log, log.file_level),
            });
        }
        Ok(Setup { sinks })
    }

    fn max_level(&self) -> LevelFilter {
        let levels = self.sinks.iter().flat_map(|sink| sink.levels);
        levels.max().unwrap_or(LevelFilter::Off)
    }
}

impl Sink {
    /// Our own lines by their category, those of libraries only when they warn.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let module = metadata.target();
        let level = self.levels[Category::of_module(module) as usize];
        let is_ours = module.starts_with("leveret");
        metadata.level()
            <= if is_ours {
                level
            } else {
                level.min(LevelFilter::Warn)
            }
    }

    /// In one piece, so that lines of two threads do not mix. A log that cannot be written is no
    /// reason to stop, and there is nobody to tell.
    fn write(&self, line: &str) {
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}

fn levels(log: &Log, own: Option<LevelFilter>) -> [LevelFilter; CATEGORIES] {
    Category::ALL.map(|category| log.level(category, own))
}

/// Names of users and queues are in it: not for everybody.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

fn could_not_open(path: &Path, error: &io::Error) -> io::Error {
    let text = format!("could not open the log file {}: {error}", path.display());
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn metadata(target: &str, level: log::Level) -> Metadata<'_> {
        Metadata::builder().target(target).level(level).build()
    }

    #[test]
    fn categories_and_libraries_have_their_levels() {
        let mut config = Config::default();
        config.log.levels[Category::Store as usize] = Some(LevelFilter::Debug);
        config.log.levels[Category::Connection as usize] = Some(LevelFilter::Error);
        let setup = Setup::open(&config).unwrap();
        assert_eq!(setup.max_level(), LevelFilter::Debug);
        let sink = &setup.sinks[0];
        for (target, level, wanted) in [
            ("leveret::store::log", log::Level::Debug, true),
            ("leveret::server::event_loop", log::Level::Debug, false),
            ("leveret::server::event_loop", log::Level::Info, true),
            ("leveret::server::socket", log::Level::Warn, false),
            ("mio::poll", log::Level::Info, false),
            ("mio::poll", log::Level::Warn, true),
        ] {
            assert_eq!(
                sink.wants(&metadata(target, level)),
                wanted,
                "{target} {level}"
            );
        }
    }

    #[test]
    fn a_file_takes_the_consoles_place_unless_both_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: Some(folder.path().join("data")),
            ..Config::default()
        };
        assert_eq!(Setup::open(&config).unwrap().sinks.len(), 1);
        config.log.file = Some("leveret.log".into());
        let setup = Setup::open(&config).unwrap();
        assert_eq!(setup.sinks.len(), 1);
        assert!(folder.path().join("data/leveret.log").exists());
        config.log.console = Some(true);
        assert_eq!(Setup::open(&config).unwrap().sinks.len(), 2);
        config.log.file = Some("/dev/null/leveret.log".into());
        let error = Setup::open(&config).err().unwrap().to_string();
        assert!(error.starts_with("could not open the log file /dev/null/leveret.log: "));
    }

    /// Not a test of its own: what [`a_panic_is_logged_with_its_place_and_ends_the_process`] runs.
    #[test]
    #[ignore = "panics"]
    fn panics() {
        start(&Config::default()).unwrap();
        panic!("for a reason");
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_ends_the_process() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "logging::tests::panics",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), None, "{log}");
        let line = log
            .lines()
            .find(|line| line.contains("for a reason"))
            .unwrap();
        assert!(
            line.contains(" ERROR ") && line.contains("src/logging/mod.rs:"),
            "{log}"
        );
    }
}
