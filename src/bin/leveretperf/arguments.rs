//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use getopts::{Matches, Options};

use crate::client::connection::Endpoint;
use crate::client::ledger::LINES_MAX;
use crate::client::message::{SEQUENCE_SIZE, STAMP_SIZE};
use crate::compare::Plan;
use crate::load::{Load, Routing};
use crate::scenarios::{ALL, Scenario};
use crate::target;

pub enum Request {
    Run(Single),
    Compare(Plan),
    /// Be the relay that comparisons start.
    Relay,
    Print(String),
}

/// One scenario, once.
pub struct Single {
    pub scenario: Scenario,
    /// The relay in place of a broker, if there is none.
    pub endpoint: Option<Endpoint>,
    pub pid: Option<u32>,
    pub load: Load,
    pub json: bool,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let arguments: Vec<_> = arguments.collect();
    let (single, compare) = (single_options(), compare_options());
    let command = arguments.first().map(String::as_str);
    match command {
        Some("relay") => Ok(Request::Relay),
        Some("compare") => {
            let matches = read(&compare, &arguments[1..])?;
            Ok(match matches.opt_present("help") {
                true => Request::Print(compare.usage(COMPARE_USAGE)),
                false => Request::Compare(plan(&matches)?),
            })
        }
        None | Some("-h" | "--help" | "help") => Ok(Request::Print(help(&single))),
        Some("-V" | "--version") => Ok(Request::Print(VERSION.to_owned())),
        Some(name) => {
            let found = ALL.iter().find(|(known, ..)| *known == name);
            let &(_, scenario, _) = found.ok_or_else(|| format!("no scenario '{name}'"))?;
            let matches = read(&single, &arguments[1..])?;
            Ok(match matches.opt_present("help") {
                true => Request::Print(help(&single)),
                false => Request::Run(single_run(scenario, &matches)?),
            })
        }
    }
}

fn read(options: &Options, arguments: &[String]) -> Result<Matches, String> {
    let matches = options
        .parse(arguments)
        .map_err(|error| error.to_string())?;
    match matches.free.first() {
        Some(surplus) => Err(format!("unexpected argument '{surplus}'")),
        None => Ok(matches),
    }
}

fn single_run(scenario: Scenario, matches: &Matches) -> Result<Single, String> {
    let load = load(scenario, matches)?;
    check(scenario, &load)?;
    let host = matches.opt_str("host").unwrap_or("localhost".to_owned());
    let port: u16 = number(matches, "port")?.unwrap_or(PORT);
    let place = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let text = |name, usual: &str| matches.opt_str(name).unwrap_or(usual.to_owned());
    let endpoint = match matches.opt_present("relay") {
        true => None,
        false => Some(Endpoint {
            address: target::resolve(&place).map_err(|failure| failure.to_string())?,
            user: text("user", "guest"),
            password: text("password", "guest"),
            virtual_host: text("vhost", "/"),
        }),
    };
    Ok(Single {
        scenario,
        endpoint,
        pid: number(matches, "pid")?,
        load,
        json: matches.opt_present("json"),
    })
}

fn load(scenario: Scenario, matches: &Matches) -> Result<Load, String> {
    let usual = scenario.default_load();
    let at_least_1 = |name: &str, usual: usize| {
        number(matches, name).map(|count: Option<usize>| count.unwrap_or(usual).max(1))
    };
    let seconds = number::<f64>(matches, "seconds")?.unwrap_or(usual.duration.as_secs_f64());
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        return Err(format!(
            "--seconds goes from {SECONDS_MIN} to {SECONDS_MAX}"
        ));
    }
    let rate = number::<f64>(matches, "rate")?;
    if rate.is_some_and(|rate| !(0.001..=1e9).contains(&rate)) {
        return Err("--rate wants messages per second".to_owned());
    }
    Ok(Load {
        body_size: number(matches, "size")?.unwrap_or(usual.body_size),
        publishers: at_least_1("publishers", usual.publishers)?,
        consumers: at_least_1("consumers", usual.consumers)?,
        queues: at_least_1("queues", usual.queues)?,
        confirm: number(matches, "confirm")?.or(usual.confirm),
        ack: number(matches, "ack")?.or(usual.ack),
        prefetch: number(matches, "prefetch")?.unwrap_or(usual.prefetch),
        persistent: matches.opt_present("persistent"),
        rate,
        duration: Duration::from_secs_f64(seconds),
        messages: number(matches, "messages")?.or(usual.messages),
        count: number(matches, "count")?.or(usual.count),
        routing: match matches.opt_str("exchange") {
            Some(name) => routing(&name)?,
            None => usual.routing,
        },
        bindings: number(matches, "bindings")?.unwrap_or(usual.bindings),
        http_port: number(matches, "http-port")?.unwrap_or(usual.http_port),
    })
}

/// What no scenario could make sense of.
fn check(scenario: Scenario, load: &Load) -> Result<(), String> {
    let size_min = match scenario {
        Scenario::Latency | Scenario::Onlookers => STAMP_SIZE,
        _ => SEQUENCE_SIZE,
    };
    let alone = [load.publishers, load.consumers] == [1, 1];
    let faults = [
        (
            load.body_size < size_min,
            "--size is too small for a message's number (8) and time (8, in latency)",
        ),
        (load.body_size > SIZE_MAX, "--size is at most 1 GiB"),
        (load.queues > QUEUES_MAX, "--queues is at most 10000"),
        (
            load.publishers > LINES_MAX / 4 || load.consumers > LINES_MAX / 4,
            "so many publishers or consumers are too many",
        ),
        (
            load.confirm == Some(0) || load.ack == Some(0),
            "--confirm and --ack begin at 1",
        ),
        (
            load.confirm.is_some_and(|window| window > WINDOW_MAX),
            "--confirm is at most 1000000",
        ),
        (
            load.prefetch > 0
                && load
                    .ack
                    .is_some_and(|every| every > u64::from(load.prefetch)),
            "--ack must not be larger than --prefetch: no more deliveries would come",
        ),
        (
            load.routing == Routing::Fanout && load.publishers > 1,
            "a fan-out has one publisher",
        ),
        (
            matches!(load.routing, Routing::Headers | Routing::Chain) && load.queues > 1,
            "this exchange has one queue here",
        ),
        (
            load.bindings > 0 && load.routing == Routing::Queue,
            "--bindings wants an --exchange",
        ),
        (
            matches!(scenario, Scenario::Latency | Scenario::Onlookers)
                && (!alone || load.confirm.is_some() || load.queues > 1),
            "latency has one publisher, one queue and one consumer, and no confirms",
        ),
    ];
    match faults.iter().find(|(is_so, _)| *is_so) {
        Some((_, text)) => Err((*text).to_owned()),
        None => Ok(()),
    }
}

fn routing(name: &str) -> Result<Routing, String> {
    match name {
        "default" => Ok(Routing::Queue),
        "direct" => Ok(Routing::Direct),
        "topic" => Ok(Routing::Topic),
        "headers" => Ok(Routing::Headers),
        "chain" => Ok(Routing::Chain),
        "fanout" => Ok(Routing::Fanout),
        _ => Err(format!("no exchange '{name}'")),
    }
}

fn plan(matches: &Matches) -> Result<Plan, String> {
    let targets = matches.opt_strs("target");
    if targets.is_empty() {
        return Err("compare wants a --target".to_owned());
    }
    Ok(Plan {
        targets,
        relay: !matches.opt_present("no-relay"),
        rounds: number(matches, "rounds")?,
        quick: matches.opt_present("quick"),
        only: matches.opt_strs("only"),
        budget: number::<u64>(matches, "budget")?.map(Duration::from_secs),
        started: matches.opt_strs("started"),
        leveret: matches.opt_str("leveret").map(PathBuf::from),
        out: matches.opt_str("out").map(PathBuf::from),
        json: matches.opt_present("json"),
    })
}

fn number<T: FromStr>(matches: &Matches, name: &str) -> Result<Option<T>, String> {
    let text = matches.opt_str(name);
    let number = text.map(|text| text.parse()).transpose();
    number.map_err(|_| format!("--{name} wants a number"))
}

fn single_options() -> Options {
    let mut options = Options::new();
    options
        .optopt("", "host", "where the broker is (localhost)", "HOST")
        .optopt("", "port", "its port (5672)", "PORT")
        .optopt("", "user", "who we are (guest)", "NAME")
        .optopt("", "password", "and how we prove it (guest)", "TEXT")
        .optopt("", "vhost", "the virtual host (/)", "NAME")
        .optopt(
            "",
            "pid",
            "the broker's process, for its CPU time and memory",
            "PID",
        )
        .optflag(
            "",
            "relay",
            "no broker, but a process that passes the bytes on: the machine's limit",
        )
        .optopt("", "seconds", "how long to measure (5)", "S")
        .optopt("", "messages", "stop after so many", "N")
        .optopt("", "count", "connections, cycles or queues", "N")
        .optopt("", "size", "bytes of a message (100)", "BYTES")
        .optopt("", "publishers", "connections that publish (1)", "N")
        .optopt("", "consumers", "connections that consume (1)", "N")
        .optopt("", "queues", "queues between them (1)", "N")
        .optopt(
            "",
            "confirm",
            "publisher confirms, with so many unconfirmed",
            "WINDOW",
        )
        .optopt(
            "",
            "ack",
            "acknowledge every so many deliveries; without, no-ack",
            "EVERY",
        )
        .optopt(
            "",
            "prefetch",
            "unacknowledged deliveries, 0 for no limit (1000)",
            "N",
        )
        .optflag("", "persistent", "persistent messages in durable queues")
        .optopt(
            "",
            "rate",
            "messages per second; without, as many as go",
            "N",
        )
        .optopt(
            "",
            "exchange",
            "default, direct, topic, headers, chain or fanout",
            "KIND",
        )
        .optopt(
            "",
            "bindings",
            "bindings of that exchange beside those that match (0)",
            "N",
        )
        .optopt(
            "",
            "http-port",
            "where its management API is, for onlookers (15672)",
            "PORT",
        )
        .optflag("", "json", "print JSON")
        .optflag("h", "help", "print this");
    options
}

fn compare_options() -> Options {
    let mut options = Options::new();
    options
        .optmulti(
            "",
            "target",
            "a running broker that lets guest in; the first is compared with the others",
            "NAME=HOST:PORT[:PID]",
        )
        .optflag(
            "",
            "no-relay",
            "leave out the relay, the machine's own limit",
        )
        .optopt(
            "",
            "rounds",
            "rounds of which to take the median (3; quick 1)",
            "N",
        )
        .optflag("", "quick", "everything in a minute")
        .optmulti("", "only", "scenarios whose names begin so", "PREFIX")
        .optopt(
            "",
            "budget",
            "stop taking rounds after so many seconds (540; quick 50)",
            "S",
        )
        .optmulti(
            "",
            "started",
            "how long a target took from its start to accepting",
            "NAME=MILLISECONDS",
        )
        .optopt(
            "",
            "leveret",
            "a leveret to start afresh, for how long the first target takes to start",
            "PROGRAM",
        )
        .optopt("", "out", "write a page with charts", "FILE")
        .optflag("", "json", "print JSON in place of the table")
        .optflag("h", "help", "print this");
    options
}

fn help(options: &Options) -> String {
    let mut usage = USAGE.to_owned();
    for (name, _, what) in ALL {
        usage.push_str(&format!("\n    {name:<12} {what}"));
    }
    usage.push_str(
        "\n    compare      all of that against several brokers in turn; see 'leveretperf compare --help'",
    );
    format!("{}{EXIT}", options.usage(&usage))
}

const USAGE: &str = "\
Usage: leveretperf SCENARIO [OPTIONS]

Puts a load on an AMQP 0-9-1 broker, checks every message, prints what it did and what it cost.

Scenarios:";
const COMPARE_USAGE: &str = "\
Usage: leveretperf compare --target NAME=HOST:PORT[:PID]... [OPTIONS]

Runs every scenario against every target in turn, so that a disturbance of the machine meets them all, and
prints medians, spreads and the first target's share of each other's.";
const EXIT: &str = "
Exit status: 0 when every message arrived, once and in order; 1 when one did not; 2 when the broker could not be
reached, refused something or fell silent; 64 for a mistake on the command line.
";
const VERSION: &str = concat!("leveretperf ", env!("CARGO_PKG_VERSION"));
const PORT: u16 = 5672;
const SECONDS_MIN: f64 = 0.1;
const SECONDS_MAX: f64 = 3600.0;
/// Consumer tags have four digits.
const QUEUES_MAX: usize = 10_000;
const WINDOW_MAX: u64 = 1_000_000;
const SIZE_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_scenario_is_named_first_and_options_change_its_load() {
        let request = parsed("fanout --queues 10 --size 16 --seconds 2 --host 127.0.0.1");
        let Ok(Request::Run(single)) = request else {
            panic!("it is valid");
        };
        assert_eq!(single.scenario, Scenario::Fanout);
        assert_eq!(single.load.queues, 10);
        assert_eq!(single.load.routing, Routing::Fanout);
        assert_eq!(single.load.duration, Duration::from_secs(2));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (line, reason) in [
            ("sing", "no scenario"),
            ("throughput --size 7", "too small"),
            ("throughput --ack 200 --prefetch 100", "--prefetch"),
            ("latency --confirm 10", "no confirms"),
            ("throughput --seconds 0", "--seconds"),
            ("throughput --bindings 5", "--exchange"),
            ("throughput more", "unexpected"),
            ("compare", "--target"),
        ] {
            let refused = parsed(line).err().unwrap_or_default();
            assert!(refused.contains(reason), "{line}: {refused}");
        }
    }
}
