//! Where the configuration is read from: files, the environment, the command line. What the texts mean
//! is the business of `config`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use leveret::Config;
use leveret::config::environment;
use leveret::config::sources::{Effective, Setting, Source};
use leveret::config::syntax::{self, Content};

/// What it takes to read the configuration, now and again after SIGHUP.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that the command line names.
    file: Option<PathBuf>,
    command_line: Vec<Setting>,
    is_detached: bool,
}

/// Why there is no configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A line each.
    pub mistakes: Vec<String>,
    /// One of them at least is the command line's.
    pub of_command_line: bool,
}

impl Settings {
    pub fn new(file: Option<PathBuf>, command_line: Vec<Setting>) -> Settings {
        Settings {
            file,
            command_line,
            is_detached: false,
        }
    }

    /// In the background nobody sees standard error, and somebody looks for the process: the log and
    /// the process id go to files in the data directory unless told otherwise.
    pub fn detached(mut self) -> Settings {
        self.is_detached = true;
        self
    }

    /// The file that the command line names.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    #[cfg(test)]
    pub fn command_line(&self) -> &[Setting] {
        &self.command_line
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Files that cannot be read, lines that are misspelt, values that cannot be.
    pub fn load(&self) -> Result<Effective, Refusal> {
        let mut reader = Reader::default();
        reader.read_all(self.file.as_deref());
        if !reader.mistakes.is_empty() {
            return Err(Refusal {
                mistakes: reader.mistakes,
                of_command_line: false,
            });
        }
        let mut settings = reader.settings;
        settings.extend(environment::settings(variable));
        settings.extend(self.command_line.iter().cloned());
        let resolved = Effective::resolve(self.defaults(), settings);
        let mut effective = resolved.map_err(|faults| Refusal {
            of_command_line: faults
                .iter()
                .any(|fault| matches!(fault.source, Source::CommandLine(_))),
            mistakes: faults.iter().map(ToString::to_string).collect(),
        })?;
        follow_amqp(&mut effective.config);
        if self.is_detached {
            let config = &mut effective.config;
            let in_data_dir = |name| {
                config
                    .data_dir
                    .as_ref()
                    .map(|directory| directory.join(name))
            };
            config.pid_file = config
                .pid_file
                .take()
                .or_else(|| in_data_dir("leveret.pid"));
        }
        Ok(effective)
    }

    fn defaults(&self) -> Config {
        let mut config = Config {
            data_dir: Some(DEFAULT_DATA_DIR.into()),
            http_port: Some(HTTP_PORT),
            prometheus_port: Some(PROMETHEUS_PORT),
            ..Config::default()
        };
        if self.is_detached {
            config.log.file = Some("leveret.log".into());
        }
        config
    }
}

/// HTTP is served where AMQP is: who keeps that to one address means the broker, and a broker on any free
/// port shall not be in the way of another.
fn follow_amqp(config: &mut Config) {
    if let [only] = config.bind.as_slice()
        && let Some(host) = host_of(only)
    {
        for ip in [&mut config.http_ip, &mut config.prometheus_ip] {
            ip.get_or_insert_with(|| host.to_owned());
        }
    }
    if config.port == 0 {
        for port in [&mut config.http_port, &mut config.prometheus_port] {
            if *port == Some(HTTP_PORT) || *port == Some(PROMETHEUS_PORT) {
                *port = Some(0);
            }
        }
    }
}

/// The host of an address to listen on; `None` for a port alone, or a Unix socket.
fn host_of(bind: &str) -> Option<&str> {
    let is_other = bind.parse::<u16>().is_ok() || bind.contains('/') || bind.starts_with("unix:");
    if is_other || bind.parse::<std::net::IpAddr>().is_ok() {
        return (!is_other).then_some(bind);
    }
    match bind.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => Some(host),
        _ => Some(bind),
    }
}

/// RabbitMQ's ports.
const HTTP_PORT: u16 = 15672;
const PROMETHEUS_PORT: u16 = 15692;

/// Collects what the files say.
#[derive(Default)]
struct Reader {
    settings: Vec<Setting>,
    mistakes: Vec<String>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
}

impl Reader {
    /// The main file, then those of conf.d.
    fn read_all(&mut self, named: Option<&Path>) {
        let main = match named {
            Some(file) => file.to_owned(),
            None => file_of_environment().unwrap_or_else(|| DEFAULT_FILE.into()),
        };
        let is_default = main == Path::new(DEFAULT_FILE);
        if !is_default || main.exists() {
            self.read(&main);
        }
        let conf_d = match variable("RABBITMQ_CONFIG_FILES").map(PathBuf::from) {
            Some(folder) if folder.is_dir() => folder.join("*.conf"),
            Some(pattern) => pattern,
            None => folder_of(&main).join("conf.d/*.conf"),
        };
        self.read_matching(&conf_d);
    }

    fn read(&mut self, path: &Path) {
        if self.open.iter().any(|open| open == path) || self.open.len() >= INCLUDES_MAX {
            let path = path.display();
            return self
                .mistakes
                .push(format!("{path}: included by itself, or too deep"));
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let path = path.display();
                return self
                    .mistakes
                    .push(format!("{path}: cannot be read: {error}"));
            }
        };
        let lines = match syntax::parse(&text) {
            Ok(lines) => lines,
            Err(misspelt) => {
                let path = path.display();
                let mistakes = misspelt.iter().map(|m| format!("{path}:{}: {m}", m.line));
                return self.mistakes.extend(mistakes);
            }
        };
        self.open.push(path.to_owned());
        for line in lines {
            match line.content {
                Content::Setting { key, value } => {
                    let path = path.to_owned();
                    let line = line.number;
                    let source = Source::File { path, line };
                    self.settings.push(Setting::new(key, value, source));
                }
                Content::Include(pattern) => self.read_matching(&folder_of(path).join(pattern)),
            }
        }
        self.open.pop();
    }

    /// A file, or those that fit a pattern in the last part of the path, in the order of their names.
    /// It is no mistake if none does.
    fn read_matching(&mut self, pattern: &Path) {
        let name = pattern.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains('*') {
            return self.read(pattern);
        }
        let entries = match fs::read_dir(folder_of(pattern)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                let folder = folder_of(pattern);
                let mistake = format!("{}: cannot be read: {error}", folder.display());
                return self.mistakes.push(mistake);
            }
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let fits = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            !file.starts_with('.') && fits(&name, &file)
        };
        for path in paths.filter(fits).collect::<BTreeSet<_>>() {
            self.read(&path);
        }
    }
}

/// Whether a name fits a pattern, in which a star stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, behind)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(index, _)| &rest[index..])
        .chain([""])
        .any(|rest| fits(behind, rest))
}

/// RabbitMQ's variable may leave out the ending.
fn file_of_environment() -> Option<PathBuf> {
    if let Some(path) = variable("LEVERET_CONFIG_FILE") {
        return Some(path.into());
    }
    let path = variable("RABBITMQ_CONFIG_FILE")?;
    let with_ending = PathBuf::from(format!("{path}.conf"));
    let path = PathBuf::from(path);
    Some(if path.exists() { path } else { with_ending })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    (!value.is_empty()).then_some(value)
}

const DEFAULT_FILE: &str = "/etc/leveret/leveret.conf";
const DEFAULT_DATA_DIR: &str = "leveret-data";

/// Files that include each other, one in the other.
const INCLUDES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn load(folder: &tempfile::TempDir) -> Result<Effective, Refusal> {
        Settings::new(Some(folder.path().join("main.conf")), Vec::new()).load()
    }

    #[test]
    fn files_are_read_in_their_order() {
        let folder = folder(&[
            (
                "main.conf",
                "heartbeat = 1\nchannel_max = 1\ninclude more.conf\nclosing_timeout = 1000",
            ),
            ("more.conf", "channel_max = 2\nclosing_timeout = 2000"),
            ("conf.d/20.conf", "heartbeat = 20"),
            ("conf.d/10.conf", "heartbeat = 10\nframe_max = 8192"),
            ("conf.d/30.conf.bak", "heartbeat = 30"),
        ]);
        let limits = load(&folder).unwrap().config.limits;
        assert_eq!(limits.heartbeat_seconds, 20);
        assert_eq!(limits.channel_max, 2);
        assert_eq!(limits.closing_timeout_ms, 1000);
        assert_eq!(limits.frame_max_bytes, 8192);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let empty = folder(&[]);
        let refusal = load(&empty).unwrap_err();
        assert!(
            refusal.mistakes[0].contains("main.conf: cannot be read"),
            "{refusal:?}"
        );

        let circle = folder(&[("main.conf", "include main.conf")]);
        let refusal = load(&circle).unwrap_err();
        assert!(
            refusal.mistakes[0].contains("included by itself"),
            "{refusal:?}"
        );

        let misspelt = folder(&[("main.conf", "# fine\nheartbeat: 10\nframe_max\n")]);
        let refusal = load(&misspelt).unwrap_err();
        assert_eq!(refusal.mistakes.len(), 2);
        assert!(
            refusal.mistakes[0].contains("main.conf:2: no 'key = value'"),
            "{refusal:?}"
        );
    }

    #[test]
    fn patterns_have_stars() {
        for (pattern, name) in [
            ("*.conf", "a.conf"),
            ("a*b*", "aXbY"),
            ("*", ""),
            ("a", "a"),
            ("*é", "xé"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.conf", "a.conf.bak"), ("a*", "ba"), ("*x*", "aa")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
