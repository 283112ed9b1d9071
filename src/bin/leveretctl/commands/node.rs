//! The broker as a process: whether it is there, stopping it, and what may be set while it runs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::failure::{EX_DATAERR, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE, Failure};
use crate::output::Output;
use crate::session::{REQUEST_SECONDS, Session};

use super::bad_argument;

pub fn ping(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let wait = match session.timeout_seconds(REQUEST_SECONDS) {
        Some(seconds) => format!("{} ms", seconds * 1000),
        None => "infinity".to_owned(),
    };
    session.banner(&format!(
        "Will ping {node}. This only checks that the broker answers. Timeout: {wait}."
    ))?;
    Ok(Output::text("Ping succeeded"))
}

/// Waits until the broker answers.
pub fn await_startup(session: &mut Session) -> Result<Output, Failure> {
    let seconds = session.timeout_seconds(STARTUP_SECONDS);
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    while session.connect().is_err() {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(session.timed_out(seconds.unwrap_or_default()));
        }
        thread::sleep(POLL_INTERVAL);
    }
    session.node().map(|_| Output::Nothing)
}

/// Waits until a process is there, by its file or its number, and until the broker answers.
pub fn wait(session: &mut Session) -> Result<Output, Failure> {
    let seconds = session.timeout_seconds(WAIT_SECONDS);
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let file = session.optional(0);
    if let Some(file) = &file {
        session.say(&format!("Waiting for pid file '{file}' to appear"));
    }
    let pid = loop {
        let pid = match &file {
            Some(file) => pid_in(Path::new(file)),
            None => session.arguments.integer("pid").and_then(to_pid),
        };
        match pid {
            Some(pid) => break pid,
            None if is_late() || file.is_none() => {
                return Err(session.timed_out(seconds.unwrap_or_default()));
            }
            None => thread::sleep(POLL_INTERVAL),
        }
    };
    let number = pid.as_raw_nonzero();
    if file.is_some() {
        session.say(&format!("pid is {number}"));
    }
    let target = session.target().to_string();
    session.say(&format!(
        "Waiting for the broker at '{target}' to start while OS process '{number}' is running"
    ));
    while session.connect().is_err() {
        if !is_alive(pid) {
            let text = format!("Error: process {number} is not running");
            return Err(Failure::bare(EX_UNAVAILABLE, text));
        }
        if is_late() {
            return Err(session.timed_out(seconds.unwrap_or_default()));
        }
        thread::sleep(POLL_INTERVAL);
    }
    let node = session.node()?;
    session.say(&format!(
        "Applications 'rabbit_and_plugins' are running on node '{node}'"
    ));
    Ok(Output::Nothing)
}

pub fn check_wait(arguments: &Arguments) -> Result<(), (u8, String)> {
    let pid = arguments.integer("pid");
    match (arguments.words.len() > 1, pid) {
        (false, None) => Err((EX_USAGE, "\"No pid or pidfile specified\"".to_owned())),
        (true, Some(_)) => Err((
            EX_USAGE,
            "\"Cannot specify both pid and pidfile\"".to_owned(),
        )),
        (false, Some(pid)) if to_pid(pid).is_none() => Err(bad_argument("Invalid pid")),
        _ => Ok(()),
    }
}

pub fn stop(session: &mut Session) -> Result<Output, Failure> {
    if session.connect().is_err() && session.arguments.has("idempotent") {
        let target = session.target().to_string();
        session.say(&format!("No broker is running at {target}"));
        return Ok(Output::Nothing);
    }
    let status = session.status()?;
    let node = status["node"].as_str().unwrap_or_default();
    session.say(&format!("Stopping and halting node {node} ..."));
    let pid = session.optional(0).map(|file| {
        let pid = pid_in(Path::new(&file));
        pid.ok_or_else(|| Failure::new(EX_DATAERR, format!("{file} holds no process id")))
    });
    let pid = pid.transpose()?;
    session.post("/api/leveret/stop", &json!({"wait": pid.is_some()}))?;
    if let Some(pid) = pid {
        wait_for_end(session, pid)?;
    }
    Ok(Output::Nothing)
}

pub fn shutdown(session: &mut Session) -> Result<Output, Failure> {
    let status = session.status()?;
    let node = status["node"].as_str().unwrap_or_default();
    let pid = status["pid"].as_i64().and_then(to_pid);
    let number = status["pid"].as_i64().unwrap_or_default();
    session.say(&format!(
        "Shutting down leveret node {node} running at PID {number}"
    ));
    session.post("/api/leveret/stop", &json!({"wait": true}))?;
    let is_local = matches!(session.target(), crate::target::Target::Socket(_));
    let Some(pid) = pid.filter(|_| is_local && !session.arguments.is_negated("wait")) else {
        return Ok(Output::Nothing);
    };
    session.say(&format!("Waiting for PID {number} to terminate"));
    wait_for_end(session, pid)?;
    Ok(Output::text(format!(
        "leveret node {node} running at PID {number} successfully shut down"
    )))
}

/// The process stays, but speaks with nobody but us.
pub fn stop_app(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Stopping rabbit application on node {node} ..."))?;
    session.post("/api/leveret/listeners", &json!({"accepting": false}))?;
    let everybody = json!({"user": null, "vhost": null, "reason": "shutdown"});
    session.post("/api/leveret/close-connections", &everybody)?;
    Ok(Output::Nothing)
}

pub fn start_app(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Starting node {node} ..."))?;
    session.post("/api/leveret/listeners", &json!({"accepting": true}))?;
    Ok(Output::Nothing)
}

pub fn suspend_listeners(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"
    ))?;
    session.post("/api/leveret/listeners", &json!({"accepting": false}))?;
    Ok(Output::Nothing)
}

pub fn resume_listeners(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!(
        "Will resume client connection listeners on node {node}. The node will now accept client connections"
    ))?;
    session.post("/api/leveret/listeners", &json!({"accepting": true}))?;
    Ok(Output::Nothing)
}

pub fn reset(session: &mut Session) -> Result<Output, Failure> {
    reset_with(session, false)
}

pub fn force_reset(session: &mut Session) -> Result<Output, Failure> {
    reset_with(session, true)
}

fn reset_with(session: &mut Session, force: bool) -> Result<Output, Failure> {
    let status = session.status()?;
    // Suspended listeners and stop_app are the same to the broker.
    if status["is_under_maintenance"] != true {
        let text = format!(
            "Error: this command requires the 'rabbit' app to be stopped on the target node. Stop it with '{} stop_app'.",
            session.tool.name()
        );
        return Err(Failure::bare(EX_USAGE, text));
    }
    let node = status["node"].as_str().unwrap_or_default();
    session.say(&match force {
        true => format!("Forcefully resetting node {node} ..."),
        false => format!("Resetting node {node} ..."),
    });
    session.post("/api/leveret/reset", &json!({"force": force}))?;
    Ok(Output::Nothing)
}

pub fn set_cluster_name(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Setting cluster name to {name} ..."))?;
    session.put("/api/cluster-name", &json!({"name": name}))?;
    Ok(Output::Nothing)
}

pub fn set_log_level(session: &mut Session) -> Result<Output, Failure> {
    let level = session.argument(0);
    if !LOG_LEVELS.contains(&level.as_str()) {
        return Err(Failure::unavailable(format!(
            "level {level} is not supported. Try one of {}",
            LOG_LEVELS.join(", ")
        )));
    }
    session.banner(&format!("Setting log level to \"{level}\" ..."))?;
    let category = session.arguments.text("category");
    let body = json!({"level": level, "category": category});
    session.post("/api/leveret/log-level", &body)?;
    Ok(Output::Nothing)
}

pub fn rotate_logs(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    session.banner(&format!("Rotating logs of node {node} ..."))?;
    session.post("/api/leveret/rotate-logs", &json!({}))?;
    Ok(Output::Nothing)
}

pub fn set_memory_watermark(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let (fraction, absolute) = (session.argument(0), session.optional(1));
    let body = match absolute {
        Some(limit) => {
            session.banner(&format!(
                "Setting memory threshold on {node} to {limit} bytes ..."
            ))?;
            json!({"memory_absolute": limit})
        }
        None => {
            session.banner(&format!(
                "Setting memory threshold on {node} to {fraction} ..."
            ))?;
            json!({"memory_relative": number(&fraction)})
        }
    };
    session.post("/api/leveret/watermark", &body)?;
    Ok(Output::Nothing)
}

pub fn check_memory_watermark(arguments: &Arguments) -> Result<(), (u8, String)> {
    let words: Vec<&str> = arguments.words.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["absolute", limit] if is_size(limit) => Ok(()),
        ["absolute"] => Err((EX_USAGE, "not enough arguments.".to_owned())),
        ["absolute", _] => Err(bad_argument("")),
        [_, _] => Err((EX_USAGE, "too many arguments.".to_owned())),
        [fraction] => check_fraction(fraction),
        _ => Ok(()),
    }
}

pub fn set_disk_limit(session: &mut Session) -> Result<Output, Failure> {
    let node = session.node()?;
    let (limit, fraction) = (session.argument(0), session.optional(1));
    let body = match fraction {
        Some(fraction) => {
            session.banner(&format!(
                "Setting disk free limit on {node} to {fraction} times the total RAM ..."
            ))?;
            json!({"disk_relative": number(&fraction)})
        }
        None => {
            session.banner(&format!(
                "Setting disk free limit on {node} to {limit} bytes ..."
            ))?;
            json!({"disk_absolute": limit})
        }
    };
    session.post("/api/leveret/watermark", &body)?;
    Ok(Output::Nothing)
}

pub fn check_disk_limit(arguments: &Arguments) -> Result<(), (u8, String)> {
    let words: Vec<&str> = arguments.words.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["mem_relative", fraction] => match fraction.parse::<f64>() {
            Ok(fraction) if fraction >= 0.0 => Ok(()),
            _ => Err(bad_argument("")),
        },
        ["mem_relative"] => Err((EX_USAGE, "not enough arguments.".to_owned())),
        [_, _] => Err((EX_USAGE, "too many arguments.".to_owned())),
        [limit] if is_size(limit) => Ok(()),
        [_] => Err(bad_argument("")),
        _ => Ok(()),
    }
}

fn check_fraction(text: &str) -> Result<(), (u8, String)> {
    match text.parse::<f64>() {
        Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(()),
        Ok(_) => Err(bad_argument(
            "The threshold should be a fraction between 0.0 and 1.0",
        )),
        Err(_) => Err(bad_argument("")),
    }
}

/// Bytes, or a number with RabbitMQ's units: `50MB`, `4GiB`, `100k`.
fn is_size(text: &str) -> bool {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    text.len() > unit.len() && SIZE_UNITS.contains(&unit)
}

fn number(text: &str) -> Value {
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

fn pid_in(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    to_pid(text.trim().parse().ok()?)
}

fn to_pid(number: i64) -> Option<Pid> {
    let number: i32 = number.try_into().ok().filter(|number| *number > 0)?;
    Pid::from_raw(number)
}

/// Also one that we may not send signals to.
fn is_alive(pid: Pid) -> bool {
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

fn wait_for_end(session: &Session, pid: Pid) -> Result<(), Failure> {
    let seconds = session
        .timeout_seconds(STARTUP_SECONDS)
        .unwrap_or(u64::MAX / 2000);
    let patience = Duration::from_secs(seconds);
    let begin = Instant::now();
    while is_alive(pid) {
        if begin.elapsed() >= patience {
            let number = pid.as_raw_nonzero();
            let text = format!("Timed out waiting for PID {number} to terminate");
            return Err(Failure::new(EX_SOFTWARE, text));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

const LOG_LEVELS: [&str; 6] = ["debug", "info", "warning", "error", "critical", "none"];
const SIZE_UNITS: &[&str] = &[
    "", "k", "K", "kB", "KB", "kb", "kiB", "KiB", "Ki", "M", "MB", "mb", "MiB", "Mi", "G", "GB",
    "gb", "GiB", "Gi", "T", "TB", "tb", "TiB", "Ti", "P", "PB", "PiB", "Pi",
];
/// RabbitMQ's: a start may have much to read.
const STARTUP_SECONDS: u64 = 300;
const WAIT_SECONDS: u64 = 10;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(check: super::super::Check, line: &str) -> u8 {
        let arguments = Arguments::parse(line.split_whitespace().map(str::to_owned));
        check(&arguments).map_or_else(|(code, _)| code, |()| 0)
    }

    #[test]
    fn watermarks_are_fractions_or_sizes() {
        for (line, code) in [
            ("x 0.4", 0),
            ("x 1.4", EX_DATAERR),
            ("x -0.4", EX_DATAERR),
            ("x NaN", EX_DATAERR),
            ("x bogus", EX_DATAERR),
            ("x absolute 4GB", 0),
            ("x absolute 4000000", 0),
            ("x absolute bogus", EX_DATAERR),
            ("x absolute", EX_USAGE),
            ("x 0.4 0.5", EX_USAGE),
        ] {
            assert_eq!(check(check_memory_watermark, line), code, "{line}");
        }
    }

    #[test]
    fn disk_limits_are_sizes_or_fractions_of_memory() {
        for (line, code) in [
            ("x 50MB", 0),
            ("x 50000000", 0),
            ("x mem_relative 1.5", 0),
            ("x mem_relative -1", EX_DATAERR),
            ("x mem_relative", EX_USAGE),
            ("x bogus", EX_DATAERR),
        ] {
            assert_eq!(check(check_disk_limit, line), code, "{line}");
        }
    }

    #[test]
    fn one_waits_for_a_file_or_a_number() {
        assert_eq!(check(check_wait, "wait"), EX_USAGE);
        assert_eq!(check(check_wait, "wait f"), 0);
        assert_eq!(check(check_wait, "wait --pid 1"), 0);
        assert_eq!(check(check_wait, "wait --pid=-1"), EX_DATAERR);
        assert_eq!(check(check_wait, "wait f --pid 1"), EX_USAGE);
    }

    #[test]
    fn processes_are_there_or_not() {
        let ourselves = to_pid(std::process::id().into()).unwrap();
        assert!(is_alive(ourselves));
        assert!(!is_alive(to_pid(i32::MAX.into()).unwrap()));
        assert!(to_pid(0).is_none());
    }
}
