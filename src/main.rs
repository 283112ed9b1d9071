//! The broker as a program: arguments, logging, signals, and the loop on the main thread.

mod arguments;

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use arguments::Request;
use leveret::Config;
use leveret::server::{Address, Server, raise_file_limit};
use leveret::store;
use log::LevelFilter;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Serve { config, level }) => {
            start_logging(level);
            match serve(*config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    log::error!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        Ok(Request::Check(directory)) => check(&directory),
        Ok(Request::Print(text)) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            let _ = writeln!(io::stderr(), "leveret: {mistake} (try 'leveret --help')");
            ExitCode::from(EX_USAGE)
        }
    }
}

fn serve(config: Config) -> io::Result<()> {
    raise_file_limit();
    let mut server = Server::bind(config)?;
    server.stop_on_signals()?;
    let addresses: Vec<_> = server.addresses().iter().map(Address::to_string).collect();
    say(&format!("ready amqp={}\n", addresses.join(",")));
    server.run()
}

/// What a stopped broker's directory holds; whether all of it is as it was stored.
fn check(directory: &Path) -> ExitCode {
    match store::check(directory) {
        Ok(inspection) => {
            say(&format!("{inspection}\n"));
            ExitCode::from(u8::from(!inspection.is_whole()))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "leveret: {error}");
            ExitCode::FAILURE
        }
    }
}

/// To standard output, which may be closed: nobody listening is no reason to stop.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let result = stdout.write_all(text.as_bytes());
    if let Err(error) = result.and_then(|()| stdout.flush()) {
        log::debug!("standard output: {error}");
    }
}

/// Our own lines at the level asked for, those of libraries only when they warn.
fn start_logging(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        .filter_module("leveret", level)
        .format(|line, record| {
            let time = line.timestamp_millis();
            let target = record.target().rsplit("::").next().unwrap_or_default();
            writeln!(
                line,
                "{time} {:5} {target}: {}",
                record.level(),
                OneLine(record.args())
            )
        })
        .init();
    // As a line of the log, with its place; the release profile then aborts.
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}

/// Text that peers had a say in, kept to its line: names may hold line ends, and must not be able to
/// pass for lines of the log.
struct OneLine<'a>(&'a fmt::Arguments<'a>);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let last = piece.chars().next_back().filter(|last| last.is_control());
            let plain = &piece[..piece.len() - last.map_or(0, char::len_utf8)];
            self.0.write_str(plain)?;
            if let Some(control) = last {
                write!(self.0, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}

/// sysexits.h, as RabbitMQ's tools use it.
const EX_USAGE: u8 = 64;
