//! The checker of histories, `scripts/soak histories`, for one round: random clients through kills, stops, a
//! full disk and jumps of the clock, and everything they saw held against what was promised to them.

use std::process::{Command, Stdio};

use crate::program::SPAWNING;

/// `LEVERET_HISTORIES` says for how many rounds, of about five seconds each.
#[test]
fn what_clients_saw_of_a_broker_that_is_harmed_is_what_they_were_promised() {
    let rounds = std::env::var("LEVERET_HISTORIES").unwrap_or("1".to_owned());
    let soak = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/soak");
    let mut checker = Command::new("python3");
    checker
        .args([soak, "histories", "--rounds", &rounds, "--harms", "3"])
        .env("LEVERET_BIN", env!("CARGO_BIN_EXE_leveret"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let turn = SPAWNING.lock();
    let Ok(checker) = checker.spawn() else {
        println!("left out: no python3 here");
        return;
    };
    drop(turn);
    let output = checker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}{complained}");
}
