//! leveretperf: puts a measured load on any AMQP 0-9-1 broker, and tells what it did and what it cost.
//!
//! ```text
//! leveretperf throughput --size 100 --pid $(pidof leveret)
//! leveretperf latency --rate 10000 --host broker.example --user me --password secret
//! leveretperf compare --target leveret=127.0.0.1:5672:4711 --target rabbitmq=127.0.0.1:5673:4712 --out report.html
//! ```
//!
//! Every message is numbered, and every run checks that none was lost, came twice or out of order. What the broker
//! costs is read from `/proc`, if its process is here: processor time per message holds still where rates do not, and
//! is what to compare.
//!
//! Reading order: `scenarios/mod.rs`, `scenarios/throughput.rs`, `scenarios/path.rs`, then `client/`; `compare/` runs
//! scenarios against several brokers in turn.

mod arguments;
mod client;
mod compare;
mod load;
mod outcome;
mod process;
mod progress;
mod relay;
mod report;
mod scenarios;
mod target;

use std::io::Write;
use std::process::ExitCode;

use arguments::{Request, Single};
use client::failure::{Failure, Kind, Result};
use progress::Progress;
use target::Target;

fn main() -> ExitCode {
    let outcome = match arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Run(single)) => run(&single),
        Ok(Request::Compare(plan)) => compare::run(&plan),
        Ok(Request::Relay) => relay::run().map_err(Failure::from),
        Ok(Request::Print(text)) => {
            say(&text);
            Ok(())
        }
        Err(mistake) => {
            complain(&format!("{mistake} (try 'leveretperf --help')"));
            return ExitCode::from(EX_USAGE);
        }
    };
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    complain(&failure.to_string());
    ExitCode::from(match failure.kind {
        Kind::Promise => 1,
        Kind::Connection => 2,
    })
}

fn run(single: &Single) -> Result<()> {
    let target = match &single.endpoint {
        Some(endpoint) => Target::broker("broker", endpoint.clone(), single.pid),
        None => Target::start_relay()?,
    };
    let progress = Progress::new(scenarios::unit(single.scenario));
    let outcome = single.scenario.run(&target, &single.load, progress)?;
    say(&match single.json {
        true => report::json_of(&outcome.figures),
        false => report::lines_of(&outcome.figures),
    });
    Ok(())
}

/// To standard output, which may be closed: nobody listening is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "leveretperf: {text}");
}

/// sysexits.h.
const EX_USAGE: u8 = 64;
