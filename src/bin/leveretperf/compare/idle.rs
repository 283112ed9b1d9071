//! What a broker takes before anything happens: memory, and the time from its start to its first accepted connection.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Plan;
use crate::client::failure::{Failure, Result};
use crate::outcome::{Figure, MIB};
use crate::process;
use crate::report::Report;
use crate::target::{Process, Target};

pub fn measure(plan: &Plan, targets: &[Target], report: &mut Report) -> Result<()> {
    for (index, target) in targets.iter().enumerate() {
        let bytes = target.pid.and_then(process::resident_bytes);
        let megabytes = bytes.map(|bytes| bytes as f64 / MIB);
        report.add(NAME, index, &[Figure::new("idle resident MiB", megabytes)]);
    }
    for text in &plan.started {
        let bad = || Failure::new(format!("not NAME=MILLISECONDS: {text}"));
        let (name, milliseconds) = text.split_once('=').ok_or_else(bad)?;
        let index = targets.iter().position(|target| target.name == name);
        let milliseconds: f64 = milliseconds.parse().map_err(|_| bad())?;
        report.add(NAME, index.ok_or_else(bad)?, &[start_figure(milliseconds)]);
    }
    if let Some(program) = &plan.leveret {
        for _ in 0..STARTS {
            report.add(NAME, 0, &[start_figure(start(program)?)]);
        }
    }
    Ok(())
}

/// Milliseconds from the start of the process, with a directory that is not there yet, to an accepted connection.
fn start(program: &Path) -> Result<f64> {
    let directory = std::env::temp_dir().join(format!("leveretperf-{}", std::process::id()));
    let mut command = Command::new(program);
    command.args(["--port", "0", "--bind", "127.0.0.1", "--log-level", "warn"]);
    command.arg("--data-dir").arg(&directory);
    let begun = Instant::now();
    let (process, address) = Process::start(command, "ready amqp=")?;
    TcpStream::connect_timeout(&address, PATIENCE)?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    drop(process);
    fs::remove_dir_all(&directory)?;
    Ok(milliseconds)
}

fn start_figure(milliseconds: f64) -> Figure {
    Figure::new("start to accept ms", Some(milliseconds))
}

pub const NAME: &str = "idle";
const STARTS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(5);
