//! The command line.

use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use getopts::{Matches, Options};
use leveret::config::sources::{Setting, Source};
use log::LevelFilter;

use crate::settings::Settings;

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    Serve(Settings),
    /// Start a broker in the background, with these arguments.
    Detach(Vec<String>),
    /// Print the configuration that is in effect.
    PrintConfig(Settings),
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
    let arguments: Vec<_> = arguments
        .into_iter()
        .map(|a| a.as_ref().to_owned())
        .collect();
    // RabbitMQ's spelling, which would be the options d, e, t and so on.
    let spelt = arguments.iter().map(|argument| match argument.to_str() {
        Some("-detached") => OsStr::new("--detached"),
        _ => argument.as_os_str(),
    });
    let matches = options.parse(spelt).map_err(|error| error.to_string())?;
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
    let settings = Settings::new(
        matches.opt_str("config").map(PathBuf::from),
        settings(&matches)?,
    );
    if matches.opt_present("print-config") {
        return Ok(Request::PrintConfig(settings));
    }
    if matches.opt_present("detached") {
        let rest = arguments.iter().filter_map(|argument| argument.to_str());
        let rest = rest.filter(|argument| !["-detached", "--detached"].contains(argument));
        return Ok(Request::Detach(rest.map(str::to_owned).collect()));
    }
    Ok(Request::Serve(settings))
}

/// What options say about keys of the configuration.
fn settings(matches: &Matches) -> Result<Vec<Setting>, String> {
    let mut settings = listeners(matches)?;
    let mut add = |key, value, option| {
        settings.push(Setting::new(key, value, Source::CommandLine(option)));
    };
    if let Some(port) = port(matches, "http-port")? {
        add("management.tcp.port", port.to_string(), "--http-port");
    }
    if let Some(directory) = matches.opt_str("data-dir") {
        add("data_dir", directory, "--data-dir");
    }
    if let Some(microseconds) = matches.opt_str("spin") {
        add("spin", microseconds, "--spin");
    }
    if let Some(path) = matches.opt_str("pid-file") {
        add("pid_file", path, "--pid-file");
    }
    if let Some(path) = matches.opt_str("log-file") {
        add("log.file", path, "--log-file");
    }
    if let Some(level) = level(matches)? {
        for key in ["log.default.level", "log.console.level", "log.file.level"] {
            add(key, level.as_str().to_ascii_lowercase(), "--log-level");
        }
    }
    Ok(settings)
}

/// `--bind` and `--port` together stand for all that a file may say about listening.
fn listeners(matches: &Matches) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    let port = port(matches, "port")?;
    if let Some(port) = port {
        settings.push(Setting::new(
            "port",
            port.to_string(),
            Source::CommandLine("--port"),
        ));
    }
    let addresses = matches.opt_strs("bind");
    if let (Some(port), true) = (port, addresses.is_empty()) {
        let source = Source::CommandLine("--port");
        settings.push(Setting::new(
            "listeners.tcp.default",
            port.to_string(),
            source,
        ));
    }
    for (index, address) in addresses.into_iter().enumerate() {
        // In a file, what is behind the last colon is the port.
        let is_bare = address.parse::<Ipv6Addr>().is_ok();
        let address = if is_bare {
            format!("[{address}]")
        } else {
            address
        };
        let key = format!("listeners.tcp.{}", index + 1);
        settings.push(Setting::new(key, address, Source::CommandLine("--bind")));
    }
    Ok(settings)
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

fn level(matches: &Matches) -> Result<Option<LevelFilter>, String> {
    let Some(text) = matches.opt_str("log-level") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(level) => Ok(Some(level)),
        Err(_) => Err(format!(
            "--log-level wants one of error, warn, info, debug and trace, not '{text}'"
        )),
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options
        .optopt(
            "c",
            "config",
            "configuration file, in rabbitmq.conf's syntax; those of conf.d beside it are read, too \
             (default: /etc/leveret/leveret.conf, if it is there)",
            "FILE",
        )
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
            "spin",
            "look for more to do for so many microseconds before sleeping: lower latency, for \
             processor time (default: 0)",
            "US",
        )
        .optopt(
            "",
            "http-port",
            "port of the management API and page; 0 picks a free one (default: 15672)",
            "N",
        )
        .optopt(
            "l",
            "log-level",
            "error, warn, info, debug or trace (default: info)",
            "L",
        )
        .optopt(
            "",
            "log-file",
            "log to this file instead of standard error; SIGHUP opens it anew",
            "FILE",
        )
        .optopt("", "pid-file", "write the process id to this file", "FILE")
        .optflag(
            "",
            "detached",
            "start in the background (also -detached), and return when it accepts connections",
        )
        .optflag(
            "",
            "print-config",
            "print the configuration that is in effect, and where each value came from, and exit",
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

const VERSION: &str = concat!("leveret ", env!("CARGO_PKG_VERSION"), "\n");

const AFTERWORD: &str = "
Once it accepts connections, it prints one line:
ready amqp=ADDRESS[,ADDRESS...] http=ADDRESS metrics=ADDRESS
SIGTERM and SIGINT stop it gracefully, a second one at once. SIGHUP reads the
configuration again and opens the log file anew, SIGUSR1 logs what it is doing.
Options win over the environment (RABBITMQ_DEFAULT_USER, LEVERET_DATA_DIR, ...),
that over files.
Exit status: 0 stopped as asked, or sound; 1 could not start or go on, or the
directory to check is damaged; 64 usage error; 74 the disk failed; 78 the
configuration cannot be.
";

#[cfg(test)]
mod tests {
    use leveret::Config;
    use leveret::config::sources::Effective;

    use super::*;

    fn parse_line(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace())
    }

    fn config(line: &str) -> Config {
        let Ok(Request::Serve(settings)) = parse_line(line) else {
            panic!("{line}");
        };
        let settings = settings.command_line().to_vec();
        Effective::resolve(Config::default(), settings)
            .unwrap()
            .config
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        assert_eq!(config(""), Config::default());
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
        let config = config(
            "--bind 127.0.0.1 --bind=unix:/run/l.sock --bind ::1 --port 0 --data-dir /var/lib/leveret \
             --http-port 15672 --log-level debug --log-file l.log --pid-file l.pid",
        );
        assert_eq!(config.bind, ["127.0.0.1", "unix:/run/l.sock", "[::1]"]);
        assert_eq!(config.port, 0);
        assert_eq!(config.data_dir, Some("/var/lib/leveret".into()));
        assert_eq!(config.http_port, Some(15672));
        assert_eq!(config.log.levels[0], Some(LevelFilter::Debug));
        assert_eq!(config.log.file, Some("l.log".into()));
        assert_eq!(config.pid_file, Some("l.pid".into()));
    }

    #[test]
    fn a_port_alone_is_for_all_addresses() {
        assert_eq!(config("--port 7").bind, ["7"]);
    }

    #[test]
    fn rabbitmqs_detached_is_an_option() {
        for line in ["-detached -p 1", "-p 1 --detached"] {
            match parse_line(line) {
                Ok(Request::Detach(rest)) => assert_eq!(rest, ["-p", "1"]),
                other => panic!("{other:?}"),
            }
        }
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
            "--config",
            "--print-config",
            "--bind",
            "--port",
            "--data-dir",
            "--http-port",
            "--log-level",
            "--detached",
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
