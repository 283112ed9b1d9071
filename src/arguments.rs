//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use getopts::{Matches, Options};
use leveret::Config;
use log::LevelFilter;

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    Serve {
        config: Box<Config>,
        level: LevelFilter,
    },
    /// Say what a stopped broker's data directory holds.
    Check(PathBuf),
    /// Print this and be done.
    Print(String),
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<Request, String> {
    let options = options();
    let matches = options
        .parse(arguments)
        .map_err(|error| error.to_string())?;
    if matches.opt_present("help") {
        return Ok(Request::Print(help(&options)));
    }
    if matches.opt_present("version") {
        return Ok(Request::Print(VERSION.to_owned()));
    }
    if let Some(surplus) = matches.free.first() {
        return Err(format!("unexpected argument '{surplus}'"));
    }
    if let Some(directory) = matches.opt_str("check") {
        return Ok(Request::Check(PathBuf::from(directory)));
    }
    Ok(Request::Serve {
        level: level(&matches)?,
        config: Box::new(config(&matches)?),
    })
}

fn config(matches: &Matches) -> Result<Config, String> {
    let mut config = Config {
        bind: matches.opt_strs("bind"),
        data_dir: Some(data_dir(matches)),
        http_port: port(matches, "http-port")?,
        ..Config::default()
    };
    if let Some(port) = port(matches, "port")? {
        config.port = port;
    }
    Ok(config)
}

fn data_dir(matches: &Matches) -> PathBuf {
    let given = matches.opt_str("data-dir");
    PathBuf::from(given.as_deref().unwrap_or(DEFAULT_DATA_DIR))
}

fn port(matches: &Matches, option: &str) -> Result<Option<u16>, String> {
    let Some(text) = matches.opt_str(option) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(format!(
            "--{option} wants a number from 0 to 65535, not '{text}'"
        )),
    }
}

fn level(matches: &Matches) -> Result<LevelFilter, String> {
    let Some(text) = matches.opt_str("log-level") else {
        return Ok(LevelFilter::Info);
    };
    text.parse().map_err(|_| {
        format!("--log-level wants one of error, warn, info, debug and trace, not '{text}'")
    })
}

fn options() -> Options {
    let mut options = Options::new();
    options
        .optmulti(
            "b",
            "bind",
            "listen on this IP address or host name, with its own port if one follows \
             (127.0.0.1:5673), or on a Unix socket (unix:/path); may be given again \
             (default: all addresses, IPv6 and IPv4)",
            "ADDR",
        )
        .optopt(
            "p",
            "port",
            "AMQP port; 0 picks a free one (default: 5672)",
            "N",
        )
        .optopt(
            "d",
            "data-dir",
            "where durable queues and persistent messages live (default: leveret-data, here)",
            "DIR",
        )
        .optopt(
            "",
            "check",
            "say what this data directory of a stopped broker holds and whether it is sound, \
             without changing it, and exit",
            "DIR",
        )
        .optopt(
            "",
            "http-port",
            "port of the management API; accepted, but nothing answers there yet",
            "N",
        )
        .optopt(
            "l",
            "log-level",
            "error, warn, info, debug or trace (default: info); the log goes to standard error",
            "L",
        )
        .optflag("h", "help", "print this and exit")
        .optflag("V", "version", "print the version and exit");
    options
}

fn help(options: &Options) -> String {
    let brief = "leveret, a RabbitMQ-compatible message broker (AMQP 0-9-1)\n\n\
                 Usage: leveret [OPTIONS]";
    let mut text = options.usage(brief);
    text.push_str(AFTERWORD);
    text
}

const DEFAULT_DATA_DIR: &str = "leveret-data";

const VERSION: &str = concat!("leveret ", env!("CARGO_PKG_VERSION"), "\n");

const AFTERWORD: &str = "
Once it accepts connections, it prints one line: ready amqp=ADDRESS[,ADDRESS...]
SIGTERM and SIGINT stop it gracefully, a second one at once.
Exit status: 0 stopped as asked, or sound; 1 could not start or go on, or the
directory to check is damaged; 64 usage error; 74 the disk failed.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace())
    }

    fn serve(line: &str) -> (Config, LevelFilter) {
        match parse_line(line) {
            Ok(Request::Serve { config, level }) => (*config, level),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let (config, level) = serve("");
        assert!(config.bind.is_empty());
        assert_eq!(config.port, 5672);
        assert_eq!(config.data_dir, Some(PathBuf::from(DEFAULT_DATA_DIR)));
        assert_eq!(config.http_port, None);
        assert_eq!(level, LevelFilter::Info);
    }

    #[test]
    fn a_directory_to_check_is_not_served() {
        match parse_line("--check /var/lib/leveret") {
            Ok(Request::Check(directory)) => {
                assert_eq!(directory, PathBuf::from("/var/lib/leveret"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_said_arrives() {
        let (config, level) = serve(
            "--bind 127.0.0.1 --bind=unix:/run/l.sock --port 0 --data-dir /var/lib/leveret \
             --http-port 15672 --log-level debug",
        );
        assert_eq!(config.bind, ["127.0.0.1", "unix:/run/l.sock"]);
        assert_eq!(config.port, 0);
        assert_eq!(config.data_dir, Some("/var/lib/leveret".into()));
        assert_eq!(config.http_port, Some(15672));
        assert_eq!(level, LevelFilter::Debug);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, mention) in [
            ("--port x", "--port wants a number from 0 to 65535, not 'x'"),
            ("--port 65536", "65536"),
            ("--http-port -1", "-1"),
            ("--log-level loud", "loud"),
            ("--frobnicate", "frobnicate"),
            ("--port", "port"),
            ("--port 1 --port 2", "port"),
            ("start", "unexpected argument 'start'"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(mention), "{line}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn help_and_version_are_printed() {
        let Ok(Request::Print(help)) = parse_line("--help") else {
            panic!("no help");
        };
        for word in [
            "--bind",
            "--port",
            "--data-dir",
            "--http-port",
            "--log-level",
        ] {
            assert!(help.contains(word), "{word}");
        }
        assert!(
            help.lines().all(|line| line.chars().count() <= 80),
            "{help}"
        );
        assert!(matches!(parse_line("-V"), Ok(Request::Print(text)) if text == VERSION));
    }
}
