//! A broker in the background (RabbitMQ: `rabbitmq-server -detached`).
//!
//! The process starts itself once more and waits for the new one to be ready, so that whoever waits for
//! it knows how that went. Forking is not an option: it is unsafe in a program that may have threads.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdout};

/// Set for the process in the background.
const VARIABLE: &str = "LEVERET_DETACHED";

/// What became of it.
pub enum Outcome {
    /// Its line for scripts.
    Ready(String),
    /// It ended before; its exit code. It has said why on standard error.
    Ended(u8),
}

/// Starts a broker with these arguments in the background.
///
/// # Errors
/// It cannot be started at all.
pub fn start(arguments: &[String]) -> io::Result<Outcome> {
    let mut child = Command::new(env::current_exe()?)
        .args(arguments)
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.is_empty() {
        let code = child.wait()?.code();
        let code = code.and_then(|code| u8::try_from(code).ok());
        return Ok(Outcome::Ended(code.unwrap_or(1)));
    }
    Ok(Outcome::Ready(line))
}

/// Whether this is the process in the background.
pub fn is_detached() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Leaves the terminal's session, whose end would be ours.
pub fn leave_terminal() {
    // Fails only if there is nothing to leave.
    let _ = setsid();
}

/// Lets go of the terminal itself, once it was told how the start went.
///
/// # Errors
/// There is no `/dev/null`.
pub fn leave_standard_streams() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
