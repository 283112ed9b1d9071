//! The broker as a program: arguments, configuration, logging, signals, and the loop on the main thread.

mod arguments;
mod detach;
mod host;
mod logging;
mod pid_file;
mod reload;
mod settings;
mod start_pages;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use arguments::Request;
use detach::Outcome;
use host::Program;
use leveret::config::sources::Effective;
use leveret::log_tap::LogTap;
use leveret::management::http::Door;
use leveret::server::{Address, Inherited, Notifier, Server, raise_file_limit};
use leveret::store;
use pid_file::PidFile;
use settings::Settings;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Serve(settings)) => start(settings),
        Ok(Request::Detach(arguments)) => start_detached(&arguments),
        Ok(Request::PrintConfig(settings)) => with_configuration(&settings, |effective| {
            for remark in &effective.remarks {
                complain(&remark.text);
            }
            say(&effective.print());
            ExitCode::SUCCESS
        }),
        Ok(Request::Check(directory)) => check(&directory),
        Ok(Request::Print(text)) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            complain(&format!("{mistake} (try 'leveret --help')"));
            ExitCode::from(EX_USAGE)
        }
    }
}

fn start(mut settings: Settings) -> ExitCode {
    if detach::is_detached() {
        detach::leave_terminal();
        settings = settings.detached();
    }
    with_configuration(&settings, |effective| {
        let tap = match logging::start(&effective.config) {
            Ok(tap) => tap,
            Err(error) => {
                complain(&error.to_string());
                return ExitCode::FAILURE;
            }
        };
        match serve(&settings, effective, tap) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log::error!("{error}");
                if detach::is_detached() {
                    complain(&error.to_string());
                }
                ExitCode::FAILURE
            }
        }
    })
}

fn serve(settings: &Settings, effective: Effective, tap: LogTap) -> io::Result<()> {
    let printed = effective.print();
    let Effective {
        config, remarks, ..
    } = effective;
    for remark in remarks {
        log::log!(remark.level, "{}", remark.text);
    }
    raise_file_limit();
    let mut server = Server::adopt(config.clone(), Inherited::from_environment()?)?;
    server.obey_signals(reload::reloading(settings.clone(), config.clone()))?;
    server.publish_log(tap);
    let files = settings
        .file()
        .into_iter()
        .map(|path| path.display().to_string());
    let program = Program::new(printed, files.collect(), config.clone());
    server.live_in(Box::new(program));
    server.notify(Notifier::from_environment());
    let pid_file = config.pid_file.as_deref().map(PidFile::write);
    let _pid_file = pid_file.transpose()?;
    say(&format!("{}\n", ready_line(&server)));
    if detach::is_detached() {
        detach::leave_standard_streams()?;
    }
    start_pages::unmap_soon();
    server.run()
}

/// `ready amqp=127.0.0.1:5672 http=127.0.0.1:15672 metrics=127.0.0.1:15692`
fn ready_line(server: &Server) -> String {
    let listed = |addresses: Vec<String>| addresses.join(",");
    let amqp = server.addresses().iter().map(Address::to_string);
    let mut line = format!("ready amqp={}", listed(amqp.collect()));
    if !server.tls_addresses().is_empty() {
        let tls = server.tls_addresses().iter().map(Address::to_string);
        line.push_str(&format!(" amqps={}", listed(tls.collect())));
    }
    for (door, name) in [(Door::Api, "http"), (Door::Metrics, "metrics")] {
        let web = server.web_addresses().into_iter();
        let web: Vec<_> = web
            .filter(|(d, _)| *d == door)
            .map(|(_, a)| a.to_string())
            .collect();
        if !web.is_empty() {
            line.push_str(&format!(" {name}={}", listed(web)));
        }
    }
    line
}

/// Starts a broker in the background, and returns when it is ready.
fn start_detached(arguments: &[String]) -> ExitCode {
    match detach::start(arguments) {
        Ok(Outcome::Ready(line)) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Ok(Outcome::Ended(code)) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("could not start in the background: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn with_configuration(settings: &Settings, act: impl FnOnce(Effective) -> ExitCode) -> ExitCode {
    match settings.load() {
        Ok(effective) => act(effective),
        Err(refusal) => {
            for mistake in &refusal.mistakes {
                complain(mistake);
            }
            ExitCode::from(if refusal.of_command_line {
                EX_USAGE
            } else {
                EX_CONFIG
            })
        }
    }
}

/// What a stopped broker's directory holds; whether all of it is as it was stored.
fn check(directory: &Path) -> ExitCode {
    match store::check(directory) {
        Ok(inspection) => {
            say(&format!("{inspection}\n"));
            ExitCode::from(u8::from(!inspection.is_whole()))
        }
        Err(error) => {
            complain(&error.to_string());
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

/// To standard error, where there is no log yet.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "leveret: {text}");
}

/// sysexits.h, as RabbitMQ's tools use it.
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;
