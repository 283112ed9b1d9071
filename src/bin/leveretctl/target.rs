//! Which broker is meant: the Unix socket in a data directory, or an address with credentials.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret::config::syntax::{self, Content};

use crate::arguments::Arguments;
use crate::failure::{EX_DATAERR, EX_USAGE, Failure};
use crate::tls::TlsFiles;

/// Where a broker answers.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// Whoever may open it is administrator.
    Socket(PathBuf),
    Tcp {
        host: String,
        port: u16,
        user: String,
        password: String,
        /// `None`: not encrypted.
        tls: Option<TlsFiles>,
    },
}

impl Target {
    /// What the command line and the environment say.
    ///
    /// # Errors
    /// It says both kinds at once, or the file with the password cannot be read.
    pub fn choose(arguments: &Arguments) -> Result<Target, Failure> {
        let is_tcp = arguments.login().is_some()
            || ["host", "port", "password", "password-file"]
                .iter()
                .chain(&TLS_OPTIONS)
                .any(|option| arguments.text(option).is_some());
        let is_local = ["socket", "data-dir"]
            .iter()
            .any(|option| arguments.text(option).is_some());
        if is_tcp && is_local {
            let text = "Error: --socket and --data-dir mean a broker on this machine, --host, --port, \
                        --user and --password one at an address: please say one";
            return Err(Failure::bare(EX_USAGE, text));
        }
        if !is_tcp {
            let socket = arguments.text("socket").map(PathBuf::from);
            return Ok(Target::Socket(
                socket.unwrap_or_else(|| data_directory(arguments).join(SOCKET_NAME)),
            ));
        }
        let place = Place::parse(arguments.text("host").unwrap_or("localhost"))?;
        let wants_tls = TLS_OPTIONS
            .iter()
            .any(|option| arguments.text(option).is_some());
        let tls = match place.is_tls || wants_tls {
            true => Some(tls_files(arguments)?),
            false => None,
        };
        let usual = if tls.is_some() { HTTPS_PORT } else { HTTP_PORT };
        Ok(Target::Tcp {
            host: place.host.to_owned(),
            port: arguments.port().or(place.port).unwrap_or(usual),
            user: arguments.login().unwrap_or("guest").to_owned(),
            password: password(arguments)?,
            tls,
        })
    }

    /// The header for it, with the end of its line; empty if there is none.
    pub fn authorization(&self) -> String {
        match self {
            Target::Socket(_) => String::new(),
            Target::Tcp { user, password, .. } => {
                let credentials = STANDARD.encode(format!("{user}:{password}"));
                format!("Authorization: Basic {credentials}\r\n")
            }
        }
    }

    /// What to tell who could not reach it.
    pub fn unreachable(&self, error: &io::Error) -> String {
        let (reasons, suggestion) = match self {
            Target::Socket(_) => (
                " * The broker is not running\n \
                 * Its data directory is another one (see --data-dir and LEVERET_DATA_DIR)\n \
                 * Only the user that runs the broker, and root, may open its socket",
                match error.kind() {
                    io::ErrorKind::PermissionDenied => "run this as the broker's user, or as root",
                    io::ErrorKind::NotFound => "start the broker, or name its data directory",
                    _ => "start the broker",
                },
            ),
            Target::Tcp { .. } => (
                " * The broker is not running\n \
                 * It does not listen for HTTP there (see management.tcp.port, management.ssl.port)\n \
                 * The host is unreachable (a name that is not known, a firewall)",
                match error.kind() {
                    io::ErrorKind::InvalidData => "see --tls, and name the authority with --ca",
                    _ => "start the broker, or name another host or port",
                },
            ),
        };
        let mut problem = error.to_string();
        if let Some(cut) = problem.find(" (os error") {
            problem.truncate(cut);
        }
        format!(
            "Error: unable to perform an operation on node '{self}'. Please see diagnostics information and suggestions below.\n\n\
             Most common reasons for this are:\n\n\
             {reasons}\n\n\
             DIAGNOSTICS\n===========\n\n\
             attempted to contact: [{self}]\n\n\
             {self}:\n  * {problem}\n  * suggestion: {suggestion}\n"
        )
    }
}

/// The socket's path, or host and port: never the credentials.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Socket(path) => write!(f, "{}", path.display()),
            Target::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// What `--host` says: `mq.example.org`, `https://mq.example.org:15671`, `[::1]:15672`.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    host: &'a str,
    port: Option<u16>,
    is_tls: bool,
}

impl Place<'_> {
    fn parse(text: &str) -> Result<Place<'_>, Failure> {
        let (rest, is_tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => (text, false),
        };
        let rest = rest.trim_end_matches('/');
        // An IPv6 address has colons of its own.
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (rest, None),
            },
        };
        let wrong = || Failure::bare(EX_USAGE, format!("Error: --host {text} is no host"));
        let port = port
            .map(|port| port.parse().map_err(|_| wrong()))
            .transpose()?;
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(Place { host, port, is_tls })
    }
}

fn tls_files(arguments: &Arguments) -> Result<TlsFiles, Failure> {
    let file = |option| arguments.text(option).map(PathBuf::from);
    let identity = match (file("cert"), file("key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => {
            let text =
                "Error: --cert and --key belong together: a certificate to show, and its key";
            return Err(Failure::bare(EX_USAGE, text));
        }
    };
    Ok(TlsFiles {
        authorities: file("ca"),
        identity,
    })
}

/// Where the broker of this machine keeps its data: as the broker itself decides it.
pub fn data_directory(arguments: &Arguments) -> PathBuf {
    let named = arguments.text("data-dir").map(PathBuf::from);
    named
        .or_else(|| variable("LEVERET_DATA_DIR"))
        .or_else(|| {
            let file = variable("LEVERET_CONFIG_FILE");
            configured(file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)))
        })
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DIRECTORY))
}

/// `data_dir` of a configuration file. One that cannot be read says nothing: it is the broker's
/// business to complain.
fn configured(file: &Path) -> Option<PathBuf> {
    let lines = syntax::parse(&fs::read_to_string(file).ok()?).ok()?;
    lines.into_iter().rev().find_map(|line| match line.content {
        Content::Setting { key, value } if key == "data_dir" => Some(PathBuf::from(value)),
        _ => None,
    })
}

fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// The password of the command line, of a file, of the environment, or the one that guest starts with.
fn password(arguments: &Arguments) -> Result<String, Failure> {
    if let Some(password) = arguments.text("password") {
        return Ok(password.to_owned());
    }
    let Some(file) = arguments.text("password-file") else {
        let variable = std::env::var("LEVERET_PASSWORD");
        return Ok(variable.unwrap_or_else(|_| "guest".to_owned()));
    };
    let read = match file {
        "-" => io::read_to_string(io::stdin()),
        file => fs::read_to_string(file),
    };
    let text = read
        .map_err(|error| Failure::new(EX_DATAERR, format!("the password file {file}: {error}")))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

const SOCKET_NAME: &str = "leveret.sock";
const HTTP_PORT: u16 = 15672;
const HTTPS_PORT: u16 = 15671;
/// Each of them means TLS.
const TLS_OPTIONS: [&str; 4] = ["tls", "ca", "cert", "key"];
/// Where the broker looks for its configuration, and what it does without one.
const DEFAULT_FILE: &str = "/etc/leveret/leveret.conf";
const DEFAULT_DIRECTORY: &str = "leveret-data";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_or_urls() {
        for (text, host, port, is_tls) in [
            ("localhost", "localhost", None, false),
            ("mq.example:1", "mq.example", Some(1), false),
            ("::1", "::1", None, false),
            ("[::1]", "::1", None, false),
            ("[::1]:15672", "::1", Some(15672), false),
            ("http://mq.example/", "mq.example", None, false),
            ("https://mq.example:443/", "mq.example", Some(443), true),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!(place, Place { host, port, is_tls }, "{text}");
        }
        for text in ["", "a:b", "https://", "https://a/api", "a:70000"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
