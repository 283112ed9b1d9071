//! A guard against getting slower: how many instructions the protocol and the core spend on a message, counted by
//! valgrind, without sockets, clock or disk. Counts repeat to a thousandth where times do not.
//!
//! Expected counts stand in `tests/instructions.txt`, for one version of the compiler and the profile of tests; they are
//! not those of a release build, but grow when those do. A path that costs more than [`TOLERANCE`] above its count
//! fails; one that costs as much less is to be noted. `LEVERET_INSTRUCTIONS=update cargo test --test instructions`
//! writes what is counted. Without valgrind, or with another compiler, a line says so and nothing is counted.
//!
//! The test starts itself under valgrind, twice for each path, with few and with many batches of messages: the
//! difference is what the messages cost.

#[path = "instructions/driver.rs"]
mod driver;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use driver::PATHS;

#[test]
fn no_path_costs_more_instructions_than_it_did() {
    if let Some((path, batches)) = asked_for() {
        return driver::run(&path, batches);
    }
    let Some(compiler) = first_line(Command::new("rustc").arg("--version")) else {
        return eprintln!("instructions are not counted: no rustc to ask for its version");
    };
    if first_line(Command::new("valgrind").arg("--version")).is_none() {
        return eprintln!("instructions are not counted: no valgrind");
    }
    let update = std::env::var("LEVERET_INSTRUCTIONS").is_ok_and(|word| word == "update");
    let expected = std::fs::read_to_string(expectations()).unwrap_or_default();
    if !update && expected.lines().next() != Some(compiler.as_str()) {
        return eprintln!("instructions are not counted: they are known for another compiler");
    }
    let counts = count_all();
    if update {
        let mut text = format!("{compiler}\n");
        for (path, count) in PATHS.iter().zip(counts) {
            writeln!(text, "{path:<28}{count:>8}").expect("text grows");
        }
        std::fs::write(expectations(), text).expect("the repository can be written");
        return;
    }
    let mut faults = Vec::new();
    for (path, count) in PATHS.iter().zip(counts) {
        let known = expected.lines().find_map(|line| line.strip_prefix(path));
        let Some(known) = known.and_then(|rest| rest.trim().parse::<f64>().ok()) else {
            faults.push(format!("{path} is not in {}", expectations().display()));
            continue;
        };
        let change = count as f64 / known - 1.0;
        eprintln!(
            "{path:<28}{count:>8} instructions, {:+.1} %",
            change * 100.0
        );
        if change > TOLERANCE {
            faults.push(format!("{path}: {count} instructions instead of {known}"));
        } else if change < -TOLERANCE {
            eprintln!("    that is less: note it with LEVERET_INSTRUCTIONS=update");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Instructions for each message of each path.
fn count_all() -> Vec<u64> {
    std::thread::scope(|scope| {
        let counting: Vec<_> = PATHS
            .iter()
            .map(|path| scope.spawn(|| (count(path, FEW), count(path, MANY))))
            .collect();
        let counted = counting.into_iter().map(|thread| {
            let (few, many) = thread.join().expect("counting does not panic");
            (many - few) / ((MANY - FEW) * driver::BATCH)
        });
        counted.collect()
    })
}

/// Instructions of a whole process that runs so many batches.
fn count(path: &str, batches: u64) -> u64 {
    let myself = std::env::current_exe().expect("it runs");
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    ]);
    // One test thread: the path then runs on the main thread, and nothing else does.
    valgrind.arg(myself).arg("--test-threads=1");
    valgrind.env(ASKED_FOR, format!("{path}={batches}"));
    let output = valgrind.output().expect("valgrind is there");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{path}: {report}");
    // ==4711== I refs:        12,345,678
    let line = report
        .lines()
        .find(|line| line.contains("I refs:") || line.contains("I   refs:"));
    let digits = line
        .and_then(|line| line.rsplit(':').next())
        .unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{path}: {report}"))
}

fn asked_for() -> Option<(String, u64)> {
    let asked = std::env::var(ASKED_FOR).ok()?;
    let (path, batches) = asked.split_once('=')?;
    Some((path.to_owned(), batches.parse().ok()?))
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

fn expectations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt")
}

/// A share. Above what small changes elsewhere do to the optimizer's choices.
const TOLERANCE: f64 = 0.03;
const ASKED_FOR: &str = "LEVERET_INSTRUCTIONS_OF";
const FEW: u64 = 20;
const MANY: u64 = 80;
