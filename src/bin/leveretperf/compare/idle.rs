//! What a broker takes before anything happens: memory, and the time from its start to its first accepted connection.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{BROKER_CPU, Plan};
use crate::client::failure::{Failure, Result};
use crate::outcome::{Figure, MIB};
use crate::process;
use crate::report::Report;
use crate::target::{self, Process, Target};

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
            let fresh = start(program)?;
            report.add(NAME, 0, &[start_figure(fresh.milliseconds)]);
        }
    }
    Ok(())
}

/// A broker with nothing in it, which ends and leaves nothing behind when it is dropped.
pub struct Fresh {
    pub target: Target,
    /// From the start of the process, with a directory that is not there yet, to an accepted connection.
    pub milliseconds: f64,
    directory: PathBuf,
    process: Option<Process>,
}

pub fn start(program: &Path) -> Result<Fresh> {
    let directory = std::env::temp_dir().join(format!("leveretperf-{}", std::process::id()));
    let mut command = Command::new(program);
    command.args(["--port", "0", "--bind", "127.0.0.1", "--log-level", "warn"]);
    command.arg("--data-dir").arg(&directory);
    let begun = Instant::now();
    let (process, address) = Process::start(command, "ready amqp=")?;
    TcpStream::connect_timeout(&address, PATIENCE)?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    process::pin(process.id(), BROKER_CPU);
    Ok(Fresh {
        target: Target::broker("fresh", target::guest(address), Some(process.id())),
        milliseconds,
        directory,
        process: Some(process),
    })
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // The process goes first: it writes there.
        drop(self.process.take());
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn start_figure(milliseconds: f64) -> Figure {
    Figure::new("start to accept ms", Some(milliseconds))
}

pub const NAME: &str = "idle";
const STARTS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(5);
