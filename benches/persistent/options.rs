//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::failure::{Failure, Result};
use crate::storage::Storage;
use crate::target::Target;
use crate::{ALL, Scenario};

pub enum Command {
    Measure(Options),
    /// Fill, restart and drain a deep queue of so many messages.
    Deep(Options, u64),
    Print(String),
}

pub struct Options {
    broker: Option<String>,
    pid: Option<u32>,
    peers: Vec<String>,
    seconds: Option<f64>,
    pub rounds: usize,
    pub scenarios: Vec<Scenario>,
    pub json: bool,
    data_dir: Option<PathBuf>,
    pub trace_syncs: bool,
}

pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let arguments: Vec<_> = arguments.collect();
    if arguments.is_empty() {
        // `cargo test --all-targets` starts benchmarks as well, and means no minutes of work.
        return Ok(Command::Print(
            "nothing measured: use cargo bench, or --bench".to_owned(),
        ));
    }
    let grammar = grammar();
    let matches = grammar
        .parse(arguments)
        .map_err(|error| Failure::new(error.to_string()))?;
    if matches.opt_present("help") {
        return Ok(Command::Print(grammar.usage(USAGE)));
    }
    if matches.opt_present("list") {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        return Ok(Command::Print(names.join("\n")));
    }
    let broker = matches.opt_str("broker").filter(|name| name != "leveret");
    let seconds = number::<f64>(&matches, "seconds")?;
    if seconds.is_some_and(|seconds| !(SECONDS_MIN..=SECONDS_LIMIT).contains(&seconds)) {
        return Err(Failure::new("--seconds is out of range"));
    }
    let options = Options {
        broker,
        pid: number(&matches, "pid")?,
        peers: matches.opt_strs("peer"),
        seconds,
        rounds: number(&matches, "rounds")?.unwrap_or(ROUNDS).max(1),
        scenarios: chosen(&matches.opt_strs("only"))?,
        json: matches.opt_present("json"),
        data_dir: matches.opt_str("data-dir").map(PathBuf::from),
        trace_syncs: matches.opt_present("trace-syncs"),
    };
    Ok(match number(&matches, "deep")? {
        Some(count) => Command::Deep(options, count),
        None => Command::Measure(options),
    })
}

impl Options {
    /// A directory on the disk to measure.
    pub fn storage(&self) -> Result<Storage> {
        Storage::new(self.data_dir.as_deref())
    }

    /// The broker under test and its peers; what has to be started is, and keeps its data
    /// in the storage.
    pub fn targets(&self, storage: &Storage) -> Result<Vec<Target>> {
        let mut targets = vec![match &self.broker {
            Some(endpoint) => Target::running(endpoint, self.pid)?,
            None => Target::start_leveret(&storage.path().join("data"))?,
        }];
        targets.extend(self.peers()?);
        Ok(targets)
    }

    pub fn peers(&self) -> Result<Vec<Target>> {
        let peers = self.peers.iter();
        peers.map(|peer| Target::running(peer, None)).collect()
    }

    /// How long to measure: as told, or so that all scenarios together stay within the budget.
    pub fn duration(&self, targets: usize) -> Duration {
        let runs = self.scenarios.len() * targets * self.rounds;
        let fair = (BUDGET_SECONDS / runs.max(1) as f64).min(SECONDS_MAX);
        Duration::from_secs_f64(self.seconds.unwrap_or(fair))
    }
}

fn grammar() -> getopts::Options {
    let mut grammar = getopts::Options::new();
    grammar
        .optopt(
            "",
            "broker",
            "what to measure: leveret, or a running broker",
            "leveret|ENDPOINT",
        )
        .optopt(
            "",
            "pid",
            "whose CPU and memory to read, with --broker ENDPOINT",
            "PID",
        )
        .optmulti(
            "",
            "peer",
            "another running broker, to compare with",
            "ENDPOINT",
        )
        .optopt("", "seconds", "measured time per scenario and round", "S")
        .optopt("", "rounds", "rounds of which to take the median (3)", "N")
        .optmulti("", "only", "scenarios whose names begin so", "PREFIX")
        .optopt(
            "",
            "data-dir",
            "where to make leveret's data directory (where temporary files go)",
            "DIR",
        )
        .optflag(
            "",
            "trace-syncs",
            "count sync calls with perf, which slows system calls a little",
        )
        .optopt(
            "",
            "deep",
            "measure a queue of so many messages instead: fill, restart, drain",
            "N",
        )
        .optflag("", "list", "name the scenarios")
        .optflag("", "json", "print JSON in place of the table")
        .optflag("h", "help", "print this")
        .optflag(
            "",
            "bench",
            "measure, with no other option needed (cargo bench adds it)",
        );
    grammar
}

fn number<T: std::str::FromStr>(matches: &getopts::Matches, name: &str) -> Result<Option<T>> {
    let text = matches.opt_str(name);
    let number = text.map(|text| text.parse()).transpose();
    number.map_err(|_| Failure::new(format!("--{name} wants a number")))
}

fn chosen(prefixes: &[String]) -> Result<Vec<Scenario>> {
    let wanted = |scenario: &&Scenario| {
        let begins = |prefix: &String| scenario.name.starts_with(prefix.as_str());
        prefixes.is_empty() || prefixes.iter().any(begins)
    };
    let chosen: Vec<_> = ALL.iter().filter(wanted).copied().collect();
    if chosen.is_empty() {
        return Err(Failure::new("no such scenario; --list names them"));
    }
    Ok(chosen)
}

const USAGE: &str = "\
Usage: cargo bench --bench persistent -- [OPTIONS]

ENDPOINT is [NAME=]HOST:PORT[:PID]; the broker there must let guest in.";
const ROUNDS: usize = 3;
/// Measured seconds of all scenarios, rounds and targets together; warm-ups come on top.
const BUDGET_SECONDS: f64 = 90.0;
const SECONDS_MAX: f64 = 2.0;
const SECONDS_MIN: f64 = 0.1;
const SECONDS_LIMIT: f64 = 600.0;
