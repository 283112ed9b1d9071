//! The log of the program: lines to standard error, to a file, or both, as the configuration says, and
//! as it says next after a reload. Each destination is a logger of env_logger's, which filters, formats
//! and writes; ours is that they can be exchanged for others while the program runs.

mod line;
mod tap;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use env_logger::fmt::Formatter;
use env_logger::{Logger, Target};
use leveret::Config;
use leveret::config::{self, Category, Format};
use leveret::log_tap::LogTap;
use log::{LevelFilter, Log, Metadata, Record};

/// Opens what the configuration names. From here on there is a log, and a panic is a line of it. The
/// program can have its lines from the tap.
///
/// # Errors
/// The file cannot be opened.
pub fn start(config: &Config) -> io::Result<LogTap> {
    change(config)?;
    // Fails only if there is a logger already.
    let _ = log::set_logger(&LOGGERS);
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        // The state is unknown: whatever thread it was, and whatever the profile says of unwinding.
        std::process::abort();
    }));
    Ok(TAP.clone())
}

/// Opens it anew, also the file of before, which may have been moved away.
///
/// # Errors
/// The file cannot be opened; everything stays as it was.
pub fn change(config: &Config) -> io::Result<()> {
    let loggers = open(config)?;
    log::set_max_level(max_level(&loggers));
    let mut current = LOGGERS.0.write().unwrap_or_else(PoisonError::into_inner);
    *current = Some(Arc::new(loggers));
    Ok(())
}

/// One per destination; `None` until started.
struct Loggers(RwLock<Option<Arc<Vec<Logger>>>>);

static LOGGERS: Loggers = Loggers(RwLock::new(None));

static TAP: LazyLock<LogTap> = LazyLock::new(LogTap::default);

impl Loggers {
    /// The lock is let go before anything is formatted, as that can panic, and a panic is logged.
    fn current(&self) -> Option<Arc<Vec<Logger>>> {
        let current = self.0.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log for Loggers {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let current = self.current();
        current.is_some_and(|loggers| loggers.iter().any(|logger| logger.enabled(metadata)))
    }

    fn log(&self, record: &Record<'_>) {
        for logger in self.current().iter().flat_map(|loggers| loggers.iter()) {
            logger.log(record);
        }
    }

    fn flush(&self) {}
}

fn open(config: &Config) -> io::Result<Vec<Logger>> {
    let log = &config.log;
    let mut loggers = Vec::new();
    if log.console.unwrap_or(log.file.is_none()) {
        let level = log.console_level;
        loggers.push(logger(log, level, log.console_format, Target::Stderr));
    }
    if let Some(name) = &log.file {
        let folder = log.dir.as_deref().or(config.data_dir.as_deref());
        let path = folder.map_or_else(|| name.clone(), |folder| folder.join(name));
        let file = open_file(&path).map_err(|error| could_not_open(&path, &error))?;
        let target = Target::Pipe(Box::new(file));
        loggers.push(logger(log, log.file_level, log.file_format, target));
    }
    loggers.push(tap::logger(log, TAP.clone()));
    Ok(loggers)
}

/// Our own lines by their category, those of libraries only when they warn.
fn logger(
    log: &config::Log,
    own_level: Option<LevelFilter>,
    format: Format,
    target: Target,
) -> Logger {
    let mut builder = filtered(|category| log.level(category, own_level));
    builder.format(self::format(format)).target(target).build()
}

fn filtered(level: impl Fn(Category) -> LevelFilter) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level(Category::Default).min(LevelFilter::Warn));
    for &(module, category) in Category::OF_MODULES {
        builder.filter_module(module, level(category));
    }
    builder
}

fn format(format: Format) -> fn(&mut Formatter, &Record<'_>) -> io::Result<()> {
    match format {
        Format::Text => line::write_text,
        Format::Json => line::write_json,
    }
}

fn max_level(loggers: &[Logger]) -> LevelFilter {
    let levels = loggers.iter().map(Logger::filter);
    levels.max().unwrap_or(LevelFilter::Off)
}

/// Names of users and queues are in it: not for everybody.
fn open_file(path: &Path) -> io::Result<File> {
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

    fn wants(logger: &Logger, target: &str, level: log::Level) -> bool {
        logger.enabled(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn categories_and_libraries_have_their_levels() {
        let mut config = Config::default();
        config.log.levels[Category::Store as usize] = Some(LevelFilter::Debug);
        config.log.levels[Category::Connection as usize] = Some(LevelFilter::Error);
        let loggers = open(&config).unwrap();
        assert_eq!(max_level(&loggers), LevelFilter::Debug);
        for (target, level, wanted) in [
            ("leveret::store::log", log::Level::Debug, true),
            ("leveret::server::event_loop", log::Level::Debug, false),
            ("leveret::server::event_loop", log::Level::Info, true),
            ("leveret::server::socket", log::Level::Warn, false),
            ("mio::poll", log::Level::Info, false),
            ("mio::poll", log::Level::Warn, true),
        ] {
            assert_eq!(
                wants(&loggers[0], target, level),
                wanted,
                "{target} {level}"
            );
        }
    }

    #[test]
    fn a_module_is_filtered_by_the_category_that_its_lines_name() {
        for wanted in Category::ALL {
            let mut config = Config::default();
            config.log.levels.fill(Some(LevelFilter::Off));
            config.log.levels[wanted as usize] = Some(LevelFilter::Trace);
            let loggers = open(&config).unwrap();
            for (prefix, _) in Category::OF_MODULES {
                let module = format!("{prefix}::any");
                assert_eq!(
                    wants(&loggers[0], &module, log::Level::Trace),
                    Category::of_module(&module) == wanted,
                    "{module}"
                );
            }
        }
    }

    #[test]
    fn a_file_takes_the_consoles_place_unless_both_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: Some(folder.path().join("data")),
            ..Config::default()
        };
        // The tap is always there.
        assert_eq!(open(&config).unwrap().len(), 2);
        config.log.file = Some("leveret.log".into());
        let loggers = open(&config).unwrap();
        assert_eq!(loggers.len(), 2);
        assert!(folder.path().join("data/leveret.log").exists());
        config.log.console = Some(true);
        assert_eq!(open(&config).unwrap().len(), 3);
        config.log.file = Some("/dev/null/leveret.log".into());
        let error = open(&config).err().unwrap().to_string();
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
